//! Applies entries on invitations.

use super::Applying;
use crate::{
    log::{Admitted, AuditRecord, InvitationDraft, Standing},
    protocol::{
        OwnerNumber,
        name::{Name, NameKey, RoomName},
    },
    store::{
        Denial, Invitation, Outcome, Ownership, StoreError, memberships,
        row::{TableRow, find, owner_to_db},
        tables::{ADMISSIONS, AdmissionRow, INVITATIONS, InvitationRow, NAMES, NameRow},
    },
};

/// How many invitations to one room may be open.
const MAX_INVITATIONS: u32 = 100;

impl Applying<'_> {
    /// Makes an invitation, as an operator asks; for a private room, as an owner
    /// of it or an operator who is a member asks. One that makes an operator
    /// replaces the one before.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn invite(&mut self, new: &InvitationDraft) -> Result<Outcome, StoreError> {
        let member = self.is_private(&new.room)?;
        if !self.manages(&new.room, new.by, new.operator)? {
            return Ok(Outcome::Denied(Denial::NotRoomOwner));
        }
        let clock = self.state.clock;
        self.delete_invitations("until <= ?1", [clock.0])?;
        if new.gives == Standing::Operator {
            self.delete_invitations("gives = ?1", [Standing::Operator.stored()])?;
        }
        let open: u32 = self
            .db
            .prepare_cached("SELECT count(*) FROM invitations WHERE room = ?1")?
            .query_row([new.room.as_str()], |row| row.get(0))?;
        if open >= MAX_INVITATIONS {
            return Ok(Outcome::Denied(Denial::TooManyInvitations));
        }
        let last = find(
            self.db,
            &INVITATIONS,
            "ORDER BY id DESC LIMIT 1",
            [],
            |row| row.get::<_, i64>(0),
        )?;
        let id = last.transpose()?.unwrap_or(0) + 1;
        InvitationRow {
            id,
            token: &new.token,
            room: new.room.as_str(),
            author: &new.author,
            owner: new.by,
            gives: new.gives.stored(),
            member,
            uses: new.uses.into(),
            until: clock.plus(new.duration_ms).0,
        }
        .put(self.db)?;
        // The invitation of the first user is nobody's act, and a member's is no operator's.
        if new.operator && !member && new.gives != Standing::Operator {
            self.record(&AuditRecord {
                operator: new.author.clone(),
                act: format!("invite {}", new.uses),
                target: new.room.to_string(),
                reason: String::new(),
            })?;
        }
        Ok(Outcome::Invited(id.cast_unsigned()))
    }

    /// Takes back an invitation, as its author, an owner of its private room or
    /// an operator asks.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn uninvite(
        &mut self,
        id: u64,
        by: OwnerNumber,
        operator: bool,
    ) -> Result<Outcome, StoreError> {
        let id = id.cast_signed();
        let found = find(
            self.db,
            &INVITATIONS,
            "WHERE id = ?1",
            [id],
            Invitation::read,
        )?;
        let Some(found) = found.flatten() else {
            return Ok(Outcome::Denied(Denial::NoInvitation));
        };
        let may = operator
            || found.owner == by && by != OwnerNumber::NONE
            || memberships::owns(self.db, &found.room, by)? == Some(true);
        if !may {
            // Others do not learn that there is one.
            return Ok(Outcome::Denied(Denial::NoInvitation));
        }
        self.delete_invitations("id = ?1", [id])?;
        Ok(Outcome::Done)
    }

    /// Admits a name by an invitation. A name that is admitted already takes no
    /// use. A name that was removed is not admitted again by the same invitation.
    ///
    /// # Errors
    /// Fails if the database cannot be read or written.
    pub(super) fn admit(
        &mut self,
        token: &[u8; 32],
        name: &Name,
        key: &NameKey,
        whom: &Admitted,
    ) -> Result<Outcome, StoreError> {
        let none = Outcome::Denied(Denial::NoInvitation);
        let condition = "WHERE token = ?1";
        let found = find(
            self.db,
            &INVITATIONS,
            condition,
            [token.as_slice()],
            Invitation::read,
        )?;
        let Some(found) = found.flatten() else {
            return Ok(none);
        };
        let joins = found.member && self.is_private(&found.room)?;
        let is_open = found.is_open(self.state.clock);
        let ownership = match whom {
            Admitted::Owner(owner) => {
                let Some(ownership) = self.ownership(key, *owner)? else {
                    return Ok(none);
                };
                let is_member =
                    !joins || memberships::owns(self.db, &found.room, *owner)?.is_some();
                if is_member && ownership.standing >= found.gives {
                    return Ok(Outcome::Admitted(ownership));
                }
                if !is_open || self.was_admitted(&found, *owner)? {
                    return Ok(none);
                }
                ownership
            }
            Admitted::New { .. } if !is_open => return Ok(none),
            Admitted::New { .. } if joins && self.is_full(&found.room)? => {
                return Ok(Outcome::Denied(Denial::TooManyMembers));
            }
            Admitted::New { salt, tag } => match self.claim(name, key, salt, tag)? {
                Outcome::Claimed(ownership) => ownership,
                refused => return Ok(refused),
            },
        };
        if joins && self.is_full(&found.room)? {
            return Ok(Outcome::Denied(Denial::TooManyMembers));
        }
        self.use_invitation(token, &found, ownership.owner, name)?;
        let standing = ownership.standing.max(found.gives);
        self.change_name(key, |row| {
            Some(NameRow {
                standing: standing.stored(),
                ..row
            })
        })?;
        if joins {
            self.add_member(&found.room, ownership.owner, name)?;
        }
        Ok(Outcome::Admitted(Ownership {
            standing,
            ..ownership
        }))
    }

    /// The ownership of a name, if it still has this owner.
    fn ownership(
        &self,
        key: &NameKey,
        owner: OwnerNumber,
    ) -> Result<Option<Ownership>, StoreError> {
        let found = find(self.db, &NAMES, "WHERE key = ?1", [key.as_str()], |row| {
            let row = NameRow::read(row).filter(|row| !row.is_reserved() && row.owner == owner)?;
            Some(Ownership {
                owner,
                delivered: row.delivered,
                standing: Standing::from_stored(row.standing),
            })
        })?;
        Ok(found.flatten())
    }

    fn was_admitted(&self, by: &Invitation, owner: OwnerNumber) -> Result<bool, StoreError> {
        let condition = "WHERE invitation = ?1 AND owner = ?2";
        let key = (by.id.cast_signed(), owner_to_db(owner));
        Ok(find(self.db, &ADMISSIONS, condition, key, |_| ())?.is_some())
    }

    fn use_invitation(
        &mut self,
        token: &[u8; 32],
        used: &Invitation,
        owner: OwnerNumber,
        name: &Name,
    ) -> Result<(), StoreError> {
        InvitationRow {
            id: used.id.cast_signed(),
            token,
            room: used.room.as_str(),
            author: &used.author,
            owner: used.owner,
            gives: used.gives.stored(),
            member: used.member,
            uses: i64::from(used.uses) - 1,
            until: used.until.0,
        }
        .put(self.db)?;
        AdmissionRow {
            invitation: used.id.cast_signed(),
            owner,
            name: name.as_str(),
        }
        .put(self.db)
    }

    /// Ends the invitations that make members of a room.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(super) fn end_invitations(&mut self, room: &RoomName) -> Result<(), StoreError> {
        self.delete_invitations("member AND room = ?1", [room.as_str()])
    }

    /// Deletes the invitations under a condition.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    pub(super) fn delete_invitations(
        &mut self,
        condition: &str,
        value: impl rusqlite::Params + Copy,
    ) -> Result<(), StoreError> {
        for deletion in [
            format!(
                "DELETE FROM admissions WHERE invitation IN (SELECT id FROM invitations WHERE {condition})"
            ),
            format!("DELETE FROM invitations WHERE {condition}"),
        ] {
            self.db.prepare_cached(&deletion)?.execute(value)?;
        }
        Ok(())
    }
}
