//! A room without a WebSocket: its last lines by GET, a message by POST.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body;
use tokio::sync::mpsc;
use tracing::{error, info};

use super::{Refused, content, origin::only, query::Query, text};
use crate::{
    history::{Draft, StoreError},
    hub::{Hub, Reply, Submission},
    protocol::{
        Author, Kind, Limits, MAX_BACKLOG, Refusal, RefusalCode,
        format::Format,
        name::{MessageId, RoomName},
        text::Text,
    },
};

/// How many lines a GET gives where it does not say after which.
const LINES: u32 = 50;

/// A header for publishing again without doubling.
const IDEMPOTENCY_KEY: header::HeaderName = header::HeaderName::from_static("idempotency-key");

/// The room's last lines, or those after a number; at most [`MAX_BACKLOG`].
pub(super) async fn lines(
    hub: &Hub,
    room: &RoomName,
    query: &Query,
) -> Result<Response<Full<Bytes>>, Refused> {
    let history = hub.history();
    let head = history.head();
    let mut after = if let Some(after) = query.start.after {
        after
    } else {
        let count = query.start.backlog.unwrap_or(LINES).min(MAX_BACKLOG);
        history
            .before_last(room, count)
            .await
            .map_err(|why| unreadable(&why))?
    };
    let format = if query.numbered {
        Format::NumberedPlain
    } else {
        Format::Plain
    };
    let mut body = String::new();
    let mut count = 0;
    while after < head && count < MAX_BACKLOG {
        let page = history
            .after(room, after)
            .await
            .map_err(|why| unreadable(&why))?;
        let messages = page.runs.iter().flat_map(|run| run.messages());
        for message in messages
            .skip_while(|m| m.seq <= after)
            .take((MAX_BACKLOG - count) as usize)
        {
            format.put_line(&mut body, message);
            body.push('\n');
            count += 1;
        }
        after = page.upto;
    }
    let mut response = text(StatusCode::OK, body);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Publishes the body as one message; answers when it is stored.
pub(super) async fn publish<B>(
    head: &Parts,
    body: B,
    peer: SocketAddr,
    hub: &Hub,
    room: RoomName,
    query: Query,
    limits: Limits,
) -> Result<Response<Full<Bytes>>, Refused>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let id = match only(head, &IDEMPOTENCY_KEY)? {
        // The draft of this header's standard puts it in quotation marks.
        Some(key) => Some(
            key.trim_matches('"')
                .parse::<MessageId>()
                .map_err(|rule| Refused::bad_request(format!("Idempotency-Key: {rule}.")))?,
        ),
        None => None,
    };
    let draft = Draft {
        from: Author {
            name: query.name,
            addr: peer,
        },
        text: read(body, limits).await?,
        room,
        id,
        kind: Kind::Said,
    };
    info!(target: "chat::message", "From client {peer} {:?}", &*draft.text);
    let (reply, mut replies) = mpsc::channel(1);
    let submission = Submission {
        draft,
        reply,
        wants_receipt: true,
    };
    let publisher = hub.publisher().ok_or_else(going_away)?;
    publisher.send(submission).await.map_err(|_| going_away())?;
    drop(publisher);
    match replies.recv().await.ok_or_else(going_away)? {
        Reply::Stored { seq, duplicate, .. } => {
            let duplicate = if duplicate {
                r#","duplicate":true"#
            } else {
                ""
            };
            let body = format!("{{\"seq\":{seq}{duplicate}}}\n");
            Ok(content(StatusCode::OK, "application/json", body))
        }
        Reply::Refused(refusal) => Err(refused(refusal)),
    }
}

/// The text of a body. One newline at its end is the shell's, not the message's.
async fn read<B>(body: B, limits: Limits) -> Result<Text, Refused>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let read = Limited::new(body, limits.text_bytes + 2).collect().await;
    let bytes = read.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let limit = limits.text_bytes;
            let text = format!("The text is too long; at most {limit} bytes are taken.");
            return Refused::new(StatusCode::PAYLOAD_TOO_LARGE, text);
        }
        Refused::bad_request("The body did not arrive whole.")
    })?;
    let bytes = bytes.to_bytes();
    let raw = str::from_utf8(&bytes).map_err(|_| Refused::bad_request("The body is not UTF-8."))?;
    let raw = raw
        .strip_suffix('\n')
        .map_or(raw, |raw| raw.strip_suffix('\r').unwrap_or(raw));
    Text::accept(raw, limits.text_bytes).map_err(refused)
}

fn refused(refusal: Refusal) -> Refused {
    let refused = |status| Refused::new(status, refusal.text);
    match refusal.code {
        RefusalCode::TooLong => refused(StatusCode::PAYLOAD_TOO_LARGE),
        RefusalCode::Busy => {
            refused(StatusCode::SERVICE_UNAVAILABLE).with(header::RETRY_AFTER, "1")
        }
        _ => refused(StatusCode::BAD_REQUEST),
    }
}

fn going_away() -> Refused {
    let text = "The server goes away; send it again in a while.";
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, text).with(header::RETRY_AFTER, "1")
}

fn unreadable(why: &StoreError) -> Refused {
    error!("the log cannot be read: {why}");
    Refused::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "The history cannot be read just now.",
    )
}
