//! Secrets in the form that is compared with the store.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use ring::hmac;

use crate::protocol::secret::Secret;

/// What hashing a chosen secret costs: 19 MiB, two passes, one lane (OWASP
/// Password Storage Cheat Sheet). Secrets in stores depend on it.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// The memory of one hash, kept from one to the next: an allocator would keep a
/// freed one for each thread.
#[derive(Default)]
pub struct HashMemory(Vec<Block>);

/// A secret in the form that is compared with the store, under the salt of a
/// name.
///
/// A secret that a program made cannot be guessed and stays as it is. A chosen
/// one is hashed with Argon2id, so that each guess costs memory and time, also
/// for a thief of the store.
#[derive(Clone)]
pub struct HardenedSecret(Box<[u8]>);

impl HardenedSecret {
    /// Hardens a secret. For a chosen one this takes about 36 ms and 19 MiB.
    /// `None` if the salt is damaged.
    pub fn of(secret: &Secret, salt: &[u8], memory: &mut HashMemory) -> Option<Self> {
        let text = secret.reveal().as_bytes();
        if secret.is_made() {
            return Some(HardenedSecret(text.into()));
        }
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).ok()?;
        let HashMemory(blocks) = memory;
        blocks.resize(params.block_count(), Block::default());
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut hash = [0; 32];
        argon2
            .hash_password_into_with_memory(text, salt, &mut hash, blocks)
            .ok()?;
        Some(HardenedSecret(hash.into()))
    }

    /// The tag that verifies it: its HMAC-SHA-256 under the salt.
    pub fn tag(&self, salt: &[u8; 16]) -> [u8; 32] {
        let signed = hmac::sign(&key(salt), &self.0);
        let mut tag = [0; 32];
        tag.copy_from_slice(signed.as_ref());
        tag
    }

    /// Whether the tag verifies it; compares in constant time.
    pub(super) fn has_tag(&self, salt: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&key(salt), &self.0, tag).is_ok()
    }
}

fn key(salt: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, salt)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Verified to fail when a chosen secret is not hashed.
    #[test]
    fn only_a_chosen_secret_is_hashed_at_a_cost() {
        let mut memory = HashMemory::default();
        let mut hardened = |secret: &str| {
            let secret = secret.parse().expect("a secret");
            HardenedSecret::of(&secret, b"sixteen bytes...", &mut memory).expect("a salt")
        };
        // The contents of the memory have no effect.
        hardened("of-bob-and-long-enough");
        let made = "random128_0123456789abcdefghijkl";
        assert_eq!(&*hardened(made).0, made.as_bytes());
        let hash = hardened("of-ana-and-long-enough").0;
        // Computed with another implementation: Python's argon2-cffi.
        let hex = hash.iter().map(|byte| format!("{byte:02x}"));
        let hex: String = hex.collect();
        assert_eq!(
            hex,
            "952ae83d0dcea61e049ef8ce903d97c4a20667258b10c38f5c6d678d3d4499df"
        );
        let chosen: Secret = "of-ana-and-long-enough".parse().expect("a secret");
        assert!(HardenedSecret::of(&chosen, b"short", &mut memory).is_none());
    }
}
