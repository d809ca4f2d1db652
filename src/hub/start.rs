//! Starts a hub: builds its parts, and runs the writer and the shards.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64},
    },
    time::Duration,
};

use tokio::{runtime::Handle, sync::broadcast};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Hub, HubOptions, HubState, Submitter, Writer, actions::ActionSubmitter, announcer,
    claims::Claims, effects::Effects, links::Links, places, pulse::Pulse, registry::Registry,
    submissions, wrong_secrets::WrongSecrets,
};
use crate::{
    fanout::{Applier, Fanout},
    log::Action,
    metrics::Metrics,
    protocol::{RefusalCode, close::CloseReason},
};

/// The statuses of HTTP answers.
const STATUSES: [u16; 21] = [
    101, 200, 204, 304, 308, 400, 401, 403, 404, 405, 406, 408, 413, 415, 417, 421, 422, 426, 429,
    431, 503,
];

/// How many batches a shard may be behind. A shard that falls further behind
/// has its subscribers catch up from the history.
const MAX_BATCHES_BEHIND: usize = 64;

impl Hub {
    /// Starts the writer and the shards, each on a thread of its own. The
    /// writer ends once the returned publisher and all publishers made from it
    /// are dropped.
    ///
    /// # Errors
    ///
    /// Fails if the settings cannot be stored or a thread cannot be started.
    pub fn start(
        applier: Applier<'static>,
        options: &HubOptions,
        tasks: &TaskTracker,
    ) -> io::Result<(Hub, Submitter)> {
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        let (hub, submitter, work, shards) = Self::assemble(applier, options, tasks)?;
        thread("writer").spawn(|| work.run())?;
        for shard in shards {
            let (runtime, shard) = (Handle::current(), tasks.track_future(shard));
            thread("shard").spawn(move || runtime.block_on(shard))?;
        }
        Ok((hub, submitter))
    }

    /// Starts a hub without threads: the shards run as tasks, and the caller
    /// runs the returned writer's work.
    ///
    /// # Errors
    ///
    /// Fails if the settings cannot be stored.
    pub fn start_in_tasks(
        applier: Applier<'static>,
        options: &HubOptions,
        tasks: &TaskTracker,
    ) -> io::Result<(Hub, Submitter, Writer<'static>)> {
        let (hub, submitter, work, shards) = Self::assemble(applier, options, tasks)?;
        for shard in shards {
            tasks.spawn(shard);
        }
        Ok((hub, submitter, work))
    }

    /// Builds all parts, and returns the work of the writer and of each shard
    /// without starting it.
    fn assemble(
        mut applier: Applier<'static>,
        options: &HubOptions,
        tasks: &TaskTracker,
    ) -> io::Result<(
        Hub,
        Submitter,
        Writer<'static>,
        Vec<impl Future<Output = ()> + Send + use<>>,
    )> {
        share_settings(&mut applier, options)?;
        let sanctions = applier.replica().sanctions().map_err(io::Error::other)?;
        let access = applier.replica().access().map_err(io::Error::other)?;
        let names = applier.replica().owned_names().map_err(io::Error::other)?;
        let (history, clock) = (applier.history().clone(), Arc::clone(applier.clock()));
        let (submitter, submissions) = submissions::queue();
        let (batches, _) = broadcast::channel(MAX_BATCHES_BEHIND);
        let metrics = Arc::<Metrics>::default();
        metrics.expect(
            env!("CARGO_PKG_VERSION"),
            RefusalCode::ALL,
            CloseReason::CODES,
            STATUSES,
        );
        let (fanout, shards) = Fanout::prepare(&history, &batches, options.shards, &metrics);
        let finished = CancellationToken::new();
        let pulse = Arc::<Pulse>::default();
        if options.hides_addresses {
            history.store().hide_addresses();
        }
        let registry = Registry::new(
            options.capacity,
            options.proxies.clone(),
            options.hides_addresses,
            sanctions,
            access,
            names,
            Arc::clone(&clock),
        );
        let watching = registry.clone();
        applier.watch_access(move |changes| watching.change_access(changes));
        let work = Writer::new(
            applier,
            Effects::new(registry.clone()),
            submissions,
            batches,
            Arc::clone(&metrics),
            Arc::clone(&pulse),
            finished.clone().drop_guard(),
        );
        let actions = ActionSubmitter::new(submitter.downgrade());
        let wrong_secrets = WrongSecrets::default();
        let claims = Claims::new(
            registry.clone(),
            history.clone(),
            Arc::clone(&clock),
            actions.clone(),
            wrong_secrets.clone(),
            options.name_expiry,
        )?;
        let (announced, over) = (registry.clone(), finished.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = announcer::announce(&announced) => {}
                () = over.cancelled() => {}
            }
        });
        let (told, over) = (registry.clone(), finished.clone());
        let (store, reads) = (history.store().clone(), actions.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = places::run(&told, &store, &reads) => {}
                () = over.cancelled() => {}
            }
        });
        let shared = Arc::new(HubState {
            actions,
            history,
            clock,
            fanout,
            registry,
            claims,
            access: options.access,
            links: Links::default(),
            wrong_secrets,
            metrics,
            pulse,
            edit_window_ms: AtomicU64::new(millis(options.edit_window)),
            told_to_reconnect: AtomicU32::new(0),
            finished,
        });
        Ok((Hub { shared }, submitter, work, shards))
    }
}

/// A duration in milliseconds, as an entry has it.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Stores the settings that replicas share as an entry, unless they are the
/// same.
fn share_settings(applier: &mut Applier<'_>, options: &HubOptions) -> io::Result<()> {
    let name_expiry_ms = millis(options.name_expiry);
    let edit_window_ms = millis(options.edit_window);
    let standing = applier
        .replica()
        .starting_state()
        .map_err(io::Error::other)?;
    if (standing.name_expiry_ms, standing.edit_window_ms) != (name_expiry_ms, edit_window_ms) {
        let settings = applier.apply_action(Action::Settings {
            name_expiry_ms,
            edit_window_ms,
        });
        settings.map_err(io::Error::other)?;
    }
    Ok(())
}
