//! Edits a text in the user's editor.

use std::{
    env, fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    process::{self, Command},
};

/// The editor of a user that names none; POSIX has it everywhere.
const FALLBACK: &str = "vi";

/// Edits a text in `$VISUAL` or `$EDITOR`, and returns what the user wrote.
/// Blocks until the editor ends.
///
/// # Errors
/// Fails if the editor cannot be run or fails, or its file cannot be read.
pub(super) fn edit(text: &str) -> io::Result<String> {
    let folder = Folder::create()?;
    let path = folder.0.join("message.txt");
    let mut options = fs::File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(text.as_bytes())?;
    drop(file);
    let named = ["VISUAL", "EDITOR"].map(|name| env::var(name).ok());
    let mut named = named
        .into_iter()
        .flatten()
        .filter(|editor| !editor.is_empty());
    let editor = named.next().unwrap_or_else(|| FALLBACK.to_owned());
    // The variable may have arguments.
    let script = format!("{editor} \"$1\"");
    let ended = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(&path)
        .status()?;
    if !ended.success() {
        return Err(io::Error::other(format!("{editor}: {ended}")));
    }
    fs::read_to_string(&path)
}

/// A folder of the user alone, for the file and the copies that editors leave.
/// Dropping the guard removes it.
struct Folder(PathBuf);

impl Folder {
    fn create() -> io::Result<Self> {
        let drawn = getrandom::u64().map_err(io::Error::other)?;
        let name = format!("chat-{}-{drawn:016x}", process::id());
        let path = env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing else is left to do if this fails.
        let _ = fs::remove_dir_all(&self.0);
    }
}
