//! Random numbers that are the same in every run.

use crate::support::env_number;

/// The generator `SplitMix64`.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a bound.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// The seed of a run: `CHAT_TEST_SEED`, or a constant. A failing test prints
/// it.
pub(crate) fn seed() -> u64 {
    env_number("CHAT_TEST_SEED", 20_261_122)
}

/// The number of cases: `CHAT_TEST_CASES`, or `usual`.
pub(crate) fn cases(usual: u64) -> u64 {
    env_number("CHAT_TEST_CASES", usual)
}
