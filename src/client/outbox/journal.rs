//! What an outbox writes into its file, beside the conversation.
//!
//! Records gather in memory and are written together, on a thread for blocking
//! work. One write is under way at most; records that gather meanwhile go into
//! the next. A message is on disk (`fdatasync`) before it is handed to a
//! connection. That it is stored, and what was read, is written without waiting
//! for the disk: lost in a power cut, it is merely sent or shown once more.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::task::{JoinHandle, spawn_blocking};

use super::file::{OutboxFile, Record, put};

/// A file, and what came of writing to it.
type Written = (OutboxFile, io::Result<()>);

pub(super) struct Journal {
    /// Absent while it is written to, and after a write that panicked.
    file: Option<OutboxFile>,
    /// The write that is under way; its file comes back with it.
    write: Option<JoinHandle<Written>>,
    /// The first command of that write.
    writing: Option<u64>,
    /// Records that no write has taken yet, and the first command among them.
    gathered: Vec<u8>,
    waiting: Option<u64>,
    failed: bool,
    /// The thread that asks for a write does it.
    in_place: bool,
}

impl Journal {
    pub(super) fn new(file: OutboxFile) -> Self {
        Journal {
            file: Some(file),
            write: None,
            writing: None,
            gathered: Vec::new(),
            waiting: None,
            failed: false,
            in_place: false,
        }
    }

    /// Lets the thread that asks for a write do it.
    pub(super) fn write_in_place(&mut self) {
        self.in_place = true;
    }

    /// Adds a record; [`poll_settle`](Self::poll_settle) writes it.
    pub(super) fn add(&mut self, record: &Record<'_>) {
        if let Record::Take { number, .. } = record {
            self.waiting.get_or_insert(*number);
        }
        put(&mut self.gathered, record);
    }

    /// Whether the disk has a command, and all before it.
    pub(super) fn has_settled(&self, number: u64) -> bool {
        self.writing
            .or(self.waiting)
            .is_none_or(|first| number < first)
    }

    /// Writes what was added; ready once all of it is written, and on disk as
    /// far as it has to be. `keep` gives the records of a file that is
    /// rewritten.
    ///
    /// # Errors
    ///
    /// The disk's; nothing is written after one.
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
            self.writing = self.waiting.take();
            let sync = self.writing.is_some();
            let work = move || write(file, &records, sync, kept.as_deref());
            if self.in_place {
                self.written(Ok(work()))?;
            } else {
                self.write = Some(spawn_blocking(work));
            }
        }
    }

    /// Takes back the file from a write.
    fn written(&mut self, written: io::Result<Written>) -> io::Result<()> {
        let result = written.and_then(|(file, result)| {
            self.file = Some(file);
            result
        });
        self.failed = result.is_err();
        if !self.failed {
            self.writing = None;
        }
        result
    }

    /// Removes the file: nobody needs it any more.
    pub(super) fn remove(self) {
        if let Some(file) = self.file {
            file.remove();
        }
    }
}

/// Writes, and gives the file back.
fn write(mut file: OutboxFile, records: &[u8], sync: bool, kept: Option<&[u8]>) -> Written {
    let result = file.append(records, sync);
    if let (Ok(()), Some(kept)) = (&result, kept) {
        file.rewrite(kept);
    }
    (file, result)
}
