//! The secret that proves the ownership of a name.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::name::RuleBroken;

/// The beginning of a secret that a program made. Nobody chooses it by chance.
pub(super) const MADE: &str = "random128_";

/// The letters of a made secret after its beginning: base64url of 128 bits.
const MADE_LETTERS: usize = 22;

/// A secret: 16 to 128 printable ASCII characters, no spaces. `Debug` hides it,
/// so log output never has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret(Box<str>);

impl Secret {
    /// Encodes 128 random bits as a secret.
    pub fn from_random(random: [u8; 16]) -> Self {
        Secret(format!("{MADE}{}", URL_SAFE_NO_PAD.encode(random)).into())
    }

    /// Whether a program made it: its form says that it has 128 random bits. A
    /// person chose every other secret, so it may be guessed.
    pub fn is_made(&self) -> bool {
        let letters = self.0.strip_prefix(MADE);
        letters.is_some_and(|letters| {
            let is_letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            letters.len() == MADE_LETTERS && letters.bytes().all(is_letter)
        })
    }

    /// The secret as text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = RuleBroken;

    fn from_str(text: &str) -> Result<Self, RuleBroken> {
        const RULE: RuleBroken =
            RuleBroken::new("a secret is 16 to 128 printable ASCII characters, no spaces");
        let good = (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if good {
            Ok(Secret(text.into()))
        } else {
            Err(RULE)
        }
    }
}

impl TryFrom<String> for Secret {
    type Error = RuleBroken;

    fn try_from(text: String) -> Result<Self, RuleBroken> {
        text.parse()
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> String {
        secret.0.into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_secret_is_known_by_its_form() {
        let is_made = |text: &str| text.parse::<Secret>().expect("a secret").is_made();
        assert!(Secret::from_random([7; 16]).is_made());
        assert!(is_made("random128_0123456789abcdefghiJK_"));
        for chosen in [
            "0123456789abcdefghijkl",
            "random128_0123456789abcdefghiJK",
            "random128_0123456789abcdefghiJK_x",
            "random128_0123456789abcdefghiJK!",
            "Random128_0123456789abcdefghiJK_",
        ] {
            assert!(!is_made(chosen), "{chosen}");
        }
    }

    #[test]
    fn a_secret_is_printable_and_hidden_by_debug() {
        let made = Secret::from_random([0xff; 16]);
        assert_eq!(made.reveal(), "random128______________________w");
        assert_eq!(made.reveal().parse(), Ok(made.clone()));
        assert_eq!(format!("{made:?}"), "Secret(…)");
        for (text, good) in [
            ("0123456789abcdef", true),
            ("~!@#$%^&*()_+{}\"'", true),
            ("0123456789abcde", false),
            ("0123456789 abcdef", false),
            ("0123456789abcdé", false),
            ("0123456789abcdef\n", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<Secret>().is_ok(), good, "{text:?}");
        }
        assert!("s".repeat(128).parse::<Secret>().is_ok());
        assert!("s".repeat(129).parse::<Secret>().is_err());
    }
}
