use super::*;
use crate::log::{GuardedTime, SanctionKind};

fn peer(last: u8, port: u16) -> Peer {
    Peer::accepted(Some(([192, 0, 2, last], port).into())).expect("an id")
}

fn registry(connections: usize, per_prefix: Option<usize>) -> Registry {
    let capacity = Capacity {
        connections,
        per_prefix: PrefixLimits {
            connections: per_prefix,
            ..PrefixLimits::UNLIMITED
        },
        forwarded: PrefixLimits::UNLIMITED,
        unread: None,
    };
    Registry::new(
        capacity,
        "10.0.0.0/8".parse().expect("a prefix"),
        false,
        Vec::new(),
        Vec::new(),
        Vec::new(),
        Arc::new(GuardedClock::after(GuardedTime(0))),
    )
}

#[test]
fn a_dropped_registration_frees_its_place() {
    let registry = registry(3, Some(2));
    let register = |last| registry.register(peer(last, 1));
    let first = register(1).expect("a place");
    let second = register(1).expect("a place");
    assert_eq!(register(1).err(), Some(Full::Prefix(2)));
    let third = register(2).expect("a place");
    assert_eq!(register(3).err(), Some(Full::Server));
    drop(first);
    let fourth = register(1).expect("a place");
    assert_eq!(registry.connections(), 3);
    drop((second, third, fourth));
    assert_eq!(registry.connections(), 0);
    let all = [register(3), register(3), register(4)];
    assert!(all.iter().all(Result::is_ok), "no prefix was kept");
}

#[test]
fn a_ban_holds_for_a_prefix_or_a_name() {
    let registry = registry(9, None);
    let here = registry.register(peer(1, 1)).expect("a place");
    let elsewhere = registry.register(peer(2, 1)).expect("a place");
    let ana: Name = "Ana".parse().expect("a name");
    assert!(here.check_ban(Some(&ana)).is_ok());
    let ban = |whom: &str| Sanction {
        kind: SanctionKind::Ban,
        target: whom.to_owned(),
        shown: whom.to_owned(),
        until: None,
        reason: String::new(),
    };
    registry.apply_sanction(ban("@ana"));
    registry.apply_sanction(ban("192.0.2.2"));
    assert!(here.check_ban(None).is_ok() && here.check_mute(Some(&ana)).is_ok());
    assert!(here.check_ban(Some(&ana)).is_err());
    assert!(elsewhere.check_ban(None).is_err());
    registry.lifted(SanctionKind::Ban, "192.0.2.2");
    assert!(elsewhere.check_ban(None).is_ok());
    registry.apply_sanction(Sanction {
        until: Some(GuardedTime(0)),
        ..ban("192.0.2.1")
    });
    assert!(here.check_ban(None).is_ok(), "it is over");
    // A prefix holds for all its addresses; lifting a part of it lifts nothing.
    registry.apply_sanction(ban("192.0.2.0/24"));
    registry.apply_sanction(ban("192.0.2.0/30"));
    registry.lifted(SanctionKind::Ban, "192.0.2.1");
    assert!(here.check_ban(None).is_err() && elsewhere.check_ban(None).is_err());
    registry.lifted(SanctionKind::Ban, "192.0.2.0/30");
    assert!(here.check_ban(None).is_err());
    let target = SanctionTarget::of(&"192.0.2.1".parse().expect("an address")).expect("a target");
    let covering = registry.covering(SanctionKind::Ban, &target);
    assert_eq!(covering.as_deref(), Some("192.0.2.0/24"));
    let listed: Vec<_> = registry
        .sanctions()
        .into_iter()
        .map(|(it, _)| it.shown)
        .collect();
    assert_eq!(listed, ["192.0.2.0/24", "@ana"]);
    registry.lifted(SanctionKind::Ban, "192.0.2.0/24");
    assert!(here.check_ban(None).is_ok() && elsewhere.check_ban(None).is_ok());
    assert_eq!(registry.covering(SanctionKind::Ban, &target), None);
}

#[test]
fn a_lease_or_its_registration_releases_the_name() {
    let registry = registry(9, None);
    let here = registry.register(peer(1, 1)).expect("a place");
    let lease = |name: &str| {
        let name: Name = name.parse().expect("a name");
        let lease = registry.take_name(&name, Grounds::Lease(None), None);
        (name, lease.expect("free"))
    };
    drop(lease("ana"));
    assert_eq!(registry.names_in_use(), []);
    for name in ["ana", "bob"] {
        let (name, lease) = lease(name);
        here.rename(&name, Some(lease));
        assert_eq!(registry.names_in_use(), [name.key()]);
    }
    here.leave();
    assert_eq!(registry.names_in_use(), []);
    let (name, again) = lease("ana");
    here.rename(&name, Some(again));
    drop(here);
    assert_eq!(registry.names_in_use(), []);
}
