//! Names that somebody owns: each with what proves it, never the secret itself.

use std::time::Duration;

use ring::hmac;
use rusqlite::{Connection, OptionalExtension, params};
use tracing::error;

use super::{
    Changing, History, StoreError,
    row::{NameRow, to_db},
    store::now,
};
use crate::protocol::{
    At, Seq,
    name::{Name, NameKey},
    secret::Secret,
};

/// How many bytes of a proof are its salt.
const SALT: usize = 16;

/// How often the last use of a name is written down.
const USE_NOTED: Duration = Duration::from_secs(24 * 60 * 60);

/// A name that somebody owns.
#[derive(Debug)]
pub struct Owned {
    /// `None` where it is damaged: nobody proves it, and it stays taken.
    row: Option<NameRow>,
    /// When it was looked up.
    at: At,
}

impl Owned {
    /// Whether this is its secret; in a time that does not tell how far it fits.
    pub fn is_proved_by(&self, secret: &Secret) -> bool {
        let Some(row) = &self.row else { return false };
        row.proof.split_at_checked(SALT).is_some_and(|(salt, tag)| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, salt);
            hmac::verify(&key, secret.reveal().as_bytes(), tag).is_ok()
        })
    }

    /// Where the log ended when it became somebody's own: what was said to that
    /// name before was said to others. Where that is not known, nothing is.
    pub fn since(&self) -> Seq {
        self.row.as_ref().map_or(Seq(u64::MAX), |row| row.since)
    }

    /// Its owner was shown every private message up to this number.
    pub fn shown(&self) -> Seq {
        self.row.as_ref().map_or(Seq(u64::MAX), |row| row.shown)
    }

    /// For how long nobody has carried it, but for the last day: that is not
    /// noted more often.
    pub fn unused(&self) -> Duration {
        let unused = self.row.as_ref().map_or(0, |row| self.at.0 - row.used);
        Duration::from_millis(u64::try_from(unused).unwrap_or(0))
    }
}

impl Changing<'_> {
    /// Who owns a name, if anybody does.
    pub fn owned(&self, key: &NameKey) -> Result<Option<Owned>, StoreError> {
        find(self.db, key, self.at)
    }

    /// Makes a name somebody's own: who knows the secret.
    pub fn own(
        &mut self,
        name: &Name,
        secret: &Secret,
        salt: [u8; SALT],
    ) -> Result<(), StoreError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salt);
        let tag = hmac::sign(&key, secret.reveal().as_bytes());
        self.put(&NameRow {
            key: name.key().to_string(),
            name: name.to_string(),
            proof: [&salt[..], tag.as_ref()].concat(),
            used: self.at.0,
            since: self.head()?,
            shown: self.head()?,
        })
    }

    /// Notes that a name is carried now, if that was not done lately.
    pub fn note_use(&mut self, owned: Owned) -> Result<(), StoreError> {
        let long_ago = owned.unused() >= USE_NOTED;
        match owned.row {
            Some(row) if long_ago => self.put(&NameRow {
                used: self.at.0,
                ..row
            }),
            _ => Ok(()),
        }
    }

    /// Notes that the owner of a name was shown every private message up to a
    /// number.
    pub fn note_shown(&mut self, key: &NameKey, upto: Seq) -> Result<(), StoreError> {
        let owned = self.owned(key)?.and_then(|owned| owned.row);
        match owned {
            Some(row) if row.shown < upto => self.put(&NameRow { shown: upto, ..row }),
            _ => Ok(()),
        }
    }

    fn put(&mut self, row: &NameRow) -> Result<(), StoreError> {
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO names (key, name, proof, used, since, shown, sum)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                row.key,
                row.name,
                row.proof,
                row.used,
                to_db(row.since),
                to_db(row.shown),
                row.sum()
            ])?;
        Ok(())
    }
}

impl History {
    /// Who owns a name, if anybody does.
    pub async fn owned(&self, key: &NameKey) -> Result<Option<Owned>, StoreError> {
        let key = key.clone();
        self.on_reader(move |store| find(store.db(), &key, now()))
            .await
    }
}

fn find(db: &Connection, key: &NameKey, at: At) -> Result<Option<Owned>, StoreError> {
    let row = db
        .prepare_cached(
            "SELECT key, name, proof, used, since, shown, sum FROM names WHERE key = ?1",
        )?
        .query_row([key.as_str()], |row| Ok(NameRow::read(row)))
        .optional()?;
    Ok(row.map(|row| {
        let row = row.filter(|row| row.key == key.as_str());
        if row.is_none() {
            error!("what proves the name {key} is damaged: nobody can take it");
        }
        Owned { row, at }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Storage, check, open};

    #[test]
    fn a_damaged_name_stays_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::Folder(folder.path().to_owned());
        let name: Name = "ana".parse().expect("a name");
        let secret = "0123456789abcdef".parse().expect("a secret");
        let (mut writer, _history) = open(&storage, "a test").expect("a log");
        let own = |log: &mut Changing<'_>| log.own(&name, &secret, [7; SALT]);
        writer.change(own).expect("written");
        let proved = |log: &mut Changing<'_>| {
            let owned = log.owned(&name.key())?.expect("owned");
            Ok((owned.is_proved_by(&secret), owned.unused()))
        };
        assert!(writer.change(proved).expect("read").0);
        assert_eq!(check(folder.path()).expect("readable").faults.len(), 0);

        let damage = |log: &mut Changing<'_>| {
            log.db.execute("UPDATE names SET used = 0", [])?;
            Ok(())
        };
        writer.change(damage).expect("written");
        let found = writer.change(proved).expect("read");
        assert_eq!(found, (false, Duration::ZERO));
        assert_eq!(check(folder.path()).expect("readable").faults.len(), 1);
    }
}
