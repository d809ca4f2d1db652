//! Receipts: the replies to a publisher's drafts.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::RefusedIds;
use crate::protocol::{
    ConnectionId, Refusal, Seq,
    name::{MessageId, Name, Reference},
};

/// The reply to a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The draft is stored.
    Stored {
        /// Its id, if it had one.
        id: Option<MessageId>,
        /// Its number; for a duplicate, the number of the original.
        seq: Seq,
        /// Whether it was stored before.
        duplicate: bool,
    },
    /// The draft is refused: for now, or under its id.
    Refused(Refusal),
}

/// Which replies a publisher wants. The others only reduce the count of owed
/// replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedReplies {
    /// All replies.
    All,
    /// Replies to drafts that have no echo: duplicates and refused drafts.
    WithoutEcho,
}

/// A publisher's end of the receipts: the number of drafts without a reply, and
/// the replies that arrived. A publisher bounds this queue by how much it
/// publishes.
#[derive(Debug)]
pub struct Receipts {
    shared: Arc<SharedReceipts>,
}

/// A draft's end of the receipts. It goes to the writer with the draft.
#[derive(Debug)]
pub struct Receipt {
    shared: Arc<SharedReceipts>,
    /// The ref of the command that brought the draft.
    reference: Option<Reference>,
    /// The absent recipient of a private message; `None` if the publisher learns
    /// nothing of it.
    away: Option<Name>,
}

/// A reply to a draft, with what the publisher is told besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublisherReply {
    /// The reply.
    pub reply: Reply,
    /// The ref of the command that it answers.
    pub reference: Option<Reference>,
    /// The recipient of the private message, who is away.
    pub away: Option<Name>,
}

struct SharedReceipts {
    /// The connection of the publisher.
    connection: ConnectionId,
    wanted: WantedReplies,
    state: Mutex<ReceiptState>,
}

#[derive(Default)]
struct ReceiptState {
    owed: usize,
    replies: VecDeque<PublisherReply>,
    /// The messages that the writer refused.
    deferred: RefusedIds,
    /// The task that waits for a reply. If it has a number, it also wakes once
    /// no more replies than that are owed.
    waiting: Option<(Waker, Option<usize>)>,
}

impl SharedReceipts {
    fn lock(&self) -> MutexGuard<'_, ReceiptState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receipts {
    /// The receipts of a publisher that has sent no draft yet.
    pub fn new(connection: ConnectionId, wanted: WantedReplies) -> Self {
        let state = Mutex::default();
        Receipts {
            shared: Arc::new(SharedReceipts {
                connection,
                wanted,
                state,
            }),
        }
    }

    /// Makes the receipt for one more draft.
    pub fn issue(&self) -> Receipt {
        self.issue_for(None, None)
    }

    /// Makes the receipt for a draft that came with a command of this ref, for a
    /// recipient who is away.
    pub fn issue_for(&self, reference: Option<Reference>, away: Option<Name>) -> Receipt {
        self.shared.lock().owed += 1;
        Receipt {
            shared: Arc::clone(&self.shared),
            reference,
            away,
        }
    }

    /// How many drafts have no reply yet.
    pub fn owed(&self) -> usize {
        self.shared.lock().owed
    }

    /// Takes a reply that has arrived, without waiting.
    pub fn try_next(&self) -> Option<PublisherReply> {
        self.shared.lock().replies.pop_front()
    }

    /// Waits for the next reply. Given a number, returns `None` once no more
    /// replies than that are owed. Cancel-safe.
    pub fn next(&self, until_owed: Option<usize>) -> impl Future<Output = Option<PublisherReply>> {
        poll_fn(move |cx| self.poll_next(cx, until_owed))
    }

    fn poll_next(
        &self,
        cx: &mut Context<'_>,
        until_owed: Option<usize>,
    ) -> Poll<Option<PublisherReply>> {
        let mut state = self.shared.lock();
        if let Some(reply) = state.replies.pop_front() {
            return Poll::Ready(Some(reply));
        }
        if until_owed.is_some_and(|few| state.owed <= few) {
            return Poll::Ready(None);
        }
        match &mut state.waiting {
            Some((waker, waited)) if waker.will_wake(cx.waker()) => *waited = until_owed,
            waiting => *waiting = Some((cx.waker().clone(), until_owed)),
        }
        Poll::Pending
    }
}

impl Receipt {
    /// The connection of the publisher.
    pub(super) fn connection(&self) -> ConnectionId {
        self.shared.connection
    }

    /// Whether the draft may be stored now: not if it follows a message that
    /// the writer refused.
    pub(super) fn accept(&self, id: Option<&MessageId>, follows: Option<&MessageId>) -> bool {
        self.shared.lock().deferred.admit(id, follows)
    }

    /// Gives the publisher the reply to the draft.
    pub fn tell(mut self, reply: Reply) {
        if let Reply::Refused(refusal) = &reply {
            self.shared.lock().deferred.refuse(refusal.id.as_ref());
        }
        let seen = matches!(
            reply,
            Reply::Stored {
                duplicate: false,
                ..
            }
        );
        let away = self.away.take().filter(|_| seen);
        if !seen || away.is_some() || self.shared.wanted == WantedReplies::All {
            let reference = self.reference.take();
            self.shared.lock().replies.push_back(PublisherReply {
                reply,
                reference,
                away,
            });
        }
    }
}

/// A dropped receipt is no longer owed, even if the draft had no reply.
impl Drop for Receipt {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.owed -= 1;
        let due = !state.replies.is_empty();
        if let Some((_, until_owed)) = &state.waiting
            && (due || until_owed.is_some_and(|few| state.owed <= few))
            && let Some((waker, _)) = state.waiting.take()
        {
            drop(state);
            waker.wake();
        }
    }
}

impl fmt::Debug for SharedReceipts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedReceipts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn stored(seq: u64) -> Reply {
        Reply::Stored {
            id: None,
            seq: Seq(seq),
            duplicate: false,
        }
    }

    fn told(seq: u64, reference: Option<Reference>, away: Option<Name>) -> PublisherReply {
        PublisherReply {
            reply: stored(seq),
            reference,
            away,
        }
    }

    #[tokio::test]
    async fn replies_arrive_in_order() {
        let receipts = Receipts::new(ConnectionId(7), WantedReplies::All);
        let reference: Option<Reference> = "r".parse().ok();
        let first = receipts.issue();
        let second = receipts.issue_for(reference.clone(), None);
        assert_eq!(receipts.owed(), 2);
        assert!(receipts.next(None).now_or_never().is_none());
        first.tell(stored(1));
        second.tell(stored(2));
        assert_eq!(receipts.next(None).await, Some(told(1, None, None)));
        assert_eq!(receipts.try_next(), Some(told(2, reference, None)));
        assert_eq!((receipts.try_next(), receipts.owed()), (None, 0));
    }

    #[tokio::test]
    async fn an_unwanted_reply_wakes_only_a_wait_for_the_count() {
        let receipts = Receipts::new(ConnectionId(7), WantedReplies::WithoutEcho);
        let (first, second) = (receipts.issue(), receipts.issue());
        let mut few = std::pin::pin!(receipts.next(Some(0)));
        assert!(few.as_mut().now_or_never().is_none());
        first.tell(stored(1));
        assert!(few.as_mut().now_or_never().is_none());
        // This draft gets no reply: the writer has ended.
        drop(second);
        assert_eq!(few.await, None);
    }

    #[tokio::test]
    async fn a_publisher_with_an_echo_learns_who_is_away() {
        let receipts = Receipts::new(ConnectionId(7), WantedReplies::WithoutEcho);
        let bob: Option<Name> = "bob".parse().ok();
        receipts.issue_for(None, bob.clone()).tell(stored(1));
        assert_eq!(receipts.next(None).await, Some(told(1, None, bob.clone())));
        // Only if the message is stored.
        let reply = Reply::Refused(Refusal::new(crate::protocol::RefusalCode::Busy, "no"));
        receipts.issue_for(None, bob).tell(reply);
        let refused = receipts.next(None).await.expect("a reply");
        assert_eq!(refused.away, None);
    }
}
