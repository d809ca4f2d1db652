//! The server program: flags, listeners, log output, signals, exit code.

mod server {
    pub(super) mod backups;
    pub(super) mod console;
    pub(super) mod entrances;
    pub(super) mod exit;
    pub(super) mod files;
    pub(super) mod flags;
    pub(super) mod listeners;
    pub(super) mod maintenance;
}

use std::{io, path::Path, process::ExitCode, sync::Arc, thread};

use anyhow::Context;
use broadcast_chat::{
    admin::AdminSocket,
    hub::{self, AccessMode},
    net::Listener,
    server::{self as chat, Administration},
    store::{self, Storage},
};
use rustix::process::Signal;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::server::{
    backups, console,
    entrances::{self, Entrances},
    exit::fail,
    flags::task::{self, CheckedFlags, Task},
    maintenance,
};

fn main() -> ExitCode {
    let checked = match task::read() {
        Ok(Task::Serve(checked)) => checked,
        Ok(Task::Backup {
            data,
            file,
            compress,
            keep_last,
        }) => return backups::backup(&data, &file, compress, keep_last),
        Ok(Task::Restore { data, file }) => return backups::restore(&data, &file),
        Ok(Task::Check { data }) => return maintenance::check(&data),
        Ok(Task::Admin {
            data,
            request,
            json,
        }) => return maintenance::administer(&data, &request, json),
        Err(code) => return code,
    };
    // Dropped at the end, so that waiting lines are still printed.
    let _printing = console::start(&checked);
    let runtime = match runtime(checked.options.hub.shards) {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format_args!("no threads can be started: {error}")),
    };
    match runtime.block_on(run(*checked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// A runtime with this many workers.
///
/// A single worker runs on the main thread, which also accepts connections. The
/// memory of that thread is the C library's first arena, which grows by more
/// than a page at a time.
fn runtime(workers: usize) -> io::Result<Runtime> {
    let mut builder = if workers > 1 {
        Builder::new_multi_thread()
    } else {
        Builder::new_current_thread()
    };
    if thread::available_parallelism().is_ok_and(|cores| cores.get() == 1) {
        // The shards share this core. Yielding lets them write first, so the
        // worker reads new messages together instead of interrupting a shard
        // for each.
        builder.on_thread_park(thread::yield_now);
    }
    builder.worker_threads(workers).enable_all().build()
}

async fn run(checked: CheckedFlags) -> anyhow::Result<()> {
    let listeners = checked.places.listen()?;
    let places: Vec<_> = listeners.iter().map(Listener::to_string).collect();
    let holder = format!("process {}, {}", std::process::id(), places.join(", "));
    // With SIGXFSZ handled, a write beyond the largest file size (`ulimit -f`)
    // fails instead of ending the server.
    let _told = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
    let (replica, _store) = store::open(&checked.storage, &holder)?;
    let folder = match &checked.storage {
        Storage::Folder(folder) => Some(&**folder),
        Storage::Memory => None,
    };
    let socket = folder.and_then(admin_socket);
    let hostname = &checked.options.trust.hostname;
    let Entrances { all, pin, reload } = entrances::open(listeners, checked.tls, folder, hostname)?;
    let shutdown = stop_on_signals(reload)?;
    console::listening(&all, &checked.options.base_path, pin);
    let site = console::site(&all, &checked.options.base_path);
    let mut replica = replica;
    if checked.options.hub.access == AccessMode::Invite {
        let token;
        (replica, token) = hub::invite_first_operator(replica)?;
        if let Some(token) = token {
            console::first_invitation(&site, &token);
        }
    }
    let mut options = checked.options;
    options.administration = socket.map(|socket| Administration { socket, site });
    chat::run(all, replica, options, shutdown)
        .await
        .context("the server failed")
}

/// The socket for operators' requests. A chat without it is better than none.
fn admin_socket(folder: &Path) -> Option<Arc<AdminSocket>> {
    let made = AdminSocket::bind(folder).inspect_err(|error| {
        warn!(
            "subcommands like `server bans` cannot reach this server: no socket can be made in {} ({error})",
            folder.display()
        );
    });
    made.ok().map(Arc::new)
}

/// Stops the server on SIGTERM, SIGINT or SIGHUP (its terminal was closed). The
/// first signal cancels the token, the second ends the process at once. With
/// `reload`, SIGHUP notifies it instead.
fn stop_on_signals(reload: Option<Arc<Notify>>) -> anyhow::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let asked = shutdown.clone();
    // This task may outlive the server; it ends with the process.
    #[allow(clippy::disallowed_methods)]
    tokio::spawn(async move {
        while !asked.is_cancelled() {
            tokio::select! {
                _ = terminate.recv() => asked.cancel(),
                _ = interrupt.recv() => asked.cancel(),
                _ = hangup.recv() => match &reload {
                    Some(reload) => reload.notify_one(),
                    None => asked.cancel(),
                },
            }
        }
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
        std::process::exit(1);
    });
    Ok(shutdown)
}
