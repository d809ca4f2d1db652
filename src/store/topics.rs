//! Reads the topics of rooms.

use tracing::error;

use super::{
    StoreError,
    reader::Store,
    row::{TableRow, find},
    tables::{TOPICS, TopicRow},
};
use crate::protocol::{Topic, WallTime, name::RoomName, text::Text};

impl Store {
    /// The topic of a room; an empty one if it has none or its row is damaged.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn topic(&self, room: &RoomName) -> Result<Topic, StoreError> {
        let room = room.clone();
        let topic = self.on_reader(move |database| {
            let topic = |row: &rusqlite::Row<'_>| {
                let row = TopicRow::read(row)?;
                Some(Topic {
                    text: Text::stored(row.text),
                    by: Some(row.author.to_owned()),
                    at: Some(WallTime(row.at)),
                })
            };
            let db = database.db();
            let found = find(db, &TOPICS, "WHERE room = ?1", [room.as_str()], topic)?;
            if found.as_ref().is_some_and(Option::is_none) {
                error!("the topic of {room} is damaged, and not shown");
            }
            Ok(found.flatten().unwrap_or_else(Topic::none))
        });
        let mut topic = topic.await?;
        topic.by = topic.by.map(|author| self.conceal_author(author));
        Ok(topic)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::{
        fanout::Applier,
        log::Action,
        store::{Outcome, Storage, check, open},
    };

    #[tokio::test]
    async fn a_damaged_topic_is_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::Folder(folder.path().to_owned());
        let faults = || check(folder.path()).expect("readable").faults;
        let room = RoomName::lobby();
        let (replica, store) = open(&storage, "a test").expect("a store");
        let mut log = Applier::local(replica).expect("a log");
        let set = Action::Topic {
            room: room.clone(),
            text: "tea".to_owned().into(),
            by: "ana".into(),
        };
        let set = log.apply_action(set).expect("applied");
        let topic = store.topic(&room).await.expect("readable");
        assert_eq!(&*topic.text, "tea");
        assert_eq!(set, Outcome::Topic(topic));
        assert_eq!(faults(), [""; 0]);

        let db = Connection::open(folder.path().join("chat.sqlite")).expect("the store");
        let damaged = db.execute("UPDATE topics SET text = 'te'", []);
        assert_eq!(damaged.expect("written"), 1);
        assert_eq!(store.topic(&room).await.expect("readable"), Topic::none());
        assert_eq!(faults(), ["the topic of \"lobby\" is damaged"]);
    }
}
