//! The rows of stored drafts, and the slots that readers get.

use super::{content::ContentDigest, messages::MessageWriter, relation::Related};
use crate::{
    log::Draft,
    protocol::{
        About, AboutKind, Change, ChangeKind, ConnectionId, Message, OwnerNumber, Seq, Slot,
        name::{MessageId, Name},
    },
    store::tables::{MessageRow, RowKind},
};

impl MessageWriter<'_> {
    /// The row that a draft becomes. Without the digest of its content it has no
    /// id.
    pub(super) fn row<'b>(
        &self,
        origin: ConnectionId,
        draft: &'b Draft,
        place: usize,
        content: Option<&'b ContentDigest>,
    ) -> MessageRow<'b> {
        let room = &self.rooms[place].1;
        MessageRow {
            seq: self.head.next(),
            room: room.id,
            prev: room.last,
            earlier: room.messages,
            at: self.batch.stamp.wall.0,
            origin,
            name: draft.from.name.as_ref().map(Name::as_str),
            owner: draft.from.owner.unwrap_or(OwnerNumber::NONE),
            addr: draft.from.addr.as_str(),
            address: draft.from.addr.hidden(),
            // The text of a correction is that of the message.
            text: if draft.is_edit() { "" } else { &draft.text },
            id: content.and(draft.id.as_ref()).map(MessageId::as_str),
            content: content.map(<[u8; _]>::as_slice),
            kind: RowKind::of(draft.kind, draft.about).number(),
            recipient: draft.to.as_ref().map(|to| to.name.as_str()),
            partner: None,
            about: draft.about.map(|about| about.seq),
            edited: None,
            reacted: false,
        }
    }

    /// Counts a draft as stored, and returns its number.
    pub(super) fn record_stored(
        &mut self,
        origin: ConnectionId,
        draft: &Draft,
        place: usize,
        id: Option<&MessageId>,
        related: Option<Related>,
    ) -> Seq {
        let (name, room) = &mut self.rooms[place];
        let (seq, prev, at) = (self.head.next(), room.last, self.batch.stamp.wall);
        let (from, text) = (draft.from.clone(), draft.text.clone());
        let Related {
            quote, reactions, ..
        } = related.unwrap_or_default();
        (self.head, room.last) = (seq, seq);
        if let Some(About { seq: about, kind }) = draft.about
            && let Some(kind) = change_kind(kind)
        {
            self.messages.push(Slot::Changed(Change {
                seq,
                prev,
                room: name.clone(),
                at,
                about,
                kind,
                from,
                text: Some(text),
                reactions,
                id: id.cloned(),
                connection: origin,
            }));
            return seq;
        }
        room.said = seq;
        room.messages += i64::from(draft.to.is_none());
        self.messages.push(Slot::Message(Message {
            seq,
            prev,
            room: name.clone(),
            at,
            connection: origin,
            from,
            text,
            id: id.cloned(),
            kind: draft.kind,
            to: draft.to.as_ref().map(|to| to.name.clone()),
            about: draft.about.map(|about| about.seq),
            quote,
            edited: false,
            edited_at: None,
            reactions: None,
        }));
        seq
    }
}

/// The kind of the change that a reference makes; `None` for a reply.
fn change_kind(kind: AboutKind) -> Option<ChangeKind> {
    match kind {
        AboutKind::Reply => None,
        AboutKind::Edit => Some(ChangeKind::Edit),
        AboutKind::React => Some(ChangeKind::React),
        AboutKind::Unreact => Some(ChangeKind::Unreact),
    }
}
