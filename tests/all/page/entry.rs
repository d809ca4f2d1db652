use serde_json::json;
use tokio::process::Command;

use super::{ENTER, live, shows, usable::faults};
use crate::{
    foreign::{browser::Browser, program::tool},
    programs::{CLIENT, Program, folder, server},
};

/// Waits until the page asks for what it needs to let the user in.
async fn asks(browser: &Browser, title: &str) {
    let shown = "document.getElementById('entry').hidden ? '' : document.getElementById('entry-title').textContent";
    browser.see(&format!("({shown}) === {title:?}")).await;
}

async fn count_of_faults(browser: &Browser) {
    let axe = tool("node/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(axe).expect("\"./check tools\" installs it");
    browser.run(&axe).await;
    assert_eq!(faults(browser).await, json!([]));
}

// Verified to fail when the page does not offer the token.
#[tokio::test]
async fn an_invitation_asks_one_question_and_leaves_the_address_bar() {
    let folder = folder();
    let (mut running, addr) = server(folder.path(), &["--access", "invite"]).await;
    let url = loop {
        let line = running.line().await;
        if line.contains("#invite=") {
            break line;
        }
    };
    let browser = Browser::start().await;
    let room = format!("http://{addr}/lobby");
    browser.visit(&room).await;
    asks(&browser, "This chat is by invitation").await;
    count_of_faults(&browser).await;
    browser.press("#entry-invitation", "no invitation").await;
    browser.press("#entry-name", &format!("ana{ENTER}")).await;
    browser
        .see("document.getElementById('entry-wrong').textContent.startsWith('This is no invitation')")
        .await;

    browser.visit("about:blank").await;
    browser.visit(&url).await;
    asks(&browser, "What shall we call you?").await;
    browser.see("location.href.indexOf('#') < 0").await;
    browser
        .see("document.activeElement.id === 'entry-name'")
        .await;
    count_of_faults(&browser).await;
    browser.press("#entry-name", &format!("ana{ENTER}")).await;
    live(&browser).await;
    browser
        .see("document.getElementById('you-name').textContent === 'ana'")
        .await;
    super::say(&browser, "hello").await;
    shows(&browser, &["hello"]).await;
    // This browser may come back without an invitation.
    browser.visit(&room).await;
    live(&browser).await;
    shows(&browser, &["hello"]).await;

    // Another one is told that the invitation was used.
    let other = Browser::start().await;
    other.visit(&url).await;
    asks(&other, "What shall we call you?").await;
    other.press("#entry-name", &format!("eve{ENTER}")).await;
    asks(&other, "This chat is by invitation").await;
    other
        .see("document.getElementById('entry-why').textContent.startsWith('The invitation or link is not valid')")
        .await;
    let mut client = Command::new(CLIENT);
    let mut client = Program::start(client.arg(&room).env("XDG_STATE_HOME", folder.path()));
    assert_eq!(client.exit().await, 1);
}

// Verified to fail when the page asks nothing after 403.
#[tokio::test]
async fn a_private_room_lets_in_a_member_with_the_secret() {
    let server = super::patient_server().await;
    let mut ana = server.plain("/tea").await;
    ana.text_after("/name ana the-secret-of-ana").await;
    let told = ana.text_after("/private").await;
    assert!(told.starts_with("* tea is private now"), "{told}");
    let browser = Browser::start().await;
    browser.visit(&format!("http://{}/tea", server.addr)).await;
    asks(&browser, "tea does not let you in").await;
    browser
        .see("document.getElementById('entry-why').textContent.startsWith('tea is a private room')")
        .await;
    count_of_faults(&browser).await;
    browser.press("#entry-secret", "the-secret-of-ana").await;
    browser.press("#entry-name", &format!("ana{ENTER}")).await;
    live(&browser).await;
    super::say(&browser, "it is me").await;
    assert_eq!(ana.text().await, "ana: it is me");
    browser
        .run("document.getElementById('people-button').click()")
        .await;
    browser
        .see("document.getElementById('names').textContent.includes('you, owner')")
        .await;
}

// Verified to fail when the page does not offer the token of a link.
#[tokio::test]
async fn a_link_makes_another_browser_the_same_person() {
    let server = super::patient_server().await;
    let room = format!("http://{}/tea", server.addr);
    let here = super::enter(&room).await;
    super::say(&here, "/name ana").await;
    here.see("document.getElementById('you-name').textContent === 'ana'")
        .await;
    super::say(&here, "/link").await;
    here.see("!document.getElementById('link').hidden && document.getElementById('link-code').width > 80")
        .await;
    count_of_faults(&here).await;
    let url = here
        .see("document.getElementById('link-url').textContent")
        .await;
    let there = Browser::start().await;
    there.visit(url.as_str().expect("a URL")).await;
    live(&there).await;
    for _ in 0..2 {
        there
            .see(
                "document.getElementById('you-name').textContent === 'ana' && location.hash === ''",
            )
            .await;
        // The browser keeps the name.
        there.visit(&room).await;
        live(&there).await;
    }
    super::assert_console_empty(&there).await;
}
