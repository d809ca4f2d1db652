//! The people of one room, and the news of them that the members have yet to
//! hear.
//!
//! Pure: the caller passes the time. Each connection is a member. A person is
//! all members with one name, or one member without a name. `E` is a member's
//! way to receive events.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

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
const CHANGE_BURST: u32 = 6;
const CHANGE_INTERVAL: Duration = Duration::from_millis(333);

/// The shortest time between two announcements of the number of people.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// How long a person with a name may be gone before the leave is announced. If
/// the person returns by then, nothing is announced.
const RETURN_GRACE: Duration = Duration::from_secs(5);

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
    listener_count: usize,
    /// The news to announce; `None` in a room where no member receives news.
    queue: Option<Box<AnnouncementQueue>>,
}

#[derive(Debug)]
struct Member<E> {
    author: Author,
    /// Its way to receive news, if its format has any.
    listener: Option<E>,
}

#[derive(Debug)]
struct Person {
    /// The author as last shown.
    author: Author,
    connections: usize,
    /// Without a connection: the moment until which the person may return.
    until: Option<Instant>,
}

/// A person's name or tag, and its address.
pub(super) type NameAndAddress = (String, Option<IpAddr>);

/// The news to announce.
#[derive(Debug, Default)]
struct AnnouncementQueue {
    /// People who left, each with the moment to announce it unless they return.
    gone: VecDeque<(Instant, NameKey)>,
    /// Joins, leaves and renames.
    changes: Vec<Announcement>,
    /// The last notice to all members. It is announced whatever else there is.
    notice: Option<Announcement>,
    /// When to announce the number of people.
    count_due: Option<Instant>,
    /// From when on the number may be announced again.
    count_free: Option<Instant>,
    /// The number that was announced last.
    announced_total: usize,
    /// When [`CHANGE_BURST`] changes may be announced again.
    free: Option<Instant>,
    /// The number of the last member that entered.
    last_member: u64,
}

/// An event to announce.
#[derive(Debug)]
struct Announcement {
    at: Instant,
    event: Event,
    /// The last member that hears it: later members entered after the event.
    last_member: u64,
    /// The one member that does not hear it.
    except: u64,
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
const NO_MEMBER: u64 = u64::MAX;

impl<E> Default for People<E> {
    fn default() -> Self {
        People {
            members: HashMap::new(),
            named: HashMap::new(),
            unnamed: 0,
            away: 0,
            listener_count: 0,
            queue: None,
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

    /// The names and addresses of the people (if they are many, only some), and
    /// the number of people.
    pub(super) fn names(&self) -> (Vec<NameAndAddress>, usize) {
        let named = self.named.values().filter(|person| person.connections > 0);
        let members = self.members.values().map(|member| &member.author);
        let unnamed = members.filter(|author| author.name.is_none());
        let people = named.map(|person| &person.author).chain(unnamed);
        let shown = |author: &Author| (author.to_string(), author.addr.address());
        let some = people.take(MAX_NAMED).map(shown);
        (some.collect(), self.total())
    }

    /// Adds a member. Its number is higher than any before.
    pub(super) fn enter(&mut self, number: u64, author: Author, listener: Option<E>, now: Instant) {
        self.listener_count += usize::from(listener.is_some());
        if self.listener_count > 0 {
            self.queue.get_or_insert_default().last_member = number;
        }
        let came = self.appear(&author);
        let shown = author.clone();
        self.members.insert(number, Member { author, listener });
        if came {
            let joined = |members| Event::Joined {
                who: shown,
                members,
            };
            self.announce(joined, number, now);
        }
    }

    pub(super) fn leave(&mut self, number: u64, now: Instant) {
        let Some(Member { author, listener }) = self.members.remove(&number) else {
            return;
        };
        self.listener_count -= usize::from(listener.is_some());
        if self.listener_count == 0 && self.queue.take().is_some() {
            // No member receives news, so absent people need not be remembered.
            self.named.retain(|_, person| person.connections > 0);
            self.away = 0;
        }
        if self.vanish(&author, Some(now + RETURN_GRACE)) {
            self.announce_leave(author, now);
        }
    }

    pub(super) fn rename(&mut self, number: u64, name: &Name, now: Instant) {
        let Some(member) = self.members.get_mut(&number) else {
            return;
        };
        let to = Author {
            name: Some(name.clone()),
            ..member.author.clone()
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
                self.announce(|_| Event::Renamed { from, to }, number, now);
            }
            (true, false) => {
                self.announce(|members| Event::Joined { who: to, members }, number, now);
            }
            (false, true) => self.announce_leave(from, now),
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
        if let (Some(queue), Some(until)) = (&mut self.queue, until)
            && queue.gone.len() < MAX_GONE
        {
            person.author.clone_from(author);
            person.until = Some(until);
            self.away += 1;
            queue.gone.push_back((until, key));
            return false;
        }
        self.named.remove(&key);
        true
    }

    fn announce_leave(&mut self, who: Author, now: Instant) {
        self.announce(|members| Event::Left { who, members }, NO_MEMBER, now);
    }

    /// Announces an event to all members but one. If there are too many, it
    /// announces only the number of people.
    fn announce(&mut self, event: impl FnOnce(usize) -> Event, except: u64, now: Instant) {
        let total = self.total();
        let Some(queue) = &mut self.queue else {
            return;
        };
        let itself = self
            .members
            .get(&except)
            .is_some_and(|m| m.listener.is_some());
        if self.listener_count == usize::from(itself) {
            queue.announced_total = total;
            return;
        }
        if queue.count_due.is_some() {
            return;
        }
        let free = queue.free.unwrap_or(now).max(now) + CHANGE_INTERVAL;
        if total <= CROWD && free <= now + CHANGE_INTERVAL * CHANGE_BURST {
            queue.free = Some(free);
            queue.announced_total = total;
            queue.changes.push(Announcement {
                at: now,
                event: event(total),
                last_member: queue.last_member,
                except,
            });
        } else {
            queue.count_due = Some(queue.count_free.unwrap_or(now).max(now));
        }
    }

    /// Announces a notice to all members but one, in place of a notice that was
    /// not announced yet.
    pub(super) fn announce_notice(&mut self, event: Event, except: Option<u64>, at: Instant) {
        let except = except.unwrap_or(NO_MEMBER);
        let Some(queue) = &mut self.queue else { return };
        let same = queue
            .notice
            .as_ref()
            .is_none_or(|last| last.except == except);
        queue.notice = Some(Announcement {
            at,
            event,
            last_member: queue.last_member,
            except: if same { except } else { NO_MEMBER },
        });
    }

    /// When the next news is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let queue = self.queue.as_ref()?;
        let gone = queue.gone.front().map(|(until, _)| *until);
        let change = queue.changes.first().map(|change| change.at);
        let notice = queue.notice.as_ref().map(|notice| notice.at);
        let dues = [gone, change, notice, queue.count_due];
        dues.into_iter().flatten().min()
    }

    /// Takes the due news.
    pub(super) fn take_news(&mut self, now: Instant) -> Vec<News<E>> {
        while let Some(who) = self.next_gone(now) {
            self.announce_leave(who, now);
        }
        let total = self.total();
        let Some(queue) = &mut self.queue else {
            return Vec::new();
        };
        let count = || Event::Members {
            names: Vec::new(),
            addresses: Vec::new(),
            total,
        };
        let notice = queue.notice.take();
        let mut changes = std::mem::take(&mut queue.changes);
        if queue.count_due.is_some_and(|due| due <= now) {
            queue.count_due = None;
            queue.count_free = Some(now + COUNT_EVERY);
            if queue.announced_total != total {
                queue.announced_total = total;
                changes.push(Announcement {
                    at: now,
                    event: count(),
                    last_member: queue.last_member,
                    except: NO_MEMBER,
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
        let queue = self.queue.as_mut()?;
        loop {
            let (until, _) = queue.gone.front()?;
            if *until > now {
                return None;
            }
            let (until, key) = queue.gone.pop_front()?;
            // If the moment differs or is absent, the person has returned.
            if self.named.get(&key).and_then(|person| person.until) == Some(until) {
                self.away -= 1;
                return self.named.remove(&key).map(|person| person.author);
            }
        }
    }

    /// The members that receive an event, in the order in which they entered.
    fn listeners(&self, change: &Announcement) -> Vec<E> {
        let members = self.members.iter();
        let mut listeners: Vec<(u64, E)> = members
            .filter(|(number, _)| **number <= change.last_member && **number != change.except)
            .filter_map(|(number, member)| Some((*number, member.listener.clone()?)))
            .collect();
        listeners.sort_unstable_by_key(|(number, _)| *number);
        listeners
            .into_iter()
            .map(|(_, listener)| listener)
            .collect()
    }
}

#[cfg(test)]
mod tests;
