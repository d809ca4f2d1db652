//! The stamp at the start of each text: publisher, number and due time.

use std::time::Duration;

/// The shortest text of a message, in bytes: publisher, number and due time in
/// hex, `pppp ssssssss tttttttttttt `.
pub(super) const STAMP: usize = 4 + 1 + 8 + 1 + 12 + 1;

/// A time in tenths of a microsecond, the unit of latencies.
pub(super) fn tenths(time: Duration) -> anyhow::Result<u64> {
    Ok(u64::try_from(time.as_nanos() / 100)?)
}

/// Publisher, number and due time of a message.
pub(super) fn parse_stamp(text: &[u8]) -> Option<(usize, u32, u64)> {
    let publisher = hex(text.get(..4)?)?;
    let number = hex(text.get(5..13)?)?;
    let due = hex(text.get(14..26)?)?;
    Some((
        usize::try_from(publisher).ok()?,
        u32::try_from(number).ok()?,
        due,
    ))
}

fn hex(digits: &[u8]) -> Option<u64> {
    let mut value = 0;
    for digit in digits {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u64::from(digit);
    }
    Some(value)
}
