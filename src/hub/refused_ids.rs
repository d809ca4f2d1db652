//! The ids of messages that are not stored, so that the messages that follow them
//! are refused as well.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
};

use crate::protocol::name::MessageId;

/// How many refused messages are remembered. Beyond that, the oldest is
/// forgotten.
///
/// The limit does not depend on how many messages are under way. Each message
/// follows the one before it, so only the last refused one must be known.
const MAX_REFUSED: usize = 1024;

/// The messages of one publisher that were refused for now and not accepted
/// since.
///
/// A publisher with many messages under way has sent the next one before it
/// learns of a refusal. The next one names the refused one in `follows`, so it
/// is refused and remembered too. Then the publisher can send all of them again
/// in order.
#[derive(Debug, Default)]
pub struct RefusedIds {
    /// A hash of each id, in the order of the refusals. If two hashes are equal
    /// by chance (1 in 2^64), a message must be sent once more.
    ids: VecDeque<u64>,
    hasher: RandomState,
}

impl RefusedIds {
    /// Whether a message follows one of these.
    pub fn contains(&self, follows: Option<&MessageId>) -> bool {
        follows.is_some_and(|id| self.position(id).is_some())
    }

    /// Whether a message may be stored now: not if it follows one of these.
    ///
    /// The refusal of the message itself then holds back what follows. So a
    /// publisher that gives up a message sends the next one twice, not for ever.
    pub fn admit(&mut self, id: Option<&MessageId>, follows: Option<&MessageId>) -> bool {
        let due = !self.contains(follows);
        if due {
            self.accept(id);
        } else if id.is_some() {
            self.accept(follows);
        }
        due
    }

    /// Notes that a message is refused for now. No message can follow one
    /// without an id, so such a message is not noted.
    pub fn refuse(&mut self, id: Option<&MessageId>) {
        let Some(id) = id else { return };
        self.accept(Some(id));
        if self.ids.len() >= MAX_REFUSED {
            self.ids.pop_front();
        }
        self.ids.push_back(self.hasher.hash_one(id));
    }

    /// Notes that a message is accepted, or refused for good.
    pub fn accept(&mut self, id: Option<&MessageId>) {
        if let Some(place) = id.and_then(|id| self.position(id)) {
            self.ids.remove(place);
            if self.ids.is_empty() {
                // Usually no message is refused: free the memory.
                self.ids = VecDeque::new();
            }
        }
    }

    fn position(&self, id: &MessageId) -> Option<usize> {
        if self.ids.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(id);
        self.ids.iter().position(|other| *other == hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> MessageId {
        format!("m-{n}").parse().expect("an id")
    }

    #[test]
    fn a_chain_of_any_length_is_refused_to_its_end() {
        let mut deferred = RefusedIds::default();
        deferred.refuse(Some(&id(0)));
        for n in 1..10 * MAX_REFUSED {
            assert!(deferred.contains(Some(&id(n - 1))), "{n}");
            deferred.refuse(Some(&id(n)));
        }
        assert!(deferred.ids.len() <= MAX_REFUSED);
    }

    #[test]
    fn an_accepted_message_no_longer_holds_its_followers() {
        let mut deferred = RefusedIds::default();
        for n in [1, 2, 1] {
            deferred.refuse(Some(&id(n)));
        }
        deferred.refuse(None);
        assert!(!deferred.contains(None) && !deferred.contains(Some(&id(3))));
        deferred.accept(Some(&id(1)));
        assert!(!deferred.contains(Some(&id(1))) && deferred.contains(Some(&id(2))));
        deferred.accept(None);
        deferred.accept(Some(&id(2)));
        assert!(!deferred.contains(Some(&id(2))));
    }
}
