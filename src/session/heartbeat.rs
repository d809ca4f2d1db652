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
pub(super) struct Heartbeat {
    /// When the peer was last heard.
    pub(super) heard_at: Instant,
    /// When the first ping after that was sent. A peer is closed only if it had
    /// time to answer a ping: the whole server may have been suspended.
    pinged_at: Option<Instant>,
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
    TimedOut,
}

impl Heartbeat {
    pub(super) fn new(interval: Duration, id: ConnectionId, format: Format) -> Self {
        let answers = format != Format::EventStream;
        // Periods vary slightly by connection id, so that peers that connected
        // together are not pinged together for ever.
        let end = u16::try_from(id.0 % 1024).unwrap_or_default();
        let share = 0.5 - f64::from(end) / 8192.0;
        let share = if answers { share } else { share * 2.0 };
        Heartbeat {
            heard_at: Instant::now(),
            pinged_at: None,
            limit: answers.then(|| interval + PONG_DEADLINE.min(interval)),
            patience: PONG_DEADLINE.min(interval),
            period: interval.mul_f64(share),
            format,
        }
    }

    /// Notes that the peer was heard.
    pub(super) fn reset(&mut self, now: Instant) {
        self.heard_at = now;
        self.pinged_at = None;
    }

    /// Pings a silent peer, or returns the reason to close its connection.
    pub(super) fn tick<R: AsyncRead + Unpin>(
        &mut self,
        inbound: &mut Inbound<R>,
        subscriber: &mut Subscriber,
        listening: bool,
    ) -> Option<CloseReason> {
        if inbound.take_heard() {
            self.reset(Instant::now());
        }
        match self.verdict() {
            // While the session does not read, or the socket is full, no pong
            // can arrive. Other deadlines apply then.
            Verdict::TimedOut if listening && !subscriber.is_blocked() => {
                return Some(CloseReason::PingTimeout);
            }
            Verdict::Ping => subscriber.send(&self.format.ping()),
            Verdict::Nothing | Verdict::TimedOut => {}
        }
        None
    }

    fn verdict(&mut self) -> Verdict {
        let silent = self.heard_at.elapsed();
        if silent < self.period {
            return Verdict::Nothing;
        }
        let pinged_at = self.pinged_at.get_or_insert_with(Instant::now);
        if self.limit.is_some_and(|limit| silent >= limit) && pinged_at.elapsed() >= self.patience {
            Verdict::TimedOut
        } else {
            Verdict::Ping
        }
    }

    /// When to call [`Heartbeat::tick`] again.
    pub(super) fn next(&self) -> Instant {
        let now = Instant::now();
        let (period, limit) = (
            self.heard_at + self.period,
            self.limit.map(|l| self.heard_at + l),
        );
        match limit {
            _ if period > now => period,
            Some(limit) if limit > now => limit.min(now + self.period),
            _ => now + self.period,
        }
    }
}
