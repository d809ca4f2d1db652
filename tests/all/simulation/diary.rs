//! The diary: what speakers sent, what readers were shown, and the check of
//! both against the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use broadcast_chat::protocol::PublishKind;
use rusqlite::Connection;

/// The messages of one speaker, in order.
#[derive(Default)]
pub(super) struct SpeakerRecord {
    pub(super) messages: Vec<SentMessage>,
    /// The speaker died before it knew that all of them are stored, and never
    /// came back.
    pub(super) died: bool,
}

#[derive(Clone)]
pub(super) struct SentMessage {
    /// The room, or for a private message the speaker's inbox.
    pub(super) room: String,
    /// For a private message, the inbox of its recipient.
    pub(super) to: Option<String>,
    pub(super) id: String,
    pub(super) text: String,
    /// Its kind and the number of the message that it is about.
    pub(super) about: Option<(PublishKind, u64)>,
    /// The speaker was told that it is about an erased message, so that it is not
    /// stored.
    pub(super) is_refused: bool,
    /// The speaker was told that the message is stored.
    pub(super) confirmed: bool,
}

/// The messages of a room that a reader was shown without interruption. They
/// may come over several connections, but in one life and one stay in the room.
pub(super) struct View {
    pub(super) who: String,
    pub(super) room: String,
    /// The position after which it began.
    pub(super) from: u64,
    pub(super) seen: Vec<Seen>,
    /// The reader must have been shown every message up to this number.
    pub(super) upto: u64,
    /// The reader reads lines, which show no reaction.
    pub(super) in_lines: bool,
}

impl View {
    pub(super) fn new(who: &str, room: &str, from: u64) -> Self {
        View {
            who: who.to_owned(),
            room: room.to_owned(),
            from,
            seen: Vec::new(),
            upto: from,
            in_lines: false,
        }
    }

    /// The last number that the reader was shown.
    pub(super) fn last(&self) -> u64 {
        self.seen.last().map_or(self.from, |seen| seen.seq)
    }

    /// Whether it has reached the end of its room, if that is known.
    pub(super) fn reaches(&self, ends: Option<&BTreeMap<String, u64>>) -> bool {
        let room = if self.in_lines {
            in_lines(&self.room)
        } else {
            self.room.clone()
        };
        ends.is_some_and(|ends| self.last() >= ends.get(&room).copied().unwrap_or(0))
    }
}

/// The text of a message without its correction, which follows a tilde.
pub(super) fn base(text: &str) -> &str {
    text.split('~').next().unwrap_or_default()
}

/// The key of a room's end for a reader of lines.
fn in_lines(room: &str) -> String {
    format!("{room} in lines")
}

/// A message as a reader was shown it, or a change of one: of a correction
/// without its text, as a later text may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) seq: u64,
    /// The plain format does not show it.
    pub(super) prev: Option<u64>,
    pub(super) text: String,
    pub(super) is_change: bool,
}

/// A message as it is stored in the database.
pub(super) struct StoredMessage {
    pub(super) room: String,
    pub(super) seq: u64,
    pub(super) prev: u64,
    pub(super) id: Option<String>,
    pub(super) text: String,
    who: Option<String>,
    /// As in `docs/storage.md`.
    kind: i64,
    about: Option<u64>,
}

impl StoredMessage {
    fn is_change(&self) -> bool {
        self.kind >= 2
    }

    /// Whether lines do not show it.
    fn is_reaction(&self) -> bool {
        self.kind >= 3
    }

    fn is_redacted(&self) -> bool {
        self.text.is_empty() && !self.is_change()
    }

    /// Whether it is a message with words.
    pub(super) fn is_shown(&self) -> bool {
        !self.text.is_empty() && !self.is_change()
    }

    /// Whether lines may show it or not: it is redacted, or corrects a redacted
    /// message.
    fn may_be_hidden(&self, redacted: &BTreeSet<u64>) -> bool {
        let corrects = self.about.filter(|_| self.kind == 2);
        self.is_redacted() || corrects.is_some_and(|seq| redacted.contains(&seq))
    }

    /// Whether it is what a speaker said.
    fn is(&self, who: &str, line: &SentMessage) -> bool {
        let (kind, about) = line.about.unzip();
        let is_kind = match kind {
            Some(PublishKind::Edit) => self.kind == 2,
            Some(PublishKind::Unreact) => self.kind == 3,
            Some(PublishKind::React) => self.kind >= 4,
            _ => !self.is_change(),
        };
        let has_no_words = self.kind == 2 || self.is_redacted();
        let is_text = has_no_words || base(&self.text) == base(&line.text);
        // Other speakers have the same ids.
        let is_author = self.who.as_ref().is_none_or(|author| author == who);
        is_kind && is_text && is_author && self.about == about
    }
}

/// All messages, read from the database without any code under test.
pub(super) fn log(folder: &Path) -> Vec<StoredMessage> {
    let db = Connection::open(folder.join("chat.sqlite")).expect("the log");
    let mut query = db
        .prepare(
            // Speakers know an inbox by its owner's name.
            "SELECT coalesce('@' || names.name, rooms.name), seq, prev, messages.id, text,
             messages.name, kind, about
             FROM messages JOIN rooms ON rooms.id = messages.room
             LEFT JOIN names ON rooms.name = '@' || names.owner AND names.tag <> x''
             ORDER BY seq",
        )
        .expect("a query");
    let rows = query.query_map([], |row| {
        Ok(StoredMessage {
            room: row.get(0)?,
            seq: row.get::<_, i64>(1)?.cast_unsigned(),
            prev: row.get::<_, i64>(2)?.cast_unsigned(),
            id: row.get(3)?,
            text: row.get(4)?,
            who: row.get(5)?,
            kind: row.get(6)?,
            about: row.get::<_, Option<i64>>(7)?.map(i64::cast_unsigned),
        })
    });
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

/// Checks that each message has the number of messages before it in its room, or
/// of those received before it in its private conversation. Returns how many
/// read positions are stored.
///
/// # Errors
/// Fails with a sentence if a number is wrong.
pub(super) fn check_counts(folder: &Path) -> Result<u64, String> {
    let db = Connection::open(folder.join("chat.sqlite")).expect("the log");
    let wrong = "SELECT count(*) FROM (
            SELECT messages.earlier AS stored, count(*) FILTER (
                WHERE messages.kind < 2
                    AND (messages.partner IS NULL OR rooms.name <> '@' || messages.owner)
            ) OVER (
                PARTITION BY messages.room, messages.partner ORDER BY messages.seq
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS counted
            FROM messages JOIN rooms ON rooms.id = messages.room
        ) WHERE stored <> counted";
    let one = |query: &str| -> i64 { db.query_row(query, [], |row| row.get(0)).expect("a count") };
    match one(wrong) {
        0 => Ok(one("SELECT count(*) FROM places WHERE read > 0").cast_unsigned()),
        wrong => Err(format!("{wrong} messages have a wrong count before them")),
    }
}

/// The numbers of the redacted messages.
fn redacted(log: &[StoredMessage]) -> BTreeSet<u64> {
    let redacted = log.iter().filter(|m| m.is_redacted());
    redacted.map(|m| m.seq).collect()
}

/// The last number of each room, and the last that lines show.
pub(super) fn ends(log: &[StoredMessage]) -> BTreeMap<String, u64> {
    let redacted = redacted(log);
    let shown = log.iter();
    let shown = shown.filter(|m| !m.is_reaction() && !m.may_be_hidden(&redacted));
    let shown = shown.map(|m| (in_lines(&m.room), m.seq));
    log.iter()
        .map(|m| (m.room.clone(), m.seq))
        .chain(shown)
        .collect()
}

/// Checks what every speaker sent and every reader was shown against the log.
///
/// # Errors
/// Fails with a sentence on the first contradiction.
pub(super) fn check(
    log: &[StoredMessage],
    speakers: &BTreeMap<String, SpeakerRecord>,
    views: &[View],
) -> Result<(), String> {
    check_log(log)?;
    check_corrections(log, speakers)?;
    let mut said = 0;
    for (who, speech) in speakers {
        said += check_speaker(log, who, speech)?;
    }
    if said != log.len() {
        return Err(format!(
            "{} messages are stored, {said} were said",
            log.len()
        ));
    }
    let redacted = redacted(log);
    let check = |view| check_view(log, &redacted, view);
    views.iter().try_for_each(check)
}

/// Checks that numbers rise by one, and that each `prev` is the number before
/// it in its room.
fn check_log(log: &[StoredMessage]) -> Result<(), String> {
    let mut last = BTreeMap::new();
    for (message, seq) in log.iter().zip(1..) {
        let prev = last.insert(&message.room, seq).unwrap_or(0);
        if (message.seq, message.prev) != (seq, prev) {
            let (is, prev_is) = (message.seq, message.prev);
            return Err(format!(
                "{seq} after {prev} is stored as {is} after {prev_is}"
            ));
        }
    }
    Ok(())
}

/// Checks that each message has the text of its last correction.
fn check_corrections(
    log: &[StoredMessage],
    speakers: &BTreeMap<String, SpeakerRecord>,
) -> Result<(), String> {
    let mut last = BTreeMap::new();
    for edit in log.iter().filter(|m| m.kind == 2) {
        last.insert(edit.about, edit);
    }
    for edit in last.values() {
        let who = edit.who.as_deref().unwrap_or_default();
        let lines = speakers.get(who).map(|speech| &speech.messages[..]);
        let mut lines = lines.into_iter().flatten();
        let sent = lines.find(|line| edit.id.as_deref() == Some(&line.id) && edit.is(who, line));
        let message = log.iter().find(|m| Some(m.seq) == edit.about);
        if message.is_some_and(StoredMessage::is_redacted) {
            continue;
        }
        let (is, wanted) = (message.map(|m| &m.text), sent.map(|line| &line.text));
        if is != wanted {
            return Err(format!("{} corrects to {wanted:?}, not {is:?}", edit.seq));
        }
    }
    Ok(())
}

/// Checks that a speaker's messages are stored once and in order, and counts
/// them. All must be stored. If the speaker died, a number of them from the
/// first on is enough, but every confirmed message is needed.
fn check_speaker(
    log: &[StoredMessage],
    who: &str,
    speech: &SpeakerRecord,
) -> Result<usize, String> {
    let mut last = 0;
    let mut ended = None;
    let mut count = 0;
    for line in &speech.messages {
        let is_it = |m: &&StoredMessage| {
            m.room == line.room && m.id.as_deref() == Some(&line.id) && m.is(who, line)
        };
        let stored: Vec<&StoredMessage> = log.iter().filter(is_it).collect();
        let id = &line.id;
        match stored[..] {
            [] if line.is_refused => {}
            [] if line.confirmed || !speech.died => {
                return Err(format!("{who}: {id} is lost"));
            }
            [] => ended = Some(id),
            [one] => {
                if let Some(lost) = ended {
                    return Err(format!("{who}: {id} is stored, but not the earlier {lost}"));
                }
                if one.seq <= last {
                    return Err(format!("{who}: {id} is stored before an earlier message"));
                }
                last = one.seq;
                count += 1 + check_copy(log, who, line)?;
            }
            _ => return Err(format!("{who}: {id} is doubled")),
        }
    }
    Ok(count)
}

/// Checks that a private message to another person is stored once in that
/// person's inbox. Returns the number of copies.
fn check_copy(log: &[StoredMessage], who: &str, line: &SentMessage) -> Result<usize, String> {
    let Some(inbox) = line.to.as_ref().filter(|to| **to != line.room) else {
        return Ok(0);
    };
    let is_it = |m: &&StoredMessage| m.room == *inbox && m.id.is_none() && m.text == line.text;
    match log.iter().filter(is_it).count() {
        1 => Ok(1),
        count => Err(format!(
            "{who}: {} stands {count} times in {inbox}",
            line.id
        )),
    }
}

/// Checks that a view equals its part of the room's log, message for message.
fn check_view(log: &[StoredMessage], redacted: &BTreeSet<u64>, view: &View) -> Result<(), String> {
    let View {
        who, room, from, ..
    } = view;
    let room_log = log.iter().filter(|m| {
        let hidden = view.in_lines && m.is_reaction();
        m.room == *room && m.seq > *from && !hidden
    });
    let mut room_log = room_log.peekable();
    let may_be_hidden = |m: &StoredMessage| view.in_lines && m.may_be_hidden(redacted);
    for seen in &view.seen {
        while room_log
            .next_if(|m| m.seq != seen.seq && may_be_hidden(m))
            .is_some()
        {}
        let stored = room_log.next().map(|m| Seen {
            seq: m.seq,
            prev: seen.prev.map(|_| m.prev),
            // It may have been shown before a correction or an erasure.
            text: if m.is_redacted() || base(&m.text) == base(&seen.text) {
                seen.text.clone()
            } else {
                m.text.clone()
            },
            is_change: m.is_change(),
        });
        if stored.as_ref() != Some(seen) {
            return Err(format!(
                "{who} in {room} from {from}: is shown {seen:?}, the log has {stored:?}"
            ));
        }
    }
    match room_log.find(|m| !may_be_hidden(m)) {
        Some(missed) if missed.seq <= view.upto => {
            Err(format!("{who} in {room} never saw {}", missed.seq))
        }
        _ => Ok(()),
    }
}

/// Checks that no file of a stopped server has an erased word.
///
/// # Errors
/// Fails with a sentence if one has.
pub(super) fn check_files(folder: &Path, erased: &BTreeSet<String>) -> Result<(), String> {
    for file in fs::read_dir(folder).expect("a folder") {
        let path = file.expect("a file").path();
        let bytes = fs::read(&path).expect("readable");
        for word in erased {
            let mut parts = bytes.windows(word.len());
            if parts.any(|part| part == word.as_bytes()) {
                return Err(format!("{} has the erased {word}", path.display()));
            }
        }
    }
    // The index shares the beginnings of words.
    let index = folder.join("search.sqlite");
    if !index.exists() {
        return Ok(());
    }
    let db = Connection::open(index).expect("the index");
    let mut blocks = db.prepare("SELECT first FROM blocks").expect("a query");
    let blocks = blocks.query_map([], |row| row.get::<_, i64>(0));
    for block in blocks.expect("rows") {
        let table = format!("words_{}", block.expect("a row"));
        let query = format!("SELECT count(*) FROM {table} WHERE {table} MATCH ?1");
        for word in erased {
            let count: i64 = db
                .query_row(&query, [word], |row| row.get(0))
                .expect("a count");
            if count > 0 {
                return Err(format!("the index has the erased {word}"));
            }
        }
    }
    Ok(())
}
