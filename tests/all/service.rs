//! The server under systemd: its notifications, its restart, and its unit.

use std::{
    fs,
    io::ErrorKind,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::process::Signal;
use tokio::{
    net::{TcpListener, UnixDatagram},
    process::{Child, Command},
};

use crate::{
    programs::{Program, SERVER, folder, listening, rejected_start, server_command},
    support::{Peer, soon},
};

/// The next notification with this part.
async fn told(manager: &UnixDatagram, part: &str) -> String {
    let told = async {
        loop {
            let mut bytes = [0; 1024];
            let count = manager.recv(&mut bytes).await.expect("a datagram");
            let told = String::from_utf8_lossy(&bytes[..count]).into_owned();
            if told.contains(part) {
                return told;
            }
        }
    };
    soon(part, told).await
}

// Verified to fail when the end of a reload is not told.
#[tokio::test]
async fn the_service_manager_is_told_of_each_change() {
    let folder = folder();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    let mut command = server_command(folder.path(), &["--ephemeral"]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "100000");
    let (mut server, _) = listening(&mut command).await;
    told(&manager, "READY=1").await;
    told(&manager, "WATCHDOG=1").await;
    let status = told(&manager, "STATUS=serving 0 connections").await;
    assert!(status.contains("WATCHDOG=1"), "{status}");
    server.signal(Signal::HUP);
    let reloading = told(&manager, "RELOADING=1").await;
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    told(&manager, "READY=1").await;
    server.signal(Signal::TERM);
    told(&manager, "STOPPING=1").await;
    assert_eq!(server.exit().await, 0);
}

/// Starts a server on a socket that the service manager holds.
pub(crate) fn start_on(listener: &TcpListener, program: &str, folder: &Path) -> Child {
    let socket = rustix::io::dup(listener).expect("a descriptor");
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDS_FIRST_FD", "0")
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command.spawn().expect("a server")
}

/// Stops a server as the service manager does, and waits for its end.
pub(crate) async fn stop(mut server: Child) {
    let id = i32::try_from(server.id().expect("it runs")).expect("an id");
    let id = rustix::process::Pid::from_raw(id).expect("an id");
    rustix::process::kill_process(id, Signal::TERM).expect("a signal");
    let status = soon("its end", server.wait()).await.expect("a child");
    assert_eq!(status.code(), Some(0));
}

/// Connects again and again until `done`. Returns how often that succeeded.
async fn connect_until(addr: SocketAddr, done: Arc<AtomicBool>) -> usize {
    let mut joined = 0;
    while !done.load(Ordering::Relaxed) {
        let connected = tokio::net::TcpStream::connect(addr).await;
        let refused = connected
            .as_ref()
            .is_err_and(|why| why.kind() == ErrorKind::ConnectionRefused);
        assert!(!refused, "a connection was refused");
        if Peer::try_upgrade(addr, "/").await.is_some() {
            joined += 1;
        }
    }
    joined
}

// Verified to fail when the server does not use the socket.
#[tokio::test]
async fn a_restart_with_the_socket_refuses_no_connection() {
    let folder = folder();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let done = Arc::new(AtomicBool::new(false));
    let crowd: Vec<_> = (0..4)
        .map(|_| tokio::spawn(connect_until(addr, Arc::clone(&done))))
        .collect();
    for _ in 0..3 {
        let server = start_on(&listener, SERVER, folder.path());
        let mut peer = soon("a place", async {
            loop {
                if let Some(peer) = Peer::try_upgrade(addr, "/").await {
                    return peer;
                }
            }
        })
        .await;
        peer.text().await;
        stop(server).await;
    }
    // The last connections wait in the socket for another server.
    done.store(true, Ordering::Relaxed);
    let mut last = start_on(&listener, SERVER, folder.path());
    for joined in crowd {
        let joined = soon("its end", joined).await.expect("no refusal");
        assert!(joined > 0);
    }
    last.start_kill().expect("it runs");
}

// Verified to fail without CapabilityBoundingSet.
#[tokio::test]
async fn the_unit_leaves_little_exposed() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/broadcast-chatd.service");
    let mut command = Command::new("systemd-analyze");
    command
        .args(["security", "--offline=true", "--threshold=11"])
        .arg(unit);
    let mut analysis = Program::start(&mut command);
    let said = analysis.lines().await;
    assert_eq!(analysis.exit().await, 0, "{}", said.join("\n"));
    assert!(
        said.iter()
            .any(|line| line.contains("Overall exposure level")),
        "{said:?}"
    );
}

// Verified to fail when a wrong flag ends it with 2.
#[tokio::test]
async fn a_healthcheck_ends_with_zero_or_one() {
    let folder = folder();
    let check = async |args: &[&str]| {
        let mut command = Command::new(SERVER);
        let mut check = Program::start(
            command
                .current_dir(folder.path())
                .arg("healthcheck")
                .args(args),
        );
        check.exit().await
    };
    for flags in [&["--prefix", "/chat"][..], &["--tls-self-signed"]] {
        let mut running = Program::start(&mut server_command(folder.path(), flags));
        let line = running.line().await;
        let addr = line.strip_prefix("listening on ").expect(&line);
        let addr: SocketAddr = addr.parse().expect("an address");
        let (scheme, base) = if flags.len() == 1 {
            ("https", "")
        } else {
            ("http", "/chat")
        };
        let url = format!("{scheme}://{addr}{base}");
        assert_eq!(check(&[&url]).await, 0, "{url}");
        assert_eq!(check(&[&format!("{url}/-/health")]).await, 0, "{url}");
        assert_eq!(check(&[&format!("{url}/nowhere")]).await, 1);
        // Without a URL it asks the server of the configuration.
        let file = folder.path().join("chat.toml");
        let prefix = if base.is_empty() {
            ""
        } else {
            "prefix = \"/chat\"\n"
        };
        let is_tls = scheme == "https";
        let text = format!(
            "{prefix}port = {}\ntls-self-signed = {is_tls}\n",
            addr.port()
        );
        fs::write(&file, text).expect("a file");
        assert_eq!(check(&["--config", "chat.toml"]).await, 0, "{url}");
        running.signal(Signal::TERM);
        assert_eq!(running.exit().await, 0);
        assert_eq!(check(&[&url]).await, 1, "nothing listens");
    }
    // A supervisor knows no other code.
    for wrong in [
        &["ftp://here/"][..],
        &["--nonsense"],
        &["--config", "nowhere.toml"],
        &["one", "two"],
    ] {
        assert_eq!(check(wrong).await, 1, "{wrong:?}");
    }
}

// Verified to fail when the mode is not looked at there.
#[tokio::test]
async fn a_delivered_secret_may_be_readable_but_not_writable() {
    let folder = folder();
    let credentials = folder.path().join("credentials");
    fs::create_dir(&credentials).expect("a folder");
    let secret = credentials.join("operator-secret");
    fs::write(&secret, "the-secret-of-all").expect("a file");
    let args = [
        "--operator-secret-file",
        secret.to_str().expect("UTF-8"),
        "--ephemeral",
    ];
    let start = |mode, named: &Path| {
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).expect("its mode");
        let mut command = server_command(folder.path(), &args);
        command.env("CREDENTIALS_DIRECTORY", named);
        command
    };
    for mode in [0o400, 0o440, 0o444] {
        let _running = listening(&mut start(mode, &credentials)).await;
    }
    for (mode, named) in [
        (0o444, folder.path().join("cred")),
        (0o464, credentials.clone()),
        (0o446, credentials.clone()),
    ] {
        let said = rejected_start(&mut start(mode, &named)).await;
        assert!(said.contains("others may"), "{said}");
    }
}
