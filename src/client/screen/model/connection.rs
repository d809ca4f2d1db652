//! Updates the model when the connection is lost or back.

use jiff::Zoned;
use tokio::time::Instant;

use super::{
    super::{
        super::ConnectionState,
        line::{Line, Style, heading},
    },
    LinkStatus, Model, Now, Unseen,
};
use crate::protocol::Seq;

impl Model {
    /// Notes a change of the connection.
    pub(super) fn handle_state(&mut self, state: ConnectionState, now: Now) {
        match state {
            ConnectionState::Offline { why, again, .. } => {
                if self.lost_since.is_none() {
                    self.lost_since = Some(now.wall);
                    let text = format!("the connection is lost ({why})");
                    self.put(Line::new(Style::Dim, format!("* {text}")));
                }
                self.refusing = None;
                self.link = LinkStatus::Offline { again };
            }
            ConnectionState::Connected => {
                self.reconnected = true;
                self.refusing = None;
                let seq = Seq::START;
                self.link = LinkStatus::Behind {
                    from: seq,
                    at: seq,
                    head: seq,
                };
            }
            ConnectionState::CatchingUp { at, head } => {
                self.link = LinkStatus::Behind { from: at, at, head }
            }
            ConnectionState::CaughtUp => {
                self.link = LinkStatus::Up;
                self.lost_since = None;
                self.refusing = None;
                self.read_printed();
            }
            ConnectionState::Refusing { why, .. } => self.refusing = Some(why),
        }
    }

    /// Counts a message that came while the user was away or the connection was
    /// lost.
    pub(super) fn count_unseen(&mut self, at: &Zoned, now: Now) {
        let behind = matches!(self.link, LinkStatus::Behind { .. });
        if !behind && self.unfocused_since.is_none() {
            return;
        }
        let off = if behind {
            self.lost_since
        } else {
            self.unfocused_since
        };
        let first = if behind { at.timestamp() } else { now.wall };
        if self.unseen.is_none() {
            let since = off.unwrap_or(first);
            self.unseen = Some(Unseen { since, count: 0 });
            let since = self.clock(since);
            self.put(heading(&format!("new since {since}")));
        }
        if let Some(missed) = &mut self.unseen {
            missed.count += 1;
        }
    }

    /// When the countdown to the next connection attempt changes the screen.
    pub(in super::super) fn next_tick(&self, now: Now) -> Option<Instant> {
        let LinkStatus::Offline { again, .. } = self.link else {
            return None;
        };
        let left = again.checked_duration_since(now.tick)?;
        let part = std::time::Duration::from_nanos(u64::from(left.subsec_nanos()));
        (!left.is_zero()).then(|| now.tick + part.max(std::time::Duration::from_millis(1)))
    }
}
