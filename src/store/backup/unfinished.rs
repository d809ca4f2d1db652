//! The file of a backup in progress.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The file of a backup in progress; it is removed when this is dropped.
pub(in crate::store) struct Unfinished {
    path: PathBuf,
    file: fs::File,
}

impl Unfinished {
    /// Creates the file beside its final name, with another extension.
    ///
    /// # Errors
    /// Fails if the file cannot be created, or another program is writing it.
    pub(in crate::store) fn create(to: &Path, extension: &str) -> io::Result<Self> {
        let mut name = to.as_os_str().to_owned();
        name.push(".");
        name.push(extension);
        let path = PathBuf::from(name);
        loop {
            let mut options = fs::File::options();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.mode(0o600).open(&path)?;
            file.try_lock().map_err(|_| {
                let why = "another backup to it is being made";
                io::Error::new(io::ErrorKind::ResourceBusy, why)
            })?;
            let own = file.metadata()?;
            // The program that made it may just have removed it.
            if fs::symlink_metadata(&path).is_ok_and(|found| found.ino() == own.ino()) {
                // A killed program may have left one behind, with a journal
                // that SQLite would take for that of the new file.
                file.set_len(0)?;
                for rest in ["-journal", "-wal", "-shm"] {
                    let mut name = path.as_os_str().to_owned();
                    name.push(rest);
                    match fs::remove_file(&name) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
                return Ok(Unfinished { path, file });
            }
        }
    }

    /// Its path.
    pub(in crate::store) fn path(&self) -> &Path {
        &self.path
    }

    /// The file.
    pub(in crate::store) fn file(&self) -> &fs::File {
        &self.file
    }

    /// Gives the file its final name, which must be free.
    ///
    /// # Errors
    /// Fails if the name is taken, or the disk fails.
    pub(in crate::store) fn finish(self, to: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        // Unlike a rename, a hard link never replaces a file.
        fs::hard_link(&self.path, to)?;
        sync_folder_of(to)
    }
}

/// Syncs the folder of a file, so that a power cut does not undo a new name.
///
/// # Errors
/// Fails if the folder cannot be opened or the disk fails.
pub(in crate::store) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    fs::File::open(folder)?.sync_all()
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // A file that cannot be removed is replaced by the next backup.
        let _ = fs::remove_file(&self.path);
    }
}
