//! Passes: tokens that let the client in.

use crate::protocol::{name::RuleBroken, token::Token};

/// A token that lets the client in once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Admits the name that the client asks for.
    Invitation(Token),
    /// Gives the client a name and its secret.
    Link(Token),
}

impl Pass {
    /// The pass in the fragment of a URL.
    ///
    /// # Errors
    /// [`RuleBroken`] if it is no token.
    pub(super) fn in_fragment(fragment: &str) -> Result<Option<Self>, RuleBroken> {
        Ok(match fragment.split_once('=') {
            Some(("invite", token)) => Some(Pass::Invitation(token.parse()?)),
            Some(("link", token)) => Some(Pass::Link(token.parse()?)),
            _ => None,
        })
    }

    /// Its header in a request: name and value.
    pub(super) fn header(&self) -> (&'static str, &str) {
        match self {
            Pass::Invitation(token) => ("chat-invite", token.reveal()),
            Pass::Link(token) => ("chat-link", token.reveal()),
        }
    }
}
