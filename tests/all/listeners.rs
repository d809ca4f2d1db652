//! Listeners other than a TCP port: Unix sockets, and sockets that a service
//! manager hands over.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path};

use rustix::process::Signal;
use serde_json::json;
use tokio::{io::AsyncReadExt, net::UnixStream, process::Command};

use crate::{
    programs::{Program, SERVER, folder, rejected_start, server, server_command},
    support::{Peer, UnixPeer, soon, upgrade},
};

async fn connect(path: &Path) -> UnixPeer {
    let stream = UnixStream::connect(path).await.expect("a connection");
    UnixPeer::over_unix(stream)
}

/// Connects and upgrades, in the JSON format.
async fn join(path: &Path, target: &str) -> UnixPeer {
    let mut peer = connect(path).await;
    let headers = [("Sec-WebSocket-Protocol", "chat.v1")];
    let request = upgrade(([127, 0, 0, 1], 1).into(), target, &headers);
    peer.write(request.as_bytes()).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    peer
}

// Verified to fail when the socket keeps the mode of the umask.
#[tokio::test]
async fn a_unix_socket_is_another_way_into_the_rooms() {
    let folder = folder();
    let path = folder.path().join("chat.sock");
    let (mut running, addr) = server(folder.path(), &["--unix", "chat.sock"]).await;
    assert_eq!(running.line().await, "listening on chat.sock");
    let mode = fs::metadata(&path).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);

    let mut ana = join(&path, "/tea").await;
    let welcome = ana.event_of("welcome").await;
    let tag = welcome["you"]["addr"].as_str().expect("a tag").to_owned();
    assert!(tag.starts_with("guest-"), "{tag}");
    let mut bob = crate::support::upgraded(addr, "/tea", &[]).await;
    bob.text().await;
    ana.event_of("live").await;
    ana.say(&json!({"type": "publish", "text": "hi"}).to_string())
        .await;
    assert_eq!(bob.text().await, format!("{tag}: hi"));
    // Peers without an address never count as one person.
    let mut first = join(&path, "/?name=ana").await;
    assert_eq!(first.event_of("welcome").await["you"]["name"], "ana");
    let mut second = join(&path, "/?name=ana").await;
    assert_eq!(second.event_of("refused").await["code"], "name_taken");

    running.signal(Signal::TERM);
    assert_eq!(running.exit().await, 0);
    assert!(!path.exists(), "the server removes its socket");
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_one_in_use_refused() {
    let folder = folder();
    let other = crate::programs::folder();
    let path = folder.path().join("chat.sock");
    let unix = ["--unix", path.to_str().expect("UTF-8")];
    let (mut running, _) = server(folder.path(), &unix).await;
    running.line().await;
    let told = rejected_start(&mut server_command(other.path(), &unix)).await;
    assert!(told.contains("another program listens there"), "{told}");
    let mut peer = join(&path, "/").await;
    peer.event_of("welcome").await;
    // It dies without removing its socket.
    running.signal(Signal::KILL);
    soon("its end", running.child.wait())
        .await
        .expect("a child");
    assert!(path.exists());
    let (mut again, _) = server(folder.path(), &unix).await;
    again.line().await;
    join(&path, "/").await.event_of("welcome").await;

    let file = other.path().join("notes.txt");
    fs::write(&file, "mine").expect("a file");
    let unix = ["--unix", file.to_str().expect("UTF-8")];
    let told = rejected_start(&mut server_command(other.path(), &unix)).await;
    assert!(told.contains("no socket"), "{told}");
    assert_eq!(fs::read_to_string(&file).expect("still there"), "mine");
    let unix = ["--unix", "/nowhere/chat.sock"];
    let told = rejected_start(&mut server_command(other.path(), &unix)).await;
    assert!(told.contains("folder does not exist"), "{told}");
}

/// Listens at a TCP port and at a path, and becomes the server, which gets both
/// as a service manager hands them over.
const HAND_OVER: &str = r#"
import os, socket, sys
tcp = socket.create_server((sys.argv[1], 0))
unix = socket.socket(socket.AF_UNIX)
unix.bind("handed.sock")
unix.listen()
for fd, handed in ((3, tcp), (4, unix)):
    os.dup2(os.dup(handed.fileno()) if handed.fileno() < 5 else handed.fileno(), fd)
environ = dict(os.environ, LISTEN_FDS="2", LISTEN_PID=str(os.getpid()))
os.execvpe(sys.argv[2], sys.argv[2:], environ)
"#;

async fn handed_over(folder: &Path, host: &str) -> (Program, SocketAddr) {
    let mut command = Command::new("python3");
    command
        .current_dir(folder)
        .args(["-c", HAND_OVER, host, SERVER]);
    // With no descriptor between, the sockets get other numbers first.
    let mut server = Program::start(&mut command);
    let line = server.line().await;
    let addr = line.strip_prefix("listening on ").expect(&line);
    let addr: SocketAddr = addr.parse().expect("an address");
    loop {
        let line = server.line().await;
        if line == "listening on handed.sock" {
            return (server, addr);
        }
    }
}

#[tokio::test]
async fn sockets_of_a_service_manager_are_used_instead_of_the_port() {
    let folder = folder();
    let (mut server, addr) = handed_over(folder.path(), "127.0.0.1").await;
    assert_ne!(addr.port(), 2000);
    let mut bob = crate::support::upgraded(addr, "/", &[]).await;
    bob.text().await;
    let path = folder.path().join("handed.sock");
    join(&path, "/").await.event_of("welcome").await;
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
    assert!(path.exists(), "the socket is the service manager's");
}

// Verified to fail when only `--bind` decides.
#[tokio::test]
async fn limits_hold_at_a_handed_socket_on_the_network() {
    for (host, expected) in [("127.0.0.1", 200), ("0.0.0.0", 429)] {
        let folder = folder();
        let (_server, addr) = handed_over(folder.path(), host).await;
        let addr = SocketAddr::from(([127, 0, 0, 1], addr.port()));
        let mut crowd = Vec::new();
        for _ in 0..64 {
            crowd.push(Peer::connect(addr).await);
        }
        let mut peer = Peer::connect(addr).await;
        peer.sending
            .try_write(b"GET /-/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        let answer = peer.rest().await;
        assert_eq!(&answer[9..12], expected.to_string(), "{host}");
    }
}

#[tokio::test]
async fn a_proxy_at_a_unix_socket_counts_as_loopback() {
    let folder = folder();
    let flags = ["--unix", "chat.sock", "--trusted-proxy", "loopback"];
    let (mut server, _) = server(folder.path(), &flags).await;
    server.line().await;
    let path = folder.path().join("chat.sock");
    let mut stream = UnixStream::connect(&path).await.expect("a connection");
    let headers = [
        ("Sec-WebSocket-Protocol", "chat.v1"),
        ("X-Forwarded-For", "192.0.2.7"),
    ];
    let request = upgrade(([127, 0, 0, 1], 1).into(), "/", &headers);
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes())
        .await
        .expect("a request");
    let mut answer = String::new();
    while !answer.contains("192.0.2.7") {
        let mut bytes = [0; 1024];
        let count = soon("a welcome", stream.read(&mut bytes))
            .await
            .expect("bytes");
        assert_ne!(count, 0, "{answer}");
        answer.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
}
