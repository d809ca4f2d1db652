//! The usual solution of the exercise: a task for each connection, a
//! `broadcast` channel of `String`, one `send` for each message.
//!
//! Three changes favour it: it prints nothing, it sends small packets at once
//! (`TCP_NODELAY`), and a reader subscribes before its welcome.

use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::broadcast,
};
use tokio_websockets::{Message, ServerBuilder};

use crate::wire;

/// Serves until the process is killed, with a channel of this many messages.
///
/// # Errors
/// Fails if the port cannot be opened, or accepting a connection fails.
pub fn serve(capacity: usize) -> anyhow::Result<()> {
    let listener = wire::listen()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        let (messages, _) = broadcast::channel(capacity);
        loop {
            let (socket, from) = listener.accept().await?;
            let messages = messages.clone();
            // As in the exercise, nothing tracks these tasks.
            #[allow(clippy::disallowed_methods)]
            tokio::spawn(async move {
                // A failed connection ends only itself.
                let _ = converse(socket, &from.to_string(), &messages).await;
            });
        }
    })
}

async fn converse(
    socket: TcpStream,
    from: &str,
    messages: &broadcast::Sender<String>,
) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let (_, mut socket) = ServerBuilder::new().accept(socket).await?;
    // Subscribes before the welcome, though the exercise does it after: the
    // load expects every message from the welcome on.
    let mut said = messages.subscribe();
    socket
        .send(Message::text("Welcome to chat! Type a message"))
        .await?;
    loop {
        tokio::select! {
            received = socket.next() => match received {
                Some(message) => if let Some(text) = message?.as_text() {
                    messages.send(format!("{from}: {text}"))?;
                },
                None => return Ok(()),
            },
            message = said.recv() => socket.send(Message::text(message?)).await?,
        }
    }
}
