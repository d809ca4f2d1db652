//! Carries out the commands on private rooms, invitations and names' standing.

use std::pin::Pin;

use super::{
    super::pending::{SideTask, SideTaskResult},
    Conversation,
};
use crate::{
    hub::NewInvitation,
    log::Action,
    protocol::{
        Command, Event, HookInfo, Invite, Link, OwnerNumber, Refusal, RefusalCode,
        name::{Name, RoomName},
        qr,
        secret::Secret,
        token::Token,
        typed_duration::TypedDuration,
    },
};

/// The change of access that is under way.
type Done = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>;

impl Conversation<'_> {
    /// Checks that this reader may enter a room.
    pub(super) fn check_access(&self, room: &RoomName) -> Result<(), Refusal> {
        self.hub.check_access(room, self.author.owner)
    }

    /// Carries out a command on access.
    pub(super) fn access_command(&self, command: Command) -> Result<SideTask, Refusal> {
        let origin = self.registration.peer().id;
        let room = self.room.clone();
        let (told, done): (String, Done) = match command {
            Command::Invites => return self.invites(),
            Command::Invite {
                token: Some(token), ..
            } => return self.use_invitation(token),
            Command::Link { secret } => return self.link(secret),
            Command::Hook { name } => return self.hook(name),
            Command::Hooks => return self.hooks(),
            Command::Invite { uses, duration, .. } => return self.invite(uses, duration),
            Command::Access {
                room: other,
                private,
            } => {
                let room = other.unwrap_or(room);
                let (owner, name) = self.own_name()?;
                self.charge_change()?;
                self.check_lobby(&room, private)?;
                let told = if private {
                    format!("{room} is private now: /invite lets people in.")
                } else {
                    format!("{room} is public now: everybody may enter and read it.")
                };
                let action = Action::SetAccess {
                    room,
                    private,
                    by: owner,
                    name,
                    operator: self.operator.is_operator(),
                };
                (told, Box::pin(self.hub.change_access(origin, action)))
            }
            Command::Uninvite { id } => {
                self.charge_change()?;
                let action = Action::Uninvite {
                    id,
                    by: self.author.owner.unwrap_or(OwnerNumber::NONE),
                    operator: self.operator.is_operator(),
                };
                let told = format!("Invitation {id} is taken back.");
                (told, Box::pin(self.hub.change_access(origin, action)))
            }
            Command::Remove { name } => {
                let (by, _) = self.own_name()?;
                self.charge_change()?;
                let told = format!("{name} is no member of {room} any more.");
                let entry = move |member| Action::RemoveMember { room, member, by };
                let done = self.hub.change_membership(origin, name, entry);
                (told, Box::pin(done))
            }
            Command::Owner { name } => {
                let (by, _) = self.own_name()?;
                self.charge_change()?;
                let told = format!("{name} is an owner of {room} now.");
                let entry = move |member| Action::AddRoomOwner { room, member, by };
                let done = self.hub.change_membership(origin, name, entry);
                (told, Box::pin(done))
            }
            Command::Unhook { name } => {
                self.charge_change()?;
                let told = format!("{name} is no hook of {room} any more.");
                let operator = self.operator.is_operator();
                let by = self.author.owner;
                let done = self.hub.remove_hook(origin, room, name, by, operator);
                (told, Box::pin(done))
            }
            Command::Release { name } => {
                let told = format!("{name} is free now. The next owner starts with nothing.");
                let done = self.hub.release(origin, &self.author, name);
                (told, Box::pin(done))
            }
            _ => return Err(Refusal::new(RefusalCode::UnknownType, "No such command.")),
        };
        Ok(SideTask::write(async move {
            SideTaskResult::Event(match done.await {
                Ok(()) => Event::Notice { text: told },
                Err(refusal) => Event::Refused(refusal),
            })
        }))
    }

    fn invites(&self) -> Result<SideTask, Refusal> {
        let operator = self.operator.is_operator();
        if !operator && !self.hub.is_private(&self.room) {
            let text = "Operators see the invitations to public rooms, and owners those to their private room.";
            return Err(Refusal::new(RefusalCode::NotAllowed, text));
        }
        let owner = self.author.owner;
        let found = self.hub.invitations(self.room.clone(), owner, operator);
        Ok(SideTask::read(async move {
            SideTaskResult::Event(match found.await {
                Ok(invites) => Event::Invites { invites },
                Err(refusal) => Event::Refused(refusal),
            })
        }))
    }

    /// Makes an invitation to the room.
    fn invite(
        &self,
        uses: Option<u32>,
        duration: Option<TypedDuration>,
    ) -> Result<SideTask, Refusal> {
        let operator = self.operator.is_operator();
        if !operator {
            self.own_name()?;
        }
        self.charge_change()?;
        let (room, by) = (self.room.clone(), self.author.clone());
        let new = NewInvitation::new(room, uses, duration, by, operator)?;
        let (uses, duration) = (new.uses, new.duration);
        let (room, by) = (self.room.clone(), self.author.to_string());
        let base = self.base.clone();
        let made = self.hub.invite(self.registration.peer().id, new);
        Ok(SideTask::write(async move {
            SideTaskResult::Event(match made.await {
                Ok((id, token)) => {
                    let token = token.reveal();
                    let url = Some(format!("{base}/{room}#invite={token}"));
                    Event::Invite(Invite {
                        id,
                        room,
                        by,
                        uses,
                        duration,
                        url,
                    })
                }
                Err(refusal) => Event::Refused(refusal),
            })
        }))
    }

    /// Makes a hook of the room.
    fn hook(&self, name: Name) -> Result<SideTask, Refusal> {
        self.check_manages("make hooks")?;
        self.charge_change()?;
        if let Some(budget) = self.registration.budget()
            && !self.operator.is_operator()
        {
            budget.new_name()?;
        }
        let (room, by) = (self.room.clone(), self.author.to_string());
        let base = self.base.clone();
        let made = self.hub.add_hook(
            self.registration.peer().id,
            room.clone(),
            name.clone(),
            self.author.clone(),
            self.operator.is_operator(),
        );
        Ok(SideTask::write(async move {
            SideTaskResult::Event(match made.await {
                Ok(token) => Event::Hook(HookInfo {
                    name,
                    room,
                    by,
                    url: Some(format!("{base}/-/hook/{}", token.reveal())),
                }),
                Err(refusal) => Event::Refused(refusal),
            })
        }))
    }

    fn hooks(&self) -> Result<SideTask, Refusal> {
        self.check_manages("see hooks")?;
        let found = self.hub.hooks(self.room.clone());
        Ok(SideTask::read(async move {
            SideTaskResult::Event(match found.await {
                Ok(hooks) => Event::Hooks { hooks },
                Err(refusal) => Event::Refused(refusal),
            })
        }))
    }

    /// Checks that this person may do something for the room: an operator, or
    /// an owner of the private room.
    fn check_manages(&self, what: &str) -> Result<(), Refusal> {
        if self.operator.is_operator() || self.hub.owns_room(&self.room, self.author.owner) {
            return Ok(());
        }
        let text = format!("Only operators and owners of a private room {what}.");
        Err(Refusal::new(RefusalCode::NotAllowed, text))
    }

    /// Makes a link to the connection's name.
    fn link(&self, secret: Option<Secret>) -> Result<SideTask, Refusal> {
        let (_, name) = self.own_name()?;
        self.charge_change()?;
        let Some(secret) = secret else {
            let text = "Give the secret of your name, which the other device needs: /link SECRET";
            return Err(Refusal::new(RefusalCode::BadField, text));
        };
        let base = format!("{}/{}", self.base, self.room);
        let made = self.hub.link(self.registration.peer(), name, secret);
        Ok(SideTask::write(async move {
            SideTaskResult::Event(match made.await {
                Ok((token, valid)) => {
                    let url = format!("{base}#link={}", token.reveal());
                    Event::Link(Link {
                        qr: qr::rows(&url),
                        duration: TypedDuration::rounded_up(valid),
                        url,
                    })
                }
                Err(refusal) => Event::Refused(refusal),
            })
        }))
    }

    /// Uses an invitation with the name that this connection owns.
    fn use_invitation(&self, token: Token) -> Result<SideTask, Refusal> {
        let (owner, name) = self.own_name()?;
        let peer = self.registration.peer();
        let used = self.hub.admit_owner(peer, name, owner, token);
        Ok(SideTask::write(async move {
            SideTaskResult::Event(match used.await {
                Ok(invitation) => {
                    let room = invitation.room;
                    let text = format!("You may enter {room} now: /join {room}");
                    Event::Notice { text }
                }
                Err(refusal) => Event::Refused(refusal),
            })
        }))
    }

    /// The owner number of the connection's name, and the name.
    fn own_name(&self) -> Result<(OwnerNumber, Name), Refusal> {
        if let (Some(owner), Some(name)) = (self.author.owner, &self.author.name) {
            return Ok((owner, name.clone()));
        }
        let text = "This needs a name of your own, which proves who you are: /name NAME makes one.";
        Err(Refusal::new(RefusalCode::NotAllowed, text))
    }

    /// Charges a change of access, which is stored as a topic is.
    pub(super) fn charge_change(&self) -> Result<(), Refusal> {
        self.check_mute()?;
        match self.registration.budget() {
            Some(budget) => budget.topic(0),
            None => Ok(()),
        }
    }

    /// Checks that nobody but an operator closes the lobby, where all people
    /// arrive.
    fn check_lobby(&self, room: &RoomName, private: bool) -> Result<(), Refusal> {
        if !private || self.operator.is_operator() || *room != RoomName::lobby() {
            return Ok(());
        }
        let text = "Everybody arrives in the lobby: only an operator may make it private.";
        Err(Refusal::new(RefusalCode::NotAllowed, text))
    }
}
