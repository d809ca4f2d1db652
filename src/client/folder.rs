//! The folders in which a client keeps its user's data.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest;

/// The folder of outboxes and secrets: `$XDG_STATE_HOME/broadcast-chat`, or else
/// `$HOME/.local/state/broadcast-chat`; `None` if neither variable holds an
/// absolute path.
pub fn of_user(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    below(variable, "XDG_STATE_HOME", ".local/state")
}

/// The path of the preferences, which the user writes by hand:
/// `preferences.toml` in `$XDG_CONFIG_HOME/broadcast-chat`, or else in
/// `$HOME/.config/broadcast-chat`.
pub fn preferences(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    Some(below(variable, "XDG_CONFIG_HOME", ".config")?.join("preferences.toml"))
}

fn below(
    variable: impl Fn(&str) -> Option<OsString>,
    name: &str,
    otherwise: &str,
) -> Option<PathBuf> {
    let absolute = |name| {
        variable(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    let folder = absolute(name).or_else(|| Some(absolute("HOME")?.join(otherwise)));
    Some(folder?.join("broadcast-chat"))
}

/// Creates the folder if it does not exist, readable by the user alone.
///
/// # Errors
///
/// Fails if the folder cannot be created.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// The path of the folder's file of this kind and purpose. Its name holds a
/// hash, because a purpose may be longer than a file name and hold any
/// character.
pub(super) fn file(folder: &Path, kind: &str, purpose: &str) -> PathBuf {
    let sum = digest::digest(&digest::SHA256, purpose.as_bytes());
    let sum = URL_SAFE_NO_PAD.encode(&sum.as_ref()[..16]);
    folder.join(format!("{kind}-{sum}"))
}
