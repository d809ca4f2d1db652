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

use super::{StoreError, schema::BUSY_TIMEOUT};

/// How much is written anew at a time.
const CHUNK: usize = 1 << 20;

/// How long those who read are waited for, while everybody else waits.
const READERS: Duration = Duration::from_millis(100);

/// Moves all of it into the database and leaves nothing in the file; false where
/// somebody still reads what was before.
pub(super) fn empty(db: &Connection) -> rusqlite::Result<bool> {
    db.busy_timeout(READERS)?;
    let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy = db.query_row(checkpoint, [], |row| row.get::<_, bool>(0));
    db.busy_timeout(BUSY_TIMEOUT)?;
    Ok(!busy?)
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
    // With the lock nobody else, not even another program, adds to it meanwhile.
    db.execute_batch("BEGIN IMMEDIATE")?;
    let written = rewrite(&beside(database));
    db.execute_batch("ROLLBACK")?;
    Ok(written?)
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
