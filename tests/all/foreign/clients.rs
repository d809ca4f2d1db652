//! The complete clients of `examples/`. They publish and read while receipts are
//! lost, and while the server is killed and started again.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
};

use super::program::{command, tool};
use crate::{
    programs::{Program, folder, listening, server_command_at},
    support::{Peer, soon},
};

const NAMES: [&str; 2] = ["py", "js"];

/// The number of lines that each client publishes.
const LINES: usize = 200;

/// A client's next receipt is lost, and the server is killed, once it has had
/// this many receipts.
const CUTS: [usize; 4] = [0, 40, 41, 120];

/// At this rate the server refuses many messages for now, so the clients also
/// have to keep their order across refusals.
const RATE: &str = "1000:10";

/// The proxy of one client, which outlives the server.
struct Proxy {
    server: SocketAddr,
    /// The beginning of the author in each message of the client.
    author: String,
    /// How many messages of the client it has passed to it.
    passed: usize,
    cuts: std::slice::Iter<'static, usize>,
    /// Hears of each lost receipt.
    lost: mpsc::UnboundedSender<()>,
}

impl Proxy {
    /// Starts it; returns its address.
    async fn start(server: SocketAddr, name: &str, lost: mpsc::UnboundedSender<()>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("its address");
        let mut proxy = Proxy {
            server,
            author: format!(r#""from":{{"name":"{name}""#),
            passed: 0,
            cuts: CUTS.iter(),
            lost,
        };
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                // Its end is that of the client or of the server.
                let _ = proxy.pass(client).await;
            }
        });
        addr
    }

    /// Passes bytes on until either side ends.
    async fn pass(&mut self, mut client: TcpStream) -> io::Result<()> {
        let mut server = TcpStream::connect(self.server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let answers = async {
            let mut told = Vec::new();
            let (mut sent, mut counted) = (0, 0);
            while from_server.read_buf(&mut told).await? > 0 {
                let own = String::from_utf8_lossy(&told).matches(&self.author).count();
                let next = self.cuts.as_slice().first();
                if next.is_some_and(|cut| self.passed + own - counted > *cut) {
                    self.cuts.next();
                    let _ = self.lost.send(());
                    // Nothing more reaches the client on this connection.
                    while from_server.read_buf(&mut told).await? > 0 {}
                    break;
                }
                self.passed += own - counted;
                counted = own;
                to_client.write_all(&told[sent..]).await?;
                sent = told.len();
            }
            io::Result::Ok(())
        };
        tokio::select! {
            ended = answers => ended,
            ended = copy(&mut from_client, &mut to_server) => ended.map(drop),
        }
    }
}

/// The path of a client in `examples/`.
fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name)
}

/// Starts a client in a room at this address. The folder gets what it needs.
fn start_client(name: &str, folder: &Path, addr: SocketAddr) -> Program {
    let mut command = if name == "py" {
        let mut python = command(tool("python/bin/python"));
        python.arg(example("chat_client.py"));
        python
    } else {
        // Node looks for packages in the folder of the program.
        let program = folder.join("chat-client.mjs");
        fs::copy(example("chat-client.mjs"), &program).expect("a copy");
        symlink(tool("node/node_modules"), folder.join("node_modules")).expect("a link");
        let mut node = command("node");
        node.arg(program);
        node
    };
    command.arg(format!("ws://{addr}/tea?name={name}"));
    Program::start(&mut Command::from(command))
}

/// A line of a client. Some are equal: the id distinguishes messages, the text
/// does not. Some look like a command.
fn line(author: &str, n: usize) -> String {
    match n % 7 {
        2 => "again".to_owned(),
        5 => format!("/me {n}"),
        _ => format!("{author} {n} grüße, 世界 👋"),
    }
}

async fn start_server(folder: &Path, port: u16) -> (Program, SocketAddr) {
    listening(&mut server_command_at(folder, port, &["--rate", RATE])).await
}

/// Every message of the room in the order of the log, as a line with its number.
async fn stored(addr: SocketAddr) -> Vec<String> {
    let mut peer = Peer::connect(addr).await;
    let request = b"GET /tea?after=0&seq=1 HTTP/1.0\r\nHost: localhost\r\n\r\n";
    peer.write(request).await;
    let answer = peer.rest().await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.0 200 "), "{answer}");
    body.lines().map(str::to_owned).collect()
}

// Verified to fail when a client sends nothing again after a break, sends it
// under new ids, leaves out `follows`, or starts over from number 0.
#[tokio::test]
async fn complete_clients_lose_double_and_reorder_nothing_while_the_server_is_killed() {
    let place = folder();
    let (mut server, addr) = start_server(place.path(), 0).await;
    let (lost, mut losses) = mpsc::unbounded_channel();
    let mut clients = Vec::new();
    for name in NAMES {
        let proxy = Proxy::start(addr, name, lost.clone()).await;
        let mut client = start_client(name, place.path(), proxy);
        for n in 0..LINES {
            client.type_line(&line(name, n)).await;
        }
        clients.push(client);
    }
    for _ in 0..NAMES.len() * CUTS.len() {
        soon("a lost receipt", losses.recv()).await;
        server.signal(Signal::KILL);
        server.child.wait().await.expect("killed");
        (server, _) = start_server(place.path(), addr.port()).await;
    }

    let mut printed = Vec::new();
    for client in &mut clients {
        let mut lines = Vec::new();
        while lines.len() < NAMES.len() * LINES {
            lines.push(client.line().await);
        }
        printed.push(lines);
    }
    for (client, printed) in clients.iter_mut().zip(&mut printed) {
        drop(client.input.take());
        printed.extend(client.lines().await);
        let told = client.stderr_lines().await;
        assert_eq!(client.exit().await, 0, "{told:?}");
        let odd = |line: &String| !line.starts_with("* ") || line.contains("hole");
        assert!(!told.iter().any(odd), "{told:?}");
    }
    let stored = stored(addr).await;
    for (name, printed) in NAMES.iter().zip(&printed) {
        let by = format!(" {name}: ");
        let texts = stored
            .iter()
            .filter_map(|line| Some(line.split_once(&by)?.1));
        let typed = (0..LINES).map(|n| line(name, n));
        assert!(texts.eq(typed), "{name}: {stored:#?}");
        assert!(printed == &stored, "{name}: {printed:#?}");
    }
}
