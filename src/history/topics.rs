//! What rooms are about.

use rusqlite::{OptionalExtension, params};
use tracing::error;

use super::{Changing, History, StoreError, row::TopicRow};
use crate::protocol::{At, Topic, name::RoomName, text::Text};

impl Changing<'_> {
    /// Says what a room is about from now on; with an empty text, about nothing.
    pub fn set_topic(
        &mut self,
        room: &RoomName,
        text: Text,
        by: String,
    ) -> Result<Topic, StoreError> {
        if text.is_empty() {
            self.db
                .prepare_cached("DELETE FROM topics WHERE room = ?1")?
                .execute([room.as_str()])?;
            return Ok(Topic::none());
        }
        let row = TopicRow {
            room: room.to_string(),
            text: text.to_string(),
            author: by.clone(),
            at: self.at.0,
        };
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO topics (room, text, author, at, sum)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![row.room, row.text, row.author, row.at, row.sum()])?;
        Ok(Topic {
            text,
            by: Some(by),
            at: Some(self.at),
        })
    }
}

impl History {
    /// What a room is about.
    pub async fn topic(&self, room: &RoomName) -> Result<Topic, StoreError> {
        let room = room.clone();
        let find = "SELECT room, text, author, at, sum FROM topics WHERE room = ?1";
        let row = self.on_reader(move |store| {
            let mut find = store.db().prepare_cached(find)?;
            let row = find.query_row([room.as_str()], |row| Ok(TopicRow::read(row)));
            let row = row.optional()?;
            if row.as_ref().is_some_and(Option::is_none) {
                error!("the topic of {room} is damaged, and not shown");
            }
            Ok(row.flatten())
        });
        Ok(row.await?.map_or_else(Topic::none, |row| Topic {
            text: row.text.into(),
            by: Some(row.author),
            at: Some(At(row.at)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Storage, check, open};

    #[tokio::test]
    async fn a_damaged_topic_is_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::Folder(folder.path().to_owned());
        let (mut writer, history) = open(&storage, "a test").expect("a log");
        let room = RoomName::lobby();
        let place = room.clone();
        let written = std::thread::spawn(move || {
            let text = "tea".to_owned().into();
            let set = |log: &mut Changing<'_>| log.set_topic(&place, text, "ana".into());
            let set = writer.change(set);
            (writer, set)
        });
        let (mut writer, set) = written.join().expect("no panic");
        let set = set.expect("written");
        assert_eq!(history.topic(&room).await.expect("readable"), set);
        assert_eq!(check(folder.path()).expect("readable").faults.len(), 0);

        let damaged = std::thread::spawn(move || {
            writer.change(|log| Ok(log.db.execute("UPDATE topics SET text = 'te'", [])?))
        });
        assert_eq!(damaged.join().expect("no panic").expect("written"), 1);
        assert_eq!(history.topic(&room).await.expect("readable"), Topic::none());
        assert_eq!(check(folder.path()).expect("readable").faults.len(), 1);
    }
}
