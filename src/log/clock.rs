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
const BELIEVED_AFTER: Duration = Duration::from_secs(90 * 60);

/// The guarded clock: a clock that does not follow a jump of the wall clock
/// ahead at once.
///
/// A jump ahead would make everything expire at once. So this clock follows only
/// after the wall clock was seen ahead, and never right, for an hour and a half.
/// It must be read often, so that it sees the wall clock return. Until then it
/// runs on from its last time. At a start it runs on from the log's clock, for at
/// least as long. It follows a jump back at once. The log's clock itself never
/// goes back, because a store keeps the highest time that it has seen.
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

    /// Moves the wall clock to this many milliseconds ahead of the system's.
    #[cfg(test)]
    pub(crate) fn move_wall(&self, ms: i64) {
        self.0.lock().expect("no panic").moved = ms;
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
    /// The believed difference of the wall clock and the time since the start, in
    /// milliseconds.
    believed: i64,
    /// The jump of the wall clock that is not believed yet.
    ahead: Option<Ahead>,
    /// How far a test has moved the wall clock, in milliseconds.
    #[cfg(test)]
    moved: i64,
}

/// A wall clock that is ahead and not believed yet.
struct Ahead {
    /// When it was first seen ahead, since the start.
    first: Duration,
    /// The smallest difference that was seen.
    least: i64,
}

impl Guarded {
    fn start(at: i64) -> Self {
        Guarded {
            started: Instant::now(),
            believed: at,
            ahead: None,
            #[cfg(test)]
            moved: 0,
        }
    }

    fn now(&mut self, wall: i64) -> i64 {
        #[cfg(test)]
        let wall = wall + self.moved;
        let since = self.started.elapsed();
        let passed = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let difference = wall.saturating_sub(passed);
        if difference <= self.believed {
            self.believed = difference;
            self.ahead = None;
        } else {
            let ahead = self.ahead.get_or_insert(Ahead {
                first: since,
                least: difference,
            });
            ahead.least = ahead.least.min(difference);
            if since.saturating_sub(ahead.first) >= BELIEVED_AFTER {
                self.believed = ahead.least;
                self.ahead = None;
            }
        }
        passed.saturating_add(self.believed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60 * 1000;
    const MINUTE: Duration = Duration::from_secs(60);

    /// Reads the clock every minute for this long. The wall clock is `ahead`
    /// milliseconds ahead of the true time. Returns how far the clock is ahead
    /// at the end.
    async fn read(clock: &mut Guarded, start: i64, minutes: u32, ahead: i64) -> i64 {
        let mut last = 0;
        for _ in 0..minutes {
            tokio::time::advance(MINUTE).await;
            let passed = i64::try_from(clock.started.elapsed().as_millis()).expect("a short time");
            last = clock.now(start + passed + ahead) - start - passed;
        }
        last
    }

    #[tokio::test(start_paused = true)]
    async fn a_jump_ahead_is_believed_after_90_minutes() {
        let start = 1_000 * DAY;
        let mut clock = Guarded::start(start);
        assert_eq!(clock.now(start + 300 * DAY), start, "at a start");
        assert_eq!(read(&mut clock, start, 180, 0).await, 0);
        // The wall clock jumps a day ahead for a moment, and again later.
        for _ in 0..40 {
            assert_eq!(read(&mut clock, start, 1, DAY).await, 0);
            assert_eq!(read(&mut clock, start, 1, 0).await, 0);
        }
        // It jumps and stays there, once with a smaller jump.
        assert_eq!(read(&mut clock, start, 60, DAY).await, 0);
        assert_eq!(read(&mut clock, start, 1, DAY / 2).await, 0);
        assert_eq!(read(&mut clock, start, 29, DAY).await, 0);
        assert_eq!(read(&mut clock, start, 1, DAY).await, DAY / 2);
        assert_eq!(read(&mut clock, start, 91, DAY).await, DAY);
        // The clock follows a jump back at once.
        assert_eq!(read(&mut clock, start, 1, 0).await, 0);
    }
}
