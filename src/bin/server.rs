//! The server program: flags, listeners, log output, signals, exit code.

mod server {
    pub(super) mod console;
    pub(super) mod entrances;
    pub(super) mod exit;
    pub(super) mod files;
    pub(super) mod flags;
    pub(super) mod listeners;
    pub(super) mod maintenance;
}

use std::{io, process::ExitCode, sync::Arc, thread};

use anyhow::Context;
use broadcast_chat::{
    hub::{self, AccessMode},
    net::Listener,
    server as chat,
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
    console,
    entrances::{self, Entrances},
    exit::fail,
    flags::task::{self, CheckedFlags, Task},
    listeners::Places,
    maintenance,
};

fn main() -> ExitCode {
    let (places, checked) = match task::read() {
        Ok(Task::Serve(places, checked)) => (places, checked),
        Ok(Task::CheckConfig(places, checked)) => {
            return maintenance::check_config(&places, &checked);
        }
        Ok(Task::Backup { data, file }) => return maintenance::backup(&data, &file),
        Ok(Task::Check { data }) => return maintenance::check(&data),
        Ok(Task::Operator {
            data,
            name,
            operator,
        }) => return maintenance::operator(&data, &name, operator),
        Err(code) => return code,
    };
    // Dropped at the end, so that waiting lines are still printed.
    let _printing = console::start(&checked);
    for variable in task::unknown_variables() {
        warn!("there is no flag for the environment variable {variable}; server --help lists them");
    }
    let runtime = match runtime(checked.options.hub.shards) {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format_args!("no threads can be started: {error}")),
    };
    match runtime.block_on(run(places, *checked)) {
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

async fn run(places: Places, checked: CheckedFlags) -> anyhow::Result<()> {
    let listeners = places.listen()?;
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
    let hostname = &checked.options.trust.hostname;
    let Entrances { all, pin, reload } = entrances::open(listeners, checked.tls, folder, hostname)?;
    let shutdown = stop_on_signals(reload)?;
    console::listening(&all, &checked.options.base_path, pin);
    let mut replica = replica;
    if checked.options.hub.access == AccessMode::Invite {
        let token;
        (replica, token) = hub::invite_first_operator(replica)?;
        if let Some(token) = token {
            console::first_invitation(&all, &checked.options.base_path, &token);
        }
    }
    chat::run(all, replica, checked.options, shutdown)
        .await
        .context("the server failed")
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
