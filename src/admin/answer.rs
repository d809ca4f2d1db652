//! The answer to an operator's request.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::protocol::{
    Invite, Refusal, Seq, WallTime, name::RoomName, typed_duration::TypedDuration,
};

/// The answer to a request. `Display` writes it for people.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AdminAnswer {
    /// It is done.
    Done {
        /// A sentence for people.
        text: String,
    },
    /// The bans and mutes in force.
    Bans {
        /// All of them.
        bans: Vec<SanctionInForce>,
    },
    /// An invitation, with the URL that admits.
    Invite(Invite),
    /// The rooms, the last spoken in first.
    Rooms {
        /// At most 1000 of them.
        rooms: Vec<ListedRoom>,
    },
    /// The last audit records, oldest first.
    Audit {
        /// As many as were asked for.
        records: Vec<AuditEntry>,
    },
    /// The request was refused.
    Refused(Refusal),
}

/// A ban or a mute in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SanctionInForce {
    /// `ban` or `mute`.
    pub kind: String,
    /// Its target, as the operator named it.
    pub who: String,
    /// The time left; absent if it has no end.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<TypedDuration>,
    /// The reason; may be empty.
    pub reason: String,
}

/// A room.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListedRoom {
    /// Its name.
    pub room: RoomName,
    /// How many people are in it now.
    pub members: usize,
    /// The last number in it; 0 if it never had a message.
    pub last: Seq,
    /// Whether only its members may enter.
    pub private: bool,
}

/// One act of an operator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: WallTime,
    /// The operator's name or tag.
    pub operator: String,
    /// The act: `kick`, `ban 2h`.
    pub action: String,
    /// Its target.
    pub target: String,
    /// The reason; may be empty.
    pub reason: String,
}

impl fmt::Display for AdminAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminAnswer::Done { text } => f.write_str(text),
            AdminAnswer::Bans { bans } => lines(f, bans, "No ban or mute is in force."),
            AdminAnswer::Invite(Invite {
                uses,
                duration,
                url,
                ..
            }) => {
                let url = url.as_deref().unwrap_or_default();
                let people = if *uses == 1 { "person" } else { "people" };
                write!(f, "{url}\nadmits {uses} {people} within {duration}")
            }
            AdminAnswer::Rooms { rooms } => lines(f, rooms, "No room has messages or members."),
            AdminAnswer::Audit { records } => lines(f, records, "No operator has done anything."),
            AdminAnswer::Refused(refusal) => f.write_str(&refusal.text),
        }
    }
}

fn lines<T: fmt::Display>(f: &mut fmt::Formatter<'_>, all: &[T], none: &str) -> fmt::Result {
    if all.is_empty() {
        return f.write_str(none);
    }
    for (number, one) in all.iter().enumerate() {
        if number > 0 {
            f.write_char('\n')?;
        }
        one.fmt(f)?;
    }
    Ok(())
}

impl fmt::Display for SanctionInForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.who)?;
        if let Some(left) = self.duration {
            write!(f, ", for another {left}")?;
        }
        reason(f, &self.reason)
    }
}

impl fmt::Display for ListedRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListedRoom {
            room,
            members,
            last,
            private,
        } = self;
        let access = if *private { "private" } else { "public" };
        write!(f, "{room}: {members} here, last number {last}, {access}")
    }
}

impl fmt::Display for AuditEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AuditEntry {
            at,
            operator,
            action,
            target,
            ..
        } = self;
        write!(f, "{at} {operator}: {action} {target}")?;
        reason(f, &self.reason)
    }
}

fn reason(f: &mut fmt::Formatter<'_>, reason: &str) -> fmt::Result {
    if reason.is_empty() {
        return Ok(());
    }
    write!(f, ": {reason}")
}
