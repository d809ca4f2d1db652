//! TLS on the server's port, over real sockets: every promise that holds for
//! TCP holds here too.

mod acme;
mod delivery;
mod programs;
mod renewal;

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use broadcast_chat::{
    http::Scheme,
    net::tls::{CertificateFiles, CurrentCertificate, Tls},
    server::Entrance,
    store::Storage,
};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::{
    io::{ReadHalf, WriteHalf},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{Peer, TestServer, options, soon, sse_request, upgrade};

type TlsPeer = Peer<ReadHalf<TlsStream<TcpStream>>, WriteHalf<TlsStream<TcpStream>>>;

const JSON: [(&str, &str); 1] = [("Sec-WebSocket-Protocol", "chat.v1")];

/// A certificate for localhost, and its key, both in PEM.
struct Pair {
    chain: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Pair {
    fn new() -> Self {
        Self::valid_for(1000)
    }

    /// One that has been valid for 1000 days, and is for so many days more.
    fn valid_for(days: i32) -> Self {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let day = |from_today: i32| {
            let date = today.checked_add(from_today.days()).expect("a date");
            let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
            date_time_ymd(date.year().into(), month, day)
        };
        params.not_before = day(-1000);
        params.not_after = day(days);
        let key = KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        Pair {
            chain: made.pem(),
            key: key.serialize_pem(),
            der: made.der().clone(),
        }
    }
}

/// The two files of a certificate, as another program renews them.
struct PairFiles(TempDir);

impl PairFiles {
    fn of(pair: &Pair) -> Self {
        let files = PairFiles(crate::programs::folder());
        files.write(pair);
        files
    }

    fn chain(&self) -> PathBuf {
        self.0.path().join("chain.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    fn write(&self, pair: &Pair) {
        fs::write(self.chain(), &pair.chain).expect("a file");
        fs::write(self.key(), &pair.key).expect("a file");
    }
}

/// A test server that speaks TLS.
struct TlsServer {
    server: TestServer,
    pair: Pair,
    files: PairFiles,
    current: Arc<CurrentCertificate>,
    reload: watch::Sender<CertificateFiles>,
}

impl TlsServer {
    async fn start() -> Self {
        Self::start_with(options()).await
    }

    async fn start_with(options: broadcast_chat::server::ServerOptions) -> Self {
        let pair = Pair::new();
        let files = PairFiles::of(&pair);
        let read = CertificateFiles::new(files.chain(), files.key());
        let current = read.load().expect("a certificate");
        let (reload, sent) = watch::channel(read);
        tokio::spawn(CertificateFiles::follow(Arc::clone(&current), sent));
        let tls = Tls::new(Arc::clone(&current) as _).expect("TLS");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let secured = |entrance| Entrance {
            tls: Some(tls),
            scheme: Scheme::Https { only: true },
            ..entrance
        };
        TlsServer {
            server: TestServer::entered(listener, &Storage::Memory, options, secured).await,
            pair,
            files,
            current,
            reload,
        }
    }

    fn addr(&self) -> SocketAddr {
        self.server.addr
    }

    /// A connection after its handshake.
    async fn connect(&self) -> TlsPeer {
        connect(self.addr(), &self.pair.der, &[&TLS13, &TLS12]).await
    }

    /// A peer after its upgrade.
    async fn peer(&self, target: &str, headers: &[(&str, &str)]) -> TlsPeer {
        let peer = self.connect().await;
        upgraded(peer, self.addr(), target, headers).await
    }

    /// A peer in the plain format, after its welcome.
    async fn plain(&self, target: &str) -> TlsPeer {
        let mut peer = self.peer(target, &[]).await;
        assert_eq!(peer.text().await, "Welcome to chat! Type a message");
        peer
    }

    /// Sends a request, and reads the response to its end.
    async fn request(&self, request: &str) -> String {
        let mut peer = self.connect().await;
        peer.write(request.as_bytes()).await;
        peer.rest().await
    }
}

async fn upgraded(
    mut peer: TlsPeer,
    addr: SocketAddr,
    target: &str,
    headers: &[(&str, &str)],
) -> TlsPeer {
    peer.write(upgrade(addr, target, headers).as_bytes()).await;
    let answer = peer.head().await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    peer
}

async fn connect(
    addr: SocketAddr,
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsPeer {
    let stream = TcpStream::connect(addr).await.expect("a connection");
    let stream = handshake(stream, trusted, versions).await;
    let (read, write) = tokio::io::split(stream.expect("a handshake"));
    Peer::of(read, write)
}

async fn handshake(
    stream: TcpStream,
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    handshake_as("localhost", stream, trusted, versions).await
}

/// Does a handshake with a server that has this name.
async fn handshake_as(
    name: &'static str,
    stream: TcpStream,
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name).expect("a name");
    let connector = TlsConnector::from(Arc::new(config));
    soon("the handshake", connector.connect(name, stream)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_works_over_both_versions_of_tls() {
    let server = TlsServer::start().await;
    for version in [&TLS12, &TLS13] {
        let open = async || connect(server.addr(), &server.pair.der, &[version]).await;
        let mut plain = upgraded(open().await, server.addr(), "/?name=ana", &[]).await;
        plain.text().await;
        let mut json = upgraded(open().await, server.addr(), "/", &JSON).await;
        assert_eq!(json.event().await["type"], "welcome");
        assert_eq!(json.event().await["type"], "live");
        let mut events = open().await;
        events.write(sse_request("/", "").as_bytes()).await;
        let head = events.head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");

        let mut post = open().await;
        let request = "POST /?name=bob HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi";
        post.write(request.as_bytes()).await;
        let answer = post.rest().await;
        assert!(answer.contains("{\"seq\":"), "{answer}");
        assert_eq!(plain.text().await, "bob: hi");
        assert_eq!(json.event().await["text"], "hi");
        loop {
            let event = events.sse_event().await.expect("an event");
            if event.data.is_some() && event.json()["text"] == "hi" {
                break;
            }
        }

        let mut page = open().await;
        let request = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n";
        page.write(request.as_bytes()).await;
        let answer = page.rest().await;
        assert!(answer.contains("</html>"), "{answer}");
        assert!(
            answer.contains("strict-transport-security: max-age="),
            "{answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_request_on_the_tls_port_gets_a_sentence() {
    let server = TlsServer::start().await;
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = server.server.request(request).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("speaks TLS"), "{answer}");
}

// Verified to fail when no certificate is noted.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_show_when_the_certificate_expires() {
    let server = TlsServer::start().await;
    let asked = "GET /-/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = server.request(asked).await;
    let line = answer
        .lines()
        .find_map(|line| line.strip_prefix("chat_certificate_expiry_timestamp_seconds "));
    let expiry: f64 = line.expect(&answer).parse().expect("a number");
    let days = (expiry - Timestamp::now().as_duration().as_secs_f64()) / 86_400.0;
    assert!((998.0..1000.0).contains(&days), "{days}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_says_so_over_tls() {
    let mut options = options();
    options.hub.capacity.connections = 1;
    let server = TlsServer::start_with(options).await;
    let _only = server.plain("/").await;
    let answer = server
        .request("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_handshake_harms_nobody_else() {
    let server = TlsServer::start().await;
    let mut ana = server.plain("/?name=ana").await;
    for bytes in [&[22, 3, 1, 0, 5, 1, 0, 0, 1, 9][..], &[22], &[22; 4000]] {
        let mut broken = Peer::connect(server.addr()).await;
        broken.write(bytes).await;
        broken.finish().await;
        broken.rest().await;
    }
    // TLS that breaks after the handshake ends its connection alone, too.
    let stream = TcpStream::connect(server.addr())
        .await
        .expect("a connection");
    let stream = handshake(stream, &server.pair.der, &[&TLS13]).await;
    let (tcp, _) = stream.expect("a handshake").into_inner();
    let mut broken = Peer::over_tcp(tcp);
    broken.write(&[23, 3, 3, 0, 20]).await;
    broken.write(&[7; 20]).await;
    broken.rest().await;
    assert_eq!(ana.text_after("still here").await, "ana: still here");
}
