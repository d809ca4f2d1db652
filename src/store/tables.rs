//! The tables, declared once for reading, writing, checking and comparing
//! stores. `docs/storage.md` explains each field.

use std::net::IpAddr;

use rusqlite::{Row, types::ValueRef};

use super::row::{ColumnValue, Table, TableRow, from_db, rows};
use crate::protocol::{
    About, AboutKind, Author, Change, ChangeKind, ConnectionId, Message, MessageKind, OwnerNumber,
    Redaction, Seq, Slot, Tag, WallTime,
    name::{Name, RoomName},
    text::Text,
};

rows! {
    /// The one row that says where the replica stands.
    StateRow in STATE "state" (|_| "the state of the store".into()) {
        /// Always 0.
        one: i64,
        /// The log's name in positions.
        epoch: &'a str,
        /// The position of the last batch applied.
        applied: Seq,
        /// The hash of everything applied.
        chain: &'a [u8],
        /// The log's clock: the highest guarded time of a batch, in
        /// milliseconds.
        clock: i64,
        /// The server's run and, in that run, the number of the last batch
        /// applied.
        incarnation: Seq,
        number: Seq,
        /// Every message up to this number has expired.
        expired: Seq,
        /// After this many milliseconds without use an owned name is free.
        name_expiry: i64,
        /// For so many milliseconds the author of a message may change it.
        edit_window: i64,
        /// The last owner number given.
        owners: OwnerNumber,
        /// The highest last number of a room whose row was removed.
        swept: Seq,
        /// The key by which addresses that were shown become tags of guests.
        guests: &'a [u8],
    }

    /// A log that this log continues.
    ParentRow in PARENTS "parents" (|row| format!("the parent log {:?}", text(row, 1))) {
        /// The position of its last batch.
        batch: Seq,
        epoch: &'a str,
        /// The last number that both logs have in common.
        upto: Seq,
    }

    /// A room, or an inbox.
    RoomRow in ROOMS "rooms" (|row| format!("the row of room {:?}", text(row, 1))) {
        id: i64,
        name: &'a str,
        /// The last number in the room; it stays when that message expires.
        last: Seq,
        /// How many messages the room ever had; 0 for an inbox.
        messages: i64,
        /// Whether only its members may enter.
        private: bool,
        /// The number of the last message that is no change of another one.
        said: Seq,
    }

    /// A message, its redaction, or a change of a message.
    MessageRow in MESSAGES "messages" (|row| format!("the message {}", number(row, 0))) {
        seq: Seq,
        /// The id of its room.
        room: i64,
        /// The number before it in its room.
        prev: Seq,
        /// How many messages the room had before it; in an inbox, how many the
        /// conversation had before it that its owner received.
        earlier: i64,
        /// When it was sealed, by the wall clock, in milliseconds.
        at: i64,
        /// The connection it came by.
        origin: ConnectionId,
        /// The author's name, if there was one.
        name: Option<&'a str>,
        /// The author's owner number; 0 if it owned no name. It is the scope of
        /// the id.
        owner: OwnerNumber,
        /// The author's tag.
        addr: &'a str,
        /// The address that the tag hides.
        address: Option<&'a str>,
        /// The text; empty once the message is redacted. A correction has none:
        /// its text is that of the message.
        text: &'a str,
        /// The publisher's id of the message.
        id: Option<&'a str>,
        /// The digest of the content first stored under the id, with its salt;
        /// absent once the message is redacted.
        content: Option<&'a [u8]>,
        /// The number of its `RowKind`.
        kind: i64,
        /// The reader of a private message.
        recipient: Option<&'a str>,
        /// The other person of a private message than the owner of the inbox.
        partner: Option<OwnerNumber>,
        /// The message that it answers or changes.
        about: Option<Seq>,
        /// When its author last corrected it, by the wall clock, in milliseconds.
        edited: Option<i64>,
        /// Whether it ever had a reaction.
        reacted: bool,
    }

    /// An owned name.
    NameRow in NAMES "names" (|row| format!("the owned name {:?}", text(row, 0))) {
        /// Its comparison key.
        key: &'a str,
        /// The name in the spelling of its claim.
        name: &'a str,
        /// The number of its owner. The rows of its other looks have it too.
        owner: OwnerNumber,
        salt: &'a [u8],
        /// HMAC-SHA-256 of the secret under the salt.
        tag: &'a [u8],
        /// When it was last used, by the log's clock, in milliseconds.
        used: i64,
        /// Every private message up to this number was delivered to its owner.
        delivered: Seq,
        /// 0 if its owner claimed it, 1 if an invitation admitted it, 2 if its
        /// owner is an operator.
        standing: i64,
    }

    /// A membership in a private room.
    MembershipRow in MEMBERSHIPS "memberships" (
        |row| format!("the membership of owner {} in room {:?}", number(row, 1), text(row, 0))
    ) {
        room: &'a str,
        owner: OwnerNumber,
        /// The name of the member.
        name: &'a str,
        /// Whether the member owns the room.
        owns: bool,
    }

    /// An invitation.
    InvitationRow in INVITATIONS "invitations" (
        |row| format!("the invitation {}", number(row, 0))
    ) {
        id: i64,
        /// SHA-256 of the token.
        token: &'a [u8],
        /// The room that it leads to.
        room: &'a str,
        /// The name or tag of its author.
        author: &'a str,
        /// The owner number of the author.
        owner: OwnerNumber,
        /// The standing that it gives, as in the table of names.
        gives: i64,
        /// Whether it also makes a member of the room.
        member: bool,
        /// How many more names it admits.
        uses: i64,
        /// When it ends, by the log's clock, in milliseconds.
        until: i64,
    }

    /// The use of an invitation.
    AdmissionRow in ADMISSIONS "admissions" (
        |row| format!("the use of invitation {} by owner {}", number(row, 0), number(row, 1))
    ) {
        invitation: i64,
        owner: OwnerNumber,
        /// The name that was admitted.
        name: &'a str,
    }

    /// A hook.
    HookRow in HOOKS "hooks" (
        |row| format!("the hook {:?} of room {:?}", text(row, 2), text(row, 0))
    ) {
        room: &'a str,
        /// The comparison key of its name.
        key: &'a str,
        name: &'a str,
        /// The owner number of its name.
        owner: OwnerNumber,
        /// SHA-256 of the token.
        token: &'a [u8],
        /// The name or tag of the person who made it.
        author: &'a str,
    }

    /// A name that the owner of another name ignores.
    IgnoredRow in IGNORED "ignored" (
        |row| format!("the list of names that owner {} ignores", number(row, 0))
    ) {
        owner: OwnerNumber,
        /// The comparison key of the ignored name.
        key: &'a str,
        /// The ignored name as its reader typed it.
        name: &'a str,
    }

    /// A place of the owner of a name: a room that it follows, or a private
    /// conversation.
    PlaceRow in PLACES "places" (
        |row| format!("the place {:?} of owner {}", text(row, 1), number(row, 0))
    ) {
        owner: OwnerNumber,
        /// The room; for a conversation, the inbox of the other person.
        room: &'a str,
        /// How much of it the owner is told: 0 nothing, 1 mentions, 2 all.
        level: i64,
        /// Every message of the place up to this number was read.
        read: Seq,
        /// The last number in a conversation; 0 for a room.
        last: Seq,
        /// How many messages of a conversation the owner ever received; 0 for
        /// a room.
        messages: i64,
        /// How many messages ever mentioned the owner while it followed the
        /// room.
        mentions: i64,
    }

    /// A mention of the owner of a name that it has not read.
    MentionRow in MENTIONS "mentions" (
        |row| format!("the mention of owner {} by the message {}", number(row, 0), number(row, 2))
    ) {
        owner: OwnerNumber,
        room: &'a str,
        /// The number of the message.
        seq: Seq,
        /// How many messages mentioned the owner in this room before it.
        earlier: i64,
    }

    /// A room's topic.
    TopicRow in TOPICS "topics" (|row| format!("the topic of {:?}", text(row, 0))) {
        room: &'a str,
        text: &'a str,
        /// The name or tag of its author.
        author: &'a str,
        /// When it was set, by the wall clock, in milliseconds.
        at: i64,
    }

    /// A sanction in force.
    SanctionRow in SANCTIONS "sanctions" (
        |row| format!("the sanction against {:?}", text(row, 1))
    ) {
        kind: &'a str,
        /// `@` and a name's key, or a prefix.
        target: &'a str,
        /// The target as the operator named it.
        shown: &'a str,
        /// When it ends, by the log's clock, in milliseconds.
        until: Option<i64>,
        reason: &'a str,
    }

    /// An audit record of an operator's action.
    AuditRow in AUDIT "audit" (|row| format!("the audit record {}", number(row, 0))) {
        id: i64,
        /// When the operator did it, by the wall clock, in milliseconds.
        at: i64,
        operator: &'a str,
        action: &'a str,
        target: &'a str,
        reason: &'a str,
    }
}

/// Every table, and the order in which its rows are compared and checked.
pub(super) static ALL: [(&Table, &str); 15] = [
    (&STATE, "one"),
    (&PARENTS, "batch"),
    (&ROOMS, "id"),
    (&MESSAGES, "seq"),
    (&NAMES, "key"),
    (&MEMBERSHIPS, "room, owner"),
    (&INVITATIONS, "id"),
    (&ADMISSIONS, "invitation, owner"),
    (&HOOKS, "room, key"),
    (&IGNORED, "owner, key"),
    (&PLACES, "owner, room"),
    (&MENTIONS, "owner, room, seq"),
    (&TOPICS, "room"),
    (&SANCTIONS, "kind, target"),
    (&AUDIT, "id"),
];

fn text(row: &Row<'_>, column: usize) -> String {
    row.get(column).unwrap_or_default()
}

fn number(row: &Row<'_>, column: usize) -> i64 {
    row.get(column).unwrap_or_default()
}

impl NameRow<'_> {
    /// Whether it only keeps others from a look of an owned name.
    pub(super) fn is_reserved(&self) -> bool {
        self.tag.is_empty()
    }
}

/// The kind of a row in the table of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowKind {
    /// Something said, perhaps redacted.
    Said,
    /// Something done.
    Me,
    /// A correction.
    Edit,
    /// The end of a reaction.
    Unreact,
    /// A reaction that has ended.
    PastReaction,
    /// A reaction in force. The index `reactions` has these rows.
    Reaction,
}

impl RowKind {
    /// All kinds, each at its number. SQL knows these numbers: those below 2 are
    /// messages.
    const ALL: [RowKind; 6] = [
        RowKind::Said,
        RowKind::Me,
        RowKind::Edit,
        RowKind::Unreact,
        RowKind::PastReaction,
        RowKind::Reaction,
    ];

    /// The kind of the row that a draft becomes.
    pub(super) fn of(kind: MessageKind, about: Option<About>) -> Self {
        match (about.map(|about| about.kind), kind) {
            (Some(AboutKind::Edit), _) => RowKind::Edit,
            (Some(AboutKind::React), _) => RowKind::Reaction,
            (Some(AboutKind::Unreact), _) => RowKind::Unreact,
            (_, MessageKind::Said) => RowKind::Said,
            (_, MessageKind::Me) => RowKind::Me,
        }
    }

    /// The number of the kind.
    pub(super) fn number(self) -> i64 {
        self as i64
    }
}

impl MessageRow<'_> {
    /// Whether it is a change of another message.
    pub(super) fn is_change(&self) -> bool {
        self.kind >= RowKind::Edit.number()
    }

    /// Whether the message is redacted: only then it has no text.
    pub(super) fn is_redacted(&self) -> bool {
        self.text.is_empty() && !self.is_change()
    }

    /// The message, change or redaction that the row holds; `None` if a field is
    /// invalid by today's rules. The slot `before` it lends its tag, because
    /// most authors send several messages.
    ///
    /// What other rows say of it is missing: the quote, reactions, and the text
    /// of a correction.
    pub(super) fn slot(&self, room: &RoomName, before: Option<&Slot>) -> Option<Slot> {
        let (seq, prev, at) = (self.seq, self.prev, WallTime(self.at));
        let id = match self.id {
            Some(id) => Some(id.parse().ok()?),
            None => None,
        };
        if self.is_redacted() {
            return Some(Slot::Redacted(Redaction { seq, prev, id }));
        }
        let (room, from) = (room.clone(), self.author(before)?);
        let number = usize::try_from(self.kind).ok()?;
        let kind = match RowKind::ALL.get(number)? {
            RowKind::Said => MessageKind::Said,
            RowKind::Me => MessageKind::Me,
            change => {
                let is_edit = *change == RowKind::Edit;
                return Some(Slot::Changed(Change {
                    seq,
                    prev,
                    room,
                    at,
                    about: self.about?,
                    kind: match change {
                        RowKind::Edit => ChangeKind::Edit,
                        RowKind::Unreact => ChangeKind::Unreact,
                        _ => ChangeKind::React,
                    },
                    from,
                    text: (!is_edit).then(|| Text::stored(self.text)),
                    reactions: None,
                    id,
                    connection: self.origin,
                }));
            }
        };
        Some(Slot::Message(Message {
            seq,
            prev,
            room,
            at,
            connection: self.origin,
            from,
            text: Text::stored(self.text),
            id,
            kind,
            to: match self.recipient {
                Some(name) => Some(Name::stored(name).ok()?),
                None => None,
            },
            about: self.about,
            quote: None,
            edited: self.edited.is_some(),
            edited_at: self.edited.map(WallTime),
            reactions: None,
        }))
    }

    /// The author; `None` if a field is invalid by today's rules.
    pub(super) fn author(&self, before: Option<&Slot>) -> Option<Author> {
        let is_of = |tag: &Tag| tag.as_str() == self.addr && tag.hidden() == self.address;
        let addr = match before.and_then(Slot::author) {
            Some((before, _)) if is_of(&before.addr) => before.addr.clone(),
            _ => {
                let hidden = match self.address {
                    Some(address) => Some(address.parse::<IpAddr>().ok()?),
                    None => None,
                };
                self.addr.parse::<Tag>().ok()?.hiding(hidden)
            }
        };
        Some(Author {
            name: match self.name {
                Some(name) => Some(Name::stored(name).ok()?),
                None => None,
            },
            addr,
            owner: Some(self.owner).filter(|owner| *owner != OwnerNumber::NONE),
        })
    }

    /// Whether a connection, or the owner of its name, is the author.
    pub(super) fn is_by(&self, connection: ConnectionId, owner: Option<OwnerNumber>) -> bool {
        let is_owner = owner.is_some_and(|owner| owner == self.owner);
        is_owner || connection != ConnectionId::SERVER && connection == self.origin
    }
}

/// The message number in a column.
pub(super) fn seq(row: &Row<'_>, column: usize) -> Seq {
    from_db(number(row, column))
}
