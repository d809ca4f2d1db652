//! Conditions of a session that only an internal test can create.

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio_util::task::TaskTracker;
use tokio_websockets::{ClientBuilder, Message};

use super::*;
use crate::{
    fanout::Applier,
    hub::{self, Capacity},
    net::{AddressSet, Peer},
    protocol::{Limits, PLAIN_WELCOME, Start, name::RoomName},
    store::{self, Storage},
};

type Client = tokio_websockets::WebSocketStream<tokio::io::DuplexStream>;

/// Registers a connection from an address.
fn register(hub: &Hub, ip: [u8; 4]) -> Registration {
    let peer = Peer::accepted(Some((ip, 5000).into())).expect("an id");
    hub.register(peer).expect("a place")
}

/// A request in the plain format, the server's end of its connection, and the
/// client's end.
fn open() -> (SessionRequest, Transport<impl AsyncRead + Unpin>, Client) {
    let (near, far) = tokio::io::duplex(4096);
    let (read, write) = tokio::io::split(far);
    let transport = Transport {
        read,
        early: Bytes::new(),
        write: Socket::Other(Box::new(write)),
    };
    let request = SessionRequest {
        room: RoomName::lobby(),
        name: None,
        secret: None,
        proved: None,
        is_linked: false,
        base: "http://127.0.0.1:2000".into(),
        format: Format::Plain,
        start: Start::default(),
        echo: true,
    };
    (request, transport, ClientBuilder::new().take_over(near))
}

/// The options of the session.
fn options() -> CurrentOptions {
    CurrentOptions::new(SessionOptions {
        limits: Limits::default(),
        unfinished: UnfinishedMessages::new(Limits::default()),
        ping: Duration::from_secs(25),
        motd: None,
        operator: None,
    })
}

/// A hub over a store, and a submitter that keeps its writer running.
fn started(replica: store::Replica) -> (Hub, hub::Submitter) {
    let applier = Applier::local(replica).expect("in step");
    let options = hub::HubOptions {
        shards: 1,
        name_expiry: Duration::MAX,
        edit_window: Duration::MAX,
        access: hub::AccessMode::Open,
        capacity: Capacity::UNLIMITED,
        proxies: AddressSet::NONE,
        hides_addresses: false,
    };
    Hub::start(applier, &options, &TaskTracker::new()).expect("a hub")
}

async fn line(peer: &mut Client) -> String {
    let frame = peer.next().await.expect("a frame").expect("whole");
    frame.as_text().expect("a line").to_owned()
}

// Verified to fail when a search does not wait for its turn.
#[tokio::test]
async fn a_search_waits_only_for_searches_from_its_own_address() {
    let (replica, _) = store::open(&Storage::Memory, "a test").expect("a store");
    let (hub, _submitter) = started(replica);
    let (options, drain) = (options(), CancellationToken::new());
    let [(here, one, mut waiting), (elsewhere, other, mut answered)] = [open(), open()];
    let [from_here, somebody, from_elsewhere] =
        [[127, 0, 0, 1], [127, 0, 0, 1], [192, 0, 2, 1]].map(|ip| register(&hub, ip));
    // Another connection from the same address searches.
    let mut searching = somebody.queue_search().expect("a place");
    searching.turn().await.expect("its turn");
    let sessions = async {
        tokio::join!(
            run(one, here, &from_here, &hub, &options, &drain),
            run(other, elsewhere, &from_elsewhere, &hub, &options, &drain)
        )
    };
    let talk = async {
        for peer in [&mut waiting, &mut answered] {
            assert_eq!(line(peer).await, PLAIN_WELCOME);
            peer.send(Message::text("/search tea")).await.expect("open");
        }
        let nothing = "* Nothing found.";
        assert_eq!(line(&mut answered).await, nothing);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(line(&mut waiting).now_or_never().is_none());
        drop(searching);
        assert_eq!(line(&mut waiting).await, nothing);
    };
    let both = async {
        tokio::select! {
            _ = sessions => panic!("a session ended"),
            () = talk => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .expect("every search gets its turn");
}

// Verified to fail when a session waits for every lookup before it ends.
#[tokio::test]
async fn a_session_waiting_for_a_search_is_closed_by_a_drain() {
    let (replica, store) = store::open(&Storage::Memory, "a test").expect("a store");
    let (hub, publisher) = started(replica);
    let drain = CancellationToken::new();
    // The index is busy for the whole test.
    let _searching = store.hold_index().await;
    let (visit, connection, mut peer) = open();
    let registration = register(&hub, [127, 0, 0, 1]);
    let options = self::options();
    let run = run(connection, visit, &registration, &hub, &options, &drain);
    let talk = async {
        assert_eq!(line(&mut peer).await, PLAIN_WELCOME);
        peer.send(Message::text("/search tea")).await.expect("open");
        // Let the session start the search.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        drop(publisher);
        drain.cancel();
        let last = peer.next().await.expect("a frame").expect("whole");
        assert!(last.is_close(), "{last:?}");
    };
    let both = async { tokio::join!(run, talk) };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .expect("the session ends without a result");
}

// Verified to fail when all places are read again after a follow.
#[tokio::test]
async fn a_conversation_reads_all_places_of_its_owner_once() {
    let (replica, store) = store::open(&Storage::Memory, "a test").expect("a store");
    let (hub, _submitter) = started(replica);
    let (options, drain) = (options(), CancellationToken::new());
    let registrations = [(); 3].map(|()| register(&hub, [127, 0, 0, 1]));
    for (reads, registration) in (1..).zip(&registrations) {
        let (mut request, connection, mut peer) = open();
        // The first one follows a room, and the last one takes its name later.
        let takes_name = reads == 3;
        request.format = Format::Json;
        if !takes_name {
            request.name = "ana".parse().ok();
            request.secret = "0123456789abcdef".parse().ok();
        }
        let talk = async {
            while !line(&mut peer).await.contains(r#""type":"live""#) {}
            if takes_name {
                let name = r#"{"type":"name","name":"ana","secret":"0123456789abcdef"}"#;
                peer.send(Message::text(name)).await.expect("open");
                while !line(&mut peer).await.contains(r#""type":"name""#) {}
                // Answered once the places are read.
                let members = r#"{"type":"members"}"#;
                peer.send(Message::text(members)).await.expect("open");
                while !line(&mut peer).await.contains(r#""names""#) {}
            }
            assert_eq!(store.reads_of_places(), reads);
            assert!(registration.follows(&RoomName::lobby()));
        };
        let run = run(connection, request, registration, &hub, &options, &drain);
        tokio::select! {
            () = run => panic!("the session ended"),
            () = talk => {}
        }
    }
}
