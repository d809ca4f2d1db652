//! Operators by name: the first one, by an invitation, and others, while no
//! server runs.

use std::{io, path::Path};

use crate::{
    fanout::Applier,
    log::{Action, InvitationDraft, Standing},
    protocol::{
        OwnerNumber,
        invite_token::InviteToken,
        name::{Name, RoomName},
    },
    store::{self, Outcome, Replica, Storage},
};

/// How long the invitation of the first user is valid, in milliseconds: 90 days.
/// Each start makes a new one until somebody uses it.
const VALID_MS: u64 = 90 * 24 * 60 * 60 * 1000;

/// If no name is admitted yet, makes an invitation for the first one, who becomes
/// an operator. It replaces the one before. Returns its token.
///
/// # Errors
///
/// Fails if the store cannot be read or written.
pub fn invite_first_operator(replica: Replica) -> io::Result<(Replica, Option<InviteToken>)> {
    if replica.has_admitted_names().map_err(io::Error::other)? {
        return Ok((replica, None));
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    let token = InviteToken::from_random(random);
    let mut applier = Applier::local(replica).map_err(io::Error::other)?;
    let action = Action::Invite(InvitationDraft {
        token: token.digest(),
        room: RoomName::lobby(),
        gives: Standing::Operator,
        uses: 1,
        duration_ms: VALID_MS,
        by: OwnerNumber::NONE,
        author: "server".to_owned(),
        operator: true,
    });
    match applier.apply_action(action).map_err(io::Error::other)? {
        Outcome::Invited(_) => Ok((applier.into_replica(), Some(token))),
        _ => Err(io::Error::other(
            "the lobby is private, so the first user cannot be invited to it",
        )),
    }
}

/// Makes the owner of a name an operator, or an operator no more.
///
/// # Errors
///
/// Fails if there is no history, a server uses it, nobody owns the name, or the
/// change cannot be stored.
pub fn set_operator(folder: &Path, name: &Name, operator: bool) -> io::Result<()> {
    let place = folder.display();
    if !folder.join("chat.sqlite").exists() {
        return Err(io::Error::other(format!(
            "there is no history in {place}: give the folder with --data"
        )));
    }
    let holder = format!("process {}, server operator", std::process::id());
    let storage = Storage::Folder(folder.to_owned());
    let (replica, _store) = store::open(&storage, &holder).map_err(io::Error::other)?;
    let mut applier = Applier::local(replica).map_err(io::Error::other)?;
    let key = name.key();
    let outcome = applier.apply_action(Action::SetOperator { key, operator });
    match outcome.map_err(io::Error::other)? {
        Outcome::NotHere => Err(io::Error::other(format!(
            "nobody owns the name {name}: take it in the chat first, with /name {name}"
        ))),
        _ => Ok(()),
    }
}
