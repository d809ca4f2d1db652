//! The outbox in a file: opening the file, and writing the commands to it.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    future::poll_fn,
    io,
    path::Path,
    task::{Context, Poll},
};

use super::{
    super::{address::Target, folder, position::Position},
    Outbox, OutboxCommand, Speaker,
    file::{OutboxError, OutboxFile, Record, put},
    is_kept_in_file,
    journal::Journal,
};

/// The number of outbox files that one user may have for one room. Further
/// clients keep their outbox in memory.
const MAX_FILES: u32 = 64;

impl Outbox {
    /// An outbox in a file, with the commands that an earlier client left there.
    /// The file is created if it does not exist.
    ///
    /// # Errors
    ///
    /// Fails if the file is in use, is no outbox of this room, or cannot be
    /// read.
    pub fn open(path: &Path, target: &Target) -> Result<Self, OutboxError> {
        let (file, records) = OutboxFile::open(path, &target.room_url())?;
        let mut outbox = Self::in_memory();
        for record in records {
            match record {
                Record::Take { number, command } => {
                    outbox.remove(number);
                    outbox.keep(number, command.into_owned(), None);
                }
                Record::Done(number) => outbox.remove(number),
                Record::SentAs(speaker) => outbox.sent_as = Some(speaker.into_owned()),
                Record::At(position) => outbox.position = Some(position.into_owned()),
            }
        }
        outbox.speaker_in_file = outbox.sent_as.clone();
        // All of them may have been sent.
        outbox.newest_sent = outbox.newest;
        if let Some(speaker) = outbox.unconfirmed_speaker()
            && !speaker.is(target.name().as_ref())
        {
            return Err(OutboxError::other_speaker(path, speaker.clone()));
        }
        outbox.journal = Some(Journal::new(file));
        Ok(outbox)
    }

    /// The same outbox, but the thread that asks for a write does it and waits
    /// for the disk. So a simulation takes the same steps in every run.
    #[must_use]
    pub fn written_in_place(mut self) -> Self {
        if let Some(journal) = &mut self.journal {
            journal.write_in_place();
        }
        self
    }

    /// An outbox in a file of this folder, removed when this client ends in
    /// order with nothing unsent.
    ///
    /// Clients of the same room have a file each. After a crash, the next client
    /// takes over the file.
    ///
    /// # Errors
    ///
    /// Fails if a file is no outbox of this room, or cannot be read.
    pub fn in_folder(folder: &Path, target: &Target) -> Result<Self, OutboxError> {
        // If this fails, opening a file in the folder fails too.
        let _ = folder::make(folder);
        let path = |number| {
            let kind = format!("outbox-{number}");
            folder::file(folder, &kind, &target.room_url())
        };
        let (left, new): (Vec<_>, Vec<_>) =
            (1..=MAX_FILES).map(path).partition(|path| path.exists());
        for path in left.iter().chain(&new) {
            match Self::open(path, target) {
                Err(error) if error.is_of_another() => {}
                Err(error) => return Err(error),
                Ok(outbox) => {
                    return Ok(Outbox {
                        remove_when_empty: true,
                        ..outbox
                    });
                }
            }
        }
        Ok(Self::in_memory())
    }

    /// Writes all added commands to the file, if there is one; ready once they
    /// are on disk.
    ///
    /// # Errors
    ///
    /// Fails if a write fails; nothing is written after that.
    pub(in super::super) fn poll_settle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(journal) = &mut self.journal else {
            return Poll::Ready(Ok(()));
        };
        let (entries, position) = (&self.commands, self.position.as_ref());
        let sent_as = self.speaker_in_file.as_ref();
        journal.poll_settle(cx, || records(entries, sent_as, position))
    }

    /// Waits until all added commands are on disk, if there is a file.
    ///
    /// # Errors
    ///
    /// Fails if a write fails; nothing is written after that.
    pub(in super::super) async fn settle(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_settle(cx)).await
    }
}

/// The records of a rewritten file: only the commands still needed, their
/// speaker and the position.
fn records(
    entries: &BTreeMap<u64, OutboxCommand>,
    sent_as: Option<&Speaker>,
    position: Option<&Position>,
) -> Vec<u8> {
    let mut records = Vec::new();
    if let Some(speaker) = sent_as {
        put(&mut records, &Record::SentAs(Cow::Borrowed(speaker)));
    }
    for (&number, entry) in entries {
        if is_kept_in_file(&entry.command) {
            let command = Cow::Borrowed(&entry.command);
            put(&mut records, &Record::Take { number, command });
        }
    }
    if let Some(position) = position {
        put(&mut records, &Record::At(Cow::Borrowed(position)));
    }
    records
}
