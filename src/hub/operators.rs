//! The first operator by name, by an invitation.

use std::io;

use crate::{
    fanout::Applier,
    log::{Action, InvitationDraft, Standing},
    protocol::{OwnerNumber, name::RoomName, token::Token},
    store::{Outcome, Replica},
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
pub fn invite_first_operator(replica: Replica) -> io::Result<(Replica, Option<Token>)> {
    if replica.has_admitted_names().map_err(io::Error::other)? {
        return Ok((replica, None));
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    let token = Token::from_random(random);
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
