//! The commands that a client sends.

pub mod table;

use serde::{Deserialize, Serialize};

use super::{
    Epoch, FollowLevel, PublishKind, Refusal, RefusalCode, Seq,
    command_target::CommandTarget,
    name::{MessageId, Name, RoomName},
    place::WatchedRooms,
    secret::Secret,
    token::Token,
    typed_duration::TypedDuration,
};

/// The refusal of a reply to no message.
pub fn nobody_to_answer() -> Refusal {
    let text = "You have no private message to answer: /msg NAME TEXT begins.";
    Refusal::new(RefusalCode::NotHere, text)
}

/// The position at which a subscriber starts to read a room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Resume after this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Seq>,
    /// The epoch of the log that `after` belongs to; absent: the current log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// Without `after`: the number of last messages to start with, at most
    /// [`MAX_BACKLOG`](super::MAX_BACKLOG).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<u32>,
    /// The number after which private messages start, in place of `after`. Only
    /// the start of a connection that owns its name uses it.
    #[serde(skip)]
    pub inbox: Option<Seq>,
}

/// The messages among which a typed command means the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastOf {
    /// All messages of the room.
    All,
    /// Those of the person that types.
    Own,
}

impl LastOf {
    /// The messages that something of this kind may be about.
    pub fn for_kind(kind: PublishKind) -> Self {
        match kind {
            PublishKind::Edit => LastOf::Own,
            _ => LastOf::All,
        }
    }
}

/// A command: something that a client asks of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    /// Publishes a message. The same `id` in the same room is stored once.
    Publish {
        /// The text as the client sent it. The server makes it safe, and refuses
        /// one that is over the limit.
        text: String,
        /// The client's own id of the message, so that it can be sent again
        /// and still be stored once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
        /// The kind of the text, a correction for example.
        #[serde(default, skip_serializing_if = "PublishKind::is_said")]
        kind: PublishKind,
        /// The number of the message of the room that it answers or changes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<Seq>,
        /// The id of the message that the client sent before this one. If the
        /// server refused that one for now, it refuses this one too. The client
        /// can then send both again in order.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follows: Option<MessageId>,
    },
    /// Takes a display name and owns it.
    Name {
        /// The name to take.
        name: Name,
        /// The secret that proves the ownership of the name. If the name has no
        /// owner, this secret proves it from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<Secret>,
    },
    /// Sends a private message to one person. The same `id` of the same sender
    /// is stored once.
    Private {
        /// The name of that person.
        to: Name,
        /// As in [`Command::Publish`].
        text: String,
        /// As in [`Command::Publish`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
        /// As in [`Command::Publish`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follows: Option<MessageId>,
    },
    /// Answers the last private message to this reader; only typed.
    #[serde(skip)]
    Reply {
        /// As in [`Command::Publish`].
        text: String,
    },
    /// Publishes something about a message of the room; only typed.
    #[serde(skip)]
    About {
        /// The number of the message; absent for the last one that fits.
        about: Option<Seq>,
        /// What to publish.
        kind: PublishKind,
        /// As in [`Command::Publish`].
        text: String,
    },
    /// Erases a message of one's own; only typed.
    #[serde(skip)]
    Delete {
        /// The number of the message; absent for the last one.
        seq: Option<Seq>,
    },
    /// Asks for a page of this reader's private messages.
    Inbox {
        /// Only messages before this number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Seq>,
        /// The most messages to return, as in [`Command::History`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// Hides what a name says from this reader, or asks for the hidden names.
    Ignore {
        /// The name; absent to ask for the list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Name>,
    },
    /// Shows what a name says again.
    Unignore {
        /// The name.
        name: Name,
    },
    /// Enters a room, or starts over in the current one.
    Join {
        /// The room to enter.
        room: RoomName,
        /// The position at which to start in that room.
        #[serde(flatten)]
        start: Start,
    },
    /// Asks for the people in the room.
    Members,
    /// Asks for a history page of the room, or of a private conversation.
    History {
        /// The other person of a private conversation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with: Option<Name>,
        /// Only messages before this number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Seq>,
        /// The most messages to return, at most
        /// [`MAX_HISTORY_PAGE`](super::MAX_HISTORY_PAGE); absent:
        /// [`HISTORY_PAGE`](super::HISTORY_PAGE).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// Searches the messages of the room.
    Search {
        /// The words to find. A result has all of them; the last one matches
        /// the beginning of a word too.
        query: String,
        /// Only messages before this number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Seq>,
        /// The most messages to return, as in [`Command::History`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
    /// Asks for the rooms that have messages or members.
    Rooms {
        /// The last room of the page before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<RoomName>,
    },
    /// Follows a room, or changes how much of it is told.
    Follow {
        /// The room; absent for the room that the connection is in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<RoomName>,
        /// How much of it is told; absent: everything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<FollowLevel>,
    },
    /// Follows or watches a room no more.
    Unfollow {
        /// The room; absent for the room that the connection is in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<RoomName>,
    },
    /// Stores how far a place was read: a room, or a private conversation.
    Read {
        /// The room, if the place is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<RoomName>,
        /// The other person of a private conversation, if the place is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with: Option<Name>,
        /// Every message up to this number was read.
        seq: Seq,
    },
    /// Asks for the activity of rooms without an owned name.
    Watch {
        /// The rooms, each with the number up to which it was read.
        rooms: WatchedRooms,
    },
    /// Asks for the topic of the room, or sets it.
    Topic {
        /// The new topic; empty to remove the topic, absent to ask for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    /// Makes this connection an operator's.
    Operator {
        /// The operators' secret.
        secret: String,
    },
    /// Closes the connections of a person; for operators.
    Kick {
        /// The target: a name, an address, a prefix or one connection.
        who: CommandTarget,
        /// The reason, which the person is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Closes the connections of a person and refuses new ones; for operators.
    Ban {
        /// The target: a name, an address or a prefix.
        who: CommandTarget,
        /// The duration; absent: until an operator lifts the ban.
        #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
        duration: Option<TypedDuration>,
        /// The reason, which the person is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Lifts a ban; for operators.
    Unban {
        /// The target of the ban.
        who: CommandTarget,
    },
    /// Stops a person from publishing; for operators.
    Mute {
        /// The target: a name, an address or a prefix.
        who: CommandTarget,
        /// The duration; absent: until an operator lifts the mute.
        #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
        duration: Option<TypedDuration>,
    },
    /// Lifts a mute; for operators.
    Unmute {
        /// The target of the mute.
        who: CommandTarget,
    },
    /// Asks for the bans and mutes in force; for operators.
    Bans,
    /// Redacts a message of the room: one's own, or as an operator any.
    Erase {
        /// The number of the message.
        seq: Seq,
    },
    /// Makes a room private or public.
    Access {
        /// The room; absent for the room that the connection is in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<RoomName>,
        /// Whether only members may enter it from now on.
        private: bool,
    },
    /// Makes an invitation to the room, or uses one.
    Invite {
        /// How many names it admits; absent: one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uses: Option<u32>,
        /// How long it is valid; absent: 7 days.
        #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
        duration: Option<TypedDuration>,
        /// The token of the invitation to use.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Token>,
    },
    /// Asks for the open invitations.
    Invites,
    /// Takes back an invitation.
    Uninvite {
        /// The number of the invitation.
        id: u64,
    },
    /// Removes a member from the private room.
    Remove {
        /// The name of the member.
        name: Name,
    },
    /// Makes a member an owner of the private room.
    Owner {
        /// The name of the member.
        name: Name,
    },
    /// Makes a URL that makes another device the owner of this name, once.
    Link {
        /// The secret of the name, which the other device gets.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<Secret>,
    },
    /// Makes a hook: a URL by which a program publishes in the room.
    Hook {
        /// The author of its messages.
        name: Name,
    },
    /// Asks for the hooks of the room.
    Hooks,
    /// Ends a hook of the room.
    Unhook {
        /// The author of its messages.
        name: Name,
    },
    /// Frees a name whose secret is lost; for operators.
    Release {
        /// The name.
        name: Name,
    },
    /// Asks for the list of commands; plain format only.
    #[serde(skip)]
    Help,
}

impl Command {
    /// Addresses a [`Command::Reply`] to the author of the `last` private
    /// message; any other command stays as it is.
    ///
    /// # Errors
    /// Refuses a reply if there was no private message.
    pub fn addressed(self, last: Option<&Name>) -> Result<Self, Refusal> {
        let Command::Reply { text } = self else {
            return Ok(self);
        };
        let to = last.cloned().ok_or_else(nobody_to_answer)?;
        Ok(Command::Private {
            to,
            text,
            id: None,
            follows: None,
        })
    }

    /// Has a [`Command::About`] or [`Command::Delete`] name the message it is
    /// about: `last` finds the last one, or the last of one's own. Any other
    /// command stays as it is.
    ///
    /// # Errors
    /// Refuses if there is no such message.
    pub fn referring(self, last: impl FnOnce(LastOf) -> Option<Seq>) -> Result<Self, Refusal> {
        let nothing = || Refusal::new(RefusalCode::NotHere, "There is no such message here.");
        Ok(match self {
            Command::About { about, kind, text } => {
                let last = || last(LastOf::for_kind(kind));
                let about = about.or_else(last).ok_or_else(nothing)?;
                Command::Publish {
                    text,
                    id: None,
                    kind,
                    about: Some(about),
                    follows: None,
                }
            }
            Command::Delete { seq } => Command::Erase {
                seq: seq.or_else(|| last(LastOf::Own)).ok_or_else(nothing)?,
            },
            other => other,
        })
    }

    /// The declaration of this command in the [table](table::TABLE).
    pub fn spec(&self) -> Option<&'static table::CommandSpec> {
        let kind = match self {
            Command::Publish { .. } => "publish",
            Command::Name { .. } => "name",
            Command::Private { .. } => "private",
            Command::Inbox { .. } => "inbox",
            Command::Ignore { .. } => "ignore",
            Command::Unignore { .. } => "unignore",
            Command::Join { .. } => "join",
            Command::Members => "members",
            Command::History { .. } => "history",
            Command::Search { .. } => "search",
            Command::Rooms { .. } => "rooms",
            Command::Follow { .. } => "follow",
            Command::Unfollow { .. } => "unfollow",
            Command::Read { .. } => "read",
            Command::Watch { .. } => "watch",
            Command::Topic { .. } => "topic",
            Command::Operator { .. } => "operator",
            Command::Kick { .. } => "kick",
            Command::Ban { .. } => "ban",
            Command::Unban { .. } => "unban",
            Command::Mute { .. } => "mute",
            Command::Unmute { .. } => "unmute",
            Command::Bans => "bans",
            Command::Erase { .. } => "erase",
            Command::Access { .. } => "access",
            Command::Invite { .. } => "invite",
            Command::Invites => "invites",
            Command::Uninvite { .. } => "uninvite",
            Command::Remove { .. } => "remove",
            Command::Owner { .. } => "owner",
            Command::Link { .. } => "link",
            Command::Hook { .. } => "hook",
            Command::Hooks => "hooks",
            Command::Unhook { .. } => "unhook",
            Command::Release { .. } => "release",
            Command::Reply { .. } => return table::by_word("r"),
            Command::About { kind, .. } => {
                let known = PublishKind::ALL.iter().find(|(_, known)| known == kind);
                return known.and_then(|(word, _)| table::by_word(word));
            }
            Command::Delete { .. } => return table::by_word("delete"),
            Command::Help => return table::by_word("help"),
        };
        table::by_json_type(kind)
    }
}
