//! Serves one request on a connection with hyper, and takes the connection over
//! afterwards.

use std::{
    future::poll_fn,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Either;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    error_filter::{ANSWER_DEADLINE, ErrorFilter},
    route::{Answer, answer},
    state::{HttpState, Scheme},
};
use crate::{hub::Registration, session::SessionRequest};

/// The largest request head, in bytes.
const MAX_HEAD: usize = 8 << 10;

/// The largest number of header lines in the request head.
const MAX_HEADERS: usize = 64;

/// How long the request head may take to arrive.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// Browsers use TLS only for a year (RFC 6797 §6.1).
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// How long the peer has to end its side after the response. Closing at once
/// could reset a connection on which the peer still sends; the reset would
/// discard the response.
const LINGER: Duration = Duration::from_secs(1);

/// How much of a refused request is read until then, in bytes.
const MAX_IGNORED: u64 = 2 << 20;

/// A connection that no longer speaks HTTP: upgraded, or an event stream.
pub struct Upgraded<S> {
    /// The stream of the connection.
    pub stream: S,
    /// Bytes that arrived behind the request, before any that the stream
    /// yields.
    pub early: Bytes,
    /// The session the client asked for.
    pub request: SessionRequest,
}

/// Serves one request. Returns the connection if it becomes a WebSocket or an
/// event stream.
///
/// When `drain` is cancelled, a connection without a complete request head is
/// cut; a request that was read is answered.
pub async fn serve<S>(
    stream: S,
    registration: &Registration,
    state: &HttpState,
    drain: &CancellationToken,
) -> Option<Upgraded<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let claimed = Mutex::new(None);
    let request_read = AtomicBool::new(false);
    let respond = async |request: http::Request<Incoming>| {
        request_read.store(true, Ordering::Relaxed);
        let (head, body) = request.into_parts();
        let take_over = |request: Box<SessionRequest>, stream_head| {
            *claimed.lock().unwrap_or_else(PoisonError::into_inner) = Some((*request, stream_head));
        };
        let record_response = |headers: &mut HeaderMap, status: StatusCode| {
            state.trust.add_cors_headers(&head, headers);
            if state.scheme == (Scheme::Https { only: true }) {
                headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
            }
            state.hub.metrics().answered(status.as_u16());
            let (address, status) = (registration.peer(), status.as_u16());
            debug!(%address, status, "{} {}", head.method, head.uri);
        };
        let mut response = match answer(&head, body, registration, state).await {
            Ok(Answer::Respond(response)) => with_connection_close(response).map(Either::Left),
            Ok(Answer::Lines(response)) => with_connection_close(response).map(Either::Right),
            Ok(Answer::Upgrade(response, request)) => {
                take_over(request, None);
                response.map(Either::Left)
            }
            Ok(Answer::Follow(response, request)) => {
                let mut response = with_connection_close(response);
                record_response(response.headers_mut(), StatusCode::OK);
                take_over(request, Some(encode_head(response.headers())));
                return Err(TAKEN);
            }
            Err(refused) => with_connection_close(Response::from(refused)).map(Either::Left),
        };
        let status = response.status();
        record_response(response.headers_mut(), status);
        Ok(response)
    };
    let service = service_fn(|request| Box::pin(respond(request)));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .half_close(true)
        .serve_connection(
            TokioIo::new(ErrorFilter::new(stream, &request_read)),
            service,
        );
    let cut = async {
        drain.cancelled().await;
        if request_read.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let served = tokio::select! {
        biased;
        served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => served,
        () = cut => return None,
    };
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner().stream;
    let claimed = claimed
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some((request, stream_head)) = claimed {
        let whole = match stream_head {
            None => served.is_ok(),
            Some(head) => {
                let written = async {
                    stream.write_all(&head).await?;
                    stream.flush().await
                };
                let written = timeout(ANSWER_DEADLINE, written).await;
                written.is_ok_and(|written| written.is_ok())
            }
        };
        return whole.then_some(Upgraded {
            stream,
            early: parts.read_buf,
            request,
        });
    }
    let told = async {
        if let Err(error) = &served
            && let Some((status, sentence)) = unreadable(error)
        {
            let answer = state.plain_response(status, sentence);
            stream.write_all(answer.as_bytes()).await?;
        }
        stream.shutdown().await?;
        let mut rest = stream.take(MAX_IGNORED);
        io::copy(&mut rest, &mut io::sink()).await
    };
    // A peer that does not read this in time is cut.
    let _ = timeout(LINGER, told).await;
    None
}

/// The error that keeps hyper from writing a response itself. An event stream
/// has no end that hyper could know.
const TAKEN: &str = "the connection is taken over";

/// Encodes the head of an event-stream response.
fn encode_head(headers: &HeaderMap) -> Vec<u8> {
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The response to a request head that hyper could not read.
fn unreadable(error: &hyper::Error) -> Option<(StatusCode, &'static str)> {
    if error.is_timeout() {
        let text = "The request did not arrive within 10 seconds.";
        Some((StatusCode::REQUEST_TIMEOUT, text))
    } else if error.is_parse_too_large() {
        let text = "The request head is larger than 8 KiB or has more than 64 lines.";
        Some((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text))
    } else if error.is_parse() {
        let text = "This is not an HTTP/1.1 request.";
        Some((StatusCode::BAD_REQUEST, text))
    } else {
        None
    }
}

/// Marks a response as the last one of its connection. hyper's own
/// `keep_alive(false)` would add `close` to upgrades too.
fn with_connection_close<B>(mut response: Response<B>) -> Response<B> {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}
