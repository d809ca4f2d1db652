//! Sends the messages of a load.

use std::{io::Write, time::Duration};

use super::{
    Load, Pace,
    connection::{MASK, flush},
    stamp::tenths,
};
use crate::wire;

impl Load {
    /// Sends the messages that are due; returns how long to wait for more.
    pub(super) fn publish(&mut self) -> anyhow::Result<Duration> {
        let mut wait = Duration::from_millis(10);
        match self.shape.pace {
            Pace::InFlight(_) => {
                for publisher in 0..self.shape.publishers {
                    let count = std::mem::take(&mut self.credit[publisher]);
                    let now = self.started.elapsed();
                    for _ in 0..count {
                        self.put_message(publisher, now)?;
                    }
                    if self.say(publisher)? {
                        wait = Duration::from_micros(100);
                    }
                }
            }
            Pace::PerSecond(rate) => {
                let begun = self.paced_from.unwrap_or(self.started);
                let offset = begun.duration_since(self.started);
                loop {
                    let due = Duration::from_secs_f64(self.due as f64 / f64::from(rate));
                    let since = begun.elapsed();
                    if due > since {
                        wait = wait.min(due.saturating_sub(since));
                        break;
                    }
                    let publisher = usize::try_from(self.due % self.shape.publishers as u64)?;
                    // The latency counts from when it was due, not from when it
                    // is sent.
                    self.put_message(publisher, offset + due)?;
                    self.say(publisher)?;
                    self.due += 1;
                }
            }
        }
        Ok(wait)
    }

    fn put_message(&mut self, publisher: usize, due: Duration) -> anyhow::Result<()> {
        let number = self.sent[publisher];
        self.sent[publisher] += 1;
        wire::put_head(&mut self.outgoing, self.shape.text, Some(MASK));
        let start = self.outgoing.len();
        let due = tenths(due)?;
        write!(self.outgoing, "{publisher:04x} {number:08x} {due:012x} ")?;
        self.outgoing.extend_from_slice(&self.filler);
        for (byte, mask) in self.outgoing[start..].iter_mut().zip(MASK.iter().cycle()) {
            *byte ^= mask;
        }
        Ok(())
    }

    /// Sends the frames in `outgoing`; returns whether some bytes are still
    /// unsent.
    fn say(&mut self, publisher: usize) -> anyhow::Result<bool> {
        let connection = &mut self.connections[publisher];
        connection.unsent.append(&mut self.outgoing);
        match (self.closed, flush(connection)) {
            // The server closed the connection, which the next read counts.
            (Some(_), Err(_)) => connection.unsent.clear(),
            (_, flushed) => flushed?,
        }
        Ok(!connection.unsent.is_empty())
    }
}
