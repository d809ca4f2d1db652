//! Quotas: how much one prefix may add to what the server keeps.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use tokio::time::Instant;

use super::rate::{Bucket, Rate, too_fast};
use crate::protocol::{Refusal, RefusalCode, typed_duration::TypedDuration};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A prefix may take this part of a day's new names at once.
const NAMES_AT_ONCE: u32 = 4;

/// Every row counts as at least this many bytes: about what its other fields
/// and its place in the indices take.
const ROW_BYTES: usize = 256;

/// How much one prefix may add; absent limits are off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaLimits {
    /// The new owned names of a day. A quarter of them may come at once.
    pub new_names: Option<NonZeroU32>,
    /// The stored bytes of a day, which may also come at once.
    pub daily_bytes: Option<NonZeroU64>,
    /// The rate of topic changes.
    pub topics: Option<Rate>,
}

impl QuotaLimits {
    /// No limit at all.
    pub const UNLIMITED: QuotaLimits = QuotaLimits {
        new_names: None,
        daily_bytes: None,
        topics: None,
    };

    /// The default limits where strangers may come.
    pub const DEFAULT: QuotaLimits = QuotaLimits {
        new_names: Some(NonZeroU32::MIN.saturating_add(19)),
        daily_bytes: Some(NonZeroU64::MIN.saturating_add((64 << 20) - 1)),
        topics: Some(Rate::of(1, 20)),
    };
}

/// The quotas of one prefix, as far as they are used.
#[derive(Debug)]
pub(super) struct Quotas {
    limits: QuotaLimits,
    names: Option<Bucket>,
    bytes: Option<Bucket>,
    topics: Option<Bucket>,
}

impl Quotas {
    /// Unused quotas.
    pub(super) fn new(limits: QuotaLimits) -> Self {
        Quotas {
            limits,
            names: limits.new_names.map(|count| {
                let at_once = (count.get() / NAMES_AT_ONCE).max(1);
                Bucket::filling(at_once.into(), DAY * at_once / count.get())
            }),
            bytes: limits
                .daily_bytes
                .map(|bytes| Bucket::filling(bytes.get(), DAY)),
            topics: limits.topics.map(Bucket::full),
        }
    }

    /// These quotas, as far used as others with other limits.
    pub(super) fn used_as(self, other: &Quotas) -> Self {
        let used = |next: Option<Bucket>, before: &Option<Bucket>| match before {
            Some(before) => next.map(|next| next.used_as(before)),
            None => next,
        };
        Quotas {
            limits: self.limits,
            names: used(self.names, &other.names),
            bytes: used(self.bytes, &other.bytes),
            topics: used(self.topics, &other.topics),
        }
    }

    /// Takes a new owned name.
    ///
    /// # Errors
    ///
    /// Refuses one name too many, with the time to wait.
    pub(super) fn name(&mut self, now: Instant) -> Result<(), Refusal> {
        let what = "Your address has made as many new names its own as it may today";
        check(self.names.as_ref(), now, 1, |wait| later(what, wait))?;
        self.store(now, 1, 0)?;
        take(&mut self.names, now, 1);
        Ok(())
    }

    /// Takes a topic of this many bytes.
    ///
    /// # Errors
    ///
    /// Refuses a topic that comes too fast, with the time to wait.
    pub(super) fn topic(&mut self, now: Instant, bytes: usize) -> Result<(), Refusal> {
        let what = "Your address sets topics too fast";
        check(self.topics.as_ref(), now, 1, |wait| too_fast(what, wait))?;
        self.store(now, 1, bytes)?;
        take(&mut self.topics, now, 1);
        Ok(())
    }

    /// Takes rows that hold this many bytes each.
    ///
    /// # Errors
    ///
    /// Refuses bytes beyond those of a day, with the time to wait.
    pub(super) fn store(&mut self, now: Instant, rows: u32, bytes: usize) -> Result<(), Refusal> {
        let count = u32::try_from(bytes.max(ROW_BYTES)).unwrap_or(u32::MAX);
        let count = count.saturating_mul(rows);
        let limit = self.limits.daily_bytes.map_or(0, NonZeroU64::get);
        check(self.bytes.as_ref(), now, count, |wait| {
            let what =
                format!("Your address has stored as much as it may today ({limit} bytes a day)");
            later(&what, wait)
        })?;
        take(&mut self.bytes, now, count);
        Ok(())
    }

    /// Whether all quotas are unused, so that they need not be remembered.
    pub(super) fn are_untouched(&self, now: Instant) -> bool {
        let mut all = [&self.names, &self.bytes, &self.topics]
            .into_iter()
            .flatten();
        all.all(|bucket| bucket.is_full(now))
    }
}

/// Checks that a quota has this much left.
///
/// # Errors
///
/// Refuses otherwise, with the time to wait.
fn check(
    bucket: Option<&Bucket>,
    now: Instant,
    count: u32,
    refusal: impl FnOnce(Duration) -> Refusal,
) -> Result<(), Refusal> {
    match bucket.map(|bucket| bucket.wait(now, count)) {
        Some(wait) if !wait.is_zero() => Err(refusal(wait)),
        _ => Ok(()),
    }
}

fn take(bucket: &mut Option<Bucket>, now: Instant, count: u32) {
    if let Some(bucket) = bucket {
        bucket.take(now, count);
    }
}

/// Makes a refusal that may last for hours.
fn later(what: &str, wait: Duration) -> Refusal {
    let retry_ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    let wait = TypedDuration::rounded_up(wait);
    Refusal {
        retry_ms: Some(retry_ms),
        ..Refusal::new(RefusalCode::Rate, format!("{what}: try again in {wait}."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn five_new_names_at_once_and_twenty_a_day() {
        let mut quotas = Quotas::new(QuotaLimits::DEFAULT);
        let mut taken = 0;
        for hour in 0..=24 {
            while quotas.name(Instant::now()).is_ok() {
                taken += 1;
            }
            if hour == 0 {
                assert_eq!(taken, 5);
                let refused = quotas.name(Instant::now()).expect_err("too many");
                assert_eq!(refused.code, RefusalCode::Rate);
                assert!(refused.text.contains("in 72m"), "{}", refused.text);
            }
            tokio::time::advance(Duration::from_secs(60 * 60)).await;
        }
        assert_eq!(taken, 25, "five at once, and twenty in the day after");
        assert!(!quotas.are_untouched(Instant::now()));
        tokio::time::advance(DAY).await;
        assert!(quotas.are_untouched(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn stored_bytes_come_back_over_a_day() {
        let daily_bytes = NonZeroU64::new(10_000);
        let mut quotas = Quotas::new(QuotaLimits {
            daily_bytes,
            ..QuotaLimits::UNLIMITED
        });
        let mut store = |rows, bytes| quotas.store(Instant::now(), rows, bytes);
        for _ in 0..4 {
            store(2, 1000).expect("within the quota");
        }
        // A short row counts for its other fields too.
        for _ in 0..7 {
            store(1, 1).expect("within the quota");
        }
        let refused = store(1, 1).expect_err("too much");
        assert!(
            refused.text.contains("10000 bytes a day"),
            "{}",
            refused.text
        );
        let half = DAY / 2;
        tokio::time::advance(half).await;
        store(1, 5000).expect("half a day's bytes");
        assert!(store(1, 1000).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn topics_come_one_a_second_after_twenty() {
        let mut quotas = Quotas::new(QuotaLimits::DEFAULT);
        for _ in 0..20 {
            quotas.topic(Instant::now(), 9).expect("within the burst");
        }
        assert!(quotas.topic(Instant::now(), 9).is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        quotas.topic(Instant::now(), 9).expect("one a second");
        assert!(quotas.topic(Instant::now(), 9).is_err());
    }
}
