//! Has an operator's request carried out: by the running server, or else on the
//! store.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use tokio_util::task::TaskTracker;

use super::{answer::AdminAnswer, perform::perform, request::AdminRequest, socket::socket_path};
use crate::{
    fanout::Applier,
    hub::{AccessMode, Capacity, Hub, HubOptions},
    net::AddressSet,
    store::{self, OpenError, Replica, Storage},
};

/// How long the server may take to answer.
const DEADLINE: Duration = Duration::from_secs(60);

/// The beginning of URLs where the server's address is not known.
const UNKNOWN_SITE: &str = "https://HOST";

/// Has a request carried out, by the server that runs on a folder or on the
/// folder itself.
///
/// Blocks, so it must not run within a runtime.
///
/// # Errors
///
/// Fails if there is no history, if a server does not answer, or if the store
/// cannot be opened. The sentence says what to do.
pub fn ask(folder: &Path, request: &AdminRequest) -> io::Result<AdminAnswer> {
    let place = folder.display();
    if let Some(server) = connect(folder)? {
        return ask_server(server, request);
    }
    if !folder.join("chat.sqlite").exists() {
        return Err(io::Error::other(format!(
            "there is no history in {place}: give the folder with --data"
        )));
    }
    if let AdminRequest::Kick { .. } = request {
        return Err(io::Error::other(format!(
            "no server runs on {place}, so there are no connections to close"
        )));
    }
    let holder = format!("process {}, an operator's command", std::process::id());
    match store::open(&Storage::Folder(folder.to_owned()), &holder) {
        Ok((replica, _)) => on_store(replica, request.clone()),
        Err(OpenError::InUse { holder, .. }) => {
            // It may have started a moment ago.
            let server = connect(folder)?.ok_or_else(|| {
                io::Error::other(format!(
                    "{place} is in use ({holder}), and takes no requests: try again in a moment, or stop that program"
                ))
            })?;
            ask_server(server, request)
        }
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Connects to the server that runs on a folder; `None` if there is none.
fn connect(folder: &Path) -> io::Result<Option<UnixStream>> {
    let path = match socket_path(folder) {
        Ok((path, folder)) => UnixStream::connect(path).inspect(|_| drop(folder)),
        Err(error) => Err(error),
    };
    match path {
        Ok(server) => Ok(Some(server)),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let place = folder.display();
            Err(io::Error::other(format!(
                "this user may not administer the server of {place}: run this as the server's user, or as root"
            )))
        }
        Err(_) => Ok(None),
    }
}

fn ask_server(mut server: UnixStream, request: &AdminRequest) -> io::Result<AdminAnswer> {
    server.set_read_timeout(Some(DEADLINE))?;
    server.set_write_timeout(Some(DEADLINE))?;
    let asked = || {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        server.write_all(&line)?;
        server.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        BufReader::new(server).read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    };
    asked().map_err(|error: io::Error| {
        io::Error::other(format!(
            "the running server gave no answer ({error}): `server audit` says whether it was done"
        ))
    })
}

/// Carries out a request on a store, by a hub without connections.
fn on_store(replica: Replica, request: AdminRequest) -> io::Result<AdminAnswer> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let standing = replica.starting_state().map_err(io::Error::other)?;
    let options = HubOptions {
        shards: 1,
        // The settings of the store stay the same.
        name_expiry: Duration::from_millis(standing.name_expiry_ms),
        edit_window: Duration::from_millis(standing.edit_window_ms),
        access: AccessMode::Open,
        capacity: Capacity::UNLIMITED,
        proxies: AddressSet::NONE,
        hides_addresses: false,
    };
    runtime.block_on(async {
        let tasks = TaskTracker::new();
        let applier = Applier::local(replica).map_err(io::Error::other)?;
        let (hub, submitter) = Hub::start(applier, &options, &tasks)?;
        let answer = perform(&hub, request, UNKNOWN_SITE).await;
        drop(submitter);
        hub.finished().await;
        tasks.close();
        tasks.wait().await;
        Ok(answer)
    })
}
