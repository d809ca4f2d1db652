//! A chat without a server, on one thread and a paused clock.

use std::{sync::Arc, time::Duration};

use broadcast_chat::{
    fanout::{Applier, History},
    http::{BasePath, HttpState, Trust},
    hub::{self, Hub, Registration},
    log::LocalLog,
    net::{AddressSet, Peer},
    protocol::Limits,
    session::{self, Transport},
    store::{self, Storage},
};
use tokio::{io::AsyncRead, runtime};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

fn options() -> session::CurrentOptions {
    session::CurrentOptions::new(session::SessionOptions {
        limits: Limits { text_bytes: 200 },
        unfinished: session::UnfinishedMessages::new(Limits { text_bytes: 200 }),
        ping: Duration::from_secs(25),
        motd: None,
        operator: None,
    })
}

const HUB: hub::HubOptions = hub::HubOptions {
    shards: 1,
    name_expiry: Duration::from_secs(24 * 60 * 60),
    edit_window: Duration::from_secs(24 * 60 * 60),
    access: hub::AccessMode::Open,
    capacity: hub::Capacity::UNLIMITED,
    proxies: AddressSet::NONE,
    hides_addresses: false,
};

/// A hub, and what a connection to it needs.
pub(super) struct Chat {
    pub(super) site: HttpState,
    pub(super) drain: CancellationToken,
}

impl Chat {
    /// Registers a connection from 127.0.0.1:5000.
    pub(super) fn register(&self) -> Registration {
        let peer = Peer::accepted(Some(([127, 0, 0, 1], 5000).into()));
        let place = self.site.hub.register(peer.expect("an id"));
        place.expect("a place")
    }

    /// Runs a session to its end.
    pub(super) async fn run(
        &self,
        connection: Transport<impl AsyncRead + Unpin>,
        visit: session::SessionRequest,
        registration: &Registration,
    ) {
        let Chat { site, drain } = self;
        session::run(
            connection,
            visit,
            registration,
            &site.hub,
            &site.session,
            drain,
        )
        .await;
    }
}

/// Runs an action in a chat of its own, on one thread and a paused clock.
pub(super) fn in_a_chat<T>(act: impl AsyncFnOnce(&Chat) -> T) -> T {
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let tasks = TaskTracker::new();
        let (replica, store) = store::open(&Storage::Memory, "a test").expect("a store");
        let history = History::new(store.on_caller_thread());
        let applier = Applier::new(LocalLog::default(), replica, history).expect("in step");
        let (hub, publisher, work) = Hub::start_in_tasks(applier, &HUB, &tasks).expect("a hub");
        tasks.spawn(work.run_with(async || {}));
        let trust = Trust::default();
        let options = Arc::new(options());
        let chat = Chat {
            site: HttpState::new(hub, trust, options, BasePath::default()),
            drain: CancellationToken::new(),
        };
        let done = act(&chat).await;
        drop(publisher);
        done
    })
}
