//! Connections in memory that delay, split, hold back and drop bytes.

use std::{
    cell::Cell,
    io, mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    task::spawn_local,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// The network that all connections of a world share.
#[derive(Clone)]
pub(super) struct Network {
    /// Cancelled while bytes pass. A `watch` would wake its tasks in a random
    /// order.
    open: Arc<Mutex<CancellationToken>>,
    /// New connections do not break.
    calm: Arc<AtomicBool>,
    /// Cancelled to end every connection made so far.
    cut: Arc<Mutex<CancellationToken>>,
}

impl Network {
    pub(super) fn new() -> Self {
        let network = Network {
            open: Arc::default(),
            calm: Arc::default(),
            cut: Arc::default(),
        };
        network.release();
        network
    }

    /// Holds all bytes back until [`Network::join`].
    pub(super) fn hold(&self) {
        *self.open.lock().expect("no panic") = CancellationToken::new();
    }

    /// Lets bytes pass again.
    pub(super) fn release(&self) {
        self.open.lock().expect("no panic").cancel();
    }

    /// Cuts every connection.
    pub(super) fn cut(&self) {
        mem::take(&mut *self.cut.lock().expect("no panic")).cancel();
    }

    /// Ends all faults: bytes pass, every connection is cut, and new ones do
    /// not break.
    pub(super) fn calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
        self.release();
        self.cut();
    }

    /// Waits until bytes pass.
    pub(super) async fn wait_open(&self) {
        let open = self.open.lock().expect("no panic").clone();
        open.cancelled().await;
    }

    /// Creates a connection; returns the client's end and the server's end.
    /// With `again`, the client is sent the last messages that it has seen once
    /// more.
    pub(super) fn wire(&self, rng: &mut Rng, again: bool) -> (DuplexStream, DuplexStream) {
        let buffer = pick(rng, &[60, 200, 4096]);
        let (client, near) = duplex(buffer);
        let (far, server) = duplex(buffer);
        let calm = self.calm.load(Ordering::Relaxed);
        let wire = Wire {
            network: self.clone(),
            piece: pick(rng, &[30, 300, 4096]),
            delay: pick(rng, &[0, 5, 300]),
            life: (!calm && rng.u8(..4) > 0).then(|| Cell::new(rng.usize(300..9000))),
        };
        let cut = self.cut.lock().expect("no panic").clone();
        let (mut there, mut back) = (rng.fork(), rng.fork());
        spawn_local(async move {
            let ((mut near_read, near_write), (far_read, mut far_write)) =
                (split(near), split(far));
            let carried = async {
                if again {
                    ask_for_more(&mut near_read, &mut far_write, &mut there).await?;
                }
                tokio::try_join!(
                    biased;
                    wire.carry(near_read, far_write, &mut there),
                    wire.carry(far_read, near_write, &mut back),
                )
            };
            // When this task ends, the wire is dropped, so both ends see that
            // the connection is gone.
            let _ = cut.run_until_cancelled(carried).await;
        });
        (client, server)
    }
}

pub(super) fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(..choices.len())]
}

/// Forwards a request. If it asks for the messages after a number, the
/// forwarded request also asks for one to four numbers before that.
async fn ask_for_more(
    from: &mut ReadHalf<DuplexStream>,
    to: &mut WriteHalf<DuplexStream>,
    rng: &mut Rng,
) -> io::Result<()> {
    const AFTER: &str = "after=";
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await?);
    }
    let mut head = String::from_utf8(head).expect("ASCII");
    if let Some(at) = head.find(AFTER) {
        let at = at + AFTER.len();
        let digits = head[at..].bytes().take_while(u8::is_ascii_digit).count();
        let asked: u64 = head[at..at + digits].parse().expect("a number");
        let wanted = asked.saturating_sub(rng.u64(1..5));
        head.replace_range(at..at + digits, &wanted.to_string());
    }
    to.write_all(head.as_bytes()).await
}

struct Wire {
    network: Network,
    /// The most bytes that travel together.
    piece: usize,
    /// The most milliseconds that they take.
    delay: u64,
    /// How many bytes the connection still carries before it breaks; `None` if
    /// it does not break.
    life: Option<Cell<usize>>,
}

impl Wire {
    /// Carries the bytes of one direction. Fails when the connection breaks.
    async fn carry(
        &self,
        mut from: ReadHalf<DuplexStream>,
        mut to: WriteHalf<DuplexStream>,
        rng: &mut Rng,
    ) -> io::Result<()> {
        let mut piece = vec![0; self.piece];
        loop {
            let most = rng.usize(1..=self.piece);
            let count = from.read(&mut piece[..most]).await?;
            if count == 0 {
                return to.shutdown().await;
            }
            if self.delay > 0 {
                sleep(Duration::from_millis(rng.u64(..=self.delay))).await;
            }
            self.network.wait_open().await;
            let left = self.life.as_ref().map_or(usize::MAX, Cell::get);
            to.write_all(&piece[..count.min(left)]).await?;
            if let Some(life) = &self.life {
                life.set(left.saturating_sub(count));
                if count >= left {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
            }
        }
    }
}
