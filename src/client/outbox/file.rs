//! The file of an outbox: one JSON record a line. Records are only appended.
//! Once the file is twice as long as after its last rewrite, and at least 1 MiB,
//! it is rewritten without finished commands. All calls block on the disk.

use std::{
    borrow::Cow,
    fmt,
    fs::{self, File, TryLockError},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::speaker::Speaker;
use crate::{client::position::Position, protocol::Command};

/// The first bytes of every outbox file.
const MAGIC: &str = r#"{"broadcast_chat_outbox":"#;

/// The version of the format; raised when older clients could not read it.
const VERSION: u32 = 2;

/// The smallest size at which a file is rewritten, in bytes.
const MIN_REWRITE_BYTES: u64 = 1 << 20;

/// The first line of the file.
#[derive(Serialize, Deserialize)]
struct Head {
    broadcast_chat_outbox: u32,
    url: String,
}

/// Any other line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record<'a> {
    /// A command was added, or has a new id.
    Take {
        number: u64,
        command: Cow<'a, Command>,
    },
    /// The command of this number is finished.
    Done(u64),
    /// From here on messages are sent by this speaker.
    SentAs(Cow<'a, Speaker>),
    /// Everything up to this position was shown.
    At(Cow<'a, Position>),
}

/// The outbox file of one client, locked as long as this value lives.
pub(super) struct OutboxFile {
    path: PathBuf,
    url: String,
    file: File,
    length: u64,
    /// The length at which the file is rewritten.
    due: u64,
}

impl OutboxFile {
    /// Opens and locks the file, or creates it; returns it with its records.
    ///
    /// # Errors
    ///
    /// Fails if the file is in use, is no outbox of this room, or cannot be
    /// read.
    pub(super) fn open(
        path: &Path,
        url: &str,
    ) -> Result<(Self, Vec<Record<'static>>), OutboxError> {
        let failed = |why| OutboxError {
            path: path.to_owned(),
            why,
        };
        let file = take(path).map_err(failed)?;
        let mut opened = OutboxFile {
            path: fs::canonicalize(path).map_err(|error| failed(OutboxErrorKind::Io(error)))?,
            url: url.to_owned(),
            file,
            length: 0,
            due: MIN_REWRITE_BYTES,
        };
        let records = opened.read().map_err(failed)?;
        Ok((opened, records))
    }

    fn read(&mut self) -> Result<Vec<Record<'static>>, OutboxErrorKind> {
        let mut lines = BufReader::new(&self.file);
        let mut line = Vec::new();
        let mut beginning = (&mut lines).take(MAGIC.len() as u64);
        beginning.read_to_end(&mut line)?;
        if line.is_empty() {
            return self
                .begin()
                .map_err(OutboxErrorKind::Io)
                .map(|()| Vec::new());
        }
        if line != MAGIC.as_bytes() {
            return Err(OutboxErrorKind::Foreign);
        }
        lines.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            // The client that created the file crashed in its first line.
            self.file.set_len(0)?;
            return self
                .begin()
                .map_err(OutboxErrorKind::Io)
                .map(|()| Vec::new());
        }
        let head: Head = serde_json::from_slice(&line).map_err(|_| OutboxErrorKind::Damaged(1))?;
        if head.broadcast_chat_outbox != VERSION {
            return Err(OutboxErrorKind::OtherVersion(head.broadcast_chat_outbox));
        }
        if head.url != self.url {
            return Err(OutboxErrorKind::OtherRoom {
                its: head.url,
                ours: self.url.clone(),
            });
        }
        self.length = line.len() as u64;
        let mut records = Vec::new();
        for number in 2.. {
            line.clear();
            lines.read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                // This is the end, or a line in which the writer crashed. The
                // command of a torn line was never sent.
                break;
            }
            records
                .push(serde_json::from_slice(&line).map_err(|_| OutboxErrorKind::Damaged(number))?);
            self.length += line.len() as u64;
        }
        self.file.set_len(self.length)?;
        self.due = MIN_REWRITE_BYTES.max(2 * self.length);
        Ok(records)
    }

    /// Writes the first line of a new file.
    fn begin(&mut self) -> io::Result<()> {
        let head = head(&self.url);
        self.file.write_all(&head)?;
        self.file.sync_all()?;
        self.length = head.len() as u64;
        sync_folder(&self.path)
    }

    /// Whether the file must be rewritten after `more` further bytes.
    pub(super) fn is_due(&self, more: usize) -> bool {
        self.length + more as u64 >= self.due
    }

    /// Appends records; with `sync`, waits until they are on disk.
    ///
    /// # Errors
    ///
    /// Fails if the write or the sync fails. The file may then end in a torn
    /// record, so the caller must append nothing more.
    pub(super) fn append(&mut self, records: &[u8], sync: bool) -> io::Result<()> {
        self.file.write_all(records)?;
        self.length += records.len() as u64;
        if sync {
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Replaces the file by one with only these records. If that fails, the old
    /// file stays and goes on growing.
    pub(super) fn rewrite(&mut self, kept: &[u8]) {
        let content = [&head(&self.url), kept].concat();
        if let Ok(file) = self.replace(&content) {
            self.file = file;
            self.length = content.len() as u64;
        }
        self.due = MIN_REWRITE_BYTES.max(2 * self.length);
    }

    /// Removes the file.
    pub(super) fn remove(self) {
        // If this fails, the next client finds nothing unsent in the file.
        let _ = fs::remove_file(&self.path);
    }

    fn replace(&self, content: &[u8]) -> io::Result<File> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let path = self.path.with_file_name(name);
        // A client that crashed here may have left such a file. No other client
        // writes it now, because this one has locked the outbox. A file that is
        // no outbox stays.
        if fs::read(&path).is_ok_and(|old| old.starts_with(MAGIC.as_bytes())) {
            fs::remove_file(&path)?;
        }
        let mut file = options().create_new(true).open(&path)?;
        // The lock comes before the rename, so that no other client can open
        // the new outbox first.
        file.try_lock()?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&path, &self.path)?;
        sync_folder(&self.path)?;
        Ok(file)
    }
}

impl Drop for OutboxFile {
    fn drop(&mut self) {
        // Closing the file does not always unlock it. A child process that is
        // being started has it open too, until its `exec`.
        let _ = self.file.unlock();
    }
}

fn options() -> fs::OpenOptions {
    let mut options = File::options();
    options.read(true).append(true).mode(0o600);
    options
}

/// Opens and locks the file at a path.
fn take(path: &Path) -> Result<File, OutboxErrorKind> {
    loop {
        let file = options().create(true).open(path)?;
        let taken = file.metadata()?;
        if !taken.is_file() {
            return Err(OutboxErrorKind::Foreign);
        }
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OutboxErrorKind::Taken,
            TryLockError::Error(error) => OutboxErrorKind::Io(error),
        })?;
        // Another client may have replaced the file before this one locked it.
        if fs::metadata(path).is_ok_and(|named| named.ino() == taken.ino()) {
            return Ok(file);
        }
    }
}

fn head(url: &str) -> Vec<u8> {
    let mut head = Vec::new();
    put(
        &mut head,
        &Head {
            broadcast_chat_outbox: VERSION,
            url: url.to_owned(),
        },
    );
    head
}

/// Appends a record and a line end to a buffer.
pub(super) fn put(out: &mut Vec<u8>, record: &impl Serialize) {
    // Serializing fails only for maps whose keys are no strings; these types
    // have none.
    let _ = serde_json::to_writer(&mut *out, record);
    out.push(b'\n');
}

/// Syncs the folder of a file, which puts a new file name on disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// The reason why a file cannot be the outbox. Its text is one sentence that
/// says what to do.
#[derive(Debug)]
pub struct OutboxError {
    path: PathBuf,
    why: OutboxErrorKind,
}

#[derive(Debug)]
enum OutboxErrorKind {
    Io(io::Error),
    Taken,
    Foreign,
    OtherVersion(u32),
    OtherRoom { its: String, ours: String },
    OtherSpeaker(Speaker),
    Damaged(u64),
}

impl OutboxError {
    /// The error for an outbox whose messages another speaker sent.
    pub(super) fn other_speaker(path: &Path, speaker: Speaker) -> Self {
        OutboxError {
            path: path.to_owned(),
            why: OutboxErrorKind::OtherSpeaker(speaker),
        }
    }

    /// Whether the outbox is for another client: one that has locked it, or one
    /// with another name.
    pub(super) fn is_of_another(&self) -> bool {
        matches!(
            self.why,
            OutboxErrorKind::Taken | OutboxErrorKind::OtherSpeaker(_)
        )
    }
}

impl From<io::Error> for OutboxErrorKind {
    fn from(error: io::Error) -> Self {
        OutboxErrorKind::Io(error)
    }
}

impl fmt::Display for OutboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            OutboxErrorKind::Io(error) => write!(f, "{path} cannot be the outbox ({error})"),
            OutboxErrorKind::Taken => write!(
                f,
                "{path} is in use by another client: give each an outbox of its own"
            ),
            OutboxErrorKind::Foreign => write!(
                f,
                "{path} is no outbox and is left as it is: name another file, or one that is not there yet"
            ),
            OutboxErrorKind::OtherVersion(version) => write!(
                f,
                "{path} is an outbox of version {version}, this client knows version {VERSION}: it is left as it is"
            ),
            OutboxErrorKind::OtherRoom { its, ours } => write!(
                f,
                "{path} is the outbox for {its}, not for {ours}: give each room an outbox of its own"
            ),
            OutboxErrorKind::OtherSpeaker(Speaker(Some(name))) => write!(
                f,
                "{path} has messages that were sent as {name}: start the client with --name {name}"
            ),
            OutboxErrorKind::OtherSpeaker(Speaker(None)) => write!(
                f,
                "{path} has messages that were sent without a name: start the client without --name"
            ),
            OutboxErrorKind::Damaged(line) => write!(
                f,
                "{path} is damaged at line {line} and is left as it is: mend it, or name another file"
            ),
        }
    }
}

impl std::error::Error for OutboxError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_file_is_unlocked_while_a_child_inherits_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("outbox");
        let open = || OutboxFile::open(&path, "ws://test:1/").map(|(file, _)| file);
        let held = open().expect("free");
        // A child process that is being started has the same descriptor.
        let _inherited = held.file.try_clone().expect("a descriptor");
        assert!(matches!(open(), Err(error) if matches!(error.why, OutboxErrorKind::Taken)));
        drop(held);
        assert!(open().is_ok());
    }
}
