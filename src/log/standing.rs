//! The standing of owned names, and whom an invitation admits.

use serde::{Deserialize, Serialize};

use crate::protocol::OwnerNumber;

/// The owner of a name that an invitation admits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admitted {
    /// The owner of an owned name, who proved it.
    Owner(OwnerNumber),
    /// A new owner, with the salt and the tag of the new secret.
    New {
        /// As in [`Action::Claim`](super::Action::Claim).
        salt: [u8; 16],
        /// As in [`Action::Claim`](super::Action::Claim).
        tag: [u8; 32],
    },
}

/// The standing of an owned name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Standing {
    /// Its owner claimed it.
    #[default]
    Claimed,
    /// An invitation admitted it.
    Admitted,
    /// Its owner is an operator.
    Operator,
}

impl Standing {
    /// The standing as the store has it.
    pub fn stored(self) -> i64 {
        match self {
            Standing::Claimed => 0,
            Standing::Admitted => 1,
            Standing::Operator => 2,
        }
    }

    /// Reads the standing from the store.
    pub fn from_stored(number: i64) -> Self {
        match number {
            2 => Standing::Operator,
            1 => Standing::Admitted,
            _ => Standing::Claimed,
        }
    }

    /// Whether the name may take part where only admitted names may.
    pub fn is_admitted(self) -> bool {
        self >= Standing::Admitted
    }
}
