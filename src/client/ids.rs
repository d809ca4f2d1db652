//! The ids of published messages. A line keeps its id, so sending it again
//! cannot store it twice.
//!
//! No other client can guess the next id. Else it could publish another message
//! under it first.

use std::{collections::HashMap, io};

use fastrand::Rng;
use ring::hmac::{self, HMAC_SHA256, Key};

use crate::protocol::name::{MessageId, RuleBroken};

/// The digits of the random part of an id.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The length of the random part: 95 bits, so no two ids are the same.
const LENGTH: usize = 16;

/// How many lines with a new id are remembered.
const MAX_RENEWED: usize = 1000;

/// Makes the ids of the lines of an input.
#[derive(Clone, Debug)]
pub struct Ids {
    source: IdSource,
    /// The lines that got a new id, because another message had theirs.
    renewed: HashMap<MessageId, u64>,
}

#[derive(Clone, Debug)]
enum IdSource {
    /// A person chose the first id.
    Given(MessageId),
    /// The key of a pseudorandom function of the line's number.
    Drawn(Key),
}

impl Ids {
    /// Gives line 1 the id `id` and each later line n the id `id-n`. The same
    /// input with the same `id` is stored once, however often it is sent.
    pub fn given(id: &MessageId) -> Self {
        Self::with(IdSource::Given(id.clone()))
    }

    /// Gives every line n the id `RANDOM-n`, with another `RANDOM` for each line.
    ///
    /// # Errors
    ///
    /// Fails if the system gives no random bytes.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self::drawn(bytes))
    }

    /// Does the same, but the ids depend on the seed alone.
    pub fn seeded(seed: u64) -> Self {
        Self::drawn(Rng::with_seed(seed).u128(..).to_le_bytes())
    }

    fn drawn(key: [u8; 16]) -> Self {
        Self::with(IdSource::Drawn(Key::new(HMAC_SHA256, &key)))
    }

    fn with(source: IdSource) -> Self {
        Ids {
            source,
            renewed: HashMap::new(),
        }
    }

    /// The id of a line, counted from 1.
    ///
    /// # Errors
    ///
    /// Fails if the id would be longer than 64 characters.
    pub fn of(&self, line: u64) -> Result<MessageId, RuleBroken> {
        match &self.source {
            IdSource::Given(id) if line == 1 => Ok(id.clone()),
            IdSource::Given(id) => format!("{id}-{line}").parse(),
            IdSource::Drawn(key) => {
                let tag = hmac::sign(key, &line.to_le_bytes());
                let bytes = tag.as_ref().first_chunk().copied().unwrap_or_default();
                format!("{}-{line}", digits(u128::from_le_bytes(bytes))).parse()
            }
        }
    }

    /// The line that has this id; `None` if the id is not from here.
    pub fn line(&self, id: &MessageId) -> Option<u64> {
        if let Some(line) = self.renewed.get(id) {
            return Some(*line);
        }
        let suffix = id.as_str().rsplit_once('-').map(|(_, line)| line.parse());
        let lines = [1, suffix.and_then(Result::ok).unwrap_or(1)];
        let made = |line: &u64| self.of(*line).is_ok_and(|made| made == *id);
        lines.into_iter().find(made)
    }

    /// Notes that the line with the id `old` has another id now.
    pub fn renew(&mut self, old: &MessageId, new: MessageId) {
        let line = self.line(old);
        self.renewed.remove(old);
        if let Some(line) = line.filter(|_| self.renewed.len() < MAX_RENEWED) {
            self.renewed.insert(new, line);
        }
    }
}

/// Draws the id of a single message.
///
/// # Errors
///
/// Fails if the system gives no random bytes.
pub(super) fn draw() -> io::Result<MessageId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let drawn = digits(u128::from_le_bytes(bytes)).parse();
    drawn.map_err(io::Error::other)
}

/// The last digits of a number.
fn digits(mut number: u128) -> String {
    let mut digits = String::with_capacity(LENGTH);
    let base = DIGITS.len() as u128;
    for _ in 0..LENGTH {
        let digit = usize::try_from(number % base).unwrap_or_default();
        digits.push(char::from(DIGITS[digit]));
        number /= base;
    }
    digits
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
    fn a_line_is_known_by_its_new_id() {
        let id = |id: &str| -> MessageId { id.parse().expect("an id") };
        let mut ids = Ids::given(&id("job-7"));
        ids.renew(&id("job-7-2"), id("x"));
        ids.renew(&id("x"), id("y"));
        ids.renew(&id("of-another"), id("z"));
        let lines = ["job-7", "x", "y", "z"].map(|one| ids.line(&id(one)));
        assert_eq!(lines, [Some(1), None, Some(2), None]);
    }

    // Verified to fail when all lines of a client have one prefix.
    #[test]
    fn an_id_does_not_tell_the_next_one() {
        let ids = Ids::random().expect("randomness");
        let drawn: std::collections::HashSet<_> = (1..=1000)
            .map(|line| {
                let id = ids.of(line).expect("an id");
                let (random, number) = id.as_str().split_once('-').expect("a number");
                assert_eq!((random.len(), number), (LENGTH, &*line.to_string()));
                assert_eq!(ids.line(&id), Some(line));
                random.to_owned()
            })
            .collect();
        assert_eq!(drawn.len(), 1000);
        assert_ne!(draw().expect("randomness"), draw().expect("randomness"));
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
