//! Lines that were read from the input and not sent yet.

use std::{time::Duration, vec};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::super::input::Input;

/// How long the client counts the rest of the input after the server has gone.
const COUNTING: Duration = Duration::from_secs(1);

/// The pause of the input after which counting ends.
const PAUSE: Duration = Duration::from_millis(100);

/// The input, with its lines that were not sent yet.
pub(super) struct PendingInput {
    pub(super) batches: mpsc::Receiver<Vec<Input>>,
    pub(super) waiting: vec::IntoIter<Input>,
    pub(super) ended: bool,
}

impl PendingInput {
    pub(super) fn new(batches: mpsc::Receiver<Vec<Input>>) -> Self {
        PendingInput {
            batches,
            waiting: Vec::new().into_iter(),
            ended: false,
        }
    }

    /// Whether a line waits to be sent.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.len() > 0
    }

    /// Counts the lines that were read and will not be sent.
    pub(super) fn count_buffered(&mut self) -> u64 {
        let mut lines = count(self.waiting.as_slice());
        while let Ok(batch) = self.batches.try_recv() {
            lines += count(&batch);
        }
        lines
    }

    /// Counts the lines that will not be sent, up to the end of the input or its
    /// next pause. Returns true with the number if more lines followed after
    /// [`COUNTING`].
    pub(super) async fn count_rest(&mut self) -> (u64, bool) {
        let enough = Instant::now() + COUNTING;
        let mut lines = count(self.waiting.as_slice());
        while let Ok(Some(batch)) = timeout(PAUSE, self.batches.recv()).await {
            lines += count(&batch);
            if Instant::now() > enough {
                return (lines, true);
            }
        }
        (lines, false)
    }
}

fn count(input: &[Input]) -> u64 {
    let lines = input
        .iter()
        .filter(|input| !matches!(input, Input::Failed(_)));
    lines.count() as u64
}
