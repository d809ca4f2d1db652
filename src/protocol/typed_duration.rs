//! Durations as people type them.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::name::RuleBroken;

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// A duration: a whole number of seconds, minutes, hours or days (`90s`, `30m`,
/// `2h`, `7d`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TypedDuration(Duration);

impl TypedDuration {
    /// Seven days.
    pub const WEEK: Self = TypedDuration(Duration::from_secs(7 * 86_400));

    /// A duration in the largest unit that it has at least two of, rounded up.
    /// The shortest is one second.
    pub fn rounded_up(duration: Duration) -> Self {
        let seconds = duration.as_millis().div_ceil(1000);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX).max(1);
        let (_, unit) = UNITS
            .into_iter()
            .find(|(_, unit)| seconds >= 2 * unit)
            .unwrap_or(('s', 1));
        TypedDuration(Duration::from_secs(
            seconds.div_ceil(unit).saturating_mul(unit),
        ))
    }

    /// The duration as the standard library's type.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for TypedDuration {
    type Err = RuleBroken;

    fn from_str(text: &str) -> Result<Self, RuleBroken> {
        const RULE: RuleBroken =
            RuleBroken::new("a time is a number from 1 on and s, m, h or d, like 2h");
        let unit = |(name, unit)| Some((text.strip_suffix(name)?, unit));
        let (digits, unit) = UNITS.into_iter().find_map(unit).ok_or(RULE)?;
        // `parse` would also accept a sign.
        let whole = digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit());
        let number = whole.then(|| digits.parse::<u64>().ok()).flatten();
        match number {
            Some(number @ 1..) => Ok(TypedDuration(Duration::from_secs(number * unit))),
            _ => Err(RULE),
        }
    }
}

impl fmt::Display for TypedDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let whole = |(_, unit): &(char, u64)| seconds.is_multiple_of(*unit);
        let (name, unit) = UNITS.into_iter().find(whole).unwrap_or(('s', 1));
        write!(f, "{}{name}", seconds / unit)
    }
}

impl TryFrom<String> for TypedDuration {
    type Error = RuleBroken;

    fn try_from(text: String) -> Result<Self, RuleBroken> {
        text.parse()
    }
}

impl From<TypedDuration> for String {
    fn from(lasting: TypedDuration) -> String {
        lasting.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_rounded_up() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604_800)] {
            let lasting: TypedDuration = text.parse().expect(text);
            assert_eq!(lasting.duration().as_secs(), seconds);
            assert_eq!(lasting.to_string(), text);
        }
        for text in [
            "", "2", "h", "0s", "-1s", "+1s", "1.5h", "2w", "2 h", "100000d",
        ] {
            assert!(text.parse::<TypedDuration>().is_err(), "{text:?}");
        }
        for (ms, text) in [
            (0, "1s"),
            (1, "1s"),
            (7_199_001, "2h"),
            (119_000, "119s"),
            (7_100_000, "119m"),
        ] {
            assert_eq!(
                TypedDuration::rounded_up(Duration::from_millis(ms)).to_string(),
                text
            );
        }
    }
}
