//! The way to a server: name, connection, TLS, upgrade, and a sentence for each
//! that fails.

use std::{fmt, io, sync::Arc, time::Duration};

use http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::{Instant, timeout, timeout_at},
};
use tokio_websockets::{ClientBuilder, Config, Connector, Error, Limits, WebSocketStream, upgrade};

use super::{Client, End, address::Target, one_line};
use crate::protocol::SUBPROTOCOL;

/// How long finding the host and connecting to it may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// How long TLS, the upgrade and the welcome may take together.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// How much is handed to the socket at once, in bytes.
const WRITE_BYTES: usize = 64 * 1024;

/// The largest frame taken from a server, in bytes: the largest message of one
/// with generous limits, cleaned and escaped.
const MAX_FRAME: usize = 16 * 1024 * 1024;

/// Any stream of bytes the handshake can be spoken on.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

pub(super) type Socket = WebSocketStream<Box<dyn Transport>>;

/// Connects to a room, and waits until the server has said welcome.
pub async fn connect(target: &Target) -> Result<Client, ConnectError> {
    let server: Arc<str> = target.to_string().into();
    let failed = |why| ConnectError {
        server: Arc::clone(&server),
        host: target.host.clone(),
        why,
    };
    let stream = dial(target).await.map_err(failed)?;
    timeout(HANDSHAKE_DEADLINE, async {
        let stream = secure(target, stream).await?;
        let (socket, answer) = builder()
            .uri(&target.uri.to_string())
            .map_err(|error| Why::Handshake(error.to_string()))?
            .add_header(
                SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_static(SUBPROTOCOL),
            )?
            .connect_on(stream)
            .await?;
        let confirmed = answer.headers().get(SEC_WEBSOCKET_PROTOCOL);
        if confirmed.is_none_or(|protocol| protocol != SUBPROTOCOL) {
            return Err(Why::OtherChat("did not confirm the subprotocol chat.v1"));
        }
        Client::welcomed(socket, Arc::clone(&server)).await
    })
    .await
    .unwrap_or(Err(Why::NoAnswer))
    .map_err(failed)
}

/// Begins a conversation on a stream on which the upgrade is already done;
/// `server` is what messages call it.
pub async fn over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    server: &str,
) -> Result<Client, ConnectError> {
    let stream: Box<dyn Transport> = Box::new(stream);
    let socket = builder().take_over(stream);
    timeout(HANDSHAKE_DEADLINE, Client::welcomed(socket, server.into()))
        .await
        .unwrap_or(Err(Why::NoAnswer))
        .map_err(|why| ConnectError {
            server: server.into(),
            host: server.to_owned(),
            why,
        })
}

fn builder() -> ClientBuilder<'static> {
    ClientBuilder::new()
        .limits(Limits::default().max_payload_len(Some(MAX_FRAME)))
        .config(Config::default().flush_threshold(WRITE_BYTES))
}

/// Tries every address of the host, each with its share of the time left.
async fn dial(target: &Target) -> Result<TcpStream, Why> {
    let deadline = Instant::now() + CONNECT_DEADLINE;
    let found = timeout_at(deadline, lookup_host((target.host.as_str(), target.port))).await;
    let addresses: Vec<_> = match found {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(Why::UnknownHost(error.to_string())),
        Err(_) => return Err(Why::UnknownHost("no name server answered".to_owned())),
    };
    let mut why = Why::UnknownHost("it has none".to_owned());
    let mut untried = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let share = deadline.saturating_duration_since(Instant::now()) / untried.max(1);
        untried -= 1;
        why = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Lines typed are small and are to be seen at once. Without
                // it they are merely later.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => Why::Unreachable(error),
            Err(_) => Why::Unreachable(io::ErrorKind::TimedOut.into()),
        };
    }
    Err(why)
}

async fn secure(target: &Target, stream: TcpStream) -> Result<Box<dyn Transport>, Why> {
    if !target.tls {
        return Ok(Box::new(stream));
    }
    // An error says that there is one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let host = target.host.split('%').next().unwrap_or(&target.host);
    let wrap = async { Connector::new()?.wrap(host, stream).await };
    match wrap.await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(Error::NoNativeRootCertificatesFound(_)) => {
            Err(Why::Tls("this machine trusts no certificates".to_owned()))
        }
        Err(error) => Err(Why::Tls(error.to_string())),
    }
}

/// Why there is no conversation. Its text is one sentence that says what to
/// check.
#[derive(Debug)]
pub struct ConnectError {
    server: Arc<str>,
    host: String,
    why: Why,
}

#[derive(Debug)]
pub(super) enum Why {
    /// The name has no address.
    UnknownHost(String),
    /// No connection.
    Unreachable(io::Error),
    /// A connection, but no answer in time.
    NoAnswer,
    /// A connection, but no TLS.
    Tls(String),
    /// An answer in HTTP that does not upgrade.
    Status(u16),
    /// An answer in something else.
    NotHttp,
    /// No answer, because the connection ended.
    HungUp(String),
    /// An upgrade that is none.
    Handshake(String),
    /// A WebSocket server that speaks another language.
    OtherChat(&'static str),
    /// It is the chat, and it ended the conversation before it began.
    Ended(End),
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        match error {
            Error::Upgrade(upgrade::Error::DidNotSwitchProtocols(status)) => Why::Status(status),
            Error::Upgrade(upgrade::Error::Parsing(_)) => Why::NotHttp,
            Error::Io(error) => Why::HungUp(error.to_string()),
            error => Why::Handshake(error.to_string()),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = &self.server;
        match &self.why {
            Why::UnknownHost(why) => {
                let why = why
                    .strip_prefix("failed to lookup address information: ")
                    .unwrap_or(why);
                write!(
                    f,
                    "no address is known for {} ({}): is the name spelled right?",
                    self.host,
                    one_line(why)
                )
            }
            Why::Unreachable(error) => {
                let kind = error.kind();
                match kind {
                    io::ErrorKind::ConnectionRefused => write!(
                        f,
                        "nothing listens on {server} ({kind:?}): is the server on another port?"
                    ),
                    io::ErrorKind::TimedOut => write!(
                        f,
                        "{server} does not answer ({kind:?}): is the address right, and does no firewall stand between?"
                    ),
                    io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => write!(
                        f,
                        "no way leads to {server} ({kind:?}): is this machine on the same network?"
                    ),
                    _ => write!(
                        f,
                        "{server} cannot be reached ({}): is the address right?",
                        one_line(&error.to_string())
                    ),
                }
            }
            Why::NoAnswer => write!(
                f,
                "{server} takes connections but said nothing for {} seconds: is it a chat server?",
                HANDSHAKE_DEADLINE.as_secs()
            ),
            Why::Tls(why) => write!(
                f,
                "no secure connection to {server} ({}): does it speak TLS, with a certificate for {}?",
                one_line(why),
                self.host
            ),
            Why::Status(status) => {
                write!(f, "{server} answers HTTP {status}")?;
                f.write_str(match status {
                    400 => ": it does not take this request",
                    401 => ": it wants to know who asks",
                    403 => ": it does not let this client in",
                    404 => " and has no such room: is it the chat server?",
                    421 => ": it does not go by this name, try its IP address",
                    426 => ": it speaks another version of WebSocket",
                    429 => ": too many connections come from here, try later",
                    503 => ": it is full or going away, try later",
                    _ => " but is no WebSocket server",
                })?;
                write!(f, " (DidNotSwitchProtocols({status}))")
            }
            Why::NotHttp => write!(
                f,
                "{server} answers, but not in HTTP: is the chat on another port, or behind wss://?"
            ),
            Why::HungUp(why) => write!(
                f,
                "{server} ended the connection without an answer ({}): is it a chat server?",
                one_line(why)
            ),
            Why::Handshake(why) => write!(
                f,
                "{server} answers the WebSocket handshake wrongly ({}): is it a chat server?",
                one_line(why)
            ),
            Why::OtherChat(why) => write!(
                f,
                "{server} is a WebSocket server, but not this chat: it {why}"
            ),
            Why::Ended(end) => write!(
                f,
                "the server at {server} went away before it said welcome ({})",
                one_line(&end.to_string())
            ),
        }
    }
}

impl std::error::Error for ConnectError {}
