//! One conversation: commands in, events out, its limits and deadlines.
//!
//! Generic over its stream; knows nothing of ports or HTTP. What arrives is
//! decoded by `tokio-websockets`; what leaves goes through the subscriber, which
//! alone writes to the socket.

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

/// How many bytes of answers may wait for the socket before nothing more is
/// read from the peer.
const MAX_WAITING: usize = 16 << 10;

/// How many receipts may be owed before nothing more is read from the peer.
const MAX_OWED: usize = 1024;

/// How long the last messages may take once the server goes away.
const FINISH_DEADLINE: Duration = Duration::from_secs(5);

/// How long a close frame may take.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// How long the peer has to end its side after that. Closing at once would
/// reset the connection where it still sends, and our last words with it.
const LINGER: Duration = Duration::from_secs(2);

/// A connection after its upgrade, or the head of its answer.
pub struct Connection<R> {
    /// Its reading side.
    pub read: R,
    /// What came behind the request, before anything else that is read.
    pub early: Bytes,
    /// Its writing side.
    pub write: Socket,
}

/// Both directions of a connection.
struct Ends<R> {
    format: Format,
    inbound: Inbound<R>,
    subscriber: Subscriber,
}

/// Runs one conversation to its end, which also ends the connection.
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
    // Boxed, as all is that happens once: else each idle session has room for it.
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
        // It leaves its room with the end of the conversation: what follows
        // concerns the connection alone.
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
        // Once the server goes away nothing more is accepted; what was is
        // handed on, and with the last publisher gone the writer comes to its end.
        if draining && !pending.submits() {
            publisher = None;
        }
        let owed = receipts.owed();
        let listening = !draining && pending.is_nothing() && may_say_more(owed, subscriber);
        inbound.is_read(listening);
        // Before it goes elsewhere, a reader sees what it said here: the echo
        // is the receipt.
        if pending.joins() && owed == 0 {
            subscriber.finish();
        }
        let few = awaited(owed, pending.joins());
        tokio::select! {
            biased;
            () = &mut drained, if !draining => draining = true,
            reason = conversation.sent_away() => return End::Close(reason),
            () = &mut finished, if publisher.is_none() && !pending.changes() => {
                // The writer has told everyone before it ended.
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
                // One that reads nothing more may have said something before.
                Err(Undelivered::Lost(_)) => {
                    broken = true;
                    alarm.as_mut().reset(Instant::now() + LINGER);
                }
                Err(Undelivered::Unreadable(why)) => {
                    tracing::error!("the log cannot be read: {why}");
                    return End::Close(CloseReason::Internal);
                }
            },
            told = receipts.next(few) => if let Some((reply, reference)) = told {
                conversation.reply(reply, reference.as_ref(), subscriber);
            },
            done = pending.done() => match done {
                Done::Submitted(true) => {}
                // The writer is gone: so is the server.
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
            // After what arrived: where this task, or all of the server, stood
            // still for a while, an answer may be there that was not read yet.
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

/// Whether what is owed to a peer, and not taken by it yet, leaves room for more.
fn may_say_more(owed: usize, subscriber: &Subscriber) -> bool {
    owed < MAX_OWED && subscriber.waiting() < MAX_WAITING
}

/// How few receipts have to be owed for something to change in a conversation.
fn awaited(owed: usize, leaving: bool) -> Option<usize> {
    match owed {
        0 => None,
        _ if leaving => Some(0),
        _ => (owed >= MAX_OWED).then_some(MAX_OWED - 1),
    }
}

/// Says why, and ends the connection in order.
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
