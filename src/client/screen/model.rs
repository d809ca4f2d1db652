//! The state of the screen: rooms, people, the connection, the typed text.
//!
//! Events and actions change it; nothing here knows the terminal. The main loop
//! takes the lines to show, the commands to send and the bell from it.

mod calls;
mod completion;
mod connection;
mod events;
mod place_list;
pub(super) mod places;
mod returning;
mod room;
mod talk;
pub(super) mod typing;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    mem,
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use tokio::time::Instant;

use self::{
    completion::Completion,
    place_list::PlaceList,
    room::{RoomModel, Shown, ShownMessage},
};
use super::{
    super::{Position, ids::Ids, last_visit::LastVisit},
    editor::Editor,
    line::{Line, Style, clock},
};
use crate::protocol::{
    Author, Command, Message, Seq, Welcome,
    name::{MessageId, Name, RoomName},
};

/// The ref of the questions the screen asks by itself; their answers are not
/// shown.
pub(super) const SCREEN_REF: &str = "screen";

/// A moment: in wall-clock time for people, in monotonic time for timers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) wall: Timestamp,
    pub(super) tick: Instant,
}

/// The state of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LinkStatus {
    Up,
    /// Missed messages are being shown: `from` one number, now `at` another, up
    /// to `head`.
    Behind {
        from: Seq,
        at: Seq,
        head: Seq,
    },
    Offline {
        again: Instant,
    },
}

/// Messages that came while the user was away or the connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unseen {
    pub(super) since: Timestamp,
    pub(super) count: u64,
}

/// A message of this client that has no receipt yet.
#[derive(Debug)]
pub(super) struct Sending {
    id: MessageId,
    pub(super) text: String,
}

/// The replay of the room to which the user comes back.
#[derive(Debug)]
struct Returning {
    visit: LastVisit,
    /// The messages until the new ones are counted.
    held: Vec<Message>,
}

/// The options of the model.
#[derive(Clone, Debug)]
pub(super) struct ModelOptions {
    pub(super) zone: TimeZone,
    pub(super) ids: Ids,
    pub(super) bell: bool,
    /// Joins and leaves are shown.
    pub(super) joins: bool,
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // the flags are independent
pub(super) struct Model {
    options: ModelOptions,
    /// How many messages were given an id.
    spoken: u64,
    welcome: Welcome,
    welcomed: bool,
    /// The first replay is over.
    live: bool,
    /// The replay of the room began after this number. Its messages are shown as
    /// they are now, so the changes of them in the replay are not.
    replayed_after: Seq,
    pub(super) link: LinkStatus,
    /// When the connection was lost, until everything missed is shown.
    lost_since: Option<Timestamp>,
    /// The client has reconnected; the welcome is still to come.
    reconnected: bool,
    /// Why the server accepts no messages for now.
    pub(super) refusing: Option<String>,
    pub(super) unseen: Option<Unseen>,
    /// When the terminal lost the focus, while it has none.
    unfocused_since: Option<Timestamp>,
    /// The first replay, until its new messages are counted.
    returning: Option<Returning>,
    /// The author of the last private message to the user.
    last_private: Option<Name>,
    /// A sentence about the last key, until the next one.
    pub(super) hint: Option<String>,
    interrupted: bool,
    pub(super) sending: VecDeque<Sending>,
    day: Date,
    rooms: HashMap<RoomName, RoomModel>,
    room: RoomModel,
    pub(super) editor: Editor,
    pub(super) completion: Option<Completion>,
    /// The names seen in events, the latest first.
    people: Vec<String>,
    known: BTreeSet<String>,
    lines: Vec<Line>,
    commands: Vec<Command>,
    /// The questions the screen asks by itself.
    questions: Vec<Command>,
    rings: bool,
    /// The text of the next notification of the desktop.
    notification: Option<String>,
    /// The title that the window has.
    shown_title: String,
    places: PlaceList,
    just_sent: Option<String>,
}

impl Model {
    pub(super) fn new(welcome: &Welcome, options: ModelOptions, now: Now) -> Self {
        Model {
            day: now.wall.to_zoned(options.zone.clone()).date(),
            options,
            spoken: 0,
            welcome: welcome.clone(),
            welcomed: false,
            live: false,
            replayed_after: Seq::START,
            link: LinkStatus::Up,
            lost_since: None,
            reconnected: false,
            refusing: None,
            unseen: None,
            unfocused_since: None,
            returning: None,
            last_private: None,
            hint: None,
            interrupted: false,
            sending: VecDeque::new(),
            rooms: HashMap::new(),
            room: RoomModel::default(),
            editor: Editor::default(),
            completion: None,
            people: Vec::new(),
            known: BTreeSet::new(),
            lines: Vec::new(),
            commands: Vec::new(),
            questions: Vec::new(),
            rings: false,
            notification: None,
            shown_title: String::new(),
            places: PlaceList::default(),
            just_sent: None,
        }
    }

    /// The room on the screen.
    pub(super) fn room(&self) -> &RoomName {
        &self.welcome.room
    }

    /// How many members the room has.
    pub(super) fn members(&self) -> usize {
        self.welcome.members
    }

    /// The user's name and address, as the server sees them.
    pub(super) fn you(&self) -> &Author {
        &self.welcome.you
    }

    /// How many more bytes may be typed; negative when the text is too long.
    pub(super) fn bytes_left(&self) -> i64 {
        let length = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        length(self.limit()) - length(self.editor.text().len())
    }

    /// The longest text of a message, in bytes.
    pub(super) fn limit(&self) -> usize {
        self.welcome.limits.text_bytes
    }

    /// The time of day of a moment, in the user's time zone.
    pub(super) fn clock(&self, at: Timestamp) -> String {
        clock(&at.to_zoned(self.options.zone.clone()))
    }

    /// Takes the lines that were not shown yet.
    pub(super) fn take_lines(&mut self) -> Vec<Line> {
        mem::take(&mut self.lines)
    }

    /// Whether 2000 lines wait to be shown: then the loop reads no more events.
    pub(super) fn is_full(&self) -> bool {
        self.lines.len() >= 2000
    }

    /// Takes the commands to send.
    pub(super) fn take_commands(&mut self) -> Vec<Command> {
        mem::take(&mut self.commands)
    }

    /// Takes the questions to ask under [`SCREEN_REF`].
    pub(super) fn take_questions(&mut self) -> Vec<Command> {
        mem::take(&mut self.questions)
    }

    /// Takes the text just entered, to keep it for later clients.
    pub(super) fn take_just_sent(&mut self) -> Option<String> {
        self.just_sent.take()
    }

    /// Whether the texts sent in this room by earlier clients are loaded.
    pub(super) fn has_earlier(&self) -> bool {
        self.room.has_earlier
    }

    /// Adds the texts sent in this room by earlier clients.
    pub(super) fn add_earlier(&mut self, typed: Vec<String>) {
        self.room.add_earlier(typed);
    }

    /// Takes the request to ring the bell; false if the bell is turned off.
    pub(super) fn take_bell(&mut self) -> bool {
        mem::take(&mut self.rings) && self.options.bell
    }

    /// The last `count` lines of the place on the screen.
    pub(super) fn last_lines(&self, count: usize) -> Vec<Line> {
        if self.talking().is_none() {
            return self.room.last_lines(count).cloned().collect();
        }
        let lines = &self.places.lines;
        let skipped = lines.len().saturating_sub(count);
        lines.iter().skip(skipped).cloned().collect()
    }

    /// Shows a line and keeps it with the place on the screen.
    fn put(&mut self, line: Line) {
        self.put_shown(Shown::Other, line);
    }

    fn put_shown(&mut self, shown: Shown, line: Line) {
        let is_talking = self.places.talking.is_some();
        let waits = is_talking && shown.is_of_room();
        if waits {
            // The messages of the room wait while a conversation is on the screen.
            self.places.hidden += u64::from(shown.message().is_some());
        } else {
            self.lines.push(line.clone());
        }
        if is_talking && !waits {
            self.places.keep(line);
        } else {
            self.room.keep(shown, line);
        }
    }

    /// The message that the user picks and some around it, each with whether it
    /// is the picked one.
    pub(super) fn choice(&self) -> Vec<(bool, &ShownMessage)> {
        self.room.choice()
    }

    /// Shows a sentence of the client itself.
    pub(super) fn note(&mut self, style: Style, text: &str) {
        self.put(Line::new(style, format!("* {text}")));
    }

    /// Keeps the position from which the room resumes when the user returns.
    pub(super) fn bookmark(&mut self, position: &Position) {
        if position.room == *self.room() {
            self.room.last_position = Some(position.clone());
        }
    }

    /// The position of each room that was shown.
    pub(super) fn positions(&self) -> impl Iterator<Item = &Position> {
        let rooms = self.rooms.values().chain([&self.room]);
        rooms.filter_map(|room| room.last_position.as_ref())
    }

    /// Clears `sending`: no message of this client waits for a receipt.
    pub(super) fn all_stored(&mut self) {
        self.sending.clear();
        self.refusing = None;
    }
}
