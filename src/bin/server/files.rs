//! What stands in the files that flags name.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use broadcast_chat::protocol::{secret::Secret, text::Text};

/// The longest of them, in bytes.
const LONGEST: u64 = 4 << 10;

/// What newcomers are told, made safe; `None` where the file says nothing.
pub(super) fn motd(path: &Path) -> Result<Option<Text>, String> {
    let read = File::open(path).and_then(|file| text(&file));
    let text = read.map_err(|why| format!("--motd {}: {why}", path.display()))?;
    Ok((!text.is_empty()).then(|| Text::from(text)))
}

/// The operators' secret, which only the file's owner may read.
pub(super) fn secret(path: &Path) -> Result<Secret, String> {
    let read = || {
        let file = File::open(path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            let why = "others may read or change it: chmod 600 it";
            return Err(io::Error::other(why));
        }
        text(&file)?.parse().map_err(io::Error::other)
    };
    read().map_err(|why| format!("--operator-secret-file {}: {why}", path.display()))
}

/// All of a file, but for the line ends behind it.
fn text(file: &File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other("the file is longer than 4 KiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| io::Error::other("the file is not UTF-8"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
