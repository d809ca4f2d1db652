//! One conversation: commands in, events out, with its limits and deadlines.
//!
//! A session is generic over its stream; it knows neither ports nor HTTP.
//! `tokio-websockets` decodes incoming frames. Outgoing frames go through the
//! subscriber, the only writer of the socket.

mod conversation;
mod end;
mod inbound;
mod operator;
mod pace;
mod pending;
mod shown;
mod silence;
mod visit;

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use tokio::{
    io::AsyncRead,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

pub use self::visit::{Options, Visit};
use self::{
    conversation::Conversation,
    end::End,
    inbound::{Inbound, Received},
    pending::{Done, Pending},
    silence::Silence,
};
use crate::{
    fanout::{Socket, Subscriber, Undelivered},
    hub::{Hub, Registration},
    protocol::{close::CloseReason, format::Format, frame},
};

/// How many bytes of answers may be queued for the socket. Above that, the
/// session stops reading from the peer.
const MAX_WAITING: usize = 16 << 10;

/// How many receipts may be outstanding. Above that, the session stops reading
/// from the peer.
const MAX_OWED: usize = 1024;

/// How long the last messages may take to leave once the server drains.
const FINISH_DEADLINE: Duration = Duration::from_secs(5);

/// How long a close frame may take to leave.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// How long the peer has to end its side after our close frame. Closing at once
/// could reset a connection on which the peer still sends; the reset would
/// discard our last frames.
const LINGER: Duration = Duration::from_secs(2);

/// A connection after its upgrade, or after the head of an event-stream
/// response.
pub struct Connection<R> {
    /// The reading half.
    pub read: R,
    /// Bytes that arrived behind the request; they are decoded first.
    pub early: Bytes,
    /// The writing half.
    pub write: Socket,
}

/// Both directions of a connection, and their format.
struct Ends<R> {
    format: Format,
    inbound: Inbound<R>,
    subscriber: Subscriber,
}

/// Runs one conversation to its end, then closes the connection.
pub fn run<'a, R>(
    connection: Connection<R>,
    visit: Visit,
    registration: &'a Registration,
    hub: &'a Hub,
    options: &'a Options,
    drain: &'a CancellationToken,
) -> impl Future<Output = ()> + use<'a, R>
where
    R: AsyncRead + Unpin,
{
    // Boxed, like everything that happens once: otherwise every idle session
    // keeps room for it.
    let started = Box::pin(start(connection, visit, registration, hub, options));
    async move {
        let (mut ends, mut conversation) = started.await;
        let end = match &mut conversation {
            Ok(conversation) => {
                let end =
                    converse(conversation, &mut ends, registration, hub, options, drain).await;
                conversation.end(&end, &ends.subscriber);
                end
            }
            Err(reason) => End::Close(reason.clone()),
        };
        // The member leaves its room when the conversation ends; closing the
        // connection comes after that.
        drop(conversation);
        registration.leave();
        let peer = registration.peer();
        match end {
            End::Lost(why) => {
                hub.metrics().closed(&"lost");
                info!(target: "chat", "{peer} left: {why}");
            }
            End::Close(reason) => {
                hub.metrics().closed(&reason.code());
                info!(target: "chat", "{peer} left: {reason}");
                Box::pin(close(reason, ends)).await;
            }
        }
    }
}

async fn start<'a, R: AsyncRead + Unpin>(
    connection: Connection<R>,
    visit: Visit,
    registration: &'a Registration,
    hub: &'a Hub,
    options: &'a Options,
) -> (Ends<R>, Result<Conversation<'a>, CloseReason>) {
    let (peer, format) = (registration.peer(), visit.format);
    info!(target: "chat", "New connection from {peer}");
    let Connection { read, early, write } = connection;
    let inbound = match format {
        Format::EventStream => Inbound::deaf(read),
        _ => Inbound::new(read, &early, options.limits),
    };
    drop(early);
    let mut ends = Ends {
        format,
        inbound,
        subscriber: hub.fanout().subscribe(write, format, peer.id, visit.echo),
    };
    let subscriber = &mut ends.subscriber;
    let conversation = Conversation::start(visit, registration, hub, options, subscriber).await;
    (ends, conversation)
}

async fn converse<R: AsyncRead + Unpin>(
    conversation: &mut Conversation<'_>,
    ends: &mut Ends<R>,
    registration: &Registration,
    hub: &Hub,
    options: &Options,
    drain: &CancellationToken,
) -> End {
    let (inbound, subscriber) = (&mut ends.inbound, &mut ends.subscriber);
    let receipts = conversation.receipts();
    let mut publisher = hub.publisher();
    let mut pending = Pending::default();
    let mut draining = false;
    let mut broken = false;
    let mut drained = pin!(drain.cancelled());
    let mut finished = pin!(hub.finished());
    let mut silence = Silence::new(options.ping, registration.peer().id, ends.format);
    let mut alarm = pin!(tokio::time::sleep_until(silence.next()));
    loop {
        // While the server drains, the session accepts no new commands. It
        // submits the pending draft and then drops its publisher; the writer
        // ends when the last publisher is dropped.
        if draining && !pending.submits() {
            publisher = None;
        }
        let owed = receipts.owed();
        let listening = !draining && pending.is_nothing() && may_say_more(owed, subscriber);
        inbound.is_read(listening);
        // Before a reader changes rooms it sees the echoes of its messages,
        // because the echo is the receipt.
        if pending.joins() && owed == 0 {
            subscriber.finish();
        }
        let few = awaited(owed, pending.joins());
        tokio::select! {
            biased;
            () = &mut drained, if !draining => draining = true,
            reason = conversation.sent_away() => return End::Close(reason),
            () = &mut finished, if publisher.is_none() && !pending.changes() => {
                // The writer sent every reply before it ended.
                while let Some((reply, reference)) = receipts.take() {
                    conversation.reply(reply, reference.as_ref(), subscriber);
                }
                return End::Close(conversation.goodbye());
            }
            result = subscriber.deliver_below(MAX_WAITING), if !broken => match result {
                Ok(false) => {}
                Ok(true) => {
                    let Pending::Joining(place) = std::mem::take(&mut pending) else {
                        return End::Close(CloseReason::Internal);
                    };
                    let (room, start, reference) = *place;
                    let joined = conversation.join(room, &start, reference.as_ref(), subscriber);
                    let joined = Box::pin(joined);
                    if let Err(reason) = joined.await {
                        return End::Close(reason);
                    }
                }
                Err(Undelivered::Slow) => return End::Close(CloseReason::Slow),
                // A peer that no longer reads may have sent commands before:
                // they are still read.
                Err(Undelivered::Lost(_)) => {
                    broken = true;
                    alarm.as_mut().reset(Instant::now() + LINGER);
                }
                Err(Undelivered::Unreadable(why)) => {
                    tracing::error!("the message store cannot be read: {why}");
                    return End::Close(CloseReason::Internal);
                }
            },
            told = receipts.next(few) => if let Some((reply, reference)) = told {
                conversation.reply(reply, reference.as_ref(), subscriber);
            },
            done = pending.done() => match done {
                Done::Submitted(true) => {}
                // The writer has ended, so the server is draining.
                Done::Submitted(false) => draining = true,
                Done::Found(found, reference) => {
                    if let Some(asked) = conversation.found(found, reference, subscriber) {
                        pending.begin(asked, &receipts, publisher.as_ref());
                    }
                }
            },
            received = inbound.next(), if listening => match received {
                Received::Text(text) => {
                    silence.broken();
                    match conversation.handle(&text, subscriber) {
                        Ok(Some(asked)) => pending.begin(asked, &receipts, publisher.as_ref()),
                        Ok(None) => {}
                        Err(reason) => return End::Close(reason),
                    }
                }
                Received::Ping(payload) => {
                    silence.broken();
                    subscriber.send(&frame::pong(&payload));
                }
                Received::Pong => silence.broken(),
                Received::Bad(reason) => return End::Close(reason),
                Received::Gone => return End::Lost("the connection broke"),
            },
            // Last, after the read: if this task or the whole server was
            // suspended, a pong may have arrived unread.
            () = &mut alarm => {
                if broken {
                    return End::Lost("the connection broke");
                }
                conversation.note_shown(silence.since, subscriber);
                if let Some(reason) = silence.look(inbound, subscriber, listening) {
                    return End::Close(reason);
                }
                alarm.as_mut().reset(silence.next());
            }
        }
    }
}

/// Whether the outstanding receipts and the queued answers leave room for
/// another command.
fn may_say_more(owed: usize, subscriber: &Subscriber) -> bool {
    owed < MAX_OWED && subscriber.waiting() < MAX_WAITING
}

/// How many receipts may still be outstanding when the session next acts on
/// their number.
fn awaited(owed: usize, leaving: bool) -> Option<usize> {
    match owed {
        0 => None,
        _ if leaving => Some(0),
        _ => (owed >= MAX_OWED).then_some(MAX_OWED - 1),
    }
}

/// Sends the close frame and ends the connection in order.
async fn close<R: AsyncRead + Unpin>(reason: CloseReason, ends: Ends<R>) {
    let Ends {
        format,
        inbound,
        mut subscriber,
        ..
    } = ends;
    if matches!(
        reason,
        CloseReason::GoingAway | CloseReason::Draining { .. }
    ) {
        subscriber.finish();
        let _ = timeout(FINISH_DEADLINE, subscriber.deliver()).await;
    }
    subscriber.stop();
    subscriber.send(&format.close(&reason));
    let said = async {
        subscriber.deliver().await.ok()?;
        subscriber.shutdown().await;
        Some(())
    };
    if let Ok(Some(())) = timeout(CLOSE_DEADLINE, said).await {
        let _ = timeout(LINGER, inbound.ignore_rest()).await;
    }
}

#[cfg(test)]
mod tests;
