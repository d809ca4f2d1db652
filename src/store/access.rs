//! What applying an entry changes in the access to rooms, and why it does not.

use crate::protocol::{
    OwnerNumber,
    name::{Name, RoomName},
};

/// A change of the access to rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessChange {
    /// The room is private now, and has no member yet.
    Closed {
        /// The room.
        room: RoomName,
    },
    /// The room is public now.
    Opened {
        /// The room.
        room: RoomName,
    },
    /// The owner of a name is a member of a private room now.
    Member {
        /// The room.
        room: RoomName,
        /// The member.
        owner: OwnerNumber,
        /// The name of the member.
        name: Name,
        /// Whether the member owns the room.
        owns: bool,
    },
    /// The owner of a name is no member of a private room any more.
    Left {
        /// The room.
        room: RoomName,
        /// The former member.
        owner: OwnerNumber,
    },
    /// The ownership of a name has ended.
    Ended(OwnerNumber),
    /// The owner of a name is an operator now, or an operator no more.
    Standing(OwnerNumber),
}

/// The reason why the author of an entry may not do what it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The author is no member of the private room.
    NotMember,
    /// The author does not own the private room.
    NotRoomOwner,
    /// The room is public.
    NotPrivate,
    /// The room has messages of others, or too many to look at.
    OthersSpoke,
    /// The name owns the most private rooms allowed.
    TooManyRooms,
    /// The room has the most members allowed.
    TooManyMembers,
    /// The named person is no member of the room.
    NoSuchMember,
    /// The room would have no member any more.
    LastMember,
    /// The room has the most invitations allowed.
    TooManyInvitations,
    /// There is no such invitation.
    NoInvitation,
    /// The room has the most hooks allowed.
    TooManyHooks,
    /// The message is of another author.
    NotAuthor,
    /// The author could change the message for a time, which has passed.
    TooLate,
    /// The message was corrected the most times allowed.
    TooManyEdits,
    /// The message has the most reactions allowed.
    TooManyReactions,
}
