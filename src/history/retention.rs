//! Forgetting old messages: from the beginning of the log on, a few at a time.
//! And what any erasing leaves behind beside the database.

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
    pub(super) fn new(store: Arc<FairMutex<Store>>, history: History, keep: Keep) -> Self {
        Retention {
            store,
            history,
            keep,
        }
    }

    /// Erases what is old, and what becomes so, if not all is kept; ends only
    /// when it is dropped.
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
            if !more {
                // What cannot be done now is tried again.
                let _ = self.on_store(Store::empty_wal).await;
            }
            sleep(if more { PAUSE } else { INTERVAL }).await;
        }
    }

    async fn step(&self, clock: &mut Option<Clock>) -> Result<Option<Seq>, StoreError> {
        if self.keep == Keep::default() {
            return Ok(None);
        }
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
    pub(super) async fn erase(&self, before: Option<At>) -> Result<Option<Seq>, StoreError> {
        let (history, keep) = (self.history.clone(), self.keep.messages);
        // First, and then the log: who writes does not wait for who searches.
        let mut index = history.index_turn().await;
        self.on_store(move |store| {
            let head = history.recovered(store)?;
            let erased = store.erase(head, before, keep, &mut index)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::{Draft, Storage, Writer, open},
        protocol::{GapReason, name::RoomName},
    };

    const DAY: i64 = 24 * 60 * 60 * 1000;

    fn said(writer: &mut Writer, room: &str, count: u64) {
        let draft = Draft::of(room, "text");
        for _ in 0..count {
            writer.append(std::slice::from_ref(&draft)).expect("stored");
        }
    }

    fn retention(writer: &Writer, messages: Option<u64>) -> Retention {
        let age = Some(Duration::from_secs(1));
        writer.retention(Keep { age, messages })
    }

    /// What a reader of a room sees from a position on: the last numbers of its
    /// holes and the numbers of its messages.
    async fn seen(history: &History, room: &str, mut after: Seq) -> (Vec<u64>, Vec<u64>) {
        let room: RoomName = room.parse().expect("a room");
        let (mut holes, mut seqs) = (Vec::new(), Vec::new());
        while after < history.head() {
            let page = history.after(&room, after).await.expect("readable");
            if let Some((hole, _)) = page.gap() {
                assert_eq!(hole.reason, GapReason::Erased);
                holes.push(hole.upto.0);
            }
            let messages = page.runs.iter().flat_map(|run| run.messages());
            seqs.extend(
                messages
                    .map(|m| m.seq)
                    .filter(|seq| *seq > after)
                    .map(|s| s.0),
            );
            after = page.upto;
        }
        (holes, seqs)
    }

    #[tokio::test]
    async fn erases_in_steps_and_from_memory_too() {
        let (mut writer, history) = open(&Storage::Memory, "a test").expect("a log");
        let (writer, history) = tokio::task::spawn_blocking(move || {
            said(&mut writer, "a", 700);
            said(&mut writer, "b", 600);
            (writer, history)
        })
        .await
        .expect("no panic");
        let retention = retention(&writer, Some(100));
        // None of it is old, but more than is kept: all that is too much goes.
        let mut erased = Vec::new();
        while let Some(upto) = retention.erase(None).await.expect("erased") {
            erased.push(upto.0);
        }
        assert_eq!(erased, [500, 1000, 1200]);
        assert_eq!(seen(&history, "a", Seq(0)).await, (vec![700], vec![]));
        assert_eq!(seen(&history, "a", Seq(699)).await, (vec![700], vec![]));
        assert_eq!(seen(&history, "a", Seq(700)).await, (vec![], vec![]));
        assert_eq!(seen(&history, "a", Seq(900)).await, (vec![], vec![]));
        assert_eq!(seen(&history, "a", Seq(1300)).await, (vec![], vec![]));
        let last: Vec<u64> = (1201..=1300).collect();
        assert_eq!(
            seen(&history, "b", Seq(0)).await,
            (vec![1200], last.clone())
        );
        assert_eq!(seen(&history, "b", Seq(1200)).await, (vec![], last));
        let room = "b".parse().expect("a room");
        let position = history.before_last(&room, 1000).await.expect("a position");
        assert_eq!(position, Seq(1200));
    }

    #[tokio::test]
    async fn numbers_go_on_when_everything_is_erased() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::Folder(folder.path().to_owned());
        let (mut writer, history) = open(&storage, "a test").expect("a log");
        let writer = tokio::task::spawn_blocking(move || {
            said(&mut writer, "a", 3);
            said(&mut writer, "b", 2);
            writer
        })
        .await
        .expect("no panic");
        let retention = retention(&writer, None);
        let all = retention.erase(Some(At(i64::MAX))).await.expect("erased");
        assert_eq!(all, Some(Seq(5)));
        assert_eq!(
            retention.erase(Some(At(i64::MAX))).await.expect("nothing"),
            None
        );
        drop((writer, history, retention));
        let (mut writer, history) = open(&storage, "a test").expect("sound");
        assert_eq!(history.head(), Seq(5));
        assert_eq!(seen(&history, "a", Seq(2)).await, (vec![3], vec![]));
        tokio::task::spawn_blocking(move || said(&mut writer, "a", 1))
            .await
            .expect("no panic");
        assert_eq!(seen(&history, "a", Seq(3)).await, (vec![], vec![6]));
        assert_eq!(seen(&history, "a", Seq(2)).await, (vec![3], vec![6]));
    }

    #[tokio::test]
    async fn the_old_wait_for_those_before_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::Folder(folder.path().to_owned());
        let (mut writer, _) = open(&storage, "a test").expect("a log");
        let writer = tokio::task::spawn_blocking(move || {
            said(&mut writer, "a", 5);
            writer
        })
        .await
        .expect("no panic");
        let retention = retention(&writer, None);
        {
            // The clock stood wrong when some of them were said.
            let mut store = retention.store.lock().await;
            store.date(&[(1, 10), (2, 20), (3, 90), (4, 20), (5, 30)]);
        }
        assert_eq!(retention.erase(Some(At(10))).await.expect("nothing"), None);
        let erased = retention.erase(Some(At(50))).await.expect("erased");
        assert_eq!(erased, Some(Seq(2)));
        let erased = retention.erase(Some(At(91))).await.expect("erased");
        assert_eq!(erased, Some(Seq(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_jumps_is_not_believed_at_once() {
        let start = 1_000 * DAY;
        let mut clock = Clock::start(At(start));
        let hours = |hours: u64| Duration::from_secs(60 * 60 * hours);
        assert_eq!(clock.now(At(start + 300 * DAY)), At(start), "at a start");
        tokio::time::advance(hours(3)).await;
        clock.now(At(start + DAY / 8));
        tokio::time::advance(hours(3)).await;
        assert_eq!(clock.now(At(start + DAY / 4)), At(start + DAY / 4));
        // A day ahead, for a moment.
        assert_eq!(clock.now(At(start + DAY + DAY / 4)), At(start + DAY / 4));
        assert_eq!(clock.now(At(start + DAY / 4)), At(start + DAY / 4));
        // A day ahead, and it stays.
        let ahead = start + DAY + DAY / 4;
        let mut believed = None;
        for hour in 0..3 {
            if clock.now(At(ahead + DAY / 24 * hour)) == At(ahead + DAY / 24 * hour) {
                believed = believed.or(Some(hour));
            }
            tokio::time::advance(hours(1)).await;
        }
        assert_eq!(believed, Some(2));
        // Back it is followed at once.
        assert_eq!(clock.now(At(start)), At(start));
    }
}
