//! The programs with TLS: flags, printed lines, signals and trust.

use std::{net::SocketAddr, path::Path};

use rustix::process::Signal;
use rustls::version::TLS13;
use tokio::{net::TcpStream, process::Command};

use super::{Pair, PairFiles, connect, handshake};
use crate::{
    programs::{
        Program, client_command, folder, listening, rejected_start, server, server_command,
    },
    support::Peer,
};

/// Starts a server with a certificate in two files.
async fn with_files(folder: &Path, files: &PairFiles, flags: &[&str]) -> (Program, SocketAddr) {
    let mut command = server_command(folder, &["--ephemeral", "-v"]);
    command
        .arg("--tls-cert")
        .arg(files.chain())
        .arg("--tls-key")
        .arg(files.key())
        .args(flags);
    listening(&mut command).await
}

#[tokio::test]
async fn a_client_joins_by_the_line_that_the_server_prints() {
    let folder = folder();
    let (mut server, addr) = server(folder.path(), &["--tls-self-signed"]).await;
    let shown = server.line().await;
    let pin = shown
        .strip_prefix("the certificate's SHA-256 is ")
        .expect(&shown);
    let told = server.line().await;
    let line = told.strip_prefix("join with: client ").expect(&told);
    let mut client = Program::start(client_command().args(line.split(' ')));
    client.line().await;
    client.type_line("pinned").await;
    assert!(client.line().await.ends_with(": pinned"));
    assert_eq!(client.exit().await, 0);

    // A bare address with a pin is one of TLS.
    let host = addr.to_string();
    let mut client = Program::start(client_command().args([&host, "--tls-pin", pin, "--quiet"]));
    client.type_line("again").await;
    assert_eq!(client.exit().await, 0);

    let other = "0".repeat(64);
    for (arguments, code, told) in [
        (
            &[&*format!("https://{host}/"), "--tls-pin", &other][..],
            1,
            pin,
        ),
        (&[&format!("https://{host}/")], 1, "give --tls-pin"),
        (&[&host], 1, "HTTP 400"),
        (
            &[&format!("http://{host}/"), "--tls-pin", pin],
            2,
            "write https://",
        ),
        (&[&host, "--tls-pin", "12"], 2, "64 hexadecimal digits"),
    ] {
        let mut stranger = Program::start(client_command().args(arguments));
        assert_eq!(stranger.exit().await, code, "{arguments:?}");
        let said = stranger.stderr_lines().await.join("\n");
        assert!(said.contains(told), "{arguments:?}: {said}");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);

    let mut again = listening(&mut server_command(folder.path(), &["--tls-self-signed"]))
        .await
        .0;
    assert_eq!(again.line().await, shown, "the certificate is made once");
}

#[tokio::test]
async fn sighup_reads_the_certificate_again_and_keeps_connections() {
    let (first, second) = (Pair::new(), Pair::new());
    let (folder, files) = (folder(), PairFiles::of(&first));
    let (mut server, addr) = with_files(folder.path(), &files, &[]).await;
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &first.chain).expect("a file");
    let url = format!("https://localhost:{}/", addr.port());
    let mut command = client_command();
    command.arg(&url).arg("--tls-ca").arg(&ca);
    let mut client = Program::start(&mut command);
    client.line().await;

    // A pair that cannot be used is named, and the one before it stays.
    std::fs::write(files.key(), &second.key).expect("a file");
    server.signal(Signal::HUP);
    let said = server.logged("stays").await;
    assert!(said.contains("key.pem: the key does not belong"), "{said}");
    connect(addr, &first.der, &[&TLS13]).await;

    files.write(&second);
    server.signal(Signal::HUP);
    server.logged("is in use from now on").await;
    connect(addr, &second.der, &[&TLS13]).await;
    let stream = TcpStream::connect(addr).await.expect("a connection");
    assert!(handshake(stream, &first.der, &[&TLS13]).await.is_err());
    client.type_line("still here").await;
    assert!(client.line().await.ends_with(": still here"));
    assert_eq!(client.exit().await, 0);
}

// Verified to fail when the certificate is kept in memory alone.
#[tokio::test]
async fn a_lost_certificate_of_its_own_is_made_again() {
    let folder = folder();
    let mut shown = Vec::new();
    for _ in 0..2 {
        let (mut server, _) = server(folder.path(), &["--tls-self-signed"]).await;
        shown.push(server.line().await);
        server.signal(Signal::TERM);
        assert_eq!(server.exit().await, 0);
        let made = folder.path().join("chat-data/tls-self-signed.pem");
        std::fs::remove_file(made).expect("the certificate is in a file");
    }
    assert!(shown[0].starts_with("the certificate's SHA-256 is "));
    assert_ne!(shown[0], shown[1]);
}

// Verified to fail when the files of the start are read again.
#[tokio::test]
async fn sighup_takes_the_certificate_from_other_files() {
    let (first, second) = (Pair::new(), Pair::new());
    let (before, after) = (PairFiles::of(&first), PairFiles::of(&second));
    let folder = folder();
    let config = |files: &PairFiles| {
        let (chain, key) = (files.chain(), files.key());
        let text = format!("tls-cert = {chain:?}\ntls-key = {key:?}\nverbose = 1\n");
        std::fs::write(folder.path().join("chat.toml"), text).expect("a file");
    };
    config(&before);
    let flags = ["--ephemeral", "--config", "chat.toml"];
    let (mut server, addr) = listening(&mut server_command(folder.path(), &flags)).await;
    connect(addr, &first.der, &[&TLS13]).await;
    config(&after);
    server.signal(Signal::HUP);
    server.logged("is in use from now on").await;
    connect(addr, &second.der, &[&TLS13]).await;

    // Another way to get a certificate needs a restart.
    std::fs::write(
        folder.path().join("chat.toml"),
        "tls-self-signed = true\nverbose = 1\n",
    )
    .expect("a file");
    server.signal(Signal::HUP);
    let restart = server.logged("need a restart").await;
    let flags = "--tls-cert, --tls-key, --tls-self-signed";
    assert!(restart.ends_with(flags), "{restart}");
    connect(addr, &second.der, &[&TLS13]).await;
}

// Verified to fail when only the start looks at the time.
#[tokio::test]
async fn a_certificate_that_expires_is_warned_of_and_replaced() {
    let (folder, files) = (folder(), PairFiles::of(&Pair::valid_for(-3)));
    let (mut server, addr) = with_files(folder.path(), &files, &[]).await;
    server.logged("chain.pem has expired").await;
    for (days, said) in [
        (0, "expires within a day"),
        (5, "expires within 7 days"),
        (25, "expires within 30 days"),
    ] {
        // It is valid until the last midnight of these days.
        let pair = Pair::valid_for(days + 1);
        files.write(&pair);
        server.signal(Signal::HUP);
        server.logged("is in use from now on").await;
        let line = server.logged("chain.pem").await;
        assert!(line.ends_with(said), "{line}");
        connect(addr, &pair.der, &[&TLS13]).await;
    }
    let renewed = Pair::new();
    files.write(&renewed);
    server.signal(Signal::HUP);
    server.logged("is in use from now on").await;
    server.signal(Signal::TERM);
    let rest = server.stderr_lines().await.join("\n");
    assert!(!rest.contains("expires"), "{rest}");
}

#[tokio::test]
async fn the_other_listener_sends_everybody_to_https() {
    let (folder, files) = (folder(), PairFiles::of(&Pair::new()));
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let http = free.local_addr().expect("an address");
    drop(free);
    let (_server, addr) = with_files(
        folder.path(),
        &files,
        &["--redirect-http", &http.to_string()],
    )
    .await;
    for (host, location) in [
        (
            "localhost",
            format!("https://localhost:{}/tea?after=3", addr.port()),
        ),
        (
            "localhost:80",
            format!("https://localhost:{}/tea?after=3", addr.port()),
        ),
        (
            "[::1]:80",
            format!("https://[::1]:{}/tea?after=3", addr.port()),
        ),
    ] {
        let mut peer = Peer::connect(http).await;
        let request = format!("GET /tea?after=3 HTTP/1.1\r\nHost: {host}\r\n\r\n");
        peer.write(request.as_bytes()).await;
        let answer = peer.rest().await;
        assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
        assert!(
            answer.contains(&format!("location: {location}\r\n")),
            "{answer}"
        );
        assert!(!answer.contains("strict-transport"), "{answer}");
    }
    let mut peer = Peer::connect(http).await;
    peer.write(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        .await;
    let answer = peer.rest().await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
}

#[tokio::test]
async fn wrong_tls_flags_get_one_sentence() {
    let (folder, files) = (folder(), PairFiles::of(&Pair::new()));
    let chain = files.chain();
    let (chain, missing) = (chain.to_str().expect("UTF-8"), "/missing.pem");
    for (flags, part) in [
        (&["--tls-cert", chain][..], "--tls-key"),
        (
            &["--tls-cert", missing, "--tls-key", missing],
            "/missing.pem: it cannot be read",
        ),
        (&["--tls-cert", chain, "--tls-key", chain], "no private key"),
        (&["--tls-self-signed", "--acme", "chat.example"], "--acme"),
        (
            &["--redirect-http", "127.0.0.1:0"],
            "--redirect-http needs TLS",
        ),
        (&["--acme", "192.0.2.1"], "give a domain name"),
        (&["--acme", "chat.example", "--ephemeral"], "--ephemeral"),
        (
            &["--acme", "chat.example", "--acme-ca", missing],
            "--acme-ca /missing.pem",
        ),
        (&["--acme-contact", "ana@chat.example"], "--acme"),
    ] {
        let said = rejected_start(&mut server_command(folder.path(), flags)).await;
        assert!(said.contains(part), "{flags:?}: {said}");
    }
    let client = |flags: &[&str]| Program::start(client_command().args(flags));
    for (flags, part) in [
        (&["--tls-ca", missing][..], "--tls-ca /missing.pem"),
        (
            &["--tls-ca", files.key().to_str().expect("UTF-8")],
            "no certificate",
        ),
        (
            &["--tls-ca", chain, "--tls-pin", &"0".repeat(64)],
            "--tls-pin",
        ),
    ] {
        let mut client = client(flags);
        assert_eq!(client.exit().await, 2, "{flags:?}");
        let said = client.stderr_lines().await.join("\n");
        assert!(said.contains(part), "{flags:?}: {said}");
    }
}

#[tokio::test]
async fn only_a_public_certificate_makes_browsers_keep_to_https() {
    let folder = folder();
    let (mut server, addr) = server(folder.path(), &["--tls-self-signed", "--ephemeral"]).await;
    let pin = server.line().await;
    assert!(pin.contains("SHA-256"), "{pin}");
    let mut curl = Command::new("curl");
    curl.args(["--insecure", "--silent", "--include"]);
    let answer = curl.arg(format!("https://{addr}/-/health")).output().await;
    let answer = String::from_utf8(answer.expect("curl").stdout).expect("UTF-8");
    assert!(answer.ends_with("ok\n"), "{answer}");
    assert!(!answer.contains("strict-transport-security"), "{answer}");
}
