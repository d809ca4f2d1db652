//! The names in use, each by one or more connections.

use std::{collections::HashMap, net::IpAddr};

use crate::protocol::name::{Name, NameKey};

/// All names in use, by comparison key.
#[derive(Debug, Default)]
pub(super) struct Names {
    in_use: HashMap<NameKey, Users>,
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
        let lease = match grounds {
            Grounds::Lease(address) => Some((name.clone(), address)),
            Grounds::Owner | Grounds::NewOwner(_) => None,
        };
        let Some(found) = self.in_use.get_mut(key) else {
            let connections = 1;
            let new = Users { connections, lease };
            self.in_use.insert(key.clone(), new);
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
        }
        may
    }

    /// Counts one user of a name fewer.
    pub(super) fn release(&mut self, key: &NameKey) {
        if let Some(found) = self.in_use.get_mut(key) {
            found.connections -= 1;
            if found.connections == 0 {
                self.in_use.remove(key);
            }
        }
    }

    /// How many connections use a name.
    pub(super) fn connections(&self, key: &NameKey) -> usize {
        self.in_use.get(key).map_or(0, |found| found.connections)
    }

    /// All names in use.
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
}
