//! How long nothing was heard of a peer, and what is done about it.

use std::time::Duration;

use tokio::{io::AsyncRead, time::Instant};

use super::inbound::Inbound;
use crate::{
    fanout::Subscriber,
    protocol::{ConnectionId, close::CloseReason, format::Format},
};

/// How long a silent peer has to answer after the ping interval: as long as
/// that, but no longer than this.
const PONG_DEADLINE: Duration = Duration::from_secs(10);

/// How long nothing was heard of the peer.
///
/// It is pinged twice in an interval, so that one that stands still for 20 s
/// (suspended, or busy) still answers in time. One that only reads answers
/// nothing: it is given up when its socket takes nothing more.
pub(super) struct Silence {
    /// When something was heard last.
    pub(super) since: Instant,
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
    pub(super) fn new(interval: Duration, id: ConnectionId, format: Format) -> Self {
        let answers = format != Format::EventStream;
        // Periods differ a little, by the connection's id: peers that came
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

    /// Asks a silent peer whether it is there, or gives it up.
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
