//! The events that a speaker is told.

use broadcast_chat::{
    client::{ClientEvent, ConnectionState},
    protocol::{Author, ChangeKind, Event, Seq, name::MessageId},
};

use super::{
    super::{diary::Seen, world::check_erased},
    Speaker,
};

impl Speaker {
    /// Notes what the client reports.
    ///
    /// # Errors
    /// Fails if that is a message of another room, a gap, a refusal, erased words
    /// or the client's own end.
    pub(super) fn handle_event(&mut self, happened: ClientEvent) -> Result<(), String> {
        let name = &self.name;
        if let ClientEvent::Event(frame, _) = &happened {
            check_erased(&self.erased, name, frame.text())?;
        }
        match happened {
            ClientEvent::Event(
                _,
                Event::Erased {
                    seq,
                    prev: Some(prev),
                    id,
                },
            ) => {
                self.world.note(name, &format!("sees erased {seq}"));
                // It may have been shown the message.
                if seq.0 > self.view.last() {
                    self.see((seq, prev), None, String::new(), false);
                }
                if let Some(id) = id {
                    self.world.confirm(&self.name, id.as_str());
                }
            }
            ClientEvent::Event(_, Event::Notice { text }) => {
                let erased = text.strip_prefix("Number ");
                let erased = erased.and_then(|text| text.strip_suffix(" is erased."));
                if let Some(seq) = erased.and_then(|seq| seq.parse().ok()) {
                    self.world.note_erased(seq);
                }
            }
            ClientEvent::Refused { id, text, .. } if is_about_erased(&text) => {
                self.world.note(name, &format!("says {id} too late"));
                self.world.refuse(name, id.as_str());
            }
            ClientEvent::Event(_, Event::Message(message)) => {
                if message.room.as_str() != self.view.room {
                    return Err(format!("{name} in {} hears {message:?}", self.view.room));
                }
                self.world.note(name, &format!("sees {}", message.seq));
                let own = own_id(name, &message.from, message.id);
                let text = message.text.to_string();
                self.see((message.seq, message.prev), own, text, false);
            }
            ClientEvent::Event(_, Event::Changed(change)) => {
                if change.room.as_str() != self.view.room {
                    return Err(format!("{name} in {} hears {change:?}", self.view.room));
                }
                self.world
                    .note(name, &format!("sees change {}", change.seq));
                let own = own_id(name, &change.from, change.id);
                let text = change.text.filter(|_| change.kind != ChangeKind::Edit);
                let text = text.map_or_else(String::new, String::from);
                self.see((change.seq, change.prev), own, text, true);
            }
            ClientEvent::Event(_, Event::Private(private)) => {
                self.world.note(name, &format!("is told {}", private.seq));
                if let Some(id) = &private.id {
                    self.world.confirm(name, id.as_str());
                }
                self.inbox.seen.push(Seen {
                    seq: private.seq.0,
                    prev: Some(private.prev.0),
                    text: private.text.to_string(),
                    is_change: false,
                });
            }
            ClientEvent::Event(
                _,
                Event::Accepted {
                    id: Some(id), seq, ..
                },
            ) => {
                self.world.note(name, &format!("knows {id} is {seq}"));
                self.world.confirm(name, id.as_str());
            }
            ClientEvent::Event(_, Event::Welcome(welcome)) => {
                self.epoch = Some(welcome.epoch);
                if welcome.you.name.is_some() {
                    self.world.note_named(name);
                }
                if welcome.room.as_str() != self.view.room {
                    self.begin_view(welcome.head.0);
                    self.view.room = welcome.room.to_string();
                }
            }
            // A follow or a read position, before the name is the speaker's.
            ClientEvent::Event(frame, Event::Refused(_)) if frame.reference().is_some() => {}
            ClientEvent::Event(_, Event::Gap { .. } | Event::Refused(_))
            | ClientEvent::Refused { .. }
            | ClientEvent::Missing { .. }
            | ClientEvent::Ended(_) => return Err(format!("{name}: {happened:?}")),
            ClientEvent::State(ConnectionState::Offline { why, .. }) => {
                self.world.note(name, &format!("is offline: {why}"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes a message or a change that it was shown in its room.
    fn see(
        &mut self,
        (seq, prev): (Seq, Seq),
        own: Option<MessageId>,
        text: String,
        is_change: bool,
    ) {
        if let Some(id) = own {
            self.world.confirm(&self.name, id.as_str());
        }
        self.view.seen.push(Seen {
            seq: seq.0,
            prev: Some(prev.0),
            text,
            is_change,
        });
    }
}

/// The id of what the speaker of this name published itself.
fn own_id(name: &str, from: &Author, id: Option<MessageId>) -> Option<MessageId> {
    id.filter(|_| {
        from.name
            .as_ref()
            .is_some_and(|author| author.as_str() == name)
    })
}

/// Whether a refusal says that the message is about one that is not there.
fn is_about_erased(refusal: &str) -> bool {
    refusal.contains(" is no message of ")
}
