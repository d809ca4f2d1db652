//! Who may connect: so many in all, so many from one address.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::session::Network;

/// The places there are, and those taken.
#[derive(Debug)]
pub(super) struct Places {
    total: usize,
    per_address: Option<usize>,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    /// Those who have a place: never more than there are places.
    by: HashMap<Network, usize>,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// So many are taken by this address.
    Address(usize),
    /// All are taken.
    Server,
}

/// A connection's place, from its being accepted to its being closed.
#[derive(Debug)]
pub(super) struct Place {
    taken: Arc<Mutex<Taken>>,
    by: Network,
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    pub(super) fn new(total: usize, per_address: Option<usize>) -> Self {
        Places {
            total,
            per_address,
            taken: Arc::default(),
        }
    }

    pub(super) fn take(&self, peer: SocketAddr) -> Result<Place, Full> {
        let by = Network::from(peer);
        let mut taken = lock(&self.taken);
        let own = taken.by.get(&by).copied().unwrap_or_default();
        if let Some(most) = self.per_address.filter(|most| own >= *most) {
            return Err(Full::Address(most));
        }
        if taken.total >= self.total {
            return Err(Full::Server);
        }
        taken.total += 1;
        taken.by.insert(by, own + 1);
        Ok(Place {
            taken: Arc::clone(&self.taken),
            by,
        })
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        lock(&self.taken).total
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.total -= 1;
        if let Some(own) = taken.by.get_mut(&self.by) {
            *own -= 1;
            if *own == 0 {
                taken.by.remove(&self.by);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back() {
        let peer = |last: u8| SocketAddr::from(([192, 0, 2, last], 1));
        let places = Places::new(3, Some(2));
        let first = places.take(peer(1)).expect("a place");
        let second = places.take(peer(1)).expect("a place");
        assert_eq!(places.take(peer(1)).err(), Some(Full::Address(2)));
        let third = places.take(peer(2)).expect("a place");
        assert_eq!(places.take(peer(3)).err(), Some(Full::Server));
        drop(first);
        let fourth = places.take(peer(1)).expect("a place");
        assert_eq!(places.taken(), 3);
        drop((second, third, fourth));
        let taken = lock(&places.taken);
        assert!(taken.total == 0 && taken.by.is_empty());
    }
}
