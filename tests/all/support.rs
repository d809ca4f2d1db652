//! A test server that stops on drop, and sessions without a server. Their peers
//! are in `support/peer`.

mod peer;

use std::{
    cell::Cell,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use broadcast_chat::{
    fanout::{Applier, History, Socket},
    http::{self, BasePath, HttpState, Trust},
    hub::{self, Capacity, Hub, Registration, RetentionLimits, Submitter},
    log::LocalLog,
    net,
    protocol::{Limits, Start, format::Format, name::RoomName},
    server::{self, Entrance, ServerOptions},
    session::{self, SessionRequest, Transport},
    store::{self, OpenError, Replica, Storage, Store},
};
use bytes::Bytes;
use serde_json::Value;
use tokio::{
    io::DuplexStream,
    net::TcpListener,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::peer::{
    BINARY, CLOSE, CONTINUATION, FIN, Frame, LENGTH_16, LENGTH_64, MASKED, MemoryPeer, PING, PONG,
    Peer, Reading, SseEvent, TEXT, UnixPeer, frame, sse_request, upgrade, upgraded,
};

/// How long an expected event may take before the test fails. A passing run
/// never waits this long. (It exceeds every server deadline; a paused clock
/// skips those at once.)
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Awaits an event that must happen.
pub(crate) async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    timeout(PATIENCE, happens)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// The number in an environment variable, or `otherwise`.
pub(crate) fn env_number(variable: &str, otherwise: u64) -> u64 {
    let set = std::env::var(variable).ok();
    set.map_or(otherwise, |text| text.parse().expect(variable))
}

pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    shutdown: CancellationToken,
    /// A way to the server, which may outlive it.
    pub(crate) control: server::Control,
    running: JoinHandle<std::io::Result<()>>,
}

/// The options of a hub without a server.
pub(crate) const HUB: hub::HubOptions = hub::HubOptions {
    shards: 1,
    name_expiry: Duration::from_secs(90 * 24 * 60 * 60),
    edit_window: Duration::from_secs(24 * 60 * 60),
    access: hub::AccessMode::Open,
    capacity: Capacity::UNLIMITED,
    proxies: net::AddressSet::NONE,
    hides_addresses: false,
};

/// The default options of a test server.
pub(crate) fn options() -> ServerOptions {
    ServerOptions {
        hub: hub::HubOptions { shards: 2, ..HUB },
        keep: RetentionLimits::default(),
        trust: Trust::default(),
        base_path: BasePath::default(),
        administration: None,
        proxy_protocol: false,
        session: session::SessionOptions {
            limits: Limits::default(),
            unfinished: session::UnfinishedMessages::new(Limits::default()),
            ping: Duration::from_secs(25),
            motd: None,
            operator: None,
        },
    }
}

impl TestServer {
    /// Starts a server with its history in memory.
    pub(crate) async fn start() -> Self {
        Self::start_with(&Storage::Memory, options()).await
    }

    /// Starts a server that trusts another origin.
    pub(crate) async fn trusting(origin: &str) -> Self {
        let mut options = options();
        options.trust.origins = vec![origin.to_owned()];
        Self::start_with(&Storage::Memory, options).await
    }

    /// Starts a server on a folder.
    pub(crate) async fn start_in(folder: &Path) -> Self {
        Self::start_with(&Storage::Folder(folder.to_owned()), options()).await
    }

    /// Starts a server at the address of an earlier one.
    pub(crate) async fn start_at(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).await.expect("a free port");
        Self::listening(listener, &Storage::Memory, options()).await
    }

    pub(crate) async fn start_with(storage: &Storage, options: ServerOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::listening(listener, storage, options).await
    }

    async fn listening(listener: TcpListener, storage: &Storage, options: ServerOptions) -> Self {
        Self::entered(listener, storage, options, |plain| plain).await
    }

    /// Starts a server whose entrance the test changes.
    pub(crate) async fn entered(
        listener: TcpListener,
        storage: &Storage,
        options: ServerOptions,
        enter: impl FnOnce(Entrance) -> Entrance,
    ) -> Self {
        let addr = listener.local_addr().expect("its address");
        let (replica, _) = open_when_free(storage).await;
        let shutdown = CancellationToken::new();
        let entrances = vec![enter(net::Listener::Tcp(listener).into())];
        let server = server::Server::start(replica, options).expect("a hub");
        let control = server.control();
        let running = tokio::spawn(server.run(entrances, shutdown.clone()));
        TestServer {
            addr,
            shutdown,
            control,
            running,
        }
    }

    /// Begins the drain, as SIGTERM does.
    pub(crate) fn begin_shutdown(&self) {
        self.shutdown.cancel();
    }

    /// Drains the server and waits for its end.
    pub(crate) async fn stop(mut self) {
        self.begin_shutdown();
        soon("the end of the server", &mut self.running)
            .await
            .expect("no panic")
            .expect("no error");
    }

    /// A peer in the plain format, after its welcome.
    pub(crate) async fn plain(&self, target: &str) -> Peer {
        let mut peer = self.peer(target, &[]).await;
        assert_eq!(peer.text().await, "Welcome to chat! Type a message");
        peer
    }

    /// A peer in the JSON format, and its welcome.
    pub(crate) async fn json(&self, target: &str) -> (Peer, Value) {
        let mut peer = self
            .peer(target, &[("Sec-WebSocket-Protocol", "chat.v1")])
            .await;
        let welcome = peer.event().await;
        assert_eq!(welcome["type"], "welcome");
        (peer, welcome)
    }

    /// A peer in the JSON format that asks for a name with a secret, and its
    /// welcome.
    pub(crate) async fn asking(&self, name: &str, secret: &str, query: &str) -> (Peer, Value) {
        let headers = [
            ("Sec-WebSocket-Protocol", "chat.v1"),
            ("Authorization", &*format!("Bearer {secret}")),
        ];
        let mut peer = self.peer(&format!("/?name={name}{query}"), &headers).await;
        let welcome = peer.event().await;
        (peer, welcome)
    }

    /// A peer that owns its name, and its welcome.
    pub(crate) async fn owner(&self, name: &str, query: &str) -> (Peer, Value) {
        let secret = format!("the-secret-of-{name}");
        let (peer, welcome) = self.asking(name, &secret, query).await;
        assert_eq!(welcome["you"]["name"], name, "{welcome}");
        (peer, welcome)
    }

    /// A peer in the JSON format that a trusted proxy sent for this address, and
    /// its welcome.
    pub(crate) async fn visitor(&self, address: &str, target: &str) -> (Peer, Value) {
        let headers = [
            ("Sec-WebSocket-Protocol", "chat.v1"),
            ("X-Forwarded-For", address),
        ];
        let mut peer = self.peer(target, &headers).await;
        let welcome = peer.event_of("welcome").await;
        (peer, welcome)
    }

    /// A peer after its upgrade.
    pub(crate) async fn peer(&self, target: &str, headers: &[(&str, &str)]) -> Peer {
        upgraded(self.addr, target, headers).await
    }

    /// A reader of a room's server-sent events, after the response head.
    pub(crate) async fn follow(&self, target: &str, headers: &str) -> Peer {
        let mut peer = Peer::connect(self.addr).await;
        peer.write(sse_request(target, headers).as_bytes()).await;
        let head = peer.head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        peer
    }

    /// Asserts that the `OpenAPI` description lists this status for the method.
    pub(crate) async fn assert_described(&self, method: &str, status: u16) {
        let request = b"GET /-/openapi.json HTTP/1.0\r\nHost: localhost\r\n\r\n";
        let answer = self.request(request).await;
        let (_, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let description: Value = serde_json::from_str(body).expect("JSON");
        let answers = &description["paths"]["/{room}"][method]["responses"];
        let described = answers.get(status.to_string());
        assert!(described.is_some(), "{method} {status}: {answers}");
    }

    /// Gets a room over HTTP/1.0, where the end of the connection ends the
    /// body; returns the body.
    pub(crate) async fn get(&self, target: &str, accept: &str) -> String {
        let request =
            format!("GET {target} HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
        let answer = self.request(request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.0 200 "), "{target}: {answer}");
        body.to_owned()
    }

    /// Gets a history page as JSON.
    pub(crate) async fn page(&self, target: &str) -> Value {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n");
        let answer = self.request(request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with("HTTP/1.1 200 "), "{target}: {answer}");
        assert!(
            answer.contains("content-type: application/json\r\n"),
            "{answer}"
        );
        serde_json::from_str(body).expect("JSON")
    }

    /// Posts a body to a room; returns the response.
    pub(crate) async fn post(&self, target: &str, headers: &str, body: &[u8]) -> String {
        let length = body.len();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        self.request(&[head.as_bytes(), body].concat()).await
    }

    /// Sends a raw request and reads the response to its end.
    pub(crate) async fn request(&self, raw: &[u8]) -> String {
        let mut peer = Peer::connect(self.addr).await;
        // The server may rightly answer before it has read the whole request.
        peer.sending.try_write(raw).await;
        peer.rest().await
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Sessions without a server, over streams in memory. The test decides how much
/// a stream holds and, with a paused clock, how time passes.
///
/// A paused clock does not know the writer's thread: receive every published
/// message before time may pass.
pub(crate) struct MemoryChat {
    pub(crate) hub: Hub,
    /// The options of its sessions.
    pub(crate) session: session::SessionOptions,
    drain: CancellationToken,
    tasks: TaskTracker,
    /// Keeps the writer running while a test may publish.
    submitter: Option<Submitter>,
}

impl MemoryChat {
    pub(crate) fn start() -> Self {
        Self::with(&HUB)
    }

    /// Sessions whose operators have this secret.
    pub(crate) fn with_operators(secret: &str) -> Self {
        let mut chat = Self::start();
        chat.session.operator = Some(secret.parse().expect("a secret"));
        chat
    }

    pub(crate) fn with(options: &hub::HubOptions) -> Self {
        let (replica, _) = store::open(&Storage::Memory, "a test").expect("a store");
        let applier = Applier::local(replica).expect("in step");
        let tasks = TaskTracker::new();
        let (hub, submitter) = Hub::start(applier, options, &tasks).expect("a hub");
        MemoryChat {
            hub,
            session: self::options().session,
            drain: CancellationToken::new(),
            tasks,
            submitter: Some(submitter),
        }
    }

    /// Drains; returns when every accepted draft is committed.
    pub(crate) async fn end(&mut self) {
        self.submitter = None;
        self.drain.cancel();
        soon("the writer's end", self.hub.finished()).await;
    }

    /// Registers a connection from 127.0.0.1:5000.
    pub(crate) fn register(&self) -> Registration {
        self.hub.register(peer()).expect("a place")
    }

    /// The state that HTTP requests are answered from.
    pub(crate) fn site(&self) -> HttpState {
        site(&self.hub, self.session.clone())
    }

    /// Connects in memory; the connection is served like one from the network.
    pub(crate) fn connect(&self, buffer: usize) -> DuplexStream {
        self.connect_as(peer(), buffer)
    }

    /// Connects in memory as a given peer.
    pub(crate) fn connect_as(&self, peer: net::Peer, buffer: usize) -> DuplexStream {
        let (near, far) = tokio::io::duplex(buffer);
        let registration = self.hub.register(peer).expect("a place");
        let (site, drain) = (self.site(), self.drain.clone());
        self.tasks.spawn(serve(far, registration, site, drain));
        near
    }

    /// Starts a plain-format session in the lobby under a name. Its stream
    /// holds `buffer` bytes each way; the test has read nothing from it.
    pub(crate) fn join(&self, name: &str, buffer: usize) -> (MemoryPeer, JoinHandle<()>) {
        let (near, far) = tokio::io::duplex(buffer);
        let request = SessionRequest {
            room: RoomName::lobby(),
            name: Some(name.parse().expect("a name")),
            secret: None,
            proved: None,
            is_linked: false,
            base: "http://127.0.0.1:2000".into(),
            format: Format::Plain,
            start: Start::default(),
            echo: true,
        };
        let (hub, drain) = (self.hub.clone(), self.drain.clone());
        let session = session::CurrentOptions::new(self.session.clone());
        let registration = self.register();
        let ended = self.tasks.spawn(async move {
            let (read, write) = tokio::io::split(far);
            let connection = Transport {
                read,
                early: Bytes::new(),
                write: Socket::Other(Box::new(write)),
            };
            session::run(connection, request, &registration, &hub, &session, &drain).await;
        });
        (Peer::over(near), ended)
    }
}

/// A peer at 127.0.0.1:5000.
pub(crate) fn peer() -> net::Peer {
    peer_at("127.0.0.1")
}

/// A peer at port 5000 of an address.
pub(crate) fn peer_at(address: &str) -> net::Peer {
    let address: IpAddr = address.parse().expect(address);
    net::Peer::accepted(Some((address, 5000).into())).expect("an id")
}

/// The state that HTTP requests are answered from.
pub(crate) fn site(hub: &Hub, session: session::SessionOptions) -> HttpState {
    let session = Arc::new(session::CurrentOptions::new(session));
    HttpState::new(hub.clone(), options().trust, session, BasePath::default())
}

/// Serves a connection in memory from its first byte.
pub(crate) async fn serve(
    stream: DuplexStream,
    registration: Registration,
    site: HttpState,
    drain: CancellationToken,
) {
    let Some(upgraded) = http::serve(stream, &registration, &site, &drain).await else {
        return;
    };
    let (read, write) = tokio::io::split(upgraded.stream);
    let connection = Transport {
        read,
        early: upgraded.early,
        write: Socket::Other(Box::new(write)),
    };
    let request = upgraded.request;
    session::run(
        connection,
        request,
        &registration,
        &site.hub,
        &site.session,
        &drain,
    )
    .await;
}

/// Runs something while two members talk in the lobby. Asserts that neither
/// they nor a later member are affected.
pub(crate) async fn others_chat_on<T>(
    server: &TestServer,
    something: impl Future<Output = T>,
) -> T {
    let mut others = [
        server.plain("/?name=ana").await,
        server.plain("/?name=bob").await,
    ];
    let over = Cell::new(false);
    let something = async {
        let result = something.await;
        over.set(true);
        result
    };
    let talk = async {
        for n in 0.. {
            let last = over.get();
            for (speaker, name) in ["ana", "bob"].into_iter().enumerate() {
                others[speaker].say(&n.to_string()).await;
                for listener in &mut others {
                    assert_eq!(known(listener).await, format!("{name}: {n}"));
                }
            }
            if last {
                break;
            }
        }
    };
    let (result, ()) = tokio::join!(something, talk);
    let mut newcomer = server.plain("/?name=eve").await;
    newcomer.say("hello").await;
    for peer in others.iter_mut().chain([&mut newcomer]) {
        assert_eq!(known(peer).await, "eve: hello");
    }
    result
}

/// Returns the next line from a member with a name; lines of nameless members
/// are skipped.
async fn known(peer: &mut Peer) -> String {
    loop {
        let line = peer.text().await;
        if !line.starts_with("127.0.0.1:") {
            return line;
        }
    }
}

/// Sends a request. Returns the status, and the response as far as it came.
pub(crate) async fn status_and_answer(addr: SocketAddr, request: &str) -> (u16, String) {
    let mut peer = Peer::connect(addr).await;
    peer.write(request.as_bytes()).await;
    let head = peer.head().await;
    let status = head[9..12].parse().expect("a status");
    // An accepted upgrade and an event stream have no end.
    let is_open = status == 101 || head.contains("text/event-stream");
    let body = if is_open {
        String::new()
    } else {
        peer.rest().await
    };
    (status, head + &body)
}

/// Opens a store as soon as no earlier server uses its folder: a server's
/// background work ends a little later than its drain.
pub(crate) async fn open_when_free(storage: &Storage) -> (Replica, Store) {
    let opened = async {
        loop {
            match store::open(storage, "a test") {
                Err(OpenError::InUse { .. }) => sleep(Duration::from_millis(10)).await,
                opened => return opened.expect("a store"),
            }
        }
    };
    soon("the end of the last server", opened).await
}

/// A log, a store and a history in step, all on the caller's thread, for a
/// simulation.
pub(crate) fn in_place(storage: &Storage) -> Applier<'static> {
    let (replica, store) = store::open(storage, "a simulation").expect("a store");
    let history = History::new(store.on_caller_thread());
    Applier::new(LocalLog::default(), replica, history).expect("in step")
}
