//! The rules of names, as they are told to a person who breaks one.

use std::fmt;

/// A name that breaks its rules; the text says which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName(&'static str);

impl BadName {
    /// What breaks this rule.
    pub(in crate::protocol) const fn of(rule: &'static str) -> Self {
        BadName(rule)
    }
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BadName {}
