//! The queue of searches. A few run at a time, and at most one of a prefix. The
//! prefix that searched least lately goes first.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use crate::{
    net::Prefix,
    protocol::{Refusal, RefusalCode},
    store::SEARCHES_AT_ONCE,
};

/// How many searches may wait, and how many of one prefix may wait or run.
pub(super) const MAX_WAITING: usize = 256;
pub(super) const MAX_OF_PREFIX: usize = 16;

/// For this many times its duration a search counts against its prefix, but
/// never longer than [`MAX_DEBT`].
const DEBT_FACTOR: u32 = 16;
const MAX_DEBT: Duration = Duration::from_secs(60);

/// How long a refused client should wait, in ms.
pub(super) const RETRY_MS: u64 = 2000;

/// The searches that run or wait.
#[derive(Debug, Default)]
pub(super) struct Searches {
    /// The number and the prefix of each search that runs.
    pub(super) running: Vec<(u64, Option<Prefix>)>,
    /// In the order of their arrival.
    pub(super) waiting: Vec<Waiting>,
    /// Whether a waiting search could run if another ended.
    pub(super) contended: Arc<AtomicBool>,
    arrived: u64,
}

#[derive(Debug)]
pub(super) struct Waiting {
    prefix: Option<Prefix>,
    number: u64,
    start: oneshot::Sender<()>,
}

impl Searches {
    /// Queues a search, which starts at once if it may. Returns its number. If
    /// too many wait, the prefix with the most waiting searches loses its last.
    ///
    /// # Errors
    /// Refuses if too many searches of the prefix or of all wait.
    pub(super) fn queue(
        &mut self,
        prefix: Option<Prefix>,
        debt: impl Fn(Option<Prefix>) -> Option<Instant>,
    ) -> Result<(u64, oneshot::Receiver<()>), Refusal> {
        let waiting = |of: Option<Prefix>| self.waiting.iter().filter(move |it| it.prefix == of);
        let count = waiting(prefix).count();
        if count + usize::from(self.runs(prefix)) >= MAX_OF_PREFIX {
            return Err(too_many());
        }
        if self.waiting.len() >= MAX_WAITING {
            let longest = self.waiting.iter().map(|it| waiting(it.prefix).count());
            let last = longest.enumerate().max_by_key(|(_, count)| *count);
            let (last, _) = last
                .filter(|(_, most)| *most > count + 1)
                .ok_or_else(too_many)?;
            // Its receiver is told by the drop.
            self.waiting.remove(last);
        }
        let (start, started) = oneshot::channel();
        self.arrived += 1;
        self.waiting.push(Waiting {
            prefix,
            number: self.arrived,
            start,
        });
        self.start(debt);
        Ok((self.arrived, started))
    }

    /// Removes a search that has ended or waits no longer.
    pub(super) fn remove(&mut self, number: u64, debt: impl Fn(Option<Prefix>) -> Option<Instant>) {
        self.waiting.retain(|it| it.number != number);
        self.running.retain(|(running, _)| *running != number);
        self.start(debt);
    }

    fn runs(&self, prefix: Option<Prefix>) -> bool {
        self.running.iter().any(|(_, running)| *running == prefix)
    }

    /// Starts the searches that may run.
    fn start(&mut self, debt: impl Fn(Option<Prefix>) -> Option<Instant>) {
        let next = |this: &Self| {
            let idle = |(_, it): &(usize, &Waiting)| !this.runs(it.prefix);
            let all = this.waiting.iter().enumerate().filter(idle);
            all.min_by_key(|(_, it)| debt(it.prefix)).map(|(at, _)| at)
        };
        let mut waiting = next(self);
        while let Some(at) = waiting
            && self.running.len() < SEARCHES_AT_ONCE
        {
            let Waiting {
                prefix,
                number,
                start,
            } = self.waiting.remove(at);
            self.running.push((number, prefix));
            // A search that is gone removes itself.
            let _ = start.send(());
            waiting = next(self);
        }
        self.contended.store(waiting.is_some(), Ordering::Relaxed);
    }
}

/// The new debt of a prefix after one more search: the time up to which
/// prefixes with a lower one go first.
pub(super) fn debt_after(debt: Instant, used: Duration) -> Instant {
    let now = Instant::now();
    (debt.max(now) + used * DEBT_FACTOR).min(now + MAX_DEBT)
}

/// The refusal of a search for which there is no room or no time.
pub(super) fn too_many() -> Refusal {
    let text = "Too many searches are under way; search again in a while.";
    Refusal {
        retry_ms: Some(RETRY_MS),
        ..Refusal::new(RefusalCode::Busy, text)
    }
}
