//! What was said and seen, and whether both can be true.

use std::{collections::BTreeMap, path::Path};

use rusqlite::Connection;

/// What somebody said, in order.
#[derive(Default)]
pub(super) struct Speech {
    pub(super) lines: Vec<Line>,
    /// Died before everything was known to be stored, and never came back.
    pub(super) died: bool,
}

#[derive(Clone)]
pub(super) struct Line {
    /// A room, or for what is said to one person alone the speaker's inbox.
    pub(super) room: String,
    /// Whose inbox it is to be in as well.
    pub(super) to: Option<String>,
    pub(super) id: String,
    pub(super) text: String,
    /// Its speaker was told that it is stored.
    pub(super) confirmed: bool,
}

/// An uninterrupted stretch of what a reader was shown of a room: over as many
/// connections as it took, but in one life and one stay.
pub(super) struct View {
    pub(super) who: String,
    pub(super) room: String,
    /// The position it began after.
    pub(super) from: u64,
    pub(super) seen: Vec<Seen>,
    /// Up to here it is said to be all there is.
    pub(super) upto: u64,
}

impl View {
    pub(super) fn new(who: &str, room: &str, from: u64) -> Self {
        View {
            who: who.to_owned(),
            room: room.to_owned(),
            from,
            seen: Vec::new(),
            upto: from,
        }
    }

    /// The last number it holds.
    pub(super) fn last(&self) -> u64 {
        self.seen.last().map_or(self.from, |seen| seen.seq)
    }

    /// Whether it has come to the end of its room, if that is known.
    pub(super) fn reaches(&self, ends: Option<&BTreeMap<String, u64>>) -> bool {
        ends.is_some_and(|ends| self.last() >= ends.get(&self.room).copied().unwrap_or(0))
    }
}

/// What a reader was shown of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) seq: u64,
    /// The plain format does not tell.
    pub(super) prev: Option<u64>,
    pub(super) text: String,
}

/// A message as it stands in the database.
pub(super) struct Stored {
    pub(super) room: String,
    pub(super) seq: u64,
    pub(super) prev: u64,
    pub(super) id: Option<String>,
    pub(super) text: String,
}

/// The log, read past everything that is under test.
pub(super) fn log(folder: &Path) -> Vec<Stored> {
    let db = Connection::open(folder.join("chat.sqlite")).expect("the log");
    let mut query = db
        .prepare(
            "SELECT rooms.name, seq, prev, messages.id, text
             FROM messages JOIN rooms ON rooms.id = messages.room ORDER BY seq",
        )
        .expect("a query");
    let rows = query.query_map([], |row| {
        Ok(Stored {
            room: row.get(0)?,
            seq: row.get::<_, i64>(1)?.cast_unsigned(),
            prev: row.get::<_, i64>(2)?.cast_unsigned(),
            id: row.get(3)?,
            text: row.get(4)?,
        })
    });
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

/// Where each room ends.
pub(super) fn ends(log: &[Stored]) -> BTreeMap<String, u64> {
    log.iter().map(|m| (m.room.clone(), m.seq)).collect()
}

/// Holds everyone's word against the log.
pub(super) fn check(
    log: &[Stored],
    speeches: &BTreeMap<String, Speech>,
    views: &[View],
) -> Result<(), String> {
    check_log(log)?;
    let mut said = 0;
    for (who, speech) in speeches {
        said += check_speech(log, who, speech)?;
    }
    if said != log.len() {
        return Err(format!(
            "{} messages are stored, {said} were said",
            log.len()
        ));
    }
    views.iter().try_for_each(|view| check_view(log, view))
}

/// Numbers rise by one, and `prev` is the number before it in its room.
fn check_log(log: &[Stored]) -> Result<(), String> {
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

/// What was said is stored once and in order: all of it, or by somebody who
/// died, all up to somewhere beyond what was confirmed. Says how much it is.
fn check_speech(log: &[Stored], who: &str, speech: &Speech) -> Result<usize, String> {
    let mut last = 0;
    let mut ended = None;
    let mut count = 0;
    for line in &speech.lines {
        let is_it = |m: &&Stored| m.room == line.room && m.id.as_deref() == Some(&line.id);
        let stored: Vec<&Stored> = log.iter().filter(is_it).collect();
        let id = &line.id;
        match stored[..] {
            [] if line.confirmed || !speech.died => {
                return Err(format!("{who}: {id} is lost"));
            }
            [] => ended = Some(id),
            [one] => {
                if let Some(lost) = ended {
                    return Err(format!("{who}: {id} is stored and {lost} before it is not"));
                }
                if one.seq <= last {
                    return Err(format!("{who}: {id} stands before what was said before it"));
                }
                if one.text != line.text {
                    return Err(format!("{who}: {id} says {:?}", one.text));
                }
                last = one.seq;
                count += 1 + check_copy(log, who, line)?;
            }
            _ => return Err(format!("{who}: {id} is doubled")),
        }
    }
    Ok(count)
}

/// What was said to somebody else alone stands once in that person's inbox. Says
/// how many copies there are.
fn check_copy(log: &[Stored], who: &str, line: &Line) -> Result<usize, String> {
    let Some(inbox) = line.to.as_ref().filter(|to| **to != line.room) else {
        return Ok(0);
    };
    let is_it = |m: &&Stored| m.room == *inbox && m.id.is_none() && m.text == line.text;
    match log.iter().filter(is_it).count() {
        1 => Ok(1),
        count => Err(format!(
            "{who}: {} stands {count} times in {inbox}",
            line.id
        )),
    }
}

/// A view is a stretch of its room's log, message for message.
fn check_view(log: &[Stored], view: &View) -> Result<(), String> {
    let View {
        who, room, from, ..
    } = view;
    let mut room_log = log.iter().filter(|m| m.room == *room && m.seq > *from);
    for seen in &view.seen {
        let stored = room_log.next().map(|m| Seen {
            seq: m.seq,
            prev: seen.prev.map(|_| m.prev),
            text: m.text.clone(),
        });
        if stored.as_ref() != Some(seen) {
            return Err(format!(
                "{who} in {room} from {from}: is shown {seen:?}, the log has {stored:?}"
            ));
        }
    }
    match room_log.next() {
        Some(missed) if missed.seq <= view.upto => {
            Err(format!("{who} in {room} never saw {}", missed.seq))
        }
        _ => Ok(()),
    }
}
