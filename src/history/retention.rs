//! Forgetting old messages: from the beginning of the log on, a few at a time.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    sync::Mutex as FairMutex,
    time::{Instant, sleep},
};
use tracing::{error, info};

use super::{History, StoreError, store::Store};
use crate::protocol::{At, Seq};

/// How often is looked whether something is old. What is erased in between is
/// erased together.
const INTERVAL: Duration = Duration::from_secs(10);

/// The pause between two steps: publishers come first.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the clock must have stood where it stands before a message is old
/// by it.
const BELIEVED_AFTER: Duration = Duration::from_secs(60 * 60);

/// What is kept. What neither limit keeps is erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Messages not older than this; absent: of any age.
    pub age: Option<Duration>,
    /// The last so many messages of the log; absent: however many.
    pub messages: Option<u64>,
}

/// What erases old messages while the chat goes on.
pub struct Retention {
    store: Arc<FairMutex<Store>>,
    history: History,
    keep: Keep,
}

impl Retention {
    pub(super) fn new(store: Arc<FairMutex<Store>>, history: History, keep: Keep) -> Option<Self> {
        (keep != Keep::default()).then_some(Retention {
            store,
            history,
            keep,
        })
    }

    /// Erases what is old, and what becomes so; ends only when it is dropped.
    pub async fn run(self) {
        let mut clock: Option<Clock> = None;
        let mut failing = false;
        loop {
            let step = self.step(&mut clock).await;
            if let Err(why) = &step
                && !failing
            {
                error!("old messages cannot be erased: {why}");
            } else if step.is_ok() && failing {
                info!("old messages can be erased again");
            }
            failing = step.is_err();
            let more = step.is_ok_and(|erased| erased.is_some());
            sleep(if more { PAUSE } else { INTERVAL }).await;
        }
    }

    async fn step(&self, clock: &mut Option<Clock>) -> Result<Option<Seq>, StoreError> {
        let wall = At(jiff::Timestamp::now().as_millisecond());
        let clock = if let Some(clock) = clock {
            clock
        } else {
            let last = self.on_store(|store| store.last_said()).await?;
            clock.insert(Clock::start(last.unwrap_or(wall).min(wall)))
        };
        let now = clock.now(wall);
        let before = self.keep.age.map(|age| {
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            At(now.0.saturating_sub(age))
        });
        self.erase(before).await
    }

    /// Erases some of what was said before a moment or is more than is kept.
    async fn erase(&self, before: Option<At>) -> Result<Option<Seq>, StoreError> {
        let (history, keep) = (self.history.clone(), self.keep.messages);
        self.on_store(move |store| {
            let head = history.recovered(store)?;
            let erased = store.erase(head, before, keep)?;
            if let Some(upto) = erased {
                history.shared.tail().erase(upto);
            }
            Ok(erased)
        })
        .await
    }

    async fn on_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut store = Arc::clone(&self.store).lock_owned().await;
        tokio::task::spawn_blocking(move || work(&mut store))
            .await
            .map_err(|_| StoreError::stopped())?
    }
}

impl fmt::Debug for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retention")
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

/// The wall clock, as far as it is believed.
///
/// One that jumps ahead would make everything old at once. So it is followed
/// only once it has stood there for an hour; until then, and for the first hour
/// after a start, when nothing is known of it, time goes on from where it was:
/// at a start, from when the last message was said. Back it is followed at once.
struct Clock {
    started: Instant,
    /// How far the wall clock was ahead of the time since the start, at least:
    /// in this hour and in the one before.
    ahead: [i64; 2],
    hours: u64,
}

impl Clock {
    fn start(at: At) -> Self {
        Clock {
            started: Instant::now(),
            ahead: [at.0; 2],
            hours: 0,
        }
    }

    fn now(&mut self, wall: At) -> At {
        let since = self.started.elapsed();
        let passed = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let ahead = wall.0.saturating_sub(passed);
        let hours = since.as_secs() / BELIEVED_AFTER.as_secs();
        if hours > std::mem::replace(&mut self.hours, hours) {
            self.ahead = [ahead, self.ahead[0]];
        }
        self.ahead[0] = self.ahead[0].min(ahead);
        At(passed.saturating_add(self.ahead[0].min(self.ahead[1])))
    }
}
