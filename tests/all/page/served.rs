use std::io::Read;

use flate2::read::GzDecoder;

use crate::support::{Peer, TestServer};

/// A response: its head in lower case, and its body.
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn has(&self, line: &str) -> bool {
        self.head.lines().any(|other| other == line)
    }

    /// The value of a header.
    fn value(&self, name: &str) -> &str {
        let mut lines = self.head.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    fn unzipped(&self) -> String {
        let mut text = String::new();
        let mut decoder = GzDecoder::new(&*self.body);
        decoder.read_to_string(&mut text).expect("gzip");
        text
    }
}

async fn get(server: &TestServer, target: &str, headers: &str) -> Answer {
    let host = server.addr;
    let mut peer = Peer::connect(host).await;
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
    peer.write(request.as_bytes()).await;
    let head = peer.head().await;
    let length = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let body = peer.take(length.unwrap_or(0)).await.expect("all of it");
    // Only the names are lowered: values are case-sensitive.
    let small = head.lines().map(|line| {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        format!("{}: {value}\n", name.to_ascii_lowercase())
    });
    Answer {
        head: small.collect(),
        body,
    }
}

const PAGE: &str = "Accept: text/html\r\n";
const ZIPPED: &str = "Accept: text/html\r\nAccept-Encoding: gzip, deflate, br\r\n";

/// The URLs that the page requests.
fn assets(page: &str) -> Vec<String> {
    let requests = ["src=\"", "href=\"/-/assets/"];
    let mut found = Vec::new();
    for request in requests {
        for (at, _) in page.match_indices(request) {
            let rest = &page[at..].split('"').nth(1).expect("a value");
            found.push((*rest).to_owned());
        }
    }
    found
}

#[tokio::test]
async fn the_page_is_one_document_one_style_and_one_module() {
    let server = TestServer::start().await;
    let page = get(&server, "/tea", PAGE).await;
    let zipped = get(&server, "/tea", ZIPPED).await;
    assert!(zipped.has("content-encoding: gzip"), "{}", zipped.head);
    assert_eq!(zipped.unzipped(), page.text());
    let mut total = zipped.body.len();
    let assets = assets(&page.text());
    assert_eq!(assets.len(), 2, "{assets:?}");
    for (asset, kind) in assets.iter().zip(["javascript", "css"]) {
        let plain = get(&server, asset, "").await;
        let zipped = get(&server, asset, "Accept-Encoding: gzip\r\n").await;
        assert_eq!(zipped.unzipped(), plain.text());
        for answer in [&plain, &zipped] {
            assert!(answer.has("cache-control: public, max-age=31536000, immutable"));
            assert!(answer.has("vary: accept-encoding"));
            assert!(answer.has("x-content-type-options: nosniff"));
            assert_eq!(
                answer.value("content-type"),
                format!("text/{kind}; charset=utf-8")
            );
        }
        total += zipped.body.len();
        let other = asset.replace("page-", "page-x");
        assert!(
            get(&server, &other, "")
                .await
                .head
                .starts_with("http/1.1 404")
        );
    }
    println!("document, style and module: {total} bytes");
    assert!(total < 60_000, "{total} bytes");
    for text in ["http://", "https://"] {
        let module = get(&server, &assets[0], "").await.text();
        assert!(!module.contains(&format!("\"{text}")), "nothing foreign");
    }
}

#[tokio::test]
async fn the_document_has_a_strict_policy_and_is_revalidated() {
    let server = TestServer::start().await;
    let page = get(&server, "/tea", PAGE).await;
    let policy = page.value("content-security-policy");
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(
            policy.split(';').any(|part| part.trim() == rule),
            "{policy}"
        );
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
    assert!(page.has("referrer-policy: no-referrer"));
    assert!(page.has("x-content-type-options: nosniff"));
    assert!(page.has("cache-control: no-cache"));
    let varies = |answer: &Answer| {
        ["vary: accept", "vary: accept-encoding"]
            .iter()
            .all(|line| answer.has(line))
    };
    assert!(varies(&page), "{}", page.head);

    let tag = page.value("etag");
    let known = format!("{PAGE}If-None-Match: W/\"x\", {tag}\r\n");
    let unchanged = get(&server, "/tea", &known).await;
    assert!(
        unchanged.head.starts_with("http/1.1 304"),
        "{}",
        unchanged.head
    );
    assert!(unchanged.has(&format!("etag: {tag}")) && varies(&unchanged));
    let other = get(&server, "/coffee", &known).await;
    assert!(other.head.starts_with("http/1.1 200"), "{}", other.head);
}

#[tokio::test]
async fn documents_are_compressed_and_revalidated() {
    let server = TestServer::start().await;
    for target in ["/-/help", "/-/help/protocol"] {
        let page = get(&server, target, PAGE).await;
        let zipped = get(&server, target, ZIPPED).await;
        assert_eq!(zipped.unzipped(), page.text());
        assert!(zipped.has("content-encoding: gzip"), "{}", zipped.head);
        let tag = page.value("etag");
        let known = format!("If-None-Match: {tag}\r\n");
        let unchanged = get(&server, target, &known).await;
        let status = unchanged.head.lines().next().unwrap_or_default();
        assert!(status.starts_with("http/1.1 304"), "{status}");
        for answer in [&page, &zipped, &unchanged] {
            assert!(answer.has("cache-control: no-cache"), "{}", answer.head);
            assert!(answer.has("vary: accept-encoding"), "{}", answer.head);
            assert_eq!(answer.value("etag"), tag);
        }
    }
}

#[tokio::test]
async fn without_scripts_the_page_says_how_to_join() {
    let server = TestServer::start().await;
    let page = get(&server, "/tea", PAGE).await.text();
    let (_, without) = page.split_once("<noscript>").expect("a word");
    let (without, _) = without.split_once("</noscript>").expect("its end");
    for way in [
        format!("curl http://{}/tea", server.addr),
        format!("websocat 'ws://{}/tea", server.addr),
        format!("client -- http://{}/tea", server.addr),
    ] {
        assert!(without.contains(&way), "{way}");
    }
}
