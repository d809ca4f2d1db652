//! The server: accepts connections, has each registered, and drains.
//!
//! Handed a bound listener and an opened log; knows neither flags nor signals.

use std::{io, pin::Pin, sync::Arc, time::Duration};

use ::http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use crate::{
    fanout::Applier,
    http::{self, Site, Trust},
    hub::{self, Full, Hub, Keep, Registration},
    net::Peer,
    session,
    store::Replica,
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
///
/// # Errors
///
/// No thread can be started, or the writer has stopped by itself.
pub async fn run(
    listener: TcpListener,
    replica: Replica,
    options: Options,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let tasks = TaskTracker::new();
    let applier = Applier::local(replica).map_err(io::Error::other)?;
    let index = applier.history().store().clone().index();
    let (hub, publisher) = Hub::start(applier, &options.hub, &tasks)?;
    let keep = options.keep;
    let expiring = hub.clone();
    let noting = hub.clone();
    background(&tasks, &hub, async move { expiring.expire(keep).await });
    background(&tasks, &hub, index);
    background(&tasks, &hub, async move { noting.note_names().await });
    let drain = CancellationToken::new();
    let site = Site {
        hub: hub.clone(),
        trust: options.trust,
        limits: options.session.limits,
    };
    let server = Arc::new(Server {
        site,
        session: options.session,
        drain: drain.clone(),
    });

    info!(
        "the log {} ends at {}; up to {} connections are served",
        hub.history().epoch(),
        hub.history().head(),
        options.hub.capacity.connections
    );
    let failed = tokio::select! {
        () = shutdown.cancelled() => false,
        () = hub.finished() => true,
        () = accept(&listener, &server, &tasks) => false,
    };
    info!(
        "the server stops: {} connections are told",
        hub.connections()
    );
    drop(listener);
    drop(publisher);
    drain.cancel();
    tasks.close();
    if timeout(GRACE, tasks.wait()).await.is_err() {
        warn!(
            "not everything ended in time: {} connections were cut",
            hub.connections()
        );
    }
    if failed {
        Err(io::Error::other("the writer stopped"))
    } else {
        Ok(())
    }
}

/// Runs work beside the sessions, for as long as the writer goes on.
fn background(tasks: &TaskTracker, hub: &Hub, work: impl Future<Output = ()> + Send + 'static) {
    let hub = hub.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = work => {}
            () = hub.finished() => {}
        }
    });
}

struct Server {
    site: Site,
    session: session::Options,
    drain: CancellationToken,
}

/// Accepts for ever: what goes wrong with one connection, or for want of
/// descriptors, ends nothing else.
async fn accept(listener: &TcpListener, server: &Arc<Server>, tasks: &TaskTracker) {
    let turned_away = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
    let mut pause = ACCEPT_PAUSE;
    let mut complained: Option<Instant> = None;
    loop {
        let (stream, peer) = match accepted(listener).await {
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
        match server.site.hub.register(peer) {
            Ok(registration) => {
                tasks.spawn(Arc::clone(server).serve(stream, registration));
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

async fn accepted(listener: &TcpListener) -> io::Result<(TcpStream, Peer)> {
    let (stream, addr) = listener.accept().await?;
    Ok((stream, Peer::accepted(Some(addr))?))
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
        Full::Prefix(count) => site.plain_answer(
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
    async fn serve(self: Arc<Self>, stream: TcpStream, registration: Registration) {
        let _open = self.site.hub.metrics().connection();
        // Boxed: what HTTP needs is given back before the conversation starts.
        if let Some(session) = Box::pin(self.upgrade(stream, &registration)).await {
            session.await;
        }
    }

    /// Answers what is asked; the session, where that is to begin one.
    async fn upgrade<'a>(
        &'a self,
        stream: TcpStream,
        registration: &'a Registration,
    ) -> Option<Pin<Box<impl Future<Output = ()> + use<'a>>>> {
        // Without it, small frames wait for the acknowledgement of those before
        // them, up to 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            debug!("{}: {error}", registration.peer());
            return None;
        }
        let upgraded = http::serve(stream, registration, &self.site, &self.drain).await?;
        let (read, write) = upgraded.stream.into_split();
        let connection = session::Connection {
            read,
            early: upgraded.early,
            write: write.into(),
        };
        let (visit, hub) = (upgraded.visit, &self.site.hub);
        let session = session::run(
            connection,
            visit,
            registration,
            hub,
            &self.session,
            &self.drain,
        );
        Some(Box::pin(session))
    }
}
