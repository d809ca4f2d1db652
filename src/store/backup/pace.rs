//! The pace of a backup, which leaves time to the server.

use std::{thread, time::Duration};

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
    rested: Instant,
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
