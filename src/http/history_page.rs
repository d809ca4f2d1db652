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
    fanout::{HistoryPage, PageQuery},
    hub::Hub,
    protocol::{
        Epoch, Event, HISTORY_PAGE, MAX_HISTORY_PAGE, OwnerNumber, Seq, Slot, name::RoomName, plain,
    },
};

/// The body of the JSON response.
#[derive(Serialize)]
struct PageBody<'a> {
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
/// Fails with 403 if the owner of the name may not be in the room, and with 503
/// if the message store cannot be read.
pub(super) async fn json(
    hub: &Hub,
    room: &RoomName,
    owner: Option<OwnerNumber>,
    query: &Query,
) -> Result<Response<Full<Bytes>>, Refused> {
    let (head, history_page) = read_page(hub, room, owner, query).await?;
    let page = PageBody {
        epoch: hub.history().epoch(),
        head,
        gap: history_page.gap,
        messages: history_page.messages,
        more: history_page.more,
    };
    // Serializing fails only for map keys that are no strings; this has none.
    let body = serde_json::to_string(&page).unwrap_or_default() + "\n";
    Ok(fresh(content(StatusCode::OK, "application/json", body)))
}

/// Returns the requested history page as plain lines.
///
/// # Errors
///
/// Fails with 403 if the owner of the name may not be in the room, and with 503
/// if the message store cannot be read.
pub(super) async fn lines(
    hub: &Hub,
    room: &RoomName,
    owner: Option<OwnerNumber>,
    query: &Query,
) -> Result<Response<Full<Bytes>>, Refused> {
    let (_, history_page) = read_page(hub, room, owner, query).await?;
    let mut lines = String::new();
    if let Some(gap) = history_page.gap.as_ref().and_then(plain::event) {
        lines.extend([&gap, "\n"]);
    }
    for message in history_page.messages.iter().filter_map(Slot::message) {
        query.line_format().put_line(&mut lines, message);
        lines.push('\n');
    }
    Ok(fresh(text(StatusCode::OK, lines)))
}

async fn read_page(
    hub: &Hub,
    room: &RoomName,
    owner: Option<OwnerNumber>,
    query: &Query,
) -> Result<(Seq, HistoryPage), Refused> {
    let history = hub.history();
    let head = history.head();
    let replay = history.replay(&query.start);
    let limit = query.limit.or(query.start.backlog).unwrap_or(HISTORY_PAGE);
    let span = PageQuery {
        after: replay.after,
        before: query.before,
        limit: limit.min(MAX_HISTORY_PAGE),
    };
    let history_page = history.page(room, span).await;
    let mut history_page = history_page.map_err(|why| unreadable(&why))?;
    // Somebody removed meanwhile gets nothing.
    hub.check_access(room, owner)?;
    history_page.gap = replay.gap.or(history_page.gap);
    Ok((head, history_page))
}

fn fresh(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
