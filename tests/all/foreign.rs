/// Drives Chromium and runs scripts in its pages.
pub(crate) mod browser;
/// Runs the complete clients of `examples/`.
mod clients;
/// Tests the server against its OpenAPI description.
mod description;
/// Runs the example programs of `docs/scripts.md`.
mod examples;
/// Uses clients that generators make from the description.
mod generated_clients;
/// Runs child processes that read and write lines.
pub(crate) mod program;

use std::process::Command;

use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpListener};

use self::{
    browser::Browser,
    program::{Program, command, output, script, tool},
};
use crate::support::{TestServer, soon};

const WELCOME: &str = "Welcome to chat! Type a message";

/// A line beyond ASCII and beyond one Unicode plane.
const LINE: &str = "grüße, 世界 👋";

/// Encodes a `publish` command of the JSON format.
fn publish(text: &str, id: &str) -> String {
    json!({"type": "publish", "text": text, "id": id}).to_string()
}

#[tokio::test]
async fn websocat_chats_in_the_plain_format() {
    let server = TestServer::start().await;
    let mut peer = server.plain("/tea").await;
    let mut websocat = command(tool("bin/websocat"));
    websocat.arg(format!("ws://{}/tea?name=ana", server.addr));
    let mut websocat = Program::start(websocat);
    assert_eq!(websocat.line().await.as_deref(), Some(WELCOME));

    websocat.type_line(LINE);
    assert_eq!(peer.text().await, format!("ana: {LINE}"));
    assert_eq!(websocat.line().await, Some(format!("ana: {LINE}")));
    peer.say("hello, websocat").await;
    let line = format!("{}: hello, websocat", peer.tag());
    assert_eq!(websocat.line().await, Some(line));
    websocat.type_line("/members");
    let members = format!("* 2 here: {}, ana", peer.tag());
    assert_eq!(websocat.line().await, Some(members));

    websocat.end_input();
    assert_eq!(websocat.line().await, None, "it ends with its input");
}

/// The Python package `websockets`.
fn python_websockets() -> Command {
    let mut python = command(tool("python/bin/python"));
    python.arg(script("websockets_chat.py"));
    python
}

/// The Node package `ws`.
fn node_ws() -> Command {
    let mut node = command("node");
    node.env("NODE_PATH", tool("node/node_modules"));
    node.arg(script("ws_chat.cjs"));
    node
}

#[tokio::test]
async fn python_websockets_chats_in_the_plain_format() {
    plain(python_websockets()).await;
}

#[tokio::test]
async fn python_websockets_chats_in_the_json_format() {
    json(python_websockets()).await;
}

#[tokio::test]
async fn python_websockets_reports_a_refused_upgrade() {
    refused(python_websockets()).await;
}

#[tokio::test]
async fn node_ws_chats_in_the_plain_format() {
    plain(node_ws()).await;
}

#[tokio::test]
async fn node_ws_chats_in_the_json_format() {
    json(node_ws()).await;
}

#[tokio::test]
async fn node_ws_reports_a_refused_upgrade() {
    refused(node_ws()).await;
}

/// Tests a library in the plain format; the client closes.
async fn plain(mut library: Command) {
    let server = TestServer::start().await;
    let mut peer = server.plain("/tea").await;
    library.arg(format!("ws://{}/tea?name=ana", server.addr));
    let mut library = Program::start(library);
    // The server picks no subprotocol and no compression; both packages offer
    // compression.
    assert_eq!(library.told().await, json!(["open", null, null]));
    assert_eq!(library.told().await, json!(["text", WELCOME]));

    let long = "x".repeat(8192);
    for (order, text) in [("say", LINE), ("fragments", LINE), ("say", &long)] {
        library.type_line(&format!("{order} {text}"));
        let line = format!("ana: {text}");
        assert_eq!(peer.text().await, line);
        assert_eq!(library.told().await, json!(["text", line]));
    }
    peer.say("hello, library").await;
    let line = format!("{}: hello, library", peer.tag());
    assert_eq!(library.told().await, json!(["text", line]));
    library.type_line("ping are you there");
    assert_eq!(library.told().await, json!(["pong", "are you there"]));

    library.type_line("close");
    let closed = library.told().await;
    assert_eq!((&closed[0], &closed[1]), (&json!("closed"), &json!(1000)));
    assert_eq!(library.line().await, None);
}

/// Tests a library in the JSON format; the server closes.
async fn json(mut library: Command) {
    let server = TestServer::start().await;
    let mut peer = server.plain("/tea").await;
    let url = format!("ws://{}/tea?name=ana", server.addr);
    library.args([&url, "chat.v1"]);
    let mut library = Program::start(library);
    assert_eq!(library.told().await, json!(["open", "chat.v1", null]));
    let mut events = Vec::new();
    for _ in ["welcome", "live"] {
        events.push(event(&library.told().await[1]));
    }
    assert_eq!(events[0]["type"], "welcome");
    assert_eq!(events[0]["room"], "tea");
    assert_eq!(events[1]["type"], "live");

    library.type_line(&format!("say {}", publish(LINE, "m-1")));
    assert_eq!(peer.text().await, format!("ana: {LINE}"));
    let mine = event(&library.told().await[1]);
    assert_eq!(
        (&mine["text"], &mine["id"], &mine["seq"]),
        (&json!(LINE), &json!("m-1"), &json!(1))
    );
    peer.say("hello, library").await;
    let other = event(&library.told().await[1]);
    assert_eq!(other["from"], json!({"addr": peer.tag()}));
    assert_eq!(
        (&other["text"], &other["prev"]),
        (&json!("hello, library"), &json!(1))
    );

    drop(peer);
    server.stop().await;
    let closed = library.told().await;
    assert_eq!((&closed[0], &closed[1]), (&json!("closed"), &json!(4003)));
    assert_eq!(library.line().await, None);
}

/// Tests that a library reports a refused upgrade.
async fn refused(mut library: Command) {
    let server = TestServer::start().await;
    library.arg(format!("ws://{}/?name=a%20b", server.addr));
    let mut library = Program::start(library);
    assert_eq!(library.told().await, json!(["refused", 400]));
}

/// Parses the event of a text frame.
fn event(text: &serde_json::Value) -> serde_json::Value {
    serde_json::from_str(text.as_str().expect("a text")).expect("JSON")
}

#[tokio::test]
async fn a_browser_page_of_the_same_origin_chats() {
    let server = TestServer::start().await;
    let mut peer = server.plain("/tea").await;
    let browser = Browser::start().await;
    let page = format!("http://{}/-/health", server.addr);
    browser.open(&page).await;

    browser
        .run("join(`ws://${location.host}/tea?name=ana`)")
        .await;
    assert_eq!(browser.told().await, json!(["open", "", ""]));
    assert_eq!(browser.told().await, json!(["text", WELCOME]));
    browser.run(&format!("chat.send('{LINE}')")).await;
    assert_eq!(peer.text().await, format!("ana: {LINE}"));
    assert_eq!(
        browser.told().await,
        json!(["text", format!("ana: {LINE}")])
    );
    peer.say("<b>hello</b>, browser").await;
    let line = format!("{}: <b>hello</b>, browser", peer.tag());
    assert_eq!(browser.told().await, json!(["text", line]));
    assert_eq!(peer.text().await, line);
    browser.run("chat.close(1000)").await;
    let closed = browser.told().await;
    assert_eq!(
        (&closed[0], &closed[1], &closed[3]),
        (&json!("closed"), &json!(1000), &json!(true))
    );

    // The WHATWG standard also allows `http:` URLs and bare paths.
    browser.run("join('/tea', 'other', 'chat.v1')").await;
    assert_eq!(browser.told().await, json!(["open", "chat.v1", ""]));
    assert_eq!(event(&browser.told().await[1])["type"], "welcome");
    assert_eq!(event(&browser.told().await[1])["type"], "live");
    let say = format!("chat.send(JSON.stringify({}))", publish(LINE, "m-1"));
    browser.run(&say).await;
    let message = event(&browser.told().await[1]);
    assert_eq!(
        (&message["text"], &message["prev"]),
        (&json!(LINE), &json!(2))
    );
    assert!(peer.text().await.ends_with(&format!(": {LINE}")));

    assert_eq!(browser.console().await, [""; 0], "the console is empty");
    drop(peer);
    server.stop().await;
    let closed = browser.told().await;
    assert_eq!((&closed[0], &closed[1]), (&json!("closed"), &json!(4003)));
}

/// The next event that `listen` received in a page: its name, the last id, and
/// one field of its data.
async fn heard(browser: &Browser, field: &str) -> serde_json::Value {
    let told = browser.told().await;
    json!([told[0], told[1], event(&told[2])[field]])
}

#[tokio::test]
async fn a_browser_follows_and_resumes_server_sent_events() {
    let server = TestServer::start().await;
    let mut peer = server.plain("/tea?name=ana").await;
    peer.text_after(LINE).await;
    let browser = Browser::start().await;
    let page = format!("http://{}/-/health", server.addr);
    browser.open(&page).await;
    browser.run("listen('/tea?backlog=5')").await;
    assert_eq!(heard(&browser, "room").await, json!(["welcome", "", "tea"]));
    assert_eq!(heard(&browser, "text").await, json!(["message", "1", LINE]));
    assert_eq!(heard(&browser, "seq").await, json!(["live", "1", 1]));
    let text = "<b>a</b>\ndata: b\n\nid: 9\n\nevent: live";
    peer.say(text).await;
    assert_eq!(heard(&browser, "text").await, json!(["message", "2", text]));

    // The server restarts: the browser reconnects by itself and is told of the
    // new epoch.
    let addr = server.addr;
    drop(peer);
    server.stop().await;
    assert_eq!(browser.told().await, json!(["error", 0]));
    let server = TestServer::start_at(addr).await;
    let mut told = browser.told().await;
    while told[0] == "error" {
        told = browser.told().await;
    }
    assert_eq!((&told[0], &told[1]), (&json!("welcome"), &json!("2")));
    assert_eq!(
        heard(&browser, "reason").await,
        json!(["gap", "2", "epoch"])
    );
    assert_eq!(heard(&browser, "seq").await, json!(["live", "0", 0]));
    browser.run("events.close()").await;
    let mut peer = server.plain("/tea?name=ana").await;
    while peer.text_after("/members").await != "* 1 here: ana" {}
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused() {
    let server = TestServer::start().await;
    let browser = Browser::start().await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let another_port = format!("http://{}/", elsewhere.local_addr().expect("its address"));
    for page in ["data:text/html,<title>elsewhere</title>", &another_port] {
        tokio::join!(browser.open(page), async {
            if page == another_port {
                empty_page(&elsewhere).await;
            }
        });
        let join = format!("join('ws://{}/tea')", server.addr);
        browser.run(&join).await;
        assert_eq!(browser.told().await, json!(["closed", 1006, "", false]));
        let console = browser.console().await.concat();
        assert!(console.contains("response code: 403"), "{page}: {console}");
        let listen = format!("listen('http://{}/tea')", server.addr);
        browser.run(&listen).await;
        assert_eq!(browser.told().await, json!(["error", 2]));
        let console = browser.console().await.concat();
        assert!(
            console.contains("Access-Control-Allow-Origin"),
            "{page}: {console}"
        );
    }
}

/// Serves one request with a page that has no policy.
async fn empty_page(listener: &TcpListener) {
    let (mut visitor, _) = soon("a visit", listener.accept()).await.expect("a visit");
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 22\r\n\
        Connection: close\r\n\r\n<title>elsewhere</title";
    visitor
        .write_all(page.as_bytes())
        .await
        .expect("a visitor that reads");
}

#[tokio::test]
async fn curl_posts_reads_and_sees_refusals() {
    let server = TestServer::start().await;
    let mut peer = server.plain("/tea").await;
    let curl = |arguments: &[&str], path: &str| {
        let mut curl = command("curl");
        curl.args([
            "--silent",
            "--noproxy",
            "*",
            "--max-time",
            "20",
            "--http1.1",
        ])
        .args(arguments)
        .arg(format!("http://{}{path}", server.addr));
        curl
    };
    for receipt in ["{\"seq\":1}\n", "{\"seq\":1,\"duplicate\":true}\n"] {
        let arguments = ["--data", "hello", "--header", "Idempotency-Key: a-1"];
        let (ended, said) = output(curl(&arguments, "/tea?name=cron")).await;
        assert!(ended.success());
        assert_eq!(said, receipt);
    }
    assert_eq!(peer.text().await, "cron: hello");
    let upgrade = ["Upgrade: websocket", "Connection: Upgrade"];
    let version = [upgrade[0], upgrade[1], "Sec-WebSocket-Version: 13"];
    let old = [
        upgrade[0],
        upgrade[1],
        "Sec-WebSocket-Version: 8",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    for (path, headers, status, kind, told) in [
        ("/tea", &[][..], 200, "text/plain", "cron: hello\n"),
        ("/tea", &["Accept: text/html"], 200, "text/html", "<title>"),
        ("/-/health", &[], 200, "text/plain", "ok\n"),
        (
            "/-/nothing",
            &[],
            404,
            "text/plain",
            "There is nothing here.",
        ),
        ("/two/rooms", &[], 404, "text/plain", "No such room: "),
        ("/", &["Host: evil.example"], 421, "text/plain", "--host"),
        (
            "/",
            &version,
            400,
            "text/plain",
            "The header sec-websocket-key is missing.",
        ),
        (
            "/",
            &upgrade,
            400,
            "text/plain",
            "The header sec-websocket-version is missing.",
        ),
        (
            "/",
            &old,
            426,
            "text/plain",
            "WebSocket version 13 is spoken here.",
        ),
    ] {
        let mut arguments = vec!["--write-out", "\n%{http_code} %{content_type}"];
        arguments.extend(headers.iter().flat_map(|header| ["--header", *header]));
        let (ended, said) = output(curl(&arguments, path)).await;
        assert!(ended.success(), "{path} {headers:?}: {ended}");
        let (body, about) = said.rsplit_once('\n').expect("the line of --write-out");
        assert!(
            about.starts_with(&format!("{status} {kind}")),
            "{path} {headers:?}: {said}"
        );
        assert!(body.contains(told), "{path} {headers:?}: {said}");
    }
}
