//! Checks secrets off the async threads, a few at a time.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use ring::hmac;
use tokio::sync::{Semaphore, oneshot};

use super::actions::BUSY_RETRY_MS;
use crate::{
    protocol::{Refusal, RefusalCode, secret::Secret},
    store::{HardenedSecret, HashMemory, OwnedName},
};

/// How many chosen secrets are hashed at a time. Each takes a core and 19 MiB.
const AT_A_TIME: usize = 2;

/// How much the nice value of a thread that hashes is above the others'. Where
/// the chat needs all cores, a hash gets a tenth of one.
#[cfg(target_os = "linux")]
const HASH_NICENESS: i32 = 10;

/// How many may wait for that, for about 5 s.
const MAX_WAITING: usize = 256;

/// How many hashes of right secrets are kept in memory. Their owners come back
/// without a new hash.
const MAX_KEPT: usize = 4096;

/// Lets the chat go before the hash of the calling thread, so that guessers slow
/// nobody. On other systems than Linux this would hold for the whole process.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(HASH_NICENESS) {
        tracing::debug!("secrets are hashed at the usual priority: {error}");
    }
}

/// Hardens and compares secrets. Clones share the turns and the kept hashes.
#[derive(Clone)]
pub(super) struct Secrets(Arc<State>);

struct State {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    /// The memory of the hashes that do not run now.
    idle: Mutex<Vec<HashMemory>>,
    /// The hashes of right secrets, by the mark of secret and salt.
    kept: Mutex<HashMap<[u8; 32], HardenedSecret>>,
    /// The key of the marks, known to this process alone.
    key: hmac::Key,
}

impl Secrets {
    /// # Errors
    ///
    /// Fails if the system gives no random bytes.
    pub(super) fn new() -> io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Secrets(Arc::new(State {
            places: Arc::new(Semaphore::new(AT_A_TIME + MAX_WAITING)),
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            idle: Mutex::default(),
            kept: Mutex::default(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        })))
    }

    /// Hardens a secret; `None` if the salt is damaged. `check` decides once
    /// more when the turn of the secret has come.
    ///
    /// # Errors
    ///
    /// Refuses if too many secrets wait to be hashed, or as `check` does.
    pub(super) async fn harden(
        &self,
        secret: &Secret,
        salt: &[u8],
        check: impl Fn() -> Result<(), Refusal>,
    ) -> Result<Option<HardenedSecret>, Refusal> {
        if secret.is_made() {
            let unused = &mut HashMemory::default();
            return Ok(HardenedSecret::of(secret, salt, unused));
        }
        let busy = || Refusal {
            retry_ms: Some(BUSY_RETRY_MS),
            ..Refusal::new(
                RefusalCode::Busy,
                "Too many secrets are being checked just now; try again in a while.",
            )
        };
        let State { places, turns, .. } = &*self.0;
        let _place = places.try_acquire().map_err(|_| busy())?;
        // The hash goes on if its caller is gone, and so does its turn.
        let turn = Arc::clone(turns).acquire_owned().await;
        let turn = turn.map_err(|_| busy())?;
        check()?;
        let (state, secret, salt) = (Arc::clone(&self.0), secret.clone(), salt.to_owned());
        let (done, hashed) = oneshot::channel();
        let hash = move || {
            lower_priority();
            let mut memory = lock(&state.idle).pop().unwrap_or_default();
            let hardened = HardenedSecret::of(&secret, &salt, &mut memory);
            lock(&state.idle).push(memory);
            drop(turn);
            // Its caller may be gone.
            let _ = done.send(hardened);
        };
        let thread = thread::Builder::new().name("hash".to_owned());
        thread.spawn(hash).map_err(|_| busy())?;
        hashed.await.map_err(|_| busy())
    }

    /// Whether this is the secret of an owned name.
    ///
    /// # Errors
    ///
    /// As [`Secrets::harden`].
    pub(super) async fn prove(
        &self,
        owned: &OwnedName,
        secret: &Secret,
        check: impl Fn() -> Result<(), Refusal>,
    ) -> Result<bool, Refusal> {
        let Some(salt) = owned.salt() else {
            return Ok(false);
        };
        if let Some(kept) = self.kept(secret, salt) {
            return Ok(owned.is_proved_by(&kept));
        }
        let hardened = self.harden(secret, salt, check).await?;
        let Some(hardened) = hardened.filter(|hardened| owned.is_proved_by(hardened)) else {
            return Ok(false);
        };
        self.keep(secret, salt, hardened);
        Ok(true)
    }

    fn kept(&self, secret: &Secret, salt: &[u8]) -> Option<HardenedSecret> {
        let mark = (!secret.is_made()).then(|| self.mark(secret, salt))?;
        lock(&self.0.kept).get(&mark).cloned()
    }

    /// Keeps the hash of a right secret.
    pub(super) fn keep(&self, secret: &Secret, salt: &[u8], hardened: HardenedSecret) {
        if secret.is_made() {
            return;
        }
        let mut kept = lock(&self.0.kept);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(self.mark(secret, salt), hardened);
    }

    fn mark(&self, secret: &Secret, salt: &[u8]) -> [u8; 32] {
        let mut mark = hmac::Context::with_key(&self.0.key);
        mark.update(salt);
        mark.update(secret.reveal().as_bytes());
        mark.sign().as_ref().try_into().unwrap_or_default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::task::TaskTracker;

    use super::*;

    const CHOSEN: &str = "of-ana-and-long-enough";

    // Verified to fail without a limit of places.
    #[tokio::test]
    async fn chosen_secrets_wait_in_a_bounded_queue() {
        let secrets = Secrets::new().expect("random bits");
        let held = secrets.0.turns.acquire_many(2).await.expect("open");
        let secret: Secret = CHOSEN.parse().expect("a secret");
        let tasks = TaskTracker::new();
        let waiting: Vec<_> = (0..AT_A_TIME + MAX_WAITING)
            .map(|_| {
                let (secrets, secret) = (secrets.clone(), secret.clone());
                tasks.spawn(async move { secrets.harden(&secret, &[7; 16], || Ok(())).await })
            })
            .collect();
        let full = async {
            while secrets.0.places.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let full = tokio::time::timeout(Duration::from_secs(60), full).await;
        full.expect("a full queue");
        let refused = secrets.harden(&secret, &[7; 16], || Ok(())).await.err();
        let refused = refused.expect("no place");
        assert_eq!(refused.code, RefusalCode::Busy);
        // A made secret waits for nobody.
        let made = Secret::from_random([7; 16]);
        assert!(matches!(
            secrets.harden(&made, &[7; 16], || Ok(())).await,
            Ok(Some(_))
        ));
        for task in &waiting {
            task.abort();
        }
        drop(held);
        while secrets.0.places.available_permits() < AT_A_TIME + MAX_WAITING {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let hardened = secrets.harden(&secret, &[7; 16], || Ok(())).await;
        assert!(matches!(hardened, Ok(Some(_))));
        assert!(lock(&secrets.0.idle).len() <= AT_A_TIME);
    }

    // Verified to fail when a hash keeps the usual priority.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_hashes_gives_way_to_the_others() {
        let niceness = || rustix::process::getpriority_process(None).expect("it runs");
        let usual = niceness();
        let hashes = thread::spawn(move || {
            lower_priority();
            niceness()
        });
        let expected = (usual + HASH_NICENESS).min(19);
        assert_eq!(hashes.join().expect("a niceness"), expected);
        assert_eq!(niceness(), usual);
    }
}
