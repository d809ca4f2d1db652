//! One conversation: commands in, events out, its limits and deadlines.
//!
//! Generic over its stream; knows nothing of ports or HTTP. What arrives is
//! decoded by `tokio-websockets`; what leaves goes through the subscriber, which
//! alone writes to the socket.

mod conversation;
mod doing;
mod inbound;
mod network;
mod operator;
mod rate;
mod searches;
mod shown;
mod silence;

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::AsyncRead,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::{
    conversation::{Conversation, Intent},
    doing::{Doing, Done},
    inbound::{Inbound, Received},
    silence::Silence,
};
pub use self::{
    network::Network,
    rate::{Rate, Rates},
    searches::Searches,
};
use crate::{
    fanout::{Socket, Subscriber, Undelivered},
    hub::{Hub, Receipts},
    protocol::{
        Author, Limits, Start,
        close::CloseReason,
        format::Format,
        frame,
        name::{Name, RoomName},
        secret::Secret,
        text::Text,
    },
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

/// What was asked for in the request.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Where the peer is.
    pub addr: SocketAddr,
    /// The room.
    pub room: RoomName,
    /// The name to carry.
    pub name: Option<Name>,
    /// What proves that it is one's own.
    pub secret: Option<Secret>,
    /// How to speak.
    pub format: Format,
    /// Where to start reading.
    pub start: Start,
    /// Whether to see one's own messages.
    pub echo: bool,
}

impl Visit {
    /// Who comes, under the name asked for.
    pub fn author(&self) -> Author {
        Author {
            name: self.name.clone(),
            addr: self.addr,
        }
    }
}

/// What holds for all sessions.
#[derive(Clone, Debug)]
pub struct Options {
    /// What a client may send.
    pub limits: Limits,
    /// How fast, if that is limited.
    pub rates: Option<Arc<Rates>>,
    /// Whose turn it is to search.
    pub searches: Searches,
    /// A peer silent for so long is pinged twice, and given up soon after.
    pub ping: Duration,
    /// What newcomers are told after the welcome, if anything.
    pub motd: Option<Text>,
    /// What proves that somebody is an operator, if there are any.
    pub operator: Option<Secret>,
}

/// How a conversation ended.
#[derive(Debug)]
enum End {
    /// With a close frame of ours.
    Close(CloseReason),
    /// Without: the connection is no more.
    Lost(&'static str),
}

/// Both directions of a connection.
struct Ends<R> {
    addr: SocketAddr,
    format: Format,
    inbound: Inbound<R>,
    subscriber: Subscriber,
}

/// Runs one conversation to its end, which also ends the connection.
pub fn run<'a, R>(
    connection: Connection<R>,
    visit: Visit,
    hub: &'a Hub,
    options: &'a Options,
    drain: &'a CancellationToken,
) -> impl Future<Output = ()> + use<'a, R>
where
    R: AsyncRead + Unpin,
{
    // Boxed, as all is that happens once: else each idle session has room for it.
    let started = Box::pin(start(connection, visit, hub, options));
    async move {
        let (mut ends, mut conversation) = started.await;
        let end = match &mut conversation {
            Ok(conversation) => {
                let end = converse(conversation, &mut ends, hub, options, drain).await;
                conversation.end(&end, &ends.subscriber);
                end
            }
            Err(reason) => End::Close(reason.clone()),
        };
        // The membership ends with the conversation: what follows concerns the
        // connection alone.
        drop(conversation);
        let addr = ends.addr;
        match end {
            End::Lost(why) => {
                hub.metrics().closed(&"lost");
                info!(target: "chat", "{addr} left: {why}");
            }
            End::Close(reason) => {
                hub.metrics().closed(&reason.code());
                info!(target: "chat", "{addr} left: {reason}");
                Box::pin(close(reason, ends)).await;
            }
        }
    }
}

async fn start<'a, R: AsyncRead + Unpin>(
    connection: Connection<R>,
    visit: Visit,
    hub: &'a Hub,
    options: &'a Options,
) -> (Ends<R>, Result<Conversation<'a>, CloseReason>) {
    let (addr, format) = (visit.addr, visit.format);
    info!(target: "chat", "New connection from {addr}");
    let Connection { read, early, write } = connection;
    let inbound = match format {
        Format::EventStream => Inbound::deaf(read),
        _ => Inbound::new(read, &early, options.limits),
    };
    drop(early);
    let mut ends = Ends {
        addr,
        format,
        inbound,
        subscriber: hub.fanout().subscribe(write, format, addr, visit.echo),
    };
    let conversation = Conversation::start(visit, hub, options, &mut ends.subscriber).await;
    (ends, conversation)
}

async fn converse<R: AsyncRead + Unpin>(
    conversation: &mut Conversation<'_>,
    ends: &mut Ends<R>,
    hub: &Hub,
    options: &Options,
    drain: &CancellationToken,
) -> End {
    let (inbound, subscriber) = (&mut ends.inbound, &mut ends.subscriber);
    let receipts = Receipts::new(conversation.wanted());
    let mut publisher = hub.publisher();
    let mut doing = Doing::default();
    let mut draining = false;
    let mut broken = false;
    let mut drained = pin!(drain.cancelled());
    let mut finished = pin!(hub.finished());
    let mut silence = Silence::new(options.ping, ends.addr, ends.format);
    let mut alarm = pin!(tokio::time::sleep_until(silence.next()));
    loop {
        // Once the server goes away nothing more is accepted; what was is
        // handed on, and with the last publisher gone the writer comes to its end.
        if draining && !doing.submits() {
            publisher = None;
        }
        let owed = receipts.owed();
        let listening = !draining && doing.is_nothing() && may_say_more(owed, subscriber);
        inbound.is_read(listening);
        // Before it goes elsewhere, a reader sees what it said here: the echo
        // is the receipt.
        if doing.joins() && owed == 0 {
            subscriber.finish();
        }
        let few = awaited(owed, doing.joins());
        tokio::select! {
            biased;
            () = &mut drained, if !draining => draining = true,
            reason = conversation.sent_away() => return End::Close(reason),
            () = &mut finished, if publisher.is_none() && !doing.changes() => {
                // The writer has told everyone before it ended.
                while let Some(reply) = receipts.take() {
                    conversation.reply(reply, subscriber);
                }
                return End::Close(conversation.goodbye());
            }
            result = subscriber.deliver_below(MAX_WAITING), if !broken => match result {
                Ok(false) => {}
                Ok(true) => {
                    let Doing::Joining(place) = std::mem::take(&mut doing) else {
                        return End::Close(CloseReason::Internal);
                    };
                    let (room, start) = *place;
                    let joined = Box::pin(conversation.join(room, &start, subscriber));
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
            reply = receipts.next(few) => if let Some(reply) = reply {
                conversation.reply(reply, subscriber);
            },
            done = doing.done() => match done {
                Done::Submitted(true) => {}
                // The writer is gone: so is the server.
                Done::Submitted(false) => draining = true,
                Done::Found(found) => {
                    if let Some(intent) = conversation.answer(found, subscriber) {
                        doing.begin(intent, &receipts, publisher.as_ref());
                    }
                }
            },
            received = inbound.next(), if listening => match received {
                Received::Text(text) => {
                    silence.broken();
                    match conversation.handle(&text, subscriber) {
                        Some(Intent::Close(reason)) => return End::Close(reason),
                        Some(intent) => doing.begin(intent, &receipts, publisher.as_ref()),
                        None => {}
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
