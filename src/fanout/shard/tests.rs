use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Mutex,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncReadExt, AsyncWrite},
    net::TcpStream,
    time::{Duration, Instant, timeout},
};
use tokio_rustls::client::TlsStream;

use super::*;
use crate::{
    fanout::{Applier, mailbox::WAKE_THRESHOLD, socket::Socket, subscriber::Subscriber},
    log::{Action, Draft, Entry, Recipient},
    net::{Stream, tls},
    protocol::{ConnectionId, OwnerNumber, Seq, format::Format},
    store::{Storage, open},
};

/// A socket that notes the reader it belongs to at each write.
struct Noting(u16, Arc<Mutex<Vec<u16>>>);

impl AsyncWrite for Noting {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.lock().unwrap().push(self.0);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct World {
    log: Applier<'static>,
    mailbox: Arc<Mailbox>,
    /// The readers that were written to, in order.
    noted: Arc<Mutex<Vec<u16>>>,
}

impl World {
    fn new() -> (Self, Shard) {
        let (replica, _) = open(&Storage::Memory, "a test").unwrap();
        let log = Applier::local(replica).unwrap();
        let mailbox = Arc::<Mailbox>::default();
        let shard = Shard::new(Arc::clone(&mailbox), Arc::default());
        let world = World {
            log,
            mailbox,
            noted: Arc::default(),
        };
        (world, shard)
    }

    /// A live reader of the lobby.
    async fn reader(&self, port: u16) -> Subscriber {
        let socket = Socket::Other(Box::new(Noting(port, Arc::clone(&self.noted))));
        let outlet = Outlet::new(socket, Format::Plain, ConnectionId(port.into()), None);
        let (history, mailbox) = (self.log.history().clone(), Arc::clone(&self.mailbox));
        let mut reader = Subscriber::new(history, mailbox, outlet, Arc::default());
        follow(&mut reader, RoomName::lobby()).await;
        reader
    }

    /// A live reader of the lobby over TLS, and the client's end. Its socket
    /// holds little.
    async fn tls_reader(&self) -> (Subscriber, TlsStream<TcpStream>) {
        let (server, client) = tls::tests::narrow().await;
        let (_read, write) = Stream::Tls(Box::new(server)).into_split();
        let outlet = Outlet::new(write.into(), Format::Plain, ConnectionId(1), None);
        let (history, mailbox) = (self.log.history().clone(), Arc::clone(&self.mailbox));
        let mut reader = Subscriber::new(history, mailbox, outlet, Arc::default());
        follow(&mut reader, RoomName::lobby()).await;
        (reader, client)
    }

    /// Commits one message in the lobby from each of these connections.
    fn say(&mut self, ports: &[u16]) -> InFlightBatch {
        let say = |port: &u16| Entry {
            connection: ConnectionId((*port).into()),
            action: Action::Message(Draft::of("lobby", "text")),
        };
        let said = self.log.apply(ports.iter().map(say).collect()).unwrap();
        InFlightBatch::new(said.batch, Instant::now()).0
    }

    /// Commits a private message to one owner.
    fn say_to(&mut self, to: u64) -> InFlightBatch {
        let draft = Draft {
            room: RoomName::inbox(OwnerNumber(9)),
            to: Some(Recipient {
                name: "ana".parse().unwrap(),
                owner: OwnerNumber(to),
                ignores: false,
                unread: None,
            }),
            ..Draft::of("lobby", "text")
        };
        let said = self.log.apply_messages(ConnectionId(7), [draft]).unwrap();
        InFlightBatch::new(said.batch, Instant::now()).0
    }

    fn noted(&self) -> Vec<u16> {
        std::mem::take(&mut self.noted.lock().unwrap())
    }
}

/// Makes a reader live in a room.
async fn follow(reader: &mut Subscriber, room: RoomName) {
    reader.follow(room, Seq::START);
    poll_fn(|cx| {
        assert!(reader.poll_deliver(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    assert_eq!(reader.outlet().mode, Mode::Live);
}

/// Verified to fail when a listed subscriber is not moved.
#[tokio::test]
async fn a_reader_is_shown_nothing_of_a_room_it_left() {
    let (mut world, mut shard) = World::new();
    let mut reader = world.reader(1).await;
    for (room, told) in [
        ("tea", &[][..]),
        ("tea", &[]),
        ("lobby", &[]),
        ("lobby", &[1]),
    ] {
        let fresh = world.say(&[2]);
        // The reader moves after the shard has emptied its mailbox, before
        // it writes.
        shard.update_lists();
        if reader.outlet().room.room.as_str() != room {
            follow(&mut reader, room.parse().unwrap()).await;
        }
        world.noted();
        shard.fan_out(&[fresh]);
        assert_eq!(world.noted(), told, "in {room}");
    }
}

/// Verified to fail when a stopped reader stays live.
#[tokio::test]
async fn a_stopped_reader_gets_nothing_more() {
    let (mut world, mut shard) = World::new();
    let (mut stopped, _other) = (world.reader(1).await, world.reader(2).await);
    shard.update_lists();
    let fresh = world.say(&[3]);
    stopped.handle().stop();
    world.noted();
    shard.fan_out(&[fresh]);
    assert_eq!(world.noted(), [2]);
    poll_fn(|cx| {
        assert!(stopped.poll_deliver(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    assert_eq!(world.noted(), [0; 0]);
    // The session still sends its own frames.
    stopped.send(b"bye");
    assert_eq!(world.noted(), [1]);
}

/// Verified to fail when a reader is not listed under its new inbox.
#[tokio::test]
async fn a_private_message_sends_its_reader_to_the_history() {
    let (mut world, mut shard) = World::new();
    let mut reader = world.reader(1).await;
    // The owner that reads; the recipient of the message; whether the
    // reader is sent to the history.
    for (own, to, sent) in [
        (1, 1, true),
        (1, 2, false),
        (1, 1, true),
        (2, 1, false),
        (2, 2, true),
    ] {
        reader.follow_inbox(
            RoomName::inbox(OwnerNumber(own)),
            world.log.history().head(),
        );
        follow(&mut reader, RoomName::lobby()).await;
        let fresh = world.say_to(to);
        shard.update_lists();
        shard.fan_out(&[fresh]);
        let mode = reader.outlet().mode;
        assert_eq!(mode == Mode::CatchingUp, sent, "{own} {to}");
    }
    drop(reader);
    shard.update_lists();
    assert!(shard.is_empty());
}

/// Verified to fail when the shard looks into its mailbox only for a batch.
#[tokio::test]
async fn departed_subscribers_are_released_without_a_new_batch() {
    let (world, shard) = World::new();
    let (_batches, fresh) = broadcast::channel(1);
    let mut running = pin!(shard.run(fresh));
    for port in 1..=4 * u16::try_from(WAKE_THRESHOLD).unwrap() {
        drop(world.reader(port).await);
        poll_fn(|cx| {
            assert!(running.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert!(world.mailbox.len() < WAKE_THRESHOLD);
    }
}

/// Verified to fail when senders are not moved to the front.
#[tokio::test]
async fn the_last_senders_are_shown_the_next_batch_first() {
    let (mut world, mut shard) = World::new();
    let mut readers = Vec::new();
    for port in 1..=200 {
        readers.push(world.reader(port).await);
    }
    shard.update_lists();
    for (speakers, first) in [
        (&[150][..], &[1][..]),
        (&[150], &[150]),
        (&[3, 70], &[150]),
        (&[3, 70, 4], &[3, 70]),
        (&[4], &[3, 4, 70]),
    ] {
        let fresh = world.say(speakers);
        world.noted();
        shard.fan_out(&[fresh]);
        let mut noted = world.noted();
        noted[..first.len()].sort_unstable();
        assert_eq!(noted[..first.len()], *first, "where {speakers:?} speak");
        noted.sort_unstable();
        assert!(noted.into_iter().eq(1..=200), "each reader once");
    }
}

#[tokio::test]
async fn a_tls_reader_with_a_full_socket_catches_up_to_the_last_byte() {
    let (mut world, mut shard) = World::new();
    let (mut reader, mut client) = world.tls_reader().await;
    shard.update_lists();
    let mut expected = Vec::new();
    while reader.outlet().mode == Mode::Live {
        // A live reader's bytes are all with the kernel.
        assert_eq!(reader.outlet().waiting(), 0);
        let batch = world.say(&[7]);
        for room_batch in &batch.batch.room_batches {
            expected.extend_from_slice(room_batch.block(Format::Plain).all());
        }
        shard.fan_out(&[batch]);
    }
    assert!(reader.outlet().waiting() > 0);
    // Nothing more is said. The session alone sends the rest.
    let mut received = vec![0; expected.len()];
    let delivered = async {
        tokio::select! {
            read = client.read_exact(&mut received) => read,
            ended = poll_fn(|cx| reader.poll_deliver(cx)) => panic!("{ended:?}"),
        }
    };
    let read = timeout(Duration::from_secs(60), delivered).await;
    read.expect("every byte").expect("a connection");
    assert_eq!(received, expected);
}
