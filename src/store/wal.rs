//! The write-ahead log beside the database: what was committed and is not yet
//! in the database itself.

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

/// How long SQLite waits for a lock another program (a backup, say) holds.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How much is written anew at a time.
const CHUNK: usize = 1 << 20;

/// How many pages it holds before they are moved into the database (SQLite's own
/// measure, at which it is some 4 MB), and how many more the last commit before
/// that may add without the file growing.
pub(super) const PAGES: i64 = 1000;
const PAGES_OF_A_COMMIT: i64 = 100;

/// What stands before each page in the file, and before the first.
const FRAME_HEAD: i64 = 24;
const FILE_HEAD: i64 = 32;

/// How long those who read are waited for, while everybody else waits.
const READERS: Duration = Duration::from_millis(100);

/// Moves all of it into the database and leaves nothing in the file; false where
/// somebody still reads what was before.
pub(super) fn empty(db: &Connection, database: Option<&Path>) -> rusqlite::Result<bool> {
    db.busy_timeout(READERS)?;
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy = db.query_row(checkpoint, [], |row| row.get::<_, bool>(0));
    db.busy_timeout(BUSY_TIMEOUT)?;
    let empty = !busy?;
    if let (true, Some(database)) = (empty, database)
        && let Err(why) = lay_out(db, database)
    {
        // It will do without: the disk may be full, as commits will tell.
        debug!("the write-ahead log has no length beforehand: {why}");
    }
    Ok(empty)
}

/// Gives the empty file its length beforehand, in zeros, which are no page
/// (<https://sqlite.org/fileformat2.html#the_write_ahead_log>).
///
/// A commit that makes a file longer has the system write down its new length as
/// well, and wait for that: it takes twice as long, and twice the CPU, as one
/// that writes over what is there.
fn lay_out(db: &Connection, database: &Path) -> Result<(), StoreError> {
    let page: i64 = db.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let length = FILE_HEAD + (FRAME_HEAD + page) * (PAGES + PAGES_OF_A_COMMIT);
    alone(db, || {
        let file = fs::File::options().write(true).open(beside(database))?;
        fill(&file, length.unsigned_abs())
    })
}

fn fill(file: &fs::File, length: u64) -> io::Result<()> {
    // Somebody else may have written to it since it was emptied.
    let mut at = file.metadata()?.len();
    let zeros = vec![0; CHUNK];
    while at < length {
        let chunk = usize::try_from(length - at).map_or(CHUNK, |left| left.min(CHUNK));
        file.write_all_at(&zeros[..chunk], at)?;
        at += chunk as u64;
    }
    file.sync_all()
}

/// Writes it anew where it stands, byte by byte as it is, and syncs it.
///
/// After a failed `fsync` the system may hold pages that it takes for written
/// and that no later `fsync` writes. Read from memory they look well, what is
/// committed behind them is acknowledged, and a power cut takes all of it:
/// SQLite reads its log only up to the first page that is wrong. Written again,
/// they are to be synced again. (The database itself needs no such thing:
/// SQLite writes all that a failed checkpoint wrote again in the next one.)
pub(super) fn write_anew(db: &Connection, database: &Path) -> Result<(), StoreError> {
    alone(db, || rewrite(&beside(database)))
}

/// Does something with the file while nobody else, not even another program, adds
/// to it.
fn alone(db: &Connection, work: impl FnOnce() -> io::Result<()>) -> Result<(), StoreError> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    let done = work();
    db.execute_batch("ROLLBACK")?;
    Ok(done?)
}

fn beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn rewrite(path: &Path) -> io::Result<()> {
    let file = match fs::File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
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
        protocol::{At, Seq, name::RoomName},
        store::database::Database,
    };

    /// Broken to see it fail: the file is not laid out.
    #[test]
    fn a_commit_makes_the_file_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Database::create(folder.path(), "a test").unwrap();
        let length = || {
            let wal = folder.path().join("chat.sqlite-wal");
            fs::metadata(wal).unwrap().len()
        };
        let say = |database: &mut Database, count| {
            for _ in 0..count {
                let entry = Draft::of("lobby", "x".repeat(8192)).entry();
                database.apply_next(At(0), vec![entry; 10]);
            }
        };
        database.empty_wal().unwrap();
        let laid_out = length();
        assert!(laid_out > 4 << 20, "{laid_out}");
        say(&mut database, 50);
        assert_eq!(length(), laid_out);
        // What is killed leaves it so: all that was said is found in it.
        let killed = tempfile::tempdir().unwrap();
        for name in ["chat.sqlite", "chat.sqlite-wal"] {
            fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
        }
        let copy = Database::create(killed.path(), "a test").unwrap();
        assert_eq!(database.state().head, Seq(500));
        assert_eq!(copy.state(), database.state());
        // It is emptied again after a redaction.
        let redact = Action::Redact {
            room: RoomName::lobby(),
            seq: Seq(500),
            by: "op".into(),
        };
        database.apply_next(At(0), vec![Entry::of_server(redact)]);
        database.empty_wal().unwrap();
        assert_eq!(length(), laid_out);
        // And used again from its beginning on.
        say(&mut database, 100);
        assert_eq!(length(), laid_out);
    }
}
