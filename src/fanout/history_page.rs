//! History pages: messages of a room that a client looks up without following
//! the room.

use std::collections::VecDeque;

use super::history::History;
use crate::{
    protocol::{Event, MAX_HISTORY_PAGE_BYTES, Seq, Slot, name::RoomName},
    store::StoreError,
};

/// The messages of a room that a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct PageQuery {
    /// Take the first messages after this number; if absent, take the last
    /// messages.
    pub after: Option<Seq>,
    /// Take only messages before this number.
    pub before: Option<Seq>,
    /// Take at most this many messages.
    pub limit: u32,
}

/// A history page, oldest message first.
#[derive(Debug)]
pub struct HistoryPage {
    /// The gap right after `after`, as the event that readers are sent.
    pub gap: Option<Event>,
    /// The messages. Their texts have at most [`MAX_HISTORY_PAGE_BYTES`] together; a
    /// single message may have more.
    pub messages: Vec<Slot>,
    /// Whether there are more messages: after these if `after` was given,
    /// before these otherwise.
    pub more: bool,
}

impl History {
    /// Looks up a history page of a room.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn page(&self, room: &RoomName, query: PageQuery) -> Result<HistoryPage, StoreError> {
        let head = self.head();
        let end = query
            .before
            .map_or(head, |before| head.min(Seq(before.0.saturating_sub(1))));
        let mut after = if let Some(after) = query.after {
            after
        } else {
            // One message more than the limit shows whether there are more.
            let count = query.limit.saturating_add(1);
            self.store().backlog_start(room, count, end).await?
        };
        let limit = query.limit as usize;
        let mut gap = None;
        let mut messages: VecDeque<Slot> = VecDeque::new();
        let mut bytes = 0;
        let mut more = false;
        'pages: while after < end {
            let page = self.messages(room, after).await?;
            if let Some((hole, next)) = page.gap()
                && Some(after) == query.after
            {
                gap = Some(Event::Gap {
                    after,
                    next,
                    reason: hole.reason,
                });
            }
            let new = page.room_batches.iter().flat_map(|run| run.slots());
            for slot in new.skip_while(|slot| slot.seq() <= after) {
                if slot.seq() > end {
                    break 'pages;
                }
                // The messages show what changed them.
                if matches!(slot, Slot::Changed(_)) {
                    continue;
                }
                messages.push_back(slot.clone());
                bytes += slot.text_bytes();
                while messages.len() > limit || bytes > MAX_HISTORY_PAGE_BYTES && messages.len() > 1
                {
                    more = true;
                    if query.after.is_some() {
                        messages.pop_back();
                        break 'pages;
                    }
                    let dropped = messages.pop_front();
                    bytes -= dropped.map_or(0, |slot| slot.text_bytes());
                }
            }
            after = page.upto;
        }
        Ok(HistoryPage {
            gap,
            messages: messages.into(),
            more,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fanout::Applier,
        log::{Draft, LocalLog},
        protocol::ConnectionId,
        store::{Storage, open},
    };

    async fn found(
        history: &History,
        after: Option<u64>,
        before: Option<u64>,
        limit: u32,
    ) -> (Vec<u64>, bool) {
        let query = PageQuery {
            after: after.map(Seq),
            before: before.map(Seq),
            limit,
        };
        let page = history
            .page(&RoomName::lobby(), query)
            .await
            .expect("readable");
        (page.messages.iter().map(|m| m.seq().0).collect(), page.more)
    }

    /// A history of 3000 messages; every third one is in the lobby.
    fn log(tail: usize, text: usize) -> History {
        let (replica, store) = open(&Storage::Memory, "a test").expect("a store");
        let history = History::with_tail(store, tail);
        let mut log = Applier::new(LocalLog::default(), replica, history).expect("a log");
        let draft = |n: usize| {
            let room = if n.is_multiple_of(3) { "lobby" } else { "tea" };
            Draft::of(room, "x".repeat(text))
        };
        for batch in 0..10 {
            let drafts: Vec<_> = (1..=300).map(|n| draft(batch * 300 + n)).collect();
            log.apply_messages(ConnectionId(7), drafts).expect("stored");
        }
        log.history().clone()
    }

    #[test]
    fn history_pages_from_tail_and_store_are_equal() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        for tail in [0, usize::MAX] {
            let history = log(tail, 10);
            runtime.block_on(async {
                for (after, before, limit, expected, more) in [
                    (None, None, 3, vec![2994, 2997, 3000], true),
                    (None, Some(2997), 2, vec![2991, 2994], true),
                    (None, Some(7), 9, vec![3, 6], false),
                    (None, Some(7), 2, vec![3, 6], false),
                    (None, Some(7), 1, vec![6], true),
                    (None, Some(3), 5, vec![], false),
                    (None, Some(0), 5, vec![], false),
                    (None, Some(9_000_000), 1, vec![3000], true),
                    (None, None, 0, vec![], true),
                    (None, Some(4), 0, vec![], true),
                    (None, Some(3), 0, vec![], false),
                    (Some(2990), None, 0, vec![], true),
                    (Some(3000), None, 0, vec![], false),
                    (Some(0), None, 2, vec![3, 6], true),
                    (Some(2990), None, 9, vec![2991, 2994, 2997, 3000], false),
                    (Some(3000), None, 9, vec![], false),
                    (Some(9_000_000), None, 9, vec![], false),
                    (Some(5), Some(12), 9, vec![6, 9], false),
                    (Some(5), Some(12), 1, vec![6], true),
                    (Some(12), Some(5), 9, vec![], false),
                ] {
                    let asked = (after, before, limit);
                    assert_eq!(
                        found(&history, after, before, limit).await,
                        (expected, more),
                        "{asked:?}"
                    );
                }
                assert_eq!(found(&history, None, None, u32::MAX).await.0.len(), 1000);
            });
        }
    }

    #[test]
    fn history_page_is_bounded_in_bytes() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let history = log(usize::MAX, 8000);
        let fit = MAX_HISTORY_PAGE_BYTES / 8000;
        runtime.block_on(async {
            let (seqs, more) = found(&history, None, None, 200).await;
            assert_eq!((seqs.len(), seqs.last(), more), (fit, Some(&3000), true));
            let (seqs, more) = found(&history, Some(0), None, 200).await;
            assert_eq!((seqs.len(), seqs.first(), more), (fit, Some(&3), true));
        });
        let history = log(usize::MAX, MAX_HISTORY_PAGE_BYTES + 1);
        runtime.block_on(async {
            assert_eq!(found(&history, Some(0), None, 200).await, (vec![3], true));
            assert_eq!(found(&history, None, None, 200).await, (vec![3000], true));
        });
    }
}
