//! An outbox in a file: one JSON record a line, only ever appended to, and
//! rewritten whole when most of it is done with. Its calls wait for the disk.

use std::{
    borrow::Cow,
    fmt,
    fs::{self, File, TryLockError},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{client::position::Position, protocol::Command};

/// How every outbox begins.
const BEGINNING: &str = r#"{"broadcast_chat_outbox":"#;

/// Raised whenever older versions could not read the file.
const VERSION: u32 = 1;

/// A file of at least so many bytes is rewritten when half of it is done with.
const WORTHWHILE: u64 = 1 << 20;

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    broadcast_chat_outbox: u32,
    url: String,
}

/// Any other line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record<'a> {
    /// A command is kept.
    Take {
        number: u64,
        command: Cow<'a, Command>,
    },
    /// It need not be any more.
    Done(u64),
    /// Reading has come so far.
    At(Cow<'a, Position>),
}

/// The file of one client, which has it locked.
pub(super) struct OutboxFile {
    path: PathBuf,
    url: String,
    /// Locked while this client lives.
    file: File,
    length: u64,
    /// At this length it is rewritten.
    due: u64,
}

impl OutboxFile {
    /// Takes the file, made where there is none; with what it holds.
    ///
    /// # Errors
    ///
    /// The file is in use, is no outbox of this room, or cannot be read.
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
            path: fs::canonicalize(path).map_err(|error| failed(Why::Io(error)))?,
            url: url.to_owned(),
            file,
            length: 0,
            due: WORTHWHILE,
        };
        let records = opened.read().map_err(failed)?;
        Ok((opened, records))
    }

    fn read(&mut self) -> Result<Vec<Record<'static>>, Why> {
        let mut lines = BufReader::new(&self.file);
        let mut line = Vec::new();
        let mut beginning = (&mut lines).take(BEGINNING.len() as u64);
        beginning.read_to_end(&mut line)?;
        if line.is_empty() {
            return self.begin().map_err(Why::Io).map(|()| Vec::new());
        }
        if line != BEGINNING.as_bytes() {
            return Err(Why::Foreign);
        }
        lines.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            // Its maker died over it, before anything else.
            self.file.set_len(0)?;
            return self.begin().map_err(Why::Io).map(|()| Vec::new());
        }
        let head: Head = serde_json::from_slice(&line).map_err(|_| Why::Damaged(1))?;
        if head.broadcast_chat_outbox != VERSION {
            return Err(Why::OtherVersion(head.broadcast_chat_outbox));
        }
        if head.url != self.url {
            return Err(Why::OtherRoom {
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
                // The end, or a line during which the writer died: what stood
                // on it was not handed to any connection.
                break;
            }
            records.push(serde_json::from_slice(&line).map_err(|_| Why::Damaged(number))?);
            self.length += line.len() as u64;
        }
        self.file.set_len(self.length)?;
        self.due = WORTHWHILE.max(2 * self.length);
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

    /// Whether so much will be written with so many bytes more that it is time
    /// to rewrite it.
    pub(super) fn is_due(&self, more: usize) -> bool {
        self.length + more as u64 >= self.due
    }

    /// Adds records; with `sync`, they are on disk after that.
    ///
    /// # Errors
    ///
    /// The disk's. A record may then be there in part, so nothing more is to be
    /// added.
    pub(super) fn append(&mut self, records: &[u8], sync: bool) -> io::Result<()> {
        self.file.write_all(records)?;
        self.length += records.len() as u64;
        if sync {
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Puts a file of these records in the place of this one. If that fails,
    /// this one only goes on growing.
    pub(super) fn rewrite(&mut self, kept: &[u8]) {
        let content = [&head(&self.url), kept].concat();
        if let Ok(file) = self.replace(&content) {
            self.file = file;
            self.length = content.len() as u64;
        }
        self.due = WORTHWHILE.max(2 * self.length);
    }

    /// Removes the file: nobody needs it any more.
    pub(super) fn remove(self) {
        // Where it cannot be, the next client finds nothing unsent in it.
        let _ = fs::remove_file(&self.path);
    }

    fn replace(&self, content: &[u8]) -> io::Result<File> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let path = self.path.with_file_name(name);
        // One that is there was left by a client that died at this; this
        // client alone has the outbox it belongs to. Anything else stays.
        if fs::read(&path).is_ok_and(|old| old.starts_with(BEGINNING.as_bytes())) {
            fs::remove_file(&path)?;
        }
        let mut file = options().create_new(true).open(&path)?;
        // Before it has the name: nobody else may have it in between.
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
        // Closing the file is not enough: a child of this process that is just
        // being started has it open too, until it becomes its program.
        let _ = self.file.unlock();
    }
}

fn options() -> fs::OpenOptions {
    let mut options = File::options();
    options.read(true).append(true).mode(0o600);
    options
}

/// Opens and locks the file that has the name.
fn take(path: &Path) -> Result<File, Why> {
    loop {
        let file = options().create(true).open(path)?;
        let taken = file.metadata()?;
        if !taken.is_file() {
            return Err(Why::Foreign);
        }
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Why::Taken,
            TryLockError::Error(error) => Why::Io(error),
        })?;
        // It may have been replaced between the two.
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

/// Adds a record to others.
pub(super) fn put(out: &mut Vec<u8>, record: &impl Serialize) {
    // Only maps with keys that are no strings fail; these types have none.
    let _ = serde_json::to_writer(&mut *out, record);
    out.push(b'\n');
}

/// A new name is on disk when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Why a file cannot be the outbox. Its text is one sentence that says what to
/// do.
#[derive(Debug)]
pub struct OutboxError {
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Io(io::Error),
    Taken,
    Foreign,
    OtherVersion(u32),
    OtherRoom { its: String, ours: String },
    Damaged(u64),
}

impl OutboxError {
    /// Another client has it.
    pub(super) fn is_taken(&self) -> bool {
        matches!(self.why, Why::Taken)
    }
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Why::Io(error)
    }
}

impl fmt::Display for OutboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            Why::Io(error) => write!(f, "{path} cannot be the outbox ({error})"),
            Why::Taken => write!(
                f,
                "{path} is in use by another client: give each an outbox of its own"
            ),
            Why::Foreign => write!(
                f,
                "{path} is no outbox and is left as it is: name another file, or one that is not there yet"
            ),
            Why::OtherVersion(version) => write!(
                f,
                "{path} is an outbox of version {version}, this client knows version {VERSION}: it is left as it is"
            ),
            Why::OtherRoom { its, ours } => write!(
                f,
                "{path} is the outbox for {its}, not for {ours}: give each room an outbox of its own"
            ),
            Why::Damaged(line) => write!(
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
    fn what_is_let_go_of_is_free_whoever_still_has_it_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("outbox");
        let open = || OutboxFile::open(&path, "ws://test:1/").map(|(file, _)| file);
        let held = open().expect("free");
        // As a child has it that is being started.
        let _inherited = held.file.try_clone().expect("a descriptor");
        assert!(matches!(open(), Err(error) if matches!(error.why, Why::Taken)));
        drop(held);
        assert!(open().is_ok());
    }
}
