use serde_json::json;

use super::{LINES, assert_console_empty, enter, patient_server, say};
use crate::{foreign::browser::Browser, support::Peer};

/// Inputs that have injected scripts into other pages; each would call `alert`.
const CORPUS: [&str; 26] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<iframe srcdoc=\"<script>alert(1)</script>\"></iframe>",
    "<iframe src=javascript:alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<math><mtext></mtext><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
    "<details open ontoggle=alert(1)>",
    "<style>@import 'http://evil.example/x.css'</style>",
    "<base href=http://evil.example/>",
    "<meta http-equiv=refresh content=0;url=http://evil.example/>",
    "<form action=http://evil.example/><input autofocus onfocus=alert(1)>",
    "\"><script>alert(1)</script>",
    "'-alert(1)-'",
    "</textarea><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "--><script>alert(1)</script><!--",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "javascript:alert(1)",
    "http://a.example/\"onmouseover=\"alert(1)",
    "https://a.example/<script>alert(1)</script>",
    "https://user:alert(1)@evil.example/",
    "data:text/html,<script>alert(1)</script>",
    "__proto__",
];

/// Markdown that makes other pages run scripts, load images or hide where a link
/// leads, and what the log shows of it.
const MARKED: [(&str, &str); 12] = [
    ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
    (
        "![x](http://evil.example/x.png)",
        "![x](http://evil.example/x.png)",
    ),
    ("![x\"onerror=\"alert(1)](x)", "![x\"onerror=\"alert(1)](x)"),
    (
        "[https://bank.example](https://evil.example)",
        "[https://bank.example](https://evil.example)",
    ),
    ("<javascript:alert(1)>", "<javascript:alert(1)>"),
    (
        "[x]: javascript:alert(1)\n[x]",
        "[x]: javascript:alert(1)\n[x]",
    ),
    ("**<script>alert(1)</script>**", "<script>alert(1)</script>"),
    (
        "`<img src=x onerror=alert(1)>`",
        "<img src=x onerror=alert(1)>",
    ),
    (
        "```\n</code></pre><script>alert(1)</script>\n```",
        "</code></pre><script>alert(1)</script>Copy",
    ),
    ("> <svg onload=alert(1)>", "<svg onload=alert(1)>"),
    (
        "- <iframe src=javascript:alert(1)>",
        "• <iframe src=javascript:alert(1)>",
    ),
    (
        "**https://user:alert(1)@evil.example/** javascript:alert(1)@evil.example",
        "**https://user:alert(1)@evil.example/** javascript:alert(1)@evil.example",
    ),
];

#[tokio::test]
async fn hostile_texts_never_become_markup() {
    let server = patient_server().await;
    let mut peer = server.plain("/tea?name=constructor").await;
    // A third arrives in the backlog, a third live, and the user sends the
    // rest.
    let (before, rest) = CORPUS.split_at(9);
    let (live, own) = rest.split_at(9);
    for text in before {
        peer.text_after(text).await;
    }
    let url = format!(
        "http://{}/tea?name=<script>alert(1)</script>#<img src=x onerror=alert(1)>",
        server.addr
    );
    let browser = enter(&url).await;
    browser
        .run("window.alert = () => { window.ran = true }")
        .await;
    for text in live {
        peer.text_after(text).await;
    }
    topic(&mut peer, "<img src=x onerror=alert(1)>").await;
    for text in own {
        say(&browser, text).await;
    }
    browser
        .see(&format!("{LINES}.length === {}", CORPUS.len()))
        .await;
    let all = json!(CORPUS).to_string();
    assert_eq!(
        browser
            .run(&format!("return JSON.stringify({LINES})"))
            .await,
        json!(all)
    );
    assert_eq!(
        super::text(&browser, "#topic").await,
        json!("<img src=x onerror=alert(1)>")
    );

    // The same in search results, lists and error messages.
    say(&browser, "/search alert").await;
    browser
        .see("document.querySelectorAll('#found li').length > 20")
        .await;
    for wrong in [
        "/join <script>alert(1)</script>",
        "/<script>alert(1)</script>",
    ] {
        say(&browser, wrong).await;
        browser.see("!document.getElementById('told').hidden").await;
        browser
            .run("document.getElementById('text').value = ''")
            .await;
    }
    say(&browser, "/rooms").await;
    browser.see("document.querySelector('#room-list p')").await;
    assert_harmless(&browser).await;
}

#[tokio::test]
async fn hostile_markup_shows_where_it_leads() {
    let server = patient_server().await;
    let mut peer = server.plain("/tea?name=constructor").await;
    let browser = enter(&format!("http://{}/tea", server.addr)).await;
    browser
        .run("window.alert = () => { window.ran = true }")
        .await;
    for (text, _) in MARKED {
        peer.text_after(text).await;
    }
    let shown = json!(MARKED.map(|(_, shown)| shown)).to_string();
    browser
        .see(&format!("JSON.stringify({LINES}) === {shown:?}"))
        .await;
    assert_harmless(&browser).await;
}

/// Asserts that no text became an element that loads or runs anything.
async fn assert_harmless(browser: &Browser) {
    let made = "return [...document.querySelectorAll('main *, aside *, header *')].filter(e => \
        e.matches('script, img, iframe, object, embed, style, base, meta, form:not([id]), math') || \
        [...e.attributes].some(a => a.name.startsWith('on')) || \
        e.matches('a') && !/^(https?|mailto):$/.test(e.protocol)).map(e => e.outerHTML)";
    assert_eq!(browser.run(made).await, json!([]));
    let foreign = "return [...document.querySelectorAll('#log a')].filter(a => \
        a.rel !== 'noopener noreferrer' || a.href.includes('alert(1)@')).map(a => a.outerHTML)";
    assert_eq!(browser.run(foreign).await, json!([]));
    assert_eq!(browser.run("return window.ran ?? null").await, json!(null));
    assert_console_empty(browser).await;
}

async fn topic(peer: &mut Peer, topic: &str) {
    peer.say(&format!("/topic {topic}")).await;
    while !peer.text().await.contains("topic") {}
}

#[tokio::test]
async fn the_policy_forbids_every_other_script() {
    let server = patient_server().await;
    let browser = enter(&format!("http://{}/tea", server.addr)).await;
    // The policy must block an attacker even after a successful injection.
    let reported = "const told = []; return new Promise(done => setTimeout(() => { \
        document.addEventListener('securitypolicyviolation', e => told.push(e.effectiveDirective)); \
        const tried = []; const attempt = f => { try { f() } catch (e) { tried.push(e.name) } }; \
        attempt(() => { document.body.insertAdjacentHTML('beforeend', '<b>x</b>') }); \
        attempt(() => eval('1')); \
        const script = document.createElement('script'); attempt(() => { script.text = 'window.ran = 1' }); \
        const image = new Image(); image.src = '/-/health'; \
        const style = document.createElement('style'); style.textContent = 'b{}'; document.head.append(style); \
        fetch('http://127.0.0.1:1/').catch(() => {}); \
        setTimeout(() => done([window.ran ?? null, tried, [...new Set(told)].sort()]), 200) }))";
    let told = browser.run(reported).await;
    assert_eq!(told[0], json!(null));
    assert_eq!(
        told[1],
        json!(["TypeError", "EvalError", "TypeError"]),
        "{told}"
    );
    for directive in [
        "connect-src",
        "img-src",
        "require-trusted-types-for",
        "style-src-elem",
    ] {
        let directives = told[2].as_array().expect("a list");
        assert!(
            directives.contains(&json!(directive)),
            "{directive}: {told}"
        );
    }
}
