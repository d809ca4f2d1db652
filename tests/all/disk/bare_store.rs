//! A store without a server: tests append drafts to it and read its rooms.

use std::path::Path;

use broadcast_chat::{
    fanout::{Applier, History},
    log::Draft,
    protocol::{Author, ConnectionId, MessageKind, Seq, name::RoomName},
    store::{self, Storage},
};

pub(crate) fn room(name: &str) -> RoomName {
    name.parse().expect("a room")
}

pub(crate) fn draft(room: &RoomName, text: &str, id: Option<&str>) -> Draft {
    Draft {
        room: room.clone(),
        from: Author {
            name: Some("ana".parse().expect("a name")),
            addr: ([127, 0, 0, 1], 5000).into(),
            owner: None,
        },
        text: text.to_owned().into(),
        id: id.map(|id| id.parse().expect("an id")),
        follows: None,
        kind: MessageKind::Said,
        to: None,
        mentions: Vec::new(),
        about: None,
    }
}

/// A log, a store in this folder and a history, all at the same position.
pub(super) fn applier(folder: &Path) -> Applier<'static> {
    let storage = Storage::Folder(folder.to_owned());
    let (replica, _) = store::open(&storage, "a test").expect("a store");
    Applier::local(replica).expect("in step")
}

/// Stores drafts, on a thread of its own because storing blocks.
pub(super) fn append(applier: &mut Applier<'_>, drafts: &[Draft]) {
    let say = || applier.apply_messages(ConnectionId::SERVER, drafts.iter().cloned());
    let stored = std::thread::scope(|scope| scope.spawn(say).join());
    stored.expect("no panic").expect("stored");
}

/// Reads a room from a position to the end, as a reader does. Returns its
/// lines, and `None` for each announced gap.
pub(super) async fn read(
    history: &History,
    room: &RoomName,
    mut after: Seq,
) -> Result<Vec<Option<String>>, store::StoreError> {
    let mut seen = Vec::new();
    while after < history.head() {
        let page = history.stored(room, after).await?;
        if page.gap().is_some() {
            seen.push(None);
        }
        for message in page.room_batches.iter().flat_map(|run| run.messages()) {
            seen.push(Some(serde_json::to_string(message).expect("JSON")));
        }
        assert!(page.upto > after, "reading goes on");
        after = page.upto;
    }
    Ok(seen)
}
