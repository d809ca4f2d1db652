//! Carries out an operator's request, as the chat's commands do.

use std::{collections::HashMap, time::Duration};

use tracing::error;

use super::{
    answer::{AdminAnswer, AuditEntry, ListedRoom, SanctionInForce},
    request::AdminRequest,
};
use crate::{
    hub::{Hub, NewInvitation, accept_reason},
    log::SanctionKind,
    net::Peer,
    protocol::{
        Author, Invite, Refusal, RefusalCode, Seq, command_target::CommandTarget, name::RoomName,
        typed_duration::TypedDuration,
    },
    store::{StoreError, StoredRoom},
};

/// How many rooms a list has.
const MAX_ROOMS: u32 = 1000;

/// How many audit records a list has.
const MAX_RECORDS: u32 = 10_000;

/// Carries out a request. `site` begins the URLs of invitations.
pub(super) async fn perform(hub: &Hub, request: AdminRequest, site: &str) -> AdminAnswer {
    let answer = try_perform(hub, request, site).await;
    answer.unwrap_or_else(AdminAnswer::Refused)
}

async fn try_perform(hub: &Hub, request: AdminRequest, site: &str) -> Result<AdminAnswer, Refusal> {
    let (by, peer) = (Author::server(), Peer::SERVER);
    let text = match request {
        AdminRequest::Bans => return Ok(bans(hub)),
        AdminRequest::Rooms => return rooms(hub).await,
        AdminRequest::Audit { limit } => return audit(hub, limit).await,
        AdminRequest::Invite {
            room,
            uses,
            duration,
        } => {
            let new = NewInvitation::new(room, uses, duration, by, true)?;
            return invite(hub, new, site).await;
        }
        AdminRequest::Ban {
            who,
            duration,
            reason,
        } => {
            let (kind, reason) = (SanctionKind::Ban, accept_reason(reason)?);
            let banned = hub.sanction(&by, peer, kind, who, duration, reason);
            format!("{} is banned.", banned.await?)
        }
        AdminRequest::Unban { who } => lift(hub, SanctionKind::Ban, who).await?,
        AdminRequest::Unmute { who } => lift(hub, SanctionKind::Mute, who).await?,
        AdminRequest::Kick { who, reason } => {
            let kicked = hub.kick(&by, peer.id, who, accept_reason(reason)?);
            kicked.await?.to_string()
        }
        AdminRequest::Redact { room, seq } => {
            hub.redact(&by, peer.id, room.clone(), seq).await?;
            format!("Number {seq} of {room} is erased.")
        }
        AdminRequest::Release { name } => {
            hub.release(peer.id, &by, name.clone()).await?;
            format!("{name} is free now. The next owner starts with nothing.")
        }
        AdminRequest::Operator { name, operator } => {
            hub.set_operator(peer.id, &name, operator).await?;
            let is = if operator { "an" } else { "no" };
            format!("{name} is {is} operator")
        }
    };
    Ok(AdminAnswer::Done { text })
}

async fn lift(hub: &Hub, kind: SanctionKind, who: CommandTarget) -> Result<String, Refusal> {
    let lifted = hub.lift(&Author::server(), Peer::SERVER.id, kind, who);
    Ok(lifted.await?.to_string())
}

fn bans(hub: &Hub) -> AdminAnswer {
    let left = |ms| TypedDuration::rounded_up(Duration::from_millis(ms));
    let in_force = hub.sanctions().into_iter();
    let bans = in_force.map(|(sanction, ms)| SanctionInForce {
        kind: sanction.kind.word().to_owned(),
        who: sanction.shown,
        duration: ms.map(left),
        reason: sanction.reason,
    });
    AdminAnswer::Bans {
        bans: bans.collect(),
    }
}

async fn invite(hub: &Hub, new: NewInvitation, site: &str) -> Result<AdminAnswer, Refusal> {
    let (room, by) = (new.room.clone(), new.by.to_string());
    let (uses, duration) = (new.uses, new.duration);
    let (id, token) = hub.invite(Peer::SERVER.id, new).await?;
    Ok(AdminAnswer::Invite(Invite {
        id,
        url: Some(format!("{site}/{room}#invite={}", token.reveal())),
        room,
        by,
        uses,
        duration,
    }))
}

/// The rooms of the store, and those that only have people now.
async fn rooms(hub: &Hub) -> Result<AdminAnswer, Refusal> {
    let stored = hub.history().store().rooms(MAX_ROOMS).await;
    let mut members: HashMap<RoomName, usize> = hub.members_by_room();
    let stored = stored.map_err(|why| unreadable(&why))?.into_iter();
    let stored = stored.map(
        |StoredRoom {
             room,
             last,
             private,
         }| ListedRoom {
            members: members.remove(&room).unwrap_or_default(),
            room,
            last,
            private,
        },
    );
    let mut rooms: Vec<_> = stored.collect();
    let mut silent: Vec<_> = members.into_iter().collect();
    silent.sort_unstable();
    rooms.extend(silent.into_iter().map(|(room, members)| ListedRoom {
        room,
        members,
        last: Seq::START,
        private: false,
    }));
    rooms.truncate(MAX_ROOMS as usize);
    Ok(AdminAnswer::Rooms { rooms })
}

async fn audit(hub: &Hub, limit: u32) -> Result<AdminAnswer, Refusal> {
    let found = hub.history().store().audit(limit.min(MAX_RECORDS)).await;
    let records = found.map_err(|why| unreadable(&why))?.into_iter();
    let records = records.map(|(at, record)| AuditEntry {
        at,
        operator: record.operator,
        action: record.act,
        target: record.target,
        reason: record.reason,
    });
    Ok(AdminAnswer::Audit {
        records: records.collect(),
    })
}

fn unreadable(why: &StoreError) -> Refusal {
    error!("the message store cannot be read: {why}");
    let text = format!("The message store cannot be read ({why}): server check says more.");
    Refusal::new(RefusalCode::Busy, text)
}
