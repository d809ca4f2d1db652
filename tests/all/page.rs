/// Replies, corrections, reactions and the menu of a message.
mod about;
/// A room with many messages and much traffic.
mod crowded;
/// The way in: invitations, and the form of those who stay outside.
mod entry;
/// Hostile texts, which must stay text.
mod hostile;
/// The looks of text: code, quotes, lists and emphasis.
mod markup;
/// The list of rooms, and private conversations.
mod places;
/// The files of the page, and how they are served.
mod served;
/// Accessibility and use of the page, on large and small screens.
mod usable;
/// The first visit, and what a second one finds.
mod visit;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    time::Duration,
};

use broadcast_chat::{server::ServerOptions, store::Storage};
use serde_json::{Value, json};

use crate::{
    foreign::{
        browser::Browser,
        program::{command, output},
    },
    programs::{self, Program, folder, server_again},
    support::{TestServer, options},
};

const ENTER: &str = "\u{e007}";

/// The texts shown in the log, in order.
const LINES: &str = "[...document.querySelectorAll('#log .row:not(.unsent, .note) .text')].map(text => \
    [...text.childNodes].filter(part => part.nodeName !== 'TIME').map(part => part.textContent).join('').trim())";

#[tokio::test]
async fn the_page_chats_below_a_path() {
    let mut options = patient_options(options());
    options.base_path = "/chat".parse().expect("a path");
    let server = TestServer::start_with(&Storage::Memory, options).await;
    let browser = enter(&format!("http://{}/chat/tea", server.addr)).await;
    let mut bob = server.plain("/chat/tea").await;
    say(&browser, "/name ana").await;
    browser
        .see("document.getElementById('you-name').textContent === 'ana'")
        .await;
    say(&browser, "hello").await;
    assert_eq!(bob.text().await, "ana: hello");
    let stored = browser.run("return Object.keys(localStorage)").await;
    let stored = stored.as_array().expect("names");
    assert!(!stored.is_empty());
    for name in stored {
        let name = name.as_str().expect("a name");
        assert!(
            name.starts_with("/chat"),
            "another chat of the site: {name}"
        );
    }
    say(&browser, "/join lobby").await;
    let url = format!("http://{}/chat/", server.addr);
    browser.see(&format!("location.href === '{url}'")).await;
    live(&browser).await;
    browser
        .run("document.querySelector('[data-panel=rooms]').click()")
        .await;
    browser
        .see("[...document.querySelectorAll('#room-list a')].some(a => a.pathname === '/chat/tea')")
        .await;
}

/// Starts a server that tolerates silent peers, because a browser may be slow.
async fn patient_server() -> TestServer {
    TestServer::start_with(&Storage::Memory, patient_options(options())).await
}

fn patient_options(mut options: ServerOptions) -> ServerOptions {
    options.session.ping = Duration::from_secs(600);
    options
}

/// Opens a room in a new browser and waits until the page is live.
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

/// Asserts that the console shows no error and no policy violation. (A lost
/// connection is not the page's error.)
async fn assert_console_empty(browser: &Browser) {
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
async fn the_page_modules_pass_their_node_tests() {
    let mut node = command("node");
    node.arg("--test")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/"));
    let (ended, said) = output(node).await;
    assert!(ended.success(), "{said}");
    assert!(!said.contains("\n# tests 0"), "{said}");
}

#[tokio::test]
async fn two_browsers_and_a_terminal_client_see_the_same_messages() {
    let server = patient_server().await;
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
    let line = eve.line().await;
    let address = line.strip_suffix(": * waves").expect("an address");
    let port = address.rsplit(':').next().expect("a port");
    let waves = format!("guest {port} waves");
    eve.type_line("I see you both").await;
    let lines = ["hello, bob", &waves, "I see you both"];
    shows(&ana, &lines).await;
    shows(&bob, &lines).await;
    let receipts = "document.querySelectorAll('#log .own .receipt').length";
    for browser in [&ana, &bob] {
        assert_eq!(browser.run(&format!("return {receipts}")).await, json!(1));
        assert_console_empty(browser).await;
    }
}

/// Sends three messages while offline, and types a draft.
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
async fn offline_messages_and_the_draft_survive_a_server_restart() {
    let folder = folder();
    let (mut server, addr) = programs::server(folder.path(), &[]).await;
    let url = format!("http://{addr}/tea");
    let (ana, bob) = tokio::join!(enter(&url), enter(&url));
    say(&ana, "before").await;
    shows(&bob, &["before"]).await;
    server.child.kill().await.expect("killed");
    speak_into_nothing(&ana).await;
    let _server = server_again(folder.path(), addr).await;
    for browser in [&ana, &bob] {
        shows(browser, &["before", "first", "second", "third"]).await;
        assert_console_empty(browser).await;
    }
    ana.see("document.querySelectorAll('#unsent li').length === 0")
        .await;
    assert_eq!(draft(&ana).await, json!("a draft"));
}

#[tokio::test]
async fn unsent_messages_survive_a_reload_without_the_server() {
    let folder = folder();
    let (mut server, addr) = programs::server(folder.path(), &[]).await;
    let url = format!("http://{addr}/tea");
    let browser = enter(&url).await;
    say(&browser, "before").await;
    shows(&browser, &["before"]).await;
    // The worker keeps the page and its assets.
    let kept = "(caches.open('pages ').then(one => one.match('/tea')).then(page => window.page = page), \
        caches.open('assets ').then(one => one.keys()).then(all => window.assets = all.length), \
        window.page && window.assets === 2)";
    browser.see(kept).await;
    server.child.kill().await.expect("killed");
    speak_into_nothing(&browser).await;
    drop(server);
    browser.see(&kept_is(3)).await;
    browser.visit(&url).await;
    browser
        .see("document.querySelectorAll('#unsent li').length === 3")
        .await;
    assert_eq!(draft(&browser).await, json!("a draft"));
    let _server = server_again(folder.path(), addr).await;
    shows(&browser, &["before", "first", "second", "third"]).await;
    browser
        .see("document.querySelectorAll('#unsent li').length === 0")
        .await;
    assert_console_empty(&browser).await;
}

/// Delays every message after the welcome by 100 ms, and resizes the viewport
/// before, as an opening keyboard does.
const LATE: &str = "const real = Object.getOwnPropertyDescriptor(WebSocket.prototype, 'onmessage'); \
    Object.defineProperty(WebSocket.prototype, 'onmessage', {set(take) { \
      let late = 0; \
      real.set.call(this, event => { \
        setTimeout(() => take.call(this, event), late); \
        if (!late) setTimeout(() => visualViewport.dispatchEvent(new Event('resize')), 10); \
        late = 100 }) }})";

#[tokio::test]
async fn delayed_messages_are_shown_once() {
    let server = patient_server().await;
    let mut peer = server.plain("/tea").await;
    for text in ["one", "two", "three"] {
        peer.text_after(text).await;
    }
    let browser = Browser::start().await;
    browser.before_pages(LATE).await;
    arrive(&browser, &format!("http://{}/tea", server.addr)).await;
    peer.text_after("four").await;
    shows(&browser, &["one", "two", "three", "four"]).await;
    // The page says so when there are no older messages, and it says that only
    // after it asked.
    browser
        .see("document.getElementById('begin').textContent.startsWith('This is where')")
        .await;
    shows(&browser, &["one", "two", "three", "four"]).await;
    assert_console_empty(&browser).await;
}

/// The visible text of an element.
async fn text(browser: &Browser, selector: &str) -> Value {
    let script = format!("return document.querySelector('{selector}').innerText.trim()");
    browser.run(&script).await
}

#[tokio::test]
async fn windows_of_one_browser_share_one_name() {
    windows("").await;
}

/// Browsers give no locks to pages loaded over plain HTTP from another host.
#[tokio::test]
async fn windows_share_one_name_without_the_locks_api() {
    windows("Object.defineProperty(Navigator.prototype, 'locks', {value: undefined})").await;
}

async fn windows(before: &str) {
    let browser = Browser::start().await;
    browser.before_pages(before).await;
    let folder = folder();
    let (mut server, addr) = programs::server(folder.path(), &[]).await;
    let url = format!("http://{addr}/tea");
    arrive(&browser, &url).await;
    let first = browser.window().await;
    say(&browser, "/name ana").await;
    browser
        .see("document.getElementById('you-name').textContent === 'ana'")
        .await;
    let second = browser.open_window().await;
    browser.before_pages(before).await;
    arrive(&browser, &url).await;
    assert_eq!(text(&browser, "#you-name").await, json!("ana"));
    browser
        .see("document.getElementById('people-count').textContent === '1'")
        .await;
    // A name taken in one window applies to all.
    say(&browser, "/name Anna").await;
    browser.switch_to(&first).await;
    browser
        .see("document.getElementById('you-name').textContent === 'Anna'")
        .await;

    // Each window's offline messages are sent by that window, or by a remaining
    // one.
    server.child.kill().await.expect("killed");
    for (window, text) in [(&second, "from the second"), (&first, "from the first")] {
        browser.switch_to(window).await;
        browser
            .see("document.getElementById('state').dataset.state === 'offline'")
            .await;
        say(&browser, text).await;
        browser.see("document.querySelector('#unsent li')").await;
    }
    // Wait until the browser has stored both.
    browser.see(&kept_is(2)).await;
    browser.close_window().await;
    browser.switch_to(&second).await;
    let _server = server_again(folder.path(), addr).await;
    shows(&browser, &["from the second", "from the first"]).await;
    browser.see(&kept_is(0)).await;
    let names = json!(["Anna", "Anna"]);
    let who = "return [...document.querySelectorAll('#log .who')].map(w => w.textContent)";
    assert_eq!(browser.run(who).await, names);
    assert_console_empty(&browser).await;
}

#[tokio::test]
async fn a_user_changes_rooms_by_command_and_by_link() {
    let server = patient_server().await;
    let mut bob = server.plain("/tea").await;
    let browser = enter(&format!("http://{}/tea", server.addr)).await;
    say(&browser, "in tea").await;
    assert!(bob.text().await.ends_with(": in tea"));
    shows(&browser, &["in tea"]).await;
    say(&browser, "/join Coffee").await;
    browser.see("location.pathname === '/coffee'").await;
    live(&browser).await;
    shows(&browser, &[]).await;
    assert_eq!(text(&browser, "h1").await, json!("coffee"));
    // Rooms with members are listed and link to the room.
    say(&browser, "/rooms").await;
    browser
        .see("document.querySelectorAll('#room-list a').length === 2")
        .await;
    browser.click("#room-list a:not([aria-current])").await;
    browser.see("location.pathname === '/tea'").await;
    live(&browser).await;
    shows(&browser, &["in tea"]).await;
    say(&browser, "back").await;
    assert!(bob.text().await.ends_with(": back"));
    assert_console_empty(&browser).await;
}

/// A script that is true once the browser stores `count` unsent messages.
fn kept_is(count: usize) -> String {
    format!(
        "(window.kept ??= -1, indexedDB.open('broadcast-chat').onsuccess = ({{target: {{result}}}}) => \
         result.transaction('outbox').objectStore('outbox').count().onsuccess = \
         ({{target}}) => window.kept = target.result, window.kept === {count})"
    )
}

#[tokio::test]
async fn messages_over_the_rate_arrive_in_order() {
    let folder = folder();
    let (_server, addr) = programs::server(folder.path(), &["--rate", "20:5"]).await;
    let browser = enter(&format!("http://{addr}/tea")).await;
    let lines: Vec<String> = (1..=25).map(|n| n.to_string()).collect();
    browser.press("#text", &(lines.join(ENTER) + ENTER)).await;
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    shows(&browser, &lines).await;
    assert_console_empty(&browser).await;
}

#[tokio::test]
async fn the_page_starts_over_on_a_new_epoch() {
    let server = patient_server().await;
    let (addr, mut peer) = (server.addr, server.plain("/tea").await);
    peer.text_after("before").await;
    let browser = enter(&format!("http://{addr}/tea")).await;
    shows(&browser, &["before"]).await;
    drop(peer);
    server.stop().await;
    browser
        .see("document.getElementById('state').dataset.state === 'offline'")
        .await;
    say(&browser, "said meanwhile").await;
    let server = TestServer::start_at(addr).await;
    // The new server has another epoch. The browser had seen none of it, and
    // the old messages are gone.
    shows(&browser, &["said meanwhile"]).await;
    let notes = browser
        .run("return document.querySelector('#log .note .text').innerText")
        .await;
    assert_eq!(
        notes,
        json!("The server has another history now: these are its latest messages.")
    );
    server.stop().await;
}

#[tokio::test]
async fn private_and_redacted_messages_are_shown_correctly() {
    let folder = folder();
    fs::write(folder.path().join("secret"), "0123456789abcdef\n").expect("a file");
    fs::set_permissions(folder.path().join("secret"), Permissions::from_mode(0o600)).expect("ours");
    let (_server, addr) =
        programs::server(folder.path(), &["--operator-secret-file", "secret"]).await;
    let url = format!("http://{addr}/tea");
    let (ana, bob) = tokio::join!(enter(&url), enter(&url));
    for (browser, name) in [(&ana, "ana"), (&bob, "bob")] {
        say(browser, &format!("/name {name}")).await;
        let named = format!("document.getElementById('you-name').textContent === '{name}'");
        browser.see(&named).await;
    }
    say(&ana, "for all").await;
    shows(&bob, &["for all"]).await;
    say(&ana, "/msg bob for you").await;
    let private = "document.querySelector('#log .row.private')";
    for browser in [&ana, &bob] {
        shows(browser, &["for all", "for you"]).await;
        let about = format!("{private}.querySelector('.about').innerText.startsWith('ana')");
        browser.see(&about).await;
        let to = format!("{private}.querySelector('.to').innerText === 'to bob only'");
        browser.see(&to).await;
    }
    ana.see("!document.querySelector('#unsent li')").await;
    ana.see(&format!("{private}.querySelector('.receipt')"))
        .await;
    // A message to an unknown name is refused, and its text can be edited
    // again.
    say(&ana, "/msg nobody for you").await;
    // The reason stands below the text, and not at the edge of the window.
    ana.see("document.querySelector('#unsent .refused .message .why button')")
        .await;
    ana.click("#unsent .refused button").await;
    assert_eq!(draft(&ana).await, json!("/msg nobody for you"));
    ana.run("document.getElementById('text').value = ''").await;

    say(&bob, "/erase 1").await;
    bob.see("document.getElementById('told').innerText.includes('Only its author')")
        .await;
    say(&ana, "/operator 0123456789abcdef").await;
    ana.see("document.getElementById('log').innerText.includes('You are an operator')")
        .await;
    say(&ana, "/erase 1").await;
    for browser in [&ana, &bob] {
        shows(browser, &["erased", "for you"]).await;
    }
    // A page loaded later shows the same: the redaction, and the private
    // message to its recipient.
    arrive(&bob, &url).await;
    shows(&bob, &["erased", "for you"]).await;
    let words = "return document.body.innerText.includes('for all')";
    assert_eq!(bob.run(words).await, json!(false));
    for browser in [&ana, &bob] {
        assert_console_empty(browser).await;
    }
}
