//! Connecting to a server: name lookup, connection, TLS and upgrade.

mod connect_error;
mod head_recorder;

use std::{io, pin::Pin, sync::Arc, time::Duration};

use futures_util::StreamExt;
use http::{
    HeaderName, HeaderValue,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::{Instant, timeout, timeout_at},
};
use tokio_websockets::{ClientBuilder, Config, Error, Limits, WebSocketStream, upgrade};

pub use self::connect_error::ConnectError;
use self::{connect_error::ConnectErrorKind, head_recorder::HeadRecorder};
use super::{address::Target, client_event::Frame, end::End, pass::Pass, trust};
use crate::protocol::{Event, SUBPROTOCOL, Welcome, json, secret::Secret};

/// How long the name lookup and the connection may take together.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// How long TLS may take. The upgrade and the welcome together have the same
/// time again.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// The bytes gathered for one write to the socket.
const WRITE_BYTES: usize = 64 * 1024;

/// The largest frame accepted from a server, in bytes: room for the largest
/// message of a server with generous limits, cleaned and escaped.
const MAX_FRAME: usize = 16 * 1024 * 1024;

/// A byte stream that can carry the handshake.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

pub(super) type ClientSocket = WebSocketStream<Box<dyn ByteStream>>;

/// A byte stream that is being opened.
type Opening = Pin<Box<dyn Future<Output = Result<Box<dyn ByteStream>, ConnectErrorKind>> + Send>>;

/// An attempt to connect.
pub(super) type Connecting =
    Pin<Box<dyn Future<Output = Result<NewConnection, ConnectError>> + Send>>;

/// A new connection and its welcome.
pub(super) struct NewConnection {
    pub(super) socket: ClientSocket,
    pub(super) frame: Frame,
    pub(super) welcome: Welcome,
}

/// Opens connections to one server.
pub(super) struct Connector {
    open: Box<dyn FnMut() -> Opening + Send>,
    server: Arc<str>,
    host: Arc<str>,
}

impl Connector {
    /// A connector over TCP, with TLS if the address asks for it.
    pub(super) fn tcp(target: &Target) -> Self {
        let place = target.clone();
        let open = move || -> Opening {
            let place = place.clone();
            Box::pin(async move {
                let stream = dial(&place).await?;
                let secured = timeout(HANDSHAKE_DEADLINE, secure(&place, stream)).await;
                secured.unwrap_or(Err(ConnectErrorKind::NoAnswer(HANDSHAKE_DEADLINE)))
            })
        };
        Self::with(Box::new(open), target)
    }

    /// A connector over the streams that `open` returns.
    pub(super) fn over<F, S>(mut open: impl FnMut() -> F + Send + 'static, target: &Target) -> Self
    where
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let open = move || -> Opening {
            let opening = open();
            Box::pin(async move {
                let opened = timeout(CONNECT_DEADLINE, opening).await;
                let stream = opened
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                    .map_err(ConnectErrorKind::Unreachable)?;
                Ok(Box::new(stream) as Box<dyn ByteStream>)
            })
        };
        Self::with(Box::new(open), target)
    }

    fn with(open: Box<dyn FnMut() -> Opening + Send>, target: &Target) -> Self {
        Connector {
            open,
            server: target.to_string().into(),
            host: target.host.as_str().into(),
        }
    }

    /// The server as `host:port`.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Connects, requests a room by its URI, and waits for the welcome. The
    /// secret proves that the client owns the name in the URI. A pass lets the
    /// client in.
    pub(super) fn connect(
        &mut self,
        uri: String,
        secret: Option<&Secret>,
        pass: Option<&Pass>,
    ) -> Connecting {
        let (secret, pass) = (secret.cloned(), pass.cloned());
        let opening = (self.open)();
        let (server, host) = (Arc::clone(&self.server), Arc::clone(&self.host));
        Box::pin(async move {
            let arrival = async {
                let stream = opening.await?;
                let entered = enter(stream, &uri, secret.as_ref(), pass.as_ref());
                timeout(HANDSHAKE_DEADLINE, entered)
                    .await
                    .unwrap_or(Err(ConnectErrorKind::NoAnswer(HANDSHAKE_DEADLINE)))
            };
            arrival
                .await
                .map_err(|why| ConnectError { server, host, why })
        })
    }
}

/// Upgrades a stream, and waits for the welcome.
async fn enter(
    stream: Box<dyn ByteStream>,
    uri: &str,
    secret: Option<&Secret>,
    pass: Option<&Pass>,
) -> Result<NewConnection, ConnectErrorKind> {
    let (stream, head) = HeadRecorder::new(stream);
    let mut builder = builder()
        .uri(uri)
        .map_err(|error| ConnectErrorKind::Handshake(error.to_string()))?
        .add_header(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(SUBPROTOCOL),
        )?;
    let proof = secret.map(|secret| format!("Bearer {}", secret.reveal()));
    if let Some(proof) = proof.and_then(|proof| HeaderValue::try_from(proof).ok()) {
        builder = builder.add_header(AUTHORIZATION, proof)?;
    }
    if let Some((name, token)) = pass.map(Pass::header)
        && let Ok(token) = HeaderValue::try_from(token)
    {
        builder = builder.add_header(HeaderName::from_static(name), token)?;
    }
    let stream = Box::new(stream) as Box<dyn ByteStream>;
    let entered = builder.connect_on(stream).await;
    let (mut socket, answer) = entered.map_err(|error| match error {
        Error::Upgrade(upgrade::Error::DidNotSwitchProtocols(status)) => {
            ConnectErrorKind::Status(status, head.retry_after())
        }
        error => error.into(),
    })?;
    drop(head);
    let confirmed = answer.headers().get(SEC_WEBSOCKET_PROTOCOL);
    if confirmed.is_none_or(|protocol| protocol != SUBPROTOCOL) {
        return Err(ConnectErrorKind::OtherChat(
            "did not confirm the subprotocol chat.v1",
        ));
    }
    let frame = loop {
        match socket.next().await {
            Some(Ok(frame)) if frame.is_text() => break Frame(frame),
            Some(Ok(frame)) if frame.is_binary() => {
                return Err(ConnectErrorKind::OtherChat("began with a binary message"));
            }
            Some(Ok(frame)) => {
                if let Some(end) = End::closed(&frame) {
                    return Err(ConnectErrorKind::Ended(end));
                }
            }
            Some(Err(error)) => return Err(ConnectErrorKind::Ended(error.into())),
            None => return Err(ConnectErrorKind::Ended(End::cut_off())),
        }
    };
    let Ok(Event::Welcome(welcome)) = json::parse_event(frame.text()) else {
        return Err(ConnectErrorKind::OtherChat("did not begin with a welcome"));
    };
    Ok(NewConnection {
        socket,
        frame,
        welcome,
    })
}

fn builder() -> ClientBuilder<'static> {
    ClientBuilder::new()
        .limits(Limits::default().max_payload_len(Some(MAX_FRAME)))
        .config(Config::default().flush_threshold(WRITE_BYTES))
}

/// Connects to the first address of the host that accepts. Each address gets an
/// equal share of the time left.
async fn dial(target: &Target) -> Result<TcpStream, ConnectErrorKind> {
    let deadline = Instant::now() + CONNECT_DEADLINE;
    let found = timeout_at(deadline, lookup_host((target.host.as_str(), target.port))).await;
    let addresses: Vec<_> = match found {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(ConnectErrorKind::UnknownHost(error.to_string())),
        Err(_) => {
            return Err(ConnectErrorKind::UnknownHost(
                "no name server answered".to_owned(),
            ));
        }
    };
    let mut why = ConnectErrorKind::UnknownHost("it has none".to_owned());
    let mut untried = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let share = deadline.saturating_duration_since(Instant::now()) / untried.max(1);
        untried -= 1;
        why = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Typed lines are small and must arrive at once. If this fails,
                // they only arrive later.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => ConnectErrorKind::Unreachable(error),
            Err(_) => ConnectErrorKind::Unreachable(io::ErrorKind::TimedOut.into()),
        };
    }
    Err(why)
}

async fn secure(
    target: &Target,
    stream: TcpStream,
) -> Result<Box<dyn ByteStream>, ConnectErrorKind> {
    if !target.tls {
        return Ok(Box::new(stream));
    }
    // This fails if a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let host = target.host.split('%').next().unwrap_or(&target.host);
    let chosen = trust::tls_config(&target.trust);
    let wrap = async {
        let connector = match chosen.map_err(io::Error::other)? {
            Some(config) => tokio_websockets::Connector::Rustls(Arc::new(config).into()),
            None => tokio_websockets::Connector::new()?,
        };
        connector.wrap(host, stream).await
    };
    match wrap.await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(Error::NoNativeRootCertificatesFound(_)) => Err(ConnectErrorKind::Tls(
            "this machine trusts no certificates".to_owned(),
        )),
        Err(Error::Io(error)) if trust::is_unknown_issuer(&error) => {
            Err(ConnectErrorKind::UnknownIssuer)
        }
        Err(error) => Err(ConnectErrorKind::Tls(error.to_string())),
    }
}
