//! Tokens: the URL of an invitation, a link or a hook holds one.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest;
use serde::{Deserialize, Serialize};

use super::name::RuleBroken;

/// The token of an invitation, a link or a hook: 128 random bits. `Debug` hides it, so log output
/// never has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Token(Box<str>);

/// The letters of a token: base64url of 128 bits.
const LETTERS: usize = 22;

impl Token {
    /// Encodes 128 random bits as a token.
    pub fn from_random(random: [u8; 16]) -> Self {
        Token(URL_SAFE_NO_PAD.encode(random).into())
    }

    /// The text that a client gives as a token. A text of another form is a wrong
    /// token, and counts as one.
    pub fn given(text: &str) -> Self {
        Token(text.into())
    }

    /// The token as text.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The SHA-256 of the token, which the log and the store have in its place.
    pub fn digest(&self) -> [u8; 32] {
        let hash = digest::digest(&digest::SHA256, self.0.as_bytes());
        hash.as_ref().try_into().unwrap_or_default()
    }
}

impl FromStr for Token {
    type Err = RuleBroken;

    /// Parses a token that a person typed or that stands in a URL.
    fn from_str(text: &str) -> Result<Self, RuleBroken> {
        const RULE: RuleBroken = RuleBroken::new("the token of an invitation has 22 letters");
        let is_letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let fits = text.len() == LETTERS && text.bytes().all(is_letter);
        fits.then(|| Token(text.into())).ok_or(RULE)
    }
}

impl From<String> for Token {
    fn from(text: String) -> Self {
        Token(text.into())
    }
}

impl From<Token> for String {
    fn from(token: Token) -> String {
        token.0.into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
