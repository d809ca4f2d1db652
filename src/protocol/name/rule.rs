//! The error for a text that breaks the rule of its type.

use std::fmt;

/// A text that breaks the rule of a name or a similar type. It displays as that
/// rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleBroken(&'static str);

impl RuleBroken {
    /// The error that displays this rule.
    pub(in crate::protocol) const fn new(rule: &'static str) -> Self {
        RuleBroken(rule)
    }
}

impl fmt::Display for RuleBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for RuleBroken {}
