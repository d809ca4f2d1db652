//! A room without a WebSocket: GET returns its last lines, POST publishes a
//! message.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use tokio::time::timeout;
use tracing::{error, info};

use super::{
    answer::{Refused, content},
    entry::unauthorized,
    forms,
    origin::single_header,
    query::Query,
    state::HttpState,
};
use crate::{
    fanout::{FeedPage, History},
    hub::{Hub, NameUse, Receipts, Registration, Reply, Submission, WantedReplies, message_cost},
    log::Draft,
    protocol::{
        Author, ConnectionId, Event, Limits, MAX_BACKLOG, OwnerNumber, Refusal, RefusalCode, Seq,
        format::Format,
        misplaced_secret,
        name::{MessageId, RoomName},
        plain,
        text::Text,
    },
    store::StoreError,
};

/// How many lines a GET returns if neither `after` nor `backlog` is given.
const LINES: u32 = 50;

/// How much of the response is prepared at a time, in bytes. A client that does
/// not read holds up to this much memory.
const CHUNK: usize = 32 << 10;

/// The longest object that a program may post, in bytes.
const MAX_OBJECT: usize = 256 << 10;

/// The name of GitHub's event.
const GITHUB_EVENT: header::HeaderName = header::HeaderName::from_static("x-github-event");

/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// The request header for the message id, so that a repeated POST is stored
/// once.
const IDEMPOTENCY_KEY: header::HeaderName = header::HeaderName::from_static("idempotency-key");

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
    let id = match single_header(head, &IDEMPOTENCY_KEY)? {
        // The draft standard of this header puts the value in quotation marks.
        Some(key) => Some(
            key.trim_matches('"')
                .parse::<MessageId>()
                .map_err(|rule| Refused::bad_request(format!("Idempotency-Key: {rule}.")))?,
        ),
        None => None,
    };
    let form = Form::of(head)?;
    let peer = registration.peer();
    registration.check_mute(query.name.as_ref())?;
    let budget = registration.budget();
    if let Some(budget) = budget {
        budget.post()?;
    }
    let mut taken = Vec::new();
    let limits = state.session.get().limits;
    let whole = read(body, form, limits, &mut taken).await;
    if let Some(budget) = budget {
        budget.posted(message_cost(taken.len(), state.hub.readers(&room)));
    }
    whole?;
    let (text, own_id) = match form {
        Form::Text => (text(&taken, limits)?, None),
        Form::Json => object(&taken, head, limits)?,
    };
    let related = query.kind.relate(query.about, &text, query.name.is_some());
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
    if let Some(budget) = budget {
        budget.store(1, text.len())?;
    }
    let ownership = lease.as_ref().and_then(NameUse::ownership);
    let is_of_notification = id.is_none() && own_id.is_some();
    let draft = Draft {
        from: Author {
            name: query.name,
            addr: peer.tag(),
            owner: ownership.map(|ownership| ownership.owner),
        },
        text,
        room,
        id: id.or(own_id),
        follows: None,
        kind,
        to: None,
        about,
    };
    info!(target: "chat::message", "From client {peer} {:?}", &*draft.text);
    let without_id = is_of_notification.then(|| Draft {
        id: None,
        ..draft.clone()
    });
    let mut reply = store(state, peer.id, draft).await?;
    // Everybody can compute the id of a notification. One whose id was taken is
    // stored all the same.
    if let Reply::Refused(refusal) = &reply
        && refusal.code == RefusalCode::IdTaken
        && let Some(draft) = without_id
    {
        reply = store(state, peer.id, draft).await?;
    }
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
    let (reply, _) = receipts.next(Some(0)).await.ok_or_else(going_away)?;
    Ok(reply)
}

/// The form of a body.
#[derive(Clone, Copy)]
enum Form {
    /// The text itself.
    Text,
    /// An object that another program makes.
    Json,
}

impl Form {
    /// The form by the `Content-Type`. `curl` calls a plain text a form of a
    /// browser, so only two types count.
    ///
    /// # Errors
    ///
    /// Fails with 415 for a form with files.
    fn of(head: &Parts) -> Result<Self, Refused> {
        let kind = single_header(head, &header::CONTENT_TYPE)?.unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("multipart/form-data") {
            let text = "The body is the text of one message, or a JSON object, and no form: \
                        curl takes --data in place of --form.";
            return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let is_json = kind.eq_ignore_ascii_case("application/json");
        Ok(if is_json { Form::Json } else { Form::Text })
    }
}

/// Reads the body into `taken`, also as far as it came if it is refused.
async fn read<B>(body: B, form: Form, limits: Limits, taken: &mut Vec<u8>) -> Result<(), Refused>
where
    B: Body<Data = Bytes>,
{
    let (limit, slack) = match form {
        // One newline at the end is dropped.
        Form::Text => (limits.text_bytes, 2),
        Form::Json => (MAX_OBJECT.max(limits.text_bytes), 0),
    };
    let reading = async {
        let mut body = pin!(body);
        while let Some(frame) = body.frame().await {
            let broken = |_| Refused::bad_request("The body did not arrive whole.");
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                taken.extend_from_slice(&data);
            }
            if taken.len() > limit + slack {
                let text = format!("The text is too long; at most {limit} bytes are taken.");
                return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, text));
            }
        }
        Ok(())
    };
    timeout(BODY_DEADLINE, reading).await.unwrap_or_else(|_| {
        let text = "The body did not arrive within 10 seconds.";
        Err(Refused::new(StatusCode::REQUEST_TIMEOUT, text))
    })
}

/// The text of a body. One final newline is dropped: a shell adds it.
///
/// # Errors
///
/// Fails if the body is no text, or if it looks like a command with a secret.
fn text(body: &[u8], limits: Limits) -> Result<Text, Refused> {
    let raw = str::from_utf8(body).map_err(|_| Refused::bad_request("The body is not UTF-8."))?;
    let raw = raw
        .strip_suffix('\n')
        .map_or(raw, |raw| raw.strip_suffix('\r').unwrap_or(raw));
    let text = Text::parse(raw, limits.text_bytes)?;
    misplaced_secret::check(raw)?;
    Ok(text)
}

/// The text of a posted object, cut at the limit, and the id of its
/// notification.
///
/// # Errors
///
/// Fails if the object has no known form, or its text looks like a command with
/// a secret.
fn object(body: &[u8], head: &Parts, limits: Limits) -> Result<(Text, Option<MessageId>), Refused> {
    let mut said = forms::read(body, single_header(head, &GITHUB_EVENT)?)?;
    said.cut(limits.text_bytes);
    misplaced_secret::check(&said.text)?;
    Ok((Text::parse(&said.text, limits.text_bytes)?, said.id))
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
