//! The places of names: follows, read positions and activity.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::error;

use super::{
    Hub,
    actions::{ActionSubmitter, BUSY_RETRY_MS},
    registry::{PlaceNews, Registry},
};
use crate::{
    log::Action,
    protocol::{
        ConnectionId, Event, FollowLevel, Followed, Message, OwnerNumber, PrivateMessage, Refusal,
        RefusalCode, Seq,
        name::{Name, RoomName},
        place,
    },
    store::{Outcome, Store, StoreError},
};

/// How long news is gathered. A private message itself comes before its
/// activity.
const GATHERED: Duration = Duration::from_millis(200);

/// The shortest time between two events of the same place.
const TOLD_EVERY: Duration = Duration::from_secs(1);

impl Hub {
    /// The places of an owner, with all that it has read so far.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub async fn places(&self, owner: OwnerNumber) -> Result<Vec<Followed>, StoreError> {
        let unstored = self.shared.registry.unstored_reads(owner);
        self.history().store().places(owner, unstored).await
    }

    /// A place of an owner, with all that it has read so far; `None` if it has
    /// none in this room.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub async fn place(
        &self,
        owner: OwnerNumber,
        room: &RoomName,
    ) -> Result<Option<Followed>, StoreError> {
        let unstored = self.shared.registry.unstored_read(owner, room);
        let store = self.history().store();
        store.place(owner, room.clone(), unstored).await
    }

    /// Has an owner follow a room. Without a level, a level set before stays.
    ///
    /// # Errors
    ///
    /// Refuses a private room of others and one room too many. Also refuses if
    /// the change cannot be stored.
    pub fn follow(
        &self,
        owner: OwnerNumber,
        origin: ConnectionId,
        room: RoomName,
        level: Option<FollowLevel>,
    ) -> impl Future<Output = Result<FollowLevel, Refusal>> + use<> {
        let actions = self.actions();
        async move {
            let action = Action::Follow { owner, room, level };
            match actions.act(origin, action).await?.outcome {
                Outcome::Follows(level) => Ok(level),
                Outcome::FollowsTooMany => Err(place::too_many()),
                _ => {
                    let text = "Only its members may follow this private room.";
                    Err(Refusal::new(RefusalCode::NotAllowed, text))
                }
            }
        }
    }

    /// Has an owner follow a room no more.
    ///
    /// # Errors
    ///
    /// Refuses if the change cannot be stored.
    pub fn unfollow(
        &self,
        owner: OwnerNumber,
        origin: ConnectionId,
        room: RoomName,
    ) -> impl Future<Output = Result<(), Refusal>> + use<> {
        let actions = self.actions();
        async move {
            let action = Action::Unfollow { owner, room };
            actions.act(origin, action).await.map(drop)
        }
    }

    /// Notes how far an owner has read a room, or the conversation with the
    /// owner of an inbox. It is stored soon.
    pub fn note_read(&self, owner: OwnerNumber, room: RoomName, upto: Seq) {
        let upto = upto.min(self.history().head());
        self.shared.registry.note_read(owner, room, upto);
    }

    /// Submits what an owner has read: the server is about to stop.
    pub fn store_reads(&self, owner: OwnerNumber) {
        for action in self.shared.registry.take_reads(Some(owner)) {
            self.shared.actions.note(action);
        }
    }

    /// The owners that a text mentions.
    pub fn mentioned(&self, text: &str) -> Vec<OwnerNumber> {
        self.shared.registry.mentioned(text)
    }

    /// The owner of a name, for a private conversation with it.
    ///
    /// # Errors
    ///
    /// Refuses a name without an owner, and if the store cannot be read.
    pub fn find_partner(
        &self,
        name: Name,
    ) -> impl Future<Output = Result<OwnerNumber, Refusal>> + use<> {
        let claims = self.shared.claims.clone();
        async move { claims.find_partner(name).await }
    }

    /// A page of the private conversation of an owner with another one.
    ///
    /// # Errors
    ///
    /// Refuses if the store cannot be read.
    pub fn conversation(
        &self,
        owner: OwnerNumber,
        partner: OwnerNumber,
        before: Option<Seq>,
        limit: u32,
    ) -> impl Future<Output = Result<(Vec<PrivateMessage>, bool), Refusal>> + use<> {
        let store = self.history().store().clone();
        async move {
            let page = store.conversation(owner, partner, before, limit).await;
            let (messages, more) = page.map_err(|why| {
                error!("the message store cannot be read: {why}");
                let text = "The conversation cannot be read just now; ask again in a while.";
                Refusal {
                    retry_ms: Some(BUSY_RETRY_MS),
                    ..Refusal::new(RefusalCode::Busy, text)
                }
            })?;
            let messages = messages.iter().filter_map(Message::private);
            Ok((messages.collect(), more))
        }
    }
}

/// Tells connections of the activity in their places, and stores what was read.
/// Never returns.
pub(super) async fn run(registry: &Registry, store: &Store, actions: &ActionSubmitter) {
    loop {
        let due = registry.reads_due();
        tokio::select! {
            () = registry.place_news() => {}
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
        store_reads(registry, actions).await;
        sleep(GATHERED).await;
        for news in registry.take_place_news() {
            tell(registry, store, news).await;
        }
        sleep(TOLD_EVERY.saturating_sub(GATHERED)).await;
    }
}

/// Stores the read positions that are due. Those that cannot be stored wait.
async fn store_reads(registry: &Registry, actions: &ActionSubmitter) {
    let reads = registry.take_reads(None).into_iter().map(|action| async {
        let done = actions.act(ConnectionId::SERVER, action.clone()).await;
        if let (Err(_), Action::Read { owner, room, upto }) = (done, action) {
            registry.note_read(owner, room, upto);
        }
    });
    join_all(reads).await;
}

/// Tells connections of the activity in one place.
async fn tell(registry: &Registry, store: &Store, PlaceNews { room, readers }: PlaceNews) {
    let counted = readers.iter().map(|(_, _, reader)| *reader).collect();
    let found = match store.activity(room.clone(), counted).await {
        Ok(found) => found,
        Err(why) => {
            error!("the activity in a room cannot be read: {why}");
            return;
        }
    };
    for ((id, subscriber, _), found) in readers.into_iter().zip(found) {
        let Some((activity, level)) = found else {
            continue;
        };
        if level != FollowLevel::None && !subscriber.tell(&Event::Activity(activity)) {
            registry.tell_later(id, &room);
        }
    }
}
