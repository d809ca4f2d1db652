//! The names in use, each by one or more connections.

use std::{collections::HashMap, net::IpAddr};

use crate::protocol::name::{Name, NameKey};

/// All names in use, by comparison key.
#[derive(Debug, Default)]
pub(super) struct Names {
    in_use: HashMap<NameKey, Users>,
    /// For each further look of a name in use: the name, and how many
    /// connections use it in a spelling of that look.
    lookalikes: HashMap<NameKey, (NameKey, usize)>,
}

/// The use of one name.
#[derive(Debug)]
struct Users {
    connections: usize,
    /// For a leased name: its spelling, and the one address of all its users.
    lease: Option<(Name, Option<IpAddr>)>,
}

/// Why a connection may take a name.
#[derive(Clone, Copy, Debug)]
pub(in crate::hub) enum Grounds {
    /// It proved that it owns the name. It may use the name beside all other
    /// connections.
    Owner,
    /// It is about to own the name. No more than this many connections, its
    /// own, may use the name now.
    NewOwner(usize),
    /// It leases the name from this address. Connections with the same address
    /// and the same spelling count as one person.
    Lease(Option<IpAddr>),
}

impl Names {
    /// Takes a name for one more connection; false if its other users stand in
    /// the way.
    pub(super) fn take(&mut self, name: &Name, key: &NameKey, grounds: Grounds) -> bool {
        if self.is_like_another(key) {
            return false;
        }
        let lease = match grounds {
            Grounds::Lease(address) => Some((name.clone(), address)),
            Grounds::Owner | Grounds::NewOwner(_) => None,
        };
        let Some(found) = self.in_use.get_mut(key) else {
            let connections = 1;
            let new = Users { connections, lease };
            self.in_use.insert(key.clone(), new);
            self.count_lookalikes(key);
            return true;
        };
        let may = match grounds {
            Grounds::Owner => true,
            Grounds::NewOwner(own) => found.connections <= own,
            Grounds::Lease(address) => address.is_some() && found.lease == lease,
        };
        if may {
            found.connections += 1;
            found.lease = lease;
            self.count_lookalikes(key);
        }
        may
    }

    /// Whether a person may take a name for another one in use.
    fn is_like_another(&self, key: &NameKey) -> bool {
        let is_of_another = |look: &NameKey| {
            let holder = self.lookalikes.get(look);
            holder.is_some_and(|(holder, _)| holder != key)
        };
        let is_taken = |look: NameKey| self.in_use.contains_key(&look) || is_of_another(&look);
        is_of_another(key) || key.lookalikes().any(is_taken)
    }

    fn count_lookalikes(&mut self, key: &NameKey) {
        for look in key.lookalikes() {
            let counted = self.lookalikes.entry(look);
            counted.or_insert_with(|| (key.clone(), 0)).1 += 1;
        }
    }

    /// Counts one user of a name fewer, by the key that it was taken with.
    pub(super) fn release(&mut self, key: &NameKey) {
        for look in key.lookalikes() {
            if let Some((_, connections)) = self.lookalikes.get_mut(&look) {
                *connections -= 1;
                if *connections == 0 {
                    self.lookalikes.remove(&look);
                }
            }
        }
        if let Some(found) = self.in_use.get_mut(key) {
            found.connections -= 1;
            if found.connections == 0 {
                self.in_use.remove(key);
            }
        }
    }

    /// How many connections use a name as its owner. Leases do not count.
    pub(super) fn owners(&self, key: &NameKey) -> usize {
        let found = self.in_use.get(key).filter(|found| found.lease.is_none());
        found.map_or(0, |found| found.connections)
    }

    /// The names that their owners use.
    pub(super) fn owned(&self) -> impl Iterator<Item = &NameKey> {
        let owned = self
            .in_use
            .iter()
            .filter(|(_, found)| found.lease.is_none());
        owned.map(|(key, _)| key)
    }

    /// All names in use.
    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = &NameKey> {
        self.in_use.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_from_one_address_share_a_lease() {
        let mut names = Names::default();
        let (here, elsewhere) = (Some([127, 0, 0, 1].into()), Some([192, 0, 2, 1].into()));
        let mut take = |name: &str, grounds| {
            let name: Name = name.parse().expect("a name");
            names.take(&name, &name.key(), grounds)
        };
        assert!(take("ana", Grounds::Lease(here)));
        assert!(take("ana", Grounds::Lease(here)));
        for grounds in [
            Grounds::Lease(elsewhere),
            Grounds::Lease(None),
            Grounds::NewOwner(1),
        ] {
            assert!(!take("ana", grounds), "{grounds:?}");
        }
        assert!(!take("ANA", Grounds::Lease(here)), "another spelling");
        // Connections without an address never count as the same person.
        assert!(take("bob", Grounds::Lease(None)));
        assert!(!take("bob", Grounds::Lease(None)));
        for name in ["ana", "ana", "bob"] {
            names.release(&name.parse::<Name>().expect("a name").key());
        }
        assert_eq!(names.keys().count(), 0);
    }

    // Verified to fail when names are compared by their first looks alone.
    #[test]
    fn names_with_a_common_look_are_not_used_side_by_side() {
        fn take(names: &mut Names, name: &str) -> Option<NameKey> {
            let name: Name = name.parse().expect("a name");
            let key = name.key();
            names.take(&name, &key, Grounds::Owner).then_some(key)
        }
        // A Greek capital looks like N, and its small letter like v.
        let (capital, small) = ("\u{39d}ina", "\u{3bd}ina");
        let mut names = Names::default();
        let nina = take(&mut names, "Nina").expect("a free name");
        assert_eq!(take(&mut names, capital), None);
        let vina = take(&mut names, "vina").expect("a free name");
        names.release(&nina);
        let greek = take(&mut names, capital).expect("the owner's name");
        names.release(&vina);
        assert_eq!(take(&mut names, "nina"), None);
        let again = take(&mut names, small).expect("the owner's name");
        names.release(&greek);
        let nina = take(&mut names, "nina").expect("a free name");
        for key in [again, nina] {
            names.release(&key);
        }
        assert_eq!((names.in_use.len(), names.lookalikes.len()), (0, 0));
    }
}
