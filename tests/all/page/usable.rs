use std::fs;

use serde_json::{Value, json};

use super::{ENTER, assert_console_empty, enter, live, patient_server, say, shows, text};
use crate::{
    foreign::{browser::Browser, program::tool},
    support::TestServer,
};

const TAB: &str = "\u{e004}";
const ESCAPE: &str = "\u{e00c}";
const DOWN: &str = "\u{e015}";

/// Emulates a mobile device of this size.
async fn shrink(browser: &Browser, width: u32, height: u32) {
    let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 2, "mobile": true});
    browser
        .devtools("Emulation.setDeviceMetricsOverride", metrics)
        .await;
}

async fn prefer(browser: &Browser, scheme: &str) {
    let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
    browser.devtools("Emulation.setEmulatedMedia", media).await;
}

/// Publishes a few messages; returns the room's URL.
async fn room(server: &TestServer) -> String {
    let mut bob = server.plain("/tea?name=bob").await;
    for text in [
        "hello https://a.example/x",
        "hi @ana",
        "שלום",
        "/me waves",
        &"long".repeat(2000),
    ] {
        bob.text_after(text).await;
    }
    bob.say("/topic all about tea").await;
    bob.text().await;
    format!("http://{}/tea", server.addr)
}

/// The violations that axe finds.
pub(super) async fn faults(browser: &Browser) -> Value {
    let script = "return axe.run().then(({violations}) => \
        violations.map(({id, nodes}) => [id, nodes.map(({html}) => html)]))";
    browser.run(script).await
}

#[tokio::test]
async fn axe_finds_no_violation() {
    let axe = tool("node/node_modules/axe-core/axe.min.js");
    let axe = fs::read_to_string(axe).expect("\"./check tools\" installs it");
    let server = patient_server().await;
    let url = room(&server).await;
    let browser = enter(&url).await;
    browser.run(&axe).await;
    browser
        .see("!document.getElementById('ask-form').hidden")
        .await;
    assert_eq!(faults(&browser).await, json!([]), "at the first visit");
    say(&browser, "/name ana").await;
    browser
        .see("document.getElementById('you-name').textContent === 'ana'")
        .await;
    say(&browser, "mine").await;
    browser
        .see("document.querySelector('#log .own .receipt')")
        .await;
    for (width, height) in [(1100, 760), (320, 568)] {
        shrink(&browser, width, height).await;
        for scheme in ["light", "dark"] {
            prefer(&browser, scheme).await;
            for panel in ["", "people", "rooms", "search", "you", "help"] {
                if !panel.is_empty() {
                    let open = format!("document.querySelector('[data-panel={panel}]').click()");
                    browser.run(&open).await;
                }
                let found = faults(&browser).await;
                assert_eq!(found, json!([]), "{width} {scheme} {panel}");
            }
            browser
                .run("document.getElementById('close').click()")
                .await;
        }
    }
    browser.press("#text", "/").await;
    browser
        .see("!document.getElementById('offers').hidden")
        .await;
    assert_eq!(faults(&browser).await, json!([]), "with offers");
    assert_console_empty(&browser).await;
}

#[tokio::test]
async fn the_page_fits_a_narrow_phone() {
    let server = patient_server().await;
    let url = room(&server).await;
    let browser = Browser::start().await;
    shrink(&browser, 320, 568).await;
    browser.visit(&url).await;
    live(&browser).await;
    say(&browser, &"W".repeat(500)).await;
    browser
        .see("document.querySelector('#log .own .receipt')")
        .await;
    // Nothing overflows to the side, and every control is visible, also with
    // the keyboard open.
    for height in [568, 260] {
        shrink(&browser, 320, height).await;
        browser.see(&format!("innerHeight === {height}")).await;
        let inside = "[...document.querySelectorAll('header button, #log, #text, #composer > button')] \
            .every(e => { const {left, right, top, bottom} = e.getBoundingClientRect(); \
              return left >= 0 && right <= 320 && top >= 0 && bottom <= innerHeight })";
        browser.see(inside).await;
        browser
            .see("document.scrollingElement.scrollWidth === 320")
            .await;
        browser
            .see("document.getElementById('log').scrollWidth <= 320")
            .await;
        // A log scrolled to its end stays there.
        browser.see("document.getElementById('down').hidden").await;
        let below = below(&browser).await;
        assert!(below < 2.0, "{below} pixels below");
    }
    // A panel takes the whole width, and closing it restores the focus.
    browser.click("#people-button").await;
    let whole = "document.getElementById('panel').getBoundingClientRect().width === 320";
    browser.see(whole).await;
    browser.click("#close").await;
    browser
        .see("document.activeElement.id === 'people-button'")
        .await;
    assert_console_empty(&browser).await;
}

#[tokio::test]
async fn the_documents_are_readable_on_every_screen() {
    let axe = tool("node/node_modules/axe-core/axe.min.js");
    let axe = fs::read_to_string(axe).expect("\"./check tools\" installs it");
    let server = patient_server().await;
    let browser = Browser::start().await;
    for name in ["", "/guide", "/protocol", "/performance"] {
        let url = format!("http://{}/-/help{name}", server.addr);
        browser.visit(&url).await;
        browser.run(&axe).await;
        for (width, height) in [(1100, 760), (320, 568)] {
            shrink(&browser, width, height).await;
            browser
                .see(&format!(
                    "document.scrollingElement.scrollWidth === {width}"
                ))
                .await;
            for (scheme, ground) in [("light", "255, 255, 255"), ("dark", "21, 24, 27")] {
                prefer(&browser, scheme).await;
                let ground = format!("'rgb({ground})'");
                let shown = "getComputedStyle(document.body).backgroundColor";
                browser.see(&format!("{shown} === {ground}")).await;
                let found = faults(&browser).await;
                assert_eq!(found, json!([]), "{name} {width} {scheme}");
            }
        }
    }
    assert_console_empty(&browser).await;
}

/// The distance in pixels from the visible bottom to the end of the log, once
/// drawn.
async fn below(browser: &Browser) -> f64 {
    let end = "const log = document.getElementById('log'); const frame = then => requestAnimationFrame(then); \
        return new Promise(done => frame(() => frame(() => \
          done(log.scrollHeight - log.scrollTop - log.clientHeight))))";
    browser.run(end).await.as_f64().expect("a number")
}

#[tokio::test]
async fn a_growing_text_field_keeps_the_log_at_its_end() {
    let server = patient_server().await;
    let url = room(&server).await;
    let browser = enter(&url).await;
    shrink(&browser, 320, 568).await;
    browser.see("innerHeight === 568").await;
    let height = "document.getElementById('text').offsetHeight";
    let low = browser.run(&format!("return {height}")).await;
    for _ in 0..3 {
        browser.press("#text", &"W".repeat(60)).await;
        let below = below(&browser).await;
        assert!(below < 2.0, "{below} pixels below");
        browser.see("document.getElementById('down').hidden").await;
    }
    // The field grows with its text, up to a part of the page, and shrinks
    // again when it is empty.
    browser.see(&format!("{height} > 3 * {low}")).await;
    browser.press("#text", &"W".repeat(500)).await;
    browser
        .see(&format!("Math.abs({height} - 0.4 * innerHeight) < 2"))
        .await;
    browser.press("#text", ENTER).await;
    browser.see(&format!("{height} === {low}")).await;
    // The log is lower for one frame, as when a line below disappears and
    // returns.
    let flicker = "const {style} = document.getElementById('composer'); \
        style.marginTop = '60px'; const frame = then => requestAnimationFrame(then); \
        return new Promise(done => frame(() => frame(() => frame(() => { style.marginTop = ''; \
          setTimeout(() => { style.marginTop = '60px'; frame(() => frame(done)) }) }))))";
    browser.run(flicker).await;
    let end = below(&browser).await;
    assert!(end < 2.0, "{end} pixels below");
    browser.see("document.getElementById('down').hidden").await;
    // Sending a message scrolls to it from anywhere in the log.
    browser
        .run("document.getElementById('log').scrollTop = 0")
        .await;
    browser.see("!document.getElementById('down').hidden").await;
    say(&browser, "here").await;
    browser.see("document.getElementById('down').hidden").await;
    browser
        .see("document.getElementById('log').innerText.includes('here')")
        .await;
    assert_console_empty(&browser).await;
}

#[tokio::test]
async fn the_page_is_usable_by_keyboard_alone() {
    let server = patient_server().await;
    let url = room(&server).await;
    let browser = enter(&url).await;
    // Typed commands are offered for completion.
    browser.press("#text", "/na").await;
    browser
        .see("document.querySelector('#offers [aria-selected=true]').innerText.startsWith('/name')")
        .await;
    browser.press("#text", &format!("{TAB}ana{ENTER}")).await;
    browser
        .see("document.getElementById('you-name').textContent === 'ana'")
        .await;
    let bob = server.plain("/tea?name=bob").await;
    let mut beth = server.plain("/tea?name=beth").await;
    browser
        .see("document.getElementById('people-count').textContent === '3'")
        .await;
    browser.press("#text", "hi @b").await;
    browser
        .see("document.querySelectorAll('#offers li').length === 2")
        .await;
    let second = browser
        .run("return document.querySelectorAll('#offers li')[1].innerText")
        .await;
    browser.press("#text", DOWN).await;
    browser.press("#text", &format!("{ENTER}!{ENTER}")).await;
    let line = format!("ana: hi {} !", second.as_str().expect("a name"));
    assert_eq!(beth.text().await, line);
    browser
        .press("#text", &format!("/{ESCAPE}/etc/passwd{ENTER}"))
        .await;
    assert_eq!(beth.text().await, "ana: /etc/passwd");
    // A panel takes the focus and gives it back.
    say(&browser, "/members").await;
    browser
        .see("document.querySelectorAll('#names button').length === 3")
        .await;
    browser
        .see("document.getElementById('people').contains(document.activeElement)")
        .await;
    browser.press("#close", ESCAPE).await;
    browser.see("document.activeElement.id === 'text'").await;
    // The log can be scrolled from the text field.
    browser.press("#text", "\u{e00e}").await;
    browser.see("!document.getElementById('down').hidden").await;
    drop(bob);
    assert_console_empty(&browser).await;
}

#[tokio::test]
async fn an_unfocused_page_notifies_of_new_messages() {
    let server = patient_server().await;
    let url = format!("http://{}/tea", server.addr);
    let browser = enter(&url).await;
    say(&browser, "/name ana").await;
    browser
        .see("document.getElementById('you-name').textContent === 'ana'")
        .await;
    let mut bob = server.plain("/tea?name=bob").await;
    bob.text_after("seen").await;
    shows(&browser, &["seen"]).await;
    let here = browser.window().await;
    browser.run("document.hasFocus = () => false").await;
    bob.text_after("not seen").await;
    browser.see("document.title.startsWith('• ')").await;
    // System notifications appear only if the user turned them on.
    let stand_in = "window.told = []; window.Notification = class { \
        static permission = 'default'; \
        static async requestPermission() { return Notification.permission = 'granted' } \
        constructor(title, {body}) { told.push(`${title}: ${body}`) } }";
    browser.run(stand_in).await;
    bob.text_after("ana, look").await;
    browser.see("document.title.startsWith('(1) ')").await;
    browser.click("[data-panel=you]").await;
    browser.click("#notify").await;
    browser
        .see("Notification.permission === 'granted' && document.getElementById('notify').checked")
        .await;
    browser.click("#close").await;
    bob.text_after("@ana, look again").await;
    browser.see("document.title.startsWith('(2) ')").await;
    let told = browser.run("return told").await;
    assert_eq!(told, json!(["bob in tea: @ana, look again"]));
    let fresh = "document.querySelector('.fresh').parentElement.querySelector('.text').innerText === 'not seen'";
    browser.see(fresh).await;
    browser.switch_to(&here).await;
    browser
        .run("document.hasFocus = () => true; dispatchEvent(new Event('focus'))")
        .await;
    browser
        .see("document.title === 'tea · broadcast-chat'")
        .await;
    browser.see(fresh).await;

    // Messages below the visible part do not scroll the log, and a button leads
    // to them.
    for n in 0..60 {
        bob.text_after(&format!("line {n}")).await;
    }
    browser
        .see("document.getElementById('log').innerText.includes('line 59')")
        .await;
    browser
        .run("document.getElementById('log').scrollTop = 0")
        .await;
    browser.see("!document.getElementById('down').hidden").await;
    bob.text_after("far below").await;
    browser
        .see("document.getElementById('down').innerText.includes('1 new')")
        .await;
    let top = browser
        .run("return document.getElementById('log').scrollTop")
        .await;
    assert_eq!(top, json!(0));
    browser.click("#down").await;
    browser
        .see("document.getElementById('log').innerText.includes('far below')")
        .await;
    browser.see("document.getElementById('down').hidden").await;
    assert_eq!(text(&browser, "title").await, json!("tea · broadcast-chat"));
    assert_console_empty(&browser).await;
}

#[tokio::test]
async fn a_screen_reader_is_told_only_of_new_messages() {
    let server = patient_server().await;
    let url = room(&server).await;
    let addr = server.addr;
    let browser = enter(&url).await;
    let aloud = "document.querySelector('[role=log]').getAttribute('aria-live')";
    browser.see(&format!("{aloud} === 'polite'")).await;
    // Loaded, scrolled and replayed messages are not announced.
    browser
        .run(&format!(
            "window.heard = []; new MutationObserver(changes => {{ for (const change of changes) \
             for (const node of change.addedNodes) if ({aloud} === 'polite') heard.push(node.innerText) }}) \
             .observe(document.querySelector('[role=log]'), {{ childList: true, subtree: true }})"
        ))
        .await;
    let mut bob = server.plain("/tea?name=bob").await;
    bob.text_after("news").await;
    browser.see("heard.length === 1").await;
    drop(bob);
    server.stop().await;
    browser
        .see("document.getElementById('state').dataset.state === 'offline'")
        .await;
    let server = TestServer::start_at(addr).await;
    let mut bob = server.plain("/tea?name=bob").await;
    bob.text_after("said meanwhile").await;
    live(&browser).await;
    browser
        .see("document.getElementById('log').innerText.includes('said meanwhile')")
        .await;
    let heard = browser.run("return heard.length").await;
    assert_eq!(heard, json!(1), "only what was new");
}
