//! The server program: flags, listeners, log output, signals, exit code.

mod server {
    pub(super) mod backups;
    pub(super) mod console;
    pub(super) mod entrances;
    pub(super) mod exit;
    pub(super) mod files;
    pub(super) mod flags;
    pub(super) mod healthcheck;
    pub(super) mod listeners;
    pub(super) mod maintenance;
    pub(super) mod reload;
    pub(super) mod service;
    pub(super) mod signals;
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
    runtime::{Builder, Handle, Runtime},
    signal::unix::{SignalKind, signal},
};
use tracing::warn;

use self::server::{
    backups,
    console::{self, Levels},
    entrances::{self, Entrances},
    exit::fail,
    flags::task::{self, CheckedFlags, Task},
    healthcheck,
    listeners::Places,
    maintenance,
    reload::Reload,
    service, signals,
};

fn main() -> ExitCode {
    let (places, checked) = match task::read() {
        Ok(Task::Serve(places, checked)) => (places, checked),
        Ok(Task::CheckConfig(places, checked)) => {
            return maintenance::check_config(&places, &checked);
        }
        Ok(Task::HealthCheck { url }) => return healthcheck::run(&url),
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
    let (_printing, levels) = console::start(&checked);
    for variable in task::unknown_variables() {
        warn!("there is no flag for the environment variable {variable}; server --help lists them");
    }
    let runtime = match runtime(checked.options.hub.shards) {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format_args!("no threads can be started: {error}")),
    };
    match runtime.block_on(run(places, *checked, levels)) {
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

async fn run(places: Places, checked: CheckedFlags, levels: Levels) -> anyhow::Result<()> {
    let on_a_network = places.are_on_a_network();
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
    let socket = folder.and_then(admin_socket);
    let hostname = &checked.options.trust.hostname;
    let Entrances {
        all,
        pin,
        certificate,
    } = entrances::open(listeners, checked.tls, folder, hostname)?;
    let site = console::site(&all, &checked.options.base_path);
    let mut replica = replica;
    let mut first_invitation = None;
    if checked.options.hub.access == AccessMode::Invite {
        (replica, first_invitation) = hub::invite_first_operator(replica)?;
    }
    let base = checked.options.base_path.clone();
    let mut options = checked.options;
    options.administration = socket.map(|socket| Administration {
        socket,
        site: site.clone(),
    });
    let server = chat::Server::start(replica, options)?;
    let control = server.control();
    let shutdown = signals::handle(Reload {
        on_a_network,
        started_with: checked.raw,
        control: control.clone(),
        runtime: Handle::current(),
        levels,
        certificate,
    })?;
    console::listening(&all, &base, pin);
    if let Some(token) = first_invitation {
        console::first_invitation(&site, &token);
    }
    service::ready();
    entrances::keep(service::feed_watchdog(control));
    server.run(all, shutdown).await.context("the server failed")
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
