//! Admits names: by their secret where a room or the server asks for one, and by
//! invitations.

use std::time::Duration;

use tracing::error;

use super::{
    actions::BUSY_RETRY_MS,
    claims::{Claim, Claims, check_free, owned_by_another, random, unknown},
    registry::{Grounds, NameUse},
};
use crate::{
    log::{Action, Admitted},
    net::Peer,
    protocol::{
        Author, OwnerNumber, Refusal, RefusalCode, Seq,
        name::{Name, RoomName},
        secret::Secret,
        token::Token,
        typed_duration::TypedDuration,
    },
    store::{Denial, Invitation, Outcome, Ownership},
};

/// The most names that one invitation admits.
const MAX_USES: u32 = 1000;

/// The longest time for which an invitation is valid.
const MAX_DURATION: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// An invitation to make.
#[derive(Clone, Debug)]
pub struct NewInvitation {
    /// The room that it leads to.
    pub room: RoomName,
    /// How many names it admits.
    pub uses: u32,
    /// How long it is valid.
    pub duration: TypedDuration,
    /// The author.
    pub by: Author,
    /// Whether the author is an operator.
    pub operator: bool,
}

impl NewInvitation {
    /// An invitation to a room: for one name and seven days, if nothing else is
    /// asked for.
    ///
    /// # Errors
    ///
    /// Refuses too many uses, and a time that is too long.
    pub fn new(
        room: RoomName,
        uses: Option<u32>,
        duration: Option<TypedDuration>,
        by: Author,
        operator: bool,
    ) -> Result<Self, Refusal> {
        let bad = |text| Err(Refusal::new(RefusalCode::BadField, text));
        let uses = uses.unwrap_or(1);
        if !(1..=MAX_USES).contains(&uses) {
            return bad("An invitation is for 1 to 1000 people.");
        }
        let duration = duration.unwrap_or(TypedDuration::WEEK);
        if duration.duration() > MAX_DURATION {
            return bad("An invitation is valid for at most 90 days (90d).");
        }
        Ok(NewInvitation {
            room,
            uses,
            duration,
            by,
            operator,
        })
    }
}

impl Claims {
    /// Has a connection use a name that it owns. Claims no name.
    ///
    /// # Errors
    ///
    /// Refuses a name without an owner, a wrong secret, and any secret after too
    /// many wrong ones. Also refuses if the store cannot be read.
    pub(super) async fn prove_name(
        &self,
        name: &Name,
        secret: Secret,
        peer: Peer,
    ) -> Result<NameUse, Refusal> {
        let (key, now) = (name.key(), self.clock.now());
        let Some(owned) = self.still_owned(&key, 0, now).await? else {
            return Err(owned_by_another(name));
        };
        let claim = Claim {
            peer,
            budget: None,
            name: name.clone(),
            secret: Some(secret),
            current_name: None,
            new: Err(owned_by_another(name)),
        };
        self.prove(&claim, &owned, now).await.map(|it| it.name_use)
    }

    /// Admits a name by an invitation. A name without an owner becomes owned,
    /// with this secret.
    ///
    /// # Errors
    ///
    /// Refuses a wrong, spent or expired token, and any token after too many of
    /// those. Otherwise as [`Claims::claim`].
    pub(super) async fn admit(
        &self,
        claim: Claim,
        secret: &Secret,
        token: &Token,
    ) -> Result<NameUse, Refusal> {
        let invitation = self.find_invitation(claim.peer, token).await?;
        check_free(&claim.name)?;
        let (key, now) = (claim.name.key(), self.clock.now());
        let (mut name_use, whom) = match self.still_owned(&key, 0, now).await? {
            Some(owned) => {
                let name_use = self.prove(&claim, &owned, now).await?.name_use;
                let ownership = name_use.ownership().ok_or_else(unknown)?;
                if self.has_all_of(&invitation, &ownership) {
                    return Ok(name_use);
                }
                (name_use, Admitted::Owner(ownership.owner))
            }
            None if !invitation.is_open(now) => return Err(self.wrong_token(claim.peer)),
            None => {
                let name_use = self.take(&claim.name, Grounds::NewOwner(0), None)?;
                self.check_lookalikes(&claim.name, &key, None, now).await?;
                self.registry.check_mute(claim.peer)?;
                if let Some(budget) = &claim.budget {
                    budget.new_name()?;
                }
                let salt = random().map_err(|_| unknown())?;
                let hardened = self.secrets.harden(secret, &salt, || Ok(())).await?;
                let hardened = hardened.ok_or_else(unknown)?;
                let tag = hardened.tag(&salt);
                self.secrets.keep(secret, &salt, hardened);
                (name_use, Admitted::New { salt, tag })
            }
        };
        let ownership = self.use_invitation(claim.peer, token, &claim.name, whom);
        name_use.set_ownership(ownership.await?);
        Ok(name_use)
    }

    /// Whether the owner of a name already has all that an invitation gives.
    fn has_all_of(&self, invitation: &Invitation, ownership: &Ownership) -> bool {
        let Invitation { room, member, .. } = invitation;
        let enters = || self.registry.check_access(room, Some(ownership.owner));
        ownership.standing >= invitation.gives && (!member || enters().is_ok())
    }

    /// Admits the name that a connection owns by an invitation. Returns the
    /// invitation.
    ///
    /// # Errors
    ///
    /// Refuses a wrong, spent or expired token, and any token after too many of
    /// those. Also refuses if the store cannot be read or written.
    pub(super) async fn admit_owner(
        &self,
        peer: Peer,
        name: &Name,
        owner: OwnerNumber,
        token: &Token,
    ) -> Result<Invitation, Refusal> {
        let invitation = self.find_invitation(peer, token).await?;
        let whom = Admitted::Owner(owner);
        self.use_invitation(peer, token, name, whom).await?;
        Ok(invitation)
    }

    /// Finds an invitation, before anything is paid for it.
    async fn find_invitation(&self, peer: Peer, token: &Token) -> Result<Invitation, Refusal> {
        self.check_token(peer)?;
        let found = self.history.store().invitation(token.digest()).await;
        let found = found.map_err(|why| {
            error!("the message store cannot be read: {why}");
            unknown()
        })?;
        found.ok_or_else(|| self.wrong_token(peer))
    }

    async fn use_invitation(
        &self,
        peer: Peer,
        token: &Token,
        name: &Name,
        whom: Admitted,
    ) -> Result<Ownership, Refusal> {
        let action = Action::Admit {
            token: token.digest(),
            key: name.key(),
            name: name.clone(),
            whom,
        };
        match self.actions.act(peer.id, action).await?.outcome {
            Outcome::Admitted(ownership) => Ok(ownership),
            Outcome::Denied(Denial::NoInvitation) => Err(self.wrong_token(peer)),
            Outcome::Denied(denial) => Err(refusal(denial)),
            Outcome::NameTaken => Err(owned_by_another(name)),
            _ => Err(unknown()),
        }
    }

    /// Checks that the peer may try a token.
    ///
    /// # Errors
    ///
    /// Refuses after too many wrong secrets or tokens.
    pub(super) fn check_token(&self, peer: Peer) -> Result<(), Refusal> {
        self.registry.check_guesses(peer.prefix(), None)
    }

    /// Counts a wrong token; returns the refusal.
    pub(super) fn wrong_token(&self, peer: Peer) -> Refusal {
        self.count_wrong_token(peer, "an invitation");
        refusal(Denial::NoInvitation)
    }

    /// Counts a wrong token of `what`.
    pub(super) fn count_wrong_token(&self, peer: Peer, what: &str) {
        self.registry.count_wrong_secret(peer.prefix(), None);
        self.wrong_secrets.count(peer, what);
    }
}

/// The refusal of an action that its author may not do.
pub(super) fn refusal(denial: Denial) -> Refusal {
    let text = match denial {
        Denial::NotMember => "You are no member of this private room.",
        Denial::NotRoomOwner => {
            "Only an owner of a private room may do this; in a public room, an operator."
        }
        Denial::NotPrivate => {
            "This room is public, and so has no members: /private makes it private."
        }
        Denial::OthersSpoke => {
            "This room has messages of other people: only an operator may make it private."
        }
        Denial::TooManyRooms => "A name may own at most 20 private rooms.",
        Denial::TooManyMembers => "This private room has the most members allowed.",
        Denial::NoSuchMember => "This private room has no such member: /members lists them.",
        Denial::LastMember => {
            "You are its last member, so you cannot leave: /public opens the room."
        }
        Denial::TooManyInvitations => {
            "This room has the most open invitations allowed: /uninvite takes one back."
        }
        Denial::TooManyHooks => "This room has the most hooks allowed: /unhook ends one.",
        Denial::NoInvitation => {
            "This invitation or link is not valid: it was used, has expired or was taken back. Ask for a new one."
        }
        Denial::NotAuthor => "Only its author may change a message.",
        Denial::TooLate => {
            "It is too late: here a message can be changed only for a while (--edit-window)."
        }
        Denial::TooManyEdits => "This message was corrected so often that it may not be again.",
        Denial::TooManyReactions => {
            "This message has the most reactions: join in one of them, if it has 20 different ones."
        }
    };
    Refusal::new(RefusalCode::NotAllowed, text)
}

/// The refusal if a room has no message with a number.
pub(super) fn not_here(room: &RoomName, seq: Seq) -> Refusal {
    let text = format!(
        "Number {seq} is no message of {room}: go to the room it was said in, where /history shows what there is."
    );
    Refusal::new(RefusalCode::NotHere, text)
}

/// The refusal if the store cannot be read.
pub(super) fn unreadable() -> Refusal {
    Refusal {
        retry_ms: Some(BUSY_RETRY_MS),
        ..Refusal::new(
            RefusalCode::Busy,
            "The server cannot read this just now; try again in a while.",
        )
    }
}
