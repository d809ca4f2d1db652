//! One conversation: commands in, events out, its limits and deadlines.
//!
//! Generic over its stream; knows nothing of ports or HTTP. What arrives is
//! decoded by `tokio-websockets`; what leaves goes through the subscriber, which
//! alone writes to the socket.

mod conversation;
mod inbound;
mod network;
mod operator;
mod rate;
mod searches;
mod shown;

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::pending;
use tokio::{
    io::AsyncRead,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::{
    conversation::{Answer, Conversation, Found, Intent},
    inbound::{Inbound, Received},
};
pub use self::{
    network::Network,
    rate::{Rate, Rates},
    searches::Searches,
};
use crate::{
    fanout::{Socket, Subscriber, Undelivered},
    hub::{Hub, Publisher, Receipts, Submission},
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

/// How long a silent peer has to answer after the ping interval: as long as
/// that, but no longer than this.
const PONG_DEADLINE: Duration = Duration::from_secs(10);

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

/// Runs one conversation to its end, which also ends the connection.
pub async fn run<R>(
    connection: Connection<R>,
    visit: Visit,
    hub: &Hub,
    options: &Options,
    drain: &CancellationToken,
) where
    R: AsyncRead + Unpin,
{
    let addr = visit.addr;
    info!(target: "chat", "New connection from {addr}");
    let Connection { read, early, write } = connection;
    let format = visit.format;
    let mut inbound = match format {
        Format::EventStream => Inbound::deaf(read),
        _ => Inbound::new(read, &early, options.limits),
    };
    drop(early);
    let mut subscriber = hub.fanout().subscribe(write, format, addr, visit.echo);
    // Boxed, as all is that happens once: else each idle session has room for it.
    let started = Box::pin(Conversation::start(visit, hub, options, &mut subscriber));
    let end = match started.await {
        Ok(mut conversation) => {
            let (inbound, subscriber) = (&mut inbound, &mut subscriber);
            let end = converse(&mut conversation, inbound, subscriber, hub, options, drain).await;
            conversation.end(&end, subscriber);
            end
        }
        Err(reason) => End::Close(reason),
    };
    // The membership ended with the conversation: what follows concerns the
    // connection alone.
    match end {
        End::Lost(why) => {
            hub.metrics().closed(&"lost");
            info!(target: "chat", "{addr} left: {why}");
        }
        End::Close(reason) => {
            hub.metrics().closed(&reason.code());
            info!(target: "chat", "{addr} left: {reason}");
            Box::pin(close(reason, format, subscriber, inbound)).await;
        }
    }
}

async fn converse<R: AsyncRead + Unpin>(
    conversation: &mut Conversation<'_>,
    inbound: &mut Inbound<R>,
    subscriber: &mut Subscriber,
    hub: &Hub,
    options: &Options,
    drain: &CancellationToken,
) -> End {
    let receipts = Receipts::new(conversation.wanted());
    let mut publisher = hub.publisher();
    let mut doing = Doing::default();
    let mut draining = false;
    let mut broken = false;
    let mut drained = pin!(drain.cancelled());
    let mut finished = pin!(hub.finished());
    let mut silence = Silence::new(options.ping, conversation.addr(), conversation.format());
    let mut alarm = pin!(tokio::time::sleep_until(silence.next()));
    loop {
        // Once the server goes away nothing more is accepted; what was is
        // handed on, and with the last publisher gone the writer comes to its end.
        if draining && doing.unsent.is_none() {
            publisher = None;
        }
        let owed = receipts.owed();
        let listening = !draining && doing.is_nothing() && may_say_more(owed, subscriber);
        inbound.is_read(listening);
        // Before it goes elsewhere, a reader sees what it said here: the echo
        // is the receipt.
        if doing.joining.is_some() && owed == 0 {
            subscriber.finish();
        }
        let few = awaited(owed, doing.joining.is_some());
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
                    let Some((room, start)) = doing.joining.take() else {
                        return End::Close(CloseReason::Internal);
                    };
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
            found = answered(&mut doing.asking), if doing.asking.is_some() => {
                if let Some(intent) = conversation.answer(found, subscriber) {
                    doing.begin(intent, &receipts);
                }
            }
            permit = reserve(publisher.as_ref()), if doing.unsent.is_some() => match (permit, doing.unsent.take()) {
                (Some(permit), Some(submission)) => permit.send(submission),
                // The writer is gone: so is the server.
                _ => draining = true,
            },
            received = inbound.next(), if listening => match received {
                Received::Text(text) => {
                    silence.broken();
                    match conversation.handle(&text, subscriber) {
                        Some(Intent::Close(reason)) => return End::Close(reason),
                        Some(intent) => {
                            doing.begin(intent, &receipts);
                            doing.submit(publisher.as_ref());
                        }
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

/// What was asked for and is not done: until then nothing more is read.
#[derive(Default)]
struct Doing {
    unsent: Option<Submission>,
    joining: Option<(RoomName, Start)>,
    asking: Option<Answer>,
}

impl Doing {
    fn is_nothing(&self) -> bool {
        self.unsent.is_none() && self.joining.is_none() && self.asking.is_none()
    }

    /// Whether something is being changed by it.
    fn changes(&self) -> bool {
        self.asking.as_ref().is_some_and(|answer| answer.changes)
    }

    fn begin(&mut self, intent: Intent, receipts: &Receipts) {
        match intent {
            Intent::Publish(draft, follows) => {
                self.unsent = Some(Submission::draft(draft, follows, receipts.expect()));
            }
            Intent::Join(room, start) => self.joining = Some((room, start)),
            Intent::Answer(answer) => self.asking = Some(answer),
            Intent::Close(_) => {}
        }
    }

    /// Hands on what is to be stored, where the inbox has room for it now.
    fn submit(&mut self, publisher: Option<&Publisher>) {
        use mpsc::error::TrySendError::{Closed, Full};
        let Some(publisher) = publisher else { return };
        if let Some(submission) = self.unsent.take() {
            let sent = publisher.try_send(submission);
            self.unsent = sent.err().map(|(Full(left) | Closed(left))| left);
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

/// The answer that is being looked up. Safe to drop and call again.
async fn answered(asking: &mut Option<Answer>) -> Found {
    let found = match asking {
        Some(answer) => answer.found.as_mut().await,
        None => pending().await,
    };
    *asking = None;
    found
}

/// A place in the inbox; `None` when nothing is stored any more.
async fn reserve(publisher: Option<&Publisher>) -> Option<mpsc::Permit<'_, Submission>> {
    publisher?.reserve().await.ok()
}

/// Says why, and ends the connection in order.
async fn close<R: AsyncRead + Unpin>(
    reason: CloseReason,
    format: Format,
    mut subscriber: Subscriber,
    inbound: Inbound<R>,
) {
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

/// How long nothing was heard of the peer.
///
/// It is pinged twice in an interval, so that one that stands still for 20 s
/// (suspended, or busy) still answers in time. One that only reads answers
/// nothing: it is given up when its socket takes nothing more.
struct Silence {
    since: Instant,
    /// The first ping since then. Nobody is given up who was not asked in time:
    /// all of the server may have stood still.
    asked: Option<Instant>,
    /// How long it has to answer.
    patience: Duration,
    limit: Option<Duration>,
    period: Duration,
    format: Format,
}

/// What is to be done about it.
enum Verdict {
    Nothing,
    Ping,
    Over,
}

impl Silence {
    fn new(interval: Duration, addr: SocketAddr, format: Format) -> Self {
        let answers = format != Format::EventStream;
        // Periods differ a little, by the peer's port: those who came together
        // are not pinged together for ever.
        let share = 0.5 - f64::from(addr.port() % 64) / 512.0;
        let share = if answers { share } else { share * 2.0 };
        Silence {
            since: Instant::now(),
            asked: None,
            limit: answers.then(|| interval + PONG_DEADLINE.min(interval)),
            patience: PONG_DEADLINE.min(interval),
            period: interval.mul_f64(share),
            format,
        }
    }

    fn broken(&mut self) {
        self.since = Instant::now();
        self.asked = None;
    }

    /// Asks a silent peer whether it is there, or gives it up.
    fn look<R: AsyncRead + Unpin>(
        &mut self,
        inbound: &mut Inbound<R>,
        subscriber: &mut Subscriber,
        listening: bool,
    ) -> Option<CloseReason> {
        if inbound.heard() {
            self.broken();
        }
        match self.verdict() {
            // While nothing is read, or the socket is full, a pong could not
            // come: then other deadlines decide.
            Verdict::Over if listening && !subscriber.is_blocked() => {
                return Some(CloseReason::Silent);
            }
            Verdict::Ping => subscriber.send(&self.format.ping()),
            Verdict::Nothing | Verdict::Over => {}
        }
        None
    }

    fn verdict(&mut self) -> Verdict {
        let silent = self.since.elapsed();
        if silent < self.period {
            return Verdict::Nothing;
        }
        let asked = self.asked.get_or_insert_with(Instant::now);
        if self.limit.is_some_and(|limit| silent >= limit) && asked.elapsed() >= self.patience {
            Verdict::Over
        } else {
            Verdict::Ping
        }
    }

    /// When to look again.
    fn next(&self) -> Instant {
        let now = Instant::now();
        let (period, limit) = (self.since + self.period, self.limit.map(|l| self.since + l));
        match limit {
            _ if period > now => period,
            Some(limit) if limit > now => limit.min(now + self.period),
            _ => now + self.period,
        }
    }
}

#[cfg(test)]
mod tests;
