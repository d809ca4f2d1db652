//! Reads pages of the room and of the inbox, and searches the room.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::error;

use super::{
    super::pending::{SideTask, SideTaskResult},
    Conversation,
};
use crate::{
    fanout::{History, HistoryPage, PageQuery},
    protocol::{
        Event, HISTORY_PAGE, MAX_HISTORY_PAGE, Message, OwnerNumber, PageEvent, Refusal,
        RefusalCode, Search, Seq, Slot,
        command::nobody_to_answer,
        name::{Name, RoomName},
    },
    store::{StoreError, Words},
};

impl Conversation<'_> {
    /// Reads a history page of the room.
    pub(super) fn page(&self, before: Option<Seq>, limit: Option<u32>) -> SideTask {
        let (history, room) = (self.hub.history().clone(), self.room.clone());
        let span = PageQuery {
            after: None,
            before,
            limit: limit.unwrap_or(HISTORY_PAGE).min(MAX_HISTORY_PAGE),
        };
        SideTask::read(async move {
            let excerpt = history.page(&room, span).await;
            page_result(excerpt.map(|HistoryPage { messages, more, .. }| PageEvent {
                messages,
                more,
                search: None,
            }))
        })
    }

    /// Reads a page of the member's private messages.
    pub(super) fn inbox(
        &self,
        before: Option<Seq>,
        limit: Option<u32>,
    ) -> Result<SideTask, Refusal> {
        let Some(owner) = self.author.owner else {
            let text = "Own a name first, because private messages go to owned names: /name NAME.";
            return Err(Refusal::new(RefusalCode::NotAllowed, text));
        };
        let (history, inbox) = (self.hub.history().clone(), RoomName::inbox(owner));
        let query = PageQuery {
            after: None,
            before,
            limit: limit.unwrap_or(HISTORY_PAGE).min(MAX_HISTORY_PAGE),
        };
        Ok(SideTask::read(async move {
            let page = history.page(&inbox, query).await;
            answer_of(page.map(|HistoryPage { messages, more, .. }| {
                let private = messages.iter().filter_map(Slot::message);
                let messages: Vec<_> = private.filter_map(Message::private).collect();
                Event::Inbox { messages, more }
            }))
        }))
    }

    /// Lists the rooms after one of them.
    ///
    /// # Errors
    ///
    /// Refuses a private room of others: its place in the list would tell when
    /// its members speak.
    pub(super) fn rooms(&self, after: Option<RoomName>) -> Result<SideTask, Refusal> {
        if let Some(room) = &after {
            self.check_access(room)?;
        }
        let (hub, owner) = (self.hub.clone(), self.author.owner);
        Ok(SideTask::read(async move {
            answer_of(hub.rooms_event(owner, after).await)
        }))
    }

    /// Searches the room: one page of messages that contain these words.
    pub(super) fn search(
        &self,
        words: Words,
        before: Option<Seq>,
        limit: Option<u32>,
    ) -> Result<SideTask, Refusal> {
        let (hub, asked) = (self.hub.clone(), Instant::now());
        let mut place = self.registration.queue_search()?;
        let (history, room) = (self.hub.history().clone(), self.room.clone());
        let limit = limit.unwrap_or(HISTORY_PAGE).min(MAX_HISTORY_PAGE);
        Ok(SideTask::read(async move {
            if let Err(refusal) = place.turn().await {
                return SideTaskResult::Event(Event::Refused(refusal));
            }
            let place = Arc::new(place);
            let is_over = move || place.is_over();
            let store = history.store();
            let found = store.search(&room, &words, before, limit, is_over).await;
            let took = asked.elapsed().as_secs_f64();
            hub.metrics().search.observe(took);
            let Some(found) = found.transpose() else {
                let text = "The search took too long; use rarer words, or search again later.";
                let refusal = Refusal::new(RefusalCode::TooLong, text);
                return SideTaskResult::Event(Event::Refused(refusal));
            };
            page_result(found.map(|found| PageEvent {
                messages: found.messages.into_iter().map(Slot::Message).collect(),
                more: found.more,
                search: Some(Search {
                    query: words.typed().to_owned(),
                    indexed: found.indexed,
                }),
            }))
        }))
    }
}

/// The author of the last private message to an owner, among the last of its
/// inbox.
///
/// # Errors
/// Refuses if there is none, or the inbox cannot be read.
pub(super) async fn last_author(history: &History, owner: OwnerNumber) -> Result<Name, Refusal> {
    let query = PageQuery {
        after: None,
        before: None,
        limit: HISTORY_PAGE,
    };
    let page = history.page(&RoomName::inbox(owner), query).await;
    let page = page.map_err(|why| unreadable(&why))?;
    let private = page.messages.iter().filter_map(Slot::message);
    let mut private = private.filter_map(Message::private).rev();
    let last = private.find(|private| !private.sent);
    last.and_then(|private| private.from.name)
        .ok_or_else(nobody_to_answer)
}

fn page_result(page: Result<PageEvent, StoreError>) -> SideTaskResult {
    answer_of(page.map(Event::Page))
}

fn answer_of(answer: Result<Event, StoreError>) -> SideTaskResult {
    SideTaskResult::Event(answer.unwrap_or_else(|why| Event::Refused(unreadable(&why))))
}

pub(super) fn unreadable(why: &StoreError) -> Refusal {
    error!("the history cannot be read: {why}");
    let text = "The history cannot be read just now; ask again in a while.";
    Refusal::new(RefusalCode::Busy, text)
}
