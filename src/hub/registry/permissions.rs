//! What people may do: enter rooms, try secrets, speak, and stay.

use super::{Registry, sanctions::SanctionTarget};
use crate::{
    log::SanctionKind,
    net::{Peer, Prefix},
    protocol::{
        OwnerNumber, Refusal,
        close::CloseReason,
        command_target::CommandTarget,
        name::{NameKey, RoomName},
    },
    store::{AccessChange, Sanction},
};

impl Registry {
    /// Whether only members may enter a room.
    pub(in crate::hub) fn is_private(&self, room: &RoomName) -> bool {
        self.shared.has_private_rooms() && self.shared.lock().access.is_private(room)
    }

    /// Checks that the owner of a name may enter a room.
    ///
    /// # Errors
    ///
    /// Refuses everybody but the members of a private room.
    pub(in crate::hub) fn check_access(
        &self,
        room: &RoomName,
        owner: Option<OwnerNumber>,
    ) -> Result<(), Refusal> {
        if !self.shared.has_private_rooms() {
            return Ok(());
        }
        self.shared.lock().access.check(room, owner)
    }

    /// Whether the owner of a name owns a private room.
    pub(in crate::hub) fn owns_room(&self, room: &RoomName, owner: Option<OwnerNumber>) -> bool {
        self.shared.lock().access.owns(room, owner)
    }

    /// Carries out changes of access. The conversations of those who may not
    /// stay where they are end, and get nothing more of the room.
    pub(in crate::hub) fn change_access(&self, changes: Vec<AccessChange>) {
        if !changes.is_empty() {
            self.shared.change_access(changes);
        }
    }

    /// Checks that a secret may be tried.
    ///
    /// # Errors
    ///
    /// Refuses if the prefix or the name had too many wrong secrets.
    pub(in crate::hub) fn check_guesses(
        &self,
        prefix: Option<Prefix>,
        name: Option<&NameKey>,
    ) -> Result<(), Refusal> {
        self.shared.lock().guesses.check(prefix, name)
    }

    /// Counts a wrong secret for its prefix, and for the name that it should
    /// prove.
    pub(in crate::hub) fn count_wrong_secret(
        &self,
        prefix: Option<Prefix>,
        name: Option<&NameKey>,
    ) {
        self.shared.lock().guesses.count(prefix, name);
    }

    /// Carries out a new sanction: ends the conversations that it bans.
    pub(in crate::hub) fn apply_sanction(&self, sanction: Sanction) {
        self.shared.sanctioned(sanction);
    }

    /// Removes a sanction that was lifted.
    pub(in crate::hub) fn lifted(&self, kind: SanctionKind, target: &str) {
        self.shared.lock().sanctions.remove(kind, target);
    }

    /// Whether at most `most` sanctions are in force with one more against this
    /// target.
    pub(in crate::hub) fn has_room_for_sanction(
        &self,
        kind: SanctionKind,
        target: &SanctionTarget,
        most: usize,
    ) -> bool {
        let sanctions = &self.shared.lock().sanctions;
        sanctions.has_room_for(kind, target, most)
    }

    /// All sanctions in force, each with the milliseconds left.
    pub(in crate::hub) fn sanctions(&self) -> Vec<(Sanction, Option<u64>)> {
        self.shared.lock().sanctions.list()
    }

    /// A sanction in force that holds for all of a target, as an operator named
    /// it.
    pub(in crate::hub) fn covering(
        &self,
        kind: SanctionKind,
        target: &SanctionTarget,
    ) -> Option<String> {
        self.shared.lock().sanctions.covering(kind, target)
    }

    /// Checks that the peer is not muted by its address.
    ///
    /// # Errors
    ///
    /// Refuses a muted peer, with the reason of the mute.
    pub(in crate::hub) fn check_mute(&self, peer: Peer) -> Result<(), Refusal> {
        self.shared
            .check_sanctions(None, |sanctions, _| sanctions.check_mute(peer.ip(), None))
    }

    /// Ends the conversations of a kicked target. Returns how many it ended.
    pub(in crate::hub) fn kick(&self, who: &CommandTarget, why: &CloseReason) -> usize {
        self.shared.lock().kicked(who, why)
    }
}
