//! Erasing what one message says: its row keeps its place, and what was said is
//! nowhere any more.

use rusqlite::params;
use tokio::sync::OwnedMutexGuard as OwnedFairGuard;

use super::{
    Changing, History, StoreError,
    row::{MessageRow, RoomRow, message_columns, to_db},
    search::{Entry, Index},
};
use crate::protocol::{Seq, name::RoomName};

/// The turn of one who erases: nothing is indexed or searched meanwhile. To be
/// had before the writer's turn, which waits for nobody who searches.
pub struct Erasing {
    index: OwnedFairGuard<Index>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// What was said is erased now; whose it was, as far as that can be read.
    Done {
        /// A name, or `IP:port`.
        whose: String,
    },
    /// It had been before.
    Before,
    /// It is no message of the room.
    NotHere,
}

impl History {
    /// Waits for one's turn to erase.
    pub async fn erasing(&self) -> Erasing {
        Erasing {
            index: self.index_turn().await,
        }
    }
}

impl Changing<'_> {
    /// Erases what was said in a room under a number. Who said it stays in the
    /// row, and its id: said again under that, it still is stored before.
    pub fn erase(
        &mut self,
        room: &RoomName,
        seq: Seq,
        turn: &mut Erasing,
    ) -> Result<Erasure, StoreError> {
        let here = RoomRow::find(self.db, room)?.map(|room| room.id);
        let mut find = self.db.prepare_cached(concat!(
            "SELECT ",
            message_columns!(),
            " FROM messages WHERE seq = ?1"
        ))?;
        let mut found = find.query([to_db(seq)])?;
        let Some(row) = found.next()? else {
            return Ok(Erasure::NotHere);
        };
        let (whose, sum) = match MessageRow::read(row) {
            Some(message) if Some(message.room) != here => return Ok(Erasure::NotHere),
            Some(message) if message.is_erased() => return Ok(Erasure::Before),
            Some(message) => {
                let whose = message.name.unwrap_or(message.addr).to_owned();
                let text = message.text.to_owned();
                let room = message.room;
                // From the index first: what is gone from the log is in none.
                turn.index.let_go_of(&Entry { seq, room, text })?;
                let text = "";
                (whose, Some(MessageRow { text, ..message }.sum()))
            }
            // Of a damaged one it is not known where it was said, nor what. It
            // stays damaged, and what can be erased of it is.
            None => {
                turn.index.clear()?;
                (String::new(), None)
            }
        };
        self.db
            .prepare_cached("UPDATE messages SET text = '', sum = ifnull(?2, sum) WHERE seq = ?1")?
            .execute(params![to_db(seq), sum])?;
        self.erased = Some(seq);
        Ok(Erasure::Done { whose })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs, path::Path};

    use rusqlite::Connection;

    use super::*;
    use crate::{
        history::{Draft, GapReason, Keep, Outcome, Page, Storage, Words, Writer, check, open},
        protocol::Entry,
    };

    fn runtime() -> tokio::runtime::Runtime {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true);
        runtime.build().expect("a runtime")
    }

    /// The writer, and where those who wait do.
    struct Log {
        writer: Writer,
        history: History,
        runtime: tokio::runtime::Runtime,
    }

    impl Log {
        fn open(folder: &Path) -> Self {
            let storage = Storage::Folder(folder.to_owned());
            let (writer, history) = open(&storage, "a test").expect("a log");
            let runtime = runtime();
            Log {
                writer,
                history,
                runtime,
            }
        }

        fn say(&mut self, room: &str, text: &str) -> Outcome {
            let draft = Draft {
                id: Some("a-1".parse().expect("an id")).filter(|_| text == "twice"),
                ..Draft::of(room, text)
            };
            self.writer.append(&[draft]).expect("stored").1[0]
        }

        fn erase(&mut self, room: &str, seq: u64) -> Erasure {
            let mut turn = self.runtime.block_on(self.history.erasing());
            let room = room.parse().expect("a room");
            let erase = |log: &mut Changing<'_>| log.erase(&room, Seq(seq), &mut turn);
            self.writer.change(erase).expect("written")
        }

        fn search(&self, words: &str) -> Vec<u64> {
            let words = Words::of(words).expect("words");
            let room = RoomName::lobby();
            let found = self.history.search(&room, &words, None, 200);
            let found = self.runtime.block_on(found).expect("searchable");
            let messages = found.expect("in time").messages;
            messages.iter().map(|message| message.seq.0).collect()
        }

        fn page(&self, after: Seq) -> Page {
            let room = RoomName::lobby();
            let page = self.history.stored(&room, after);
            self.runtime.block_on(page).expect("readable")
        }

        /// What stands in the room: the numbers of messages, and of those that
        /// were erased.
        fn stands(&self) -> (Vec<u64>, Vec<u64>) {
            let page = self.page(Seq::START);
            let entries = page.runs.iter().flat_map(|run| run.entries());
            let (erased, messages): (Vec<_>, Vec<_>) =
                entries.partition(|entry| matches!(entry, Entry::Erased(_)));
            let [messages, erased] = [messages, erased]
                .map(|entries| entries.iter().map(|entry| entry.seq().0).collect());
            (messages, erased)
        }
    }

    fn done() -> Erasure {
        let whose = "127.0.0.1:5000".to_owned();
        Erasure::Done { whose }
    }

    /// What of a folder's files holds a text.
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
    fn its_place_stays_and_its_words_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = Log::open(folder.path());
        for text in ["tea one", "twice", "tea three"] {
            log.say("lobby", text);
        }
        log.say("tea", "tea four");
        assert_eq!(log.search("tea"), [1, 3]);
        for (room, seq, erasure) in [
            ("lobby", 4, Erasure::NotHere),
            ("lobby", 5, Erasure::NotHere),
            ("nobody", 1, Erasure::NotHere),
            ("lobby", 0, Erasure::NotHere),
            ("lobby", 3, done()),
            ("lobby", 3, Erasure::Before),
            ("lobby", 2, done()),
        ] {
            assert_eq!(log.erase(room, seq), erasure, "{room} {seq}");
        }
        assert_eq!(log.stands(), (vec![1], vec![2, 3]));
        assert_eq!(log.search("tea"), [1]);
        assert_eq!(log.say("lobby", "twice"), Outcome::Duplicate(Seq(2)));
        // Not indexed yet, and so never.
        log.say("lobby", "tea five");
        assert_eq!(log.erase("lobby", 5), done());
        assert_eq!(log.search("tea"), [1]);
        log.say("lobby", "tea six");
        assert_eq!(log.search("tea"), [1, 6]);
        assert_eq!(check(folder.path()).expect("readable").faults, [""; 0]);
        drop(log);

        let mut log = Log::open(folder.path());
        assert_eq!(log.stands(), (vec![1, 6], vec![2, 3, 5]));
        assert_eq!(log.erase("lobby", 3), Erasure::Before);
        // Old ones go past it.
        let (age, messages) = (None, Some(2));
        let retention = log.writer.retention(Keep { age, messages });
        let erased = log.runtime.block_on(retention.erase(None)).expect("erased");
        assert_eq!(erased, Some(Seq(4)));
        assert_eq!(log.stands(), (vec![6], vec![5]));
        assert_eq!(log.erase("lobby", 3), Erasure::NotHere);
        assert_eq!(log.search("tea"), [6]);
        assert_eq!(check(folder.path()).expect("readable").faults, [""; 0]);
    }

    #[test]
    fn a_damaged_one_is_erased_as_well() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = Log::open(folder.path());
        for text in ["tea one", "tea two", "tea three"] {
            log.say("lobby", text);
        }
        assert_eq!(log.search("tea"), [1, 2, 3]);
        let damage = "UPDATE messages SET at = at + 1 WHERE seq = 2";
        let damage = |log: &mut Changing<'_>| Ok(log.db.execute(damage, [])?);
        log.writer.change(damage).expect("written");
        let whose = String::new();
        assert_eq!(log.erase("lobby", 2), Erasure::Done { whose });
        assert_eq!(holding(folder.path(), "tea two"), [""; 0]);
        assert_eq!(log.search("tea"), [1, 3]);
        assert_eq!(
            log.page(Seq(1)).gap().map(|(hole, _)| hole.reason),
            Some(GapReason::Damaged)
        );
    }

    #[test]
    fn what_a_reader_holds_up_is_gone_once_it_has_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = Log::open(folder.path());
        log.say("lobby", "quicksilver");
        let (age, messages) = (None, None);
        let keep = Keep { age, messages };
        let look = |log: &Log| {
            let retention = log.writer.retention(keep).run();
            let some = std::time::Duration::from_secs(30);
            let looking = async { tokio::time::timeout(some, retention).await };
            assert!(log.runtime.block_on(looking).is_err(), "it never ends");
        };
        let reader = Connection::open(folder.path().join("chat.sqlite")).expect("the log");
        let begin = "BEGIN; SELECT count(*) FROM messages";
        reader.execute_batch(begin).expect("a view");
        let count = "SELECT count(*) FROM messages";
        reader.query_row(count, [], |_| Ok(())).expect("a view");
        assert_eq!(log.erase("lobby", 1), done());
        look(&log);
        assert_eq!(holding(folder.path(), "quicksilver"), ["chat.sqlite-wal"]);
        // As it is found after a power cut.
        let killed = tempfile::tempdir().expect("a folder");
        for name in ["chat.sqlite", "chat.sqlite-wal"] {
            let to = killed.path().join(name);
            fs::copy(folder.path().join(name), to).expect("copied");
        }
        reader.execute_batch("COMMIT").expect("seen");
        look(&log);
        assert_eq!(holding(folder.path(), "quicksilver"), [""; 0]);

        let log = Log::open(killed.path());
        assert_eq!(log.stands(), (vec![], vec![1]));
        assert_eq!(holding(killed.path(), "quicksilver"), ["chat.sqlite-wal"]);
        look(&log);
        assert_eq!(holding(killed.path(), "quicksilver"), [""; 0]);
    }

    /// Messages of all lengths, on pages that are filled, emptied and balanced.
    #[test]
    fn nothing_is_left_behind_on_any_page() {
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
            log.writer.append(&drafts).expect("stored");
            for _ in 0..80 {
                let seqs: Vec<u64> = said.keys().copied().collect();
                let seq = random.choice(seqs).expect("some are left");
                gone.extend(said.remove(&seq));
                assert_eq!(log.erase("lobby", seq), done());
            }
            let messages = random.u64(100..300);
            let (age, messages) = (None, Some(messages));
            let retention = log.writer.retention(Keep { age, messages });
            let erased = log.runtime.block_on(retention.erase(None)).expect("erased");
            let left = said.split_off(&(erased.map_or(0, |seq| seq.0) + 1));
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
}
