//! A Unix socket at a path of the file system.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Its owner and its group may connect.
const SHARED: u32 = 0o660;

/// Only its owner may connect.
const PRIVATE: u32 = 0o600;

/// A bound Unix socket. Its drop removes the path, if the socket made it.
#[derive(Debug)]
pub struct BoundUnixSocket {
    listener: UnixListener,
    made: Option<(PathBuf, FileId)>,
}

/// What tells a file from every other one: its device and its number there.
type FileId = (u64, u64);

impl BoundUnixSocket {
    /// Listens at a path, for its owner and group. A socket there that nobody
    /// listens on is replaced.
    ///
    /// # Errors
    ///
    /// Fails with [`io::ErrorKind::AddrInUse`] if a program listens there, and
    /// with [`io::ErrorKind::AlreadyExists`] if the path is another file. Also
    /// fails if the socket cannot be made.
    pub fn bind(path: &Path, backlog: u32) -> io::Result<Self> {
        Self::bind_with_mode(path, backlog, SHARED)
    }

    /// Listens at a path, for its owner alone.
    ///
    /// # Errors
    ///
    /// Fails as [`BoundUnixSocket::bind`] does.
    pub fn bind_private(path: &Path, backlog: u32) -> io::Result<Self> {
        Self::bind_with_mode(path, backlog, PRIVATE)
    }

    fn bind_with_mode(path: &Path, backlog: u32, mode: u32) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            Ok(_) => match probe(path) {
                Err(Errno::CONNREFUSED) => {}
                // A listener with a full queue lets nobody wait here.
                Ok(()) | Err(Errno::AGAIN) => return Err(io::ErrorKind::AddrInUse.into()),
                Err(error) => return Err(error.into()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // The mode is set before a client can find the socket. The path always
        // leads to one.
        let new = path.with_file_name(format!(".{:016x}", getrandom::u64()?));
        let socket = UnixSocket::new_stream()?;
        socket.bind(&new)?;
        let listen = || {
            fs::set_permissions(&new, fs::Permissions::from_mode(mode))?;
            let listener = socket.listen(backlog)?;
            fs::rename(&new, path)?;
            Ok(BoundUnixSocket {
                listener,
                made: Some((path.to_owned(), id_of(path)?)),
            })
        };
        listen().inspect_err(|_: &io::Error| {
            let _ = fs::remove_file(&new);
        })
    }

    /// A listener that another program made, with its path.
    pub fn handed_over(listener: UnixListener) -> Self {
        let made = None;
        BoundUnixSocket { listener, made }
    }

    /// The path; `None` if it has none.
    pub fn path(&self) -> Option<PathBuf> {
        match &self.made {
            Some((path, _)) => Some(path.clone()),
            None => Some(self.listener.local_addr().ok()?.as_pathname()?.to_owned()),
        }
    }

    /// Accepts one connection.
    ///
    /// # Errors
    ///
    /// Fails as `accept(2)` does.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        let (stream, _) = self.listener.accept().await?;
        Ok(stream)
    }
}

impl Drop for BoundUnixSocket {
    fn drop(&mut self) {
        if let Some((path, id)) = &self.made
            && id_of(path).is_ok_and(|found| found == *id)
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// Connects to a socket, without waiting.
fn probe(path: &Path) -> Result<(), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)
}

fn id_of(path: &Path) -> io::Result<FileId> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}
