//! Certificates over ACME, from pebble, which plays the authority.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};

use rustix::process::Signal;
use rustls::{
    pki_types::{CertificateDer, pem::PemObject},
    version::TLS13,
};
use tokio::{net::TcpStream, process::Command, time::sleep};

use super::{Pair, handshake_as};
use crate::{
    programs::{Program, folder, listening, server_command_at},
    support::{Peer, soon, upgrade},
};

const DOMAIN: &str = "chat.example";

/// The pause between two looks at another program.
const LOOK: Duration = Duration::from_millis(20);

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

/// The authority, and the name server that it asks.
struct Authority {
    directory: String,
    management: SocketAddr,
    _programs: [Program; 2],
}

impl Authority {
    /// Starts an authority that looks for proofs at this port of the machine.
    /// Its certificates are valid for `life` seconds, and its own is in the
    /// file `pebble.pem`.
    async fn start(folder: &Path, port: u16, life: u32) -> Self {
        let own = Pair::new();
        let (names, listen, management) = (free(), free(), free());
        let (chain, key) = (folder.join("pebble.pem"), folder.join("pebble.key"));
        fs::write(&chain, &own.chain).expect("a file");
        fs::write(&key, &own.key).expect("a file");
        let config = serde_json::json!({"pebble": {
            "listenAddress": listen, "managementListenAddress": management,
            "certificate": chain, "privateKey": key,
            "httpPort": 80, "tlsPort": port,
            "certificateValidityPeriod": life,
        }});
        let file = folder.join("pebble.json");
        fs::write(&file, config.to_string()).expect("a file");
        let mut resolver = Command::new("pebble-challtestsrv");
        resolver.args([
            "-defaultIPv6",
            "",
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
        ]);
        resolver.args([
            "-dns01",
            &names.to_string(),
            "-management",
            &free().to_string(),
        ]);
        let mut pebble = Command::new("pebble");
        pebble
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0");
        pebble
            .args(["-dnsserver", &names.to_string(), "-config"])
            .arg(&file);
        let programs = [Program::start(&mut resolver), Program::start(&mut pebble)];
        soon("the authority", async {
            while TcpStream::connect(management).await.is_err() {
                sleep(LOOK).await;
            }
        })
        .await;
        Authority {
            directory: format!("https://localhost:{}/dir", listen.port()),
            management,
            _programs: programs,
        }
    }

    /// The root of the certificates that it gives.
    async fn root(&self) -> CertificateDer<'static> {
        let url = format!("https://{}/roots/0", self.management);
        let output = Command::new("curl")
            .args(["-ks", "--noproxy", "*", &url])
            .output();
        let pem = output.await.expect("curl").stdout;
        CertificateDer::from_pem_slice(&pem).expect("a certificate")
    }
}

fn server(folder: &Path, port: u16, authority: &Authority) -> Command {
    let mut command = server_command_at(folder, port, &["--acme", DOMAIN]);
    command.args(["--acme-contact", "ana@chat.example"]);
    command.args(["--acme-directory", &authority.directory]);
    command.arg("--acme-ca").arg(folder.join("pebble.pem"));
    command
}

/// Waits until the server shows a certificate other than this one, in a
/// handshake that trusts this root; returns it.
async fn shown(
    addr: SocketAddr,
    root: &CertificateDer<'static>,
    before: Option<&CertificateDer<'static>>,
) -> CertificateDer<'static> {
    soon("a certificate", async {
        loop {
            let stream = TcpStream::connect(addr).await.expect("a connection");
            if let Ok(stream) = handshake_as(DOMAIN, stream, root, &[&TLS13]).await {
                let certificates = stream.get_ref().1.peer_certificates();
                let first = certificates.expect("certificates")[0].clone().into_owned();
                if Some(&first) != before {
                    return first;
                }
            }
            sleep(LOOK).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_certificate_from_an_authority_is_renewed() {
    let (folder, port) = (folder(), free().port());
    let authority = Authority::start(folder.path(), port, 6).await;
    let root = authority.root().await;
    let (_server, addr) = listening(&mut server(folder.path(), port, &authority)).await;
    let first = shown(addr, &root, None).await;
    // This connection outlives the renewal.
    let stream = TcpStream::connect(addr).await.expect("a connection");
    let stream = handshake_as(DOMAIN, stream, &root, &[&TLS13]).await;
    let (read, write) = tokio::io::split(stream.expect("a handshake"));
    let mut peer = Peer::of(read, write);
    let headers = upgrade(addr, "/?name=ana", &[]).replace(&addr.to_string(), DOMAIN);
    peer.write(headers.as_bytes()).await;
    let answer = peer.head().await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    peer.text().await;
    shown(addr, &root, Some(&first)).await;
    assert_eq!(peer.text_after("still here").await, "ana: still here");
}

#[tokio::test]
async fn a_certificate_is_kept_across_a_restart_without_the_authority() {
    let (folder, port) = (folder(), free().port());
    let authority = Authority::start(folder.path(), port, 24 * 60 * 60).await;
    let root = authority.root().await;
    let mut command = server(folder.path(), port, &authority);
    let (mut first, addr) = listening(&mut command).await;
    let certificate = shown(addr, &root, None).await;
    first.signal(Signal::TERM);
    assert_eq!(first.exit().await, 0);
    drop(authority);
    let (_second, _) = listening(&mut command).await;
    assert_eq!(shown(addr, &root, None).await, certificate);
    let kept = folder.path().join("chat-data/acme");
    let mode = fs::metadata(kept).expect("a folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
