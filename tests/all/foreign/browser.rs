//! Headless Chromium, driven over the W3C WebDriver protocol. WebDriver is JSON
//! over HTTP to a `chromedriver` of our own.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{sleep, timeout},
};

use super::program::{Program, command, script};
use crate::support::{PATIENCE, Peer};

/// Limits the browsers that run at the same time: each is a dozen processes.
/// The limit exceeds the two that one test needs.
static PLACES: Semaphore = Semaphore::const_new(4);

/// The interval between checks of a condition.
const LOOKED: Duration = Duration::from_millis(15);

pub(crate) struct Browser {
    _driver: Program,
    port: u16,
    session: String,
    /// The browser's profile; dropped after the driver, because the browser
    /// writes to it.
    profile: TempDir,
    _place: SemaphorePermit<'static>,
}

/// A handle to a browser window.
pub(crate) struct Window(String);

/// Starts a driver; returns it and its port.
async fn driver(folder: &Path) -> (Program, u16) {
    // It takes a free IPv4 port and needs the same IPv6 port. If another
    // program has that one, the driver exits.
    for _ in 0..10 {
        let mut chromedriver = command("chromedriver");
        chromedriver.arg("--port=0").env("TMPDIR", folder);
        let mut driver = Program::start(chromedriver);
        while let Some(line) = driver.line().await {
            if let Some((_, port)) = line.rsplit_once("started successfully on port ") {
                let port = port.trim_end_matches('.').parse().expect("a port");
                return (driver, port);
            }
        }
    }
    panic!("no driver starts");
}

impl Browser {
    /// Starts a browser with an empty page.
    pub(crate) async fn start() -> Self {
        let place = PLACES.acquire().await.expect("never closed");
        let profile = tempfile::tempdir().expect("a folder");
        let (driver, port) = driver(profile.path()).await;
        let mut browser = Browser {
            _driver: driver,
            port,
            session: String::new(),
            profile,
            _place: place,
        };
        let profile = browser.profile.path().display();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--no-proxy-server",
                "--disable-dev-shm-usage", format!("--user-data-dir={profile}/profile"),
                // Otherwise Chromium asks the user before a page from another
                // network may reach this machine. These tests need the server's
                // own refusal.
                "--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets",
            ]},
        }}});
        let session = browser.call("/session", &wanted).await;
        let id = session["sessionId"].as_str().expect("a session");
        browser.session = format!("/session/{id}");
        browser
    }

    /// Sends a command to the driver.
    async fn call(&self, path: &str, body: &Value) -> Value {
        self.request("POST", path, &body.to_string()).await
    }

    async fn get(&self, path: &str) -> Value {
        self.request("GET", path, "").await
    }

    async fn request(&self, method: &str, path: &str, body: &str) -> Value {
        let (head, mut answer) = self.answer(method, path, body).await;
        assert!(head.starts_with("http/1.1 200"), "{path} {body}: {answer}");
        answer["value"].take()
    }

    /// Returns the driver's response, success or not.
    async fn answer(&self, method: &str, path: &str, body: &str) -> (String, Value) {
        let mut driver = Peer::connect(([127, 0, 0, 1], self.port).into()).await;
        let head = format!(
            "{method} {}{path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            self.session,
            self.port,
            body.len()
        );
        driver.write((head + body).as_bytes()).await;
        let head = driver.head().await.to_ascii_lowercase();
        let length = head.lines().find_map(|l| l.strip_prefix("content-length:"));
        let length = length.and_then(|l| l.trim().parse().ok());
        let answer = driver.take(length.expect("a length")).await;
        let answer = serde_json::from_slice(&answer.expect("all of it")).expect("JSON");
        (head, answer)
    }

    /// Opens a page and injects the chat script.
    pub(crate) async fn open(&self, url: &str) {
        self.visit(url).await;
        let chat = std::fs::read_to_string(script("browser_chat.js")).expect("a script");
        self.run(&chat).await;
    }

    /// Opens a page.
    pub(crate) async fn visit(&self, url: &str) {
        self.call("/url", &json!({"url": url})).await;
    }

    /// Waits until an expression is true in the page; returns its value.
    pub(crate) async fn see(&self, truth: &str) -> Value {
        let script = format!("try {{ return ({truth}) || null }} catch {{ return null }}");
        let look = json!({"script": script, "args": []}).to_string();
        let seen = async {
            loop {
                // During a navigation there is no page to query.
                let (_, found) = self.answer("POST", "/execute/sync", &look).await;
                if !found["value"].is_null() && found["value"]["error"].is_null() {
                    return found["value"].clone();
                }
                sleep(LOOKED).await;
            }
        };
        if let Ok(seen) = timeout(PATIENCE, seen).await {
            return seen;
        }
        panic!("{truth} did not happen; there is {}", self.state().await)
    }

    /// The page's state for a failure message: its text, and whether the
    /// browser draws it.
    async fn state(&self) -> Value {
        let script = "const done = arguments[0]; \
            const tell = drawn => done({drawn, visible: document.visibilityState, \
              state: document.getElementById('state')?.dataset.state, text: document.body.innerText, \
              log: (l => l && [l.scrollTop, l.clientHeight, l.scrollHeight])(document.getElementById('log'))}); \
            requestAnimationFrame(() => tell(true)); setTimeout(() => tell(false), 2000)";
        let look = json!({"script": script, "args": []}).to_string();
        self.answer("POST", "/execute/async", &look).await.1
    }

    /// Sends keys to the element of a selector.
    pub(crate) async fn press(&self, selector: &str, keys: &str) {
        let element = self.element(selector).await;
        self.call(&format!("{element}/value"), &json!({"text": keys}))
            .await;
    }

    /// Sets how many seconds a script may take.
    pub(crate) async fn patience(&self, seconds: u32) {
        self.call("/timeouts", &json!({"script": seconds * 1000}))
            .await;
    }

    pub(crate) async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.call(&format!("{element}/click"), &json!({})).await;
    }

    async fn element(&self, selector: &str) -> String {
        let wanted = json!({"using": "css selector", "value": selector});
        let found = self.call("/element", &wanted).await;
        let id = found.as_object().and_then(|found| found.values().next());
        format!("/element/{}", id.and_then(Value::as_str).expect("an id"))
    }

    /// Sends a `DevTools` command to Chromium.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.call("/goog/cdp/execute", &body).await
    }

    /// Runs a script in the pages of this window before their own scripts.
    pub(crate) async fn before_pages(&self, script: &str) {
        let command = "Page.addScriptToEvaluateOnNewDocument";
        self.devtools(command, json!({"source": script})).await;
    }

    /// Opens another window of the same browser and switches to it.
    pub(crate) async fn open_window(&self) -> Window {
        let window = self.call("/window/new", &json!({"type": "window"})).await;
        let window = Window(window["handle"].as_str().expect("a handle").to_owned());
        self.switch_to(&window).await;
        window
    }

    /// Returns the first window of the browser.
    pub(crate) async fn window(&self) -> Window {
        let handles = self.get("/window/handles").await;
        Window(handles[0].as_str().expect("a handle").to_owned())
    }

    /// Waits for a window that the page opened, and returns it.
    pub(crate) async fn opened_window(&self, opener: &Window) -> Window {
        loop {
            let handles = self.get("/window/handles").await;
            let handles = handles.as_array().expect("handles").iter();
            let mut others = handles.filter_map(Value::as_str);
            if let Some(other) = others.find(|handle| *handle != opener.0) {
                return Window(other.to_owned());
            }
            sleep(LOOKED).await;
        }
    }

    /// Closes the current window.
    pub(crate) async fn close_window(&self) {
        self.request("DELETE", "/window", "").await;
    }

    pub(crate) async fn switch_to(&self, window: &Window) {
        self.call("/window", &json!({"handle": window.0})).await;
    }

    /// Runs a script in the page; returns its result.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.call("/execute/sync", &json!({"script": script, "args": []}))
            .await
    }

    /// Waits for the next event of the injected chat script.
    pub(crate) async fn told(&self) -> Value {
        let script = "told(arguments[0])";
        self.call("/execute/async", &json!({"script": script, "args": []}))
            .await
    }

    /// The console messages since the last call: errors and policy violations.
    pub(crate) async fn console(&self) -> Vec<String> {
        let entries = self.call("/se/log", &json!({"type": "browser"})).await;
        let entries = entries.as_array().expect("a list");
        entries.iter().map(|e| e["message"].to_string()).collect()
    }
}
