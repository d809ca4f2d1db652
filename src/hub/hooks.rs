//! Hooks: URLs by which programs publish in a room.

use tracing::error;

use super::{
    Hub,
    admission::{refusal, unreadable},
    claims::{self, check_free, owned_by_another},
    registry::Grounds,
};
use crate::{
    log::{Action, HookDraft},
    net::Peer,
    protocol::{
        Author, ConnectionId, HookInfo, OwnerNumber, Refusal, RefusalCode,
        name::{Name, RoomName},
        token::Token,
    },
    store::{Hook, Outcome},
};

impl Hub {
    /// Makes a hook, or gives one another token, and returns the token.
    ///
    /// # Errors
    ///
    /// Refuses if the author may not make hooks for the room, if another person
    /// owns or uses the name, and if the hook cannot be stored.
    pub fn add_hook(
        &self,
        origin: ConnectionId,
        room: RoomName,
        name: Name,
        by: Author,
        operator: bool,
    ) -> impl Future<Output = Result<Token, Refusal>> + use<> {
        let hub = self.clone();
        async move {
            check_free(&name)?;
            let claims = &hub.shared.claims;
            // Nobody else takes the name while it becomes the hook's.
            let _taken = claims.take(&name, Grounds::NewOwner(0), None)?;
            let random = claims::random().map_err(|_| unreadable())?;
            let token = Token::from_random(random);
            let action = Action::AddHook(HookDraft {
                token: token.digest(),
                room,
                key: name.key(),
                name: name.clone(),
                by: by.owner.unwrap_or(OwnerNumber::NONE),
                author: by.to_string(),
                operator,
            });
            match hub.actions().act(origin, action).await?.outcome {
                Outcome::Done => Ok(token),
                Outcome::Denied(denial) => Err(refusal(denial)),
                Outcome::NameTaken => Err(owned_by_another(&name)),
                _ => Err(unreadable()),
            }
        }
    }

    /// Ends a hook.
    ///
    /// # Errors
    ///
    /// Refuses if the author may not end hooks of the room, if the room has no
    /// such hook, and if the change cannot be stored.
    pub fn remove_hook(
        &self,
        origin: ConnectionId,
        room: RoomName,
        name: Name,
        by: Option<OwnerNumber>,
        operator: bool,
    ) -> impl Future<Output = Result<(), Refusal>> + use<> {
        let actions = self.actions();
        async move {
            let action = Action::RemoveHook {
                room,
                key: name.key(),
                by: by.unwrap_or(OwnerNumber::NONE),
                operator,
            };
            match actions.act(origin, action).await?.outcome {
                Outcome::Denied(denial) => Err(refusal(denial)),
                Outcome::NotHere => {
                    let text = format!("This room has no hook {name}: /hooks lists them.");
                    Err(Refusal::new(RefusalCode::NotHere, text))
                }
                _ => Ok(()),
            }
        }
    }

    /// The hooks of a room.
    ///
    /// # Errors
    ///
    /// Refuses if the store cannot be read.
    pub fn hooks(
        &self,
        room: RoomName,
    ) -> impl Future<Output = Result<Vec<HookInfo>, Refusal>> + use<> {
        let hub = self.clone();
        async move {
            let found = hub.history().store().hooks(room).await;
            let found = found.map_err(|why| {
                error!("the message store cannot be read: {why}");
                unreadable()
            })?;
            let info = |hook: Hook| HookInfo {
                name: hook.name,
                room: hook.room,
                by: hook.author,
                url: None,
            };
            Ok(found.into_iter().map(info).collect())
        }
    }

    /// The hook of a token.
    ///
    /// # Errors
    ///
    /// Refuses a wrong token, and any token after too many wrong ones. Also
    /// refuses if the store cannot be read.
    pub async fn find_hook(&self, token: &Token, peer: Peer) -> Result<Hook, Refusal> {
        let claims = &self.shared.claims;
        claims.check_token(peer)?;
        let found = self.history().store().hook(token.digest()).await;
        let found = found.map_err(|why| {
            error!("the message store cannot be read: {why}");
            unreadable()
        })?;
        found.ok_or_else(|| {
            claims.count_wrong_token(peer, "a hook");
            let text = "There is no such hook: it was ended, or has another URL now.";
            Refusal::new(RefusalCode::NotHere, text)
        })
    }
}
