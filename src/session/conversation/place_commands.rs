//! Carries out the commands on places: follows, read positions, watched rooms and
//! pages of private conversations.

use super::{
    super::pending::{SideTask, SideTaskResult},
    Conversation,
    command_result::CommandResult,
};
use crate::protocol::{
    Command, ConversationPage, Event, HISTORY_PAGE, MAX_HISTORY_PAGE, OwnerNumber, Refusal,
    RefusalCode, Seq,
    name::{Name, RoomName},
};

impl Conversation<'_> {
    /// Carries out a command on places.
    ///
    /// # Errors
    ///
    /// Refuses a connection without an owned name, and a place that it does not
    /// have.
    pub(super) fn place_command(&mut self, command: Command) -> Result<CommandResult, Refusal> {
        let origin = self.registration.peer().id;
        match command {
            Command::Follow { room, level } => {
                let owner = self.follower()?;
                let room = room.unwrap_or_else(|| self.room.clone());
                self.check_access(&room)?;
                let level = level.unwrap_or_default();
                let done = self.hub.follow(owner, origin, room.clone(), Some(level));
                Ok(answer(async move {
                    let level = Some(done.await?);
                    Ok(Event::Follow { room, level })
                }))
            }
            Command::Unfollow { room } => {
                let room = room.unwrap_or_else(|| self.room.clone());
                let level = None;
                let Some(owner) = self.author.owner else {
                    self.registration.unwatch(&room);
                    return Ok(Event::Follow { room, level }.into());
                };
                let done = self.hub.unfollow(owner, origin, room.clone());
                Ok(answer(async move {
                    done.await?;
                    Ok(Event::Follow { room, level })
                }))
            }
            Command::Watch { rooms } => {
                if self.author.owner.is_some() {
                    let text = "You own a name: follow rooms with it instead.";
                    return Err(Refusal::new(RefusalCode::NotAllowed, text));
                }
                for room in rooms.0.keys() {
                    self.check_access(room)?;
                }
                self.registration.watch(rooms.0)?;
                Ok(CommandResult::Done)
            }
            Command::Read { room, with, seq } => self.read(room, with, seq),
            // `act` brings no other command here.
            _ => Ok(CommandResult::Done),
        }
    }

    fn read(
        &self,
        room: Option<RoomName>,
        with: Option<Name>,
        upto: Seq,
    ) -> Result<CommandResult, Refusal> {
        let owner = self.follower()?;
        let Some(with) = with else {
            let room = room.unwrap_or_else(|| self.room.clone());
            if !self.registration.follows(&room) {
                let text = format!("You do not follow {room}.");
                return Err(Refusal::new(RefusalCode::NotHere, text));
            }
            self.hub.note_read(owner, room, upto);
            return Ok(CommandResult::Done);
        };
        if room.is_some() {
            let text = "Say either \"room\" or \"with\".";
            return Err(Refusal::new(RefusalCode::BadField, text));
        }
        let (hub, partner) = (self.hub.clone(), self.hub.find_partner(with));
        Ok(SideTask::read(async move {
            match partner.await {
                Ok(partner) => hub.note_read(owner, RoomName::inbox(partner), upto),
                Err(refusal) => return SideTaskResult::Event(Event::Refused(refusal)),
            }
            SideTaskResult::Nothing
        })
        .into())
    }

    /// Reads a page of a private conversation of this reader.
    pub(super) fn conversation(
        &self,
        with: Name,
        before: Option<Seq>,
        limit: Option<u32>,
    ) -> Result<SideTask, Refusal> {
        let owner = self.follower()?;
        let (hub, partner) = (self.hub.clone(), self.hub.find_partner(with.clone()));
        let limit = limit.unwrap_or(HISTORY_PAGE).min(MAX_HISTORY_PAGE);
        let page = async move {
            let partner = partner.await?;
            let page = hub.conversation(owner, partner, before, limit);
            let (messages, more) = page.await?;
            let is_here = hub.is_owner_here(&with);
            let page = ConversationPage::new(with, messages, more, is_here);
            Ok(Event::Conversation(page))
        };
        Ok(SideTask::read(async move {
            SideTaskResult::Event(page.await.unwrap_or_else(Event::Refused))
        }))
    }

    /// The owner that follows places.
    fn follower(&self) -> Result<OwnerNumber, Refusal> {
        self.author.owner.ok_or_else(|| {
            let text =
                "Own a name first, because the server keeps this for owned names: /name NAME.";
            Refusal::new(RefusalCode::NotAllowed, text)
        })
    }
}

/// A change, and the event that answers its command.
fn answer(done: impl Future<Output = Result<Event, Refusal>> + Send + 'static) -> CommandResult {
    SideTask::write(async move { SideTaskResult::Event(done.await.unwrap_or_else(Event::Refused)) })
        .into()
}
