//! A page of a room's history as JSON, for whoever looks things up.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;

use super::{Refused, content, query::Query, room::unreadable};
use crate::{
    history::{Excerpt, Span},
    hub::Hub,
    protocol::{EXCERPT, Epoch, Event, MAX_EXCERPT, Message, Seq, name::RoomName},
};

/// The body of the answer.
#[derive(Serialize)]
struct Page<'a> {
    epoch: &'a Epoch,
    /// The last number of the log.
    head: Seq,
    /// What stood right behind `after` is not to be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<Event>,
    /// Oldest first.
    messages: Vec<Message>,
    /// Whether there are others: after these, if `after` was asked for; if not,
    /// before them.
    more: bool,
}

/// The page a query asks for.
pub(super) async fn page(
    hub: &Hub,
    room: &RoomName,
    query: &Query,
) -> Result<Response<Full<Bytes>>, Refused> {
    let history = hub.history();
    let (epoch, head) = (history.epoch(), history.head());
    let foreign = query.start.gap(epoch, head);
    let span = Span {
        after: match foreign {
            Some(_) => Some(Seq::START),
            None => query.start.after,
        },
        before: query.before,
        limit: query.limit.unwrap_or(EXCERPT).min(MAX_EXCERPT),
    };
    let excerpt = history.excerpt(room, span).await;
    let Excerpt {
        gap,
        messages,
        more,
    } = excerpt.map_err(|why| unreadable(&why))?;
    let page = Page {
        epoch,
        head,
        gap: foreign.or(gap),
        messages,
        more,
    };
    // Only maps with keys that are no strings fail; it has none.
    let body = serde_json::to_string(&page).unwrap_or_default() + "\n";
    let mut response = content(StatusCode::OK, "application/json", body);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
