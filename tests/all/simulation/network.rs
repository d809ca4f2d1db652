//! Connections in memory that delay, cut up, hold back and drop what they carry.

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

/// What connections go through at this moment.
#[derive(Clone)]
pub(super) struct Network {
    /// Cancelled: everything passes. (Not a `watch`, which wakes in an order
    /// drawn at random.)
    open: Arc<Mutex<CancellationToken>>,
    /// New connections are as good as they can be.
    calm: Arc<AtomicBool>,
    /// Ends all connections made so far, once it is cancelled.
    cut: Arc<Mutex<CancellationToken>>,
}

impl Network {
    pub(super) fn new() -> Self {
        let network = Network {
            open: Arc::default(),
            calm: Arc::default(),
            cut: Arc::default(),
        };
        network.join();
        network
    }

    /// Holds everything back, until it is joined again.
    pub(super) fn part(&self) {
        *self.open.lock().expect("no panic") = CancellationToken::new();
    }

    pub(super) fn join(&self) {
        self.open.lock().expect("no panic").cancel();
    }

    /// Cuts every connection.
    pub(super) fn cut(&self) {
        mem::take(&mut *self.cut.lock().expect("no panic")).cancel();
    }

    /// From here on nothing happens to anyone.
    pub(super) fn calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
        self.join();
        self.cut();
    }

    /// Waits while nothing passes.
    pub(super) async fn passes(&self) {
        let open = self.open.lock().expect("no panic").clone();
        open.cancelled().await;
    }

    /// A new connection: the client's end and the server's. With `again` what
    /// the client has seen last is asked for once more.
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
            // However it ends, both ends see it: nobody holds the wire any more.
            let _ = cut.run_until_cancelled(carried).await;
        });
        (client, server)
    }
}

pub(super) fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    choices[rng.usize(..choices.len())]
}

/// Passes on a request that asks for what follows a number, and asks for a few
/// messages before that as well.
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
    /// The most bytes that travel together, and the most milliseconds they take.
    piece: usize,
    delay: u64,
    /// How many bytes it still carries before it breaks, if it is to.
    life: Option<Cell<usize>>,
}

impl Wire {
    /// Carries one direction; an error when the wire breaks.
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
            self.network.passes().await;
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
