//! The socket of a running server for operators' requests.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::{sleep, timeout},
};
use tracing::warn;

use super::{answer::AdminAnswer, perform::perform, request::AdminRequest};
use crate::{
    hub::Hub,
    net::BoundUnixSocket,
    protocol::{Refusal, RefusalCode},
};

/// How many requests may wait.
const BACKLOG: u32 = 16;

/// The longest request, in bytes.
const MAX_REQUEST: u64 = 4096;

/// How long a request may take to arrive, and its answer to be read. Others
/// wait meanwhile.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long accepting pauses after an error.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest path of a socket, with a temporary name of its own.
const MAX_PATH: usize = 90;

/// The path of the socket in a data folder. The file must be kept as long as
/// the path is used.
///
/// # Errors
///
/// Fails if the folder of a long path cannot be opened.
pub fn socket_path(folder: &Path) -> io::Result<(PathBuf, Option<File>)> {
    const NAME: &str = "admin.sock";
    let path = folder.join(NAME);
    if path.as_os_str().as_bytes().len() <= MAX_PATH {
        return Ok((path, None));
    }
    // The system takes only short paths of sockets.
    let folder = File::open(folder)?;
    let path = format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd());
    Ok((path.into(), Some(folder)))
}

/// The bound socket.
#[derive(Debug)]
pub struct AdminSocket {
    socket: BoundUnixSocket,
    _folder: Option<File>,
}

impl AdminSocket {
    /// Listens in the data folder of this server.
    ///
    /// # Errors
    ///
    /// Fails if the socket cannot be made.
    pub fn bind(folder: &Path) -> io::Result<Self> {
        let (path, folder) = socket_path(folder)?;
        let socket = BoundUnixSocket::bind_private(&path, BACKLOG)?;
        Ok(AdminSocket {
            socket,
            _folder: folder,
        })
    }

    /// Serves requests one after the other. `site` begins the URLs of
    /// invitations. Never returns.
    pub async fn serve(&self, hub: &Hub, site: &str) {
        loop {
            match self.socket.accept().await {
                // A peer that gives up gets no answer.
                Ok(stream) => drop(serve_one(stream, hub, site).await),
                Err(error) => {
                    warn!("no administration is possible for now: {error}");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn serve_one(mut stream: UnixStream, hub: &Hub, site: &str) -> io::Result<()> {
    let mut line = String::new();
    let mut reader = BufReader::new(&mut stream).take(MAX_REQUEST);
    timeout(DEADLINE, reader.read_line(&mut line)).await??;
    let answer = match serde_json::from_str::<AdminRequest>(&line) {
        Ok(request) => perform(hub, request, site).await,
        Err(error) => AdminAnswer::Refused(Refusal::new(
            RefusalCode::BadJson,
            format!(
                "The running server does not know this request ({error}): use its version of this program."
            ),
        )),
    };
    let mut answer = serde_json::to_vec(&answer)?;
    answer.push(b'\n');
    timeout(DEADLINE, stream.write_all(&answer)).await?
}
