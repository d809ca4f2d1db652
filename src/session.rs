//! One conversation: commands in, events out, with its limits and deadlines.
//!
//! A session is generic over its stream; it knows neither ports nor HTTP.
//! `tokio-websockets` decodes incoming frames. Outgoing frames go through the
//! subscriber, the only writer of the socket.

mod conversation;
mod delivered;
mod end;
mod entered_place;
mod heartbeat;
mod inbound;
mod inbox_start;
mod operator;
mod options;
mod pace;
mod pending;
mod request;

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, future::OptionFuture};
use tokio::{
    io::AsyncRead,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::{
    conversation::Conversation,
    end::SessionEnd,
    heartbeat::Heartbeat,
    inbound::{Inbound, MAX_IGNORED, MAX_IGNORED_IN_DRAIN, Received},
    pending::{Done, Pending},
};
pub use self::{
    inbound::UnfinishedMessages,
    options::{CurrentOptions, SessionOptions},
    request::SessionRequest,
};
use crate::{
    fanout::{DeliveryError, Socket, Subscriber},
    hub::{Hub, Receipts, Registration, Submitter},
    protocol::{close::CloseReason, format::Format, frame},
};

/// How many bytes of answers may be queued for the socket. Above that, the
/// session stops reading from the peer.
const MAX_WAITING: usize = 16 << 10;

/// How many receipts may be outstanding. Above that, the session stops reading
/// from the peer.
const MAX_OWED: usize = 1024;

/// The most frames that are handled before the session turns to other work.
const MAX_TOGETHER: usize = 64;

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
pub struct Transport<R> {
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
    transport: Transport<R>,
    request: SessionRequest,
    registration: &'a Registration,
    hub: &'a Hub,
    options: &'a CurrentOptions,
    drain: &'a CancellationToken,
) -> impl Future<Output = ()> + use<'a, R>
where
    R: AsyncRead + Unpin,
{
    // Boxed, like everything that happens once: otherwise every idle session
    // keeps room for it.
    let started = Box::pin(start(transport, request, registration, hub, options));
    async move {
        let (mut ends, mut conversation) = started.await;
        let end = match &mut conversation {
            Ok(conversation) => {
                let end =
                    converse(conversation, &mut ends, registration, hub, options, drain).await;
                conversation.end(&end, &ends.subscriber);
                end
            }
            Err(reason) => SessionEnd::Close(reason.clone()),
        };
        info!(target: "chat::peer", "{} left: {end}", registration.peer());
        if let Ok(conversation) = &conversation {
            conversation.log_left(&end);
        }
        // The member leaves its room when the conversation ends; closing the
        // connection comes after that.
        drop(conversation);
        registration.leave();
        match end {
            SessionEnd::Lost(_) => hub.metrics().closed(&"lost"),
            SessionEnd::Close(reason) => {
                hub.metrics().closed(&reason.code());
                Box::pin(close(reason, ends)).await;
            }
        }
    }
}

async fn start<'a, R: AsyncRead + Unpin>(
    transport: Transport<R>,
    request: SessionRequest,
    registration: &'a Registration,
    hub: &'a Hub,
    current: &'a CurrentOptions,
) -> (Ends<R>, Result<Conversation<'a>, CloseReason>) {
    let (peer, format) = (registration.peer(), request.format);
    info!(target: "chat::peer", "New connection from {peer}");
    let Transport { read, early, write } = transport;
    let options = current.get();
    let inbound = match format {
        Format::EventStream => Inbound::discarding(read, &options.unfinished),
        _ => Inbound::new(read, &early, options.limits, &options.unfinished),
    };
    drop(early);
    let mut ends = Ends {
        format,
        inbound,
        subscriber: hub.fanout().subscribe(write, format, peer.id, request.echo),
    };
    let subscriber = &mut ends.subscriber;
    let conversation = Conversation::start(request, registration, hub, current, subscriber).await;
    (ends, conversation)
}

async fn converse<R: AsyncRead + Unpin>(
    conversation: &mut Conversation<'_>,
    ends: &mut Ends<R>,
    registration: &Registration,
    hub: &Hub,
    options: &CurrentOptions,
    drain: &CancellationToken,
) -> SessionEnd {
    let receipts = conversation.receipts();
    let mut submitter = hub.submitter();
    let mut pending = Pending::default();
    let mut draining = false;
    let mut write_failed = false;
    let mut drained = pin!(drain.cancelled());
    // Made only in a drain: otherwise every idle session keeps room for it.
    let mut finished = None;
    let mut heartbeat = Heartbeat::new(options.get().ping, registration.peer().id, ends.format);
    let mut alarm = pin!(tokio::time::sleep_until(heartbeat.next()));
    loop {
        let (inbound, subscriber) = (&mut ends.inbound, &mut ends.subscriber);
        // While the server drains, the session accepts no new commands. It
        // submits the pending draft and then drops its publisher; the writer
        // ends when the last publisher is dropped.
        if draining && !pending.is_submitting() {
            submitter = None;
            finished.get_or_insert_with(|| Box::pin(hub.finished()));
        }
        let owed = receipts.owed();
        let listening = !draining && pending.is_idle() && has_room_for_commands(owed, subscriber);
        inbound.set_reading(listening);
        // Before a reader changes rooms it sees the echoes of its messages,
        // because the echo is the receipt.
        if pending.is_joining() && owed == 0 {
            subscriber.stop_at_head();
        }
        let few = receipts_to_await(owed, pending.is_joining());
        tokio::select! {
            biased;
            () = &mut drained, if !draining => {
                conversation.store_reads();
                draining = true;
            }
            reason = conversation.closed_by_operator() => return SessionEnd::Close(reason),
            Some(()) = OptionFuture::from(finished.as_mut()), if submitter.is_none() && !pending.is_changing() => {
                // The writer sent every reply before it ended.
                while let Some(told) = receipts.try_next() {
                    conversation.reply(told, subscriber);
                }
                return SessionEnd::Close(conversation.drain_reason());
            }
            result = subscriber.deliver_below(MAX_WAITING), if !write_failed => match result {
                Ok(false) => {}
                Ok(true) => {
                    let Pending::Joining(place) = std::mem::take(&mut pending) else {
                        return SessionEnd::Close(CloseReason::Internal);
                    };
                    let (room, start, reference) = *place;
                    let joined = conversation.join(room, &start, reference.as_ref(), subscriber);
                    let joined = Box::pin(joined);
                    if let Err(reason) = joined.await {
                        return SessionEnd::Close(reason);
                    }
                }
                Err(DeliveryError::Stalled) => return SessionEnd::Close(CloseReason::WriteTimeout),
                // A peer that no longer reads may have sent commands before:
                // they are still read.
                Err(DeliveryError::Lost(_)) => {
                    write_failed = true;
                    alarm.as_mut().reset(Instant::now() + LINGER);
                }
                Err(DeliveryError::Unreadable(why)) => {
                    tracing::error!("the message store cannot be read: {why}");
                    return SessionEnd::Close(CloseReason::Internal);
                }
            },
            told = receipts.next(few) => if let Some(told) = told {
                conversation.reply(told, subscriber);
            },
            done = pending.done() => match done {
                Done::Submitted(true) => {}
                // The writer has ended, so the server is draining.
                Done::Submitted(false) => draining = true,
                Done::Found(found, reference) => {
                    if let Some(command) = conversation.finish_lookup(*found, reference, &receipts, subscriber) {
                        pending.begin(command, &receipts, submitter.as_ref());
                    }
                }
            },
            received = inbound.next() => {
                let acted = act_on(received, ends, conversation, &mut heartbeat, &mut pending, &receipts, submitter.as_ref());
                if let Err(end) = acted {
                    return end;
                }
            }
            // Last, after the read: if this task or the whole server was
            // suspended, a pong may have arrived unread.
            () = &mut alarm => {
                if write_failed {
                    return SessionEnd::Lost("the connection broke");
                }
                conversation.note_delivered(heartbeat.heard_at, subscriber);
                if let Some(reason) = heartbeat.tick(inbound, subscriber, listening) {
                    return SessionEnd::Close(reason);
                }
                alarm.as_mut().reset(heartbeat.next());
            }
        }
    }
}

/// Acts on a frame, and on those that came with it while nothing is pending:
/// the session would ask for all its other work after each of them.
///
/// # Errors
///
/// Fails with the end of the session.
fn act_on<R: AsyncRead + Unpin>(
    mut received: Received,
    ends: &mut Ends<R>,
    conversation: &mut Conversation<'_>,
    heartbeat: &mut Heartbeat,
    pending: &mut Pending,
    receipts: &Receipts,
    submitter: Option<&Submitter>,
) -> Result<(), SessionEnd> {
    let Ends {
        inbound,
        subscriber,
        ..
    } = ends;
    let now = Instant::now();
    let mut left = MAX_TOGETHER;
    loop {
        let charged = conversation.charge_extra(inbound.take_extra());
        charged.map_err(SessionEnd::Close)?;
        match received {
            Received::Text(text) => {
                heartbeat.reset(now);
                let handled = conversation.handle(&text, subscriber);
                if let Some(command) = handled.map_err(SessionEnd::Close)? {
                    pending.begin(command, receipts, submitter);
                }
            }
            Received::Ping(payload) => {
                heartbeat.reset(now);
                subscriber.send(&frame::pong(&payload));
            }
            Received::Pong => heartbeat.reset(now),
            Received::Fragments => {}
            Received::Close(reason) => return Err(SessionEnd::Close(reason)),
            Received::Ended => return Err(SessionEnd::Lost("the connection broke")),
        }
        left -= 1;
        let has_room = has_room_for_commands(receipts.owed(), subscriber);
        if left == 0 || !pending.is_idle() || !has_room {
            return Ok(());
        }
        // If no frame has come, the session waits for it as for its other work.
        let Some(next) = inbound.next().now_or_never() else {
            return Ok(());
        };
        received = next;
    }
}

/// Whether the outstanding receipts and the queued answers leave room for
/// another command.
fn has_room_for_commands(owed: usize, subscriber: &Subscriber) -> bool {
    owed < MAX_OWED && subscriber.waiting() < MAX_WAITING
}

/// How many receipts may still be outstanding when the session next acts on
/// their number.
fn receipts_to_await(owed: usize, leaving: bool) -> Option<usize> {
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
    let mut ignored = MAX_IGNORED;
    if matches!(
        reason,
        CloseReason::GoingAway | CloseReason::Draining { .. }
    ) {
        ignored = MAX_IGNORED_IN_DRAIN;
        subscriber.stop_at_head();
        let _ = timeout(FINISH_DEADLINE, subscriber.deliver()).await;
    }
    subscriber.unfollow();
    subscriber.send(&format.close(&reason));
    let said = async {
        subscriber.deliver().await.ok()?;
        subscriber.shutdown().await;
        Some(())
    };
    if let Ok(Some(())) = timeout(CLOSE_DEADLINE, said).await {
        let _ = timeout(LINGER, inbound.ignore_rest(ignored)).await;
    }
}

#[cfg(test)]
mod tests;
