//! The server of a world: it is started, stopped and killed on one folder.

use std::{
    collections::BTreeSet,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use broadcast_chat::{
    fanout::PageQuery,
    hub::{Hub, Submitter},
    net::Peer,
    protocol::{Author, ConnectionId, Seq},
    store::{Storage, Words},
};
use fastrand::Rng;
use rusqlite::Connection;
use tokio::{
    io::DuplexStream,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{network::Network, world::check_erased};
use crate::support::{HUB, in_place, options, serve, site};

/// How long a server may take to stop in order.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct ServerHost {
    pub(super) network: Network,
    pub(super) folder: PathBuf,
    state: Arc<Mutex<State>>,
}

struct State {
    rng: Rng,
    server: Option<Server>,
    /// The client port of the last connection.
    port: u16,
}

/// The parts of a server, wired as `server::run` does it.
struct Server {
    hub: Hub,
    publisher: Submitter,
    writer: JoinHandle<()>,
    tasks: TaskTracker,
    sessions: Vec<JoinHandle<()>>,
    drain: CancellationToken,
}

impl ServerHost {
    pub(super) fn new(network: Network, folder: PathBuf, rng: Rng) -> Self {
        let state = State {
            rng,
            server: None,
            port: 10_000,
        };
        ServerHost {
            network,
            folder,
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    /// Takes the server out, to end it.
    fn take(&self) -> Option<Server> {
        self.state().server.take()
    }

    /// Starts a server on the folder as the last server left it.
    pub(super) fn start(&self) {
        let storage = Storage::Folder(self.folder.clone());
        let tasks = TaskTracker::new();
        let (hub, publisher, work) =
            Hub::start_in_tasks(in_place(&storage), &HUB, &tasks).expect("a hub");
        let mut rng = self.state().rng.fork();
        // The pause lets batches gather, and leaves time for a kill in between.
        let writer = tokio::spawn(work.run_with(move || {
            let pause = rng.u64(..8).saturating_sub(4);
            async move {
                if pause > 0 {
                    sleep(Duration::from_millis(pause)).await;
                }
            }
        }));
        self.state().server = Some(Server {
            hub,
            publisher,
            writer,
            tasks,
            sessions: Vec::new(),
            drain: CancellationToken::new(),
        });
    }

    /// Stops the server as a signal does: accepted messages are stored and
    /// delivered.
    pub(super) async fn stop(&self) {
        let Some(server) = self.take() else {
            return;
        };
        drop(server.publisher);
        server.drain.cancel();
        server.tasks.close();
        let _ = timeout(GRACE, server.tasks.wait()).await;
        self.network.cut();
        server.writer.await.expect("the writer does not panic");
        see_no_panic(server.sessions).await;
        let closed = server.hub.history().store().close().await;
        closed.expect("the files can be written");
    }

    /// Has an operator erase a message; false if the server refuses.
    pub(super) async fn erase(&self, room: &str, seq: u64) -> bool {
        let Some(hub) = self.hub() else { return false };
        let by = Author {
            name: "op".parse().ok(),
            addr: ([127, 0, 0, 1], 9).into(),
            owner: None,
        };
        let room = room.parse().expect("a room");
        let erased = hub.redact(&by, ConnectionId::SERVER, room, Seq(seq));
        erased.await.is_ok()
    }

    fn hub(&self) -> Option<Hub> {
        let state = self.state();
        state.server.as_ref().map(|server| server.hub.clone())
    }

    /// Checks that no reader is shown an erased word from here on: from the tail, from
    /// the store or on a page.
    ///
    /// # Errors
    /// Fails with a sentence if somebody would.
    pub(super) async fn check_erased(
        &self,
        rooms: &[&str],
        erased: &BTreeSet<String>,
    ) -> Result<(), String> {
        let Some(hub) = self.hub() else { return Ok(()) };
        let history = hub.history();
        for room in rooms {
            let room = room.parse().expect("a room");
            let (mut of_store, mut of_tail) = (Seq(0), Seq(0));
            while of_store < history.head() {
                let stored = history.stored(&room, of_store).await.expect("readable");
                check_erased(erased, "a reader of the store", &format!("{stored:?}"))?;
                of_store = stored.upto;
            }
            while of_tail < history.head() {
                let recent = history.recent(&room, of_tail);
                check_erased(erased, "a reader of the tail", &format!("{recent:?}"))?;
                of_tail = recent.map_or(of_tail.next(), |page| page.upto);
            }
            let query = PageQuery {
                after: Some(Seq(0)),
                before: None,
                limit: 1000,
            };
            let page = history.page(&room, query).await.expect("readable");
            check_erased(erased, "a reader of pages", &format!("{page:?}"))?;
        }
        Ok(())
    }

    /// The numbers of the messages of a room that a search for a word finds.
    pub(super) async fn find(&self, room: &str, word: &str) -> Vec<u64> {
        let Some(hub) = self.hub() else {
            return Vec::new();
        };
        let room = room.parse().expect("a room");
        let words = Words::parse(word).expect("a word");
        let store = hub.history().store();
        let found = store.search(&room, &words, None, 10, || false).await;
        let found = found.expect("searchable").expect("in time");
        found.messages.iter().map(|m| m.seq.0).collect()
    }

    /// Kills the server: nothing that it holds is stored or sent any more.
    pub(super) async fn kill(&self) {
        let Some(server) = self.take() else {
            return;
        };
        self.network.cut();
        server.writer.abort();
        let ended = server.writer.await;
        assert!(
            ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()),
            "the writer does not panic"
        );
        server.drain.cancel();
        see_no_panic(server.sessions).await;
    }

    /// Makes inserts of messages fail from here on: all of them, or with
    /// `partly` every third number. A batch then fails after some of its rows
    /// were written, and these must be rolled back.
    pub(super) fn fill_disk(&self, partly: bool) {
        let when = if partly { "WHEN new.seq % 3 = 0" } else { "" };
        self.alter(&format!(
            "CREATE TRIGGER full BEFORE INSERT ON messages {when}
             BEGIN SELECT raise(ABORT, 'the disk is full'); END"
        ));
    }

    /// Lets inserts of messages succeed again.
    pub(super) fn free_disk(&self) {
        self.alter("DROP TRIGGER IF EXISTS full");
    }

    /// Changes the database without the server.
    fn alter(&self, how: &str) {
        let log = Connection::open(self.folder.join("chat.sqlite")).expect("the log");
        log.execute_batch(how).expect("altered");
    }

    /// Connects to the server. With `again`, the messages begin before the
    /// number that was asked for, as if the server repeated itself.
    ///
    /// # Errors
    /// Fails if no server runs.
    pub(super) async fn connect(&self, again: bool) -> io::Result<DuplexStream> {
        self.network.wait_open().await;
        sleep(Duration::from_millis(1)).await;
        let State { rng, server, port } = &mut *self.state();
        let server = server.as_mut().ok_or(io::ErrorKind::ConnectionRefused)?;
        let (near, far) = self.network.wire(rng, again);
        *port += 1;
        let peer = Peer {
            id: ConnectionId(rng.u64(1..)),
            addr: Some(([127, 0, 0, 1], *port).into()),
            guest: None,
        };
        let session = serve(
            far,
            server.hub.register(peer).expect("a place"),
            site(&server.hub, options().session),
            server.drain.clone(),
        );
        server.sessions.push(server.tasks.spawn(session));
        Ok(near)
    }
}

/// Waits for the sessions to end; none may have panicked.
async fn see_no_panic(sessions: Vec<JoinHandle<()>>) {
    for session in sessions {
        session.await.expect("a session does not panic");
    }
}
