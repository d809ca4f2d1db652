//! The work of parsing a frame, counted in allocations.

use allocation_counter::{AllocationInfo, measure};
use broadcast_chat::protocol::{Request, json};

/// The most bytes that parsing may allocate for each byte of a frame. A string
/// with an escape is copied into a growing buffer, and then into the command.
const BYTES_PER_BYTE: usize = 8;

/// The most bytes that parsing may allocate for a frame of any length. They hold
/// its fields, an error at each of 128 levels, and a refusal with all commands.
const BYTES_PER_FRAME: usize = 8192;

/// The most allocations for a frame of any length.
const ALLOCATIONS: u64 = 200;

/// Parses a frame; returns the work as well. Panics if the work is not bounded by
/// the frame's length.
pub(crate) fn parse(frame: &str) -> (Request, AllocationInfo) {
    let mut request = None;
    let work = measure(|| request = Some(json::parse(frame)));
    let most = frame.len() * BYTES_PER_BYTE + BYTES_PER_FRAME;
    assert!(
        work.bytes_total <= most as u64 && work.count_total <= ALLOCATIONS,
        "{work:?} for {} bytes: {frame:.200}",
        frame.len()
    );
    (request.expect("it was parsed"), work)
}
