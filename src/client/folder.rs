//! Where a client keeps what it knows for its user, from one day to the next.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest;

/// `$XDG_STATE_HOME/broadcast-chat`, or else
/// `$HOME/.local/state/broadcast-chat`; `None` where there is no such place.
pub fn of_user(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    below(variable, "XDG_STATE_HOME", ".local/state")
}

/// What the user has written by hand, in the same way: a file in
/// `$XDG_CONFIG_HOME/broadcast-chat`, or else `$HOME/.config/broadcast-chat`.
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

/// Makes the folder where it is not there; for the user alone.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// The file in it of this kind and purpose. It goes by a sum: a purpose may be
/// longer than a file's name, and hold any character.
pub(super) fn file(folder: &Path, kind: &str, purpose: &str) -> PathBuf {
    let sum = digest::digest(&digest::SHA256, purpose.as_bytes());
    let sum = URL_SAFE_NO_PAD.encode(&sum.as_ref()[..16]);
    folder.join(format!("{kind}-{sum}"))
}
