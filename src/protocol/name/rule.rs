//! The error for a text that breaks the rule of its type.

use std::fmt;

/// A text that breaks the rule of a name or a similar type. It displays as that
/// rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName(&'static str);

impl BadName {
    /// The error that displays this rule.
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
