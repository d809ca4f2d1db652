//! History pages of a room, for programs that read past messages.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

use super::{
    answer::{Refused, content, text},
    query::Query,
    room::unreadable,
};
use crate::{
    fanout::{Excerpt, Span},
    hub::Hub,
    protocol::{EXCERPT, Epoch, Event, MAX_EXCERPT, Seq, Slot, name::RoomName, plain},
};

/// The body of the JSON response.
#[derive(Serialize)]
struct Page<'a> {
    epoch: &'a Epoch,
    /// The last number in the log.
    head: Seq,
    /// The hole right after `after`, if messages are missing there.
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<Event>,
    /// Oldest first.
    messages: Vec<Slot>,
    /// Whether there are more messages: after these if `after` was given,
    /// otherwise before them.
    more: bool,
}

/// Returns the requested history page as JSON.
///
/// # Errors
///
/// Fails with 503 if the message store cannot be read.
pub(super) async fn page(
    hub: &Hub,
    room: &RoomName,
    query: &Query,
) -> Result<Response<Full<Bytes>>, Refused> {
    let (head, excerpt) = look_up(hub, room, query).await?;
    let page = Page {
        epoch: hub.history().epoch(),
        head,
        gap: excerpt.gap,
        messages: excerpt.messages,
        more: excerpt.more,
    };
    // Serializing fails only for map keys that are no strings; this has none.
    let body = serde_json::to_string(&page).unwrap_or_default() + "\n";
    Ok(fresh(content(StatusCode::OK, "application/json", body)))
}

/// Returns the requested history page as plain lines.
///
/// # Errors
///
/// Fails with 503 if the message store cannot be read.
pub(super) async fn lines(
    hub: &Hub,
    room: &RoomName,
    query: &Query,
) -> Result<Response<Full<Bytes>>, Refused> {
    let (_, excerpt) = look_up(hub, room, query).await?;
    let mut lines = String::new();
    if let Some(gap) = excerpt.gap.as_ref().and_then(plain::event) {
        lines.extend([&gap, "\n"]);
    }
    for message in excerpt.messages.iter().filter_map(Slot::message) {
        query.lines().put_line(&mut lines, message);
        lines.push('\n');
    }
    Ok(fresh(text(StatusCode::OK, lines)))
}

async fn look_up(hub: &Hub, room: &RoomName, query: &Query) -> Result<(Seq, Excerpt), Refused> {
    let history = hub.history();
    let head = history.head();
    let foreign = query.start.gap(history.epoch(), head);
    let limit = query.limit.or(query.start.backlog).unwrap_or(EXCERPT);
    let span = Span {
        after: match foreign {
            Some(_) => Some(Seq::START),
            None => query.start.after,
        },
        before: query.before,
        limit: limit.min(MAX_EXCERPT),
    };
    let excerpt = history.excerpt(room, span).await;
    let mut excerpt = excerpt.map_err(|why| unreadable(&why))?;
    excerpt.gap = foreign.or(excerpt.gap);
    Ok((head, excerpt))
}

fn fresh(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
