//! The guarded clock, which distrusts jumps of the wall clock.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::entry::{GuardedTime, Stamp};
use crate::protocol::WallTime;

/// The time that the wall clock must stay ahead before the guarded clock
/// follows.
const BELIEVED_AFTER: Duration = Duration::from_secs(60 * 60);

/// The guarded clock: a clock that does not follow a jump of the wall clock
/// ahead at once.
///
/// A jump ahead would make everything expire at once. So this clock follows only
/// after the wall clock has stayed ahead for an hour. Until then it runs on from
/// its last time. At a start it runs on from the log's clock, for at least an
/// hour. It follows a jump back at once. The log's clock itself never goes back,
/// because a store keeps the highest time that it has seen.
pub struct GuardedClock(Mutex<Guarded>);

impl GuardedClock {
    /// A clock that starts at the log's clock, or at the wall clock if that is
    /// earlier or the log has no time yet.
    pub fn after(log: GuardedTime) -> Self {
        let wall = wall();
        let start = match log {
            GuardedTime(0) => wall.0,
            GuardedTime(ms) => ms.min(wall.0),
        };
        GuardedClock(Mutex::new(Guarded::start(start)))
    }

    /// The guarded time.
    pub fn now(&self) -> GuardedTime {
        self.at(wall())
    }

    /// The times of both clocks now.
    pub fn stamp(&self) -> Stamp {
        let at = wall();
        Stamp {
            wall: at,
            guarded: self.at(at),
        }
    }

    fn at(&self, wall: WallTime) -> GuardedTime {
        let mut guarded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        GuardedTime(guarded.now(wall.0))
    }
}

impl fmt::Debug for GuardedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedClock").finish_non_exhaustive()
    }
}

/// The time of the wall clock: for people, and as the input of the guarded
/// clock.
fn wall() -> WallTime {
    WallTime(jiff::Timestamp::now().as_millisecond())
}

struct Guarded {
    started: Instant,
    /// The smallest difference of the wall clock and the time since the start,
    /// in this hour and in the hour before. In milliseconds.
    ahead: [i64; 2],
    hours: u64,
}

impl Guarded {
    fn start(at: i64) -> Self {
        Guarded {
            started: Instant::now(),
            ahead: [at; 2],
            hours: 0,
        }
    }

    fn now(&mut self, wall: i64) -> i64 {
        let since = self.started.elapsed();
        let passed = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let ahead = wall.saturating_sub(passed);
        let hours = since.as_secs() / BELIEVED_AFTER.as_secs();
        if hours > std::mem::replace(&mut self.hours, hours) {
            self.ahead = [ahead, self.ahead[0]];
        }
        self.ahead[0] = self.ahead[0].min(ahead);
        passed.saturating_add(self.ahead[0].min(self.ahead[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60 * 1000;

    #[tokio::test(start_paused = true)]
    async fn a_jump_ahead_is_not_followed_at_once() {
        let start = 1_000 * DAY;
        let mut clock = Guarded::start(start);
        let hours = |hours: u64| Duration::from_secs(60 * 60 * hours);
        assert_eq!(clock.now(start + 300 * DAY), start, "at a start");
        tokio::time::advance(hours(3)).await;
        clock.now(start + DAY / 8);
        tokio::time::advance(hours(3)).await;
        assert_eq!(clock.now(start + DAY / 4), start + DAY / 4);
        // The wall clock jumps a day ahead for a moment.
        assert_eq!(clock.now(start + DAY + DAY / 4), start + DAY / 4);
        assert_eq!(clock.now(start + DAY / 4), start + DAY / 4);
        // The wall clock jumps a day ahead and stays there.
        let ahead = start + DAY + DAY / 4;
        let mut believed = None;
        for hour in 0..3 {
            if clock.now(ahead + DAY / 24 * hour) == ahead + DAY / 24 * hour {
                believed = believed.or(Some(hour));
            }
            tokio::time::advance(hours(1)).await;
        }
        assert_eq!(believed, Some(2));
        // The clock follows a jump back at once.
        assert_eq!(clock.now(start), start);
    }
}
