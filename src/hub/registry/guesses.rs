//! Limits wrong secrets, by prefix and by name.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    time::Duration,
};

use tokio::time::Instant;

use super::rate::too_fast;
use crate::{
    net::Prefix,
    protocol::{Refusal, name::NameKey},
};

/// The time in which wrong secrets are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// How many wrong secrets one prefix may try in that time, whatever they are
/// for.
const MAX_PER_PREFIX: usize = 10;

/// How many wrong secrets may be tried for one name in that time.
const MAX_PER_NAME: usize = 100;

/// How many prefixes and how many names are remembered. If there are more, all
/// are forgotten.
const MAX_KNOWN: usize = 4096;

/// The wrong secrets of the last minute.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    prefixes: Recent<Option<Prefix>>,
    names: Recent<NameKey>,
}

impl Guesses {
    /// Checks that a secret of the prefix may be tried, for a name or for no
    /// name.
    ///
    /// # Errors
    ///
    /// Refuses if the prefix or the name had too many wrong secrets, with the
    /// time to wait.
    pub(super) fn check(
        &self,
        prefix: Option<Prefix>,
        name: Option<&NameKey>,
    ) -> Result<(), Refusal> {
        let now = Instant::now();
        if let Some(wait) = self.prefixes.wait(&prefix, MAX_PER_PREFIX, now) {
            let what = "Too many wrong secrets came from your address";
            return Err(too_fast(what, wait));
        }
        if let Some(wait) = name.and_then(|name| self.names.wait(name, MAX_PER_NAME, now)) {
            return Err(too_fast("Too many wrong secrets came for this name", wait));
        }
        Ok(())
    }

    /// Counts a wrong secret for its prefix, and for the name that it should
    /// prove.
    pub(super) fn count(&mut self, prefix: Option<Prefix>, name: Option<&NameKey>) {
        let now = Instant::now();
        self.prefixes.add(prefix, MAX_PER_PREFIX, now);
        if let Some(name) = name {
            self.names.add(name.clone(), MAX_PER_NAME, now);
        }
    }

    /// Whether a secret is right, as `is_right` says. A wrong one counts.
    ///
    /// # Errors
    ///
    /// As [`Guesses::check`]. Then `is_right` is not called.
    pub(super) fn attempt(
        &mut self,
        prefix: Option<Prefix>,
        name: Option<&NameKey>,
        is_right: impl FnOnce() -> bool,
    ) -> Result<bool, Refusal> {
        self.check(prefix, name)?;
        let right = is_right();
        if !right {
            self.count(prefix, name);
        }
        Ok(right)
    }
}

/// When each key had its last wrong secrets, the oldest first.
#[derive(Debug)]
struct Recent<K>(HashMap<K, VecDeque<Instant>>);

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Recent(HashMap::new())
    }
}

impl<K: Eq + Hash> Recent<K> {
    /// How long a key must wait that had `most` within the last minute.
    fn wait(&self, key: &K, most: usize, now: Instant) -> Option<Duration> {
        let recent = self.0.get(key).filter(|recent| recent.len() >= most)?;
        let wait = (*recent.front()? + WINDOW).saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }

    /// Adds a wrong secret, in place of the oldest if there are `most`.
    fn add(&mut self, key: K, most: usize, now: Instant) {
        if self.0.len() >= MAX_KNOWN && !self.0.contains_key(&key) {
            let is_recent = |at: &Instant| now.duration_since(*at) < WINDOW;
            self.0
                .retain(|_, recent| recent.back().is_some_and(is_recent));
            if self.0.len() > MAX_KNOWN / 2 {
                self.0.clear();
            }
        }
        let recent = self.0.entry(key).or_default();
        if recent.len() >= most {
            recent.pop_front();
        }
        recent.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::time::advance;

    use super::*;
    use crate::protocol::name::Name;

    fn prefix(n: u32) -> Prefix {
        IpAddr::from(Ipv4Addr::from(n)).into()
    }

    fn key(name: &str) -> NameKey {
        name.parse::<Name>().expect("a name").key()
    }

    // Verified to fail without a limit for a prefix.
    #[tokio::test(start_paused = true)]
    async fn a_prefix_may_try_ten_wrong_secrets_a_minute() {
        let mut guesses = Guesses::default();
        let names = ["ana", "bob"].map(key);
        for n in 0..10 {
            let name = Some(&names[n % 2]);
            assert_eq!(guesses.attempt(Some(prefix(1)), name, || true), Ok(true));
            assert_eq!(guesses.attempt(Some(prefix(1)), name, || false), Ok(false));
            advance(Duration::from_secs(1)).await;
        }
        let refused = guesses.attempt(Some(prefix(1)), None, || panic!("looked at"));
        assert_eq!(refused.expect_err("too many").retry_ms, Some(50_000));
        assert_eq!(
            guesses.attempt(Some(prefix(2)), Some(&names[0]), || true),
            Ok(true)
        );
        advance(Duration::from_secs(50)).await;
        assert_eq!(guesses.attempt(Some(prefix(1)), None, || false), Ok(false));
        assert!(
            guesses.attempt(Some(prefix(1)), None, || false).is_err(),
            "one a second"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_tried_a_hundred_times_a_minute_by_all() {
        let mut guesses = Guesses::default();
        let ana = key("ana");
        let wrong = (0..200).filter(|n| {
            let tried = guesses.attempt(Some(prefix(*n)), Some(&ana), || false);
            tried.is_ok()
        });
        assert_eq!(wrong.count(), 100);
        let bob = key("bob");
        assert_eq!(
            guesses.attempt(Some(prefix(300)), Some(&bob), || false),
            Ok(false)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn few_prefixes_are_remembered() {
        let mut guesses = Guesses::default();
        for n in 0..20_000 {
            let _ = guesses.attempt(Some(prefix(n)), None, || false);
            assert!(guesses.prefixes.0.len() <= MAX_KNOWN);
        }
    }
}
