//! SIGHUP: the configuration is read again.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rustix::process::Signal;
use serde_json::json;
use tokio::process::Command;

use crate::{
    programs::{Program, SERVER, folder, listening},
    support::{Peer, upgraded},
};

const JSON: [(&str, &str); 1] = [("Sec-WebSocket-Protocol", "chat.v1")];

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(SERVER);
    command
        .current_dir(folder)
        .args(["--config", "chat.toml", "--ephemeral"]);
    command
}

// Verified to fail when a limit, the notice or the secret stays.
#[tokio::test]
async fn sighup_applies_limits_notice_secret_and_log_level() {
    let folder = folder();
    let folder = folder.path();
    let text = "port = 0\nverbose = 1\nmotd = \"motd\"\noperator-secret-file = \"secret\"\n";
    write(folder, "chat.toml", &format!("{text}rate = \"100\"\n"));
    write(folder, "motd", "Before.");
    write(folder, "secret", "the-secret-before");
    let (mut server, addr) = listening(&mut command(folder)).await;
    let mut early = upgraded(addr, "/", &JSON).await;
    assert_eq!(early.event_of("notice").await["text"], "Before.");
    early.event_of("live").await;

    let text = text
        .replace("port = 0", "port = 1")
        .replace("verbose = 1", "verbose = 2");
    let limits = "keep = 3\nrate = \"1:1\"\nmax-text = 3\nmax-per-address = 2\n";
    write(folder, "chat.toml", &format!("{text}{limits}"));
    write(folder, "motd", "After.");
    write(folder, "secret", "the-secret-after");
    server.signal(Signal::HUP);
    let restart = server.logged("need a restart").await;
    assert!(restart.ends_with(": --keep, --port"), "{restart}");
    server.logged("was read again").await;

    let prove = |secret: &str| json!({"type": "operator", "secret": secret});
    let told = early.event_after(&prove("the-secret-before")).await;
    assert_eq!(told["code"], "not_allowed", "{told}");
    let told = early.event_after(&prove("the-secret-after")).await;
    assert_eq!(told["type"], "notice", "{told}");
    // The rate of a connection that is open.
    let publish = json!({"type": "publish", "text": "hi"});
    early.say(&publish.to_string()).await;
    let told = early.event_after(&publish).await;
    let both = [told, early.event().await];
    assert!(both.iter().any(|told| told["code"] == "rate"), "{both:?}");

    let mut late = upgraded(addr, "/", &JSON).await;
    assert_eq!(late.event_of("notice").await["text"], "After.");
    late.event_of("live").await;
    let long = json!({"type": "publish", "text": "four"});
    assert_eq!(late.event_after(&long).await["code"], "too_long");
    let mut third = Peer::connect(addr).await;
    third
        .write(b"GET /-/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert!(third.head().await.starts_with("HTTP/1.1 429 "));
    server.logged("DEBUG").await;
}

// Verified to fail when the right part of a wrong file is applied.
#[tokio::test]
async fn a_wrong_configuration_changes_nothing() {
    let folder = folder();
    let folder = folder.path();
    write(folder, "motd", "Before.");
    write(folder, "chat.toml", "port = 0\nmotd = \"motd\"\n");
    let (mut server, addr) = listening(&mut command(folder)).await;
    write(folder, "motd", "After.");
    write(
        folder,
        "chat.toml",
        "motd = \"motd\"\nmax-text = 1\nprot = 0\nbind = 1\n",
    );
    server.signal(Signal::HUP);
    for part in ["line 3: there is no key \"prot\"", "line 4: "] {
        let line = server.logged("the configuration in use stays").await;
        assert!(line.contains(part), "{line}");
    }
    let mut peer = upgraded(addr, "/", &JSON).await;
    assert_eq!(peer.event_of("notice").await["text"], "Before.");
    let publish = json!({"type": "publish", "text": "hi"});
    peer.event_of("live").await;
    assert_eq!(peer.event_after(&publish).await["type"], "message");
    // Without a file, too, nothing changes.
    fs::remove_file(folder.join("chat.toml")).expect("a file");
    server.signal(Signal::HUP);
    let line = server.logged("the configuration in use stays").await;
    assert!(line.contains("--config chat.toml"), "{line}");
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
}

// Verified to fail when a task waits for the files.
#[tokio::test]
async fn a_file_that_hangs_delays_no_stop() {
    let folder = folder();
    let folder = folder.path();
    write(folder, "chat.toml", "port = 0\nverbose = 1\n");
    let (mut server, addr) = listening(&mut command(folder)).await;
    write(folder, "chat.toml", "port = 0\nmotd = \"motd\"\n");
    let pipe = folder.join("motd");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).expect("a pipe");
    server.signal(Signal::HUP);
    // Opening it waits for the server to open it, and so does the server.
    let opened = tokio::task::spawn_blocking(move || fs::File::options().write(true).open(pipe));
    let _writer = opened
        .await
        .expect("no panic")
        .expect("the server reads it");
    for _ in 0..3 {
        server.signal(Signal::HUP);
    }
    let mut peer = upgraded(addr, "/", &JSON).await;
    assert_eq!(peer.event().await["type"], "welcome");
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
}

/// Runs the server on a terminal, sends it SIGHUP, and closes the terminal.
/// Prints the exit code.
const ON_A_TERMINAL: &str = r#"
import os, pty, signal, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
seen = b""
def shows(text):
    global seen
    while text not in seen:
        seen += os.read(terminal, 1024)
shows(b"in a browser")
os.kill(pid, signal.SIGHUP)
shows(b"read again")
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

// Verified to fail when a closed terminal makes it read its configuration.
#[tokio::test]
async fn only_a_closed_terminal_stops_the_server() {
    let folder = folder();
    let mut command = Command::new("python3");
    let server = [SERVER, "--port", "0", "--ephemeral", "-v"];
    command.current_dir(folder.path());
    let mut program = Program::start(command.args(["-c", ON_A_TERMINAL]).args(server));
    assert_eq!(program.line().await, "0");
}

// Verified to fail when the setting of the log stays.
#[tokio::test]
async fn sighup_changes_how_long_messages_may_be_changed() {
    let folder = folder();
    let folder = folder.path();
    write(folder, "chat.toml", "port = 0\nverbose = 1\n");
    let (mut server, addr) = listening(&mut command(folder)).await;
    let mut ana = upgraded(addr, "/", &JSON).await;
    ana.event_of("live").await;
    ana.event_after(&json!({"type": "publish", "text": "one"}))
        .await;
    let edit = json!({"type": "publish", "about": 1, "kind": "edit", "text": "two"});
    assert_eq!(ana.event_after(&edit).await["type"], "changed");
    write(
        folder,
        "chat.toml",
        "port = 0\nverbose = 1\nedit-window = \"0\"\n",
    );
    server.signal(Signal::HUP);
    server.logged("was read again").await;
    let refused = ana.event_after(&edit).await;
    assert_eq!(refused["code"], "not_allowed", "{refused}");
    let told = refused["text"].as_str().expect("a sentence");
    assert!(told.contains("too late"), "{told}");
}
