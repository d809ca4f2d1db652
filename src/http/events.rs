//! A room as server-sent events: a subscriber that only reads.

use http::{HeaderName, HeaderValue, Response, header, request::Parts};

use super::{
    answer::Refused,
    origin::single_header,
    query::{Query, number},
};
use crate::protocol::Seq;

/// The number of the last event a browser received before it reconnected.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Returns the response head, and moves the start of the query to the last
/// event received. The session follows the head on the connection.
///
/// # Errors
///
/// Fails with 400 if the query asks for a history page or `Last-Event-ID` is
/// invalid.
pub(super) fn follow(head: &Parts, query: &mut Query) -> Result<Response<()>, Refused> {
    if query.is_for_a_page() {
        return Err(Refused::bad_request(
            "An event stream has no end: before and limit are for other forms; ?backlog=20 begins with the last 20 messages.",
        ));
    }
    // Newer than `after` in the URL, which a browser repeats unchanged.
    if let Some(seen) = single_header(head, &LAST_EVENT_ID)?
        && !seen.is_empty()
    {
        query.start.after = Some(Seq(number("Last-Event-ID", seen)?));
    }
    let mut response = Response::new(());
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Without this, nginx would buffer the events.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}
