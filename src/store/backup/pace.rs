//! The pace of a backup, which leaves time to the server.

use std::{
    io::{self, Write},
    thread,
    time::Duration,
};

use tokio::time::Instant;

/// The ratio of a rest to the work before it.
const REST: u32 = 2;

/// The longest rest.
const MAX_REST: Duration = Duration::from_secs(1);

/// The lowest priority, for which other programs do not wait.
const LOWEST: i32 = 19;

/// The pace of a backup, which works in short pieces and rests between them.
#[derive(Clone, Debug)]
pub(super) struct CopyPace {
    /// When the last rest or wait ended.
    rested: Instant,
}

/// A stream that a backup is written to. The backup rests before each write, for
/// the work that made its bytes. It does not rest for the time that the stream
/// takes: a slow stream leaves time enough to the server.
pub(super) struct PacedStream<'a, W> {
    to: W,
    pace: &'a mut CopyPace,
}

impl CopyPace {
    /// Starts work on this thread, whose priority becomes the lowest.
    pub(super) fn start() -> Self {
        // Without a lower priority the backup only disturbs more.
        let _ = rustix::process::nice(LOWEST);
        let rested = Instant::now();
        CopyPace { rested }
    }

    /// Rests in proportion to the time since the last rest.
    // No runtime worker runs this.
    #[allow(clippy::disallowed_methods)]
    pub(super) fn rest(&mut self) {
        let worked = self.rested.elapsed();
        thread::sleep((worked * REST).min(MAX_REST));
        self.rested = Instant::now();
    }
}

impl<'a, W: Write> PacedStream<'a, W> {
    pub(super) fn new(to: W, pace: &'a mut CopyPace) -> Self {
        PacedStream { to, pace }
    }
}

impl<W: Write> Write for PacedStream<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pace.rest();
        let written = self.to.write(bytes);
        self.pace.rested = Instant::now();
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes when each write ends.
    struct Sink<'a>(&'a mut Instant);

    impl Write for Sink<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            *self.0 = Instant::now();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    // Verified to fail when the time of a write counts as work.
    #[test]
    fn a_backup_does_not_rest_for_a_slow_stream() {
        let mut pace = CopyPace {
            rested: Instant::now(),
        };
        let mut written = pace.rested;
        let mut stream = PacedStream::new(Sink(&mut written), &mut pace);
        stream.write_all(b"bytes").expect("written");
        assert!(pace.rested >= written);
    }
}
