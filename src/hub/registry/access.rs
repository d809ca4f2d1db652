//! The access to rooms: the private rooms and their members.
//!
//! Everything that reads, publishes in or lists a room asks here.

use std::collections::{BTreeMap, HashMap};

use crate::{
    protocol::{
        OwnerNumber, Refusal, RefusalCode, RoomMember,
        name::{Name, RoomName},
    },
    store::AccessChange,
};

/// The private rooms. All others are open to everybody.
#[derive(Debug, Default)]
pub(super) struct Access {
    private: HashMap<RoomName, Members>,
}

/// The members of a private room, by their owner numbers.
type Members = BTreeMap<OwnerNumber, Member>;

#[derive(Debug)]
struct Member {
    name: Name,
    /// Whether the member owns the room.
    owns: bool,
}

impl Access {
    /// The access after these changes.
    pub(super) fn new(changes: Vec<AccessChange>) -> Self {
        let mut access = Access::default();
        for change in changes {
            access.change(change);
        }
        access
    }

    /// Whether every room is open to everybody.
    pub(super) fn is_open(&self) -> bool {
        self.private.is_empty()
    }

    pub(super) fn change(&mut self, change: AccessChange) {
        match change {
            AccessChange::Closed { room } => {
                self.private.insert(room, Members::new());
            }
            AccessChange::Opened { room } => {
                self.private.remove(&room);
            }
            AccessChange::Member {
                room,
                owner,
                name,
                owns,
            } => {
                if let Some(members) = self.private.get_mut(&room) {
                    members.insert(owner, Member { name, owns });
                }
            }
            AccessChange::Left { room, owner } => {
                if let Some(members) = self.private.get_mut(&room) {
                    members.remove(&owner);
                }
            }
            // Its memberships ended before.
            AccessChange::Ended(_) | AccessChange::Standing(_) => {}
        }
    }

    /// Whether only members may enter a room.
    pub(super) fn is_private(&self, room: &RoomName) -> bool {
        self.private.contains_key(room)
    }

    /// Whether the owner of a name may enter a room.
    pub(super) fn allows(&self, room: &RoomName, owner: Option<OwnerNumber>) -> bool {
        let members = self.private.get(room);
        members.is_none_or(|members| owner.is_some_and(|owner| members.contains_key(&owner)))
    }

    /// Whether the owner of a name owns a private room.
    pub(super) fn owns(&self, room: &RoomName, owner: Option<OwnerNumber>) -> bool {
        let members = self.private.get(room).zip(owner);
        let member = members.and_then(|(members, owner)| members.get(&owner));
        member.is_some_and(|member| member.owns)
    }

    /// Checks that the owner of a name may enter a room.
    ///
    /// # Errors
    ///
    /// Refuses everybody else. The refusal tells only that the room is private.
    pub(super) fn check(&self, room: &RoomName, owner: Option<OwnerNumber>) -> Result<(), Refusal> {
        if self.allows(room, owner) {
            return Ok(());
        }
        let text = format!(
            "{room} is a private room, and only its members may enter: ask one of its owners for an invitation."
        );
        Err(Refusal::new(RefusalCode::NotAllowed, text))
    }

    /// The members of a private room, at most `most`, in the order of their names'
    /// ages; `None` for a public room.
    pub(super) fn members(&self, room: &RoomName, most: usize) -> Option<Vec<RoomMember>> {
        let members = self.private.get(room)?.values().take(most);
        let members = members.map(|member| RoomMember {
            name: member.name.clone(),
            owner: member.owns,
        });
        Some(members.collect())
    }
}
