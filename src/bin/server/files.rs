//! The small files that flags name: the message for newcomers, and the
//! operators' secret.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use broadcast_chat::protocol::{secret::Secret, text::Text};

/// The largest such file, in bytes.
const LONGEST: u64 = 4 << 10;

/// Reads the message for newcomers, made safe; `None` if the file is empty.
///
/// # Errors
///
/// Fails if the file cannot be read, is longer than 4 KiB, or is not UTF-8.
pub(super) fn read_motd(path: &Path) -> Result<Option<Text>, String> {
    let read = File::open(path).and_then(|file| text(&file));
    let text = read.map_err(|why| format!("{}: {why}", path.display()))?;
    Ok((!text.is_empty()).then(|| Text::from(text)))
}

/// Reads the operators' secret.
///
/// # Errors
///
/// Fails if the file cannot be read, if others than its owner may read or
/// change it, or if it holds no secret. A service manager may deliver it
/// readable by others, at a place that only the service sees.
pub(super) fn read_secret(path: &Path) -> Result<Secret, String> {
    let read = || {
        let file = File::open(path)?;
        let forbidden = if is_delivered(path) { 0o033 } else { 0o077 };
        if file.metadata()?.permissions().mode() & forbidden != 0 {
            let why = "others may read or change it: chmod 600 it";
            return Err(io::Error::other(why));
        }
        text(&file)?.parse().map_err(io::Error::other)
    };
    read().map_err(|why| format!("{}: {why}", path.display()))
}

/// Whether a file is a secret that systemd or a container engine delivers.
fn is_delivered(path: &Path) -> bool {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let credentials = credentials.filter(|folder| folder.is_absolute());
    let mut folders = credentials
        .into_iter()
        .chain([PathBuf::from("/run/secrets")]);
    let leaves = path.components().any(|part| part == Component::ParentDir);
    !leaves && folders.any(|folder| path.starts_with(folder))
}

/// The text of a file, without line ends at its end.
fn text(file: &File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other("the file is longer than 4 KiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| io::Error::other("the file is not UTF-8"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
