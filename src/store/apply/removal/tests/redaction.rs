//! Tests of redaction: a message's row keeps its place, and its words leave
//! every file.

use std::{collections::BTreeMap, fs, path::Path};

use rusqlite::Connection;
use tokio::runtime::{Builder, Runtime};

use crate::{
    fanout::{Applier, FeedPage},
    log::{Action, Draft},
    protocol::{ConnectionId, GapReason, Seq, Slot, name::RoomName},
    store::{Outcome, Storage, Store, Words, check, open},
};

/// The log of a folder, and a runtime for its readers.
struct Log {
    applier: Applier<'static>,
    store: Store,
    runtime: Runtime,
}

impl Log {
    fn open(folder: &Path) -> Self {
        let storage = Storage::Folder(folder.to_owned());
        let (replica, store) = open(&storage, "a test").expect("a store");
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true);
        Log {
            applier: Applier::local(replica).expect("a log"),
            store,
            runtime: runtime.build().expect("a runtime"),
        }
    }

    fn say(&mut self, room: &str, text: &str) -> Outcome {
        let draft = Draft {
            id: Some("a-1".parse().expect("an id")).filter(|_| text.starts_with("twice")),
            ..Draft::of(room, text)
        };
        let said = self.applier.apply_messages(ConnectionId(7), [draft]);
        said.expect("stored").outcomes.remove(0)
    }

    fn redact(&mut self, room: &str, seq: u64) -> Outcome {
        let redact = Action::Redact {
            room: room.parse().expect("a room"),
            seq: Seq(seq),
            by: "op".into(),
        };
        self.applier.apply_action(redact).expect("applied")
    }

    /// Expires one batch of all but the last `keep` messages; returns the last
    /// number expired.
    fn expire(&mut self, keep: u64) -> Option<Seq> {
        let old = self.store.expirable(None, Some(keep));
        let upto = self.runtime.block_on(old).expect("readable")?;
        let expired = self.applier.apply_action(Action::Expire { upto });
        assert_eq!(expired.expect("applied"), Outcome::Expired(upto));
        Some(upto)
    }

    fn search(&self, words: &str) -> Vec<u64> {
        let words = Words::parse(words).expect("words");
        let room = RoomName::lobby();
        let found = self.store.search(&room, &words, None, 200, || false);
        let found = self.runtime.block_on(found).expect("searchable");
        let messages = found.expect("in time").messages;
        messages.iter().map(|message| message.seq.0).collect()
    }

    fn page(&self, after: Seq) -> FeedPage {
        let room = RoomName::lobby();
        let page = self.applier.history().stored(&room, after);
        self.runtime.block_on(page).expect("readable")
    }

    /// The numbers of the room's messages, and of its redactions.
    fn slots(&self) -> (Vec<u64>, Vec<u64>) {
        let page = self.page(Seq::START);
        let slots = page.room_batches.iter().flat_map(|run| run.slots());
        let (redacted, messages): (Vec<_>, Vec<_>) =
            slots.partition(|slot| matches!(slot, Slot::Redacted(_)));
        let [messages, redacted] =
            [messages, redacted].map(|slots| slots.iter().map(|slot| slot.seq().0).collect());
        (messages, redacted)
    }

    fn empty_wal(&self) {
        let emptied = self.runtime.block_on(self.store.empty_wal());
        emptied.expect("tried");
    }
}

/// The targets of all audit records, in order.
fn audited(folder: &Path) -> Vec<String> {
    let db = Connection::open(folder.join("chat.sqlite")).expect("the store");
    let mut targets = db
        .prepare("SELECT target FROM audit ORDER BY id")
        .expect("a table");
    let targets = targets.query_map([], |row| row.get(0)).expect("rows");
    targets.map(|target| target.expect("a target")).collect()
}

/// The files of a folder that hold a text.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let files = fs::read_dir(folder).expect("a folder");
    let files = files.map(|file| file.expect("a file").path());
    let holding = files.filter(|path| {
        let bytes = fs::read(path).expect("readable");
        let mut parts = bytes.windows(text.len());
        parts.any(|part| part == text.as_bytes())
    });
    holding
        .map(|path| path.file_name().expect("a name").to_string_lossy().into())
        .collect()
}

#[test]
fn a_redacted_message_keeps_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = Log::open(folder.path());
    for text in ["tea one", "twice", "tea three"] {
        log.say("lobby", text);
    }
    log.say("tea", "tea four");
    assert_eq!(log.search("tea"), [1, 3]);
    for (room, seq, outcome) in [
        ("lobby", 4, Outcome::NotHere),
        ("lobby", 5, Outcome::NotHere),
        ("nobody", 1, Outcome::NotHere),
        ("lobby", 0, Outcome::NotHere),
        ("lobby", 3, Outcome::Redacted),
        ("lobby", 3, Outcome::RedactedBefore),
        ("lobby", 2, Outcome::Redacted),
    ] {
        assert_eq!(log.redact(room, seq), outcome, "{room} {seq}");
    }
    // Its content is gone: the id alone shows a repeat.
    assert_eq!(
        log.say("lobby", "twice, in other words"),
        Outcome::Repeat(Seq(2))
    );
    assert_eq!(log.slots(), (vec![1], vec![2, 3]));
    assert_eq!(audited(folder.path()), ["127.0.0.1:5000"; 2]);
    assert_eq!(log.search("tea"), [1]);
    assert_eq!(log.say("lobby", "twice"), Outcome::Repeat(Seq(2)));
    // A message that is redacted before it is indexed is never indexed.
    log.say("lobby", "tea five");
    assert_eq!(log.redact("lobby", 5), Outcome::Redacted);
    assert_eq!(log.search("tea"), [1]);
    log.say("lobby", "tea six");
    assert_eq!(log.search("tea"), [1, 6]);
    assert_eq!(check(folder.path()).expect("readable").faults, [""; 0]);
    drop(log);

    let mut log = Log::open(folder.path());
    assert_eq!(log.slots(), (vec![1, 6], vec![2, 3, 5]));
    assert_eq!(log.redact("lobby", 3), Outcome::RedactedBefore);
    // A redacted message expires too.
    assert_eq!(log.expire(2), Some(Seq(4)));
    assert_eq!(log.slots(), (vec![6], vec![5]));
    assert_eq!(log.redact("lobby", 3), Outcome::NotHere);
    assert_eq!(log.search("tea"), [6]);
    assert_eq!(check(folder.path()).expect("readable").faults, [""; 0]);
}

#[test]
fn a_damaged_message_is_redacted_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = Log::open(folder.path());
    for text in ["tea one", "tea two", "tea three"] {
        log.say("lobby", text);
    }
    assert_eq!(log.search("tea"), [1, 2, 3]);
    let db = Connection::open(folder.path().join("chat.sqlite")).expect("the store");
    let damage = "UPDATE messages SET at = at + 1 WHERE seq = 2";
    assert_eq!(db.execute(damage, []).expect("written"), 1);
    drop(db);
    assert_eq!(log.redact("lobby", 2), Outcome::Redacted);
    assert_eq!(audited(folder.path()), [""]);
    assert_eq!(holding(folder.path(), "tea two"), [""; 0]);
    assert_eq!(log.search("tea"), [1, 3]);
    assert_eq!(
        log.page(Seq(1)).gap().map(|(hole, _)| hole.reason),
        Some(GapReason::Damaged)
    );
}

#[test]
fn redacted_words_leave_the_wal_once_no_reader_needs_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = Log::open(folder.path());
    log.say("lobby", "quicksilver");
    let reader = Connection::open(folder.path().join("chat.sqlite")).expect("the store");
    let begin = "BEGIN; SELECT count(*) FROM messages";
    reader.execute_batch(begin).expect("a view");
    let count = "SELECT count(*) FROM messages";
    reader.query_row(count, [], |_| Ok(())).expect("a view");
    assert_eq!(log.redact("lobby", 1), Outcome::Redacted);
    log.empty_wal();
    assert_eq!(holding(folder.path(), "quicksilver"), ["chat.sqlite-wal"]);
    // A copy of the files as they are after a power cut.
    let killed = tempfile::tempdir().expect("a folder");
    for name in ["chat.sqlite", "chat.sqlite-wal"] {
        let to = killed.path().join(name);
        fs::copy(folder.path().join(name), to).expect("copied");
    }
    reader.execute_batch("COMMIT").expect("seen");
    log.empty_wal();
    assert_eq!(holding(folder.path(), "quicksilver"), [""; 0]);

    let log = Log::open(killed.path());
    assert_eq!(log.slots(), (vec![], vec![1]));
    assert_eq!(holding(killed.path(), "quicksilver"), ["chat.sqlite-wal"]);
    log.empty_wal();
    assert_eq!(holding(killed.path(), "quicksilver"), [""; 0]);
}

/// The messages have many lengths, so that SQLite fills, empties and balances
/// pages.
#[test]
fn no_page_holds_redacted_or_expired_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = Log::open(folder.path());
    let mut random = fastrand::Rng::with_seed(7);
    let mut said = BTreeMap::new();
    let mut gone = Vec::new();
    for round in 0..6 {
        let drafts: Vec<_> = (0..200)
            .map(|n| {
                let word = format!("<{round}-{n}-{:x}>", random.u64(..));
                let length = random.choice([10, 100, 1000, 3000, 9000]).expect("one");
                let text = format!("{word}{}{word}", "x".repeat(random.usize(..length)));
                said.insert(round * 200 + n + 1, word);
                Draft::of("lobby", text)
            })
            .collect();
        log.applier
            .apply_messages(ConnectionId(7), drafts)
            .expect("stored");
        for _ in 0..80 {
            let seqs: Vec<u64> = said.keys().copied().collect();
            let seq = random.choice(seqs).expect("some are left");
            gone.extend(said.remove(&seq));
            assert_eq!(log.redact("lobby", seq), Outcome::Redacted);
        }
        let expired = log.expire(random.u64(100..300));
        let left = said.split_off(&(expired.map_or(0, |seq| seq.0) + 1));
        gone.extend(std::mem::replace(&mut said, left).into_values());
    }
    drop(log);
    let bytes = fs::read(folder.path().join("chat.sqlite")).expect("readable");
    let text = String::from_utf8_lossy(&bytes);
    assert!(said.values().all(|word| text.contains(word)));
    let left: Vec<_> = gone.iter().filter(|word| text.contains(*word)).collect();
    assert!(
        left.is_empty(),
        "{} of {}: {left:?}",
        left.len(),
        gone.len()
    );
    assert_eq!(check(folder.path()).expect("readable").faults, [""; 0]);
}
