//! Whoever knows the operators' secret keeps order.

use ring::hmac;

use crate::protocol::{Refusal, RefusalCode, secret::Secret};

/// How many wrong secrets one connection may try.
const MAX_WRONG: u8 = 3;

/// Whether a conversation is with an operator.
#[derive(Debug)]
pub(super) struct Operator<'a> {
    /// What proves it, where there are any.
    secret: Option<&'a Secret>,
    proved: bool,
    wrong: u8,
}

impl<'a> Operator<'a> {
    pub(super) fn new(secret: Option<&'a Secret>) -> Self {
        Operator {
            secret,
            proved: false,
            wrong: 0,
        }
    }

    /// Takes what may be the secret; in a time that does not tell how far it
    /// fits.
    pub(super) fn prove(&mut self, given: &str) -> Result<(), Refusal> {
        let Some(secret) = self.secret else {
            return Err(not_allowed("This server has no operators."));
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"operator");
        let tag = hmac::sign(&key, secret.reveal().as_bytes());
        if hmac::verify(&key, given.as_bytes(), tag.as_ref()).is_err() {
            self.wrong = self.wrong.saturating_add(1);
            return Err(not_allowed("This is not the operators' secret."));
        }
        self.proved = true;
        Ok(())
    }

    /// Refuses where it is none.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.proved {
            return Ok(());
        }
        Err(not_allowed(
            "Only operators can do that: prove with /operator SECRET, in JSON with operator, that you are one.",
        ))
    }

    /// Whether it tries one secret after the other.
    pub(super) fn is_guessing(&self) -> bool {
        self.wrong >= MAX_WRONG
    }
}

fn not_allowed(text: &str) -> Refusal {
    Refusal::new(RefusalCode::NotAllowed, text)
}
