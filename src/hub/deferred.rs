//! What was refused for now, so that what stands behind it is refused as well.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
};

use crate::protocol::name::MessageId;

/// How many refused messages are remembered; past that the oldest is forgotten.
///
/// However many a publisher has under way: as each follows the one before, the
/// last one refused is all that the next one is compared with.
const MAX: usize = 1024;

/// The messages of one publisher that were refused for now and not taken since.
///
/// Whoever says many things at once has said the next before it hears that one
/// was refused. By what each message `follows` the next is known, refused and
/// remembered as well, and so on: all of it can be said again in its order.
#[derive(Debug, Default)]
pub struct Deferred {
    /// Of each id a hash, in the order of the refusals. Two that are the same
    /// by chance, one in 2^64, cost a message a repetition.
    ids: VecDeque<u64>,
    hasher: RandomState,
}

impl Deferred {
    /// Whether a message stands behind one of these.
    pub fn holds(&self, follows: Option<&MessageId>) -> bool {
        follows.is_some_and(|id| self.place(id).is_some())
    }

    /// A message is refused for now. (What has no id, nothing can follow.)
    pub fn put(&mut self, id: Option<&MessageId>) {
        let Some(id) = id else { return };
        self.take(Some(id));
        if self.ids.len() >= MAX {
            self.ids.pop_front();
        }
        self.ids.push_back(self.hasher.hash_one(id));
    }

    /// A message is taken, or refused for good.
    pub fn take(&mut self, id: Option<&MessageId>) {
        if let Some(place) = id.and_then(|id| self.place(id)) {
            self.ids.remove(place);
            if self.ids.is_empty() {
                // Most of the time there are none: keep no memory for them.
                self.ids = VecDeque::new();
            }
        }
    }

    fn place(&self, id: &MessageId) -> Option<usize> {
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
        let mut deferred = Deferred::default();
        deferred.put(Some(&id(0)));
        for n in 1..10 * MAX {
            assert!(deferred.holds(Some(&id(n - 1))), "{n}");
            deferred.put(Some(&id(n)));
        }
        assert!(deferred.ids.len() <= MAX);
    }

    #[test]
    fn what_is_taken_is_not_waited_for() {
        let mut deferred = Deferred::default();
        for n in [1, 2, 1] {
            deferred.put(Some(&id(n)));
        }
        deferred.put(None);
        assert!(!deferred.holds(None) && !deferred.holds(Some(&id(3))));
        deferred.take(Some(&id(1)));
        assert!(!deferred.holds(Some(&id(1))) && deferred.holds(Some(&id(2))));
        deferred.take(None);
        deferred.take(Some(&id(2)));
        assert!(!deferred.holds(Some(&id(2))));
    }
}
