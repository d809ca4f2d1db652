//! Who is kept out, and who may only read.

use rusqlite::{Connection, params};
use tracing::error;

use super::{Changing, StoreError, Writer, row::MeasureRow, store::now};
use crate::protocol::{At, close::MAX_WHY};

/// What is done about somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// They are kept out.
    Ban,
    /// They say nothing.
    Mute,
}

impl What {
    fn word(self) -> &'static str {
        match self {
            What::Ban => "ban",
            What::Mute => "mute",
        }
    }
}

/// What is done about somebody, until when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// What.
    pub what: What,
    /// About whom: a name or an address in the one form in which they are
    /// compared.
    pub whom: String,
    /// Until when; `None` until it is lifted.
    pub until: Option<At>,
    /// Why.
    pub why: String,
}

impl Measure {
    /// For how many milliseconds it still holds: none where it is over, and
    /// `None` where it has no end.
    pub fn left(&self) -> Option<u64> {
        let until = self.until?;
        Some(u64::try_from(until.0 - now().0).unwrap_or(0))
    }
}

impl Changing<'_> {
    /// When this is made.
    pub fn at(&self) -> At {
        self.at
    }

    /// From now on this is done, in place of any such measure before; those that
    /// are over go.
    pub fn impose(&mut self, measure: &Measure) -> Result<(), StoreError> {
        debug_assert!(measure.why.len() <= MAX_WHY);
        self.db
            .prepare_cached("DELETE FROM measures WHERE until < ?1")?
            .execute([self.at.0])?;
        let row = MeasureRow {
            what: measure.what.word().to_owned(),
            whom: measure.whom.clone(),
            until: measure.until.map(|until| until.0),
            why: measure.why.clone(),
        };
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO measures (what, whom, until, why, sum)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![row.what, row.whom, row.until, row.why, row.sum()])?;
        Ok(())
    }

    /// It is done no more.
    pub fn lift(&mut self, what: What, whom: &str) -> Result<(), StoreError> {
        self.db
            .prepare_cached("DELETE FROM measures WHERE what = ?1 AND whom = ?2")?
            .execute([what.word(), whom])?;
        Ok(())
    }
}

impl Writer {
    /// What was in force when the log was opened.
    pub fn take_measures(&mut self) -> Vec<Measure> {
        std::mem::take(&mut self.measures)
    }
}

/// All measures; one that is damaged does not hold.
pub(super) fn all(db: &Connection) -> Result<Vec<Measure>, StoreError> {
    let mut found = Vec::new();
    let mut rows = db.prepare("SELECT what, whom, until, why, sum FROM measures")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let measure = MeasureRow::read(row).and_then(|row| {
            Some(Measure {
                what: match &*row.what {
                    "ban" => What::Ban,
                    "mute" => What::Mute,
                    _ => return None,
                },
                whom: row.whom,
                until: row.until.map(At),
                why: row.why,
            })
        });
        if let Some(measure) = measure {
            found.push(measure);
        } else {
            let whom: String = row.get(1).unwrap_or_default();
            error!("what keeps out or mutes {whom:?} is damaged, and does not hold");
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Storage, check, open};

    fn measure(what: What, whom: &str) -> Measure {
        Measure {
            what,
            whom: whom.to_owned(),
            until: None,
            why: "spam".to_owned(),
        }
    }

    #[test]
    fn a_damaged_one_does_not_hold() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::Folder(folder.path().to_owned());
        let (ban, mute) = (measure(What::Ban, "@ana"), measure(What::Mute, "@bob"));
        let faults = || check(folder.path()).expect("readable").faults;
        let (mut writer, _) = open(&storage, "a test").expect("a log");
        for measure in [&ban, &mute] {
            let impose = |log: &mut Changing<'_>| log.impose(measure);
            writer.change(impose).expect("written");
        }
        assert_eq!(faults(), [""; 0]);
        let damage = "UPDATE measures SET until = 7 WHERE whom = '@ana'";
        let damage = |log: &mut Changing<'_>| Ok(log.db.execute(damage, [])?);
        assert_eq!(writer.change(damage).expect("written"), 1);
        drop(writer);
        let damaged = "what keeps out or mutes \"@ana\" is damaged";
        assert_eq!(faults(), [damaged]);

        // A start goes on without it, and with the others.
        let (mut writer, _) = open(&storage, "a test").expect("a log");
        assert_eq!(writer.take_measures(), std::slice::from_ref(&mute));
        let again = |log: &mut Changing<'_>| log.impose(&ban);
        writer.change(again).expect("written");
        drop(writer);
        assert_eq!(faults(), [""; 0]);
        let (mut writer, _) = open(&storage, "a test").expect("a log");
        assert_eq!(writer.take_measures(), [ban.clone(), mute.clone()]);
        // Lifted, it is as gone.
        let lift = |log: &mut Changing<'_>| log.lift(What::Ban, "@ana");
        writer.change(lift).expect("written");
        drop(writer);
        let (mut writer, _) = open(&storage, "a test").expect("a log");
        assert_eq!(writer.take_measures(), [mute]);
    }
}
