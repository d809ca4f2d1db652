//! The number of an owner of a name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of one ownership of a name. Each claim gets a new one, and no
/// number is given twice.
///
/// Authorship, the inbox and the scope of message ids belong to this number. The
/// next owner of the same name has another number, so it inherits none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OwnerNumber(pub u64);

impl OwnerNumber {
    /// The number before the first: no claim gets it.
    pub const NONE: OwnerNumber = OwnerNumber(0);

    /// Some owner, whose number a client is not told.
    pub const UNTOLD: OwnerNumber = OwnerNumber(u64::MAX);

    /// The number after this one.
    #[must_use]
    pub fn next(self) -> OwnerNumber {
        OwnerNumber(self.0 + 1)
    }
}

impl fmt::Display for OwnerNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
