use tokio::time::{advance, sleep};

use super::*;

const MS: Duration = Duration::from_millis(1);

fn rates(per_second: u32, burst: u32) -> Arc<Rates> {
    Arc::new(Rates::new(Rate::of(per_second, burst)))
}

fn peer(last: u8, port: u16) -> SocketAddr {
    ([192, 0, 2, last], port).into()
}

fn id(n: usize) -> MessageId {
    n.to_string().parse().expect("an id")
}

/// How many of so many messages at once may come.
fn taken(pace: &mut Pace, count: usize) -> usize {
    (0..count)
        .filter(|_| pace.message(None, None).is_ok())
        .count()
}

#[test]
fn rates_as_typed() {
    for (typed, rate) in [
        ("20", Rate::of(20, 200)),
        ("20:200", Rate::of(20, 200)),
        ("500:100", Rate::of(500, 100)),
        ("1:1", Rate::of(1, 1)),
    ] {
        assert_eq!(typed.parse(), Ok(rate), "{typed}");
    }
    for typed in [
        "", "0", "1:0", ":5", "5:", "-1", "1.5", "1000001", "a", "1:2:3",
    ] {
        assert!(typed.parse::<Rate>().is_err(), "{typed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_and_then_a_steady_rate() {
    let rates = rates(20, 200);
    let mut pace = Pace::new(&rates, peer(1, 1));
    assert_eq!(taken(&mut pace, 1000), 200);
    let refused = pace.message(Some(&id(1)), None).expect_err("too fast");
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

#[tokio::test(start_paused = true)]
async fn an_address_has_four_times_that() {
    let rates = rates(10, 10);
    let mut all = 0;
    for port in 0..10 {
        all += taken(&mut Pace::new(&rates, peer(1, port)), 100);
    }
    assert_eq!(all, 40, "whoever comes again has used as much as before");
    let mut other = Pace::new(&rates, peer(2, 1));
    assert_eq!(taken(&mut other, 100), 10, "another address has its own");
    // Messages by POST are like those of one connection.
    let posts = (0..100).filter(|_| rates.post(peer(3, 1)).is_ok()).count();
    assert_eq!(posts, 10);
    assert_eq!(taken(&mut Pace::new(&rates, peer(3, 2)), 100), 10);
    // Whatever else there is has a larger bucket of its own.
    assert!((0..500).all(|port| rates.request(peer(1, port)).is_ok()));
    let refused = Pace::new(&rates, peer(1, 1))
        .command()
        .expect_err("too many");
    assert_eq!(refused.retry_ms, Some(20));
}

#[tokio::test(start_paused = true)]
async fn addresses_are_forgotten() {
    let rates = rates(1, 1);
    let many = u32::try_from(4 * MAX_ADDRESSES).expect("a number");
    let mut here = Pace::new(&rates, peer(1, 1));
    assert_eq!(taken(&mut here, 2), 1);
    for n in 0..many {
        let peer = (std::net::Ipv4Addr::from(n + 1), 1).into();
        assert!(rates.post(peer).is_ok());
        if n % 4 == 0 {
            advance(MS).await;
        }
    }
    let budgets = || rates.addresses.lock().expect("no panic").budgets.len();
    assert!(budgets() <= 2 * MAX_ADDRESSES + 1, "{}", budgets());
    // With time everyone has got back what was used, and nothing is to be known.
    advance(Duration::from_secs(3600)).await;
    rates.addresses.lock().expect("no panic").look_at = 0;
    assert!(rates.post(peer(2, 1)).is_ok());
    assert_eq!(budgets(), 2, "that of the connection, and the last one");
}

#[tokio::test(start_paused = true)]
async fn what_stands_behind_one_refused_is_refused() {
    let rates = rates(1, 3);
    let mut pace = Pace::new(&rates, peer(1, 1));
    let mut say = |n: usize, follows: Option<usize>| {
        let follows = follows.map(id);
        pace.message(Some(&id(n)), follows.as_ref())
    };
    for n in 1..=9 {
        assert_eq!(say(n, Some(n - 1)).is_ok(), n <= 3, "{n}");
    }
    advance(Duration::from_secs(3)).await;
    // There is room now, but not for what stands behind.
    for n in 10..=12 {
        let refused = say(n, Some(n - 1)).expect_err("behind");
        assert_eq!(refused.code, RefusalCode::Rate);
        assert!(refused.retry_ms.is_some_and(|ms| ms > 0));
    }
    assert!(say(4, None).is_ok());
    assert!(say(6, Some(5)).is_err());
    assert!(say(5, Some(4)).is_ok());
    assert!(say(6, Some(5)).is_ok());
}

/// A client that has much under way, and does what it is told.
struct Honest {
    window: usize,
    allowed: usize,
}

impl Honest {
    /// Sends what it may, and hears of all of it after a while.
    async fn turn(&mut self, pace: &mut Pace, delay: Duration) -> usize {
        let (mut taken, mut wait) = (0, Duration::ZERO);
        for _ in 0..self.allowed {
            match pace.message(None, None) {
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
async fn who_does_what_it_is_told_is_no_flood() {
    for (rate, delay) in [
        (Rate::of(1, 1), Duration::ZERO),
        (Rate::of(1, 1), Duration::from_secs(20)),
        (Rate::of(20, 200), MS),
        (Rate::of(500, 100), 100 * MS),
    ] {
        let rates = Arc::new(Rates::new(rate));
        // Of one address, so that they take each other's turns.
        let mut clients: Vec<_> = (0..8)
            .map(|port| {
                let honest = Honest {
                    window: 1000,
                    allowed: 1000,
                };
                (Pace::new(&rates, peer(1, port)), honest)
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
async fn who_does_not_is_one_after_10_seconds() {
    for times in [10, 100, 10_000] {
        let rates = rates(20, 200);
        let mut pace = Pace::new(&rates, peer(1, 1));
        let start = Instant::now();
        while !pace.is_flood() {
            taken(&mut pace, times / 10);
            advance(5 * MS).await;
            assert!(start.elapsed() < Duration::from_secs(20), "{times}");
        }
        assert!(start.elapsed() >= FLOOD, "{times}");
    }
    // One burst, however large, is none.
    let rates = rates(20, 200);
    let mut pace = Pace::new(&rates, peer(1, 1));
    taken(&mut pace, 100_000);
    assert!(!pace.is_flood());
    // A little too much, for ever, is none either: it is only refused.
    for _ in 0..10_000 {
        advance(30 * MS).await;
        taken(&mut pace, 1);
        assert!(!pace.is_flood());
    }
}
