//! Detects silent peers: pings them and closes after a deadline.

use std::time::Duration;

use tokio::{io::AsyncRead, time::Instant};

use super::inbound::Inbound;
use crate::{
    fanout::Subscriber,
    protocol::{ConnectionId, close::CloseReason, format::Format},
};

/// The longest time a silent peer has to answer after the ping interval. With a
/// shorter interval, it has one interval.
const PONG_DEADLINE: Duration = Duration::from_secs(10);

/// How long a peer has been silent, and when to ping it or close.
///
/// A peer is pinged twice per interval, so that one that is suspended or busy
/// for 20 s still answers in time. An event-stream reader never answers; its
/// connection is closed when its socket takes no more.
pub(super) struct Silence {
    /// When the peer was last heard.
    pub(super) since: Instant,
    /// When the first ping after that was sent. A peer is closed only if it had
    /// time to answer a ping: the whole server may have been suspended.
    asked: Option<Instant>,
    /// How long the peer has to answer that ping.
    patience: Duration,
    limit: Option<Duration>,
    period: Duration,
    format: Format,
}

/// The next action on a silent peer.
enum Verdict {
    Nothing,
    Ping,
    Over,
}

impl Silence {
    pub(super) fn new(interval: Duration, id: ConnectionId, format: Format) -> Self {
        let answers = format != Format::EventStream;
        // Periods vary slightly by connection id, so that peers that connected
        // together are not pinged together for ever.
        let end = u16::try_from(id.0 % 1024).unwrap_or_default();
        let share = 0.5 - f64::from(end) / 8192.0;
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

    pub(super) fn broken(&mut self) {
        self.since = Instant::now();
        self.asked = None;
    }

    /// Pings a silent peer, or returns the reason to close its connection.
    pub(super) fn look<R: AsyncRead + Unpin>(
        &mut self,
        inbound: &mut Inbound<R>,
        subscriber: &mut Subscriber,
        listening: bool,
    ) -> Option<CloseReason> {
        if inbound.heard() {
            self.broken();
        }
        match self.verdict() {
            // While the session does not read, or the socket is full, no pong
            // can arrive. Other deadlines apply then.
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

    /// When to call [`Silence::look`] again.
    pub(super) fn next(&self) -> Instant {
        let now = Instant::now();
        let (period, limit) = (self.since + self.period, self.limit.map(|l| self.since + l));
        match limit {
            _ if period > now => period,
            Some(limit) if limit > now => limit.min(now + self.period),
            _ => now + self.period,
        }
    }
}
