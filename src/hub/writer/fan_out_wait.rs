//! The writer's wait for the end of a fan-out.

use std::time::Duration;

use tokio::time::Instant;

use crate::{fanout::FanOutProgress, hub::submissions::Submissions};

/// How long messages may wait for the end of a fan-out, so that one commit and
/// one write carry all of them. No reader could be shown them earlier, but a
/// publisher that wants only a receipt waits longer for it.
pub(super) const MAX_FAN_OUT_WAIT: Duration = Duration::from_millis(20);

/// The fan-outs that the writer may wait for, and how long it waits.
pub(super) struct FanOutWait {
    /// The fan-out of the last batch, until the writer has waited for it.
    last: Option<FanOutProgress>,
    /// The fan-out that was still going on when the last batch was committed.
    previous: Option<FanOutProgress>,
    pub(super) limit: Duration,
    /// The number of messages in the last batch.
    pub(super) last_messages: usize,
    /// The number of entries that were waiting when its fan-out began.
    waiting_at_start: usize,
}

impl FanOutWait {
    pub(super) fn new() -> Self {
        FanOutWait {
            last: None,
            previous: None,
            limit: MAX_FAN_OUT_WAIT,
            last_messages: 0,
            waiting_at_start: 0,
        }
    }

    /// Notes that the fan-out of a batch begins while `waiting` entries wait.
    pub(super) fn begin(&mut self, fan_out: FanOutProgress, waiting: usize) {
        self.last = Some(fan_out);
        self.waiting_at_start = waiting;
    }

    /// Waits for the end of the last fan-out, so that one commit and one write
    /// to each reader carry all messages that arrive meanwhile.
    ///
    /// The wait ends earlier if as many entries arrived since the fan-out began
    /// as the last batch had messages, and at least two wait in all. By then
    /// each author of the last batch has seen its echo and sent its next
    /// message. The disk and the shards then work at the same time.
    pub(super) fn wait(&mut self, submissions: &Submissions) {
        let until = Instant::now() + self.limit;
        // At most one commit goes on beside a fan-out, so that shards keep up.
        if let Some(before) = self.previous.take()
            && !before.is_done()
        {
            before.wait(until, || false);
            // Entries that arrived until now answer that fan-out, not the last.
            self.waiting_at_start = submissions.len() + 1;
        }
        if let Some(underway) = self.last.take() {
            let count = (self.waiting_at_start + self.last_messages).max(2);
            // One of the counted entries was already received.
            submissions.wait(count - 1, &underway, until);
            self.previous = (!underway.is_done()).then_some(underway);
        }
    }
}
