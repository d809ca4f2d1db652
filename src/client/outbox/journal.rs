//! The writes of an outbox to its file, while the conversation goes on.
//!
//! Records gather in memory and are written together, on a thread for blocking
//! work. At most one write is under way; records that gather meanwhile go into
//! the next. A message is on disk (`fdatasync`) before it is sent. Receipts and
//! read positions are written without waiting for the disk. If a power cut
//! loses one, a message is merely sent or shown once more.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::task::{JoinHandle, spawn_blocking};

use super::file::{OutboxFile, Record, put};

/// The file of a finished write, and the write's result.
type Written = (OutboxFile, io::Result<()>);

/// The file of an outbox, with the records that it does not hold yet.
pub(super) struct Journal {
    /// `None` during a write, and after a write that panicked.
    file: Option<OutboxFile>,
    /// The current write; it returns the file.
    write: Option<JoinHandle<Written>>,
    /// The number of the first command in the current write.
    first_in_write: Option<u64>,
    /// The records that no write has taken yet.
    gathered: Vec<u8>,
    /// The number of the first command among those records.
    first_gathered: Option<u64>,
    failed: bool,
    /// Whether the thread that asks for a write does it.
    in_place: bool,
}

impl Journal {
    pub(super) fn new(file: OutboxFile) -> Self {
        Journal {
            file: Some(file),
            write: None,
            first_in_write: None,
            gathered: Vec::new(),
            first_gathered: None,
            failed: false,
            in_place: false,
        }
    }

    /// Makes the thread that asks for a write do it.
    pub(super) fn write_in_place(&mut self) {
        self.in_place = true;
    }

    /// Adds a record; [`poll_settle`](Self::poll_settle) writes it.
    pub(super) fn add(&mut self, record: &Record<'_>) {
        if let Record::SentAs(_) = record {
            // No command may be sent before this is on disk.
            self.first_gathered = Some(0);
        }
        if let Record::Take { number, .. } = record {
            let first = self.first_gathered.unwrap_or(*number);
            self.first_gathered = Some(first.min(*number));
        }
        put(&mut self.gathered, record);
    }

    /// Whether a command and all commands before it are on disk.
    pub(super) fn has_settled(&self, number: u64) -> bool {
        // A renewed id or a new speaker is gathered with a low number.
        let firsts = [self.first_in_write, self.first_gathered];
        let first = firsts.into_iter().flatten().min();
        first.is_none_or(|first| number < first)
    }

    /// Writes all added records; ready once they are written, and the commands
    /// among them are on disk. `keep` returns the records to rewrite the file
    /// with.
    ///
    /// # Errors
    ///
    /// Fails if a write fails; nothing is written after that.
    pub(super) fn poll_settle(
        &mut self,
        cx: &mut Context<'_>,
        keep: impl Fn() -> Vec<u8>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some(write) = &mut self.write {
                let written = ready!(Pin::new(write).poll(cx));
                self.write = None;
                self.written(written.map_err(io::Error::other))?;
            }
            if self.gathered.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let Some(file) = self.file.take_if(|_| !self.failed) else {
                let why = "an earlier write has failed";
                return Poll::Ready(Err(io::Error::other(why)));
            };
            let records = mem::take(&mut self.gathered);
            let kept = file.is_due(records.len()).then(&keep);
            self.first_in_write = self.first_gathered.take();
            let sync = self.first_in_write.is_some();
            let work = move || write(file, &records, sync, kept.as_deref());
            if self.in_place {
                self.written(Ok(work()))?;
            } else {
                self.write = Some(spawn_blocking(work));
            }
        }
    }

    /// Takes the file back from a finished write.
    fn written(&mut self, written: io::Result<Written>) -> io::Result<()> {
        let result = written.and_then(|(file, result)| {
            self.file = Some(file);
            result
        });
        self.failed = result.is_err();
        if !self.failed {
            self.first_in_write = None;
        }
        result
    }

    /// Removes the file, unless a write still has it.
    pub(super) fn remove(self) {
        if let Some(file) = self.file {
            file.remove();
        }
    }
}

/// Appends records to the file, rewrites it if `kept` is given, and returns it.
fn write(mut file: OutboxFile, records: &[u8], sync: bool, kept: Option<&[u8]>) -> Written {
    let result = file.append(records, sync);
    if let (Ok(()), Some(kept)) = (&result, kept) {
        file.rewrite(kept);
    }
    (file, result)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Verified to fail when only the write under way counts.
    #[test]
    fn a_low_number_behind_a_write_is_not_on_disk() {
        let journal = Journal {
            file: None,
            write: None,
            first_in_write: Some(5),
            gathered: Vec::new(),
            // A renewed id.
            first_gathered: Some(2),
            failed: false,
            in_place: false,
        };
        assert!(journal.has_settled(1));
        assert!(!journal.has_settled(2));
        assert!(!journal.has_settled(4));
    }
}
