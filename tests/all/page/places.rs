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
    let axe = tool("node/node_modules/axe-core/axe.min.js");
    let axe = fs::read_to_string(axe).expect("\"./check tools\" installs it");
    browser.run(&axe).await;
    for (width, mobile) in [(1000, false), (390, true)] {
        resize(browser, width, 700, mobile).await;
        assert_eq!(faults(browser).await, json!([]), "{width}");
    }
    resize(browser, 1000, 700, false).await;
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
    // Somebody who is away sees it later.
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
