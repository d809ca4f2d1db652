use std::fs;

use serde_json::json;

use super::{arrive, assert_console_empty, draft, enter, patient_server, say, usable::faults};
use crate::foreign::{browser::Browser, program::tool};

/// Whether the menu of a message is open.
const MENU: &str = "!document.getElementById('menu').hidden";

/// The element of a message.
fn row(seq: u64) -> String {
    format!("document.querySelector('#log .row[data-seq=\"{seq}\"]')")
}

/// Opens the menu of a message, and chooses an item of it.
async fn choose(browser: &Browser, seq: u64, label: &str) {
    browser
        .see(&format!("{}.querySelector('.more')", row(seq)))
        .await;
    browser
        .run(&format!("{}.querySelector('.more').click()", row(seq)))
        .await;
    browser.see(MENU).await;
    let item = format!(
        "[...menu.querySelectorAll('button')].find((one) => one.textContent === '{label}')"
    );
    browser.see(&item).await;
    browser.run(&format!("{item}.click()")).await;
    browser.see("document.getElementById('menu').hidden").await;
}

/// Presses a key where the focus is.
async fn key(browser: &Browser, key: &str) {
    let (code, text) = match key {
        "Enter" => (13, Some("\r")),
        "Escape" => (27, None),
        _ => (40, None),
    };
    for kind in ["keyDown", "keyUp"] {
        let text = text.filter(|_| kind == "keyDown");
        let event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text.unwrap_or_default()});
        browser.devtools("Input.dispatchKeyEvent", event).await;
    }
}

/// Opens the menu of the first message with the keyboard.
async fn press_more(browser: &Browser) {
    let focus = format!("{}.querySelector('.more').focus()", row(1));
    browser.run(&focus).await;
    key(browser, "Enter").await;
    browser.see(MENU).await;
}

async fn named(browser: &Browser, name: &str) {
    say(browser, &format!("/name {name}")).await;
    let named = format!("document.getElementById('you-name').textContent === '{name}'");
    browser.see(&named).await;
}

// Verified to fail when a change is not shown.
#[tokio::test]
async fn a_message_is_answered_corrected_and_erased() {
    let server = patient_server().await;
    let url = format!("http://{}/tea", server.addr);
    let (ana, bob) = tokio::join!(enter(&url), enter(&url));
    named(&ana, "ana").await;
    named(&bob, "bob").await;
    say(&ana, "tea at vife").await;

    choose(&bob, 1, "Reply").await;
    bob.see("!document.getElementById('regarding').hidden")
        .await;
    say(&bob, "at five?").await;
    let quote = format!("{}.querySelector('.quote').innerText", row(2));
    for browser in [&ana, &bob] {
        browser
            .see(&format!("{quote} === 'ana: tea at vife'"))
            .await;
    }
    bob.see("document.getElementById('regarding').hidden").await;

    choose(&ana, 1, "Edit").await;
    assert_eq!(draft(&ana).await, json!("tea at vife"));
    ana.run("document.getElementById('text').value = ''").await;
    say(&ana, "tea at five").await;
    let edited = format!(
        "{}.querySelector('.text').innerText === 'tea at five (edited)'",
        row(1)
    );
    for browser in [&ana, &bob] {
        browser.see(&edited).await;
        browser
            .see(&format!("{quote} === 'ana: tea at five'"))
            .await;
        browser
            .see(&format!("{}.querySelector('.edited').title", row(1)))
            .await;
    }
    // Only the author is offered to correct and erase.
    bob.run(&format!("{}.querySelector('.more').click()", row(1)))
        .await;
    bob.see(MENU).await;
    let items =
        "return [...menu.querySelectorAll('button')].map((one) => one.textContent).slice(5)";
    assert_eq!(
        bob.run(items).await,
        json!(["Reply", "React…", "Copy link"])
    );

    choose(&bob, 1, "👍").await;
    let reaction = format!("{}.querySelector('.reactions button')", row(1));
    ana.see(&format!(
        "{reaction}.innerText === '👍 1' && {reaction}.title === 'bob'"
    ))
    .await;
    ana.run(&format!("{reaction}.click()")).await;
    for (browser, own) in [(&ana, "true"), (&bob, "true")] {
        browser
            .see(&format!(
                "{reaction}.innerText === '👍 2' && {reaction}.title === 'bob, ana'"
            ))
            .await;
        let pressed = format!("{reaction}.getAttribute('aria-pressed') === '{own}'");
        browser.see(&pressed).await;
    }
    bob.run(&format!("{reaction}.click()")).await;
    ana.see(&format!(
        "{reaction}.innerText === '👍 1' && {reaction}.title === 'ana'"
    ))
    .await;

    // The URL of a message leads to it, and a quoted line does, too.
    arrive(&bob, &format!("{url}?at=2")).await;
    bob.see(&format!("{}.classList.contains('found')", row(2)))
        .await;
    bob.see(&edited).await;
    bob.run(&format!("{}.querySelector('.quote').click()", row(2)))
        .await;
    bob.see(&format!("{}.classList.contains('found')", row(1)))
        .await;

    choose(&ana, 1, "Delete").await;
    for browser in [&ana, &bob] {
        browser
            .see(&format!("{}.innerText.includes('erased')", row(1)))
            .await;
        browser
            .see(&format!("!{}.querySelector('.quote')", row(2)))
            .await;
    }
    let words = "return document.body.innerText.includes('tea at')";
    assert_eq!(bob.run(words).await, json!(false));
    for browser in [&ana, &bob] {
        assert_console_empty(browser).await;
    }
}

#[tokio::test]
async fn the_menu_of_a_message_works_with_the_keyboard() {
    let axe = tool("node/node_modules/axe-core/axe.min.js");
    let axe = fs::read_to_string(axe).expect("\"./check tools\" installs it");
    let server = patient_server().await;
    let ana = enter(&format!("http://{}/tea", server.addr)).await;
    ana.run(&axe).await;
    named(&ana, "ana").await;
    say(&ana, "one").await;
    ana.see(&format!("{}.querySelector('.receipt')", row(1)))
        .await;
    say(&ana, "/react +1").await;
    say(&ana, "/reply two").await;
    ana.see(&format!("{}.querySelector('.quote')", row(3)))
        .await;
    press_more(&ana).await;
    assert_eq!(faults(&ana).await, json!([]), "with the menu");
    ana.see("document.activeElement.getAttribute('role') === 'menuitem'")
        .await;
    key(&ana, "Escape").await;
    ana.see(
        "document.getElementById('menu').hidden && document.activeElement.className === 'more'",
    )
    .await;
    press_more(&ana).await;
    for _ in 0..8 {
        key(&ana, "ArrowDown").await;
    }
    ana.see("document.activeElement.textContent === 'Edit'")
        .await;
    key(&ana, "Enter").await;
    ana.see("!document.getElementById('regarding').hidden")
        .await;
    assert_eq!(draft(&ana).await, json!("one"));
    assert_eq!(faults(&ana).await, json!([]), "while correcting");
    key(&ana, "Escape").await;
    ana.see("document.getElementById('regarding').hidden").await;
    assert_eq!(draft(&ana).await, json!(""));
    assert_console_empty(&ana).await;
}
