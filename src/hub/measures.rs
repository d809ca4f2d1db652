//! Who is kept out, and who may only read: what stands in the history, by what
//! is asked at every door.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::Hub;
use crate::{
    history::{Changing, Measure, What},
    protocol::{
        At, Author, Refusal, RefusalCode, close::CloseReason, lasting::Lasting, name::Name,
        text::Text, who::Who,
    },
};

/// What is in force.
#[derive(Debug, Default)]
pub(super) struct Measures {
    in_force: Mutex<HashMap<(What, String), Measure>>,
    /// Where there was never any, nobody looks.
    any: AtomicBool,
}

impl Measures {
    pub(super) fn new(found: Vec<Measure>) -> Self {
        let measures = Measures::default();
        for measure in found {
            measures.impose(measure);
        }
        measures
    }

    fn in_force(&self) -> MutexGuard<'_, HashMap<(What, String), Measure>> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn impose(&self, measure: Measure) {
        let mut in_force = self.in_force();
        in_force.retain(|_, measure| measure.left() != Some(0));
        in_force.insert((measure.what, measure.whom.clone()), measure);
        self.any.store(true, Ordering::SeqCst);
    }

    /// What is done about somebody.
    fn about(&self, what: What, author: &Author) -> Option<Measure> {
        if !self.any.load(Ordering::SeqCst) {
            return None;
        }
        let address = Who::Address(author.addr.ip());
        let name = author.name.clone().map(Who::Name);
        let keys = [Some(address), name].into_iter().flatten();
        let in_force = self.in_force();
        let found = keys.filter_map(|who| in_force.get(&(what, key(&who)?)));
        found
            .filter(|measure| measure.left() != Some(0))
            .last()
            .cloned()
    }

    /// Why somebody is kept out, if they are.
    pub(super) fn keeps_out(&self, author: &Author) -> Option<CloseReason> {
        self.about(What::Ban, author).map(|ban| banned(&ban.why))
    }
}

fn banned(why: &str) -> CloseReason {
    CloseReason::Banned {
        why: (!why.is_empty()).then(|| why.into()),
    }
}

/// What somebody is compared by; `None` of a single connection. No address
/// begins like that of a name.
fn key(who: &Who) -> Option<String> {
    match who {
        Who::Name(name) => Some(format!("@{}", Name::key(name))),
        Who::Address(ip) => Some(ip.to_canonical().to_string()),
        Who::Connection(_) => None,
    }
}

fn too_small() -> Refusal {
    let text = "It is to be a name or an IP address: a connection is only kicked.";
    Refusal::new(RefusalCode::BadField, text)
}

/// The refusal to somebody about whom something is done.
fn refusal(done: &str, measure: &Measure) -> Refusal {
    let left = measure.left().map(Duration::from_millis).map(Lasting::of);
    let left = left.map_or_else(String::new, |left| format!(", for another {left}"));
    let colon = if measure.why.is_empty() { "" } else { ": " };
    let text = format!("{done}{left}{colon}{}.", measure.why);
    Refusal::new(RefusalCode::NotAllowed, text)
}

impl Hub {
    /// Whether somebody may come in.
    pub fn admits(&self, author: &Author) -> Result<(), Refusal> {
        let ban = self.shared.attendance.measures.about(What::Ban, author);
        ban.map_or(Ok(()), |ban| {
            Err(refusal("An operator keeps you out", &ban))
        })
    }

    /// Whether somebody may say something.
    pub fn hears(&self, author: &Author) -> Result<(), Refusal> {
        let mute = self.shared.attendance.measures.about(What::Mute, author);
        mute.map_or(Ok(()), |mute| {
            Err(refusal("An operator has muted you", &mute))
        })
    }

    /// Keeps somebody out, or from speaking, once it is written down.
    pub fn impose(
        &self,
        by: &Author,
        what: What,
        who: Who,
        lasts: Option<Lasting>,
        why: Option<Text>,
    ) -> impl Future<Output = Result<(), Refusal>> + use<> {
        let (hub, by) = (self.clone(), by.to_string());
        let why = why.map_or_else(String::new, String::from);
        async move {
            let whom = key(&who).ok_or_else(too_small)?;
            let named = who.to_string();
            let change = move |log: &mut Changing<'_>| {
                let lasts_ms = lasts.map(|lasts| lasts.duration().as_millis());
                let until = lasts_ms.map(|ms| {
                    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
                    At(log.at().0.saturating_add(ms))
                });
                let word = match what {
                    What::Ban => "ban",
                    What::Mute => "mute",
                };
                let done = lasts.map_or_else(|| word.to_owned(), |lasts| format!("{word} {lasts}"));
                log.audit(by, &done, named, why.clone())?;
                let measure = Measure {
                    what,
                    whom,
                    until,
                    why,
                };
                log.impose(&measure)?;
                Ok(measure)
            };
            let attendance = std::sync::Arc::clone(&hub.shared.attendance);
            let then = move |measure: &Measure| {
                attendance.measures.impose(measure.clone());
                if what == What::Ban {
                    attendance.send_away(&who, &banned(&measure.why));
                }
            };
            hub.change_then(change, then).await?;
            Ok(())
        }
    }

    /// Lets somebody in again, or speak.
    pub fn lift(
        &self,
        by: &Author,
        what: What,
        who: Who,
    ) -> impl Future<Output = Result<(), Refusal>> + use<> {
        let (hub, by) = (self.clone(), by.to_string());
        async move {
            let whom = key(&who).ok_or_else(too_small)?;
            let lifted = (what, whom.clone());
            let change = move |log: &mut Changing<'_>| {
                let done = match what {
                    What::Ban => "unban",
                    What::Mute => "unmute",
                };
                log.audit(by, done, who.to_string(), String::new())?;
                log.lift(what, &whom)
            };
            let attendance = std::sync::Arc::clone(&hub.shared.attendance);
            let then = move |(): &()| {
                attendance.measures.in_force().remove(&lifted);
            };
            hub.change_then(change, then).await
        }
    }
}
