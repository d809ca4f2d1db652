//! Proves that a connection belongs to an operator, by the operators' secret or
//! by its name.

use ring::hmac;

use super::options::CurrentOptions;
use crate::{
    hub::Registration,
    log::Standing,
    protocol::{Refusal, RefusalCode},
    store::Ownership,
};

/// How many wrong secrets one connection may try.
const MAX_WRONG: u8 = 3;

/// Whether a conversation is with an operator, and its failed attempts.
#[derive(Debug)]
pub(super) struct Operator<'a> {
    /// Hold the operators' secret, if the server has operators.
    options: &'a CurrentOptions,
    proved: bool,
    /// Whether the owner of its name is an operator.
    is_named: bool,
    wrong: u8,
}

impl<'a> Operator<'a> {
    pub(super) fn new(options: &'a CurrentOptions, ownership: Option<Ownership>) -> Self {
        let mut operator = Operator {
            options,
            proved: false,
            is_named: false,
            wrong: 0,
        };
        operator.note_name(ownership);
        operator
    }

    /// Notes the name that the connection has from now on.
    pub(super) fn note_name(&mut self, ownership: Option<Ownership>) {
        let standing = ownership.map(|ownership| ownership.standing);
        self.is_named = standing == Some(Standing::Operator);
    }

    /// Whether it is an operator's.
    pub(super) fn is_operator(&self) -> bool {
        self.proved || self.is_named
    }

    /// Compares the given secret in constant time; calls `wrong` for a wrong
    /// one.
    ///
    /// # Errors
    ///
    /// Fails with a refusal if the secret is wrong, if too many wrong ones came
    /// from the peer's prefix, or if the server has no operators.
    pub(super) fn prove(
        &mut self,
        given: &str,
        registration: &Registration,
        wrong: impl FnOnce(),
    ) -> Result<(), Refusal> {
        let options = self.options.get();
        let Some(secret) = &options.operator else {
            return Err(not_allowed("This server has no operators."));
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"operator");
        let tag = hmac::sign(&key, secret.reveal().as_bytes());
        let is_right = || hmac::verify(&key, given.as_bytes(), tag.as_ref()).is_ok();
        if !registration.try_secret(is_right)? {
            self.wrong = self.wrong.saturating_add(1);
            wrong();
            return Err(not_allowed("This is not the operators' secret."));
        }
        self.proved = true;
        Ok(())
    }

    /// Checks that the connection is an operator's.
    ///
    /// # Errors
    ///
    /// Fails with a refusal if it is not.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.is_operator() {
            return Ok(());
        }
        Err(not_allowed("Operators only: /operator SECRET"))
    }

    /// Whether the connection has given too many wrong secrets.
    pub(super) fn is_guessing(&self) -> bool {
        self.wrong >= MAX_WRONG
    }
}

fn not_allowed(text: &str) -> Refusal {
    Refusal::new(RefusalCode::NotAllowed, text)
}
