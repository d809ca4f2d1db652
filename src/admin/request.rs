//! An operator's request.

use serde::{Deserialize, Serialize};

use crate::protocol::{
    Seq,
    command_target::CommandTarget,
    name::{Name, RoomName},
    typed_duration::TypedDuration,
};

/// A request. The chat's commands of the same name say what it does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AdminRequest {
    /// List the bans and mutes in force.
    Bans,
    /// Keep out a name or a prefix.
    Ban {
        /// The target.
        who: CommandTarget,
        /// For how long; `None`: until it is lifted.
        #[serde(rename = "for")]
        duration: Option<TypedDuration>,
        /// The reason, which the banned people see.
        reason: Option<String>,
    },
    /// Lift a ban.
    Unban {
        /// The target.
        who: CommandTarget,
    },
    /// Lift a mute.
    Unmute {
        /// The target.
        who: CommandTarget,
    },
    /// End the conversations of a target.
    Kick {
        /// The target.
        who: CommandTarget,
        /// The reason, which the kicked people see.
        reason: Option<String>,
    },
    /// Remove the words of a message.
    Redact {
        /// The room of the message.
        room: RoomName,
        /// The number of the message.
        seq: Seq,
    },
    /// Free an owned name.
    Release {
        /// The name.
        name: Name,
    },
    /// Make the owner of a name an operator, or an operator no more.
    Operator {
        /// The name.
        name: Name,
        /// Whether the owner is an operator from now on.
        operator: bool,
    },
    /// Make an invitation.
    Invite {
        /// The room that it leads to.
        room: RoomName,
        /// How many names it admits; `None`: one.
        uses: Option<u32>,
        /// For how long it is valid; `None`: seven days.
        #[serde(rename = "for")]
        duration: Option<TypedDuration>,
    },
    /// List the rooms, private and unlisted ones too.
    Rooms,
    /// List the last audit records.
    Audit {
        /// At most this many.
        limit: u32,
    },
}
