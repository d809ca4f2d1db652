//! A room without a WebSocket: GET returns its last lines, POST publishes a
//! message.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use hyper::body::{Body, Frame};
use tracing::{error, info};

use super::{
    answer::{Refused, content},
    entry::unauthorized,
    posted::{self, Form},
    query::Query,
    state::HttpState,
};
use crate::{
    fanout::{FeedPage, History},
    hub::{Hub, NameUse, Receipts, Registration, Reply, Submission, WantedReplies},
    log::Draft,
    protocol::{
        Author, ConnectionId, Event, MAX_BACKLOG, OwnerNumber, Refusal, RefusalCode, Seq,
        format::Format, name::RoomName, plain,
    },
    store::StoreError,
};

/// How many lines a GET returns if neither `after` nor `backlog` is given.
const LINES: u32 = 50;

/// How much of the response is prepared at a time, in bytes. A client that does
/// not read holds up to this much memory.
const CHUNK: usize = 32 << 10;

/// Returns the room's last lines, or all lines after a number.
///
/// # Errors
///
/// Fails with 503 if the message store cannot be read.
pub(super) async fn lines(
    hub: &Hub,
    room: RoomName,
    owner: Option<OwnerNumber>,
    query: &Query,
) -> Result<Response<LinesBody>, Refused> {
    let history = hub.history().clone();
    let head = history.head();
    let mut prepared = String::new();
    let replay = history.replay(&query.start);
    let after = if let Some(after) = replay.after {
        let gap = replay.gap.as_ref().and_then(plain::event);
        prepared.extend(gap.map(|line| line + "\n"));
        after
    } else {
        let count = query.start.backlog.unwrap_or(LINES).min(MAX_BACKLOG);
        history
            .backlog_start(&room, count)
            .await
            .map_err(|why| unreadable(&why))?
    };
    let mut response = Response::new(LinesBody {
        prepared,
        hub: hub.clone(),
        owner,
        history,
        room,
        format: query.line_format(),
        after,
        head,
        reading: None,
    });
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A read of a page in progress.
type PageRead = Pin<Box<dyn Future<Output = Result<FeedPage, StoreError>> + Send>>;

/// A response body of a room's lines, read from the history as fast as the
/// client takes them.
pub(super) struct LinesBody {
    /// Text that is ready to be sent.
    prepared: String,
    hub: Hub,
    /// The owner number of the reader, if the room is private.
    owner: Option<OwnerNumber>,
    history: History,
    room: RoomName,
    format: Format,
    /// The number up to which the lines are in `prepared` or were sent.
    after: Seq,
    /// The number at which the body ends.
    head: Seq,
    reading: Option<PageRead>,
}

impl Body for LinesBody {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        let lines = &mut *self;
        while lines.after < lines.head && lines.prepared.len() < CHUNK {
            let page = lines.reading.get_or_insert_with(|| {
                let (history, room, after) =
                    (lines.history.clone(), lines.room.clone(), lines.after);
                Box::pin(async move { history.messages(&room, after).await })
            });
            let page = ready!(page.as_mut().poll(cx));
            lines.reading = None;
            let page = page?;
            // The reader may have been removed from the room meanwhile.
            if let Err(refusal) = lines.hub.check_access(&lines.room, lines.owner) {
                let line = plain::event(&Event::Refused(refusal));
                lines.prepared.extend(line.map(|line| line + "\n"));
                lines.after = lines.head;
                break;
            }
            if let Some((hole, next)) = page.gap()
                && hole.upto > lines.after
            {
                let gap = Event::Gap {
                    after: lines.after,
                    next,
                    reason: hole.reason,
                };
                if let Some(line) = plain::event(&gap) {
                    lines.prepared.push_str(&line);
                    lines.prepared.push('\n');
                }
                lines.after = hole.upto;
            }
            let messages = page.room_batches.iter().flat_map(|run| run.messages());
            let mut whole = true;
            let given = lines.after;
            for message in messages.skip_while(|message| message.seq <= given) {
                if lines.prepared.len() >= CHUNK {
                    whole = false;
                    break;
                }
                lines.format.put_line(&mut lines.prepared, message);
                lines.prepared.push('\n');
                lines.after = message.seq;
            }
            if whole {
                lines.after = page.upto;
            }
        }
        let chunk = std::mem::take(&mut lines.prepared);
        Poll::Ready((!chunk.is_empty()).then(|| Ok(Frame::data(chunk.into()))))
    }
}

/// Publishes the body as one message; responds once it is stored.
///
/// # Errors
///
/// Fails with a status and a sentence if the request is invalid or the message
/// is refused.
pub(super) async fn publish<B>(
    head: &Parts,
    body: B,
    registration: &Registration,
    state: &HttpState,
    room: RoomName,
    (query, name_use): (Query, Option<NameUse>),
) -> Result<Response<Full<Bytes>>, Refused>
where
    B: Body<Data = Bytes>,
{
    let form = Form::of(head)?;
    let peer = registration.peer();
    registration.check_mute(query.name.as_ref())?;
    let posted = posted::take(head, body, form, registration, state, &room).await?;
    let has_name = query.name.is_some();
    let related = query.kind.relate(query.about, &posted.text, has_name);
    let (kind, about) = related.map_err(|refusal| match refusal.code {
        RefusalCode::BadField => Refused::new(StatusCode::UNPROCESSABLE_ENTITY, refusal.text),
        _ => refusal.into(),
    })?;
    // The name is leased until the message is stored.
    let lease = match &query.name {
        _ if name_use.is_some() => name_use,
        Some(name) => {
            let proves = query.secret.is_some();
            let lease = state.hub.use_name(name, query.secret, registration).await;
            Some(lease.map_err(|refusal| not_yours(refusal, proves))?)
        }
        None => None,
    };
    if let Some(budget) = registration.budget() {
        budget.store(1, posted.text.len())?;
    }
    let ownership = lease.as_ref().and_then(NameUse::ownership);
    let draft = Draft {
        mentions: state.hub.mentioned(&posted.text),
        from: Author {
            name: query.name,
            addr: peer.tag(),
            owner: ownership.map(|ownership| ownership.owner),
        },
        text: posted.text,
        room,
        id: posted.id,
        follows: None,
        kind,
        to: None,
        about,
    };
    state.hub.check_correction(&draft, peer.id).await?;
    info!(target: "chat::message", "From client {peer} {:?}", &*draft.text);
    let reply = if posted.is_guessable {
        store_in_any_case(state, peer.id, draft).await?
    } else {
        store(state, peer.id, draft).await?
    };
    match reply {
        Reply::Stored { seq, duplicate, .. } => {
            let duplicate = if duplicate {
                r#","duplicate":true"#
            } else {
                ""
            };
            let body = format!("{{\"seq\":{seq}{duplicate}}}\n");
            Ok(content(StatusCode::OK, "application/json", body))
        }
        Reply::Refused(refusal) => Err(refusal.into()),
    }
}

/// Has a draft stored, without its id if another message took that: everybody
/// can compute the id of a notification. Returns the reply.
///
/// # Errors
///
/// Fails if the server is shutting down.
pub(super) async fn store_in_any_case(
    state: &HttpState,
    connection: ConnectionId,
    draft: Draft,
) -> Result<Reply, Refused> {
    let without_id = Draft {
        id: None,
        ..draft.clone()
    };
    match store(state, connection, draft).await? {
        Reply::Refused(refusal) if refusal.code == RefusalCode::IdTaken => {
            store(state, connection, without_id).await
        }
        reply => Ok(reply),
    }
}

/// Has a draft stored; returns the reply to it.
async fn store(
    state: &HttpState,
    connection: ConnectionId,
    draft: Draft,
) -> Result<Reply, Refused> {
    let receipts = Receipts::new(connection, WantedReplies::All);
    let submission = Submission::message(draft, receipts.issue());
    let submitter = state.hub.submitter().ok_or_else(going_away)?;
    submitter.send(submission).await.map_err(|_| going_away())?;
    drop(submitter);
    let told = receipts.next(Some(0)).await.ok_or_else(going_away)?;
    Ok(told.reply)
}

/// Maps a taken name to 401 if the request has no secret: the owner could send
/// one.
fn not_yours(refusal: Refusal, proves: bool) -> Refused {
    if proves || refusal.code != RefusalCode::NameTaken {
        return refusal.into();
    }
    unauthorized(refusal.text)
}

fn going_away() -> Refused {
    let text = "The server is shutting down; send the message again in a moment.";
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, text)
        .with(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

pub(super) fn unreadable(why: &StoreError) -> Refused {
    error!("the message store cannot be read: {why}");
    Refused::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "The history cannot be read just now.",
    )
}
