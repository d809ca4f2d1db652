//! A certificate is renewed while connections are open.

use rustls::version::TLS13;

use super::{Pair, TlsPeer, TlsServer, connect};
use crate::support::soon;

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_under_1000_connections_loses_none() {
    const COUNT: usize = 1000;
    let server = TlsServer::start().await;
    let mut ana = server.plain("/?name=ana").await;
    let mut peers: Vec<TlsPeer> = Vec::new();
    for _ in 0..COUNT {
        peers.push(server.plain("/").await);
    }
    let renewed = Pair::new();
    server.files.write(&renewed);
    let before = server.current.fingerprint();
    server.reload.send_modify(|_| {});
    soon("the renewal", async {
        while server.current.fingerprint() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Open connections go on, and a new one is shown the new certificate.
    let mut newcomer = connect(server.addr(), &renewed.der, &[&TLS13]).await;
    newcomer.write(b"GET /-/health HTTP/1.0\r\n\r\n").await;
    assert!(newcomer.rest().await.ends_with("ok\n"));
    assert_eq!(ana.text_after("renewed").await, "ana: renewed");
    for peer in &mut peers {
        assert_eq!(peer.text().await, "ana: renewed");
        peer.say("/members").await;
        assert!(peer.text().await.starts_with("* "));
    }
}
