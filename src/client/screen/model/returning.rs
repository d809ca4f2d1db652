//! Marks the new messages when the user comes back to a room.

use jiff::ToSpan;

use super::{
    super::{
        super::last_visit::LastVisit,
        line::{clock, heading},
    },
    Model, Now, Returning,
};
use crate::protocol::{Message, WallTime};

/// How many messages of the replay are held to count the new ones.
const MOST: usize = 30;

impl Model {
    /// Marks the messages that are new since a visit, in the replay that follows.
    pub(in super::super) fn return_from(&mut self, visit: LastVisit) {
        self.live = false;
        let held = Vec::new();
        self.returning = Some(Returning { visit, held });
    }

    /// Holds a message of the replay; false if the caller shows it now.
    pub(super) fn hold(&mut self, message: &Message, now: Now) -> bool {
        match &mut self.returning {
            Some(returning) if !self.live && returning.held.len() < MOST => {
                returning.held.push(message.clone());
                true
            }
            _ => {
                self.show_held(now);
                false
            }
        }
    }

    /// Shows the messages held, with a mark above the new ones.
    pub(super) fn show_held(&mut self, now: Now) {
        let Some(Returning { visit, held }) = self.returning.take() else {
            return;
        };
        let is_new = |message: &&Message| message.seq > visit.position.seq;
        let same = visit.position.epoch == self.welcome.epoch;
        let first = held.iter().position(|message| same && is_new(&message));
        let count = held.iter().filter(is_new).count();
        for (n, message) in held.iter().enumerate() {
            if Some(n) == first {
                let earlier = n == 0 && message.prev > visit.position.seq;
                let or_more = if earlier { " and more" } else { "" };
                let since = self.since(visit.at, now);
                self.put(heading(&format!("{count}{or_more} new since {since}")));
            }
            self.message(message, now);
        }
    }

    /// A moment of these days, as people say it.
    fn since(&self, at: WallTime, now: Now) -> String {
        let zone = &self.options.zone;
        let (at, now) = (at.local(zone), now.wall.to_zoned(zone.clone()));
        let time = clock(&at);
        if at.date() == now.date() {
            time
        } else if at.date().checked_add(1.day()).ok() == Some(now.date()) {
            format!("yesterday {time}")
        } else {
            format!("{} {time}", at.strftime("%-d %b"))
        }
    }
}
