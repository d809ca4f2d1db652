//! The lists of people, rooms and invitations in the plain format.

use std::{fmt::Write, iter::repeat};

use crate::protocol::{HookInfo, Invite, Link, RoomInfo, RoomMember, qr};

/// The people in a room, with the addresses that operators see; in a private
/// room also its members.
pub(super) fn people(
    names: &[String],
    addresses: &[String],
    total: usize,
    members: Option<&[RoomMember]>,
) -> String {
    let addresses = addresses.iter().map(String::as_str).chain(repeat(""));
    let shown: Vec<_> = names.iter().zip(addresses).map(with_address).collect();
    let more = match total - names.len().min(total) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let here = format!("{total} here: {}{more}", shown.join(", "));
    let Some(members) = members else {
        return here;
    };
    let member = |member: &RoomMember| {
        let owns = if member.owner { " (owner)" } else { "" };
        format!("{}{owns}", member.name)
    };
    let members: Vec<_> = members.iter().map(member).collect();
    format!(
        "{here}\nMembers of this private room: {}",
        members.join(", ")
    )
}

/// A person with the address that operators see, unless the tag shows it.
fn with_address((name, address): (&String, &str)) -> String {
    if address.is_empty() || name.contains(address) {
        return name.clone();
    }
    format!("{name} ({address})")
}

/// The rooms, each with the number of people in it.
pub(super) fn rooms(rooms: &[RoomInfo], total: usize) -> String {
    let more = total - rooms.len().min(total);
    let mut said = match rooms {
        [] => "No listed room has people in it.",
        rooms if rooms.iter().all(|room| room.members > 0) => "Rooms with people in them:",
        _ => "Rooms, the last spoken in first:",
    }
    .to_owned();
    for RoomInfo {
        room,
        members,
        topic,
        ..
    } in rooms
    {
        let topic = topic.as_ref().map_or("", |text| text);
        let colon = if topic.is_empty() { "" } else { ": " };
        // Writing to a String cannot fail.
        let _ = write!(said, "\n{room} ({members}){colon}{topic}");
    }
    if more > 0 {
        let _ = write!(said, "\nand {more} more");
    }
    said
}

/// A new invitation.
pub(super) fn invitation(invite: &Invite) -> String {
    let uses = count(invite.uses);
    let url = invite.url.as_deref().unwrap_or_default();
    let Invite { id, duration, .. } = invite;
    format!("{url}\nInvitation {id} lets in {uses} in the next {duration}.")
}

/// A link to a name, with its QR code.
pub(super) fn link(link: &Link) -> String {
    let Link { url, duration, qr } = link;
    let drawn = qr::draw(qr);
    format!("{url}\n{drawn}\nIt makes one other device you, in the next {duration}: open it there.")
}

/// A new hook.
pub(super) fn hook(hook: &HookInfo) -> String {
    let HookInfo { name, room, .. } = hook;
    let url = hook.url.as_deref().unwrap_or_default();
    format!(
        "{url}\nA program that posts to this URL speaks in {room} as {name}. Keep the URL secret: every program that has it can post."
    )
}

/// The hooks of a room.
pub(super) fn hooks(hooks: &[HookInfo]) -> String {
    if hooks.is_empty() {
        return "This room has no hooks.".to_owned();
    }
    let mut said = "Hooks of this room:".to_owned();
    for HookInfo { name, by, .. } in hooks {
        // Writing to a String cannot fail.
        let _ = write!(said, "\n{name}, made by {by}");
    }
    said
}

/// The open invitations.
pub(super) fn invitations(invites: &[Invite]) -> String {
    if invites.is_empty() {
        return "No invitation is open.".to_owned();
    }
    let mut said = "Open invitations:".to_owned();
    for invite in invites {
        let Invite {
            id,
            room,
            by,
            duration,
            ..
        } = invite;
        let uses = count(invite.uses);
        // Writing to a String cannot fail.
        let _ = write!(
            said,
            "\n{id}: {uses} to {room} in the next {duration}, from {by}"
        );
    }
    said
}

fn count(people: u32) -> String {
    match people {
        1 => "1 person".to_owned(),
        people => format!("{people} people"),
    }
}
