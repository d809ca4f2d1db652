//! The access to rooms: who may enter one, and how that is changed.

use std::time::Duration;

use tracing::error;

use super::{
    Hub, HubState,
    access_mode::AccessMode,
    admission::{NewInvitation, refusal, unreadable},
    claims::{self, Claim},
    links,
    registry::{NameUse, Registration},
};
use crate::{
    log::{Action, AuditRecord, InvitationDraft, Standing},
    net::Peer,
    protocol::{
        Author, ConnectionId, Invite, OwnerNumber, Refusal, RefusalCode,
        name::{Name, RoomName},
        secret::Secret,
        token::Token,
        typed_duration::TypedDuration,
    },
    store::{Invitation, Outcome},
};

/// The answer to a person without an admitted name.
const BY_INVITATION: &str =
    "This chat is by invitation: open the URL of an invitation, or give your name and its secret.";

impl Hub {
    /// Whether only admitted names take part.
    pub fn is_by_invitation(&self) -> bool {
        self.shared.access == AccessMode::Invite
    }

    /// Whether only members may enter a room.
    pub fn is_private(&self, room: &RoomName) -> bool {
        self.shared.registry.is_private(room)
    }

    /// Whether the owner of a name owns a private room.
    pub fn owns_room(&self, room: &RoomName, owner: Option<OwnerNumber>) -> bool {
        self.shared.registry.owns_room(room, owner)
    }

    /// Checks that a name of this standing may take part.
    ///
    /// # Errors
    ///
    /// Refuses a name that is not admitted where only admitted names take part.
    pub fn check_standing(&self, standing: Option<Standing>) -> Result<(), Refusal> {
        if !self.is_by_invitation() || standing.is_some_and(Standing::is_admitted) {
            return Ok(());
        }
        Err(Refusal::new(RefusalCode::NotAllowed, BY_INVITATION))
    }

    /// Checks that the owner of a name may read, publish in and see a room.
    ///
    /// # Errors
    ///
    /// Refuses everybody but the members of a private room.
    pub fn check_access(&self, room: &RoomName, owner: Option<OwnerNumber>) -> Result<(), Refusal> {
        self.shared.registry.check_access(room, owner)
    }

    /// Has a connection use a name that it owns. Claims no name.
    ///
    /// # Errors
    ///
    /// Refuses a name without an owner, a wrong secret, and any secret after too
    /// many wrong ones. Also refuses if the store cannot be read.
    pub async fn prove_name(
        &self,
        name: &Name,
        secret: Secret,
        registration: &Registration,
    ) -> Result<NameUse, Refusal> {
        let claims = &self.shared.claims;
        claims.prove_name(name, secret, registration.peer()).await
    }

    /// Admits a name by an invitation. A name without an owner becomes owned,
    /// with this secret.
    ///
    /// # Errors
    ///
    /// Refuses a wrong, spent or expired token, a wrong secret of an owned name,
    /// and any of them after too many wrong ones. Also refuses if the store
    /// cannot be read or written.
    pub async fn admit(
        &self,
        name: &Name,
        secret: &Secret,
        token: &Token,
        registration: &Registration,
    ) -> Result<NameUse, Refusal> {
        let claim = Claim {
            peer: registration.peer(),
            budget: registration.budget().cloned(),
            name: name.clone(),
            secret: Some(secret.clone()),
            current_name: None,
            new: Ok(()),
        };
        self.shared.claims.admit(claim, secret, token).await
    }

    /// Admits the name that a connection owns by an invitation. Returns the
    /// invitation.
    ///
    /// # Errors
    ///
    /// Refuses a wrong, spent or expired token, and any token after too many of
    /// those. Also refuses if the store cannot be read or written.
    pub fn admit_owner(
        &self,
        peer: Peer,
        name: Name,
        owner: OwnerNumber,
        token: Token,
    ) -> impl Future<Output = Result<Invitation, Refusal>> + use<> {
        let claims = self.shared.claims.clone();
        async move { claims.admit_owner(peer, &name, owner, &token).await }
    }

    /// Makes a link, by which another device becomes the owner of a name.
    /// Returns its token, and how long it is valid.
    ///
    /// # Errors
    ///
    /// Refuses a secret that does not prove the name, and if too many links are
    /// open.
    pub fn link(
        &self,
        peer: Peer,
        name: Name,
        secret: Secret,
    ) -> impl Future<Output = Result<(Token, Duration), Refusal>> + use<> {
        let hub = self.clone();
        async move {
            let HubState { claims, links, .. } = &*hub.shared;
            claims.prove_name(&name, secret.clone(), peer).await?;
            let random = claims::random().map_err(|_| unreadable())?;
            let token = Token::from_random(random);
            links.add(&token, name, secret)?;
            Ok((token, links::VALID))
        }
    }

    /// Follows a link: returns the name and its secret.
    ///
    /// # Errors
    ///
    /// Refuses a wrong, used or expired token, and any token after too many of
    /// those.
    pub fn follow_link(&self, token: &Token, peer: Peer) -> Result<(Name, Secret), Refusal> {
        let HubState { claims, links, .. } = &*self.shared;
        claims.check_token(peer)?;
        links.take(token).ok_or_else(|| claims.wrong_token(peer))
    }

    /// Changes the access to a room, as an entry says.
    ///
    /// # Errors
    ///
    /// Refuses if the author of the entry may not do this, or if it cannot be
    /// stored.
    pub fn change_access(
        &self,
        origin: ConnectionId,
        action: Action,
    ) -> impl Future<Output = Result<(), Refusal>> + use<> {
        let actions = self.actions();
        async move {
            match actions.act(origin, action).await?.outcome {
                Outcome::Denied(denial) => Err(refusal(denial)),
                _ => Ok(()),
            }
        }
    }

    /// Changes the membership of a named person, as an entry for the owner
    /// number says.
    ///
    /// # Errors
    ///
    /// Refuses a name without an owner. Otherwise as [`Hub::change_access`].
    pub fn change_membership<F: FnOnce(OwnerNumber) -> Action>(
        &self,
        origin: ConnectionId,
        name: Name,
        entry: F,
    ) -> impl Future<Output = Result<(), Refusal>> + use<F> {
        let hub = self.clone();
        async move {
            let owned = hub.history().store().owned(&name.key()).await;
            let owned = owned.map_err(|why| {
                error!("the message store cannot be read: {why}");
                unreadable()
            })?;
            let Some(ownership) = owned.and_then(|owned| owned.ownership()) else {
                let text = format!("Nobody owns the name {name}.");
                return Err(Refusal::new(RefusalCode::NotHere, text));
            };
            let action = entry(ownership.owner);
            hub.change_access(origin, action).await
        }
    }

    /// Makes an invitation. Returns its number and its token.
    ///
    /// # Errors
    ///
    /// Refuses if the author may not invite to the room, or if the invitation
    /// cannot be stored.
    pub fn invite(
        &self,
        origin: ConnectionId,
        new: NewInvitation,
    ) -> impl Future<Output = Result<(u64, Token), Refusal>> + use<> {
        let actions = self.actions();
        async move {
            let random = claims::random().map_err(|_| unreadable())?;
            let token = Token::from_random(random);
            let action = Action::Invite(InvitationDraft {
                token: token.digest(),
                room: new.room,
                gives: Standing::Admitted,
                uses: new.uses,
                duration_ms: milliseconds(new.duration.duration()),
                by: new.by.owner.unwrap_or(OwnerNumber::NONE),
                author: new.by.to_string(),
                operator: new.operator,
            });
            match actions.act(origin, action).await?.outcome {
                Outcome::Invited(id) => Ok((id, token)),
                Outcome::Denied(denial) => Err(refusal(denial)),
                _ => Err(unreadable()),
            }
        }
    }

    /// The open invitations to a private room, for an owner of it. An operator
    /// sees those to all rooms that the operator may enter.
    ///
    /// # Errors
    ///
    /// Refuses if the store cannot be read.
    pub fn invitations(
        &self,
        room: RoomName,
        owner: Option<OwnerNumber>,
        operator: bool,
    ) -> impl Future<Output = Result<Vec<Invite>, Refusal>> + use<> {
        let hub = self.clone();
        async move {
            let own_room = (!operator).then_some(room);
            let found = hub.history().store().invitations(own_room).await;
            let found = found.map_err(|why| {
                error!("the message store cannot be read: {why}");
                unreadable()
            })?;
            let now = hub.shared.clock.now();
            let registry = &hub.shared.registry;
            let may_see = |it: &Invitation| {
                let enters = || hub.check_access(&it.room, owner).is_ok();
                registry.owns_room(&it.room, owner) || operator && enters()
            };
            let open = found
                .into_iter()
                .filter(|it| it.is_open(now) && may_see(it));
            Ok(open
                .map(|it| Invite {
                    id: it.id,
                    uses: it.uses,
                    duration: TypedDuration::rounded_up(Duration::from_millis(it.until.since(now))),
                    room: it.room,
                    by: it.author,
                    url: None,
                })
                .collect())
        }
    }

    /// Makes the owner of a name an operator, or an operator no more. Ends the
    /// conversations under the name, which may come back.
    ///
    /// # Errors
    ///
    /// Refuses a name without an owner, and if the change cannot be stored.
    pub async fn set_operator(
        &self,
        origin: ConnectionId,
        name: &Name,
        operator: bool,
    ) -> Result<(), Refusal> {
        let key = name.key();
        let action = Action::SetOperator { key, operator };
        match self.act(origin, action).await?.outcome {
            Outcome::NotHere => {
                let text = format!(
                    "Nobody owns the name {name}: take it in the chat first, with /name {name}."
                );
                Err(Refusal::new(RefusalCode::NotHere, text))
            }
            _ => Ok(()),
        }
    }

    /// Frees an owned name, and ends the conversations under it.
    ///
    /// # Errors
    ///
    /// Refuses a name without an owner, and if the change cannot be stored.
    pub fn release(
        &self,
        origin: ConnectionId,
        by: &Author,
        name: Name,
    ) -> impl Future<Output = Result<(), Refusal>> + use<> {
        let actions = self.actions();
        let audit = AuditRecord {
            operator: by.to_string(),
            act: "release".to_owned(),
            target: name.to_string(),
            reason: String::new(),
        };
        async move {
            let key = name.key();
            match actions
                .act(origin, Action::Release { key, audit })
                .await?
                .outcome
            {
                Outcome::NotHere => {
                    let text = format!("Nobody owns the name {name}.");
                    Err(Refusal::new(RefusalCode::NotHere, text))
                }
                _ => Ok(()),
            }
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
