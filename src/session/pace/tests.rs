use tokio::time::{advance, sleep};

use super::*;
use crate::{
    hub::{QuotaLimits, Rate, frame_cost},
    protocol::RefusalCode,
};

const MS: Duration = Duration::from_millis(1);

/// The full budget of an address.
fn budget(rate: &str) -> Arc<Budget> {
    let rate: Rate = rate.parse().expect("a rate");
    Arc::new(Budget::new(Some(rate), QuotaLimits::UNLIMITED))
}

fn id(n: usize) -> MessageId {
    n.to_string().parse().expect("an id")
}

/// Sends `count` messages at once; returns how many are accepted.
fn taken(pace: &mut Pace, count: usize) -> usize {
    (0..count)
        .filter(|_| pace.message(None, None, 1).is_ok())
        .count()
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_accepted_and_then_a_steady_rate() {
    let budget = budget("20:200");
    let mut pace = Pace::new(&budget);
    assert_eq!(taken(&mut pace, 1000), 200);
    let refused = pace.message(Some(&id(1)), None, 1).expect_err("too fast");
    assert_eq!(refused.retry_ms, Some(50));
    assert_eq!((refused.code, refused.id), (RefusalCode::Rate, Some(id(1))));
    assert!(
        refused
            .text
            .ends_with("20 messages a second: send it again in 0.1 s."),
        "{}",
        refused.text
    );
    advance(49 * MS).await;
    assert_eq!(taken(&mut pace, 10), 0);
    advance(MS).await;
    assert_eq!(taken(&mut pace, 10), 1);
    advance(Duration::from_secs(3)).await;
    assert_eq!(taken(&mut pace, 1000), 60);
    advance(Duration::from_secs(3600)).await;
    assert_eq!(taken(&mut pace, 1000), 200);
}

// Verified to fail when every frame counts as one.
#[tokio::test(start_paused = true)]
async fn a_long_frame_counts_as_one_more_for_each_kib() {
    let wait = |refused: Result<(), Refusal>| refused.expect_err("too fast").retry_ms;
    let here = budget("1:10");
    let mut pace = Pace::new(&here);
    assert!(pace.message(None, None, frame_cost(8 << 10)).is_ok());
    assert_eq!(
        wait(pace.message(None, None, frame_cost(1 << 10))),
        Some(1000)
    );
    assert!(pace.message(None, None, frame_cost((1 << 10) - 1)).is_ok());
    // One that counts as more than the burst is accepted after a pause, and
    // the next waits until all of it is paid.
    advance(Duration::from_secs(9)).await;
    assert_eq!(
        wait(pace.message(None, None, frame_cost(100 << 10))),
        Some(1000)
    );
    advance(Duration::from_secs(1)).await;
    assert!(pace.message(None, None, frame_cost(99 << 10)).is_ok());
    assert_eq!(wait(pace.message(None, None, frame_cost(0))), Some(91_000));
    // So are the rest of a message by POST, and a command.
    let other = budget("1:10");
    assert!(other.post().is_ok());
    other.posted(frame_cost(10 << 10));
    assert_eq!(wait(other.post()), Some(2000));
    let mut pace = Pace::new(&other);
    assert!(pace.commands(frame_cost(499 << 10)).is_ok());
    assert_eq!(wait(pace.commands(1)), Some(20));
}

#[tokio::test(start_paused = true)]
async fn an_address_may_send_four_times_the_rate_of_one_connection() {
    let here = budget("10:10");
    let all: usize = (0..10).map(|_| taken(&mut Pace::new(&here), 100)).sum();
    assert_eq!(all, 40, "a new connection has used as much as those before");
    let other = budget("10:10");
    assert_eq!(taken(&mut Pace::new(&other), 100), 10);
    // Messages by POST are limited like those of one connection.
    let third = budget("10:10");
    let posts = (0..100).filter(|_| third.post().is_ok()).count();
    assert_eq!(posts, 10);
    assert_eq!(taken(&mut Pace::new(&third), 100), 10);
    // All other requests have a larger bucket of their own.
    assert!((0..500).all(|_| here.request().is_ok()));
    let refused = Pace::new(&here).commands(1).expect_err("too many");
    assert_eq!(refused.retry_ms, Some(20));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_follows_a_refused_one_is_refused() {
    let budget = budget("1:3");
    let mut pace = Pace::new(&budget);
    let mut say = |n: usize, follows: Option<usize>| {
        let follows = follows.map(id);
        pace.message(Some(&id(n)), follows.as_ref(), 1)
    };
    for n in 1..=9 {
        assert_eq!(say(n, Some(n - 1)).is_ok(), n <= 3, "{n}");
    }
    advance(Duration::from_secs(3)).await;
    // The rate allows messages now, but not those that follow a refused one.
    for n in 10..=12 {
        let refused = say(n, Some(n - 1)).expect_err("behind");
        assert_eq!(refused.code, RefusalCode::Rate);
        assert!(refused.retry_ms.is_some_and(|ms| ms > 0));
    }
    for n in 4..=6 {
        assert!(say(n, Some(n - 1)).is_ok());
    }
    // A publisher that gives up a message sends the next one twice.
    assert!(say(7, Some(6)).is_err());
    advance(Duration::from_secs(3)).await;
    assert!(say(8, Some(7)).is_err());
    assert!(say(8, Some(7)).is_ok());
}

/// A client that has many messages in flight and heeds retry times.
struct Honest {
    window: usize,
    allowed: usize,
}

impl Honest {
    /// Sends all allowed messages, and sees their replies after `delay`.
    async fn turn(&mut self, pace: &mut Pace, delay: Duration) -> usize {
        let (mut taken, mut wait) = (0, Duration::ZERO);
        for _ in 0..self.allowed {
            match pace.message(None, None, 1) {
                Ok(()) => taken += 1,
                Err(refusal) => {
                    let told = Duration::from_millis(refusal.retry_ms.expect("a time"));
                    wait = wait.max(told);
                }
            }
            assert!(!pace.is_flood());
            sleep(delay / 1000).await;
        }
        sleep(wait.max(delay)).await;
        self.allowed = if wait.is_zero() {
            self.window.min(self.allowed + taken)
        } else {
            1
        };
        taken
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_heeds_retry_times_is_never_a_flood() {
    for (rate, delay) in [
        ("1:1", Duration::ZERO),
        ("1:1", Duration::from_secs(20)),
        ("20:200", MS),
        ("500:100", 100 * MS),
    ] {
        let budget = budget(rate);
        // All from one address, so that they use up each other's rate.
        let mut clients: Vec<_> = (0..8)
            .map(|_| {
                let honest = Honest {
                    window: 1000,
                    allowed: 1000,
                };
                (Pace::new(&budget), honest)
            })
            .collect();
        let mut all = 0;
        for _ in 0..200 {
            for (pace, honest) in &mut clients {
                all += honest.turn(pace, delay).await;
            }
        }
        assert!(all > 200, "{rate}: {all}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ignores_retry_times_floods_after_10_seconds() {
    for times in [10, 100, 10_000] {
        let budget = budget("20:200");
        let mut pace = Pace::new(&budget);
        let start = Instant::now();
        while !pace.is_flood() {
            taken(&mut pace, times / 10);
            advance(5 * MS).await;
            assert!(start.elapsed() < Duration::from_secs(20), "{times}");
        }
        assert!(start.elapsed() >= FLOOD, "{times}");
    }
    // One burst, however large, is no flood.
    let budget = budget("20:200");
    let mut pace = Pace::new(&budget);
    taken(&mut pace, 100_000);
    assert!(!pace.is_flood());
    // Slightly too many messages for ever are no flood either: they are only
    // refused.
    for _ in 0..10_000 {
        advance(30 * MS).await;
        taken(&mut pace, 1);
        assert!(!pace.is_flood());
    }
}
