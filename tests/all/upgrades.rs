use std::{
    env, fs,
    io::{Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use rustix::process::Signal;
use serde_json::Value;
use tokio::process::Command;

use crate::{
    operators::assert_sound,
    programs::{Program, SERVER, folder, listening, rejected_start},
    support::{Peer, status_and_answer, upgraded},
};

const JSON: (&str, &str) = ("Sec-WebSocket-Protocol", "chat.v1");
const SECRET: (&str, &str) = ("Authorization", "Bearer the-secret-of-ana");

/// The number of messages that [`fill`] writes.
const MESSAGES: u64 = 3;

/// The server of the release before this one, if the environment names it.
fn previous() -> String {
    env::var("PREVIOUS_SERVER").unwrap_or_else(|_| SERVER.to_owned())
}

fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).args(["--port", "0"]);
    command
}

async fn stop(mut server: Program) {
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
}

/// The owner of the name ana, and the topic of the room as her welcome tells it.
async fn ana(addr: SocketAddr) -> (Peer, Value) {
    let mut ana = upgraded(addr, "/tea?name=ana", &[JSON, SECRET]).await;
    let welcome = ana.event().await;
    assert_eq!(welcome["you"]["name"], "ana", "{welcome}");
    (ana, welcome["topic"].clone())
}

/// Has a program write a folder: messages, an owned name, a topic and a ban.
async fn fill(program: &str, folder: &Path) {
    let (server, addr) = listening(&mut command(program, folder)).await;
    let (mut ana, _) = ana(addr).await;
    ana.say(r#"{"type":"topic","text":"about tea"}"#).await;
    ana.event_of("topic").await;
    for number in 1..=MESSAGES {
        ana.say(&format!(
            r#"{{"type":"publish","text":"message {number}"}}"#
        ))
        .await;
        assert_eq!(ana.event_of("message").await["seq"], number);
    }
    let mut ban = Command::new(program);
    let mut ban = Program::start(ban.current_dir(folder).args(["ban", "eve"]));
    assert_eq!(ban.exit().await, 0);
    stop(server).await;
}

/// Has a program read all that [`fill`] wrote, and write another message. Until
/// then the last one has this number.
async fn go_on(program: &str, folder: &Path, last: u64) {
    let (server, addr) = listening(&mut command(program, folder)).await;
    let page = "GET /tea HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (status, lines) = status_and_answer(addr, page).await;
    assert_eq!(status, 200);
    for number in 1..=last {
        assert!(
            lines.contains(&format!("ana: message {number}\n")),
            "{lines}"
        );
    }
    for (name, status) in [("eve", 403), ("ana", 401)] {
        let request = format!(
            "POST /tea?name={name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi"
        );
        assert_eq!(status_and_answer(addr, &request).await.0, status, "{name}");
    }
    let (mut ana, topic) = ana(addr).await;
    assert_eq!(topic, "about tea");
    let next = last + 1;
    ana.say(&format!(r#"{{"type":"publish","text":"message {next}"}}"#))
        .await;
    while ana.event_of("message").await["seq"] != next {}
    stop(server).await;
    assert_sound(&folder.join("chat-data"));
}

/// The database of a folder, and the format that it is marked with.
fn database(folder: &Path) -> (PathBuf, u32) {
    let path = folder.join("chat-data/chat.sqlite");
    // A process that ends may leave its last commits in the write-ahead log.
    let db = rusqlite::Connection::open(&path).expect("a database");
    let empty = "PRAGMA wal_checkpoint(TRUNCATE)";
    db.query_row(empty, [], |_| Ok(())).expect("an empty log");
    drop(db);
    let bytes = fs::read(&path).expect("a database");
    let format = u32::from_be_bytes(bytes[60..64].try_into().expect("four bytes"));
    (path, format)
}

/// Starts a server on a folder of another format, which it must leave alone.
async fn assert_refused(program: &str, folder: &Path, known: u32) {
    let (path, format) = database(folder);
    let before = fs::read(&path).expect("a database");
    let said = rejected_start(&mut command(program, folder)).await;
    let both = format!("(its format is {format}, this program knows {known})");
    assert!(said.contains(&both), "{said}");
    assert_eq!(fs::read(&path).expect("a database"), before);
}

/// The recorded store of a format.
fn recorded(format: u32) -> PathBuf {
    let stores = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores");
    stores.join(format!("format-{format}.sqlite.gz"))
}

// Verified to fail when a column of the schema gets another name.
#[tokio::test]
async fn a_recorded_store_of_this_format_is_read() {
    let written = folder();
    fill(SERVER, written.path()).await;
    let (path, format) = database(written.path());
    let stored = recorded(format);
    if env::var_os("RECORD").is_some() && !stored.exists() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        let bytes = fs::read(&path).expect("a database");
        packed.write_all(&bytes).expect("memory");
        fs::write(&stored, packed.finish().expect("memory")).expect("written");
    }
    let packed = fs::read(&stored)
        .expect("a store of this format: record it with RECORD=1 cargo test --test all upgrades");
    let mut bytes = Vec::new();
    let mut unpacked = GzDecoder::new(&*packed);
    unpacked.read_to_end(&mut bytes).expect("gzip");
    let old = folder();
    fs::create_dir(old.path().join("chat-data")).expect("a folder");
    fs::write(old.path().join("chat-data/chat.sqlite"), bytes).expect("written");
    go_on(SERVER, old.path(), MESSAGES).await;
    go_on(SERVER, old.path(), MESSAGES + 1).await;
}

// Verified to fail when an earlier format is called one from before the first release.
#[tokio::test]
async fn a_store_of_another_format_is_refused_with_both_named() {
    let folder = folder();
    fill(SERVER, folder.path()).await;
    let (path, known) = database(folder.path());
    for format in [known - 1, known + 1] {
        let mut bytes = fs::read(&path).expect("a database");
        bytes[60..64].copy_from_slice(&format.to_be_bytes());
        fs::write(&path, bytes).expect("written");
        assert_refused(SERVER, folder.path(), known).await;
    }
}

// Verified to fail when PREVIOUS_SERVER is no server.
#[tokio::test]
async fn the_release_before_and_this_one_take_turns() {
    let (old, new) = (folder(), folder());
    let previous = previous();
    fill(&previous, old.path()).await;
    fill(SERVER, new.path()).await;
    let (_, before) = database(old.path());
    let (_, now) = database(new.path());
    // Forward: the next release reads what the one before wrote.
    go_on(SERVER, old.path(), MESSAGES).await;
    // Back: without a change of the format, too. Else it is refused.
    if before == now {
        go_on(&previous, old.path(), MESSAGES + 1).await;
    } else {
        assert_refused(&previous, new.path(), before).await;
    }
}
