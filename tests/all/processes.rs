use std::sync::Arc;

use rustix::process::Signal;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    process::Command,
};

use crate::{
    programs::{
        Program, SERVER, client_command, folder, listening, rejected_start, server, server_command,
    },
    support::{Peer, soon, upgraded},
};

#[tokio::test]
async fn three_clients_receive_each_others_messages() {
    let folder = folder();
    let (mut server, addr) = server(folder.path(), &["--show-messages", "always"]).await;
    let mut clients = Vec::new();
    let mut tags = Vec::new();
    for _ in 0..3 {
        let mut client = Program::client(addr, &[]);
        assert_eq!(client.line().await, "Welcome to chat! Type a message");
        let line = server.line().await;
        tags.push(
            line.strip_prefix("New connection from ")
                .expect(&line)
                .to_owned(),
        );
        clients.push(client);
    }
    for speaker in 0..3 {
        clients[speaker].type_line("hello \u{1b}[2J all").await;
        for client in &mut clients {
            assert_eq!(
                client.line().await,
                format!("{}: hello \u{fffd}[2J all", tags[speaker])
            );
        }
        let shown = format!("From client {} \"hello \u{fffd}[2J all\"", tags[speaker]);
        assert_eq!(server.line().await, shown);
    }
    for (client, tag) in clients.iter_mut().zip(&tags) {
        assert_eq!(client.exit().await, 0);
        assert_eq!(server.line().await, format!("{tag} left: done (1000)"));
    }
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
    assert_eq!(server.stderr_lines().await, [""; 0]);
}

#[tokio::test]
async fn messages_are_not_logged_without_a_terminal() {
    let folder = folder();
    let (mut server, addr) = server(folder.path(), &["-vvv"]).await;
    let mut client = Program::client(addr, &["--quiet"]);
    client.type_line("a secret").await;
    assert_eq!(client.exit().await, 0);
    server.signal(Signal::INT);
    assert_eq!(server.exit().await, 0);
    let said = [server.lines().await, server.stderr_lines().await]
        .concat()
        .join("\n");
    assert!(!said.contains("a secret"), "{said}");
}

#[tokio::test]
async fn a_long_pipe_is_stored_once_in_order_and_kept() {
    const COUNT: usize = 100_000;
    let folder = folder();
    let (mut first, addr) = server(folder.path(), &[]).await;
    let mut client = Program::client(addr, &["--name", "seq", "--quiet", "--id", "job"]);
    let mut input = client.input.take().expect("piped");
    let lines: Vec<String> = (1..=COUNT).map(|n| n.to_string()).collect();
    let lines = lines.join("\n");
    input.write_all(lines.as_bytes()).await.expect("it reads");
    drop(input);
    assert_eq!(client.exit().await, 0);
    // The same pipe under the same name again stores nothing.
    let mut again = Program::client(addr, &["--name", "seq", "--quiet", "--id", "job"]);
    again.type_line("1\n2").await;
    assert_eq!(again.exit().await, 0);
    first.signal(Signal::TERM);
    assert_eq!(first.exit().await, 0);

    let (_second, addr) = server(folder.path(), &[]).await;
    let dump = |args: &'static [&'static str]| async move {
        let mut reader = Program::client(addr, args);
        drop(reader.input.take());
        let lines = reader.lines().await;
        assert_eq!(reader.exit().await, 0);
        lines
    };
    let told = dump(&["--after", "0"]).await;
    assert_eq!(told[0], "Welcome to chat! Type a message");
    let expected = (1..=COUNT).map(|n| format!("seq: {n}"));
    assert!(told[1..].iter().cloned().eq(expected));
    let last: Vec<_> = dump(&["--backlog", "2"]).await;
    assert_eq!(last[1..], ["seq: 99999", "seq: 100000"]);
    let json = dump(&["--after", "99999", "--json"]).await;
    assert!(json[0].starts_with(r#"{"type":"welcome","#), "{}", json[0]);
    assert!(json[1].contains(r#""id":"job-100000""#), "{}", json[1]);
    assert_eq!(json[2], r#"{"type":"live","seq":100000}"#);
    assert_eq!(dump(&["--after", "100000"]).await.len(), 1);
}

#[tokio::test]
async fn with_no_reconnect_the_client_ends_with_the_server() {
    let folder = folder();
    let (mut server, addr) = server(folder.path(), &[]).await;
    let mut client = Program::client(addr, &["--no-reconnect"]);
    client.line().await;
    server.child.kill().await.expect("killed");
    // Its standard input is still open.
    let end = soon("its end", client.child.wait()).await.expect("a child");
    assert_eq!(end.code(), Some(1));
    let said = client.stderr_lines().await;
    assert!(
        said[0].starts_with(&format!("client: the server at {addr} went away")),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_drain_closes_every_client_and_frees_the_folder() {
    let folder = folder();
    let (mut first, addr) = server(folder.path(), &[]).await;
    let mut stuck = Peer::connect(addr).await;
    let mut client = Program::client(addr, &["--no-reconnect"]);
    client.line().await;
    first.signal(Signal::TERM);
    let end = soon("its end", client.child.wait()).await.expect("a child");
    assert_eq!(end.code(), Some(1));
    let said = client.stderr_lines().await;
    assert!(said[0].contains("(the server is restarting)"), "{said:?}");
    assert_eq!(
        stuck.next().await,
        None,
        "a connection without a request is closed"
    );
    assert_eq!(first.exit().await, 0);
    server(folder.path(), &[]).await;
}

// Verified to fail when the server prints all queued lines before it exits.
#[tokio::test]
async fn a_stalled_terminal_delays_no_client_and_no_exit() {
    // More lines than the server queues and a pipe holds.
    const COUNT: usize = 15_000;
    let folder = folder();
    let mut command = server_command(folder.path(), &["--show-messages", "always"]);
    let (mut server, addr) = listening(&mut command).await;
    let (mut speaker, mut reader) = upgraded(addr, "/?name=ana", &[]).await.split();
    let talk = async {
        for n in 0..COUNT {
            speaker.say(&n.to_string()).await;
        }
    };
    let listen = async {
        reader.text().await;
        for n in 0..COUNT {
            assert_eq!(reader.text().await, format!("ana: {n}"));
        }
    };
    tokio::join!(talk, listen);
    server.signal(Signal::TERM);
    assert_eq!(server.exit().await, 0);
}

#[tokio::test]
async fn a_failed_start_says_what_to_do() {
    let folder = folder();
    let (first, addr) = server(folder.path(), &[]).await;
    let id = first.child.id().expect("it runs").to_string();

    let said = rejected_start(&mut server_command(folder.path(), &[])).await;
    for part in ["chat-data", "in use", &id, &addr.to_string(), "--data"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let port = addr.port().to_string();
    let mut command = Command::new(SERVER);
    let said = rejected_start(command.current_dir(folder.path()).args(["--port", &port])).await;
    assert!(
        said.contains(&addr.to_string()) && said.contains("--port"),
        "{said}"
    );

    // Even root cannot make a folder here.
    let said = rejected_start(&mut server_command(
        folder.path(),
        &["--data", "/dev/null/chat"],
    ))
    .await;
    assert!(
        said.contains("/dev/null/chat") && said.contains("--data"),
        "{said}"
    );
    // A file that is no database is left as it is.
    let bad = folder.path().join("bad");
    std::fs::create_dir(&bad).expect("a folder");
    std::fs::write(
        bad.join("chat.sqlite"),
        "this is no database, but 100 bytes ".repeat(99),
    )
    .expect("a file");
    let said = rejected_start(&mut server_command(folder.path(), &["--data", "bad"])).await;
    assert!(
        said.contains("chat.sqlite") && said.contains("left as it is"),
        "{said}"
    );

    for (flags, part) in [
        (&["--prot", "1"][..], "--prot"),
        (&["--port", "65536"], "65536"),
        (&["--bind", "here"], "give an IP address"),
        (&["--bind", "192.0.2.1"], "--bind"),
        (&["--rate", "20:"], "20:200"),
        (&["--unread", "200"], "200:1000"),
        (&["--max-per-address", "0"], "--max-per-address"),
        (&["--max-text", "0"], "--max-text"),
        (&["--data", "x", "--ephemeral"], "--ephemeral"),
        (&["surplus"], "surplus"),
    ] {
        let said =
            rejected_start(Command::new(SERVER).current_dir(folder.path()).args(flags)).await;
        assert!(said.contains(part), "{flags:?}: {said}");
    }
    let said = rejected_start(server_command(folder.path(), &[]).env("CHAT_PING", "soon")).await;
    assert!(said.contains("soon"), "{said}");
}

#[tokio::test]
async fn every_flag_has_an_environment_variable() {
    let folder = folder();
    let mut command = server_command(folder.path(), &[]);
    command
        .env("CHAT_MAX_TEXT", "3")
        .env("CHAT_EPHEMERAL", "1")
        .env("CHAT_RATE", "off");
    let mut server = Program::start(&mut command);
    let line = server.line().await;
    let addr = line
        .strip_prefix("listening on ")
        .expect(&line)
        .parse()
        .expect("an address");
    let mut client = Program::client(addr, &["--quiet"]);
    client.type_line("1234").await;
    assert_eq!(client.exit().await, 1);
    let said = client.stderr_lines().await;
    assert!(said[0].contains("line 1 has more than 3 bytes"), "{said:?}");
    assert!(!folder.path().join("chat-data").exists());

    let mut help = Program::start(Command::new(SERVER).arg("--help"));
    let told = help.lines().await.join("\n");
    assert_eq!(help.exit().await, 0);
    assert!(told.contains("http://127.0.0.1:2000/-/help"), "{told}");
    for flag in told
        .split_whitespace()
        .filter(|word| word.starts_with("--"))
    {
        let flag = flag.trim_end_matches([',', '.']);
        let variable = flag
            .trim_start_matches("--")
            .to_uppercase()
            .replace('-', "_");
        let exempt = ["HELP", "VERSION"].contains(&variable.as_str());
        assert!(
            exempt || told.contains(&format!("CHAT_{variable}=")),
            "{flag}: {told}"
        );
    }
}

#[tokio::test]
async fn the_client_joins_a_room_behind_tls() {
    let folder = folder();
    let (_server, addr) = server(folder.path(), &[]).await;
    // A proxy that ends TLS. The second client trusts its certificate.
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.key_pair.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.expect("a key"))
        .expect("a pair");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        loop {
            let (outside, _) = listener.accept().await.expect("a connection");
            // A client that does not trust the certificate ends here.
            let Ok(mut outside) = acceptor.accept(outside).await else {
                continue;
            };
            let mut inside = TcpStream::connect(addr).await.expect("the server");
            let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
        }
    });

    let url = format!("https://localhost:{port}/tea");
    let mut stranger = Program::start(client_command().arg(&url));
    assert_eq!(stranger.exit().await, 1);
    let said = stranger.stderr_lines().await;
    assert!(said[0].contains("--tls-pin"), "{said:?}");

    let trusted = folder.path().join("trusted.pem");
    std::fs::write(&trusted, made.cert.pem()).expect("a file");
    let mut client = Program::start(client_command().arg(&url).env("SSL_CERT_FILE", &trusted));
    client.line().await;
    client.type_line("over TLS").await;
    assert!(client.line().await.ends_with(": over TLS"));
    assert_eq!(client.exit().await, 0);
}
