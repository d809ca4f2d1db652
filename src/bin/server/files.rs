//! What stands in the files that flags name.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use broadcast_chat::protocol::text::Text;

/// The longest of them, in bytes.
const LONGEST: u64 = 4 << 10;

/// What newcomers are told, made safe; `None` where the file says nothing.
pub(super) fn motd(path: &Path) -> Result<Option<Text>, String> {
    let read = File::open(path).and_then(|file| text(&file));
    let text = read.map_err(|why| format!("--motd {}: {why}", path.display()))?;
    Ok((!text.is_empty()).then(|| Text::from(text)))
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
