//! A proxy that cuts connections.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// A proxy to the server. It cuts a quarter of its connections at a time.
pub(super) struct Proxy {
    pub(super) addr: SocketAddr,
    quarters: Arc<Mutex<[CancellationToken; 4]>>,
}

impl Proxy {
    pub(super) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("its address");
        let quarters: Arc<Mutex<[CancellationToken; 4]>> = Arc::default();
        let all = Arc::clone(&quarters);
        tokio::spawn(async move {
            for n in 0.. {
                let (mut client, _) = listener.accept().await.expect("a connection");
                let cut = all.lock().expect("no panic")[n % 4].clone();
                tokio::spawn(cut.run_until_cancelled_owned(async move {
                    // If the server does not listen, the client's connection
                    // ends.
                    let mut server = TcpStream::connect(server).await?;
                    client.set_nodelay(true)?;
                    server.set_nodelay(true)?;
                    copy_bidirectional(&mut client, &mut server).await
                }));
            }
        });
        Proxy { addr, quarters }
    }

    pub(super) fn cut(&self, quarter: usize) {
        std::mem::take(&mut self.quarters.lock().expect("no panic")[quarter]).cancel();
    }
}
