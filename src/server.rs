//! The server: accepts connections, registers each, and drains.
//!
//! It gets bound listeners and an opened store; it knows neither flags nor
//! signals.

use std::{io, pin::Pin, sync::Arc, time::Duration};

use ::http::StatusCode;
use futures_util::future::join_all;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use crate::{
    admin::AdminSocket,
    fanout::Applier,
    http::{self, BasePath, HttpState, Scheme, Trust},
    hub::{self, Full, Hub, Registration, RetentionLimits, Submitter},
    net::{
        self, Listener, Peer, Stream,
        tls::{HandshakeError, Tls},
    },
    protocol::Refusal,
    session::{self, CurrentOptions},
    store::Replica,
};

/// How long a drain may take. A process must be gone after 10 s, its last
/// output included.
pub const GRACE: Duration = Duration::from_secs(9);

/// How long closing the store's files may take after that. A longer read may
/// hold them open, which costs the next start some time.
const CLOSING: Duration = Duration::from_millis(500);

/// How long the PROXY header of a connection may take to arrive.
const PROXY_HEADER_DEADLINE: Duration = Duration::from_secs(5);

/// How many connections over the limit get a response at the same time. Further
/// ones are closed without one.
const MAX_TURNED_AWAY: usize = 64;

/// How long such a response may take, with the TLS handshake before it.
const TURN_AWAY_DEADLINE: Duration = Duration::from_secs(1);

/// How long accepting pauses when the process has no file descriptor left: the
/// first pause, doubled up to the maximum.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const MAX_ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The shortest time between two warnings about that: it may happen many times
/// a second.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The options of a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The options of the hub.
    pub hub: hub::HubOptions,
    /// Which messages are kept, by age and number.
    pub keep: RetentionLimits,
    /// Which hosts and origins are trusted.
    pub trust: Trust,
    /// The path that all URLs begin with.
    pub base_path: BasePath,
    /// Where operators' requests from this machine come; `None` takes none.
    pub administration: Option<Administration>,
    /// Whether a trusted proxy's connection begins with a PROXY header.
    pub proxy_protocol: bool,
    /// The options of all sessions.
    pub session: session::SessionOptions,
}

/// Where operators' requests from this machine come.
#[derive(Clone, Debug)]
pub struct Administration {
    /// The socket.
    pub socket: Arc<AdminSocket>,
    /// The beginning of the URLs of invitations.
    pub site: String,
}

/// A listener, and how its connections are served.
#[derive(Debug)]
pub struct Entrance {
    /// The listener.
    pub listener: Listener,
    /// The TLS of its TCP connections, if they speak TLS.
    pub tls: Option<Tls>,
    /// How its requests come.
    pub scheme: Scheme,
}

impl From<Listener> for Entrance {
    /// An entrance without TLS.
    fn from(listener: Listener) -> Self {
        Entrance {
            listener,
            tls: None,
            scheme: Scheme::Http,
        }
    }
}

/// A way to a running server: changes its limits, and asks how it is.
#[derive(Clone, Debug)]
pub struct Control {
    hub: Hub,
    session: Arc<CurrentOptions>,
}

impl Control {
    /// Changes the limits, the notice for newcomers, the operators' secret and
    /// how long messages may be changed. The other options stay.
    ///
    /// # Errors
    ///
    /// Refuses if the time for changes cannot be stored; all else is changed.
    pub async fn apply(&self, options: &ServerOptions) -> Result<(), Refusal> {
        self.hub.set_capacity(options.hub.capacity);
        self.session.replace(options.session.clone());
        self.hub.set_edit_window(options.hub.edit_window).await
    }

    /// Whether a commit succeeded since the last call, or none was asked for.
    pub fn stores(&self) -> bool {
        self.hub.take_pulse()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.hub.connections()
    }
}

/// A server whose hub runs. It accepts no connections yet.
pub struct Server {
    hub: Hub,
    submitter: Submitter,
    tasks: TaskTracker,
    session: Arc<CurrentOptions>,
    options: ServerOptions,
}

impl Server {
    /// Starts the hub on a store.
    ///
    /// # Errors
    ///
    /// Fails if no thread can be started.
    pub fn start(replica: Replica, options: ServerOptions) -> io::Result<Self> {
        let tasks = TaskTracker::new();
        let applier = Applier::local(replica).map_err(io::Error::other)?;
        let index = applier.history().store().clone().run_indexing();
        let (hub, submitter) = Hub::start(applier, &options.hub, &tasks)?;
        let keep = options.keep;
        let expiring = hub.clone();
        let noting = hub.clone();
        let reporting = hub.clone();
        background(&tasks, &hub, async move { expiring.expire(keep).await });
        background(&tasks, &hub, index);
        background(
            &tasks,
            &hub,
            async move { noting.note_names_in_use().await },
        );
        background(&tasks, &hub, async move {
            reporting.report_wrong_secrets().await;
        });
        if let Some(Administration { socket, site }) = options.administration.clone() {
            let administered = hub.clone();
            background(&tasks, &hub, async move {
                socket.serve(&administered, &site).await;
            });
        }
        Ok(Server {
            hub,
            submitter,
            tasks,
            session: Arc::new(CurrentOptions::new(options.session.clone())),
            options,
        })
    }

    /// A way to this server while it runs.
    pub fn control(&self) -> Control {
        Control {
            hub: self.hub.clone(),
            session: Arc::clone(&self.session),
        }
    }

    /// Serves until `shutdown` is cancelled, then drains.
    ///
    /// While it drains, the server accepts no connections. It returns once every
    /// accepted message is committed and delivered as far as its readers take
    /// it, and every client is told. It returns at the latest after [`GRACE`].
    ///
    /// # Errors
    ///
    /// Fails if the writer stopped by itself.
    pub async fn run(
        self,
        entrances: Vec<Entrance>,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        let Server {
            hub,
            submitter,
            tasks,
            session,
            options,
        } = self;
        let drain = CancellationToken::new();
        let turned_away = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
        let tls = entrances.iter().find_map(|entrance| entrance.tls.clone());
        let accepting = entrances.into_iter().map(|entrance| {
            let mut state = HttpState::new(
                hub.clone(),
                options.trust.clone(),
                Arc::clone(&session),
                options.base_path.clone(),
            );
            state.scheme = entrance.scheme;
            state.tls.clone_from(&tls);
            let server = ListenerState {
                state,
                tls: entrance.tls,
                proxy_protocol: options.proxy_protocol,
                drain: drain.clone(),
                turned_away: Arc::clone(&turned_away),
            };
            accept(entrance.listener, Arc::new(server), &tasks)
        });
        let accepting = join_all(accepting);

        info!(
            "the log {} ends at {}; up to {} connections are served",
            hub.history().epoch(),
            hub.history().head(),
            options.hub.capacity.connections
        );
        let failed = tokio::select! {
            () = shutdown.cancelled() => false,
            () = hub.finished() => true,
            _ = accepting => false,
        };
        info!(
            "the server is shutting down: {} connections are told",
            hub.connections()
        );
        drop(submitter);
        drain.cancel();
        tasks.close();
        if timeout(GRACE, tasks.wait()).await.is_err() {
            warn!(
                "not everything ended in time: {} connections were cut",
                hub.connections()
            );
        }
        if failed {
            return Err(io::Error::other("the writer stopped"));
        }
        // Other threads may hold the hub until the process ends, too late to
        // close the files.
        match timeout(CLOSING, hub.history().store().close()).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => warn!("the message store could not be closed: {why}"),
            Err(_) => warn!("the message store could not be closed in time"),
        }
        Ok(())
    }
}

/// Runs a background task for as long as the writer runs.
fn background(tasks: &TaskTracker, hub: &Hub, work: impl Future<Output = ()> + Send + 'static) {
    let hub = hub.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = work => {}
            () = hub.finished() => {}
        }
    });
}

/// The state from which the connections of one listener are served.
struct ListenerState {
    state: HttpState,
    tls: Option<Tls>,
    proxy_protocol: bool,
    drain: CancellationToken,
    /// The connections that get a refusal at this moment.
    turned_away: Arc<Semaphore>,
}

/// Accepts connections for ever. Neither a failing connection nor a lack of
/// file descriptors ends this loop.
async fn accept(listener: Listener, server: Arc<ListenerState>, tasks: &TaskTracker) {
    let mut pause = ACCEPT_PAUSE;
    let mut complained: Option<Instant> = None;
    loop {
        let (stream, peer) = match accepted(&listener).await {
            Ok(accepted) => accepted,
            Err(error) if is_peer_error(&error) => continue,
            Err(error) => {
                if complained.is_none_or(|at| at.elapsed() > WARNING_INTERVAL) {
                    complained = Some(Instant::now());
                    warn!("no more connections can be accepted for now: {error}");
                }
                sleep(pause).await;
                pause = (pause * 2).min(MAX_ACCEPT_PAUSE);
                continue;
            }
        };
        pause = ACCEPT_PAUSE;
        match server.state.hub.register(peer) {
            Ok(mut registration) => {
                let server = Arc::clone(&server);
                tasks.spawn(async move {
                    let _open = server.state.hub.metrics().connection();
                    // Boxed: the memory of the HTTP stage is freed before the
                    // session starts.
                    let upgraded = Box::pin(server.upgrade(stream, &mut registration));
                    if let Some(session) = upgraded.await {
                        session.await;
                    }
                });
            }
            Err(full) => {
                if let Ok(place) = Arc::clone(&server.turned_away).try_acquire_owned() {
                    let server = Arc::clone(&server);
                    tasks.spawn(async move { server.turn_away(stream, full, place).await });
                }
            }
        }
    }
}

async fn accepted(listener: &Listener) -> io::Result<(Stream, Peer)> {
    let (stream, addr) = listener.accept().await?;
    Ok((stream, Peer::accepted(addr)?))
}

/// Whether an error of `accept(2)` concerns only the incoming connection.
fn is_peer_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

/// Writes a whole response, and waits until the peer ends the connection.
/// Closing at once could discard the response.
async fn tell(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> io::Result<()> {
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut scrap = [0; 512];
    while stream.read(&mut scrap).await? > 0 {}
    Ok(())
}

impl ListenerState {
    /// Tells a peer that gets no place in the chat, but one to be told.
    async fn turn_away(&self, stream: Stream, full: Full, place: OwnedSemaphorePermit) {
        let status = match full {
            Full::Prefix(_) => StatusCode::TOO_MANY_REQUESTS,
            Full::Server => StatusCode::SERVICE_UNAVAILABLE,
        };
        let answer = self.state.plain_response(status, &full.to_string());
        let over = sleep(TURN_AWAY_DEADLINE);
        let told = async {
            match self.secure(stream).await {
                Ok(stream) => tell(stream, &answer).await,
                Err(HandshakeError::NotTls(stream)) => tell(stream, &answer).await,
                Err(_) => Ok(()),
            }
        };
        // A peer that does not read this in time is cut.
        let _ = timeout(TURN_AWAY_DEADLINE, told).await;
        if self.tls.is_some() {
            // Nobody pays for these handshakes, so they are few in a second.
            over.await;
        }
        drop(place);
    }

    /// Does the TLS handshake, if this listener's connections speak TLS.
    async fn secure(&self, stream: Stream) -> Result<Stream, HandshakeError> {
        match (&self.tls, stream) {
            (Some(tls), Stream::Tcp(stream)) => {
                let secured = tls.accept(stream).await?;
                Ok(Stream::Tls(Box::new(secured)))
            }
            (_, stream) => Ok(stream),
        }
    }

    /// Does the TLS handshake of a registered connection; `None` if it fails.
    async fn secure_or_tell(&self, stream: Stream, registration: &Registration) -> Option<Stream> {
        if let (Some(_), Some(budget)) = (&self.tls, registration.budget()) {
            // A handshake costs as much as a request. It cannot be refused with
            // a sentence.
            budget.request().ok()?;
        }
        let secured = tokio::select! {
            secured = self.secure(stream) => secured,
            () = self.drain.cancelled() => return None,
        };
        let failed = match secured {
            Ok(stream) => return Some(stream),
            Err(failed) => failed,
        };
        debug!(address = %registration.peer(), reason = %failed, "the TLS handshake failed");
        if let HandshakeError::NotTls(stream) = failed {
            let answer = self.state.plain_response(
                StatusCode::BAD_REQUEST,
                "This port speaks TLS: use https:// or wss://.",
            );
            let _ = timeout(TURN_AWAY_DEADLINE, tell(stream, &answer)).await;
        }
        None
    }

    /// Reads the PROXY header of a trusted proxy's connection, and takes the
    /// visitor's place. `None` if the connection must be closed.
    async fn read_proxy_header(
        &self,
        stream: &mut Stream,
        registration: &mut Registration,
    ) -> Option<Result<(), Full>> {
        let header = timeout(PROXY_HEADER_DEADLINE, net::read_proxy_header(stream));
        let header = tokio::select! {
            header = header => header.ok()?,
            () = self.drain.cancelled() => return None,
        };
        let proxy = registration.peer();
        let visitor = header
            .inspect_err(|error| debug!("the connection of the proxy {proxy} is closed: {error}"))
            .ok()?;
        if let Some(visitor) = visitor {
            registration.set_address(visitor);
            // A proxy in front of this one may name the visitor in its request.
            if !self.state.hub.proxies().contains(Some(visitor.ip())) {
                return Some(registration.take_place(None));
            }
        }
        Some(Ok(()))
    }

    /// Serves the request; returns the session if the request starts one.
    async fn upgrade<'a>(
        &'a self,
        mut stream: Stream,
        registration: &'a mut Registration,
    ) -> Option<Pin<Box<impl Future<Output = ()> + use<'a>>>> {
        if self.proxy_protocol && !registration.has_place() {
            let named = self.read_proxy_header(&mut stream, registration).await?;
            if let Err(full) = named {
                if let Ok(place) = Arc::clone(&self.turned_away).try_acquire_owned() {
                    self.turn_away(stream, full, place).await;
                }
                return None;
            }
        }
        let registration: &Registration = registration;
        let stream = self.secure_or_tell(stream, registration).await?;
        let upgraded = http::serve(stream, registration, &self.state, &self.drain).await?;
        let (read, write) = upgraded.stream.into_split();
        let transport = session::Transport {
            read,
            early: upgraded.early,
            write: write.into(),
        };
        let (request, hub) = (upgraded.request, &self.state.hub);
        let session = session::run(
            transport,
            request,
            registration,
            hub,
            &self.state.session,
            &self.drain,
        );
        Some(Box::pin(session))
    }
}
