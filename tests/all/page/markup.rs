use serde_json::json;

use super::{assert_console_empty, enter, patient_server, say, shows};

#[tokio::test]
async fn long_code_is_folded_and_copied_whole() {
    let server = patient_server().await;
    let mut bob = server.plain("/tea?name=bob").await;
    let code: Vec<String> = (1..=20).map(|n| format!("\tline {n}")).collect();
    let code = code.join("\n");
    let browser = enter(&format!("http://{}/tea", server.addr)).await;
    bob.text_after(&format!("look:\n```rust\n{code}\n```"))
        .await;
    let lines = "document.querySelector('.code code')?.textContent.split('\\n').length";
    browser.see(&format!("{lines} === 15")).await;
    let font =
        "getComputedStyle(document.querySelector('.code code')).fontFamily.includes('monospace')";
    browser.see(font).await;
    let copied = "navigator.clipboard.writeText = async text => { window.copied = text }";
    browser.run(copied).await;
    browser.click(".copy").await;
    browser
        .see("document.querySelector('.copy').textContent === 'Copied'")
        .await;
    assert_eq!(browser.run("return copied").await, json!(code));
    // Pages loaded over plain HTTP from another host have no clipboard.
    let without = "Object.defineProperty(navigator, 'clipboard', {value: undefined}); copied = ''; \
        document.execCommand = () => { copied = String(getSelection()) }";
    browser.run(without).await;
    browser.click(".copy").await;
    browser.see("copied").await;
    assert_eq!(browser.run("return copied").await, json!(code));
    browser.see(&format!("{lines} === 15")).await;

    browser.click(".fold").await;
    browser.see(&format!("{lines} === 20")).await;
    // The log stays at its end, and the code stays unfolded when it is drawn again.
    browser.see("document.getElementById('down').hidden").await;
    say(&browser, "/name ana").await;
    browser
        .see("document.getElementById('you-name').textContent === 'ana'")
        .await;
    browser.see(&format!("{lines} === 20")).await;
    browser.click(".fold").await;
    browser.see(&format!("{lines} === 15")).await;
    assert_console_empty(&browser).await;
}

#[tokio::test]
async fn lists_quotes_and_emphasis_are_elements() {
    let server = patient_server().await;
    let mut bob = server.plain("/tea?name=bob").await;
    let browser = enter(&format!("http://{}/tea", server.addr)).await;
    let text =
        "**so** and *so* and `so`\n> said\n1. one\n2. two\nask ana@a.example or www.a.example";
    bob.text_after(text).await;
    browser.see("document.querySelector('#log .text li')").await;
    let parts = "return ['strong', 'em', 'div > code', 'blockquote', 'li'] \
        .map(part => document.querySelector(`#log .text ${part}`)?.textContent)";
    assert_eq!(
        browser.run(parts).await,
        json!(["so", "so", "so", "said", "1. one"])
    );
    let links = "return [...document.querySelectorAll('#log .text a')].map(link => link.href)";
    assert_eq!(
        browser.run(links).await,
        json!(["mailto:ana@a.example", "https://www.a.example/"])
    );
    // A message that is not stored yet looks as it will.
    say(&browser, "**mine**").await;
    browser
        .see("document.querySelector('#log .own strong')?.textContent === 'mine'")
        .await;
    shows(
        &browser,
        &[
            "so and so and sosaid1. one2. twoask ana@a.example or www.a.example",
            "mine",
        ],
    )
    .await;
    assert_console_empty(&browser).await;
}
