//! The secrets of one's names: what makes a name one's own from one day to the
//! next.
//!
//! A file for each server and name, made before its secret is used, readable by
//! the user alone. It is found by a sum of both; what it is for stands in it.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::folder;
use crate::protocol::{name::Name, secret::Secret};

/// Secrets in a folder, or none at all: then names are borrowed.
#[derive(Clone, Debug, Default)]
pub struct Keyring(Option<PathBuf>);

impl Keyring {
    /// No secrets.
    pub fn none() -> Self {
        Keyring(None)
    }

    /// Those in a folder, if there is one; it is made when there is something to
    /// keep.
    pub fn in_folder(folder: Option<PathBuf>) -> Self {
        Keyring(folder)
    }

    /// The secret of a name on a server, made where there is none; `None` where
    /// no secrets are kept.
    ///
    /// # Errors
    ///
    /// The file cannot be read or made, or holds no secret.
    pub fn secret(&self, server: &str, name: &Name) -> io::Result<Option<Secret>> {
        let Some(folder) = &self.0 else {
            return Ok(None);
        };
        let path = path(folder, server, name);
        if let Some(secret) = read(&path)? {
            return Ok(Some(secret));
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        write(folder, &path, server, name, &Secret::of(random), false)?;
        // Another client may have been faster: its secret is the one.
        read(&path)
    }

    /// Keeps a secret that somebody knew.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written, or holds no secret.
    pub fn keep(&self, server: &str, name: &Name, secret: &Secret) -> io::Result<()> {
        let Some(folder) = &self.0 else {
            return Ok(());
        };
        let path = path(folder, server, name);
        if read(&path)?.as_ref() == Some(secret) {
            return Ok(());
        }
        write(folder, &path, server, name, secret, true)
    }
}

/// Names that are the same person have the same file.
fn path(folder: &Path, server: &str, name: &Name) -> PathBuf {
    folder::file(folder, "name", &format!("{server} {}", name.key()))
}

/// The secret in a file; `None` where there is no such file.
fn read(path: &Path) -> io::Result<Option<Secret>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let secret = text.lines().next().and_then(|line| line.parse().ok());
    secret.map(Some).ok_or_else(|| {
        let what = format!("{} holds no secret: remove it", path.display());
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

/// Puts a whole file in its place.
fn write(
    folder: &Path,
    path: &Path,
    server: &str,
    name: &Name,
    secret: &Secret,
    replace: bool,
) -> io::Result<()> {
    folder::make(folder)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    // One that a client of the same number left when it died.
    let _ = fs::remove_file(&beside);
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    let content = format!("{}\nis the secret of {name} at {server}\n", secret.reveal());
    let written = file
        .write_all(content.as_bytes())
        .and_then(|()| file.sync_all());
    let placed = written.and_then(|()| {
        if replace {
            return fs::rename(&beside, path);
        }
        match fs::hard_link(&beside, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    });
    let _ = fs::remove_file(&beside);
    placed?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SERVER: &str = "ws://127.0.0.1:2000";

    fn name(name: &str) -> Name {
        name.parse().expect("a name")
    }

    #[test]
    fn a_secret_is_made_once_and_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        let variable = |name: &str| (name == "XDG_STATE_HOME").then(|| state.clone().into());
        let keyring = Keyring::in_folder(folder::of_user(variable));
        let secret = |server, name: &Name| {
            let secret = keyring.secret(server, name).expect("writable");
            secret.expect("kept")
        };
        let first = secret(SERVER, &name("ana"));
        assert_eq!(secret(SERVER, &name("Ana")), first);
        assert_ne!(secret(SERVER, &name("bob")), first);
        assert_ne!(secret("wss://chat.example:443", &name("ana")), first);
        let known = "0123456789abcdef".parse().expect("a secret");
        keyring
            .keep(SERVER, &name("ana"), &known)
            .expect("writable");
        assert_eq!(secret(SERVER, &name("ana")), known);

        let kept = state.join("broadcast-chat");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&kept), 0o700);
        let files: Vec<_> = fs::read_dir(&kept).expect("a folder").collect();
        assert_eq!(files.len(), 3);
        for file in files {
            assert_eq!(mode(&file.expect("a file").path()), 0o600);
        }
    }

    #[test]
    fn without_a_place_there_are_no_secrets() {
        for keyring in [
            Keyring::none(),
            Keyring::in_folder(folder::of_user(|_| None)),
            Keyring::in_folder(folder::of_user(|_| Some("not/absolute".into()))),
        ] {
            assert_eq!(
                keyring
                    .secret(SERVER, &name("ana"))
                    .expect("nothing to write"),
                None
            );
        }
    }
}
