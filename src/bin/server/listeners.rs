//! The listeners of the server: bound as the flags say, or handed over by the
//! service manager.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::net::UnixListener as BlockingUnixListener,
    path::{Path, PathBuf},
};

use broadcast_chat::net::{BoundUnixSocket, Listener};
use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket, UnixListener};

/// The number of connections that may wait to be accepted; the kernel may allow
/// fewer.
const BACKLOG: u32 = 4096;

/// Where the server is to listen.
#[derive(Debug)]
pub(crate) enum Places {
    /// At an address, and at the path of a Unix socket if one is given.
    Own(SocketAddr, Option<PathBuf>),
    /// At the sockets that the service manager handed over.
    Handed(Vec<Handed>),
}

/// A socket that the service manager handed over.
#[derive(Debug)]
pub(crate) enum Handed {
    Tcp(std::net::TcpListener),
    Unix(BlockingUnixListener),
}

impl Places {
    /// The sockets that the service manager handed over; else an address and a
    /// path.
    ///
    /// # Errors
    ///
    /// Fails with a sentence if a socket was handed over that cannot be used.
    pub(crate) fn new(address: SocketAddr, unix: Option<PathBuf>) -> Result<Self, String> {
        let mut handed = ListenFd::from_env();
        if handed.len() == 0 {
            return Ok(Places::Own(address, unix));
        }
        if unix.is_some() {
            return Err(
                "--unix cannot be used with sockets of the service manager: add the path to its socket unit"
                    .into(),
            );
        }
        let sockets = (0..handed.len()).map(|index| {
            if let Ok(Some(listener)) = handed.take_tcp_listener(index) {
                return Ok(Handed::Tcp(listener));
            }
            if let Ok(Some(listener)) = handed.take_unix_listener(index) {
                return Ok(Handed::Unix(listener));
            }
            Err(format!(
                "the socket {index} of the service manager (LISTEN_FDS) listens neither on TCP nor at a path"
            ))
        });
        sockets.collect::<Result<_, _>>().map(Places::Handed)
    }

    /// Whether other machines can reach one of them.
    pub(crate) fn are_on_a_network(&self) -> bool {
        let is_local = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
        match self {
            Places::Own(address, _) => !is_local(address),
            Places::Handed(sockets) => sockets.iter().any(|socket| match socket {
                Handed::Tcp(listener) => !listener.local_addr().is_ok_and(|it| is_local(&it)),
                Handed::Unix(_) => false,
            }),
        }
    }

    /// Listens.
    ///
    /// # Errors
    ///
    /// Fails with a sentence that says what to do.
    pub(crate) fn listen(self) -> anyhow::Result<Vec<Listener>> {
        match self {
            Places::Own(address, path) => {
                let mut listeners = vec![Listener::Tcp(bind(address, "--port or --bind")?)];
                if let Some(path) = path {
                    listeners.push(Listener::Unix(bind_unix(&path)?));
                }
                Ok(listeners)
            }
            Places::Handed(sockets) => sockets.into_iter().map(|it| Ok(adopt(it)?)).collect(),
        }
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Places::Own(address, None) => write!(f, "{address}"),
            Places::Own(address, Some(path)) => write!(f, "{address} and {}", path.display()),
            Places::Handed(sockets) => {
                write!(f, "{} sockets of the service manager", sockets.len())
            }
        }
    }
}

/// The address by which this machine reaches the server.
pub(super) fn local(address: SocketAddr) -> SocketAddr {
    let local = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(local, address.port())
}

fn adopt(socket: Handed) -> io::Result<Listener> {
    Ok(match socket {
        Handed::Tcp(listener) => {
            listener.set_nonblocking(true)?;
            Listener::Tcp(TcpListener::from_std(listener)?)
        }
        Handed::Unix(listener) => {
            listener.set_nonblocking(true)?;
            Listener::Unix(BoundUnixSocket::handed_over(UnixListener::from_std(
                listener,
            )?))
        }
    })
}

/// Listens on an address, which these flags chose.
///
/// # Errors
///
/// Fails with a sentence that says what to do.
pub(super) fn bind(address: SocketAddr, flags: &str) -> anyhow::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Lets a restarted server take its port while old connections still close.
    socket.set_reuseaddr(true)?;
    let listener = socket.bind(address).and_then(|()| socket.listen(BACKLOG));
    listener.map_err(|error| {
        use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
        let advice = match error.kind() {
            AddrInUse => "another program listens there: stop it, or choose another port",
            AddrNotAvailable => "this machine does not have that address: choose one it has",
            PermissionDenied => "this user may not listen there: choose a port from 1024 on",
            _ => "choose another",
        };
        let kind = error.kind();
        anyhow::anyhow!("cannot listen on {address} ({kind}): {advice} with {flags}")
    })
}

fn bind_unix(path: &Path) -> anyhow::Result<BoundUnixSocket> {
    BoundUnixSocket::bind(path, BACKLOG).map_err(|error| {
        use io::ErrorKind::{AddrInUse, AlreadyExists, NotFound, PermissionDenied};
        let advice = match error.kind() {
            AddrInUse => {
                "another program listens there: stop it, or choose another path with --unix"
            }
            AlreadyExists => {
                "a file that is no socket is there: move it, or choose another path with --unix"
            }
            NotFound => "its folder does not exist: create it",
            PermissionDenied => "this user may not write to its folder: choose another with --unix",
            _ => "choose another path with --unix",
        };
        let (path, kind) = (path.display(), error.kind());
        anyhow::anyhow!("cannot listen on {path} ({kind}): {advice}")
    })
}
