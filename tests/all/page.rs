/// What the page is made of, and how it is served.
mod served;

use serde_json::{Value, json};

use crate::{
    commands::{self, Program, folder, server_again},
    foreign::{
        browser::Browser,
        program::{command, output},
    },
    support::TestServer,
};

const ENTER: &str = "\u{e007}";

/// What is in the log, said and done, one after the other.
const LINES: &str =
    "[...document.querySelectorAll('#log .row:not(.unsent, .note) .text')].map(t => t.innerText)";

/// A browser in a room, once it sees things as they happen.
async fn enter(url: &str) -> Browser {
    let browser = Browser::start().await;
    arrive(&browser, url).await;
    browser
}

async fn arrive(browser: &Browser, url: &str) {
    browser.visit(url).await;
    live(browser).await;
}

async fn live(browser: &Browser) {
    browser
        .see("document.getElementById('state').dataset.state === 'live'")
        .await;
}

async fn say(browser: &Browser, text: &str) {
    browser.press("#text", &format!("{text}{ENTER}")).await;
}

/// Waits until the log shows exactly these lines.
async fn shows(browser: &Browser, lines: &[&str]) {
    let lines = json!(lines);
    browser
        .see(&format!(
            "JSON.stringify({LINES}) === {:?}",
            lines.to_string()
        ))
        .await;
}

/// Nothing was complained of: no error, and nothing that a policy forbade.
/// (A connection that is lost is no error of the page's.)
async fn is_quiet(browser: &Browser) {
    let console = browser.console().await;
    let complaints: Vec<_> = console
        .iter()
        .filter(|line| {
            !line.contains("WebSocket connection to") && !line.contains("ERR_CONNECTION")
        })
        .collect();
    assert_eq!(complaints, [""; 0]);
}

#[tokio::test]
async fn its_parts_alone() {
    let mut node = command("node");
    node.arg("--test")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/"));
    let (ended, said) = output(node).await;
    assert!(ended.success(), "{said}");
    assert!(!said.contains("\n# tests 0"), "{said}");
}

#[tokio::test]
async fn two_browsers_and_a_terminal() {
    let server = TestServer::start().await;
    let url = format!("http://{}/tea", server.addr);
    let (ana, bob) = tokio::join!(enter(&url), enter(&url));
    let mut eve = Program::client(server.addr, &["--room", "tea", "--name", "eve"]);
    assert_eq!(eve.line().await, "Welcome to chat! Type a message");

    say(&ana, "/name ana").await;
    ana.see("document.getElementById('you-name').textContent === 'ana'")
        .await;
    say(&ana, "hello, bob").await;
    assert_eq!(eve.line().await, "ana: hello, bob");
    shows(&bob, &["hello, bob"]).await;
    say(&bob, "/me waves").await;
    let waved = eve.line().await;
    assert!(waved.ends_with(": * waves"), "{waved}");
    eve.type_line("I see you both").await;
    let who = waved.trim_end_matches(": * waves");
    let lines = ["hello, bob", &format!("{who} waves"), "I see you both"];
    shows(&ana, &lines).await;
    shows(&bob, &lines).await;
    let receipts = "document.querySelectorAll('#log .own .receipt').length";
    for browser in [&ana, &bob] {
        assert_eq!(browser.run(&format!("return {receipts}")).await, json!(1));
        is_quiet(browser).await;
    }
}

/// Types what is not sent, and what is said while nobody takes it.
async fn speak_into_nothing(browser: &Browser) {
    browser
        .see("document.getElementById('state').dataset.state === 'offline'")
        .await;
    for text in ["first", "second", "third"] {
        say(browser, text).await;
    }
    browser.press("#text", "a draft").await;
    browser
        .see("document.querySelectorAll('#unsent li').length === 3")
        .await;
}

async fn draft(browser: &Browser) -> Value {
    browser
        .run("return document.getElementById('text').value")
        .await
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_again() {
    let folder = folder();
    let (mut server, addr) = commands::server(folder.path(), &[]).await;
    let url = format!("http://{addr}/tea");
    let (ana, bob) = tokio::join!(enter(&url), enter(&url));
    say(&ana, "before").await;
    shows(&bob, &["before"]).await;
    server.child.kill().await.expect("killed");
    speak_into_nothing(&ana).await;
    let _server = server_again(folder.path(), addr).await;
    for browser in [&ana, &bob] {
        shows(browser, &["before", "first", "second", "third"]).await;
        is_quiet(browser).await;
    }
    ana.see("document.querySelectorAll('#unsent li').length === 0")
        .await;
    assert_eq!(draft(&ana).await, json!("a draft"));
}

#[tokio::test]
async fn a_page_that_is_loaded_again_with_something_unsent() {
    let folder = folder();
    let (mut server, addr) = commands::server(folder.path(), &[]).await;
    let url = format!("http://{addr}/tea");
    let browser = enter(&url).await;
    say(&browser, "before").await;
    shows(&browser, &["before"]).await;
    server.child.kill().await.expect("killed");
    speak_into_nothing(&browser).await;
    // A browser without a server has no page: it comes back with the server.
    drop(server);
    let kept = "new Promise(done => indexedDB.open('broadcast-chat').onsuccess = ({target: {result}}) => \
        result.transaction('outbox').objectStore('outbox').count().onsuccess = ({target}) => done(target.result))";
    let count = browser.run(&format!("return {kept}")).await;
    assert_eq!(count, json!(3));
    browser.visit("about:blank").await;
    let _server = server_again(folder.path(), addr).await;
    arrive(&browser, &url).await;
    shows(&browser, &["before", "first", "second", "third"]).await;
    assert_eq!(draft(&browser).await, json!("a draft"));
    browser
        .see("document.querySelectorAll('#unsent li').length === 0")
        .await;
    is_quiet(&browser).await;
}
