//! The column of rooms, and private conversations.

use std::fs;

use serde_json::{Value, json};

use super::{ENTER, arrive, assert_console_empty, enter, patient_server, say, usable::faults};
use crate::{
    foreign::{browser::Browser, program::tool},
    support::{TestServer, soon},
};

async fn resize(browser: &Browser, width: u32, height: u32, mobile: bool) {
    let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1,
        "mobile": mobile});
    browser
        .devtools("Emulation.setDeviceMetricsOverride", metrics)
        .await;
}

/// Ana's browser in the lobby; she has been in tea before.
async fn ana_in_the_lobby(server: &TestServer) -> Browser {
    let browser = enter(&format!("http://{}/tea", server.addr)).await;
    resize(&browser, 1000, 700, false).await;
    say(&browser, "/name ana the-secret-of-ana").await;
    browser
        .see("document.getElementById('you-name').textContent === 'ana'")
        .await;
    arrive(&browser, &format!("http://{}/", server.addr)).await;
    browser
        .see("document.querySelectorAll('#places #room-list a').length === 2")
        .await;
    browser
}

async fn assert_accessible(browser: &Browser) {
    for (width, mobile) in [(1000, false), (390, true)] {
        resize(browser, width, 700, mobile).await;
        assert_accessible_now(browser).await;
    }
    resize(browser, 1000, 700, false).await;
}

async fn assert_accessible_now(browser: &Browser) {
    let axe = tool("node/node_modules/axe-core/axe.min.js");
    let axe = fs::read_to_string(axe).expect("\"./check tools\" installs it");
    browser.run(&axe).await;
    assert_eq!(faults(browser).await, json!([]));
}

/// Waits until ana has read all of tea.
async fn tea_is_read(server: &TestServer) {
    let read = async {
        loop {
            let (_, welcome) = server.owner("ana", "").await;
            let following = welcome["following"].as_array().expect("places");
            let tea = following.iter().find(|place| place["room"] == "tea");
            if tea.is_some_and(|tea| tea["unread"] == 0) {
                return;
            }
        }
    };
    soon("all is read", read).await;
}

// Verified to fail when the page waits for a list of places first.
#[tokio::test]
async fn a_new_name_keeps_what_it_reads_at_once() {
    let server = patient_server().await;
    let browser = enter(&format!("http://{}/tea", server.addr)).await;
    say(&browser, "/name ana the-secret-of-ana").await;
    browser
        .see("document.getElementById('you-name').textContent === 'ana'")
        .await;
    let mut bob = server.plain("/tea?name=bob").await;
    bob.text_after("one").await;
    browser
        .see("document.getElementById('log').textContent.includes('one')")
        .await;
    tea_is_read(&server).await;
    assert_console_empty(&browser).await;
}

// Verified to fail when the activity is not drawn.
#[tokio::test]
async fn unread_rooms_stand_beside_the_log() {
    let server = patient_server().await;
    let browser = ana_in_the_lobby(&server).await;
    let mut bob = server.plain("/tea?name=bob").await;
    for text in ["one", "ana!", "three"] {
        bob.text_after(text).await;
    }
    browser
        .see(
            "[...document.querySelectorAll('#places .unread')].map(({textContent}) => textContent) \
             .join().startsWith('tea 3 new1')",
        )
        .await;
    browser
        .see("document.title === '(1) lobby · broadcast-chat'")
        .await;
    browser
        .see("document.querySelector('link[rel=icon]').href.includes('circle')")
        .await;
    browser
        .see("getComputedStyle(document.querySelector('[data-panel=rooms]')).display === 'none'")
        .await;
    assert_accessible(&browser).await;
    // On a phone the list stands behind one button.
    resize(&browser, 390, 700, true).await;
    browser
        .see("document.getElementById('rooms-badge').textContent === '1'")
        .await;
    browser.click("[data-panel=rooms]").await;
    browser
        .see("document.querySelector('#panel #room-list .unread a').textContent === 'tea'")
        .await;
    assert_eq!(faults(&browser).await, json!([]));
    browser.click("#room-list .unread a").await;
    browser.see("location.pathname === '/tea'").await;
    // Read here, it is read everywhere.
    tea_is_read(&server).await;
    browser
        .see("document.title === 'tea · broadcast-chat'")
        .await;
    assert_console_empty(&browser).await;
}

// Verified to fail when the panel does not take new messages.
#[tokio::test]
async fn a_private_message_leads_to_a_conversation() {
    let server = patient_server().await;
    let browser = ana_in_the_lobby(&server).await;
    let (mut bob, _) = server.owner("bob", "").await;
    bob.event_of("live").await;
    let private = |text: &str| json!({"type": "private", "to": "ana", "text": text}).to_string();
    bob.say(&private("psst")).await;
    browser
        .see("document.querySelector('#places .unread .pick')?.textContent === 'bob'")
        .await;
    let tinted = "const of = (one) => getComputedStyle(document.querySelector(one)).backgroundColor; \
        return of('#log .private .message') !== of('#log')";
    assert_eq!(browser.run(tinted).await, Value::Bool(true));
    browser.click("#log .answer").await;
    browser
        .see("document.querySelector('#talk-list .text').textContent === 'psst'")
        .await;
    // It is read now.
    browser
        .see("!document.querySelector('#places .unread')")
        .await;
    browser.press("#talk-text", &format!("yes?{ENTER}")).await;
    bob.event_of("private").await;
    assert_eq!(bob.event_of("private").await["text"], "yes?");
    bob.say(&private("nothing")).await;
    browser
        .see(
            "[...document.querySelectorAll('#talk-list .text')] \
             .map(({textContent}) => textContent).join() === 'psst,yes?,nothing'",
        )
        .await;
    assert_accessible(&browser).await;
    browser.click("#close").await;
    bob.say(&private("more")).await;
    browser
        .see("document.title === '(1) lobby · broadcast-chat'")
        .await;
    // By its place in the list, and by command.
    browser.click("#places .unread .pick").await;
    browser
        .see("document.querySelectorAll('#talk-list .text').length === 4")
        .await;
    browser.click("#close").await;
    say(&browser, "/msg bob").await;
    browser
        .see("document.activeElement.id === 'talk-text'")
        .await;
    // An away recipient sees it later.
    drop(bob);
    browser
        .see("document.getElementById('people-count').textContent === '1'")
        .await;
    for text in ["gone?", "still gone?"] {
        browser.press("#talk-text", &format!("{text}{ENTER}")).await;
        let shown = format!(
            "[...document.querySelectorAll('#talk-list .text')] \
             .some(({{textContent}}) => textContent === '{text}')"
        );
        browser.see(&shown).await;
    }
    browser
        .see(
            "[...document.querySelectorAll('#talk-list .text')].slice(-3) \
             .map(({textContent}) => textContent).join('|') \
             === 'gone?|bob is away and will see it when back.|still gone?'",
        )
        .await;
    assert_console_empty(&browser).await;
}

const ESCAPE: &str = "\u{e00c}";

/// Holds back private messages until `release()`.
const HELD: &str = "const real = Object.getOwnPropertyDescriptor(WebSocket.prototype, 'onmessage'); \
    let held = []; \
    window.release = () => { const all = held; held = null; for (const take of all) take() }; \
    Object.defineProperty(WebSocket.prototype, 'onmessage', {set(take) { \
      real.set.call(this, event => { \
        if (held && JSON.parse(event.data).type === 'private') held.push(() => take.call(this, event)); \
        else take.call(this, event) }) }})";

/// The texts of the private messages in an element.
fn private_texts(of: &str) -> String {
    format!(
        "[...document.querySelectorAll('{of} .private .text')].map(({{textContent}}) => textContent).join()"
    )
}

// Verified to fail when the panel takes known messages, and when the log has them, too.
#[tokio::test]
async fn an_open_conversation_shows_each_message_once() {
    let server = patient_server().await;
    let browser = Browser::start().await;
    browser.before_pages(HELD).await;
    arrive(&browser, &format!("http://{}/", server.addr)).await;
    resize(&browser, 1000, 700, false).await;
    say(&browser, "/name ana the-secret-of-ana").await;
    browser
        .see("document.getElementById('you-name').textContent === 'ana'")
        .await;
    let (mut bob, _) = server.owner("bob", "").await;
    bob.event_of("live").await;
    let private = |text: &str| json!({"type": "private", "to": "ana", "text": text}).to_string();
    bob.say(&private("one")).await;
    bob.event_of("private").await;
    // The page of the conversation overtakes the message.
    browser
        .press("#text", &format!("/msg BOB{ESCAPE}{ENTER}"))
        .await;
    browser
        .see(&format!("{} === 'one'", private_texts("#talk")))
        .await;
    browser.run("release()").await;
    bob.say(&private("two")).await;
    browser
        .see(&format!("{} === 'one,two'", private_texts("#talk")))
        .await;
    browser.press("#talk-text", &format!("three{ENTER}")).await;
    browser
        .see(&format!(
            "{} === 'one,two,three' && !document.querySelector('#talk-unsent li')",
            private_texts("#talk")
        ))
        .await;
    assert_eq!(
        browser
            .run(&format!("return {}", private_texts("#log")))
            .await,
        ""
    );
    // It is one place, whatever letters the name was typed in.
    browser
        .see("document.querySelectorAll('#places button.pick').length === 1")
        .await;
    // The log has them once the conversation is closed.
    browser.click("#close").await;
    browser
        .see(&format!("{} === 'one,two,three'", private_texts("#log")))
        .await;
    assert_console_empty(&browser).await;
}

// Verified to fail when the log has the refused message, and the panel does not.
#[tokio::test]
async fn a_conversation_tells_what_is_missing_and_refused() {
    let server = patient_server().await;
    let browser = ana_in_the_lobby(&server).await;
    let (_bob, _) = server.owner("bob", "").await;
    let _beth = server.plain("/").await;
    // A name of the people leads to a conversation.
    say(&browser, "/members").await;
    let bob = "[...document.querySelectorAll('#names button')].find(({textContent}) => textContent === 'bob')";
    browser.see(bob).await;
    browser.run(&format!("{bob}.click()")).await;
    browser
        .see("document.activeElement.id === 'talk-text'")
        .await;
    browser
        .see("document.getElementById('talk-state').textContent === 'No messages with bob yet.'")
        .await;
    assert_accessible(&browser).await;
    // Nobody owns this name.
    say(&browser, "/msg nobody").await;
    browser
        .see("document.getElementById('talk-state').textContent.includes('nobody')")
        .await;
    browser.press("#talk-text", &format!("psst{ENTER}")).await;
    browser
        .see("document.querySelector('#talk-unsent .refused .why')")
        .await;
    assert_accessible(&browser).await;
    browser.click("#talk-unsent .why button").await;
    browser
        .see("document.getElementById('talk-text').value === 'psst'")
        .await;
    // The own name leads to the own panel.
    browser
        .run("document.getElementById('people-button').click()")
        .await;
    let own = "[...document.querySelectorAll('#names button')].find(({textContent}) => textContent === 'anayou')";
    browser.see(own).await;
    browser.run(&format!("{own}.click()")).await;
    browser.see("!document.getElementById('you').hidden").await;
    assert_console_empty(&browser).await;
}

/// The time at a room of the list.
fn time_of(room: &str) -> String {
    format!(
        "[...document.querySelectorAll('#room-list li')].find(li => li.querySelector('a').textContent === '{room}')\
         .querySelector('time')?.dateTime"
    )
}

// Verified to fail when messages and activity leave the times as they are.
#[tokio::test]
async fn the_list_of_rooms_follows_what_is_said() {
    let server = patient_server().await;
    let mut bob = server.plain("/tea?name=bob").await;
    bob.text_after("one").await;
    let browser = Browser::start().await;
    // Without this the list is asked for every minute.
    browser.before_pages("window.setInterval = () => 0").await;
    arrive(&browser, &format!("http://{}/tea", server.addr)).await;
    resize(&browser, 1000, 700, false).await;
    say(&browser, "/name ana the-secret-of-ana").await;
    browser
        .see("document.getElementById('you-name').textContent === 'ana'")
        .await;
    arrive(&browser, &format!("http://{}/", server.addr)).await;
    let before = browser.see(&time_of("tea")).await;
    bob.text_after("two").await;
    browser.see(&format!("{} > {before}", time_of("tea"))).await;
    let none = browser
        .run(&format!("return {} ?? null", time_of("lobby")))
        .await;
    assert_eq!(none, Value::Null);
    say(&browser, "hello").await;
    browser.see(&time_of("lobby")).await;
    assert_console_empty(&browser).await;
}

// Verified to fail when the choices are not ordered by how they fit.
#[tokio::test]
async fn ctrl_k_goes_to_the_best_fit() {
    const CTRL_K: &str = "\u{e009}k";
    let server = patient_server().await;
    for room in ["tea", "team", "t-e-a-house", "great"] {
        let mut bob = server.plain(&format!("/{room}?name=bob")).await;
        bob.text_after("hi").await;
    }
    let browser = enter(&format!("http://{}/", server.addr)).await;
    resize(&browser, 1000, 700, false).await;
    browser.press("#text", CTRL_K).await;
    browser
        .see("document.activeElement.id === 'room-name'")
        .await;
    browser.press("#room-name", "#tea").await;
    let shown = "[...document.querySelectorAll('#room-list a')].map(a => a.textContent).join()";
    browser
        .see(&format!("{shown} === 'tea,team,t-e-a-house'"))
        .await;
    browser
        .see("document.getElementById('room-choice').textContent.startsWith('Enter goes to tea.')")
        .await;
    browser.press("#room-name", CTRL_K).await;
    browser
        .see("document.querySelector('#room-list .chosen a').textContent === 'team'")
        .await;
    assert_accessible_now(&browser).await;
    browser.press("#room-name", ENTER).await;
    browser.see("location.pathname === '/team'").await;
    super::live(&browser).await;
    // On a phone the field is in a panel.
    resize(&browser, 390, 700, true).await;
    browser.press("#text", CTRL_K).await;
    browser
        .see("document.querySelector('#panel #room-list a')")
        .await;
    browser.press("#room-name", "grt").await;
    browser.see(&format!("{shown} === 'great,grt'")).await;
    assert_accessible_now(&browser).await;
    browser.press("#room-name", ENTER).await;
    browser.see("location.pathname === '/great'").await;
    super::live(&browser).await;
    // The typed room may be a new one.
    browser.press("#text", CTRL_K).await;
    browser
        .press("#room-name", &format!("somewhere{ENTER}"))
        .await;
    browser.see("location.pathname === '/somewhere'").await;
    assert_console_empty(&browser).await;
}

// Verified to fail when the page waits for the server to tell of the place.
#[tokio::test]
async fn the_first_private_message_makes_a_place() {
    let server = patient_server().await;
    let browser = ana_in_the_lobby(&server).await;
    let (_bob, _) = server.owner("bob", "").await;
    say(&browser, "/msg bob hi").await;
    browser
        .see("document.querySelector('#places button.pick')?.textContent === 'bob'")
        .await;
    assert_console_empty(&browser).await;
}
