//! Lets a request into the chat and into a room, or refuses it.

use http::{HeaderValue, StatusCode, header};

use super::{answer::Refused, query::Query};
use crate::{
    hub::{Hub, NameUse, Registration},
    protocol::{RefusalCode, name::RoomName},
};

/// Lets a request into a room; without a room, into the chat. Returns the use of
/// its name, if it had to prove one.
///
/// # Errors
///
/// Fails with 401 if only admitted names take part and this is none. Fails with
/// 403 if the room is private and the name is no member's, and if the invitation
/// is not valid. Fails with 429 after too many wrong secrets.
pub(super) async fn enter(
    hub: &Hub,
    registration: &Registration,
    room: Option<&RoomName>,
    query: &mut Query,
) -> Result<Option<NameUse>, Refused> {
    let secret = query.secret.clone();
    let proved = if let Some(token) = query.invitation.take() {
        let (Some(name), Some(secret)) = (&query.name, secret) else {
            return Err(Refused::bad_request(
                "An invitation needs a name (?name=NAME) and a secret for it (Authorization: Bearer SECRET).",
            ));
        };
        Some(hub.admit(name, &secret, &token, registration).await?)
    } else if hub.is_by_invitation() || room.is_some_and(|room| hub.is_private(room)) {
        match (&query.name, secret) {
            (Some(name), Some(secret)) => match hub.prove_name(name, secret, registration).await {
                Ok(proved) => Some(proved),
                Err(refusal) if refusal.code == RefusalCode::NameTaken => None,
                Err(refusal) => return Err(refusal.into()),
            },
            _ => None,
        }
    } else {
        return Ok(None);
    };
    let ownership = proved.as_ref().and_then(NameUse::ownership);
    let standing = ownership.map(|ownership| ownership.standing);
    hub.check_standing(standing)
        .map_err(|refusal| unauthorized(refusal.text))?;
    if let Some(room) = room {
        hub.check_access(room, ownership.map(|ownership| ownership.owner))?;
    }
    Ok(proved)
}

/// Follows a link: the query gets its name and secret. Returns whether there was
/// one.
///
/// # Errors
///
/// Fails with 403 if the link is not valid, and with 429 after too many wrong
/// ones.
pub(super) fn follow_link(
    hub: &Hub,
    registration: &Registration,
    query: &mut Query,
) -> Result<bool, Refused> {
    let Some(token) = query.link.take() else {
        return Ok(false);
    };
    let (name, secret) = hub.follow_link(&token, registration.peer())?;
    query.name = Some(name);
    query.secret = Some(secret);
    Ok(true)
}

/// A refusal with 401, for a request whose sender could prove a name.
pub(super) fn unauthorized(text: impl Into<String>) -> Refused {
    Refused::new(StatusCode::UNAUTHORIZED, text)
        .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}
