//! SQLite's write-ahead log: commits that are not yet in the database file.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::Connection;
use tracing::debug;

use super::StoreError;

/// How long SQLite waits for a lock that another program holds, such as a
/// backup.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many bytes are written at a time.
const CHUNK: usize = 1 << 20;

/// How many pages the write-ahead log holds before they are moved into the
/// database: SQLite's default, about 4 MB.
pub(super) const CHECKPOINT_PAGES: i64 = 1000;

/// How many more pages the last commit before that may add without making the
/// file longer.
const SPARE_PAGES: i64 = 100;

/// The bytes of the header before each page.
const FRAME_HEAD: i64 = 24;

/// The bytes of the header of the file.
const FILE_HEAD: i64 = 32;

/// The first four bytes of a file that holds commits
/// (<https://sqlite.org/fileformat2.html#the_write_ahead_log>).
const MAGIC: [u32; 2] = [0x377f_0682, 0x377f_0683];

/// How long emptying the file waits for readers; publishers wait with it.
const READER_TIMEOUT: Duration = Duration::from_millis(100);

/// Moves all pages into the database and empties the file; false if a reader
/// still sees an earlier state.
///
/// # Errors
/// Fails if the database cannot be written.
pub(super) fn empty(db: &Connection, database: Option<&Path>) -> rusqlite::Result<bool> {
    db.busy_timeout(READER_TIMEOUT)?;
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy = db.query_row(checkpoint, [], |row| row.get::<_, bool>(0));
    db.busy_timeout(BUSY_TIMEOUT)?;
    let empty = !busy?;
    if let (true, Some(database)) = (empty, database)
        && let Err(why) = preallocate(db, database)
    {
        // Commits work without it. If the disk is full, a commit reports that.
        debug!("the write-ahead log could not be allocated beforehand: {why}");
    }
    Ok(empty)
}

/// Fills the empty file with zeros up to its full length. SQLite takes no zeros
/// for a page (<https://sqlite.org/fileformat2.html#the_write_ahead_log>).
///
/// A commit that makes the file longer also waits for the sync of its new
/// length. It takes twice as long, and twice the CPU, as one that overwrites
/// old bytes.
fn preallocate(db: &Connection, database: &Path) -> Result<(), StoreError> {
    let page: i64 = db.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let length = FILE_HEAD + (FRAME_HEAD + page) * (CHECKPOINT_PAGES + SPARE_PAGES);
    with_write_lock(db, || {
        let file = fs::File::options().write(true).open(wal_path(database))?;
        fill(&file, length.unsigned_abs())
    })
}

fn fill(file: &fs::File, length: u64) -> io::Result<()> {
    // Another connection may have written to the file since it was emptied.
    let mut at = file.metadata()?.len();
    let zeros = vec![0; CHUNK];
    while at < length {
        let chunk = usize::try_from(length - at).map_or(CHUNK, |left| left.min(CHUNK));
        file.write_all_at(&zeros[..chunk], at)?;
        at += chunk as u64;
    }
    file.sync_all()
}

/// Whether the file holds commits of a database that is missing or empty. SQLite
/// would delete the file as it creates that database.
///
/// # Errors
/// Fails if a file cannot be read.
pub(super) fn is_orphaned(database: &Path) -> io::Result<bool> {
    if existing(fs::metadata(database))?.is_some_and(|found| found.len() > 0) {
        return Ok(false);
    }
    let Some(wal) = existing(fs::File::open(wal_path(database)))? else {
        return Ok(false);
    };
    let mut magic = [0; 4];
    let read = wal.read_at(&mut magic, 0)?;
    Ok(read == magic.len() && MAGIC.contains(&u32::from_be_bytes(magic)))
}

/// Rewrites the file in place with the bytes it has, and syncs it.
///
/// After a failed `fsync` the system may hold pages that it takes for written,
/// and no later `fsync` writes them. Read from memory they look sound, and
/// later commits are acknowledged. A power cut then loses all of these commits:
/// SQLite reads the write-ahead log only up to the first wrong page. Pages that
/// are written again are synced again.
///
/// The database file needs no rewriting: after a failed checkpoint, the next
/// one writes all pages again.
///
/// # Errors
/// Fails if the file cannot be read, written or synced.
pub(super) fn rewrite_and_sync(db: &Connection, database: &Path) -> Result<(), StoreError> {
    with_write_lock(db, || rewrite(&wal_path(database)))
}

/// Runs `work` on the file while no other connection writes to it, not even one
/// of another program.
fn with_write_lock(
    db: &Connection,
    work: impl FnOnce() -> io::Result<()>,
) -> Result<(), StoreError> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    let done = work();
    db.execute_batch("ROLLBACK")?;
    Ok(done?)
}

fn wal_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// `None` if the file does not exist.
fn existing<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

fn rewrite(path: &Path) -> io::Result<()> {
    let file = fs::File::options().read(true).write(true).open(path);
    let Some(file) = existing(file)? else {
        return Ok(());
    };
    let length = file.metadata()?.len();
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    while at < length {
        let read = file.read_at(&mut chunk, at)?;
        if read == 0 {
            break;
        }
        file.write_all_at(&chunk[..read], at)?;
        at += read as u64;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        log::{Action, Draft, Entry},
        protocol::{Seq, WallTime, name::RoomName},
        store::database::Database,
    };

    /// Verified to fail when the file is not filled beforehand.
    #[test]
    fn a_commit_does_not_make_the_file_longer() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::open(folder.path(), "a test").unwrap();
        let length = || {
            let wal = folder.path().join("chat.sqlite-wal");
            fs::metadata(wal).unwrap().len()
        };
        let say = |database: &mut Database, count| {
            for _ in 0..count {
                let entry = Draft::of("lobby", "x".repeat(8192)).entry();
                database.apply_next(WallTime(0), vec![entry; 10]);
            }
        };
        database.empty_wal().unwrap();
        let laid_out = length();
        assert!(laid_out > 4 << 20, "{laid_out}");
        say(&mut database, 50);
        assert_eq!(length(), laid_out);
        // A killed process leaves the file like this: all messages are in it.
        let killed = tempfile::tempdir().unwrap();
        for name in ["chat.sqlite", "chat.sqlite-wal"] {
            fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
        }
        let copy = Database::open(killed.path(), "a test").unwrap();
        assert_eq!(database.state().head, Seq(500));
        assert_eq!(copy.state(), database.state());
        // A redaction empties the file again.
        let redact = Action::Redact {
            room: RoomName::lobby(),
            seq: Seq(500),
            by: "op".into(),
        };
        database.apply_next(WallTime(0), vec![Entry::of_server(redact)]);
        database.empty_wal().unwrap();
        assert_eq!(length(), laid_out);
        // Later commits overwrite it from its beginning.
        say(&mut database, 100);
        assert_eq!(length(), laid_out);
    }
}
