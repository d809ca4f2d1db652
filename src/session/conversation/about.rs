//! Publishes messages, and what is about messages: replies, corrections,
//! reactions and the erasure of one's own.

use tracing::info;

use super::{
    super::pending::{PendingWork, SideTask, SideTaskResult},
    Conversation,
    pages::unreadable,
};
use crate::{
    fanout::PageQuery,
    log::Draft,
    protocol::{
        About, Event, HISTORY_PAGE, LastOf, Message, PublishKind, Refusal, RefusalCode, Seq, Slot,
        name::MessageId,
    },
};

impl Conversation<'_> {
    /// Prepares a message or a change of one.
    pub(super) fn publish(
        &mut self,
        text: &str,
        id: Option<MessageId>,
        kind: PublishKind,
        about: Option<Seq>,
        follows: Option<MessageId>,
    ) -> Result<Draft, Refusal> {
        let has_name = self.author.name.is_some();
        let text = self.accept(text, id.as_ref(), 1)?;
        let (kind, about) = kind.relate(about, &text, has_name)?;
        info!(target: "chat::message", "From client {} {:?}", self.registration.peer(), &*text);
        Ok(Draft {
            mentions: self.hub.mentioned(&text),
            room: self.room.clone(),
            from: self.author.clone(),
            text,
            id,
            follows,
            kind,
            to: None,
            about,
        })
    }

    /// Publishes something about a message, by default the last one: of one's
    /// own for a correction.
    pub(super) fn publish_about(
        &mut self,
        about: Option<Seq>,
        kind: PublishKind,
        text: &str,
    ) -> Result<SideTask, Refusal> {
        let mut draft = self.publish(text, None, kind, about.or(Some(Seq::START)), None)?;
        let last = self.last(about, LastOf::for_kind(kind));
        let (hub, origin) = (self.hub.clone(), self.registration.peer().id);
        Ok(SideTask::read(async move {
            let checked = async {
                let seq = last.await?;
                draft.about = draft.about.map(|about| About { seq, ..about });
                hub.check_correction(&draft, origin).await?;
                Ok(Box::new(draft))
            };
            SideTaskResult::Draft(checked.await)
        }))
    }

    /// The work of a draft: a correction is checked before it goes to the log.
    pub(super) fn submit(&self, draft: Draft) -> PendingWork {
        if !draft.is_edit() {
            return PendingWork::Publish(draft, None);
        }
        let checked = self
            .hub
            .check_correction(&draft, self.registration.peer().id);
        PendingWork::LookUp(SideTask::read(async move {
            SideTaskResult::Draft(checked.await.map(|()| Box::new(draft)))
        }))
    }

    /// Erases a message of one's own, by default the last one.
    pub(super) fn delete(&self, seq: Option<Seq>) -> Result<SideTask, Refusal> {
        // Searches make way for it.
        self.charge_change()?;
        let last = self.last(seq, LastOf::Own);
        let (hub, room) = (self.hub.clone(), self.room.clone());
        let (by, origin) = (self.author.clone(), self.registration.peer().id);
        Ok(SideTask::write(async move {
            let erased = async {
                let seq = last.await?;
                hub.retract(&by, origin, room, seq).await?;
                Ok(format!("Number {seq} is erased."))
            };
            SideTaskResult::Event(match erased.await {
                Ok(text) => Event::Notice { text },
                Err(refusal) => Event::Refused(refusal),
            })
        }))
    }

    /// The message that a person means: the one of this number, or the last one
    /// among the last messages of the room.
    fn last(
        &self,
        seq: Option<Seq>,
        among: LastOf,
    ) -> impl Future<Output = Result<Seq, Refusal>> + use<> {
        let (history, room) = (self.hub.history().clone(), self.room.clone());
        let (owner, origin) = (self.author.owner, self.registration.peer().id);
        async move {
            if let Some(seq) = seq {
                return Ok(seq);
            }
            let query = PageQuery {
                after: None,
                before: None,
                limit: HISTORY_PAGE,
            };
            let page = history.page(&room, query).await;
            let page = page.map_err(|why| unreadable(&why))?;
            let is_meant = |message: &&Message| {
                let is_owner = owner.is_some() && message.from.owner == owner;
                among == LastOf::All || is_owner || message.connection == origin
            };
            let mut newest = page.messages.iter().rev().filter_map(Slot::message);
            let found = newest.find(is_meant).map(|message| message.seq);
            found.ok_or_else(|| {
                let text = "There is no such message among the last ones: give its number.";
                Refusal::new(RefusalCode::NotHere, text)
            })
        }
    }
}
