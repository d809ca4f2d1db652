//! The tail: the recent end of the log in memory, encoded when first needed.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{
    feed_page::FeedPage,
    room_batch::{MessageBatch, RoomBatch},
};
use crate::protocol::{Revision, Seq, name::RoomName};

/// The most room batches in one page: as many as one `writev(2)` is given.
const PAGE_ROOM_BATCHES: usize = 64;

/// The last room batches of all rooms, up to a bound in bytes.
pub(super) struct Tail {
    /// The tail has every message after this number.
    floor: Seq,
    /// The number of the last committed message.
    head: Seq,
    /// All room batches, oldest first: the order in which they are dropped.
    order: VecDeque<Arc<RoomBatch>>,
    /// The same room batches by room, oldest first.
    rooms: HashMap<RoomName, VecDeque<Arc<RoomBatch>>>,
    weight: usize,
    bound: usize,
}

impl Tail {
    /// Creates an empty tail behind a log that ends at `head`, with a bound in
    /// bytes.
    pub(super) fn new(head: Seq, bound: usize) -> Self {
        Tail {
            floor: head,
            head,
            order: VecDeque::new(),
            rooms: HashMap::new(),
            weight: 0,
            bound,
        }
    }

    pub(super) fn head(&self) -> Seq {
        self.head
    }

    /// Moves the head to `head`, where the store ends. The tail does not have
    /// the messages up to there.
    pub(super) fn skip_to(&mut self, head: Seq) {
        if head > self.head {
            (self.head, self.floor) = (head, head);
        }
    }

    /// Adds a batch that was just committed, and drops the oldest room batches
    /// beyond the bound.
    pub(super) fn push(&mut self, batch: &MessageBatch) {
        self.head = self.head.max(batch.last);
        for room_batch in &batch.room_batches {
            self.weight += room_batch.weight();
            self.rooms
                .entry(room_batch.room().clone())
                .or_default()
                .push_back(Arc::clone(room_batch));
            self.order.push_back(Arc::clone(room_batch));
        }
        while self.weight > self.bound && self.drop_oldest() {}
    }

    /// Drops each room batch with an expired message, one numbered up to
    /// `upto`.
    pub(super) fn expire(&mut self, upto: Seq) {
        // Room batches stand in the order of their first numbers, also within
        // one batch.
        while self
            .order
            .front()
            .is_some_and(|oldest| oldest.first() <= upto)
        {
            self.drop_oldest();
        }
    }

    /// Brings a message, and what is about it, to the state after a revision.
    /// Each keeps its place.
    pub(super) fn revise(&mut self, room: &RoomName, seq: Seq, revision: &Revision) {
        let Some(room_batches) = self.rooms.get_mut(room) else {
            return;
        };
        let first = room_batches.partition_point(|run| run.last() < seq);
        for room_batch in room_batches.range_mut(first..) {
            if let Some(new) = room_batch.revised(seq, revision) {
                let old = std::mem::replace(room_batch, Arc::new(new));
                self.weight = self.weight - old.weight() + room_batch.weight();
                // Room batches stand in the order of their first numbers.
                let order = &mut self.order;
                let place = order.partition_point(|run| run.first() < old.first());
                if let Some(same) = order.get_mut(place) {
                    *same = Arc::clone(room_batch);
                }
            }
            // The replay needs only the last reactions to be right.
            if matches!(revision, Revision::Reacted(_)) {
                return;
            }
        }
    }

    /// Drops the oldest room batch; returns false if there is none.
    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.order.pop_front() else {
            return false;
        };
        self.weight -= oldest.weight();
        // The room batches of one batch interleave, so the floor is the highest
        // number dropped.
        self.floor = self.floor.max(oldest.last());
        if let Some(room_batches) = self.rooms.get_mut(oldest.room()) {
            room_batches.pop_front();
            if room_batches.is_empty() {
                self.rooms.remove(oldest.room());
            }
        }
        true
    }

    /// The messages after `after` in a room; `None` if some of them may have
    /// been dropped.
    pub(super) fn after(&self, room: &RoomName, after: Seq) -> Option<FeedPage> {
        let room_batches = self.rooms.get(room);
        // The first message of a room does not tell what was swept before it.
        let unbroken = room_batches
            .and_then(VecDeque::front)
            .is_some_and(|first| (Seq::START.next()..=after).contains(&first.prev()));
        if !unbroken && after < self.floor {
            return None;
        }
        let Some(room_batches) = room_batches else {
            return Some(FeedPage {
                upto: self.head,
                ..FeedPage::default()
            });
        };
        let first = room_batches.partition_point(|run| run.last() <= after);
        let page: Vec<_> = room_batches
            .range(first..)
            .take(PAGE_ROOM_BATCHES)
            .cloned()
            .collect();
        let upto = match page.last() {
            Some(last) if first + page.len() < room_batches.len() => last.last(),
            _ => self.head,
        };
        Some(FeedPage {
            hole: None,
            room_batches: page,
            upto,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::room_batch::tests::{message, room_batch},
        *,
    };

    fn room(name: &str) -> RoomName {
        name.parse().expect("a room")
    }

    fn seqs(page: &FeedPage) -> Vec<u64> {
        page.room_batches
            .iter()
            .flat_map(|r| r.messages())
            .map(|m| m.seq.0)
            .collect()
    }

    #[test]
    fn tail_answers_only_if_it_has_every_later_message() {
        let mut tail = Tail::new(Seq(10), usize::MAX);
        assert!(
            tail.after(&room("a"), Seq(9)).is_none(),
            "the tail does not have message 10"
        );
        assert_eq!(
            tail.after(&room("a"), Seq(10)).expect("at the floor").upto,
            Seq(10)
        );

        tail.push(&MessageBatch::of(vec![
            message("a", 4, 11),
            message("b", 0, 12),
        ]));
        assert_eq!(
            seqs(&tail.after(&room("a"), Seq(4)).expect("prev proves it")),
            [11]
        );
        assert!(tail.after(&room("a"), Seq(3)).is_none());
        let page = tail.after(&room("a"), Seq(11)).expect("the end");
        assert_eq!((page.room_batches.len(), page.upto), (0, Seq(12)));
        assert_eq!(
            seqs(&tail.after(&room("b"), Seq(10)).expect("its first")),
            [12]
        );
        assert!(
            tail.after(&room("b"), Seq(9)).is_none(),
            "the room may have been swept before"
        );
        assert!(
            tail.after(&room("c"), Seq(0)).is_none(),
            "the tail does not have the room's past"
        );
    }

    #[test]
    fn tail_is_bounded_in_bytes() {
        let longest = room_batch(vec![message("b", 11, 12)]).weight();
        let mut tail = Tail::new(Seq(0), longest * 3);
        for seq in 1..=9 {
            tail.push(&MessageBatch::of(vec![message("a", seq - 1, seq)]));
        }
        assert!(tail.after(&room("a"), Seq(5)).is_none());
        assert_eq!(
            seqs(&tail.after(&room("a"), Seq(6)).expect("the last three")),
            [7, 8, 9]
        );
        tail.push(&MessageBatch::of(vec![message("b", 0, 10)]));
        tail.push(&MessageBatch::of(vec![message("b", 10, 11)]));
        tail.push(&MessageBatch::of(vec![message("b", 11, 12)]));
        assert!(tail.after(&room("a"), Seq(8)).is_none());
        assert_eq!(
            seqs(&tail.after(&room("a"), Seq(9)).expect("nothing since")),
            Vec::<u64>::new()
        );
    }

    #[test]
    fn redaction_removes_the_text_from_memory() {
        let mut tail = Tail::new(Seq(0), usize::MAX);
        tail.push(&MessageBatch::of(vec![
            message("a", 0, 1),
            message("b", 0, 2),
            message("a", 1, 3),
        ]));
        tail.push(&MessageBatch::of(vec![message("a", 3, 4)]));
        let kept = tail.order.clone();
        for seq in [3, 3, 5] {
            tail.revise(&room("a"), Seq(seq), &Revision::Redacted);
        }
        let page = tail.after(&room("a"), Seq(0)).expect("all");
        assert_eq!((seqs(&page), page.upto), (vec![1, 4], Seq(4)));
        assert_eq!(page.room_batches[0].last(), Seq(3), "its place is kept");
        assert_eq!(Arc::strong_count(&kept[0]), 1, "the old one is dropped");
        assert_eq!(Arc::strong_count(&kept[1]), 3);
        let weight: usize = tail.order.iter().map(|run| run.weight()).sum();
        assert_eq!(tail.weight, weight);
        // An expiry drops the redacted room batch as well.
        tail.expire(Seq(4));
        assert_eq!((tail.weight, tail.rooms.len()), (0, 0));
    }

    #[test]
    fn many_room_batches_are_split_into_pages() {
        let mut tail = Tail::new(Seq(0), usize::MAX);
        for seq in 1..=100 {
            tail.push(&MessageBatch::of(vec![message("a", seq - 1, seq)]));
        }
        let page = tail.after(&room("a"), Seq(0)).expect("the first");
        assert_eq!(
            (page.room_batches.len(), page.upto),
            (PAGE_ROOM_BATCHES, Seq(64))
        );
        let page = tail.after(&room("a"), page.upto).expect("the second");
        assert_eq!((page.room_batches.len(), page.upto), (36, Seq(100)));
    }
}
