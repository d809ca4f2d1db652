//! A chat below a path of another site.

use std::net::SocketAddr;

use crate::{
    programs::{Program, folder, server_command},
    support::{Peer, upgraded},
};

/// A server below `/chat`.
async fn below_chat(folder: &std::path::Path) -> (Program, SocketAddr) {
    let mut server = Program::start(&mut server_command(folder, &["--prefix", "/chat/"]));
    let line = server.line().await;
    let addr = line.strip_prefix("listening on ").expect(&line);
    let addr: SocketAddr = addr.parse().expect("an address");
    let open = server.line().await;
    assert_eq!(open, format!("open http://{addr}/chat/ in a browser"));
    (server, addr)
}

async fn get(addr: SocketAddr, target: &str, accept: &str) -> String {
    let mut peer = Peer::connect(addr).await;
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
    peer.write(request.as_bytes()).await;
    peer.rest().await
}

/// The URLs that a page has in its attributes.
fn urls(page: &str) -> Vec<&str> {
    let after = ["href=\"", "src=\""].into_iter();
    let found = after.flat_map(|before| page.split(before).skip(1));
    found.filter_map(|rest| rest.split('"').next()).collect()
}

// Verified to fail when the paths of assets begin with `/-/`.
#[tokio::test]
async fn all_urls_of_pages_stand_below_the_base_path() {
    let folder = folder();
    let (_server, addr) = below_chat(folder.path()).await;
    let mut pages = vec!["/chat".to_owned(), "/chat/".into(), "/chat/tea".into()];
    pages.push("/chat/-/help".into());
    let mut seen = 0;
    while let Some(page) = pages.get(seen).cloned() {
        seen += 1;
        let answer = get(addr, &page, "text/html").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{page}: {answer}");
        for url in urls(&answer) {
            if ["#", "data:", "http://", "https://"]
                .iter()
                .any(|other| url.starts_with(other))
            {
                continue;
            }
            assert!(url.starts_with("/chat/"), "{page}: {url}");
            let target = url.split('#').next().unwrap_or_default().to_owned();
            if !pages.contains(&target) {
                pages.push(target);
            }
        }
    }
    assert!(seen > 10, "assets and documents: {pages:?}");
    let page = get(addr, "/chat/tea", "text/html").await;
    assert!(page.contains("http://localhost/chat/tea"), "{page}");
    assert!(page.contains("data-base=\"/chat\""), "{page}");
    let description = get(addr, "/chat/-/openapi.json", "*/*").await;
    assert!(description.contains(r#""servers": [{ "url": "/chat/" }]"#));
}

// Verified to fail when other paths are served too.
#[tokio::test]
async fn outside_of_the_base_path_is_nothing() {
    let folder = folder();
    let (_server, addr) = below_chat(folder.path()).await;
    for (target, status) in [
        ("/chat/-/health", "200"),
        ("/chat/tea", "200"),
        ("/-/health", "404"),
        ("/tea", "404"),
        ("/", "404"),
        ("/chats", "404"),
        ("/chat/a/b", "404"),
        ("/chat/-/help/none", "404"),
    ] {
        let answer = get(addr, target, "*/*").await;
        assert_eq!(&answer[9..12], status, "{target}");
    }
    let mut peer = upgraded(addr, "/chat/tea", &[]).await;
    peer.text().await;
    let mut client = Program::start(
        crate::programs::client_command().args([&format!("http://{addr}/chat/tea"), "--name=ana"]),
    );
    client.type_line("hi").await;
    assert_eq!(peer.text().await, "ana: hi");
    assert_eq!(client.exit().await, 0);
}
