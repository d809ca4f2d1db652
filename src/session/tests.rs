//! What can only be brought about from within.

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio_util::task::TaskTracker;
use tokio_websockets::{ClientBuilder, Message};

use super::*;
use crate::{
    history::{self, Storage},
    hub,
    protocol::WELCOME,
};

type Peer = tokio_websockets::WebSocketStream<tokio::io::DuplexStream>;

/// A visit from an address in the plain format, the server's end of its
/// connection, and the peer's.
fn visit(ip: [u8; 4]) -> (Visit, Connection<impl AsyncRead + Unpin>, Peer) {
    let (near, far) = tokio::io::duplex(4096);
    let (read, write) = tokio::io::split(far);
    let connection = Connection {
        read,
        early: Bytes::new(),
        write: Socket::Other(Box::new(write)),
    };
    let visit = Visit {
        addr: (ip, 5000).into(),
        room: RoomName::lobby(),
        name: None,
        secret: None,
        format: Format::Plain,
        start: Start::default(),
        echo: true,
    };
    (visit, connection, ClientBuilder::new().take_over(near))
}

/// What holds for its session.
fn options() -> Options {
    Options {
        limits: Limits::default(),
        rates: None,
        searches: Searches::default(),
        ping: Duration::from_secs(25),
        motd: None,
        operator: None,
    }
}

async fn line(peer: &mut Peer) -> String {
    let frame = peer.next().await.expect("a frame").expect("whole");
    frame.as_text().expect("a line").to_owned()
}

// Broken to see it fail: a search that does not wait for its turn.
#[tokio::test]
async fn who_searches_waits_for_others_from_there_alone() {
    let (writer, history) = history::open(&Storage::Memory, "a test").expect("a log");
    let (tasks, drain) = (TaskTracker::new(), CancellationToken::new());
    let hub = hub::Options {
        shards: 1,
        name_expiry: Duration::MAX,
    };
    let (hub, _publisher) = Hub::start(writer, history, &hub, &tasks).expect("a hub");
    let options = options();
    let [(here, one, mut waiting), (elsewhere, other, mut answered)] =
        [[127, 0, 0, 1], [192, 0, 2, 1]].map(visit);
    // Somebody else from here searches.
    let place = options.searches.queue(here.addr).expect("a place");
    let searching = place.turn().await;
    let sessions = async {
        tokio::join!(
            run(one, here, &hub, &options, &drain),
            run(other, elsewhere, &hub, &options, &drain)
        )
    };
    let talk = async {
        for peer in [&mut waiting, &mut answered] {
            assert_eq!(line(peer).await, WELCOME);
            peer.send(Message::text("/search tea")).await.expect("open");
        }
        let nothing = "* Nothing was found up to number 0.";
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
            _ = sessions => panic!("nobody has left"),
            () = talk => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .expect("everybody has their turn");
}

// Broken to see it fail: a conversation that waits for whatever was asked.
#[tokio::test]
async fn who_waits_for_a_search_is_sent_away_like_anybody() {
    let (writer, history) = history::open(&Storage::Memory, "a test").expect("a log");
    let (tasks, drain) = (TaskTracker::new(), CancellationToken::new());
    let options = hub::Options {
        shards: 1,
        name_expiry: Duration::MAX,
    };
    let (hub, publisher) = Hub::start(writer, history.clone(), &options, &tasks).expect("a hub");
    // Somebody searches all the time.
    let _searching = history.busy().await;
    let (visit, connection, mut peer) = visit([127, 0, 0, 1]);
    let options = self::options();
    let run = run(connection, visit, &hub, &options, &drain);
    let talk = async {
        assert_eq!(line(&mut peer).await, WELCOME);
        peer.send(Message::text("/search tea")).await.expect("open");
        // Until it is asked for.
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
        .expect("it need not be found");
}
