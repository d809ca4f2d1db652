//! Replies to drafts, and the word that a recipient is away.

use super::Conversation;
use crate::{
    fanout::Subscriber,
    hub::{PublisherReply, Reply},
    protocol::{
        Event,
        format::Format,
        name::{Name, Reference},
    },
};

/// Of how many recipients a plain connection is told that they are away.
const MAX_TOLD_AWAY: usize = 100;

impl Conversation<'_> {
    /// Whether the author of a private message is told that its recipient is
    /// away. A program that counts answers asks for that by a `ref`. A plain
    /// connection is told once of each recipient.
    pub(super) fn tells_away(&self, to: &Name, reference: Option<&Reference>) -> bool {
        let is_wanted = match self.format {
            Format::Json | Format::EventStream => reference.is_some(),
            Format::Plain | Format::NumberedPlain => {
                let is_full = self.told_away.len() >= MAX_TOLD_AWAY;
                !is_full && !self.told_away.contains(&to.key())
            }
        };
        is_wanted && !self.hub.is_owner_here(to)
    }

    /// Sends the reply to a draft.
    pub(in crate::session) fn reply(&mut self, told: PublisherReply, subscriber: &mut Subscriber) {
        let PublisherReply {
            reply,
            reference,
            away,
        } = told;
        let event = match reply {
            // The echo is the receipt.
            Reply::Stored {
                duplicate: false, ..
            } if self.echo => None,
            Reply::Stored { id, seq, duplicate } => Some(Event::Accepted { id, seq, duplicate }),
            Reply::Refused(refusal) => Some(Event::Refused(refusal)),
        };
        if let Some(event) = event {
            self.answer(&event, reference.as_ref(), subscriber);
        }
        let Some(away) = away else { return };
        if self.format.hides_ignored() && !self.told_away.insert(away.key()) {
            return;
        }
        // The echo comes first.
        subscriber.deliver_recent();
        self.answer(&Event::away(away), reference.as_ref(), subscriber);
    }
}
