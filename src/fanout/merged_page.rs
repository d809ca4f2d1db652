//! Readings: the next messages for one reader, from its room and its inbox, in
//! the order of the log. Only a reader with a name has an inbox.

use std::sync::Arc;

use super::{feed_page::FeedPage, history::History, room_batch::RoomBatch};
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
    pub(super) room_batch: &'a RoomBatch,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl<'a> Part<'a> {
    /// Its frames in a format.
    pub(super) fn frames(&self, format: Format) -> &'a [u8] {
        self.room_batch.block(format).frames(self.from, self.to)
    }

    /// The number of its last message.
    pub(super) fn last(&self) -> Seq {
        self.room_batch.slots()[self.to - 1].seq()
    }
}

/// The next part of the log as one reader sees it.
pub(super) struct MergedPage {
    room: PageAfter,
    inbox: Option<PageAfter>,
}

/// The page that follows a number in a feed.
struct PageAfter {
    after: Seq,
    page: FeedPage,
}

impl PageAfter {
    fn recent(history: &History, position: Seq, feed: &Feed) -> Option<Self> {
        let after = position.max(feed.floor);
        let page = history.recent(&feed.room, after)?;
        Some(PageAfter { after, page })
    }

    async fn find(history: &History, position: Seq, feed: &Feed) -> Result<Self, StoreError> {
        let after = position.max(feed.floor);
        let page = history.after(&feed.room, after).await?;
        Ok(PageAfter { after, page })
    }

    fn is_empty(&self) -> bool {
        self.page.room_batches.is_empty() && self.page.hole.is_none()
    }

    fn messages(&self) -> Cursor<'_> {
        let mut cursor = Cursor::of(&self.page.room_batches);
        // The first room batch may begin before that number.
        let first = self.page.room_batches.first();
        cursor.taken = first.map_or(0, |run| run.index_after(self.after));
        cursor
    }
}

impl MergedPage {
    /// Reads what follows a position from the tail; `None` if the tail may not
    /// have all of it.
    pub(super) fn recent(
        history: &History,
        position: Seq,
        room: &Feed,
        inbox: Option<&Feed>,
    ) -> Option<Self> {
        let room = PageAfter::recent(history, position, room)?;
        let inbox = match inbox {
            Some(inbox) => Some(PageAfter::recent(history, position, inbox)?),
            None => None,
        };
        Some(MergedPage { room, inbox })
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
        let room = PageAfter::find(&history, position, &room).await?;
        let inbox = match inbox {
            Some(inbox) => Some(PageAfter::find(&history, position, &inbox).await?),
            None => None,
        };
        Ok(MergedPage { room, inbox })
    }

    /// Whether nothing follows: the reader is at the end of the log.
    pub(super) fn is_empty(&self) -> bool {
        self.room.is_empty() && self.inbox.as_ref().is_none_or(PageAfter::is_empty)
    }

    /// The hole in the room, and the first number available after it. `None`
    /// until every inbox message before the end of the hole was read.
    pub(super) fn gap(&self) -> Option<(Hole, Seq)> {
        let (hole, next) = self.room.page.gap()?;
        let read = self.inbox.as_ref().is_none_or(|inbox| {
            let private = inbox.messages().peek();
            inbox.page.upto >= hole.upto && private.is_none_or(|seq| seq > hole.upto)
        });
        read.then_some((hole, next))
    }

    /// The hole in the inbox.
    pub(super) fn inbox_hole(&self) -> Option<Hole> {
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

    /// All messages up to [`MergedPage::upto`], in order.
    pub(super) fn parts(&self) -> Vec<Part<'_>> {
        let upto = self.upto();
        let mut parts = Vec::with_capacity(self.room.page.room_batches.len());
        let (mut room, mut inbox) = (self.room.messages(), self.private());
        loop {
            let (next, other) = match (room.peek(), inbox.peek()) {
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
        inbox.map_or(Cursor::of(&[]), PageAfter::messages)
    }
}

/// A cursor over room batches.
struct Cursor<'a> {
    room_batches: &'a [Arc<RoomBatch>],
    /// How many messages of the first room batch were taken.
    taken: usize,
}

impl<'a> Cursor<'a> {
    fn of(room_batches: &'a [Arc<RoomBatch>]) -> Self {
        Cursor {
            room_batches,
            taken: 0,
        }
    }

    fn peek(&self) -> Option<Seq> {
        Some(self.room_batches.first()?.slots()[self.taken].seq())
    }

    /// Takes messages of one room batch up to a number; `None` if there are
    /// none.
    fn take(&mut self, upto: Seq) -> Option<Part<'a>> {
        let (room_batch, rest) = self.room_batches.split_first()?;
        let (from, to) = (self.taken, room_batch.index_after(upto));
        if to <= from {
            return None;
        }
        if to == room_batch.slots().len() {
            *self = Cursor::of(rest);
        } else {
            self.taken = to;
        }
        Some(Part {
            room_batch,
            from,
            to,
        })
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
    fn room_batches(count: usize) -> Vec<Arc<RoomBatch>> {
        let (replica, _) = open(&Storage::Memory, "a test").expect("a store");
        let mut log = Applier::local(replica).expect("a log");
        let mut say = |_| {
            let draft = Draft::of("lobby", "text");
            log.apply_messages(ConnectionId(7), [draft])
                .expect("stored")
        };
        (0..count)
            .flat_map(|n| say(n).batch.room_batches.clone())
            .collect()
    }

    fn page_after(hole: Option<u64>, room_batches: &[Arc<RoomBatch>], upto: u64) -> PageAfter {
        let reason = GapReason::Damaged;
        let hole = hole.map(|upto| Hole {
            upto: Seq(upto),
            reason,
        });
        let (room_batches, upto) = (room_batches.to_vec(), Seq(upto));
        PageAfter {
            after: Seq::START,
            page: FeedPage {
                hole,
                room_batches,
                upto,
            },
        }
    }

    /// Verified to fail when a hole is announced before the private messages in
    /// front of it.
    #[test]
    fn private_messages_come_before_a_later_hole() {
        let all = room_batches(9);
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
            let reading = MergedPage {
                room: page_after(Some(6), eighth, 9),
                inbox: Some(page_after(None, inbox, reaches)),
            };
            assert_eq!(reading.gap().is_some(), told, "{written:?}");
            assert_eq!(reading.upto(), Seq(upto), "{written:?}");
            let parts = reading.parts();
            let parts: Vec<_> = parts.iter().map(|part| part.room_batch.first().0).collect();
            assert_eq!(parts, written);
        }
    }
}
