use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixStream,
    },
    path::Path,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    operators::{assert_sound, audit},
    programs::{Program, SERVER, folder, listening, rejected_start, server, server_command},
    support::{Peer, status_and_answer, upgraded},
};

/// Runs a subcommand; returns its exit code and what it printed.
async fn run(folder: &Path, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(SERVER);
    let mut program = Program::start(command.current_dir(folder).args(args));
    let (said, failed) = (program.lines().await, program.stderr_lines().await);
    (program.exit().await, [said, failed].concat().join("\n"))
}

/// Runs a subcommand that must succeed; returns its answer.
async fn answer(folder: &Path, args: &[&str]) -> Value {
    let (code, said) = run(folder, &[args, &["--json"]].concat()).await;
    assert_eq!(code, 0, "{args:?}: {said}");
    serde_json::from_str(&said).expect(&said)
}

async fn plain(addr: SocketAddr, target: &str) -> Peer {
    let mut peer = upgraded(addr, target, &[]).await;
    assert_eq!(peer.text().await, "Welcome to chat! Type a message");
    peer
}

/// A peer that owns its name.
async fn owner(addr: SocketAddr, name: &str) -> Peer {
    let mut peer = plain(addr, "/").await;
    let told = peer
        .text_after(&format!("/name {name} the-secret-of-{name}"))
        .await;
    assert!(told.contains(name), "{told}");
    peer
}

async fn stop(mut server: Program) {
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
}

// Verified to fail when the server opens no socket.
#[tokio::test]
async fn every_request_works_beside_a_running_server() {
    let folder = folder();
    let data = folder.path();
    let (running, addr) = server(data, &[]).await;
    let mut ana = owner(addr, "ana").await;
    ana.text_after("one").await;
    ana.text_after("two").await;
    let mut bob = plain(addr, "/_den?name=bob").await;

    let rooms = answer(data, &["rooms"]).await;
    let (lobby, den) = (
        json!({"room": "lobby", "members": 1, "last": 2, "private": false}),
        json!({"room": "_den", "members": 1, "last": 0, "private": false}),
    );
    assert_eq!(rooms, json!({"type": "rooms", "rooms": [lobby, den]}));

    let kick = ["kick", "bob", "--reason", "spam"];
    assert_eq!(answer(data, &kick).await["text"], "bob was kicked.");
    assert_eq!(bob.closed().await, (4501, "spam".into()));
    let ban = ["ban", "bob", "--for", "2h", "--reason", "more spam"];
    assert_eq!(answer(data, &ban).await["text"], "bob is banned.");
    let bans = answer(data, &["bans"]).await;
    let in_force = json!({"kind": "ban", "who": "bob", "for": "2h", "reason": "more spam"});
    assert_eq!(bans, json!({"type": "bans", "bans": [in_force]}));
    let said = run(data, &["bans"]).await;
    let line = "ban bob, for another 2h: more spam";
    assert_eq!(said, (0, line.to_owned()));
    let unban = answer(data, &["unban", "BOB"]).await;
    assert_eq!(unban["text"], "BOB is not banned.");
    plain(addr, "/?name=bob").await;

    // The words leave the store and every reader's history.
    let redact = answer(data, &["redact", "lobby", "1"]).await;
    assert_eq!(redact["text"], "Number 1 of lobby is erased.");
    assert_eq!(ana.text_after("/history").await, "* ana: two");
    let (code, said) = run(data, &["redact", "lobby", "9"]).await;
    assert_eq!(code, 2);
    assert!(said.contains("Number 9 is no message of lobby"), "{said}");
    let (code, said) = run(data, &["redact", "lobby", "9", "--json"]).await;
    let refused: Value = serde_json::from_str(&said).expect(&said);
    assert_eq!((code, &refused["code"]), (2, &json!("not_here")));

    let invite = answer(data, &["invite", "--uses", "2", "--for", "1d"]).await;
    let url = invite["url"].as_str().expect("a URL");
    let start = format!("http://{addr}/lobby#invite=");
    assert!(url.starts_with(&start), "{url}");
    assert_eq!((&invite["uses"], &invite["for"]), (&json!(2), &json!("1d")));
    let (code, said) = run(data, &["invite", "--uses", "1001"]).await;
    assert_eq!((code, said.contains("1 to 1000")), (2, true), "{said}");

    assert_eq!(
        answer(data, &["release", "ana"]).await["text"],
        "ana is free now. The next owner starts with nothing."
    );
    assert_eq!(ana.closed().await.0, 4503);

    let records = answer(data, &["audit", "--limit", "2"]).await;
    let records = records["records"].as_array().expect("records");
    let acts: Vec<_> = records
        .iter()
        .map(|it| (&it["action"], &it["operator"]))
        .collect();
    let by = json!("server");
    assert_eq!(acts[0], (&json!("invite 2"), &by));
    assert_eq!(acts[1], (&json!("release"), &by));
    assert_eq!(acts.len(), 2);
    stop(running).await;
    let data = &data.join("chat-data");
    assert_eq!(audit(data)[0], ["server", "kick", "bob", "spam"]);
    assert_sound(data);
}

// Verified to fail when the store's name expiry changes.
#[tokio::test]
async fn requests_without_a_server_work_on_the_store() {
    let folder = folder();
    let data = folder.path();
    let (code, said) = run(data, &["bans"]).await;
    assert_eq!(code, 2);
    assert!(said.contains("there is no history in"), "{said}");
    assert!(!data.join("chat-data/chat.sqlite").exists(), "made nothing");

    let (running, addr) = server(data, &["--name-expiry", "5"]).await;
    let mut ana = owner(addr, "ana").await;
    ana.text_after("one").await;
    stop(running).await;
    assert!(!data.join("chat-data/admin.sock").exists(), "removed");

    let state = || {
        let db = rusqlite::Connection::open(data.join("chat-data/chat.sqlite")).expect("the store");
        db.query_row("SELECT name_expiry FROM state", [], |row| {
            row.get::<_, i64>(0)
        })
        .expect("a row")
    };
    let before = state();
    let banned = answer(data, &["ban", "10.0.0.0/8"]).await;
    assert_eq!(banned["text"], "10.0.0.0/8 is banned.");
    assert_eq!(
        answer(data, &["bans"]).await["bans"][0]["who"],
        "10.0.0.0/8"
    );
    answer(data, &["unban", "10.0.0.0/8"]).await;
    assert_eq!(answer(data, &["bans"]).await["bans"], json!([]));
    answer(data, &["redact", "lobby", "1"]).await;
    assert_eq!(answer(data, &["rooms"]).await["rooms"][0]["last"], 1);
    let url = answer(data, &["invite"]).await["url"].clone();
    let url = url.as_str().expect("a URL");
    assert!(url.starts_with("https://HOST/lobby#invite="), "{url}");
    let (code, said) = run(data, &["kick", "ana"]).await;
    assert_eq!((code, said.contains("no server runs")), (2, true), "{said}");
    answer(data, &["release", "ana"]).await;
    assert_eq!(state(), before);
    assert_eq!(
        answer(data, &["audit"]).await["records"][0]["action"],
        "ban"
    );
    assert_sound(&data.join("chat-data"));
}

// Verified to fail when the conversation under the name goes on, and without the records.
#[tokio::test]
async fn an_operator_by_name_needs_no_restart() {
    let folder = folder();
    let data = folder.path();
    let (running, addr) = server(data, &[]).await;
    for (change, answered) in [
        ("add", "* No ban or mute is in force."),
        ("remove", "* Operators only: /operator SECRET"),
    ] {
        let mut before = owner(addr, "ana").await;
        let told = answer(data, &["operator", change, "Ana"]).await;
        assert!(told["text"].as_str().expect("text").contains("operator"));
        let (code, reason) = before.closed().await;
        assert_eq!(code, 4004, "{reason}");
        let mut after = owner(addr, "ana").await;
        assert_eq!(after.text_after("/bans").await, answered, "{change}");
        // Saying it again ends no conversation.
        answer(data, &["operator", change, "ana"]).await;
        assert_eq!(after.text_after("/bans").await, answered, "{change}");
    }
    let (code, said) = run(data, &["operator", "add", "nobody"]).await;
    assert_eq!(code, 2);
    assert!(said.contains("Nobody owns the name nobody"), "{said}");
    stop(running).await;
    // Only changes are recorded.
    assert_eq!(
        audit(&data.join("chat-data")),
        [
            ["server", "operator add", "ana", ""],
            ["server", "operator remove", "ana", ""]
        ]
    );
}

#[tokio::test]
async fn a_lost_secret_an_address_or_a_ban_locks_nobody_out() {
    let folder = folder();
    let data = folder.path();
    let secret = data.join("secret");
    fs::write(&secret, "a-secret-that-gets-lost\n").expect("written");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("its mode");
    let flags = ["--operator-secret-file", "secret"];
    let (running, addr) = listening(&mut server_command(data, &flags)).await;
    owner(addr, "ana").await;
    // The secret is lost: a name becomes an operator's.
    answer(data, &["operator", "add", "ana"]).await;
    let mut ana = owner(addr, "ana").await;
    let told = ana.text_after("/ban 203.0.113.7").await;
    assert_eq!(told, "* 203.0.113.7 is banned.");
    stop(running).await;

    // The banned address becomes a proxy's.
    let flags = [
        "--trusted-proxy",
        "203.0.113.7",
        "--trusted-proxy",
        "loopback",
    ];
    let (running, addr) = listening(&mut server_command(data, &flags)).await;
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.7\r\n\
                   Connection: close\r\n\r\n";
    assert_eq!(status_and_answer(addr, request).await.0, 403);
    answer(data, &["unban", "203.0.113.7"]).await;
    assert_eq!(status_and_answer(addr, request).await.0, 200);
    stop(running).await;

    // The address is taken, so no server starts.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let said = rejected_start(
        Command::new(SERVER)
            .current_dir(data)
            .args(["--port", &port]),
    )
    .await;
    assert!(said.contains("another program listens there"), "{said}");
    answer(data, &["operator", "remove", "ana"]).await;
}

// Verified to fail with the mode of the other Unix sockets.
#[tokio::test]
async fn only_the_servers_user_reaches_the_socket() {
    let folder = folder();
    let data = folder.path();
    let long = data.join("x".repeat(100));
    for (name, flags) in [("chat-data", [].as_slice()), ("long", &["--data", "long"])] {
        if name == "long" {
            fs::create_dir(&long).expect("a folder");
            std::os::unix::fs::symlink(&long, data.join("long")).expect("a link");
        }
        // A killed server leaves its socket behind.
        let (mut killed, _) = server(data, flags).await;
        killed.signal(Signal::KILL);
        killed.child.wait().await.expect("a child");
        let (running, _) = server(data, flags).await;
        let socket = data.join(name).join("admin.sock");
        let made = fs::metadata(&socket).expect("a socket");
        assert!(made.file_type().is_socket());
        assert_eq!(made.permissions().mode() & 0o777, 0o600);
        // Nonsense gets a refusal, and a silent peer stops nobody for long.
        let _silent = UnixStream::connect(&socket).expect("a connection");
        let real = fs::canonicalize(data.join(name)).expect("a path");
        let real = real.to_str().expect("UTF-8");
        assert_eq!(
            answer(data, &["bans", "--data", real]).await["bans"],
            json!([])
        );
        stop(running).await;
    }
}
