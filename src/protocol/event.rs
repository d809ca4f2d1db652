//! The events that the server sends.

use serde::{Deserialize, Serialize};

use super::{
    Activity, Author, Change, Epoch, FollowLevel, Followed, Limits, MAX_TOPIC_BYTES, Message,
    PrivateMessage, Redaction, Refusal, RefusalCode, Seq, Slot, WallTime,
    name::{MessageId, Name, RoomName},
    secret::Secret,
    text::{Text, is_blank},
    typed_duration::TypedDuration,
};

/// An event: something that the server tells a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The first event, and the answer to `join`. The replay follows it.
    Welcome(Welcome),
    /// The replay is over; the subscriber is live from here on.
    Live {
        /// The replay reached this number. Every message up to it was sent, or
        /// belongs to another room.
        seq: Seq,
    },
    /// A message of the room.
    Message(Message),
    /// A message of the room was corrected, or has other reactions.
    Changed(Change),
    /// A private message. The server sends it to its author and its recipient,
    /// whichever rooms they are in.
    Private(PrivateMessage),
    /// A message was redacted. In a replay this event stands in the message's
    /// place and has `prev`. A reader that may have seen the message gets the
    /// event at once, without `prev`.
    Erased {
        /// The number of the message.
        seq: Seq,
        /// The number of the message before it in its room.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prev: Option<Seq>,
        /// The publisher's own id of the message, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
    },
    /// The messages between two numbers cannot be read.
    Gap {
        /// The last number that the reader has.
        after: Seq,
        /// The first number that it can read.
        next: Seq,
        /// The reason.
        reason: GapReason,
    },
    /// The receipt for a publisher that does not see its own messages, or that
    /// repeated an id.
    Accepted {
        /// The id that the message was published with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
        /// The number of the message; for a repeat, that of the original.
        seq: Seq,
        /// Whether the message had been stored before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        duplicate: bool,
    },
    /// The answer to `name`.
    Name {
        /// The name of the connection from now on.
        name: Name,
        /// The secret that proves the ownership of the name, if the server
        /// drew it. The server sends it only this once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<Secret>,
    },
    /// A private message is stored, and its recipient has no connection here.
    Away {
        /// The recipient.
        with: Name,
        /// The sentence for people.
        text: String,
    },
    /// The answer to `inbox`.
    Inbox {
        /// The last private messages, oldest first.
        messages: Vec<PrivateMessage>,
        /// Whether there are more messages before these.
        more: bool,
    },
    /// The answer to `ignore` and `unignore`.
    Ignored {
        /// The names whose messages are not for this reader.
        names: Vec<Name>,
    },
    /// There are new messages in a place that the connection is not in, or it
    /// was read on another connection. At most one a second for each place.
    Activity(Activity),
    /// The places of the name that the connection owns from now on. Those of a
    /// name that it owns from its start are in the welcome.
    Following {
        /// The places.
        following: Vec<Followed>,
    },
    /// The answer to `follow` and `unfollow`.
    Follow {
        /// The room.
        room: RoomName,
        /// How much of it is told; absent if the room is not followed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<FollowLevel>,
    },
    /// A person joined the room.
    Joined {
        /// The person.
        #[serde(flatten)]
        who: Author,
        /// The number of people in the room now.
        members: usize,
    },
    /// A person left the room.
    Left {
        /// The person.
        #[serde(flatten)]
        who: Author,
        /// The number of people in the room now.
        members: usize,
    },
    /// A person in the room has another name from now on.
    Renamed {
        /// The name before, or `IP:port`.
        from: String,
        /// The name now.
        to: Name,
    },
    /// The answer to `members`. Without names it is an event that replaces
    /// `joined` and `left` while too many people join and leave.
    Members {
        /// The names of the people, or `IP:port` of a person without one. If
        /// there are many, only a part of them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        names: Vec<String>,
        /// For operators only: the address of each of these people, empty where
        /// there is none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        addresses: Vec<String>,
        /// The number of people in the room.
        total: usize,
        /// The members of a private room, whether they are here or not. If
        /// there are many, only a part of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        members: Option<Vec<RoomMember>>,
    },
    /// The answer to `history` and to `search`.
    Page(PageEvent),
    /// The answer to `rooms`.
    Rooms {
        /// The rooms, the last spoken in first, then those without a message. At
        /// most [`MAX_LISTED_ROOMS`](super::MAX_LISTED_ROOMS) of them.
        rooms: Vec<RoomInfo>,
        /// The number of all rooms.
        total: usize,
        /// Whether there are rooms after these.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        more: bool,
    },
    /// The answer to `topic`; also sent to the room when its topic changes.
    Topic {
        /// The room.
        room: RoomName,
        /// The topic.
        #[serde(flatten)]
        topic: Topic,
    },
    /// The answer to `invite`.
    Invite(Invite),
    /// The answer to `invites`.
    Invites {
        /// The open invitations, oldest first, without their URLs.
        invites: Vec<Invite>,
    },
    /// The answer to `hook`.
    Hook(HookInfo),
    /// The answer to `hooks`.
    Hooks {
        /// The hooks of the room, by name, without their URLs.
        hooks: Vec<HookInfo>,
    },
    /// The answer to `link`.
    Link(Link),
    /// The server refused a command; the connection stays open.
    Refused(Refusal),
    /// A sentence for a person to read.
    Notice {
        /// The sentence.
        text: String,
    },
    /// The answer to `history` of a private conversation; its type is `page`.
    #[serde(untagged)]
    Conversation(ConversationPage),
}

impl Event {
    /// The event about a recipient without a connection.
    pub fn away(with: Name) -> Self {
        let text = format!("{with} is away and will see it when back.");
        Event::Away { with, text }
    }
}

impl From<Redaction> for Event {
    fn from(Redaction { seq, prev, id }: Redaction) -> Event {
        let prev = Some(prev);
        Event::Erased { seq, prev, id }
    }
}

/// The topic of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// One line; empty if the room has no topic.
    pub text: Text,
    /// The author of the topic: a name, or `IP:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The time when it was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<WallTime>,
}

impl Topic {
    /// The topic of a room that has none.
    pub fn none() -> Self {
        Topic {
            text: String::new().into(),
            by: None,
            at: None,
        }
    }

    /// Makes the text of a new topic safe.
    ///
    /// # Errors
    /// Refuses a text of more than [`MAX_TOPIC_BYTES`] bytes or more than one line.
    pub fn parse_text(raw: &str) -> Result<Text, Refusal> {
        let text = if is_blank(raw) { "" } else { raw.trim() };
        let text = Text::from(text);
        if text.len() > MAX_TOPIC_BYTES {
            let (length, most) = (text.len(), MAX_TOPIC_BYTES);
            let why = format!("The topic has {length} bytes; at most {most} are taken.");
            return Err(Refusal::new(RefusalCode::TooLong, why));
        }
        if text.contains('\n') {
            let why = "A topic is one line.";
            return Err(Refusal::new(RefusalCode::BadField, why));
        }
        Ok(text)
    }
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// Its number, by which it is taken back.
    pub id: u64,
    /// The room that it leads to.
    pub room: RoomName,
    /// The name or tag of its author.
    pub by: String,
    /// How many more names it admits.
    pub uses: u32,
    /// For how long it is valid.
    #[serde(rename = "for")]
    pub duration: TypedDuration,
    /// The URL with the token. The server tells it only this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A hook: a program that knows its URL publishes in its room, under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookInfo {
    /// The author of its messages.
    pub name: Name,
    /// The room in which they appear.
    pub room: RoomName,
    /// The name or tag of the person who made it.
    pub by: String,
    /// The URL. The server tells it only this once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A URL that makes another device the owner of a name, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The URL.
    pub url: String,
    /// For how long it is valid.
    #[serde(rename = "for")]
    pub duration: TypedDuration,
    /// The rows of its QR code, with `#` for a dark module.
    pub qr: Vec<String>,
}

/// A member of a private room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomMember {
    /// The name.
    pub name: Name,
    /// Whether the member owns the room.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub owner: bool,
}

/// The last message of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastMessage {
    /// Its number.
    pub seq: Seq,
    /// When it was stored; absent if its row is damaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<WallTime>,
}

/// A room, as `rooms` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomInfo {
    /// The name of the room.
    pub room: RoomName,
    /// The number of people in it.
    pub members: usize,
    /// Its last message, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastMessage>,
    /// Its topic, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Text>,
}

/// The first event of a conversation or of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The room that the connection is now in.
    pub room: RoomName,
    /// How this connection is shown to others.
    pub you: Author,
    /// The epoch of the log that the numbers belong to.
    pub epoch: Epoch,
    /// The last number of the log at this moment.
    pub head: Seq,
    /// The messages of the room after this number follow. Present only if the
    /// reader gave a position of a log that this log continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Seq>,
    /// The private messages after this number follow. Present only if the
    /// connection has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbox: Option<Seq>,
    /// How many private messages the owner of the name was not delivered yet.
    /// Those up to `inbox` do not follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<u32>,
    /// The names that the reader ignores. A client hides what they say in
    /// rooms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<Name>,
    /// The places of the name, if the connection owns one: the rooms that it
    /// follows, then its private conversations. Only in the first welcome.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub following: Vec<Followed>,
    /// The number of people in the room, this one included.
    pub members: usize,
    /// The topic of the room, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Text>,
    /// Name and version of the server.
    pub server: String,
    /// The limits of the server.
    pub limits: Limits,
}

/// A page of messages of the room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageEvent {
    /// The last messages that match, oldest first.
    pub messages: Vec<Slot>,
    /// Whether there are more messages before these.
    pub more: bool,
    /// The search, if this is the answer to one.
    #[serde(flatten)]
    pub search: Option<Search>,
}

/// A page of messages of a private conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationPage {
    /// The type in JSON.
    #[serde(rename = "type")]
    kind: PageType,
    /// The other person.
    pub with: Name,
    /// The last private messages that match, oldest first.
    pub messages: Vec<PrivateMessage>,
    /// Whether there are more messages before these.
    pub more: bool,
    /// Whether the other person has no connection here; false without messages,
    /// so that nobody asks about a stranger.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub away: bool,
}

impl ConversationPage {
    /// A page of the conversation with a person, who is here or not.
    pub fn new(with: Name, messages: Vec<PrivateMessage>, more: bool, is_here: bool) -> Self {
        ConversationPage {
            kind: PageType::Page,
            with,
            away: !is_here && !messages.is_empty(),
            messages,
            more,
        }
    }
}

/// The type of a page in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PageType {
    Page,
}

/// The search that a page answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// The words of the search.
    pub query: String,
    /// The search covered the messages up to this number. The index soon covers
    /// later ones too.
    pub indexed: Seq,
}

/// The reason why a part of the log cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The reader's position belongs to another log. The replay starts after the
    /// last message that both logs have; if there is none, at the beginning.
    Epoch,
    /// The messages have expired.
    #[serde(rename = "erased")]
    Expired,
    /// The messages are damaged. The server shows no message that may be wrong.
    Damaged,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}
