//! The people that may take part in a chat.

/// The people that may take part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessMode {
    /// Everybody.
    #[default]
    Open,
    /// Owned names that an invitation admitted.
    Invite,
}
