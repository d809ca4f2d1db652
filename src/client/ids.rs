//! The ids of published messages. A line keeps its id, so sending it again
//! cannot store it twice.

use std::{fmt::Write, io};

use fastrand::Rng;

use crate::protocol::name::{MessageId, RuleBroken};

/// The digits of a random id prefix.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The digits of a prefix: 95 random bits, so no two clients draw the same one.
const LENGTH: usize = 16;

/// Makes the ids of the lines of an input.
#[derive(Clone, Debug)]
pub struct Ids {
    prefix: String,
    /// Whether the id of line 1 is the prefix alone.
    bare_first: bool,
}

impl Ids {
    /// Gives line 1 the id `id` and each later line n the id `id-n`. The same
    /// input with the same `id` is stored once, however often it is sent.
    pub fn given(id: &MessageId) -> Self {
        Ids {
            prefix: id.to_string(),
            bare_first: true,
        }
    }

    /// Gives every line n the id `PREFIX-n`, where the prefix is random.
    ///
    /// # Errors
    ///
    /// Fails if the system gives no random bytes.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self::drawn(u128::from_ne_bytes(bytes)))
    }

    /// Does the same with a prefix that depends on the seed alone.
    pub fn seeded(seed: u64) -> Self {
        Self::drawn(Rng::with_seed(seed).u128(..))
    }

    fn drawn(mut number: u128) -> Self {
        let mut prefix = String::with_capacity(LENGTH);
        let base = DIGITS.len() as u128;
        for _ in 0..LENGTH {
            let digit = usize::try_from(number % base).unwrap_or_default();
            prefix.push(char::from(DIGITS[digit]));
            number /= base;
        }
        Ids {
            prefix,
            bare_first: false,
        }
    }

    /// The id of a line, counted from 1.
    ///
    /// # Errors
    ///
    /// Fails if the id would be longer than 64 characters.
    pub fn of(&self, line: u64) -> Result<MessageId, RuleBroken> {
        if self.bare_first && line == 1 {
            return self.prefix.parse();
        }
        let mut id = String::with_capacity(self.prefix.len() + 8);
        // Writing to a String cannot fail.
        let _ = write!(id, "{}-{line}", self.prefix);
        id.parse()
    }

    /// The line that has this id; `None` if the id is not from here.
    pub fn line(&self, id: &MessageId) -> Option<u64> {
        match id.as_str().strip_prefix(&self.prefix)? {
            "" => Some(1),
            suffix => suffix.strip_prefix('-')?.parse().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_from_a_given_prefix_number_the_lines() {
        let ids = Ids::given(&"job-7".parse().expect("an id"));
        for (line, id) in [(1, "job-7"), (2, "job-7-2"), (1_000_000, "job-7-1000000")] {
            let made = ids.of(line).expect("an id");
            assert_eq!(made.as_str(), id);
            assert_eq!(ids.line(&made), Some(line));
        }
        assert_eq!(ids.line(&"job-8".parse().expect("an id")), None);
    }

    #[test]
    fn the_longest_prefix_has_room_for_one_line() {
        let ids = Ids::given(&"i".repeat(64).parse().expect("an id"));
        assert!(ids.of(1).is_ok());
        assert!(ids.of(2).is_err());
    }

    #[test]
    fn random_ids_differ_between_clients() {
        let (ids, others) = (
            Ids::random().expect("randomness"),
            Ids::random().expect("randomness"),
        );
        let first = ids.of(1).expect("an id");
        assert_ne!(first, others.of(1).expect("an id"));
        assert!(first.as_str().ends_with("-1") && first.as_str().len() == LENGTH + 2);
        assert_eq!(ids.line(&first), Some(1));
        assert_eq!(others.line(&first), None);
        assert!(ids.of(u64::MAX).is_ok());
        let seeded = |seed| Ids::seeded(seed).of(1).expect("an id");
        assert_eq!(seeded(7), seeded(7));
        assert_ne!(seeded(7), seeded(8));
    }
}
