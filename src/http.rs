//! HTTP on the one port: what a request may ask, and the upgrade, strictly.
//!
//! hyper reads the request and writes the answer; a connection serves one
//! request. Knows nothing of the accept loop.

mod accept;
mod events;
mod excerpt;
mod origin;
mod page;
mod query;
mod room;
mod upgrade;

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts,
};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub use self::origin::Trust;
use self::{accept::Form, query::Query};
use crate::{
    hub::Hub,
    metrics,
    protocol::{Limits, Refusal, RefusalCode, name::RoomName},
    session::{Rates, Visit},
};

/// The largest request head, in bytes.
const MAX_HEAD: usize = 8 << 10;

/// The most header lines in it.
const MAX_HEADERS: usize = 64;

/// Whether the server is well: may be asked at any rate.
const HEALTH: &str = "/-/health";

/// All of this, told to programs.
const OPENAPI: &str = include_str!("http/openapi.json");

/// How long the head may take to arrive.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// How long the peer may take nothing of the answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// How long the peer has to end its side after that. Closing at once would
/// reset the connection where it still sends, and the answer with it.
const LINGER: Duration = Duration::from_secs(1);

/// What requests are answered from.
#[derive(Debug)]
pub struct Site {
    /// The chat.
    pub hub: Hub,
    /// Whose requests are served.
    pub trust: Trust,
    /// What a client may send.
    pub limits: Limits,
    /// How fast, if that is limited.
    pub rates: Option<Arc<Rates>>,
}

/// What comes of a request.
enum Answer {
    /// This, and no more.
    Respond(Response<Full<Bytes>>),
    /// As much of a room as there is.
    Lines(Response<room::Lines>),
    /// This, and then WebSocket.
    Upgrade(Response<Full<Bytes>>, Box<Visit>),
    /// This, and then events for as long as the connection lasts.
    Follow(Response<()>, Box<Visit>),
}

/// A request that cannot be served: a status and a sentence.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    text: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refused {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Refused {
            status,
            text: text.into(),
            header: None,
        }
    }

    fn bad_request(text: impl Into<String>) -> Self {
        Refused::new(StatusCode::BAD_REQUEST, text)
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.code {
            RefusalCode::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            RefusalCode::NameTaken | RefusalCode::NotAllowed => StatusCode::FORBIDDEN,
            RefusalCode::Rate => StatusCode::TOO_MANY_REQUESTS,
            RefusalCode::Busy => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        let refused = Refused::new(status, refusal.text);
        match refusal.retry_ms {
            Some(ms) => refused.with(header::RETRY_AFTER, ms.div_ceil(1000).into()),
            None => refused,
        }
    }
}

impl From<Refused> for Response<Full<Bytes>> {
    fn from(refused: Refused) -> Self {
        let mut response = text(refused.status, refused.text + "\n");
        response.headers_mut().extend(refused.header);
        response
    }
}

/// Ends the connection with this answer. (Were hyper to keep none alive, it
/// would say `close` with an upgrade as well.)
fn last<B>(mut response: Response<B>) -> Response<B> {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    content(status, "text/plain; charset=utf-8", body)
}

fn content(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// A connection that is HTTP's no more: upgraded, or to be told events.
pub struct Upgraded<S> {
    /// The connection.
    pub stream: S,
    /// What came behind the request, before anything else the stream gives.
    pub early: Bytes,
    /// What was asked for.
    pub visit: Visit,
}

/// Serves one request; a connection that asked to be upgraded, or to be told
/// what happens, is handed back.
///
/// Once `drain` is cancelled, a connection that has not made its request is cut;
/// one that has is answered.
pub async fn serve<S>(
    stream: S,
    peer: SocketAddr,
    site: &Site,
    drain: &CancellationToken,
) -> Option<Upgraded<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let visit = Mutex::new(None);
    let asked = AtomicBool::new(false);
    let respond = async |request: http::Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let (head, body) = request.into_parts();
        let leave = |asked: Box<Visit>, told| {
            *visit.lock().unwrap_or_else(PoisonError::into_inner) = Some((*asked, told));
        };
        let answered = |headers: &mut HeaderMap, status: StatusCode| {
            site.trust.allow(&head, headers);
            site.hub.metrics().answered(status.as_u16());
            debug!("{peer}: {} {} is answered {status}", head.method, head.uri);
        };
        let mut response = match answer(&head, body, peer, site).await {
            Ok(Answer::Respond(response)) => last(response).map(Either::Left),
            Ok(Answer::Lines(response)) => last(response).map(Either::Right),
            Ok(Answer::Upgrade(response, asked)) => {
                leave(asked, None);
                response.map(Either::Left)
            }
            Ok(Answer::Follow(response, asked)) => {
                let mut response = last(response);
                answered(response.headers_mut(), StatusCode::OK);
                leave(asked, Some(written(response.headers())));
                return Err(TAKEN);
            }
            Err(refused) => last(Response::from(refused)).map(Either::Left),
        };
        let status = response.status();
        answered(response.headers_mut(), status);
        Ok(response)
    };
    let service = service_fn(|request| Box::pin(respond(request)));
    let wordy = Wordy {
        stream,
        answered: false,
        silenced: false,
        stalled: None,
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .half_close(true)
        .serve_connection(TokioIo::new(wordy), service);
    let cut = async {
        drain.cancelled().await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let served = tokio::select! {
        biased;
        served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => served,
        () = cut => return None,
    };
    let parts = connection.into_parts();
    let Wordy {
        mut stream,
        silenced,
        ..
    } = parts.io.into_inner();
    let visit = visit.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((visit, told)) = visit {
        let whole = match told {
            None => served.is_ok(),
            Some(head) => timeout(ANSWER_DEADLINE, stream.write_all(&head))
                .await
                .is_ok_and(|written| written.is_ok()),
        };
        return whole.then_some(Upgraded {
            stream,
            early: parts.read_buf,
            visit,
        });
    }
    let told = async {
        if let Err(error) = &served
            && let Some((status, sentence)) = unreadable(error, silenced)
        {
            let answer = site.plain_answer(status, sentence);
            stream.write_all(answer.as_bytes()).await?;
        }
        stream.shutdown().await?;
        let mut scrap = vec![0; 4096];
        while stream.read(&mut scrap).await? > 0 {}
        io::Result::Ok(())
    };
    // Whoever does not even listen to this is owed nothing more.
    let _ = timeout(LINGER, told).await;
    None
}

/// What hyper is told of a request that it is not to answer: the answer has no
/// end that hyper would know.
const TAKEN: &str = "the connection is taken over";

/// The head of an answer that goes on for as long as the connection.
fn written(headers: &HeaderMap) -> Vec<u8> {
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

/// The answer to a request head that is none.
fn unreadable(error: &hyper::Error, silenced: bool) -> Option<(StatusCode, &'static str)> {
    if error.is_timeout() {
        let text = "The request did not arrive within 10 seconds.";
        Some((StatusCode::REQUEST_TIMEOUT, text))
    } else if error.is_parse_too_large() {
        let text = "The request head is larger than 8 KiB or has more than 64 lines.";
        Some((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text))
    } else if error.is_parse() || silenced {
        let text = "This is not an HTTP/1.1 request.";
        Some((StatusCode::BAD_REQUEST, text))
    } else {
        None
    }
}

impl Site {
    /// A whole HTTP answer as text, for where no request was read.
    pub fn plain_answer(&self, status: StatusCode, sentence: &str) -> String {
        self.hub.metrics().answered(status.as_u16());
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{sentence}\n",
            sentence.len() + 1
        )
    }
}

/// hyper answers a head it cannot read with a bare status. This holds that
/// answer back, so that one with a sentence can be given.
struct Wordy<S> {
    stream: S,
    /// The request was read: what is written now is ours.
    answered: bool,
    /// hyper's own answer was held back.
    silenced: bool,
    /// While the peer takes nothing: when it is given up.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// The mark hyper's bare answers bear and ours do not: they have no body.
const BARE: &[u8] = b"content-length: 0\r\n";

impl<S> Wordy<S> {
    fn is_bare(&mut self, head: &[u8]) -> bool {
        if self.answered {
            return false;
        }
        let refusal = head.starts_with(b"HTTP/1.1 4") || head.starts_with(b"HTTP/1.0 4");
        let bare = refusal && head.windows(BARE.len()).any(|part| part == BARE);
        self.answered = !bare;
        self.silenced |= bare;
        bare
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wordy<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wordy<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_bare(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        if let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, buf) {
            self.stalled = None;
            return Poll::Ready(written);
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(ANSWER_DEADLINE)));
        stalled
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Decides on a request.
async fn answer(
    head: &Parts,
    body: Incoming,
    peer: SocketAddr,
    site: &Site,
) -> Result<Answer, Refused> {
    let path = head.uri.path();
    if let Some(rates) = &site.rates
        && path != HEALTH
    {
        rates.request(peer)?;
    }
    let host = site.trust.check_host(head)?;
    // `*`, or a host alone (RFC 9112 §3.2).
    if !path.starts_with('/') {
        return Err(Refused::bad_request("The target of a request is a path."));
    }
    if let Some(own) = path.strip_prefix("/-/") {
        let page = match own {
            "health" => text(StatusCode::OK, "ok\n".into()),
            "ready" if site.hub.is_ready() => text(StatusCode::OK, "ready\n".into()),
            "ready" => {
                let text = "The log cannot be written just now, or the server goes away.";
                return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, text));
            }
            "metrics" => content(StatusCode::OK, metrics::CONTENT_TYPE, site.hub.figures()),
            "openapi.json" => content(StatusCode::OK, "application/json", OPENAPI),
            _ => {
                let asset = own.strip_prefix(page::ASSETS);
                let asset = asset.and_then(|name| page::asset(head, name));
                asset
                    .ok_or_else(|| Refused::new(StatusCode::NOT_FOUND, "There is nothing here."))?
            }
        };
        allow_only(head, &[Method::GET, Method::HEAD], "GET, HEAD")?;
        return Ok(Answer::Respond(page));
    }
    let room = RoomName::from_path(path)
        .map_err(|rule| Refused::new(StatusCode::NOT_FOUND, format!("No such room: {rule}.")))?;
    if upgrade::is_asked(head) {
        let (response, visit) = upgrade::accept(head, peer, room)?;
        site.trust.check_origin(head, &host)?;
        site.hub.admits(&visit.author())?;
        return Ok(Answer::Upgrade(response, Box::new(visit)));
    }
    if site.trust.is_preflight(head) {
        return Ok(Answer::Respond(text(StatusCode::NO_CONTENT, String::new())));
    }
    allow_only(
        head,
        &[Method::GET, Method::HEAD, Method::POST],
        "GET, HEAD, POST",
    )?;
    let query = || Query::of(head);
    let hub = &site.hub;
    if head.method == Method::POST {
        site.trust.check_origin(head, &host)?;
        return room::publish(head, body, peer, site, room, query()?)
            .await
            .map(Answer::Respond);
    }
    let form = accept::form(head)?;
    let query = match form {
        // Whatever else it was given, the page tells how it is done.
        Form::Page => Query::default(),
        _ => query()?,
    };
    let mut answer = match form {
        Form::Page => Answer::Respond(page::document(head, &host, &room)),
        Form::Json => Answer::Respond(excerpt::page(hub, &room, &query).await?),
        Form::Lines if query.is_for_a_page() => {
            Answer::Respond(excerpt::lines(hub, &room, &query).await?)
        }
        Form::Lines => Answer::Lines(room::lines(hub, room, &query).await?),
        Form::Events => {
            let (response, visit) = events::follow(head, peer, room, query)?;
            hub.admits(&visit.author())?;
            if head.method == Method::HEAD {
                Answer::Respond(response.map(|()| Full::default()))
            } else {
                Answer::Follow(response, Box::new(visit))
            }
        }
    };
    let headers = match &mut answer {
        Answer::Respond(response) | Answer::Upgrade(response, _) => response.headers_mut(),
        Answer::Lines(response) => response.headers_mut(),
        Answer::Follow(response, _) => response.headers_mut(),
    };
    headers.append(header::VARY, HeaderValue::from_static("accept"));
    Ok(answer)
}

fn allow_only(head: &Parts, methods: &[Method], named: &'static str) -> Result<(), Refused> {
    if methods.contains(&head.method) {
        return Ok(());
    }
    let text = format!("{} is not done here; {named} are.", head.method);
    Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, text)
        .with(header::ALLOW, HeaderValue::from_static(named)))
}
