//! The interactive client, for a person at a terminal.
//!
//! Messages go into the terminal's own scrollback. The last lines of the screen
//! are the footer: the state and the text being typed.
//!
//! Actions and events change the model; the footer is drawn from the model
//! alone. The painter turns new lines and the footer into the bytes of one
//! screen update. One update is written at a time: changes that arrive
//! meanwhile go into the next one.

mod editor;
mod external_editor;
mod footer;
mod found;
mod keys;
mod line;
mod model;
mod painter;
mod sent_texts;
pub mod terminal;
mod width;

use std::{io, path::PathBuf, pin::pin, time::Duration};

use crossterm::event::EventStream;
use futures_util::StreamExt;
use jiff::{Timestamp, tz::TimeZone};
use rustix::process::{Signal, kill_current_process_group};
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

pub use self::painter::ColourDepth;
use self::{
    footer::{Footer, footer},
    keys::KeyAction,
    line::Line,
    model::{Model, ModelOptions, Now, SCREEN_REF, typing::Effect},
    painter::Painter,
    sent_texts::SentTexts,
    terminal::RawMode,
    width::text_width,
};
use super::{
    Client, ClientEvent, End, Position,
    failure::{Failure, Unstored},
    ids::Ids,
    last_visit::{LastVisit, Visits},
    output::Printer,
};
use crate::protocol::{Command, WallTime, name::Name};

/// How long the client waits for outstanding receipts before it leaves.
const RECEIPT_DEADLINE: Duration = Duration::from_secs(2);

/// How long the last screen update may take before the client exits.
const LAST_UPDATE_DEADLINE: Duration = Duration::from_secs(1);

/// The shortest time between two screen updates when no key was pressed.
const MIN_UPDATE_INTERVAL: Duration = Duration::from_millis(8);

/// The options of the screen.
#[derive(Clone, Debug)]
pub struct ScreenOptions {
    /// Which colours the terminal supports.
    pub colours: ColourDepth,
    /// Whether the bell rings for private messages and for messages with the
    /// user's name.
    pub bell: bool,
    /// Whether joins and leaves are shown at first.
    pub joins: bool,
    /// Gives each message its id.
    pub ids: Ids,
    /// The folder for the texts the user has sent; `None` keeps none.
    pub folder: Option<PathBuf>,
}

/// Why the conversation ended.
enum Ending {
    Left,
    Gone(End),
    Broken(io::Error),
}

#[allow(clippy::struct_excessive_bools)] // the flags are independent
struct Screen<'a> {
    client: Client,
    model: Model,
    painter: Painter,
    printer: &'a mut Printer,
    past: SentTexts,
    visits: Visits,
    /// The name that `visits` was told.
    noted_name: Option<Name>,
    raw_mode: RawMode,
    columns: usize,
    rows: usize,
    /// The terminal does not show the latest state.
    stale: bool,
    /// A key was pressed since the last update: the next one is not delayed.
    urgent: bool,
    /// The next update redraws the whole screen.
    redraw: bool,
    /// The update being written: the printer's mark for it, and the position
    /// that was shown once it is written.
    update: Option<(u64, Option<Position>)>,
    painted: Instant,
    /// `suspend` has already taken the terminal again: the next `SIGCONT` is
    /// ignored.
    skip_next_continue: bool,
    leaving: bool,
}

/// Runs the conversation on the terminal, until the user leaves, the server
/// ends it for good, or `stop` is cancelled.
///
/// # Errors
///
/// Fails when the server ended the conversation for good, messages were not
/// stored, or the terminal failed.
pub async fn run(
    client: Client,
    printer: &mut Printer,
    settings: ScreenOptions,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let raw_mode = RawMode::enter().map_err(Failure::Unreadable)?;
    let manner = ModelOptions {
        zone: TimeZone::system(),
        ids: settings.ids,
        bell: settings.bell,
        joins: settings.joins,
    };
    let sent_texts = SentTexts {
        folder: settings.folder,
        origin: client.origin(),
    };
    let visits = Visits {
        folder: sent_texts.folder.clone(),
        origin: client.origin(),
    };
    let mut model = Model::new(client.welcome(), manner, now());
    if let Some(visit) = visits.last(model.room()) {
        model.return_from(visit);
    }
    let mut screen = Screen {
        past: sent_texts,
        visits,
        noted_name: None,
        model,
        client,
        painter: Painter::new(settings.colours),
        printer,
        raw_mode,
        columns: 80,
        rows: 24,
        stale: true,
        urgent: true,
        redraw: false,
        update: None,
        painted: Instant::now(),
        skip_next_continue: false,
        leaving: false,
    };
    screen.measure();
    // A key may come before the first event and needs the sent texts.
    screen.load_sent_texts();
    let mut over = match screen.run_loop(stop).await {
        Ok(over) => over,
        Err(error) => Ending::Broken(error),
    };
    if let Err(end) = screen.client.settle().await {
        over = Ending::Gone(end);
    }
    screen.end(over).await
}

fn now() -> Now {
    Now {
        wall: Timestamp::now(),
        tick: Instant::now(),
    }
}

impl Screen<'_> {
    async fn run_loop(&mut self, stop: &CancellationToken) -> io::Result<Ending> {
        let mut keys = EventStream::new();
        let mut continued = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
        let mut stopped = pin!(stop.cancelled());
        let mut patience = pin!(sleep(RECEIPT_DEADLINE));
        loop {
            if self.leaving && self.client.unconfirmed() == 0 && !self.client.has_unsent() {
                return Ok(Ending::Left);
            }
            if !self.printer.is_open() {
                return Ok(Ending::Left);
            }
            let due = self.painted
                + if self.urgent {
                    Duration::ZERO
                } else {
                    MIN_UPDATE_INTERVAL
                };
            if self.stale && self.update.is_none() && Instant::now() >= due {
                self.paint().await;
            }
            let mark = self.update.as_ref().map_or(0, |(mark, _)| *mark);
            let waiting = self.stale && self.update.is_none();
            let tick = self.model.next_tick(now());
            // Keys come first, then the end of the current write, which allows
            // the next update, then events. No branch starves a later one.
            select! {
                biased;
                () = &mut stopped, if !self.leaving => {
                    self.leave(patience.as_mut());
                }
                () = &mut patience, if self.leaving => return Ok(Ending::Left),
                event = keys.next() => match event {
                    Some(Ok(event)) => {
                        let Some(action) = keys::action(event) else {
                            continue;
                        };
                        match self.act(action).await? {
                            Some(Effect::Leave) if self.leaving => return Ok(Ending::Left),
                            Some(Effect::Leave) => self.leave(patience.as_mut()),
                            Some(Effect::Edit) => {
                                // The editor reads the keys meanwhile.
                                drop(keys);
                                self.edit().await?;
                                keys = EventStream::new();
                            }
                            _ => {}
                        }
                    }
                    Some(Err(error)) => return Ok(Ending::Broken(error)),
                    None => return Ok(Ending::Left),
                },
                _ = continued.recv() => self.resume()?,
                written = self.printer.written(mark), if self.update.is_some() => {
                    if let Some((_, position)) = self.update.take()
                        && let Some(position) = position
                        && written
                    {
                        self.client.remember(&position);
                    }
                }
                happened = self.client.next(), if !self.model.is_full() => {
                    if let ClientEvent::Ended(end) = happened {
                        return Ok(Ending::Gone(end));
                    }
                    self.follow(happened);
                }
                () = sleep_until(due), if waiting => {}
                () = sleep_until(tick.unwrap_or(due)), if tick.is_some() => self.stale = true,
            }
        }
    }

    fn leave(&mut self, patience: std::pin::Pin<&mut tokio::time::Sleep>) {
        self.model.note_read_on_leaving();
        self.send();
        self.leaving = true;
        patience.reset(Instant::now() + RECEIPT_DEADLINE);
        self.model.hint = Some("leaving; Ctrl-C leaves now".to_owned());
        self.stale = true;
    }

    /// Carries out an action. Returns what is left to do.
    async fn act(&mut self, action: KeyAction) -> io::Result<Option<Effect>> {
        (self.stale, self.urgent) = (true, true);
        if let KeyAction::Resize { columns, rows } = action {
            self.columns = usize::from(columns).max(1);
            self.rows = usize::from(rows).max(1);
            return Ok(None);
        }
        let effect = self.model.act(action, now(), self.client.has_room());
        match effect {
            Some(Effect::Leave | Effect::Edit) => return Ok(effect),
            Some(Effect::Suspend) => self.suspend().await?,
            Some(Effect::Redraw) => self.redraw = true,
            None => {}
        }
        if let Some(text) = self.model.take_just_sent() {
            self.past.append(self.model.room(), &text);
        }
        self.send();
        Ok(None)
    }

    /// Opens the typed text in the user's editor. The conversation goes on
    /// meanwhile; its lines are shown afterwards.
    async fn edit(&mut self) -> io::Result<()> {
        let lines = self.model.take_lines();
        let update = self.painter.leave(&lines, self.columns);
        self.printer.write(&update);
        self.printer.flush().await;
        terminal::restore();
        let text = self.model.editor.text().to_owned();
        let mut edited = tokio::task::spawn_blocking(move || external_editor::edit(&text));
        let edited = loop {
            select! {
                edited = &mut edited => break edited.map_err(io::Error::other)?,
                happened = self.client.next(), if !self.model.is_full() => {
                    let is_over = matches!(happened, ClientEvent::Ended(_));
                    self.follow(happened);
                    if is_over {
                        break edited.await.map_err(io::Error::other)?;
                    }
                }
            }
        };
        self.take_up()?;
        match edited {
            Ok(text) => self.model.editor.set(text.trim_end_matches('\n')),
            Err(why) => self.model.hint = Some(format!("the editor failed: {why}")),
        }
        Ok(())
    }

    fn follow(&mut self, happened: ClientEvent) {
        self.model.follow(happened, now());
        self.load_sent_texts();
        if let Some(position) = self.client.position() {
            self.model.bookmark(position);
        }
        self.model.note_read(now());
        if self.client.unconfirmed() == 0 {
            self.model.all_stored();
        }
        if self.noted_name != self.model.you().name {
            self.noted_name.clone_from(&self.model.you().name);
            if let Some(name) = &self.noted_name {
                self.visits.note_name(name);
            }
        }
        self.send();
        self.stale = true;
    }

    /// Loads the texts sent in this room by earlier clients, once.
    fn load_sent_texts(&mut self) {
        if !self.model.has_earlier() {
            self.model.add_earlier(self.past.load(self.model.room()));
        }
    }

    fn send(&mut self) {
        for command in self.model.take_commands() {
            self.client.send(command);
        }
        for question in self.model.take_questions() {
            match question {
                Command::History { .. } => self.client.ask(question, &self.model.talk_ref()),
                question => self.client.ask(question, SCREEN_REF),
            }
        }
    }

    /// Hands the printer an update with everything not shown yet.
    async fn paint(&mut self) {
        let lines = self.model.take_lines();
        let footer = footer(&self.model, now(), self.columns, self.rows);
        let mut update = if std::mem::take(&mut self.redraw) {
            let last = self.last_lines(&footer);
            self.painter.repaint(&last, &footer)
        } else {
            self.painter.paint(&lines, &footer, self.columns)
        };
        if self.model.take_bell() {
            update.push('\x07');
        }
        update.push_str(&self.model.take_calls());
        self.printer.write(&update);
        let kept = self.client.is_kept();
        let position = self.client.position().filter(|_| kept).cloned();
        self.update = Some((self.printer.mark(), position));
        // No other update is being written, so the printer has room for this.
        self.printer.work().await;
        self.painted = Instant::now();
        (self.stale, self.urgent) = (false, false);
    }

    /// The last lines that fit on the screen above the footer.
    fn last_lines(&self, footer: &Footer) -> Vec<Line> {
        let mut room = self.rows.saturating_sub(footer.rows());
        let lines = self.model.last_lines(self.rows);
        let rows = |line: &Line| -> usize {
            let rows = |row: &str| text_width(row).div_ceil(self.columns).max(1);
            line.text().split('\n').map(rows).sum()
        };
        let fitting = lines.iter().rev().take_while(|line| {
            let needed = rows(line);
            let fits = needed <= room;
            room = room.saturating_sub(needed);
            fits
        });
        let count = fitting.count();
        lines[lines.len() - count..].to_vec()
    }

    /// Gives the terminal to the shell, and stops the client until the shell
    /// continues it.
    async fn suspend(&mut self) -> io::Result<()> {
        let lines = self.model.take_lines();
        let update = self.painter.leave(&lines, self.columns);
        self.printer.write(&update);
        self.printer.flush().await;
        terminal::restore();
        // The kernel ignores this in an orphaned process group, which no shell
        // could continue.
        kill_current_process_group(Signal::TSTP)?;
        self.skip_next_continue = true;
        self.take_up()
    }

    /// Takes the terminal again on `SIGCONT`, unless `suspend` already did.
    fn resume(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.skip_next_continue) {
            return Ok(());
        }
        self.painter.forget();
        self.take_up()
    }

    fn take_up(&mut self) -> io::Result<()> {
        self.raw_mode.retake()?;
        self.measure();
        (self.stale, self.urgent) = (true, true);
        Ok(())
    }

    fn measure(&mut self) {
        if let Ok((columns, rows)) = crossterm::terminal::size() {
            self.columns = usize::from(columns).max(1);
            self.rows = usize::from(rows).max(1);
        }
    }

    /// Gives the terminal back and closes the connection.
    async fn end(mut self, over: Ending) -> Result<(), Failure> {
        let lines = self.model.take_lines();
        let update = self.painter.leave(&lines, self.columns);
        self.printer.write(&update);
        let shown = timeout(LAST_UPDATE_DEADLINE, self.printer.flush()).await;
        drop(self.raw_mode);
        if shown == Ok(true)
            && self.client.is_kept()
            && let Some(position) = self.client.position().cloned()
        {
            self.client.remember(&position);
        }
        if shown == Ok(true) {
            for position in self.model.positions() {
                let position = position.clone();
                let at = WallTime(Timestamp::now().as_millisecond());
                self.visits.note(&LastVisit { position, at });
            }
        }
        let lost = Unstored {
            lines: self.client.unconfirmed() as u64,
            more: false,
            kept: self.client.is_kept(),
        };
        let server = self.client.server().to_owned();
        self.client.close().await;
        match over {
            Ending::Left if lost.lines == 0 => Ok(()),
            Ending::Left => Err(Failure::Interrupted { server, lost }),
            Ending::Gone(end) => Err(Failure::Gone { server, end, lost }),
            Ending::Broken(error) => Err(Failure::Unreadable(error)),
        }
    }
}

#[cfg(test)]
mod tests;
