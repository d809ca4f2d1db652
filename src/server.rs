//! The server: accepts connections, bounds their number, and drains.
//!
//! Handed a bound listener and an opened log; knows neither flags nor signals.

mod places;

use std::{io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use ::http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use self::places::{Full, Place, Places};
use crate::{
    history::{History, Keep, Writer},
    http::{self, Site, Trust},
    hub::{self, Hub},
    session,
};

/// How long everything may take to end: with what is printed last, a process is
/// to be gone after 10 s.
pub const GRACE: Duration = Duration::from_secs(9);

/// How many connections beyond the cap are told so at the same time; further
/// ones are closed without a word.
const MAX_TURNED_AWAY: usize = 64;

/// How long accepting pauses when the system has no descriptor left: at first,
/// and at most.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const MAX_ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How often that is complained of at most: it may come and go many times a
/// second.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// What a server is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many connections are served at a time.
    pub max_connections: usize,
    /// How many of them one address may have, if that is limited.
    pub max_per_address: Option<usize>,
    /// What holds for the hub.
    pub hub: hub::Options,
    /// What is kept of the history.
    pub keep: Keep,
    /// Whose requests are served.
    pub trust: Trust,
    /// What holds for sessions.
    pub session: session::Options,
}

/// Serves until `shutdown`; then takes no more, and returns when everything
/// accepted is committed, delivered as far as its readers took it, and every
/// client was told; or at the end of the grace period.
pub async fn run(
    listener: TcpListener,
    (writer, history): (Writer, History),
    options: Options,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let tasks = TaskTracker::new();
    let retention = writer.retention(options.keep);
    let index = history.clone().index();
    let (hub, publisher) = Hub::start(writer, history, &options.hub, &tasks)?;
    tasks.spawn({
        let hub = hub.clone();
        async move {
            tokio::select! {
                () = retention.run() => {}
                () = hub.finished() => {}
            }
        }
    });
    tasks.spawn({
        let hub = hub.clone();
        async move {
            tokio::select! {
                () = index => {}
                () = hub.finished() => {}
            }
        }
    });
    tasks.spawn({
        let hub = hub.clone();
        async move {
            tokio::select! {
                () = hub.note_names() => {}
                () = hub.finished() => {}
            }
        }
    });
    let drain = CancellationToken::new();
    let site = Site {
        hub: hub.clone(),
        trust: options.trust,
        limits: options.session.limits,
        rates: options.session.rates.clone(),
    };
    let server = Arc::new(Server {
        site,
        session: options.session,
        places: Places::new(options.max_connections, options.max_per_address),
        drain: drain.clone(),
    });

    info!(
        "the log {} ends at {}; up to {} connections are served",
        hub.history().epoch(),
        hub.history().head(),
        options.max_connections
    );
    let failed = tokio::select! {
        () = shutdown.cancelled() => false,
        () = hub.finished() => true,
        () = accept(&listener, &server, &tasks) => false,
    };
    info!(
        "the server stops: {} connections are told",
        server.places.taken()
    );
    drop(listener);
    drop(publisher);
    drain.cancel();
    tasks.close();
    if timeout(GRACE, tasks.wait()).await.is_err() {
        warn!(
            "not everything ended in time: {} connections were cut",
            server.places.taken()
        );
    }
    if failed {
        Err(io::Error::other("the writer stopped"))
    } else {
        Ok(())
    }
}

struct Server {
    site: Site,
    session: session::Options,
    places: Places,
    drain: CancellationToken,
}

/// Accepts for ever: what goes wrong with one connection, or for want of
/// descriptors, ends nothing else.
async fn accept(listener: &TcpListener, server: &Arc<Server>, tasks: &TaskTracker) {
    let turned_away = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
    let mut pause = ACCEPT_PAUSE;
    let mut complained: Option<Instant> = None;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_the_peers(&error) => continue,
            Err(error) => {
                if complained.is_none_or(|at| at.elapsed() > COMPLAINTS) {
                    complained = Some(Instant::now());
                    warn!("no more connections can be accepted for now: {error}");
                }
                sleep(pause).await;
                pause = (pause * 2).min(MAX_ACCEPT_PAUSE);
                continue;
            }
        };
        pause = ACCEPT_PAUSE;
        match server.places.take(peer) {
            Ok(place) => {
                tasks.spawn(Arc::clone(server).serve(stream, peer, place));
            }
            Err(full) => {
                if let Ok(place) = Arc::clone(&turned_away).try_acquire_owned() {
                    let server = Arc::clone(server);
                    tasks.spawn(async move {
                        turn_away(stream, full, &server.site).await;
                        drop(place);
                    });
                }
            }
        }
    }
}

/// Errors of `accept(2)` that concern only the connection that was coming.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

async fn turn_away(mut stream: TcpStream, full: Full, site: &Site) {
    let answer = match full {
        Full::Address(count) => site.plain_answer(
            StatusCode::TOO_MANY_REQUESTS,
            &format!(
                "Your address has {count} connections, which is as many as it may have; close one, or try again later."
            ),
        ),
        Full::Server => site.plain_answer(
            StatusCode::SERVICE_UNAVAILABLE,
            "The server has as many connections as it takes; try again later.",
        ),
    };
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut scrap = [0; 512];
        while stream.read(&mut scrap).await? > 0 {}
        io::Result::Ok(())
    };
    // Somebody who does not even listen to this is owed nothing more.
    let _ = timeout(Duration::from_secs(1), told).await;
}

impl Server {
    async fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, _place: Place) {
        let _open = self.site.hub.metrics().connection();
        // Boxed: what HTTP needs is given back before the conversation starts.
        if let Some(session) = Box::pin(self.upgrade(stream, peer)).await {
            session.await;
        }
    }

    /// Answers what is asked; the session, where that is to begin one.
    async fn upgrade(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Option<Pin<Box<impl Future<Output = ()>>>> {
        // Without it, small frames wait for the acknowledgement of those before
        // them, up to 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            debug!("{peer}: {error}");
            return None;
        }
        let upgraded = http::serve(stream, peer, &self.site, &self.drain).await?;
        let (read, write) = upgraded.stream.into_split();
        let connection = session::Connection {
            read,
            early: upgraded.early,
            write: write.into(),
        };
        let (visit, hub) = (upgraded.visit, &self.site.hub);
        let session = session::run(connection, visit, hub, &self.session, &self.drain);
        Some(Box::pin(session))
    }
}
