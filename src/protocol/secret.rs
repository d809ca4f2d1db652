//! The secret that proves the ownership of a name.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::name::RuleBroken;

/// A secret: 16 to 128 printable ASCII characters, no spaces. `Debug` hides it,
/// so log output never has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret(Box<str>);

impl Secret {
    /// Encodes 128 random bits as a secret.
    pub fn from_random(random: [u8; 16]) -> Self {
        Secret(URL_SAFE_NO_PAD.encode(random).into())
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
    fn a_secret_is_printable_and_hidden_by_debug() {
        let made = Secret::from_random([0xff; 16]);
        assert_eq!(made.reveal(), "_____________________w");
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
