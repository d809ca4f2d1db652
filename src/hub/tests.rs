use std::sync::{Mutex, atomic::AtomicBool};

use tokio_util::task::TaskTracker;

use super::*;
use crate::{
    fanout::{Applier, Socket},
    log::{
        BatchId, BatchPosition, Draft, LocalLog, Log, NoAnswer, OrderedBatch, SanctionKind,
        SealedBatch,
    },
    protocol::{About, AboutKind, RefusalCode, format::Format},
    store::{self, Storage},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A local log that gives no answer while `off` is set.
#[derive(Clone, Default)]
struct Switched {
    local: Arc<Mutex<LocalLog>>,
    off: Arc<AtomicBool>,
}

impl Log for Switched {
    fn propose(&mut self, sealed: &SealedBatch) -> Result<(), NoAnswer> {
        if self.off.load(Ordering::Relaxed) {
            return Err(NoAnswer);
        }
        self.local.lock().unwrap().propose(sealed)
    }

    fn read_after(&mut self, after: BatchPosition) -> Result<Option<OrderedBatch>, NoAnswer> {
        self.local.lock().unwrap().read_after(after)
    }

    fn withdraw(&mut self, origin: BatchId) -> bool {
        self.local.lock().unwrap().withdraw(origin)
    }
}

/// A hub over a store in memory, and the publisher that keeps its writer
/// running.
struct World {
    hub: Hub,
    log: Switched,
    _publisher: Submitter,
}

impl World {
    fn new(name_expiry: Duration) -> Self {
        let (replica, store) = store::open(&Storage::Memory, "a test").expect("a store");
        let log = Switched::default();
        let history = History::new(store);
        let applier = Applier::new(log.clone(), replica, history).expect("in step");
        let options = HubOptions {
            shards: 1,
            name_expiry,
            edit_window: Duration::ZERO,
            access: AccessMode::Open,
            capacity: Capacity::UNLIMITED,
            proxies: AddressSet::NONE,
            hides_addresses: false,
        };
        let tasks = TaskTracker::new();
        let (hub, publisher) = Hub::start(applier, &options, &tasks).expect("a hub");
        World {
            hub,
            log,
            _publisher: publisher,
        }
    }

    fn claim(
        &self,
        name: &str,
        secret: Option<&str>,
    ) -> impl Future<Output = Result<Claimed, Refusal>> + use<> {
        self.hub.claim(Claim {
            peer: peer([127, 0, 0, 1]),
            budget: None,
            name: name.parse().expect("a name"),
            secret: secret.map(|secret| secret.parse().expect("a secret")),
            current_name: None,
            new: Ok(()),
        })
    }

    async fn lease(&self, name: &str, from: [u8; 4]) -> Result<NameUse, Refusal> {
        let name = name.parse().unwrap();
        let registration = self.hub.register(peer(from)).expect("a place");
        self.hub.use_name(&name, None, &registration).await
    }
}

fn peer(from: [u8; 4]) -> Peer {
    Peer::accepted(Some((from, 5000).into())).expect("random bits")
}

fn code<T>(claimed: Result<T, Refusal>) -> Option<RefusalCode> {
    claimed.err().map(|refusal| refusal.code)
}

#[tokio::test]
async fn an_owned_name_is_proved_by_its_secret() {
    let world = World::new(90 * DAY);
    let first = world.claim("ana", None).await.expect("free");
    let secret = first.new_secret.as_ref().expect("made").reveal().to_owned();
    assert!(first.new);
    // The first connection may be dead and not yet closed: the owner can return
    // beside it, more than once.
    for _ in 0..2 {
        let again = world.claim("Ana", Some(&secret)).await.expect("owned");
        assert_eq!((again.new, again.new_secret), (false, None));
    }
    drop(first);
    for (name, secret) in [
        ("ana", None),
        ("аna", None),
        ("ana", Some("another-secret-of-ana".to_owned())),
        ("ana", Some(format!("{secret}x"))),
    ] {
        let refused = world.claim(name, secret.as_deref()).await;
        assert_eq!(code(refused), Some(RefusalCode::NameTaken), "{name}");
    }
    assert_eq!(world.hub.shared.registry.names_in_use(), []);
}

// Verified to fail when the writer notes no entry.
#[tokio::test]
async fn a_failing_log_has_no_pulse() {
    let world = World::new(90 * DAY);
    drop(world.claim("ana", None).await.expect("free"));
    assert!(world.hub.take_pulse());
    world.log.off.store(true, Ordering::Relaxed);
    assert!(world.claim("bob", None).await.is_err());
    assert!(!world.hub.take_pulse());
}

// Verified to fail when a claim stores another form of the secret.
#[tokio::test]
async fn a_chosen_secret_proves_its_name_again_and_again() {
    let world = World::new(90 * DAY);
    let chosen = Some("of-ana-and-long-enough");
    drop(world.claim("ana", chosen).await.expect("free"));
    for _ in 0..2 {
        let again = world.claim("ana", chosen).await.expect("owned");
        assert!(!again.new);
        for wrong in ["of-ana-and-long-enougH", "random128_0123456789abcdefghijkl"] {
            let refused = world.claim("ana", Some(wrong)).await;
            assert_eq!(code(refused), Some(RefusalCode::NameTaken), "{wrong}");
        }
    }
}

#[tokio::test]
async fn a_name_in_use_by_another_cannot_be_claimed() {
    let world = World::new(90 * DAY);
    let (here, elsewhere) = ([127, 0, 0, 1], [192, 0, 2, 1]);
    let leased = world.lease("ana", here).await.expect("free");
    assert!(world.lease("ANA", here).await.is_err());
    assert!(world.lease("ana", elsewhere).await.is_err());
    let again = world.lease("ana", here).await.expect("the same person");
    let refused = world.claim("ana", None).await;
    assert_eq!(code(refused), Some(RefusalCode::NameTaken));
    drop(leased);
    assert!(
        world.lease("ana", elsewhere).await.is_err(),
        "one is still there"
    );
    drop(again);
    assert!(world.claim("ana", None).await.is_ok());
}

#[tokio::test]
async fn an_expired_name_can_be_claimed_again() {
    let world = World::new(Duration::ZERO);
    let own = world.claim("ana", None).await.expect("free");
    let refused = world.claim("ana", None).await;
    assert_eq!(code(refused), Some(RefusalCode::NameTaken), "it is in use");
    drop(own);
    assert!(world.claim("ana", None).await.expect("free again").new);
}

// Verified to fail when a connected owner's name is swept, and when no name is.
#[tokio::test(start_paused = true)]
async fn a_sweep_spares_the_names_of_connected_owners() {
    let world = World::new(Duration::MAX);
    let HubState {
        history,
        clock,
        registry,
        actions,
        ..
    } = &*world.hub.shared;
    let is_stored = async |name: &str| {
        let key = name.parse::<Name>().expect("a name").key();
        let found = history.store().owned(&key).await;
        found.expect("readable").is_some()
    };
    // The names are claimed four days ago.
    let ago = i64::try_from((4 * DAY).as_millis()).expect("a number");
    clock.move_wall(-ago);
    let _ana = world.claim("ana", None).await.expect("free");
    // A Greek capital looks like N, and its small letter like v.
    let greek = "\u{39d}ina";
    for name in ["bob", greek] {
        drop(world.claim(name, None).await.expect("free"));
    }
    let rows = ["ana", "bob", greek, "nina", "vina"];
    let settings = Action::Settings {
        name_expiry_ms: 0,
        edit_window_ms: 0,
    };
    let settings = world.hub.act(ConnectionId::SERVER, settings);
    settings.await.expect("stored");
    let sweep = || sweep::sweep(actions, history.store(), clock, registry);
    assert_eq!(sweep().await, Ok(()));
    for name in rows {
        assert!(is_stored(name).await, "{name}");
    }
    // The guarded clock believes the wall clock once it stood there for hours.
    let hours = Duration::from_secs(2 * 60 * 60);
    clock.move_wall(0);
    for _ in 0..4 {
        clock.now();
        tokio::time::advance(hours).await;
    }
    clock.now();
    assert_eq!(sweep().await, Ok(()));
    for name in rows {
        assert_eq!(is_stored(name).await, name == "ana", "{name}");
    }
}

// Verified to fail when the room of a member is swept, and when no room is.
#[tokio::test]
async fn a_sweep_spares_the_rooms_of_members() {
    let world = World::new(Duration::MAX);
    let HubState {
        history,
        clock,
        registry,
        actions,
        ..
    } = &*world.hub.shared;
    let tea: RoomName = "tea".parse().expect("a room");
    let peer = peer([127, 0, 0, 1]);
    let member = world.hub.register(peer).expect("a place");
    let socket = Socket::Other(Box::new(tokio::io::sink()));
    let fanout = world.hub.fanout();
    let subscriber = fanout.subscribe(socket, Format::Plain, peer.id, true);
    let author = Draft::of("tea", "").from;
    let _ended = member.begin(author, None, &tea, subscriber.handle());
    let messages = ["tea", "milk"].map(|room| Action::Message(Draft::of(room, "text")));
    for action in messages
        .into_iter()
        .chain([Action::Expire { upto: Seq(2) }])
    {
        let stored = world.hub.act(ConnectionId::SERVER, action);
        stored.await.expect("stored");
    }
    let empty = async || {
        let page = history.store().empty_rooms(String::new()).await;
        page.expect("readable").expired
    };
    assert_eq!(empty().await.len(), 2);
    let sweep = || sweep::sweep(actions, history.store(), clock, registry);
    assert_eq!(sweep().await, Ok(()));
    assert_eq!(empty().await, [tea]);
    drop(member);
    assert_eq!(sweep().await, Ok(()));
    assert_eq!(empty().await, []);
}

// Verified to fail when a lease counts as a use by the owner.
#[tokio::test]
async fn an_expired_name_that_is_leased_cannot_be_proved() {
    let world = World::new(Duration::ZERO);
    let own = world.claim("ana", None).await.expect("free");
    let secret = own.new_secret.as_ref().expect("made").reveal().to_owned();
    drop(own);
    let lease = world
        .lease("ana", [127, 0, 0, 1])
        .await
        .expect("free again");
    let refused = world.claim("ana", Some(&secret)).await;
    assert_eq!(code(refused), Some(RefusalCode::NameTaken));
    drop(lease);
    assert!(world.claim("ana", Some(&secret)).await.is_ok());
}

#[tokio::test]
async fn a_claim_changes_nothing_while_the_log_fails() {
    let world = World::new(Duration::MAX);
    let key = "ana".parse::<Name>().expect("a name").key();
    let is_owned = async || {
        let owned = world.hub.history().store().owned(&key).await;
        owned.expect("readable").is_some()
    };
    world.log.off.store(true, Ordering::Relaxed);
    let refused = world.claim("ana", None).await;
    assert_eq!(code(refused), Some(RefusalCode::Busy));
    assert!(!is_owned().await && !world.hub.is_ready());
    world.log.off.store(false, Ordering::Relaxed);
    world.claim("ana", None).await.expect("stored");
    assert!(is_owned().await && world.hub.is_ready());
}

/// The wall clock is wrong for a few seconds, and right again. Only those
/// seconds are seen, on both sides of a full hour.
#[tokio::test(start_paused = true)]
async fn a_wall_clock_wrong_for_seconds_ends_nothing() {
    let world = World::new(90 * DAY);
    let years = i64::try_from((5 * 365 * DAY).as_millis()).expect("a number");
    let lobby = RoomName::lobby();
    let act = |action| world.hub.act(ConnectionId::SERVER, action);
    let draft = Action::Message(Draft::of("lobby", "text"));
    act(draft).await.expect("stored");
    let ana = world.claim("ana", None).await.expect("free");
    drop(ana.name_use);
    let operator = Draft::of("lobby", "").from;
    let who = "eve".parse().expect("a target");
    let peer = Peer::accepted(Some(([192, 0, 2, 9], 1).into())).expect("an id");
    let a_day = "1d".parse().expect("a duration");
    let ban = world
        .hub
        .sanction(&operator, peer, SanctionKind::Ban, who, Some(a_day), None);
    ban.await.expect("banned");
    let keep = RetentionLimits {
        age: Some(30 * DAY),
        messages: None,
        size: None,
    };
    let HubState { history, clock, .. } = &*world.hub.shared;
    let check = async |when: &str| {
        let taken = world.claim("ana", None).await;
        assert_eq!(code(taken), Some(RefusalCode::NameTaken), "{when}");
        let peer = Peer::accepted(Some(([192, 0, 2, 1], 1).into())).expect("an id");
        let eve = world.hub.register(peer).expect("a place");
        let name = "eve".parse().expect("a name");
        assert!(eve.check_ban(Some(&name)).is_err(), "{when}");
        let actions = world.hub.actions();
        let step = retention::expire_some(&actions, history.store(), clock, keep);
        assert_eq!(step.await, Ok(false), "{when}");
        let page = history.after(&lobby, Seq::START).await.expect("readable");
        assert_eq!(page.room_batches.len(), 1, "{when}");
    };
    let hour = Duration::from_secs(60 * 60);
    let second = Duration::from_secs(1);
    tokio::time::advance(Duration::from_secs(2 * 60 * 60 - 1)).await;
    for _ in 0..4 {
        clock.move_wall(years);
        check("in the first wrong seconds").await;
        // Entries are sealed at this time too.
        let topic = Action::Topic {
            room: lobby.clone(),
            text: "tea".to_owned().into(),
            by: "ana".to_owned(),
        };
        act(topic).await.expect("stored");
        tokio::time::advance(2 * second).await;
        check("in the last wrong seconds").await;
        clock.move_wall(0);
        check("when it is right again").await;
        tokio::time::advance(hour / 8).await;
    }
}

// Verified to fail when the log is asked first.
#[tokio::test]
async fn another_persons_change_does_not_reach_the_log() {
    let world = World::new(90 * DAY);
    let (author, stranger) = (ConnectionId(7), ConnectionId(8));
    let said = Action::Message(Draft::of("lobby", "hello"));
    world.hub.act(author, said).await.expect("stored");
    // The log gives no answer: whatever reaches it is refused as busy.
    world.log.off.store(true, Ordering::Relaxed);
    let by = Draft::of("lobby", "").from;
    for (origin, seq, expected) in [
        (stranger, 1, RefusalCode::NotAllowed),
        // Nothing may be changed here.
        (author, 1, RefusalCode::NotAllowed),
        // It may be on its way.
        (stranger, 2, RefusalCode::Busy),
    ] {
        let erased = world.hub.retract(&by, origin, RoomName::lobby(), Seq(seq));
        assert_eq!(code(erased.await), Some(expected), "{seq}");
        let about = About {
            seq: Seq(seq),
            kind: AboutKind::Edit,
        };
        let draft = Draft {
            about: Some(about),
            ..Draft::of("lobby", "bye")
        };
        let checked = code(world.hub.check_correction(&draft, origin).await);
        let expected = Some(expected).filter(|code| *code != RefusalCode::Busy);
        assert_eq!(checked, expected, "{seq}");
    }
    let elsewhere: RoomName = "tea".parse().expect("a room");
    let erased = world.hub.retract(&by, author, elsewhere, Seq(1)).await;
    assert_eq!(code(erased), Some(RefusalCode::NotHere));
}
