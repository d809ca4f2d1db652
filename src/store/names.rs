//! Reads owned names, each with the tag of its secret, never the secret itself.

use std::time::Duration;

use rusqlite::Connection;
use tracing::error;

use super::{
    HardenedSecret, Ownership, StoreError,
    reader::Store,
    row::{TableRow, find, owner_to_db, query},
    tables::{NAMES, NameRow},
};
use crate::{
    log::{GuardedTime, Standing},
    protocol::{
        OwnerNumber,
        name::{Name, NameKey},
    },
};

/// A name that has an owner.
#[derive(Debug)]
pub struct OwnedName(
    /// `None` if the row is damaged: no secret proves the name, and it stays
    /// taken.
    Option<Proof>,
);

#[derive(Debug)]
struct Proof {
    /// The spelling that was claimed; `None` if it is no name.
    name: Option<Name>,
    ownership: Ownership,
    salt: Vec<u8>,
    tag: Vec<u8>,
    used: GuardedTime,
}

impl OwnedName {
    /// The salt of its secret; `None` if no secret proves the name.
    pub fn salt(&self) -> Option<&[u8]> {
        let proof = self.0.as_ref().filter(|proof| !proof.tag.is_empty());
        proof.map(|proof| &*proof.salt)
    }

    /// Whether this is the secret of the name, hardened under its salt.
    pub fn is_proved_by(&self, secret: &HardenedSecret) -> bool {
        let proof = self.0.as_ref();
        proof.is_some_and(|proof| secret.has_tag(&proof.salt, &proof.tag))
    }

    /// Whether it is nobody's name, but reserved because it looks like an owned
    /// one. No secret proves it.
    pub fn is_reserved(&self) -> bool {
        self.0.as_ref().is_some_and(|proof| proof.tag.is_empty())
    }

    /// Whether it is reserved because it looks like this owned name.
    pub fn is_reserved_for(&self, owned: &OwnedName) -> bool {
        let number = |name: &OwnedName| name.ownership().map(|ownership| ownership.owner);
        self.is_reserved() && number(self) == number(owned)
    }

    /// The key of the spelling that was claimed, with all looks that it reserves.
    /// Another spelling of the name may have fewer. `None` if the row is damaged.
    pub fn claimed_key(&self) -> Option<NameKey> {
        let proof = self.0.as_ref()?;
        proof.name.as_ref().map(Name::key)
    }

    /// The ownership of the name; `None` if the row is damaged.
    pub fn ownership(&self) -> Option<Ownership> {
        self.0.as_ref().map(|proof| proof.ownership)
    }

    /// For how long the name was not used, up to a day too long: a use is noted
    /// once a day. Zero if the row is damaged.
    pub fn unused_for(&self, now: GuardedTime) -> Duration {
        let unused = self.0.as_ref().map_or(0, |proof| now.since(proof.used));
        Duration::from_millis(unused)
    }
}

impl Store {
    /// The owned name with this key, if it has an owner.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn owned(&self, key: &NameKey) -> Result<Option<OwnedName>, StoreError> {
        let key = key.clone();
        self.on_reader(move |database| {
            let proof = find(
                database.db(),
                &NAMES,
                "WHERE key = ?1",
                [key.as_str()],
                |row| {
                    let row = NameRow::read(row).filter(|row| row.key == key.as_str())?;
                    Some(Proof {
                        name: Name::stored(row.name).ok(),
                        ownership: Ownership {
                            owner: row.owner,
                            delivered: row.delivered,
                            standing: Standing::from_stored(row.standing),
                        },
                        salt: row.salt.to_owned(),
                        tag: row.tag.to_owned(),
                        used: GuardedTime(row.used),
                    })
                },
            )?;
            if proof.as_ref().is_some_and(Option::is_none) {
                error!("the owned name {key} is damaged: it stays taken, and no secret proves it");
            }
            Ok(proof.map(OwnedName))
        })
        .await
    }
}

/// The owned names of people, each in the spelling of its claim. Those of hooks
/// and damaged ones are left out.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) fn all(db: &Connection) -> Result<Vec<(Name, OwnerNumber)>, StoreError> {
    let people = "WHERE owner NOT IN (SELECT owner FROM hooks) ORDER BY key";
    let mut names = query(db, &NAMES, people)?;
    let mut rows = names.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let row = NameRow::read(row).filter(|row| !row.is_reserved());
        all.extend(row.and_then(|row| Some((Name::stored(row.name).ok()?, row.owner))));
    }
    Ok(all)
}

/// The name of an owner, in the spelling of its claim; `None` if the ownership
/// has ended.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) fn of_owner(db: &Connection, owner: OwnerNumber) -> Result<Option<Name>, StoreError> {
    let mut names = query(db, &NAMES, "WHERE owner = ?1")?;
    let mut rows = names.query([owner_to_db(owner)])?;
    while let Some(row) = rows.next()? {
        let row = NameRow::read(row).filter(|row| !row.is_reserved());
        if let Some(name) = row.and_then(|row| Name::stored(row.name).ok()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::{
        fanout::Applier,
        log::{Action, Entry, HookDraft},
        protocol::{OwnerNumber, Seq, WallTime, name::Name, secret::Secret},
        store::{HashMemory, Outcome, Storage, check, database::Database, open},
    };

    // Verified to fail when the names of hooks are listed.
    #[test]
    fn the_name_of_a_hook_is_nobodys() {
        let mut database = Database::in_memory().expect("a store");
        let names = ["ana", "alerts"].map(|name| name.parse::<Name>().expect("a name"));
        let [ana, alerts] = names.clone();
        let claim = Action::Claim {
            key: ana.key(),
            name: ana,
            salt: [7; 16],
            tag: [7; 32],
        };
        let hook = Action::AddHook(HookDraft {
            token: [8; 32],
            room: "lobby".parse().expect("a room"),
            key: alerts.key(),
            name: alerts,
            by: OwnerNumber::NONE,
            author: "op".into(),
            operator: true,
        });
        let entries = [claim, hook].map(Entry::of_server).into();
        let applied = database.apply_next(WallTime(1), entries);
        let claimed = matches!(applied.outcomes[..], [Outcome::Claimed(_), Outcome::Done]);
        assert!(claimed, "{:?}", applied.outcomes);
        let people = all(database.db()).expect("readable");
        assert_eq!(people, [(names[0].clone(), OwnerNumber(1))]);
    }

    #[tokio::test]
    async fn a_damaged_name_stays_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::Folder(folder.path().to_owned());
        let faults = || check(folder.path()).expect("readable").faults;
        let name: Name = "ana".parse().expect("a name");
        let secret = Secret::from_random([3; 16]);
        let (replica, store) = open(&storage, "a test").expect("a store");
        let mut log = Applier::local(replica).expect("a log");
        // A damaged name stays taken however old its last use is.
        let expiry = Action::Settings {
            name_expiry_ms: 1,
            edit_window_ms: 0,
        };
        log.apply_action(expiry).expect("applied");
        let salt = [7; 16];
        let secret =
            HardenedSecret::of(&secret, &salt, &mut HashMemory::default()).expect("a salt");
        let claim = Action::Claim {
            name: name.clone(),
            key: name.key(),
            salt,
            tag: secret.tag(&salt),
        };
        let claimed = log.apply_action(claim.clone()).expect("applied");
        let first = Ownership {
            owner: OwnerNumber(1),
            delivered: Seq::START,
            standing: Standing::Claimed,
        };
        assert_eq!(claimed, Outcome::Claimed(first));
        let proved = async || {
            let owned = store.owned(&name.key()).await.expect("readable");
            let owned = owned.expect("owned");
            (
                owned.is_proved_by(&secret),
                owned.unused_for(GuardedTime(i64::MAX)).is_zero(),
            )
        };
        assert_eq!(proved().await, (true, false));
        assert_eq!(faults(), [""; 0]);

        let db = Connection::open(folder.path().join("chat.sqlite")).expect("the store");
        db.execute("UPDATE names SET used = 0", [])
            .expect("written");
        assert_eq!(proved().await, (false, true));
        assert_eq!(
            log.apply_action(claim).expect("applied"),
            Outcome::NameTaken
        );
        assert_eq!(faults(), ["the owned name \"ana\" is damaged"]);
    }

    // Verified to fail when a claim keeps the number of the former owner, and
    // when a delivery is noted for another owner.
    #[tokio::test]
    async fn the_next_owner_of_a_name_inherits_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::Folder(folder.path().to_owned());
        let name: Name = "ana".parse().expect("a name");
        let claim = || Action::Claim {
            key: name.key(),
            name: name.clone(),
            salt: [1; 16],
            tag: [1; 32],
        };
        let delivered = |owner, upto| Action::Delivered {
            key: name.key(),
            owner: OwnerNumber(owner),
            upto: Seq(upto),
        };
        for owner in 1..=3 {
            let (replica, store) = open(&storage, "a test").expect("a store");
            let mut log = Applier::local(replica).expect("a log");
            // Every name is free again at once.
            let expiry = Action::Settings {
                name_expiry_ms: 0,
                edit_window_ms: 0,
            };
            log.apply_action(expiry).expect("applied");
            let claimed = log.apply_action(claim()).expect("applied");
            let ownership = Ownership {
                owner: OwnerNumber(owner),
                delivered: Seq::START,
                standing: Standing::Claimed,
            };
            assert_eq!(claimed, Outcome::Claimed(ownership));
            for (by, upto) in [(owner, 7), (owner - 1, 9)] {
                log.apply_action(delivered(by, upto)).expect("applied");
            }
            let owned = store.owned(&name.key()).await.expect("readable");
            let ownership = owned.and_then(|owned| owned.ownership());
            assert_eq!(ownership.map(|it| it.delivered), Some(Seq(7)));
        }
    }

    // Verified to fail when a claim reserves only the first look of its name.
    #[tokio::test]
    async fn a_name_reserves_all_its_looks() {
        let (replica, store) = open(&Storage::Memory, "a test").expect("a store");
        let mut log = Applier::local(replica).expect("a log");
        let mut claim = |name: &str, salt: u8| {
            let name: Name = name.parse().expect("a name");
            let action = Action::Claim {
                key: name.key(),
                name,
                salt: [salt; 16],
                tag: [1; 32],
            };
            log.apply_action(action).expect("applied")
        };
        // A Greek capital looks like N, and its small letter like v.
        let greek = "\u{39d}ina";
        let claimed = |owner| {
            Outcome::Claimed(Ownership {
                owner: OwnerNumber(owner),
                delivered: Seq::START,
                standing: Standing::Claimed,
            })
        };
        assert_eq!(claim(greek, 1), claimed(1));
        assert_eq!(claim("Nina", 2), Outcome::NameTaken);
        assert_eq!(claim("vina", 3), Outcome::NameTaken);
        assert_eq!(claim("yves", 4), claimed(2));
        assert_eq!(claim("\u{3a5}ves", 5), Outcome::NameTaken);
        let owned = async |name: &str| {
            let key = name.parse::<Name>().expect("a name").key();
            store.owned(&key).await.expect("readable").expect("a row")
        };
        let (nina, vina) = (owned("nina").await, owned(greek).await);
        // The owner now writes a small letter; the claim counts.
        let claimed = greek.parse::<Name>().expect("a name").key();
        let small = owned("\u{3bd}ina").await.claimed_key().expect("a key");
        assert_eq!(small.encoded(), claimed.encoded());
        assert!(nina.is_reserved() && nina.is_reserved_for(&vina));
        assert!(!vina.is_reserved() && !nina.is_reserved_for(&owned("yves").await));
    }
}
