use std::{
    fs,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
};

use broadcast_chat::{
    client::{
        Client, ClientEvent, ClientOptions, ConnectionState, Keyring, Outbox,
        address::{AddressOptions, Target},
        ids::Ids,
    },
    protocol::{Command, Event, PublishKind},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{self, ChildStdin},
    time::sleep,
};

use crate::{
    disk::faulty::{ControlField, Disk, EIO},
    programs::{Program, client_command, folder, server, server_again},
    support::{MemoryChat, soon},
};

/// Kills a server, and starts it again with the same folder and port.
async fn revive(mut killed: Program, folder: &Path, addr: SocketAddr) -> Program {
    killed.child.kill().await.expect("killed");
    server_again(folder, addr).await
}

/// Writes numbered lines into a client's input, at the client's pace.
async fn feed(mut input: ChildStdin, numbers: RangeInclusive<usize>) -> ChildStdin {
    let lines: Vec<String> = numbers.map(|n| n.to_string()).collect();
    let lines = lines.join("\n") + "\n";
    let fed = input.write_all(lines.as_bytes());
    soon("feeding", fed).await.expect("it reads");
    input
}

/// The lines of the room, as a new client prints them.
async fn history(addr: SocketAddr) -> Vec<String> {
    let mut reader = Program::client(addr, &["--after", "0"]);
    drop(reader.input.take());
    let mut lines = reader.lines().await;
    assert_eq!(reader.exit().await, 0);
    lines.remove(0);
    lines
}

fn numbered(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("seq: {n}")).collect()
}

/// Waits until a file contains a text.
async fn noted(path: &Path, what: &str) {
    soon(what, async {
        // No event announces a write to a file.
        while !fs::read_to_string(path).is_ok_and(|text| text.contains(what)) {
            sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_pipe_and_a_reader_survive_server_restarts() {
    const PARTS: usize = 4;
    const EACH: usize = 5000;
    let folder = folder();
    let (mut server, addr) = server(folder.path(), &[]).await;
    let mut reader = Program::client(addr, &[]);
    assert_eq!(reader.line().await, "Welcome to chat! Type a message");
    let mut pipe = Program::client(addr, &["--name", "seq"]);
    let mut input = pipe.input.take().expect("piped");
    let echo = tokio::spawn(async move { (pipe.lines().await, pipe) });
    let mut read = 0..;
    for part in 0..PARTS {
        let first = part * EACH + 1;
        let middle = first + EACH / 2;
        let feeding = tokio::spawn(feed(input, first..=middle));
        for n in read.by_ref().take(EACH / 2) {
            assert_eq!(reader.line().await, format!("seq: {}", n + 1));
        }
        input = feeding.await.expect("fed");
        let rest = middle + 1..=first + EACH - 1;
        server = if part % 2 == 0 {
            // The stopped server takes none of these lines. More empty lines
            // than a pipe holds follow them, so the client has read these.
            server.signal(Signal::STOP);
            input = feed(input, rest).await;
            let nothing = "\n".repeat(200_000);
            let fed = input.write_all(nothing.as_bytes());
            soon("feeding", fed).await.expect("it reads");
            revive(server, folder.path(), addr).await
        } else {
            input = feed(input, rest).await;
            server.signal(Signal::TERM);
            assert_eq!(server.exit().await, 0);
            server_again(folder.path(), addr).await
        };
        for n in read.by_ref().take(EACH / 2) {
            assert_eq!(reader.line().await, format!("seq: {}", n + 1));
        }
    }
    drop(input);
    // The piping client received its own lines too.
    let (mut lines, mut pipe) = soon("its end", echo).await.expect("read");
    assert_eq!(lines.remove(0), "Welcome to chat! Type a message");
    assert_eq!(lines, numbered(PARTS * EACH));
    assert_eq!(history(addr).await, numbered(PARTS * EACH));
    assert_eq!(reader.exit().await, 0);
    assert_eq!(pipe.exit().await, 0);
    let said = pipe.stderr_lines().await;
    let left = |line: &&String| line.contains("offline (") && !line.contains(" 0 unsent");
    assert!(said.iter().filter(left).count() > 0, "{said:?}");
    for said in [said, reader.stderr_lines().await] {
        let states = |what: &str| said.iter().filter(|line| line.contains(what)).count();
        assert_eq!(states("offline ("), PARTS, "{said:?}");
        assert_eq!(states("connected again"), PARTS, "{said:?}");
        assert_eq!(states("caught up"), PARTS, "{said:?}");
        assert_eq!(said.len(), 3 * PARTS, "{said:?}");
    }
}

#[tokio::test]
async fn an_outbox_survives_a_killed_client() {
    let folder = folder();
    let path = folder.path().join("outbox");
    let outbox = path.to_str().expect("UTF-8");
    let (mut first, addr) = server(folder.path(), &[]).await;
    let mut client = Program::client(addr, &["--name", "seq", "--outbox", outbox]);
    let mut lines = vec![client.line().await];
    let input = feed(client.input.take().expect("piped"), 1..=500).await;
    for _ in 0..500 {
        lines.push(client.line().await);
    }
    noted(&path, r#""seq":500,"#).await;
    first.child.kill().await.expect("killed");
    // The client takes these lines, but no server does.
    let _input = feed(input, 501..=900).await;
    noted(&path, r#""text":"900""#).await;
    client.child.kill().await.expect("killed");

    let _second = server_again(folder.path(), addr).await;
    let mut client = Program::client(addr, &["--name", "seq", "--outbox", outbox]);
    drop(feed(client.input.take().expect("piped"), 901..=1000).await);
    lines.extend(client.lines().await.drain(1..));
    assert_eq!(client.exit().await, 0);
    assert_eq!(client.stderr_lines().await, [""; 0]);
    assert_eq!(lines[1..], numbered(1000));
    assert_eq!(history(addr).await, numbered(1000));
    // The outbox is empty: the next client sends nothing.
    let mut client = Program::client(addr, &["--outbox", outbox]);
    assert_eq!(client.exit().await, 0);
    assert_eq!(client.lines().await.len(), 1, "it was welcomed");
    assert_eq!(history(addr).await, numbered(1000));
}

#[tokio::test]
async fn a_failed_sync_ends_the_client_before_it_sends() {
    let folder = folder();
    let (_server, addr) = server(folder.path(), &[]).await;
    let disk = Disk::new();
    fs::create_dir(disk.data()).expect("a folder");
    let path = disk.data().join("outbox");
    let mut command = client_command();
    command
        .envs(disk.environment())
        .arg(addr.to_string())
        .arg("--outbox")
        .arg(&path);
    let mut client = Program::start(&mut command);
    client.line().await;
    disk.set(ControlField::Sync, EIO);
    client.type_line("said once").await;
    assert_eq!(
        client.stderr_lines().await,
        [
            "client: 1 line was not stored (what was sent is in the outbox): \
             the outbox cannot be written: Input/output error (os error 5)"
        ]
    );
    assert_eq!(client.exit().await, 1);
    assert_eq!(history(addr).await, [""; 0]);
    // The next client finds the line in the file.
    disk.set(ControlField::Sync, 0);
    let mut client = Program::start(&mut command);
    assert_eq!(client.exit().await, 0);
    let said = history(addr).await;
    assert!(
        matches!(&said[..], [line] if line.ends_with(": said once")),
        "{said:?}"
    );
}

/// Starts a client on a terminal of its own, which `script` makes.
fn on_a_terminal(addr: SocketAddr, state: &Path) -> Program {
    let command = format!("exec {} --plain {addr}", env!("CARGO_BIN_EXE_client"));
    let mut script = process::Command::new("script");
    script.args(["-qefc", &command, "/dev/null"]);
    Program::start(script.env("XDG_STATE_HOME", state))
}

/// Kills the client that `script` runs, and waits for the end.
async fn crash(mut terminal: Program) {
    let id = terminal.child.id().expect("it runs");
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let child = children.expect("on Linux").trim().parse().expect("one");
    kill_process(Pid::from_raw(child).expect("one"), Signal::KILL).expect("a signal");
    soon("its end", terminal.child.wait())
        .await
        .expect("a child");
}

async fn shows(terminal: &mut Program, what: &str) -> String {
    loop {
        let line = terminal.line().await;
        if line.contains(what) {
            return line;
        }
    }
}

/// The outboxes in the user's folder.
fn outboxes(state: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(state.join("broadcast-chat"));
    let paths = files
        .into_iter()
        .flatten()
        .map(|f| f.expect("a file").path());
    let named = |path: &PathBuf| path.to_string_lossy().contains("/outbox-");
    paths.filter(named).collect()
}

// Verified to fail when a client without `--outbox` has no outbox, and when an
// empty outbox stays.
#[tokio::test]
async fn unsent_messages_survive_a_crash_on_a_terminal() {
    let folder = folder();
    let state = folder.path().join("state");
    let (mut first, addr) = server(folder.path(), &[]).await;
    let mut other = on_a_terminal(addr, &state);
    shows(&mut other, "Welcome").await;
    let mut client = on_a_terminal(addr, &state);
    shows(&mut client, "Welcome").await;
    client.type_line("said").await;
    shows(&mut client, ": said").await;
    shows(&mut other, ": said").await;
    // A client that ends in order with nothing unsent removes its outbox.
    other.type_line("\u{4}").await;
    assert_eq!(other.exit().await, 0);
    let [outbox] = &outboxes(&state)[..] else {
        panic!("{:?}", outboxes(&state));
    };

    first.child.kill().await.expect("killed");
    client.type_line("unsent").await;
    noted(outbox, r#""text":"unsent""#).await;
    crash(client).await;

    let _second = server_again(folder.path(), addr).await;
    let mut client = on_a_terminal(addr, &state);
    shows(&mut client, "Welcome").await;
    let line = shows(&mut client, ": ").await;
    assert!(
        line.contains(": unsent"),
        "no message is shown twice: {line}"
    );
    client.type_line("\u{4}").await;
    assert_eq!(client.exit().await, 0);
    assert!(outboxes(&state).is_empty());
    assert_eq!(history(addr).await.len(), 2);
}

/// The real client and server, over connections in memory that all break early.
#[tokio::test]
async fn connections_that_break_anywhere_lose_no_message() {
    const COUNT: u64 = 2000;
    let chat = Arc::new(MemoryChat::start());
    let mut rng = fastrand::Rng::with_seed(7);
    let place = Arc::clone(&chat);
    let open = move || {
        // Each connection breaks after a random number of bytes, but not before
        // the welcome: without one, the client would never make progress.
        let (read, write) = tokio::io::split(place.connect(4096));
        let mortal = tokio::io::join(read.take(rng.u64(1000..60_000)), write);
        async move { Ok(mortal) }
    };
    let target = Target::new(&AddressOptions {
        address: Some("ws://127.0.0.1:2000/sim".to_owned()),
        ..AddressOptions::default()
    });
    let options = ClientOptions {
        reconnect: true,
        seed: 7,
        outbox: Outbox::in_memory(),
        keyring: Keyring::none(),
    };
    let mut client = Client::over(open, &target.expect("an address"), options)
        .await
        .expect("a welcome");
    let ids = Ids::seeded(7);
    let (mut sent, mut shown, mut lost) = (0, 0, 0);
    while shown < COUNT {
        while sent < COUNT && client.has_room() {
            sent += 1;
            client.send(Command::Publish {
                text: sent.to_string(),
                id: ids.of(sent).ok(),
                kind: PublishKind::Said,
                about: None,
                follows: None,
            });
        }
        match soon("an event", client.next()).await {
            ClientEvent::Event(_, Event::Message(message)) => {
                shown += 1;
                assert_eq!(*message.text, shown.to_string());
            }
            ClientEvent::State(ConnectionState::Connected) => lost += 1,
            happened @ (ClientEvent::Ended(_)
            | ClientEvent::Missing { .. }
            | ClientEvent::Refused { .. }) => {
                panic!("{happened:?}")
            }
            _ => {}
        }
    }
    assert!(lost > 3, "{lost}");
    assert_eq!(client.unconfirmed(), 0);
}

#[tokio::test]
async fn with_no_reconnect_a_pipe_ends_with_its_connection() {
    let folder = folder();
    let (mut server, addr) = server(folder.path(), &[]).await;
    let mut client = Program::client(addr, &["--no-reconnect", "--name", "seq"]);
    client.type_line("1").await;
    assert_eq!(client.line().await, "Welcome to chat! Type a message");
    assert_eq!(client.line().await, "seq: 1");
    server.child.kill().await.expect("killed");
    let end = soon("its end", client.child.wait()).await.expect("a child");
    assert_eq!(end.code(), Some(1));
    let said = client.stderr_lines().await;
    let sentence = format!("client: the server at {addr} went away (");
    assert!(
        said.len() == 1 && said[0].starts_with(&sentence),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_outbox_stays_unchanged() {
    let folder = folder();
    let path = folder.path().join("diary");
    fs::write(&path, "dear diary\n").expect("written");
    // The client looks at the file before it connects.
    let mut client = Program::start(
        client_command()
            .args(["--port", "1", "--outbox"])
            .arg(&path),
    );
    assert_eq!(client.exit().await, 2);
    let said = client.stderr_lines().await;
    assert!(
        said[0].contains("diary is no outbox and is left as it is"),
        "{said:?}"
    );
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(fs::read_to_string(&path).expect("a file"), "dear diary\n");
}
