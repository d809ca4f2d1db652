//! The guarded clock: the wall clock, as far as it is believed.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::entry::{ClockTime, Stamp};
use crate::protocol::At;

/// How long the wall clock must have stood ahead before it is believed.
const BELIEVED_AFTER: Duration = Duration::from_secs(60 * 60);

/// A clock that distrusts a wall clock that jumps ahead.
///
/// A jump ahead would make everything expire at once. So the wall clock is
/// followed only once it has stood there for an hour. Until then, and for the
/// first hour after a start, time goes on from where it was: at a start, from
/// the log's clock. A jump back is followed at once; the log's clock itself
/// never goes back, because a store keeps the highest time it has seen.
pub struct Clock(Mutex<Guarded>);

impl Clock {
    /// Goes on from a log's clock, if that has a time.
    pub fn after(log: ClockTime) -> Self {
        let wall = wall();
        let start = match log {
            ClockTime(0) => wall.0,
            ClockTime(ms) => ms.min(wall.0),
        };
        Clock(Mutex::new(Guarded::start(start)))
    }

    /// The time as far as it is believed.
    pub fn now(&self) -> ClockTime {
        self.at(wall())
    }

    /// Both clocks as they stand now.
    pub fn stamp(&self) -> Stamp {
        let at = wall();
        Stamp {
            at,
            clock: self.at(at),
        }
    }

    fn at(&self, wall: At) -> ClockTime {
        let mut guarded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ClockTime(guarded.now(wall.0))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}

/// The wall clock. People read it; nothing else depends on it.
fn wall() -> At {
    At(jiff::Timestamp::now().as_millisecond())
}

struct Guarded {
    started: Instant,
    /// How far the wall clock was ahead of the time since the start, at least:
    /// in this hour and in the one before. In milliseconds.
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
    async fn a_clock_that_jumps_is_not_believed_at_once() {
        let start = 1_000 * DAY;
        let mut clock = Guarded::start(start);
        let hours = |hours: u64| Duration::from_secs(60 * 60 * hours);
        assert_eq!(clock.now(start + 300 * DAY), start, "at a start");
        tokio::time::advance(hours(3)).await;
        clock.now(start + DAY / 8);
        tokio::time::advance(hours(3)).await;
        assert_eq!(clock.now(start + DAY / 4), start + DAY / 4);
        // A day ahead, for a moment.
        assert_eq!(clock.now(start + DAY + DAY / 4), start + DAY / 4);
        assert_eq!(clock.now(start + DAY / 4), start + DAY / 4);
        // A day ahead, and it stays.
        let ahead = start + DAY + DAY / 4;
        let mut believed = None;
        for hour in 0..3 {
            if clock.now(ahead + DAY / 24 * hour) == ahead + DAY / 24 * hour {
                believed = believed.or(Some(hour));
            }
            tokio::time::advance(hours(1)).await;
        }
        assert_eq!(believed, Some(2));
        // Back it is followed at once.
        assert_eq!(clock.now(start), start);
    }
}
