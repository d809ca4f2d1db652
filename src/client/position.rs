//! A reader's position in a room: where to resume, which messages are repeats,
//! and which are missing.

use serde::{Deserialize, Serialize};

use crate::protocol::{Epoch, Message, PrivateMessage, Seq, Start, Welcome, name::RoomName};

/// A position in a room. The reader has seen everything up to it, or joined
/// later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The room.
    pub room: RoomName,
    /// The log that `seq` belongs to.
    pub epoch: Epoch,
    /// The last number shown.
    pub seq: Seq,
    /// The number up to which private messages were shown; `None` for a reader
    /// without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbox: Option<Seq>,
}

/// The reading of one room, across connections.
#[derive(Debug)]
pub(super) struct RoomReader {
    position: Position,
    /// The size of the backlog that was asked for, until its first message
    /// arrives. Until then, `position` is the head at the welcome, and the
    /// backlog lies before it.
    backlog: Option<u32>,
}

/// The relation of a message to the messages before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is the next message.
    Next,
    /// It was shown before.
    Repeated,
    /// Messages between these two are missing, and the server sent no gap.
    Missing { after: Seq, next: Seq },
}

impl RoomReader {
    /// Starts reading the room of a welcome, which answers `start`.
    pub(super) fn begin(welcome: &Welcome, start: &Start, inbox: Option<Seq>) -> Self {
        let foreign = start.epoch.as_ref().is_some_and(|e| *e != welcome.epoch);
        let seq = match start.after {
            // A number of another log counts only as far as the server says.
            Some(_) if foreign => welcome.after.unwrap_or(Seq::START),
            Some(after) => after,
            None => welcome.head,
        };
        RoomReader {
            position: Position {
                room: welcome.room.clone(),
                epoch: welcome.epoch.clone(),
                seq,
                inbox,
            },
            backlog: start.backlog.filter(|_| start.after.is_none()),
        }
    }

    /// Continues after a break. If the log is another one, the server says how
    /// far the position counts in it; else the log is read from its start.
    pub(super) fn resume(&mut self, welcome: &Welcome) {
        if welcome.room != self.position.room {
            *self = Self::begin(welcome, &Start::default(), welcome.inbox);
        } else if welcome.epoch != self.position.epoch {
            self.position.epoch = welcome.epoch.clone();
            self.position.inbox = welcome.inbox;
            self.position.seq = match self.backlog {
                Some(_) => welcome.head,
                None => welcome.after.unwrap_or(Seq::START),
            };
        } else if self.position.inbox.is_none() {
            self.position.inbox = welcome.inbox;
        }
    }

    /// The start to ask for after a break.
    pub(super) fn start(&self) -> Start {
        match self.backlog {
            Some(_) => Start {
                backlog: self.backlog,
                inbox: self.position.inbox,
                ..Start::default()
            },
            None => Start {
                after: Some(self.position.seq),
                epoch: Some(self.position.epoch.clone()),
                backlog: None,
                inbox: self.position.inbox,
            },
        }
    }

    /// The room of this reading.
    pub(super) fn room(&self) -> &RoomName {
        &self.position.room
    }

    /// The current position; `None` until the first message of a backlog has
    /// arrived.
    pub(super) fn position(&self) -> Option<&Position> {
        self.backlog.is_none().then_some(&self.position)
    }

    /// The number up to which private messages were shown.
    pub(super) fn inbox(&self) -> Option<Seq> {
        self.position.inbox
    }

    /// Takes the next message of the room.
    pub(super) fn receive(&mut self, message: &Message) -> Step {
        if message.room != self.position.room {
            return Step::Next;
        }
        self.advance(message.prev, message.seq)
    }

    /// Moves to the number `next`, whose predecessor in the room is `prev`.
    pub(super) fn advance(&mut self, prev: Seq, next: Seq) -> Step {
        let after = self.position.seq;
        if self.backlog.is_none() && next <= after {
            return Step::Repeated;
        }
        self.backlog = None;
        self.position.seq = next;
        self.reached_inbox(next);
        if prev > after {
            return Step::Missing { after, next };
        }
        Step::Next
    }

    /// Takes the next private message.
    ///
    /// Private messages have their own chain of `prev`, but arrive among the
    /// room's messages in the order of the log.
    pub(super) fn receive_private(&mut self, private: &PrivateMessage) -> Step {
        let seq = private.seq;
        let before = self.position.inbox.replace(seq);
        if let Some(after) = before.filter(|after| seq <= *after) {
            self.position.inbox = Some(after);
            return Step::Repeated;
        }
        if self.backlog.is_none() {
            self.position.seq = self.position.seq.max(seq);
        }
        match before.filter(|after| private.prev > *after) {
            Some(after) => Step::Missing { after, next: seq },
            None => Step::Next,
        }
    }

    /// Forgets the inbox position, because another name has another inbox.
    pub(super) fn renamed(&mut self) {
        self.position.inbox = None;
    }

    /// Notes that every private message up to `seq` has arrived.
    fn reached_inbox(&mut self, seq: Seq) {
        let inbox = self.position.inbox.map(|inbox| inbox.max(seq));
        self.position.inbox = inbox;
    }

    /// Notes that every message of the room up to `seq` has arrived.
    pub(super) fn caught_up(&mut self, seq: Seq) {
        self.backlog = None;
        self.position.seq = self.position.seq.max(seq);
        self.reached_inbox(seq);
    }

    /// Moves the position to just before `next`, forward or back.
    pub(super) fn skip_to(&mut self, next: Seq) {
        self.backlog = None;
        self.position.seq = Seq(next.0.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn reading_follows_the_shared_vectors() {
        let vectors = include_str!("../../tests/vectors/position.json");
        let vectors: Vec<Value> = serde_json::from_str(vectors).expect("vectors");
        for vector in vectors {
            let begin = welcome_of(&vector["welcome"]);
            let backlog = vector["backlog"].as_u64();
            let asked = Start {
                backlog: backlog.map(|count| u32::try_from(count).expect("few")),
                ..Start::default()
            };
            let mut reading = RoomReader::begin(&begin, &asked, begin.inbox);
            for step in vector["steps"].as_array().expect("steps") {
                take(&mut reading, step);
            }
        }
    }

    /// Takes one step of a vector.
    fn take(reading: &mut RoomReader, step: &Value) {
        let (what, value) = step
            .as_object()
            .and_then(|step| step.iter().find(|(key, _)| *key != "is"))
            .expect("a step");
        let number = |value: &Value| value.as_u64().expect("a number");
        let is = |taken: &Step| {
            let said = match taken {
                Step::Next => "next",
                Step::Repeated => "repeated",
                Step::Missing { .. } => "hole",
            };
            assert_eq!(said, step["is"], "{step}");
        };
        match what.as_str() {
            "start" => {
                let start = reading.start();
                let mut told = json!(start);
                if let Some(inbox) = start.inbox {
                    told["inbox"] = json!(inbox);
                }
                assert_eq!(told, *value, "{step}");
            }
            "message" => is(&reading.receive(&message(number(&value[0]), number(&value[1])))),
            "private" => {
                let private = json!({
                    "seq": value[1], "prev": value[0], "at": "2026-01-01T00:00:00.000Z",
                    "from": {"name": "ana", "addr": "127.0.0.1:5000"}, "to": "bob", "text": "x",
                });
                let private = serde_json::from_value(private).expect("a private message");
                is(&reading.receive_private(&private));
            }
            "resume" => reading.resume(&welcome_of(value)),
            "caught up" => reading.caught_up(Seq(number(value))),
            "gap" => reading.skip_to(Seq(number(value))),
            "renamed" => reading.renamed(),
            _ => panic!("{step}"),
        }
    }

    fn welcome_of(vector: &Value) -> Welcome {
        let epoch = vector["epoch"].as_str().expect("an epoch");
        let head = vector["head"].as_u64().expect("a number");
        Welcome {
            after: vector["after"].as_u64().map(Seq),
            inbox: vector["inbox"].as_u64().map(Seq),
            ..welcome(epoch, head)
        }
    }

    fn welcome(epoch: &str, head: u64) -> Welcome {
        let welcome = json!({
            "room": "lobby", "you": {"addr": "127.0.0.1:5000"}, "epoch": epoch,
            "head": head, "members": 1, "server": "test", "limits": {"text_bytes": 8},
        });
        serde_json::from_value(welcome).expect("a welcome")
    }

    fn message(prev: u64, seq: u64) -> Message {
        let message = json!({
            "seq": seq, "prev": prev, "room": "lobby", "at": "2026-01-01T00:00:00.000Z",
            "from": {"addr": "127.0.0.1:5000"}, "text": "x",
        });
        serde_json::from_value(message).expect("a message")
    }

    fn resume(epoch: &str, seq: u64) -> Start {
        Start {
            after: Some(Seq(seq)),
            epoch: Some(Epoch(epoch.into())),
            ..Start::default()
        }
    }

    #[test]
    fn repeats_and_holes_are_recognised() {
        let mut reading = RoomReader::begin(&welcome("e", 7), &Start::default(), None);
        assert_eq!(reading.start(), resume("e", 7));
        // Messages of other rooms have the numbers between. Only a `prev` that
        // was not shown makes a hole.
        assert_eq!(reading.receive(&message(4, 9)), Step::Next);
        assert_eq!(reading.receive(&message(9, 12)), Step::Next);
        assert_eq!(reading.receive(&message(9, 12)), Step::Repeated);
        assert_eq!(reading.receive(&message(4, 9)), Step::Repeated);
        let hole = Step::Missing {
            after: Seq(12),
            next: Seq(15),
        };
        assert_eq!(reading.receive(&message(13, 15)), hole);
        // A redacted message keeps its number.
        assert_eq!(reading.advance(Seq(12), Seq(15)), Step::Repeated);
        assert_eq!(reading.receive(&message(15, 16)), Step::Next);
        reading.caught_up(Seq(20));
        assert_eq!(reading.receive(&message(16, 21)), Step::Next);
        reading.skip_to(Seq(30));
        assert_eq!(reading.receive(&message(29, 30)), Step::Next);
        assert_eq!(reading.start(), resume("e", 30));
    }

    #[test]
    fn a_backlog_is_read_before_the_head() {
        let start = Start {
            backlog: Some(2),
            ..Start::default()
        };
        let mut reading = RoomReader::begin(&welcome("e", 7), &start, None);
        assert_eq!(reading.position(), None);
        assert_eq!(reading.start(), start, "nothing of it was shown");
        assert_eq!(reading.receive(&message(3, 5)), Step::Next);
        assert_eq!(reading.start(), resume("e", 5));
        // An empty backlog ends with `live`.
        let mut reading = RoomReader::begin(&welcome("e", 7), &start, None);
        reading.caught_up(Seq(7));
        assert_eq!(reading.start(), resume("e", 7));
        // A backlog that arrives only after a break may lack messages from
        // during the break.
        let mut reading = RoomReader::begin(&welcome("e", 7), &start, None);
        reading.resume(&welcome("e", 12));
        let hole = Step::Missing {
            after: Seq(7),
            next: Seq(11),
        };
        assert_eq!(reading.receive(&message(10, 11)), hole);
    }

    #[test]
    fn another_log_is_read_from_its_start() {
        let mut reading = RoomReader::begin(&welcome("e", 7), &Start::default(), None);
        reading.resume(&welcome("f", 3));
        assert_eq!(reading.receive(&message(0, 1)), Step::Next);
        assert_eq!(reading.start(), resume("f", 1));
        // If the same log has a lower head, the server announces it by a gap.
        let mut reading = RoomReader::begin(&welcome("e", 7), &Start::default(), None);
        reading.resume(&welcome("e", 3));
        reading.skip_to(Seq(1));
        assert_eq!(reading.receive(&message(0, 1)), Step::Next);
    }
}
