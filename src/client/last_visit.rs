//! The memory of the user's last visit to a server: the name, and the position in
//! each room. Each is a file that only the user can read.
//! Failures are ignored: the user only misses a convenience.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Position, address::Target, folder};
use crate::protocol::{
    WallTime,
    name::{Name, RoomName},
};

/// The name that the user last had on the server of a target.
pub fn last_name(folder: &Path, target: &Target) -> Option<Name> {
    let name = fs::read_to_string(name_file(folder, &target.origin())).ok()?;
    name.trim_end().parse().ok()
}

/// The end of a visit to a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastVisit {
    /// The position up to which the room was shown.
    pub(super) position: Position,
    /// When the user left.
    pub(super) at: WallTime,
}

/// The memory of visits to one server.
#[derive(Debug)]
pub(super) struct Visits {
    /// `None` keeps nothing.
    pub(super) folder: Option<PathBuf>,
    /// The server.
    pub(super) origin: String,
}

impl Visits {
    /// The end of the last visit to a room.
    pub(super) fn last(&self, room: &RoomName) -> Option<LastVisit> {
        let visit = fs::read(self.room_file(self.folder.as_deref()?, room)).ok()?;
        serde_json::from_slice(&visit).ok()
    }

    /// Remembers the end of a visit.
    pub(super) fn note(&self, visit: &LastVisit) {
        if let (Some(folder), Ok(text)) = (&self.folder, serde_json::to_vec(visit)) {
            write(folder, &self.room_file(folder, &visit.position.room), &text);
        }
    }

    /// Remembers the user's name.
    pub(super) fn note_name(&self, name: &Name) {
        if let Some(folder) = &self.folder {
            let text = format!("{name}\n");
            write(folder, &name_file(folder, &self.origin), text.as_bytes());
        }
    }

    fn room_file(&self, folder: &Path, room: &RoomName) -> PathBuf {
        folder::file(folder, "visit", &format!("{}/{room}", self.origin))
    }
}

fn name_file(folder: &Path, origin: &str) -> PathBuf {
    folder::file(folder, "last-name", origin)
}

fn write(folder: &Path, path: &Path, text: &[u8]) {
    let _ = folder::make(folder);
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600);
    let _ = file.open(path).and_then(|mut file| file.write_all(text));
}
