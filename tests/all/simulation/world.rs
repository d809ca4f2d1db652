//! The state that everything in a world shares, and its records.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use broadcast_chat::{client::ids::Ids, protocol::PublishKind};
use fastrand::Rng;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    diary::{SentMessage, SpeakerRecord, View},
    network::{Network, pick},
    server_host::ServerHost,
};

pub(super) const ROOMS: [&str; 2] = ["tea", "ops"];

/// The state that everything in a world shares.
pub(super) struct World {
    pub(super) host: ServerHost,
    pub(super) folder: PathBuf,
    rng: RefCell<Rng>,
    begun: Instant,
    pub(super) speakers: RefCell<BTreeMap<String, SpeakerRecord>>,
    pub(super) views: RefCell<Vec<View>>,
    /// The speakers with a name: they can be sent private messages.
    named: RefCell<BTreeSet<String>>,
    /// The speakers with unsent or unconfirmed messages.
    unfinished: RefCell<BTreeSet<String>>,
    /// Whether messages are erased in this world.
    pub(super) has_erasures: bool,
    erasures: RefCell<Erasures>,
    /// Cancelled once there is no such speaker.
    pub(super) all_finished: CancellationToken,
    /// The last number of each room, once every message is stored.
    pub(super) ends: OnceCell<BTreeMap<String, u64>>,
    /// Cancelled once `ends` is known.
    pub(super) ended: CancellationToken,
    pub(super) calm: Cell<bool>,
    pub(super) story: RefCell<Vec<String>>,
}

impl World {
    pub(super) fn new(seed: u64, folder: &Path) -> Rc<Self> {
        let mut rng = Rng::with_seed(seed);
        let data = folder.join("data");
        Rc::new(World {
            host: ServerHost::new(Network::new(), data, rng.fork()),
            folder: folder.to_owned(),
            rng: RefCell::new(rng),
            begun: Instant::now(),
            speakers: RefCell::default(),
            views: RefCell::default(),
            named: RefCell::default(),
            unfinished: RefCell::default(),
            has_erasures: seed % 2 == 1,
            erasures: RefCell::default(),
            all_finished: CancellationToken::new(),
            ends: OnceCell::new(),
            ended: CancellationToken::new(),
            calm: Cell::default(),
            story: RefCell::default(),
        })
    }

    /// A random generator for one task alone.
    pub(super) fn fork(&self) -> Rng {
        self.rng.borrow_mut().fork()
    }

    pub(super) fn note(&self, who: &str, what: &str) {
        let at = self.begun.elapsed().as_millis();
        self.story
            .borrow_mut()
            .push(format!("{at:>8} {who} {what}"));
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm.get()
    }

    pub(super) fn add_speaker(&self, who: &str) {
        let mut speakers = self.speakers.borrow_mut();
        speakers.insert(who.to_owned(), SpeakerRecord::default());
        self.unfinished.borrow_mut().insert(who.to_owned());
    }

    /// Notes that all messages of a speaker are stored, or that it died.
    pub(super) fn note_finished(&self, who: &str) {
        let mut unfinished = self.unfinished.borrow_mut();
        unfinished.remove(who);
        if unfinished.is_empty() {
            self.all_finished.cancel();
        }
    }

    pub(super) fn died(&self, who: &str) {
        self.with_record(who, |speech| speech.died = true);
        self.note_finished(who);
    }

    fn with_record<T>(&self, who: &str, act: impl FnOnce(&mut SpeakerRecord) -> T) -> T {
        act(self.speakers.borrow_mut().get_mut(who).expect("a speaker"))
    }

    pub(super) fn messages_of(&self, who: &str) -> Vec<SentMessage> {
        self.with_record(who, |speech| speech.messages.clone())
    }

    fn note_sent(&self, who: &str, line: SentMessage) {
        self.with_record(who, |speech| speech.messages.push(line));
    }

    /// Notes that a speaker has a name.
    pub(super) fn note_named(&self, who: &str) {
        self.named.borrow_mut().insert(who.to_owned());
    }

    /// A random speaker with a name, if there is one.
    pub(super) fn random_named(&self, rng: &mut Rng) -> Option<String> {
        let named = self.named.borrow();
        (!named.is_empty()).then(|| named.iter().nth(rng.usize(..named.len())).cloned())?
    }

    /// Notes that a speaker was told that a message is stored. The message may
    /// be another speaker's.
    pub(super) fn confirm(&self, who: &str, id: &str) {
        self.with_record(who, |speech| {
            let own = speech.messages.iter_mut().find(|line| line.id == id);
            if let Some(line) = own {
                line.confirmed = true;
            }
        });
    }

    /// Notes that a message of a speaker was refused for good: it is about an
    /// erased one.
    pub(super) fn refuse(&self, who: &str, id: &str) {
        self.with_record(who, |speech| {
            let own = speech.messages.iter_mut().find(|line| line.id == id);
            if let Some(line) = own {
                line.is_refused = true;
            }
        });
    }

    /// Notes that a message is to be erased.
    pub(super) fn note_erasing(&self, seq: u64, text: &str) {
        let word = word(text).expect("each message has one").to_owned();
        self.erasures.borrow_mut().asked.insert(seq, word);
    }

    /// Notes that a message is erased: from here on no reader may be shown its words.
    pub(super) fn note_erased(&self, seq: u64) {
        let erasures = &mut *self.erasures.borrow_mut();
        if let Some(word) = erasures.asked.get(&seq) {
            erasures.done.insert(word.clone());
        }
    }

    /// The words of the messages that are erased by now.
    pub(super) fn erased(&self) -> BTreeSet<String> {
        self.erasures.borrow().done.clone()
    }

    pub(super) fn note_view(&self, view: View) {
        self.views.borrow_mut().push(view);
    }

    /// The ids of a speaker. In a world without erasures line n has the same id
    /// for all: so no speaker may silence another by its ids. The rest of an
    /// erased message has an id and no author.
    pub(super) fn ids_of(&self, name: &str) -> Ids {
        let own = name
            .bytes()
            .fold(7, |seed, byte| seed * 31 + u64::from(byte));
        Ids::seeded(if self.has_erasures { own } else { 7 })
    }
}

/// The messages that are erased, and those that are to be.
#[derive(Default)]
struct Erasures {
    /// The word of each, by its number.
    asked: BTreeMap<u64, String>,
    done: BTreeSet<String>,
}

/// The word that only one message has, and its corrections.
pub(super) fn word(text: &str) -> Option<&str> {
    let is_word = |word: &&str| word.starts_with('w') && word.ends_with('w');
    text.split(' ').find(is_word)
}

/// Checks that something shown has none of the erased words.
///
/// # Errors
/// Fails if it has one.
pub(super) fn check_erased(
    erased: &BTreeSet<String>,
    who: &str,
    shown: &str,
) -> Result<(), String> {
    match erased.iter().find(|word| shown.contains(&***word)) {
        Some(word) => Err(format!("{who} is shown the erased {word} in {shown}")),
        None => Ok(()),
    }
}

/// Makes up the next message; from here on it counts as sent.
pub(super) fn next_line(
    world: &World,
    rng: &mut Rng,
    name: &str,
    (room, to): (&str, Option<&str>),
    ids: &Ids,
) -> SentMessage {
    let number = world.messages_of(name).len() + 1;
    // Most messages are short. A long one makes a connection break within a
    // frame.
    let length = pick(rng, &[0, 0, 0, 0, 0, 0, 50, 50, 50, 3000]);
    let text = format!("{name} {number} w{name}x{number}w {}", "x".repeat(length));
    let line = SentMessage {
        room: room.to_owned(),
        to: to.map(str::to_owned),
        id: ids.of(number as u64).expect("an id").to_string(),
        text,
        about: None,
        is_refused: false,
        confirmed: false,
    };
    world.note_sent(name, line.clone());
    line
}

/// Makes up something about a message of a room; from here on it counts as sent.
pub(super) fn next_about(
    world: &World,
    name: &str,
    room: &str,
    ids: &Ids,
    (kind, seq, text): (PublishKind, u64, String),
) -> SentMessage {
    let number = world.messages_of(name).len() + 1;
    let line = SentMessage {
        room: room.to_owned(),
        to: None,
        id: ids.of(number as u64).expect("an id").to_string(),
        text,
        about: Some((kind, seq)),
        is_refused: false,
        confirmed: false,
    };
    world.note_sent(name, line.clone());
    line
}

pub(super) fn millis(rng: &mut Rng, most: u64) -> Duration {
    Duration::from_millis(rng.u64(..=most))
}
