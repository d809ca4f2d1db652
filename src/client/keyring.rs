//! The secrets that prove a user's owned names.
//!
//! Each server and name has a file, readable by the user alone and written
//! before its secret is used. A hash of server and name is its file name; the
//! text in the file names both.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::folder;
use crate::protocol::{name::Name, secret::Secret};

/// Secrets in a folder. Without a folder there are none, and names are leased.
#[derive(Clone, Debug, Default)]
pub struct Keyring(Option<PathBuf>);

impl Keyring {
    /// A keyring without secrets.
    pub fn none() -> Self {
        Keyring(None)
    }

    /// The secrets in a folder, which is created with the first secret. `None`
    /// is a keyring without secrets.
    pub fn in_folder(folder: Option<PathBuf>) -> Self {
        Keyring(folder)
    }

    /// The secret of a name on a server, made if there is none; `None` for a
    /// keyring without secrets.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or created, or holds no secret.
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
        write(
            folder,
            &path,
            server,
            name,
            &Secret::from_random(random),
            false,
        )?;
        // Another client may have been faster, and its secret counts.
        read(&path)
    }

    /// Stores a secret that a person typed or the server sent.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or written, or holds no secret.
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

/// The file of a name. Names with the same comparison key share it.
fn path(folder: &Path, server: &str, name: &Name) -> PathBuf {
    folder::file(folder, "name", &format!("{server} {}", name.key()))
}

/// The secret in a file; `None` if the file does not exist.
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

/// Writes a temporary file and puts it in place at once. Without `replace`, an
/// existing file stays.
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
    // A crashed client with the same process id may have left one.
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
    fn each_server_and_name_keeps_one_secret() {
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
    fn without_a_folder_there_are_no_secrets() {
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
