//! The people of one room, and the news of them that the members have yet to
//! hear.
//!
//! Pure: the caller passes the time. Each connection is a member. A person is
//! all members with one name, or one member without a name. `E` is a member's
//! way to receive events.

use std::collections::{HashMap, VecDeque};

use tokio::time::{Duration, Instant};

use crate::protocol::{
    Author, Event,
    name::{Name, NameKey},
};

/// The most people named in one answer.
const MAX_NAMED: usize = 200;

/// In a room with more people than this, only their number is announced.
const CROWD: usize = 300;

/// How many joins, leaves and renames are announced at once, and the time after
/// which one more may be. Beyond that, only the number of people is announced.
const AT_ONCE: u32 = 6;
const EACH: Duration = Duration::from_millis(333);

/// The shortest time between two announcements of the number of people.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// How long a person with a name may be gone before the leave is announced. If
/// the person returns by then, nothing is announced.
const RETURN: Duration = Duration::from_secs(5);

/// How many people may be gone like that. The leaves of others are announced at
/// once.
const MAX_GONE: usize = 1000;

/// The people in one room.
#[derive(Debug)]
pub(super) struct People<E> {
    members: HashMap<u64, Member<E>>,
    /// People with a name, including people who may still return.
    named: HashMap<NameKey, Person>,
    unnamed: usize,
    /// How many people in `named` have no connection now.
    away: usize,
    /// How many members receive news.
    listening: usize,
    /// The news to announce; `None` in a room where no member receives news.
    talk: Option<Box<Talk>>,
}

#[derive(Debug)]
struct Member<E> {
    author: Author,
    /// Its way to receive news, if its format has any.
    ear: Option<E>,
}

#[derive(Debug)]
struct Person {
    /// The author as last shown.
    author: Author,
    connections: usize,
    /// Without a connection: the moment until which the person may return.
    until: Option<Instant>,
}

/// The news to announce.
#[derive(Debug, Default)]
struct Talk {
    /// People who left, each with the moment to announce it unless they return.
    gone: VecDeque<(Instant, NameKey)>,
    /// Joins, leaves and renames.
    changes: Vec<Change>,
    /// The last notice to all members. It is announced whatever else there is.
    notice: Option<Change>,
    /// When to announce the number of people.
    count_due: Option<Instant>,
    /// From when on the number may be announced again.
    count_free: Option<Instant>,
    /// The number that was announced last.
    told: usize,
    /// When [`AT_ONCE`] changes may be announced again.
    free: Option<Instant>,
    /// The number of the last member that entered.
    last: u64,
}

/// An event to announce.
#[derive(Debug)]
struct Change {
    at: Instant,
    event: Event,
    /// The last member that hears it: later members entered after the event.
    upto: u64,
    /// The one member that does not hear it.
    but: u64,
}

/// An event that is due, and the members that receive it.
#[derive(Debug, PartialEq)]
pub(in crate::hub) struct News<E> {
    pub(in crate::hub) event: Event,
    /// The event sent instead to a member that cannot take `event` now.
    pub(in crate::hub) later: Event,
    pub(in crate::hub) to: Vec<E>,
}

/// A number that no member has.
const NOBODY: u64 = u64::MAX;

impl<E> Default for People<E> {
    fn default() -> Self {
        People {
            members: HashMap::new(),
            named: HashMap::new(),
            unnamed: 0,
            away: 0,
            listening: 0,
            talk: None,
        }
    }
}

impl<E: Clone> People<E> {
    pub(super) fn connections(&self) -> usize {
        self.members.len()
    }

    /// How many people are connected.
    pub(super) fn total(&self) -> usize {
        self.unnamed + self.named.len() - self.away
    }

    /// The names of the people (if they are many, only some), and the number of
    /// people.
    pub(super) fn names(&self) -> (Vec<String>, usize) {
        let named = self.named.values().filter(|person| person.connections > 0);
        let members = self.members.values().map(|member| &member.author);
        let unnamed = members.filter(|author| author.name.is_none());
        let people = named.map(|person| &person.author).chain(unnamed);
        let some = people.take(MAX_NAMED).map(ToString::to_string);
        (some.collect(), self.total())
    }

    /// Adds a member. Its number is higher than any before.
    pub(super) fn enter(&mut self, number: u64, author: Author, ear: Option<E>, now: Instant) {
        self.listening += usize::from(ear.is_some());
        if self.listening > 0 {
            self.talk.get_or_insert_default().last = number;
        }
        let came = self.appear(&author);
        let shown = author.clone();
        self.members.insert(number, Member { author, ear });
        if came {
            let joined = |members| Event::Joined {
                who: shown,
                members,
            };
            self.tell(joined, number, now);
        }
    }

    pub(super) fn leave(&mut self, number: u64, now: Instant) {
        let Some(Member { author, ear }) = self.members.remove(&number) else {
            return;
        };
        self.listening -= usize::from(ear.is_some());
        if self.listening == 0 && self.talk.take().is_some() {
            // No member receives news, so absent people need not be remembered.
            self.named.retain(|_, person| person.connections > 0);
            self.away = 0;
        }
        if self.vanish(&author, Some(now + RETURN)) {
            self.tell_left(author, now);
        }
    }

    pub(super) fn rename(&mut self, number: u64, name: &Name, now: Instant) {
        let Some(member) = self.members.get_mut(&number) else {
            return;
        };
        let addr = member.author.addr.clone();
        let to = Author {
            name: Some(name.clone()),
            addr,
        };
        let from = std::mem::replace(&mut member.author, to.clone());
        let (came, went) = if from.name.as_ref().map(Name::key) == Some(name.key()) {
            // The same person, perhaps with another spelling.
            if let Some(person) = self.named.get_mut(&name.key()) {
                person.author = to.clone();
            }
            let other = from != to;
            (other, other)
        } else {
            (self.appear(&to), self.vanish(&from, None))
        };
        match (came, went) {
            (true, true) => {
                let (from, to) = (from.to_string(), name.clone());
                self.tell(|_| Event::Renamed { from, to }, number, now);
            }
            (true, false) => {
                self.tell(|members| Event::Joined { who: to, members }, number, now);
            }
            (false, true) => self.tell_left(from, now),
            (false, false) => {}
        }
    }

    /// Counts one more connection of a person; true if the person is new here.
    fn appear(&mut self, author: &Author) -> bool {
        let Some(name) = &author.name else {
            self.unnamed += 1;
            return true;
        };
        let mut new = false;
        let person = self.named.entry(name.key()).or_insert_with(|| {
            new = true;
            Person {
                author: author.clone(),
                connections: 0,
                until: None,
            }
        });
        person.author.clone_from(author);
        person.connections += 1;
        if person.until.take().is_some() {
            self.away -= 1;
        }
        new
    }

    /// Counts one connection fewer of a person, who may return before `until`;
    /// true if the leave is announced now.
    fn vanish(&mut self, author: &Author, until: Option<Instant>) -> bool {
        let Some(name) = &author.name else {
            self.unnamed -= 1;
            return true;
        };
        let key = name.key();
        let Some(person) = self.named.get_mut(&key) else {
            return false;
        };
        person.connections -= 1;
        if person.connections > 0 {
            return false;
        }
        if let (Some(talk), Some(until)) = (&mut self.talk, until)
            && talk.gone.len() < MAX_GONE
        {
            person.author.clone_from(author);
            person.until = Some(until);
            self.away += 1;
            talk.gone.push_back((until, key));
            return false;
        }
        self.named.remove(&key);
        true
    }

    fn tell_left(&mut self, who: Author, now: Instant) {
        self.tell(|members| Event::Left { who, members }, NOBODY, now);
    }

    /// Announces an event to all members but one. If there are too many, it
    /// announces only the number of people.
    fn tell(&mut self, event: impl FnOnce(usize) -> Event, but: u64, now: Instant) {
        let total = self.total();
        let Some(talk) = &mut self.talk else {
            return;
        };
        let itself = self.members.get(&but).is_some_and(|m| m.ear.is_some());
        if self.listening == usize::from(itself) {
            talk.told = total;
            return;
        }
        if talk.count_due.is_some() {
            return;
        }
        let free = talk.free.unwrap_or(now).max(now) + EACH;
        if total <= CROWD && free <= now + EACH * AT_ONCE {
            talk.free = Some(free);
            talk.told = total;
            talk.changes.push(Change {
                at: now,
                event: event(total),
                upto: talk.last,
                but,
            });
        } else {
            talk.count_due = Some(talk.count_free.unwrap_or(now).max(now));
        }
    }

    /// Announces a notice to all members but one, in place of a notice that was
    /// not announced yet.
    pub(super) fn tell_all(&mut self, event: Event, but: Option<u64>, at: Instant) {
        let but = but.unwrap_or(NOBODY);
        let Some(talk) = &mut self.talk else { return };
        let same = talk.notice.as_ref().is_none_or(|last| last.but == but);
        talk.notice = Some(Change {
            at,
            event,
            upto: talk.last,
            but: if same { but } else { NOBODY },
        });
    }

    /// When the next news is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let talk = self.talk.as_ref()?;
        let gone = talk.gone.front().map(|(until, _)| *until);
        let change = talk.changes.first().map(|change| change.at);
        let notice = talk.notice.as_ref().map(|notice| notice.at);
        let dues = [gone, change, notice, talk.count_due];
        dues.into_iter().flatten().min()
    }

    /// Takes the due news.
    pub(super) fn take_news(&mut self, now: Instant) -> Vec<News<E>> {
        while let Some(who) = self.next_gone(now) {
            self.tell_left(who, now);
        }
        let total = self.total();
        let Some(talk) = &mut self.talk else {
            return Vec::new();
        };
        let count = || Event::Members {
            names: Vec::new(),
            total,
        };
        let notice = talk.notice.take();
        let mut changes = std::mem::take(&mut talk.changes);
        if talk.count_due.is_some_and(|due| due <= now) {
            talk.count_due = None;
            talk.count_free = Some(now + COUNT_EVERY);
            if talk.told != total {
                talk.told = total;
                changes.push(Change {
                    at: now,
                    event: count(),
                    upto: talk.last,
                    but: NOBODY,
                });
            }
        }
        let changes = changes.into_iter().map(|change| (count(), change));
        let notice = notice.into_iter().map(|said| (said.event.clone(), said));
        changes
            .chain(notice)
            .map(|(later, change)| News {
                later,
                to: self.listeners(&change),
                event: change.event,
            })
            .collect()
    }

    /// Removes a person who left and did not return in time.
    fn next_gone(&mut self, now: Instant) -> Option<Author> {
        let talk = self.talk.as_mut()?;
        loop {
            let (until, _) = talk.gone.front()?;
            if *until > now {
                return None;
            }
            let (until, key) = talk.gone.pop_front()?;
            // If the moment differs or is absent, the person has returned.
            if self.named.get(&key).and_then(|person| person.until) == Some(until) {
                self.away -= 1;
                return self.named.remove(&key).map(|person| person.author);
            }
        }
    }

    /// The members that receive an event, in the order in which they entered.
    fn listeners(&self, change: &Change) -> Vec<E> {
        let members = self.members.iter();
        let mut listeners: Vec<(u64, E)> = members
            .filter(|(number, _)| **number <= change.upto && **number != change.but)
            .filter_map(|(number, member)| Some((*number, member.ear.clone()?)))
            .collect();
        listeners.sort_unstable_by_key(|(number, _)| *number);
        listeners.into_iter().map(|(_, ear)| ear).collect()
    }
}

#[cfg(test)]
mod tests;
