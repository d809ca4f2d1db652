//! Keeps the texts sent in each room in a file that only the user can read.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use super::super::folder;
use crate::protocol::name::RoomName;

/// How many texts of a room are kept.
const KEPT: usize = 500;

#[derive(Debug)]
pub(super) struct SentTexts {
    /// `None` keeps nothing.
    pub(super) folder: Option<PathBuf>,
    /// The server: each has its own files.
    pub(super) origin: String,
}

impl SentTexts {
    fn file(&self, room: &RoomName) -> Option<PathBuf> {
        let purpose = format!("{}/{room}", self.origin);
        Some(folder::file(self.folder.as_ref()?, "typed", &purpose))
    }

    /// Reads the texts sent in a room; none if the file cannot be read.
    pub(super) fn load(&self, room: &RoomName) -> Vec<String> {
        let Some(file) = self.file(room) else {
            return Vec::new();
        };
        let text = fs::read_to_string(&file).unwrap_or_default();
        let typed = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let mut typed: Vec<String> = typed.collect();
        if typed.len() > 2 * KEPT {
            typed.drain(..typed.len() - KEPT);
            let lines: Vec<String> = typed.iter().map(|text| encoded(text)).collect();
            // If this fails, the file only stays longer.
            let _ = fs::write(&file, lines.concat());
        }
        typed
    }

    /// Appends a text to the room's file, unless it may hold a secret. Failures
    /// are ignored: the user only misses the text later.
    pub(super) fn append(&self, room: &RoomName, text: &str) {
        let secret = ["/name", "/nick", "/operator", "/link"]
            .iter()
            .any(|word| text.starts_with(word));
        let (Some(folder), Some(file), false) = (&self.folder, self.file(room), secret) else {
            return;
        };
        let _ = folder::make(folder);
        let open = |file| -> std::io::Result<File> {
            OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(file)
        };
        let _ = open(file).and_then(|mut file| file.write_all(encoded(text).as_bytes()));
    }
}

/// A text as one line of JSON.
fn encoded(text: &str) -> String {
    let mut line = serde_json::Value::from(text).to_string();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn texts_are_kept_per_room_for_the_user_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let past = SentTexts {
            folder: Some(folder.path().join("state")),
            origin: "ws://h:1".to_owned(),
        };
        let (lobby, ops) = (RoomName::lobby(), "ops".parse().expect("a room"));
        assert_eq!(past.load(&lobby), [""; 0]);
        for text in [
            "a",
            "two\nlines",
            "/name ana 0123456789abcdef",
            "/operator x",
            "/me b",
        ] {
            past.append(&lobby, text);
        }
        assert_eq!(past.load(&lobby), ["a", "two\nlines", "/me b"]);
        assert_eq!(past.load(&ops), [""; 0]);
        let file = past.file(&lobby).expect("a file");
        let mode = fs::metadata(&file)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        for n in 0..2 * KEPT {
            past.append(&lobby, &n.to_string());
        }
        assert_eq!(past.load(&lobby).len(), KEPT);
        let length = fs::read_to_string(&file).expect("a text").lines().count();
        assert_eq!(length, KEPT, "it was made shorter");
    }
}
