//! Measures the page with many messages; `cargo test --test all page::crowded
//! -- --nocapture` prints the results.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, time::sleep};

use super::{arrive, assert_console_empty, enter};
use crate::{
    foreign::browser::Browser,
    programs::{self, Program},
    support::soon,
};

const MESSAGES: usize = 50_000;

/// The number of a message to search for, far back.
const NEEDLE: usize = 45_000;

/// The document must hold fewer rows than this.
const NEAR: u64 = 150;

async fn fill(addr: SocketAddr, lines: impl Iterator<Item = String>) {
    let args = ["--room", "tea", "--name", "bob", "--quiet"];
    let mut pipe = Program::client(addr, &args);
    let all: String = lines.map(|line| line + "\n").collect();
    let input = pipe.input.as_mut().expect("piped");
    soon("feeding", input.write_all(all.as_bytes()))
        .await
        .expect("it reads");
    assert_eq!(pipe.exit().await, 0);
}

/// Runs `step` in each of `count` frames. Returns the median, p99 and longest
/// frame and the most rows in the document; then the most rows alone.
async fn frames(browser: &Browser, count: usize, step: &str) -> (Value, u64) {
    let script = format!(
        "const log = document.getElementById('log'), times = []; let most = 0, last = performance.now(); \
         return new Promise(done => {{ requestAnimationFrame(function next(now) {{ \
           times.push(now - last); last = now; \
           most = Math.max(most, log.querySelectorAll('.row').length); \
           if (times.length > {count}) {{ times.sort((a, b) => a - b); \
             return done([times[times.length >> 1], times[Math.floor(times.length * 0.99)], times.at(-1), most]); }} \
           {step}; requestAnimationFrame(next); }}) }})"
    );
    let told = browser.run(&script).await;
    let most = told[3].as_u64().expect("a number");
    (told, most)
}

#[tokio::test]
async fn a_room_of_fifty_thousand_messages_scrolls_smoothly() {
    let folder = programs::folder();
    let (_server, addr) = programs::server(folder.path(), &[]).await;
    let words = |n: usize| "word ".repeat(n * 7919 % 50);
    let line = |n: usize| match n {
        NEEDLE => "a needle".to_owned(),
        _ => format!("line {n} {}", words(n)),
    };
    fill(addr, (1..=MESSAGES).map(line)).await;
    let url = format!("http://{addr}/tea");
    let browser = enter(&url).await;
    let painted = browser
        .run("return performance.getEntriesByName('first-contentful-paint')[0].startTime")
        .await;
    println!("first paint after {painted} ms");
    let near = |most: u64| assert!(most < NEAR, "{most} rows are in the document");

    // Scrolling up loads older messages; the visible rows move only by the
    // scrolled distance.
    let scroll = "const seen = [...log.querySelectorAll('.row[data-seq]')].find(row => row.getBoundingClientRect().top > 100); \
        if (window.seen?.isConnected && window.scrolled) { \
          const moved = window.seen.getBoundingClientRect().top - window.top_; \
          window.worst = Math.max(window.worst ?? 0, Math.abs(moved - window.scrolled)); } \
        window.seen = seen; window.top_ = seen.getBoundingClientRect().top; \
        window.scrolled = Math.min(300, log.scrollTop); log.scrollTop -= window.scrolled";
    let (told, most) = frames(&browser, 200, scroll).await;
    println!("scrolling up: frames of {told} ms (median, p99, longest; rows in the document)");
    near(most);
    let worst = browser
        .run("return window.worst")
        .await
        .as_f64()
        .expect("a number");
    assert!(worst < 2.0, "it jumped by {worst} pixels");

    // A search result far back can be opened. (The message is found once it is
    // indexed.)
    let found = "document.getElementById('search-state').textContent";
    loop {
        super::say(&browser, "/search needle").await;
        let told = browser
            .see(&format!("{found} !== 'Searching…' && {found}"))
            .await;
        if told == json!("1 found") {
            break;
        }
    }
    browser.click("#found button").await;
    browser
        .see("document.querySelector('#log .row.found').innerText.includes('a needle')")
        .await;

    // Scroll back to the first message, then down over all loaded messages.
    let all = "return new Promise(done => { const log = document.getElementById('log'); \
         (function on() { const first = log.querySelector('.row[data-seq=\"1\"]'); \
           if (first && log.scrollTop < 60) return done(log.scrollHeight); \
           log.scrollTop = 0; setTimeout(on, 5); })() })";
    browser.patience(120).await;
    let high = browser.run(all).await.as_f64().expect("a height");
    assert!(high > 20.0 * 50_000.0, "{high} pixels for all of them");
    let (told, most) = frames(&browser, 200, "log.scrollTop += 2000").await;
    println!("scrolling down through {MESSAGES}: frames of {told} ms");
    near(most);
    browser
        .run("document.getElementById('log').scrollTop = 1e9")
        .await;
    browser
        .see("document.querySelector('#log .row[data-seq=\"50000\"]')")
        .await;
    assert_console_empty(&browser).await;
    let told = keys_while_much_is_said(&browser, addr).await;
    println!("from a key to its letter at 500 messages a second: {told} ms (median, longest)");
    assert!(told[0].as_f64().expect("a number") < 200.0, "{told}");
}

/// Types while many messages arrive. Returns the median and longest time from a
/// key to its letter.
async fn keys_while_much_is_said(browser: &Browser, addr: SocketAddr) -> Value {
    let near = |most: u64| assert!(most < NEAR, "{most} rows are in the document");
    arrive(browser, &format!("http://{addr}/tea")).await;
    let args = ["--room", "tea", "--name", "bob", "--quiet"];
    let mut pipe = Program::client(addr, &args);
    let mut input = pipe.input.take().expect("piped");
    let flood = tokio::spawn(async move {
        for n in 0.. {
            let line = format!("flood {n}\n");
            if input.write_all(line.repeat(10).as_bytes()).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    browser
        .see("document.querySelector('#log').innerText.includes('flood')")
        .await;
    browser
        .run(
            "window.keys = []; document.getElementById('text').addEventListener('keydown', ({timeStamp}) => \
             requestAnimationFrame(() => setTimeout(() => keys.push(performance.now() - timeStamp))))",
        )
        .await;
    for key in "typed while much is said".chars() {
        browser.press("#text", &key.to_string()).await;
    }
    browser.see("keys.length === 24").await;
    let told = browser
        .run("keys.sort((a, b) => a - b); return [keys[12], keys[23]]")
        .await;
    let shown = browser
        .run("return document.querySelectorAll('#log .row').length")
        .await;
    near(shown.as_u64().expect("a number"));
    let typed = browser
        .run("return document.getElementById('text').value")
        .await;
    assert_eq!(typed, json!("typed while much is said"));
    flood.abort();
    assert_console_empty(browser).await;
    told
}
