//! The speaker of the messages in an outbox.

use serde::{Deserialize, Serialize};

use crate::protocol::name::Name;

/// The name that messages are sent under, if any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::client) struct Speaker(pub(super) Option<Name>);

impl Speaker {
    /// Whether a client with this name, or without one, is the same speaker.
    pub(super) fn is(&self, name: Option<&Name>) -> bool {
        self.0.as_ref().map(Name::key) == name.map(Name::key)
    }

    /// Whether it has a name.
    pub(in crate::client) fn is_named(&self) -> bool {
        self.0.is_some()
    }
}
