//! What can only be brought about from within.

use futures_util::{SinkExt, StreamExt};
use tokio_util::task::TaskTracker;
use tokio_websockets::{ClientBuilder, Message};

use super::*;
use crate::{
    history::{self, Storage},
    hub,
    protocol::WELCOME,
};

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
    let (near, far) = tokio::io::duplex(4096);
    let (read, write) = tokio::io::split(far);
    let connection = Connection {
        read,
        early: Bytes::new(),
        write: Socket::Other(Box::new(write)),
    };
    let visit = Visit {
        addr: ([127, 0, 0, 1], 5000).into(),
        room: RoomName::lobby(),
        name: None,
        secret: None,
        format: Format::Plain,
        start: Start::default(),
        echo: true,
    };
    let options = Options {
        limits: Limits::default(),
        rates: None,
        ping: Duration::from_secs(25),
        motd: None,
        operator: None,
    };
    let run = run(connection, visit, &hub, &options, &drain);
    let talk = async {
        let mut peer = ClientBuilder::new().take_over(near);
        let welcome = peer.next().await.expect("a frame").expect("whole");
        assert_eq!(welcome.as_text(), Some(WELCOME));
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
