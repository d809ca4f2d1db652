//! Readings: the next messages for one reader, from its room and its inbox, in
//! the order of the log. Only a reader with a name has an inbox.

use std::sync::Arc;

use super::{history::History, page::Page, run::Run};
use crate::{
    protocol::{Seq, format::Format, name::RoomName},
    store::{Hole, StoreError},
};

/// A room or an inbox, and the number after which it is read.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    pub(super) room: RoomName,
    /// Messages up to this number are not for this reader.
    pub(super) floor: Seq,
}

/// Consecutive messages of one room batch; at least one.
pub(super) struct Part<'a> {
    pub(super) run: &'a Run,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl<'a> Part<'a> {
    /// Its frames in a format.
    pub(super) fn frames(&self, format: Format) -> &'a [u8] {
        self.run.block(format).frames(self.from, self.to)
    }

    /// The number of its last message.
    pub(super) fn last(&self) -> Seq {
        self.run.slots()[self.to - 1].seq()
    }
}

/// The next part of the log as one reader sees it.
pub(super) struct Reading {
    room: Stored,
    inbox: Option<Stored>,
}

/// The page that follows a number in a feed.
struct Stored {
    after: Seq,
    page: Page,
}

impl Stored {
    fn recent(history: &History, position: Seq, feed: &Feed) -> Option<Self> {
        let after = position.max(feed.floor);
        let page = history.recent(&feed.room, after)?;
        Some(Stored { after, page })
    }

    async fn find(history: &History, position: Seq, feed: &Feed) -> Result<Self, StoreError> {
        let after = position.max(feed.floor);
        let page = history.after(&feed.room, after).await?;
        Ok(Stored { after, page })
    }

    fn is_empty(&self) -> bool {
        self.page.runs.is_empty() && self.page.hole.is_none()
    }

    fn messages(&self) -> Cursor<'_> {
        let mut cursor = Cursor::of(&self.page.runs);
        // The first room batch may begin before that number.
        let first = self.page.runs.first();
        cursor.taken = first.map_or(0, |run| run.index_after(self.after));
        cursor
    }
}

impl Reading {
    /// Reads what follows a position from the tail; `None` if the tail may not
    /// have all of it.
    pub(super) fn recent(
        history: &History,
        position: Seq,
        room: &Feed,
        inbox: Option<&Feed>,
    ) -> Option<Self> {
        let room = Stored::recent(history, position, room)?;
        let inbox = match inbox {
            Some(inbox) => Some(Stored::recent(history, position, inbox)?),
            None => None,
        };
        Some(Reading { room, inbox })
    }

    /// Reads what follows a position from the tail or the store.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub(super) async fn find(
        history: History,
        position: Seq,
        room: Feed,
        inbox: Option<Feed>,
    ) -> Result<Self, StoreError> {
        let room = Stored::find(&history, position, &room).await?;
        let inbox = match inbox {
            Some(inbox) => Some(Stored::find(&history, position, &inbox).await?),
            None => None,
        };
        Ok(Reading { room, inbox })
    }

    /// Whether nothing follows: the reader is at the end of the log.
    pub(super) fn is_empty(&self) -> bool {
        self.room.is_empty() && self.inbox.as_ref().is_none_or(Stored::is_empty)
    }

    /// The hole in the room, and the first number available after it. `None`
    /// until every inbox message before the end of the hole was read.
    pub(super) fn gap(&self) -> Option<(Hole, Seq)> {
        let (hole, next) = self.room.page.gap()?;
        let read = self.inbox.as_ref().is_none_or(|inbox| {
            let private = inbox.messages().next();
            inbox.page.upto >= hole.upto && private.is_none_or(|seq| seq > hole.upto)
        });
        read.then_some((hole, next))
    }

    /// The hole in the inbox.
    pub(super) fn missing(&self) -> Option<Hole> {
        self.inbox.as_ref()?.page.hole
    }

    /// The number up to which this reading is complete.
    pub(super) fn upto(&self) -> Seq {
        let room = match (self.room.page.hole, self.gap()) {
            // The hole is not announced yet. Until then the reader is only fed
            // its inbox.
            (Some(hole), None) => self.last_private(hole.upto).unwrap_or(hole.upto),
            _ => self.room.page.upto,
        };
        let inbox = self.inbox.as_ref();
        inbox.map_or(room, |inbox| room.min(inbox.page.upto))
    }

    /// All messages up to [`Reading::upto`], in order.
    pub(super) fn parts(&self) -> Vec<Part<'_>> {
        let upto = self.upto();
        let mut parts = Vec::with_capacity(self.room.page.runs.len());
        let (mut room, mut inbox) = (self.room.messages(), self.private());
        loop {
            let (next, other) = match (room.next(), inbox.next()) {
                (Some(first), Some(private)) if private < first => (&mut inbox, Some(first)),
                (None, Some(_)) => (&mut inbox, None),
                (_, private) => (&mut room, private),
            };
            // A part ends before the next message of the other feed.
            let before = other.map_or(upto, |other| upto.min(Seq(other.0 - 1)));
            let Some(part) = next.take(before) else {
                return parts;
            };
            parts.push(part);
        }
    }

    /// The number of the last inbox message up to `upto`, if there is one.
    pub(super) fn last_private(&self, upto: Seq) -> Option<Seq> {
        let mut private = self.private();
        let mut last = None;
        while let Some(part) = private.take(upto) {
            last = Some(part.last());
        }
        last
    }

    fn private(&self) -> Cursor<'_> {
        let inbox = self.inbox.as_ref();
        inbox.map_or(Cursor::of(&[]), Stored::messages)
    }
}

/// A cursor over room batches.
struct Cursor<'a> {
    runs: &'a [Arc<Run>],
    /// How many messages of the first room batch were taken.
    taken: usize,
}

impl<'a> Cursor<'a> {
    fn of(runs: &'a [Arc<Run>]) -> Self {
        Cursor { runs, taken: 0 }
    }

    fn next(&self) -> Option<Seq> {
        Some(self.runs.first()?.slots()[self.taken].seq())
    }

    /// Takes messages of one room batch up to a number; `None` if there are
    /// none.
    fn take(&mut self, upto: Seq) -> Option<Part<'a>> {
        let (run, rest) = self.runs.split_first()?;
        let (from, to) = (self.taken, run.index_after(upto));
        if to <= from {
            return None;
        }
        if to == run.slots().len() {
            *self = Cursor::of(rest);
        } else {
            self.taken = to;
        }
        Some(Part { run, from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fanout::Applier,
        log::Draft,
        protocol::{ConnectionId, GapReason},
        store::{Storage, open},
    };

    /// Room batches of one message each, numbered from 1.
    fn runs(count: usize) -> Vec<Arc<Run>> {
        let (replica, _) = open(&Storage::Memory, "a test").expect("a store");
        let mut log = Applier::local(replica).expect("a log");
        let mut say = |_| {
            let draft = Draft::of("lobby", "text");
            log.say(ConnectionId(7), [draft]).expect("stored")
        };
        (0..count).flat_map(|n| say(n).batch.runs.clone()).collect()
    }

    fn stored(hole: Option<u64>, runs: &[Arc<Run>], upto: u64) -> Stored {
        let reason = GapReason::Damaged;
        let hole = hole.map(|upto| Hole {
            upto: Seq(upto),
            reason,
        });
        let (runs, upto) = (runs.to_vec(), Seq(upto));
        Stored {
            after: Seq::START,
            page: Page { hole, runs, upto },
        }
    }

    /// Verified to fail when a hole is announced before the private messages in
    /// front of it.
    #[test]
    fn private_messages_come_before_a_later_hole() {
        let all = runs(9);
        let [second, fifth, eighth, ninth] = [1, 4, 7, 8].map(|n: usize| &all[n..=n]);
        // The inbox and how far it was read; whether the hole up to 6 is
        // announced; the numbers that are written; the position that is
        // reached.
        for (inbox, reaches, told, written, upto) in [
            (second, 9, false, &[2][..], 2),
            (fifth, 9, false, &[5], 5),
            (ninth, 9, true, &[8, 9], 9),
            (&[], 9, true, &[8], 9),
            (&[], 4, false, &[], 4),
        ] {
            let reading = Reading {
                room: stored(Some(6), eighth, 9),
                inbox: Some(stored(None, inbox, reaches)),
            };
            assert_eq!(reading.gap().is_some(), told, "{written:?}");
            assert_eq!(reading.upto(), Seq(upto), "{written:?}");
            let parts = reading.parts();
            let parts: Vec<_> = parts.iter().map(|part| part.run.first().0).collect();
            assert_eq!(parts, written);
        }
    }
}
