//! Links: each makes one other device the owner of a name.
//!
//! A link holds the secret of the name, so it is in memory alone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::actions::BUSY_RETRY_MS;
use crate::protocol::{
    Refusal, RefusalCode,
    name::{Name, NameKey},
    secret::Secret,
    token::Token,
};

/// How long a link is valid.
pub(super) const VALID: Duration = Duration::from_secs(10 * 60);

/// How many links there may be.
const MAX_LINKS: usize = 1000;

/// All links, by the SHA-256 of their tokens. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Links(Arc<Mutex<HashMap<[u8; 32], Link>>>);

struct Link {
    name: Name,
    key: NameKey,
    secret: Secret,
    until: Instant,
}

impl Links {
    /// Adds a link, in place of an earlier one to the same name.
    ///
    /// # Errors
    ///
    /// Refuses if there are too many links.
    pub(super) fn add(&self, token: &Token, name: Name, secret: Secret) -> Result<(), Refusal> {
        let (key, now) = (name.key(), Instant::now());
        let mut links = self.lock();
        links.retain(|_, other| now < other.until && other.key != key);
        if links.len() >= MAX_LINKS {
            let text = "Too many links are open just now; try again in a while.";
            return Err(Refusal {
                retry_ms: Some(BUSY_RETRY_MS),
                ..Refusal::new(RefusalCode::Busy, text)
            });
        }
        let until = now + VALID;
        let link = Link {
            name,
            key,
            secret,
            until,
        };
        links.insert(token.digest(), link);
        Ok(())
    }

    /// Takes a link, which is used up; `None` if there is no valid one.
    pub(super) fn take(&self, token: &Token) -> Option<(Name, Secret)> {
        let link = self.lock().remove(&token.digest())?;
        (Instant::now() < link.until).then_some((link.name, link.secret))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Link>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Verified to fail when a link is not removed, and without its time.
    #[tokio::test(start_paused = true)]
    async fn a_link_is_valid_once_and_for_ten_minutes() {
        let links = Links::default();
        let token = |number| Token::from_random([number; 16]);
        let add = |number: u8, name: &str| {
            let name = name.parse().expect("a name");
            links.add(&token(number), name, Secret::from_random([number; 16]))
        };
        let name = |number| links.take(&token(number)).map(|(name, _)| name.to_string());
        add(1, "ana").expect("room");
        assert_eq!(name(1).as_deref(), Some("ana"));
        assert_eq!(name(1), None, "once");
        add(2, "ana").expect("room");
        add(3, "Ana").expect("room");
        assert_eq!(name(2), None, "another one took its place");
        tokio::time::advance(VALID).await;
        assert_eq!(name(3), None, "too late");
        for number in 0..MAX_LINKS {
            let token = Token::from_random(u128::to_le_bytes(number as u128 + 1000));
            let name = format!("name-{number}").parse().expect("a name");
            let added = links.add(&token, name, Secret::from_random([1; 16]));
            added.expect("room");
        }
        assert_eq!(add(4, "bob").expect_err("full").code, RefusalCode::Busy);
    }
}
