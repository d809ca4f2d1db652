use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Output, Stdio},
    thread,
};

use crate::programs::{CLIENT, STATE};

/// Runs the client to its end with nothing on its standard input.
fn client(args: &[&str]) -> Output {
    Command::new(CLIENT)
        .env("XDG_STATE_HOME", STATE)
        .env("TZ", "UTC")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the client runs")
}

/// Asserts that the client ends with a code and one sentence.
fn assert_fails(args: &[&str], code: i32, sentence: &str) {
    let output = client(args);
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(said, format!("client: {sentence}\n"), "{args:?}");
    assert_eq!(output.status.code(), Some(code), "{args:?}");
    assert_eq!(output.stdout, b"", "{args:?}");
}

/// Starts a server for one connection; returns its address.
fn server(serve: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the client connects");
        serve(stream);
    });
    address.to_string()
}

/// Reads the head of a request.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a whole head");
        head.extend(byte);
    }
    String::from_utf8(head).expect("ASCII")
}

/// Asserts the client's error for a server that sends this response. `ADDRESS`
/// in the sentence stands for the server's address.
fn assert_answered(answer: &'static str, sentence: &str) {
    let address = server(move |mut stream| {
        head(&mut stream);
        stream.write_all(answer.as_bytes()).expect("an answer");
    });
    assert_fails(&[&address], 1, &sentence.replace("ADDRESS", &address));
}

#[test]
fn a_refused_connection_is_explained() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    assert_fails(
        &[&address],
        1,
        &format!(
            "nothing listens on {address} (ConnectionRefused): is the server on another port?"
        ),
    );
}

#[test]
fn an_unknown_host_is_explained() {
    let output = client(&["no-such-host.invalid"]);
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(
        said.starts_with("client: no address is known for no-such-host.invalid ("),
        "{said}"
    );
    assert!(said.ends_with("): is the name spelled right?\n"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_http_server_without_websockets_is_explained() {
    for (answer, sentence) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "ADDRESS answers HTTP 200 but is no WebSocket server (DidNotSwitchProtocols(200))",
        ),
        (
            "HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n",
            "ADDRESS answers HTTP 302 but is no WebSocket server (DidNotSwitchProtocols(302))",
        ),
        (
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "ADDRESS answers HTTP 404 and has no such room: is it the chat server? (DidNotSwitchProtocols(404))",
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\n\r\n",
            "ADDRESS answers HTTP 503: it is full or going away, try later (DidNotSwitchProtocols(503))",
        ),
    ] {
        assert_answered(answer, sentence);
    }
}

#[test]
fn a_server_that_speaks_no_http_is_explained() {
    assert_answered(
        "SSH-2.0-OpenSSH_9.6\r\n",
        "ADDRESS answers, but not in HTTP: is the chat on another port, or behind wss://?",
    );
}

#[test]
fn a_connection_closed_without_response_is_explained() {
    let address = server(|mut stream| drop(head(&mut stream)));
    let output = client(&[&address]);
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    let start = format!("client: {address} ended the connection without an answer (");
    assert!(said.starts_with(&start), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_server_without_tls_is_explained() {
    let address = server(|mut stream| {
        let mut hello = [0; 16];
        stream.read_exact(&mut hello).expect("a hello");
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .expect("an answer");
    });
    let output = client(&[&format!("https://{address}/ops")]);
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    let start = format!("client: no secure connection to {address} (");
    assert!(said.starts_with(&start), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(output.status.code(), Some(1));
}

/// Starts a server that accepts one WebSocket connection, confirms this
/// subprotocol and sends these texts.
fn websocket_server(protocol: Option<&'static str>, texts: &'static [&'static str]) -> String {
    use futures_util::{SinkExt, StreamExt};
    use http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
    use tokio_websockets::{Message, ServerBuilder};

    server(move |stream| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            stream.set_nonblocking(true).expect("a socket");
            let stream = tokio::net::TcpStream::from_std(stream).expect("a socket");
            let mut builder = ServerBuilder::new();
            if let Some(protocol) = protocol {
                let protocol = HeaderValue::from_static(protocol);
                builder = builder
                    .add_header(SEC_WEBSOCKET_PROTOCOL, protocol)
                    .expect("a header");
            }
            let (request, mut socket) = builder.accept(stream).await.expect("an upgrade");
            assert_eq!(request.headers()[SEC_WEBSOCKET_PROTOCOL], "chat.v1");
            for text in texts {
                let sent = socket.send(Message::text(*text)).await;
                sent.expect("the client reads");
            }
            while let Some(Ok(_)) = socket.next().await {}
        });
    })
}

const WELCOME: &str = r#"{"type":"welcome","room":"ops","you":{"addr":"127.0.0.1:5000"},"epoch":"e","head":1,"members":1,"server":"test","limits":{"text_bytes":8192}}"#;
const MESSAGE: &str = r#"{"type":"message","seq":1,"prev":0,"room":"ops","at":"2026-01-01T00:00:00.000Z","from":{"addr":"127.0.0.1:5001"},"text":"hi"}"#;
const LIVE: &str = r#"{"type":"live","seq":1}"#;

#[test]
fn a_server_without_the_subprotocol_is_explained() {
    let address = websocket_server(None, &["Welcome to chat! Type a message"]);
    let sentence = format!(
        "{address} is a WebSocket server, but not this chat: it did not confirm the subprotocol chat.v1"
    );
    assert_fails(&[&address], 1, &sentence);
}

#[test]
fn an_empty_input_prints_the_replay() {
    let welcomed = "Welcome to chat! Type a message\n127.0.0.1:5001: hi\n";
    for (flags, printed) in [
        (&["--backlog", "9"][..], welcomed),
        (&["--after", "0"], "127.0.0.1:5001: hi\n"),
        (
            &["--after", "0", "--times"],
            "2026-01-01 00:00:00 127.0.0.1:5001: hi\n",
        ),
    ] {
        let address = websocket_server(Some("chat.v1"), &[WELCOME, MESSAGE, LIVE]);
        let args = [&[&*address, "--room", "ops"], flags].concat();
        let output = client(&args);
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(stdout, printed);
        assert_eq!(output.stderr, b"");
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn a_closed_output_pipe_is_no_error() {
    let address = websocket_server(Some("chat.v1"), &[WELCOME, MESSAGE]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(CLIENT)
        .env("XDG_STATE_HOME", STATE)
        .arg(&address)
        .stdin(Stdio::null())
        .stdout(writer)
        .output()
        .expect("the client runs");
    assert_eq!(output.stderr, b"");
    assert_eq!(output.status.code(), Some(0));
}

#[cfg(unix)]
#[test]
fn sigterm_with_an_empty_outbox_exits_with_0() {
    use std::io::{BufRead, BufReader};

    let address = websocket_server(Some("chat.v1"), &[WELCOME, LIVE]);
    let mut client = Command::new(CLIENT)
        .env("XDG_STATE_HOME", STATE)
        .arg(&address)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client runs");
    let mut line = String::new();
    let stdout = client.stdout.as_mut().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    assert_eq!(line, "Welcome to chat! Type a message\n");
    let killed = Command::new("kill").arg(client.id().to_string()).status();
    assert!(killed.expect("kill runs").success());
    let input = client.stdin.take();
    let output = client.wait_with_output().expect("the client ends");
    drop(input);
    assert_eq!(output.stderr, b"");
    assert_eq!(output.status.code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_output_device_is_an_error() {
    let address = websocket_server(Some("chat.v1"), &[WELCOME, LIVE]);
    let full = std::fs::File::create("/dev/full").expect("a device");
    let output = Command::new(CLIENT)
        .env("XDG_STATE_HOME", STATE)
        .arg(&address)
        .stdin(Stdio::null())
        .stdout(full)
        .output()
        .expect("the client runs");
    assert_eq!(
        String::from_utf8(output.stderr).expect("UTF-8"),
        "client: standard output cannot be written: No space left on device (os error 28)\n"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn invalid_flags_are_explained() {
    for (args, sentence) in [
        (&["--bogus"][..], "unexpected argument '--bogus' found"),
        (&["a", "b"], "unexpected argument 'b' found"),
        (
            &["--port", "x"],
            "invalid value 'x' for '--port <PORT>': invalid digit found in string",
        ),
        (
            &["--port", "0"],
            "invalid value '0' for '--port <PORT>': 0 is not in 1..=65535",
        ),
        (
            &["--backlog", "1001"],
            "invalid value '1001' for '--backlog <N>': 1001 is not in 0..=1000",
        ),
        (
            &["--name", "a\n\nb\u{9b}"],
            "invalid value 'a  b\u{fffd}' for '--name <NAME>': a name is 1 to 32 letters, digits or any of - _ . and cannot start with a combining mark",
        ),
        (
            &["--room", "a/b"],
            "invalid value 'a/b' for '--room <ROOM>': a room name is 1 to 64 of the characters a-z 0-9 . _ - and starts with a letter, a digit or _",
        ),
        (
            &["--id", "a b"],
            "invalid value 'a b' for '--id <ID>': an id is 1 to 64 of the characters A-Z a-z 0-9 _ -",
        ),
        (
            &["--plain", "--json"],
            "the argument '--plain' cannot be used with '--json'",
        ),
        (
            &["h:81", "--port", "82"],
            "the address says port 81 but --port says 82",
        ),
        (
            &["ws://h/a", "--room", "b"],
            "the address says room a but --room says b",
        ),
        (
            &["ftp://h/"],
            "ftp:// leads to no chat: a room's URL begins with ws://, wss://, http:// or https://",
        ),
    ] {
        assert_fails(args, 2, &format!("{sentence}; see client --help"));
    }
}

#[test]
fn help_shows_examples_and_defaults() {
    let output = client(&["--help"]);
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    for line in [
        "client 192.168.1.7 --name ana",
        "tail -f app.log | client --room ops",
        "client --after 0 </dev/null",
        "[default: 2000]",
        "--outbox <FILE>",
        "--no-reconnect",
        "/-/help/guide",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert_eq!(output.status.code(), Some(0));
}
