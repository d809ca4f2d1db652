use std::{fs, path::PathBuf, sync::Arc};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tempfile::{TempDir, tempdir};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
    sync::watch,
    time::{Duration, Instant, sleep},
};
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::protocol::Fingerprint;

/// A chain and a key on disk, as a program that renews them writes them.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        Files {
            folder: tempdir().expect("a folder"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a certificate that is valid until this year.
    fn renew(&self, until: i32) -> Fingerprint {
        let (chain, key, fingerprint) = certificate(until);
        fs::write(self.path("chain.pem"), chain).expect("a file");
        fs::write(self.path("key.pem"), key).expect("a file");
        fingerprint
    }

    fn files(&self) -> CertificateFiles {
        CertificateFiles::new(self.path("chain.pem"), self.path("key.pem"))
    }

    /// Follows the files until the test ends; sending them makes them be read
    /// again.
    fn follow(&self, current: &Arc<CurrentCertificate>) -> watch::Sender<CertificateFiles> {
        let (reload, sent) = watch::channel(self.files());
        #[allow(clippy::disallowed_methods)]
        tokio::spawn(CertificateFiles::follow(Arc::clone(current), sent));
        reload
    }
}

fn certificate(until: i32) -> (String, String, Fingerprint) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let made = params.self_signed(&key).expect("a certificate");
    (made.pem(), key.serialize_pem(), Fingerprint::of(made.der()))
}

async fn is_in_use(current: &CurrentCertificate, fingerprint: Fingerprint) {
    while current.fingerprint() != fingerprint {
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn changed_files_are_used_within_a_minute() {
    let files = Files::new();
    let first = files.renew(2100);
    let current = files.files().load().expect("a certificate");
    assert_eq!(current.fingerprint(), first);
    let _reload = files.follow(&current);
    // The first look is at once.
    sleep(Duration::from_secs(1)).await;
    let renewed = files.renew(2101);
    let begun = Instant::now();
    is_in_use(&current, renewed).await;
    assert!(begun.elapsed() <= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn sent_files_are_read_at_once() {
    let files = Files::new();
    files.renew(2100);
    let current = files.files().load().expect("a certificate");
    let reload = files.follow(&current);
    sleep(Duration::from_secs(1)).await;
    let renewed = files.renew(2101);
    let begun = Instant::now();
    reload.send(files.files()).expect("it follows");
    is_in_use(&current, renewed).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_worse_pair_is_not_used_and_a_later_good_one_is() {
    let files = Files::new();
    let first = files.renew(2100);
    let current = files.files().load().expect("a certificate");
    let _reload = files.follow(&current);
    let (chain, key, _) = certificate(2100);
    let (expired, expired_key, _) = certificate(2021);
    let empty = String::new();
    for (chain, key) in [
        (&empty, &key),
        (&chain, &empty),
        // Half of a renewal: the key does not belong to the certificate.
        (&chain, &expired_key),
        (&expired, &expired_key),
    ] {
        fs::write(files.path("chain.pem"), chain).expect("a file");
        fs::write(files.path("key.pem"), key).expect("a file");
        sleep(Duration::from_secs(61)).await;
        assert_eq!(current.fingerprint(), first, "{chain}");
    }
    fs::remove_file(files.path("key.pem")).expect("a file");
    sleep(Duration::from_secs(61)).await;
    assert_eq!(current.fingerprint(), first);
    is_in_use(&current, files.renew(2102)).await;
}

#[test]
fn the_error_names_the_file_that_is_wrong() {
    let files = Files::new();
    files.renew(2100);
    for (name, contents, told) in [
        ("key.pem", certificate(2100).1, "does not belong"),
        ("key.pem", "x".into(), "no private key"),
        ("chain.pem", "x".into(), "no certificate"),
        ("chain.pem", "x".repeat(2 << 20), "longer than 1 MiB"),
    ] {
        files.renew(2100);
        fs::write(files.path(name), contents).expect("a file");
        let said = files.files().load().expect_err(name).to_string();
        assert!(said.contains(name) && said.contains(told), "{said}");
    }
    fs::remove_file(files.path("chain.pem")).expect("a file");
    let said = files.files().load().expect_err("no file").to_string();
    assert!(said.contains("chain.pem: it cannot be read"), "{said}");
}

#[test]
fn the_own_certificate_is_made_once_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempdir().expect("a folder");
    let of_box = || self_signed(Some(folder.path()), "box").expect("a certificate");
    let first = of_box().fingerprint();
    assert_eq!(of_box().fingerprint(), first);
    let path = folder.path().join("tls-self-signed.pem");
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::write(&path, "x").expect("a file");
    let said = self_signed(Some(folder.path()), "box").expect_err("no PEM");
    assert!(said.to_string().contains("tls-self-signed.pem"), "{said}");
    let passing = || self_signed(None, "not a name!").expect("a certificate");
    assert_ne!(passing().fingerprint(), passing().fingerprint());
}

#[tokio::test(start_paused = true)]
async fn a_silent_handshake_ends_after_ten_seconds() {
    let tls = Tls::new(self_signed(None, "box").expect("a certificate")).expect("TLS");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    for first in [&[][..], &[HANDSHAKE]] {
        let silent = TcpStream::connect(address).await.expect("a connection");
        silent.try_write(first).expect("a byte");
        let (stream, _) = listener.accept().await.expect("a connection");
        let begun = Instant::now();
        let ended = tls.accept(stream).await.expect_err("a silent peer");
        assert!(matches!(ended, HandshakeError::Late), "{ended}");
        assert_eq!(begun.elapsed().as_secs(), 10);
    }
}

#[tokio::test]
async fn another_protocol_is_recognised_by_its_first_byte() {
    let tls = Tls::new(self_signed(None, "box").expect("a certificate")).expect("TLS");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let plain = TcpStream::connect(address).await.expect("a connection");
    plain.try_write(b"GET / HTTP/1.1").expect("bytes");
    let (stream, _) = listener.accept().await.expect("a connection");
    let ended = tls.accept(stream).await.expect_err("no TLS");
    let HandshakeError::NotTls(stream) = ended else {
        panic!("{ended}");
    };
    // The request is still there to be read.
    let mut first = [0; 3];
    stream.peek(&mut first).await.expect("bytes");
    assert_eq!(&first, b"GET");
}

/// A connection whose kernel buffers hold little: the server's stream, and the
/// client's.
pub(crate) async fn narrow() -> (TlsStream<TcpStream>, client::TlsStream<TcpStream>) {
    let files = Files::new();
    files.renew(2100);
    let chain = fs::read(files.path("chain.pem")).expect("a file");
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(&chain).expect("a certificate");
    roots.add(root).expect("a root");
    let config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
    let tls = Tls::new(files.files().load().expect("a certificate")).expect("TLS");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a size");
    let address = listener.local_addr().expect("an address");
    let connecting = async {
        let stream = socket.connect(address).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    };
    let accepting = async {
        let (stream, _) = listener.accept().await.expect("a connection");
        set_socket_send_buffer_size(&stream, 4096).expect("a size");
        tls.accept(stream).await
    };
    let (client, server) = tokio::join!(connecting, accepting);
    (server.expect("a handshake"), client.expect("a handshake"))
}

#[tokio::test]
async fn the_session_of_a_full_socket_holds_one_record() {
    let (server, mut client) = narrow().await;
    let (_read, mut write) = split(server);
    let bytes: Vec<u8> = (0..1 << 20)
        .map(|n: u32| n.to_le_bytes()[n as usize % 3])
        .collect();
    let mut taken = 0;
    while let Ok(more) = write.try_write(&bytes[taken..]) {
        taken += more;
        assert!(taken < bytes.len(), "the socket is never full");
    }
    assert!(
        (1..=MAX_RECORD).contains(&write.unsent()),
        "{}",
        write.unsent()
    );
    let sending = async {
        write
            .write_all(&bytes[taken..])
            .await
            .expect("a connection");
        write.flush().await.expect("a connection");
        assert_eq!(write.unsent(), 0);
        write.shutdown().await.expect("a connection");
    };
    let mut received = Vec::new();
    let (read, ()) = tokio::join!(client.read_to_end(&mut received), sending);
    read.expect("the end of TLS, then of TCP");
    assert_eq!(received, bytes);
}

#[tokio::test]
async fn both_halves_work_at_the_same_time() {
    let (server, client) = narrow().await;
    let (mut read, mut write) = split(server);
    let (mut from_server, mut to_server) = tokio::io::split(client);
    let bytes = vec![7; 300_000];
    let upwards = async {
        to_server.write_all(&bytes).await.expect("a connection");
        to_server.shutdown().await.expect("a connection");
    };
    let downwards = async {
        write.write_all(&bytes).await.expect("a connection");
        write.shutdown().await.expect("a connection");
    };
    let (mut at_server, mut at_client) = (Vec::new(), Vec::new());
    let (server, client, (), ()) = tokio::join!(
        read.read_to_end(&mut at_server),
        from_server.read_to_end(&mut at_client),
        upwards,
        downwards
    );
    assert_eq!(
        (server.expect("an end"), client.expect("an end")),
        (300_000, 300_000)
    );
    assert!(at_server == bytes && at_client == bytes);
}
