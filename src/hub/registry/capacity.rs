//! The limits of counts, rates and quotas.

use super::prefixes::PrefixLimits;
use crate::log::UnreadLimit;

/// How many connections there may be, how fast each may speak, and how much one
/// prefix may add.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// The most connections at a time.
    pub connections: usize,
    /// The limits of one prefix.
    pub per_prefix: PrefixLimits,
    /// The limits of the forwarded connections of one prefix, all together.
    pub forwarded: PrefixLimits,
    /// How many private messages may wait for an absent reader, if that is
    /// limited.
    pub unread: Option<UnreadLimit>,
}

impl Capacity {
    /// No limit at all.
    pub const UNLIMITED: Capacity = Capacity {
        connections: usize::MAX,
        per_prefix: PrefixLimits::UNLIMITED,
        forwarded: PrefixLimits::UNLIMITED,
        unread: None,
    };
}
