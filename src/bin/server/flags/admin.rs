//! The subcommands for operators at the server's own machine.

use broadcast_chat::{
    admin::AdminRequest,
    protocol::{
        Seq,
        command_target::CommandTarget,
        name::{Name, RoomName},
        typed_duration::TypedDuration,
    },
};
use clap::{Args, Subcommand, ValueEnum};

use super::folder::Folder;

/// What every subcommand takes.
#[derive(Debug, Args)]
pub(crate) struct AdminFlags {
    #[command(flatten)]
    pub(crate) folder: Folder,

    /// Print the answer as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The subcommands. They work while the server runs and while it does not, and
/// need no secret.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// List the bans and mutes in force
    Bans {
        #[command(flatten)]
        flags: AdminFlags,
    },
    /// Keep out a name, an address or a prefix
    Ban {
        /// The target
        who: CommandTarget,

        /// For how long, like 2h; without it, until the ban is lifted
        #[arg(long = "for", value_name = "TIME")]
        duration: Option<TypedDuration>,

        /// The reason, which the banned people see
        #[arg(long)]
        reason: Option<String>,

        #[command(flatten)]
        flags: AdminFlags,
    },
    /// Lift a ban
    Unban {
        /// The target, as `server bans` shows it
        who: CommandTarget,

        #[command(flatten)]
        flags: AdminFlags,
    },
    /// Lift a mute
    Unmute {
        /// The target, as `server bans` shows it
        who: CommandTarget,

        #[command(flatten)]
        flags: AdminFlags,
    },
    /// Send away a name, an address, a prefix or a connection
    Kick {
        /// The target
        who: CommandTarget,

        /// The reason, which the kicked people see
        #[arg(long)]
        reason: Option<String>,

        #[command(flatten)]
        flags: AdminFlags,
    },
    /// Erase the words of a message
    Redact {
        /// The room of the message
        room: RoomName,

        /// The number of the message; ?seq=1 shows numbers
        number: u64,

        #[command(flatten)]
        flags: AdminFlags,
    },
    /// Free a name whose secret is lost; its next owner starts with nothing
    Release {
        /// The owned name
        name: Name,

        #[command(flatten)]
        flags: AdminFlags,
    },
    /// Make the owner of a name an operator, or an operator no more
    Operator {
        /// What to do
        change: OperatorChange,

        /// The owned name
        name: Name,

        #[command(flatten)]
        flags: AdminFlags,
    },
    /// Make a URL that lets people in
    Invite {
        /// The room that it leads to
        #[arg(long, default_value_t = RoomName::lobby())]
        room: RoomName,

        /// How many people it lets in, at most 1000 [default: 1]
        #[arg(long, value_name = "N")]
        uses: Option<u32>,

        /// For how long it is valid, at most 90d [default: 7d]
        #[arg(long = "for", value_name = "TIME")]
        duration: Option<TypedDuration>,

        #[command(flatten)]
        flags: AdminFlags,
    },
    /// List the rooms, private and unlisted ones too
    Rooms {
        #[command(flatten)]
        flags: AdminFlags,
    },
    /// List what operators did, the last act at the end
    Audit {
        /// At most this many acts, up to 10000
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,

        #[command(flatten)]
        flags: AdminFlags,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OperatorChange {
    Add,
    Remove,
}

impl AdminCommand {
    /// The request, and what else was said.
    pub(super) fn into_request(self) -> (AdminRequest, AdminFlags) {
        match self {
            AdminCommand::Bans { flags } => (AdminRequest::Bans, flags),
            AdminCommand::Ban {
                who,
                duration,
                reason,
                flags,
            } => {
                let request = AdminRequest::Ban {
                    who,
                    duration,
                    reason,
                };
                (request, flags)
            }
            AdminCommand::Unban { who, flags } => (AdminRequest::Unban { who }, flags),
            AdminCommand::Unmute { who, flags } => (AdminRequest::Unmute { who }, flags),
            AdminCommand::Kick { who, reason, flags } => {
                (AdminRequest::Kick { who, reason }, flags)
            }
            AdminCommand::Redact {
                room,
                number,
                flags,
            } => {
                let seq = Seq(number);
                (AdminRequest::Redact { room, seq }, flags)
            }
            AdminCommand::Release { name, flags } => (AdminRequest::Release { name }, flags),
            AdminCommand::Operator {
                change,
                name,
                flags,
            } => {
                let operator = change == OperatorChange::Add;
                (AdminRequest::Operator { name, operator }, flags)
            }
            AdminCommand::Invite {
                room,
                uses,
                duration,
                flags,
            } => {
                let request = AdminRequest::Invite {
                    room,
                    uses,
                    duration,
                };
                (request, flags)
            }
            AdminCommand::Rooms { flags } => (AdminRequest::Rooms, flags),
            AdminCommand::Audit { limit, flags } => (AdminRequest::Audit { limit }, flags),
        }
    }
}
