//! What of a room has been shown: where to resume, what is a repeat, and what
//! is missing.

use serde::{Deserialize, Serialize};

use crate::protocol::{Epoch, Message, Private, Seq, Start, Welcome, name::RoomName};

/// A place in a room: everything up to it has been shown, or was before the
/// reader's time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The room.
    pub room: RoomName,
    /// The log that `seq` counts in.
    pub epoch: Epoch,
    /// The last number shown.
    pub seq: Seq,
    /// The number up to which private messages were shown, for whoever has a
    /// name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbox: Option<Seq>,
}

/// The reading of one room, across connections.
#[derive(Debug)]
pub(super) struct Reading {
    position: Position,
    /// While nothing of a backlog was shown: how much of it was asked for. The
    /// position then is where the log ended, which the backlog stands before.
    backlog: Option<u32>,
}

/// How a message follows what was shown before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is the next.
    Next,
    /// It was shown before.
    Repeated,
    /// Something between these two is missing, and nobody has said why.
    Hole { after: Seq, next: Seq },
}

impl Reading {
    /// Begins where `start` asked for in the room that says welcome.
    pub(super) fn begin(welcome: &Welcome, start: &Start, inbox: Option<Seq>) -> Self {
        let foreign = start.epoch.as_ref().is_some_and(|e| *e != welcome.epoch);
        let seq = match start.after {
            // What was counted in another log says nothing here.
            Some(_) if foreign => Seq::START,
            Some(after) => after,
            None => welcome.head,
        };
        Reading {
            position: Position {
                room: welcome.room.clone(),
                epoch: welcome.epoch.clone(),
                seq,
                inbox,
            },
            backlog: start.backlog.filter(|_| start.after.is_none()),
        }
    }

    /// Goes on after a break. In another log nothing has been shown.
    pub(super) fn resume(&mut self, welcome: &Welcome) {
        if welcome.room != self.position.room {
            *self = Self::begin(welcome, &Start::default(), welcome.inbox);
        } else if welcome.epoch != self.position.epoch {
            self.position.epoch = welcome.epoch.clone();
            self.position.inbox = welcome.inbox;
            self.position.seq = match self.backlog {
                Some(_) => welcome.head,
                None => Seq::START,
            };
        } else if self.position.inbox.is_none() {
            self.position.inbox = welcome.inbox;
        }
    }

    /// What to ask for in order to go on.
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

    /// The room that is read.
    pub(super) fn room(&self) -> &RoomName {
        &self.position.room
    }

    /// Where it stands; nothing while a backlog is still to come.
    pub(super) fn position(&self) -> Option<&Position> {
        self.backlog.is_none().then_some(&self.position)
    }

    /// The number up to which private messages were shown.
    pub(super) fn inbox(&self) -> Option<Seq> {
        self.position.inbox
    }

    /// Takes the next message of the room.
    pub(super) fn take(&mut self, message: &Message) -> Step {
        if message.room != self.position.room {
            return Step::Next;
        }
        self.pass(message.prev, message.seq)
    }

    /// Goes on to what stands at a number, after another.
    pub(super) fn pass(&mut self, prev: Seq, next: Seq) -> Step {
        let after = self.position.seq;
        if self.backlog.is_none() && next <= after {
            return Step::Repeated;
        }
        self.backlog = None;
        self.position.seq = next;
        self.reached(next);
        if prev > after {
            return Step::Hole { after, next };
        }
        Step::Next
    }

    /// Takes the next private message: of its own order, but among the messages of
    /// the room it stands in that of the log.
    pub(super) fn take_private(&mut self, private: &Private) -> Step {
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
            Some(after) => Step::Hole { after, next: seq },
            None => Step::Next,
        }
    }

    /// Another name is carried: of its inbox nothing is known yet.
    pub(super) fn renamed(&mut self) {
        self.position.inbox = None;
    }

    /// No private message up to `seq` is still to come.
    fn reached(&mut self, seq: Seq) {
        let inbox = self.position.inbox.map(|inbox| inbox.max(seq));
        self.position.inbox = inbox;
    }

    /// Everything up to `seq` was shown or is not for this room.
    pub(super) fn caught_up(&mut self, seq: Seq) {
        self.backlog = None;
        self.position.seq = self.position.seq.max(seq);
        self.reached(seq);
    }

    /// The log goes on with `next`, wherever that is.
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
    fn reading_goes_on_as_the_vectors_say() {
        let vectors = include_str!("../../tests/vectors/position.json");
        let vectors: Vec<Value> = serde_json::from_str(vectors).expect("vectors");
        for vector in vectors {
            let begin = welcome_of(&vector["welcome"]);
            let backlog = vector["backlog"].as_u64();
            let asked = Start {
                backlog: backlog.map(|count| u32::try_from(count).expect("few")),
                ..Start::default()
            };
            let mut reading = Reading::begin(&begin, &asked, begin.inbox);
            for step in vector["steps"].as_array().expect("steps") {
                take(&mut reading, step);
            }
        }
    }

    /// Takes one step of a vector.
    fn take(reading: &mut Reading, step: &Value) {
        let (what, value) = step
            .as_object()
            .and_then(|step| step.iter().find(|(key, _)| *key != "is"))
            .expect("a step");
        let number = |value: &Value| value.as_u64().expect("a number");
        let is = |taken: &Step| {
            let said = match taken {
                Step::Next => "next",
                Step::Repeated => "repeated",
                Step::Hole { .. } => "hole",
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
            "message" => is(&reading.take(&message(number(&value[0]), number(&value[1])))),
            "private" => {
                let private = json!({
                    "seq": value[1], "prev": value[0], "at": "2026-01-01T00:00:00.000Z",
                    "from": {"name": "ana", "addr": "127.0.0.1:5000"}, "to": "bob", "text": "x",
                });
                let private = serde_json::from_value(private).expect("a private message");
                is(&reading.take_private(&private));
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
    fn repeats_and_holes() {
        let mut reading = Reading::begin(&welcome("e", 7), &Start::default(), None);
        assert_eq!(reading.start(), resume("e", 7));
        // Other rooms' numbers lie between: what counts is that `prev` is known.
        assert_eq!(reading.take(&message(4, 9)), Step::Next);
        assert_eq!(reading.take(&message(9, 12)), Step::Next);
        assert_eq!(reading.take(&message(9, 12)), Step::Repeated);
        assert_eq!(reading.take(&message(4, 9)), Step::Repeated);
        let hole = Step::Hole {
            after: Seq(12),
            next: Seq(15),
        };
        assert_eq!(reading.take(&message(13, 15)), hole);
        // What was erased keeps its place.
        assert_eq!(reading.pass(Seq(12), Seq(15)), Step::Repeated);
        assert_eq!(reading.take(&message(15, 16)), Step::Next);
        reading.caught_up(Seq(20));
        assert_eq!(reading.take(&message(16, 21)), Step::Next);
        reading.skip_to(Seq(30));
        assert_eq!(reading.take(&message(29, 30)), Step::Next);
        assert_eq!(reading.start(), resume("e", 30));
    }

    #[test]
    fn a_backlog_stands_before_the_end_of_the_log() {
        let start = Start {
            backlog: Some(2),
            ..Start::default()
        };
        let mut reading = Reading::begin(&welcome("e", 7), &start, None);
        assert_eq!(reading.position(), None);
        assert_eq!(reading.start(), start, "nothing of it was shown");
        assert_eq!(reading.take(&message(3, 5)), Step::Next);
        assert_eq!(reading.start(), resume("e", 5));
        // An empty one is over at once.
        let mut reading = Reading::begin(&welcome("e", 7), &start, None);
        reading.caught_up(Seq(7));
        assert_eq!(reading.start(), resume("e", 7));
        // One that came only after a break may lack what was said meanwhile.
        let mut reading = Reading::begin(&welcome("e", 7), &start, None);
        reading.resume(&welcome("e", 12));
        let hole = Step::Hole {
            after: Seq(7),
            next: Seq(11),
        };
        assert_eq!(reading.take(&message(10, 11)), hole);
    }

    #[test]
    fn another_log_is_shown_whole() {
        let mut reading = Reading::begin(&welcome("e", 7), &Start::default(), None);
        reading.resume(&welcome("f", 3));
        assert_eq!(reading.take(&message(0, 1)), Step::Next);
        assert_eq!(reading.start(), resume("f", 1));
        // The same log, set back: it says so with a gap.
        let mut reading = Reading::begin(&welcome("e", 7), &Start::default(), None);
        reading.resume(&welcome("e", 3));
        reading.skip_to(Seq(1));
        assert_eq!(reading.take(&message(0, 1)), Step::Next);
    }
}
