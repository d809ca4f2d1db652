//! Puts a backup in the place of a folder's store.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    os::unix::fs::{MetadataExt, fchown},
    path::{Path, PathBuf},
};

use super::{
    StoreError,
    backup::{Unfinished, read_archive, stamp, sync_folder_of},
    check::{self, Report},
    database::Database,
    folder::lock_folder,
    read_only::open_read_only,
    schema,
};

/// The files of a store. The first one is moved first: without it, no program
/// uses the others.
const FILES: [&str; 6] = [
    "chat.sqlite",
    "chat.sqlite-wal",
    "chat.sqlite-shm",
    "search.sqlite",
    "search.sqlite-wal",
    "search.sqlite-shm",
];

/// A restored store.
#[derive(Debug)]
pub struct Restored {
    /// The result of its check.
    pub report: Report,
    /// The folder with the files of the store before it, if there was one.
    pub before: Option<PathBuf>,
}

/// Puts a backup, compressed or not, in the place of the store of a folder. The
/// backup is checked first. The files of the store before it are kept in a
/// folder of their own. `from` names the backup in errors.
///
/// The restored store begins another log, so the same backup can be restored
/// twice.
///
/// # Errors
/// Fails if a server uses the folder, or if the backup cannot be read, has
/// another format or is damaged. The folder's store then stays as it is. The
/// sentence says what to do.
pub fn restore(backup: impl Read, from: &str, folder: &Path) -> io::Result<Restored> {
    let holder = format!("process {}, server restore", std::process::id());
    let _lock = lock_folder(folder, &holder).map_err(io::Error::other)?;
    let store = folder.join(FILES[0]);
    let unusable = |error: &dyn std::fmt::Display| {
        io::Error::other(format!(
            "{from} is no backup that can be restored ({error}): the history of {} is unchanged",
            folder.display()
        ))
    };
    let copy = Unfinished::create(&folder.join("restored"), "unfinished")?;
    read_archive(backup, copy.file()).map_err(|error| unusable(&error))?;
    let report = begin(copy.path()).map_err(|error| unusable(&error))?;
    if !report.faults.is_empty() {
        return Err(unusable(&report));
    }
    // For root: the folder's owner must be able to open the store. It fails for
    // other users, who need no change.
    let owner = fs::metadata(folder)?;
    let _ = fchown(copy.file(), Some(owner.uid()), Some(owner.gid()));
    copy.file().sync_all()?;
    let before = move_aside(folder)?;
    // The folder is locked, so the name is free.
    fs::rename(copy.path(), &store).map_err(|error| {
        let place = before.as_deref().unwrap_or(folder);
        let place = place.display();
        io::Error::other(format!("the restored history cannot be put in its place ({error}): the history before is in {place}"))
    })?;
    sync_folder_of(&store)?;
    let path = store;
    Ok(Restored {
        report: Report { path, ..report },
        before,
    })
}

/// Checks a copy of a backup, and begins another log in it.
fn begin(path: &Path) -> io::Result<Report> {
    // This refuses other formats.
    drop(open_read_only(path).map_err(io::Error::other)?);
    let begun = || -> Result<Report, StoreError> {
        let mut copy = Database::from_connection(schema::connect(path)?)?;
        let report = check::whole(copy.db(), path)?;
        if report.faults.is_empty() {
            copy.begin_another_log()?;
        }
        Ok(report)
    };
    begun().map_err(io::Error::other)
}

/// Moves the files of a store into a new folder; `None` if there are none.
fn move_aside(folder: &Path) -> io::Result<Option<PathBuf>> {
    let aside = folder.join(format!("before-{}", stamp()));
    let mut moved = None;
    for name in FILES {
        let file = folder.join(name);
        match fs::symlink_metadata(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            found => {
                found?;
            }
        }
        if moved.is_none() {
            // A folder of this name holds another store: it is not mixed with
            // this one.
            fs::create_dir(&aside)?;
            moved = Some(aside.clone());
        }
        fs::rename(&file, aside.join(name))?;
    }
    if moved.is_some() {
        File::open(&aside)?.sync_all()?;
    }
    Ok(moved)
}
