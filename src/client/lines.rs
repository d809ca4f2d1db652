//! The faces made of lines: a pipe, whose lines are delivered, and a plain
//! terminal, where a person types lines. Both print the server's events.

mod incoming;

use std::{
    borrow::Cow,
    fmt,
    io::{self, Write},
    pin::pin,
    time::Duration,
};

use tokio::{
    select,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::incoming::Incoming;
use super::{
    Client, End, Frame, Happened, Position, State,
    failure::{Failure, Lost},
    ids::Ids,
    input::Input,
    one_line,
    output::Printer,
};
use crate::protocol::{
    Command, Event, Kind, Limits, Refusal, RefusalCode, json, plain,
    text::{Text, clean},
    typed,
};

/// How long the client waits for receipts after an interruption.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the client waits for a lost server after the input has ended.
const RETURN: Duration = Duration::from_secs(30);

/// How long the output may take before the end is reported regardless.
const SHOWING: Duration = Duration::from_secs(1);

/// Room for the word of a typed command and the blanks after it, in bytes.
const COMMAND: usize = 256;

/// The source of the lines; it decides what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A program or a file: every line is a message.
    Pipe,
    /// A person: a line that begins with a slash is a command.
    Terminal,
}

impl Source {
    /// The longest line to read, in bytes. A typed line may begin with the word
    /// of a command, which does not count as text.
    pub fn longest_line(self, limits: Limits) -> usize {
        match self {
            Source::Pipe => limits.text_bytes,
            Source::Terminal => limits.text_bytes + COMMAND,
        }
    }
}

/// The options of [`run`].
#[derive(Clone, Debug)]
pub struct Options {
    /// The source of the lines.
    pub source: Source,
    /// Whether to print events as JSON, as received.
    pub json: bool,
    /// Whether to print no events at all.
    pub quiet: bool,
    /// Whether to complain about a lost connection, and say when it is back.
    pub states: bool,
    /// The ids of the lines.
    pub ids: Ids,
}

/// Runs the conversation: sends the lines of the input and prints the server's
/// events.
///
/// It ends when the input has ended and every message is stored, when the
/// server is gone for good, or when `stop` is cancelled. Errors of single lines
/// go to `complaints` at once.
///
/// # Errors
///
/// Fails if the server is gone for good, if lines were not stored, or if the
/// input failed.
pub async fn run(
    client: Client,
    input: mpsc::Receiver<Vec<Input>>,
    printer: &mut Printer,
    complaints: &mut impl Write,
    options: Options,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut lines = Lines {
        client,
        options,
        printer,
        complaints,
        live: false,
        welcomed: false,
        connection: Connection::Up,
        shown: None,
        unremembered: None,
        lost: 0,
        unreadable: None,
    };
    let mut input = Incoming::new(input);
    let mut over = lines.hold(&mut input, stop).await;
    if let Err(end) = lines.client.settle().await {
        over = Over::Gone(end);
    }
    let outcome = lines.outcome(over, input).await;
    select! {
        () = lines.remember_all() => {}
        () = async { stop.cancelled().await; sleep(SHOWING).await } => {}
        () = sleep(SHOWING), if outcome.is_err() => {}
    }
    lines.client.close().await;
    if outcome.is_err() {
        // The events before the end should be printed before the failure. An
        // output without a reader must not delay the failure for ever.
        let _ = timeout(SHOWING, printer.finish()).await;
    }
    outcome
}

/// The reason why the conversation is over.
enum Over {
    /// The input has ended and every message is stored.
    Done,
    /// The conversation ended before the client was done.
    Gone(End),
    /// `stop` was cancelled.
    Interrupted,
}

/// The state of the connection, as the face has reported it.
enum Connection {
    /// It is up.
    Up,
    /// It is lost; the reason.
    Offline(End),
    /// It is up again; its welcome comes next.
    Back,
    /// The reader is catching up.
    Behind,
}

struct Lines<'a, W> {
    client: Client,
    options: Options,
    printer: &'a mut Printer,
    complaints: &'a mut W,
    /// Whether the replay is over.
    live: bool,
    welcomed: bool,
    connection: Connection,
    /// The position given to the printer last, if the outbox is a file.
    shown: Option<Position>,
    /// The position to remember once the printer has reached the mark.
    unremembered: Option<(u64, Position)>,
    /// Lines that will never be stored.
    lost: u64,
    unreadable: Option<io::Error>,
}

impl<W: Write> Lines<'_, W> {
    async fn hold(&mut self, input: &mut Incoming, stop: &CancellationToken) -> Over {
        let mut stopped = pin!(stop.cancelled());
        let mut patience = pin!(sleep(PATIENCE));
        let mut interrupted = false;
        let mut alone = pin!(sleep(RETURN));
        let mut forsaken = false;
        loop {
            if interrupted {
                if self.client.unconfirmed() == 0 {
                    return Over::Interrupted;
                }
            } else {
                while self.client.has_room()
                    && let Some(line) = input.waiting.next()
                {
                    self.enter(line);
                }
                if input.over
                    && !input.is_waiting()
                    && self.client.unconfirmed() == 0
                    && self.has_shown_all()
                {
                    return Over::Done;
                }
            }
            // The client waits for a lost server until the input has ended, and
            // for `RETURN` after that.
            let forsake = input.over && !input.is_waiting() && self.is_offline();
            if forsake && !forsaken {
                alone.as_mut().reset(Instant::now() + RETURN);
            }
            forsaken = forsake;
            if self.unremembered.is_none()
                && let Some(position) = self.shown.take()
            {
                self.unremembered = Some((self.printer.mark(), position));
            }
            let mark = self.unremembered.as_ref().map_or(0, |(mark, _)| *mark);
            let wanted = !interrupted && !input.over && !input.is_waiting();
            let printing = self.printer.is_open();
            let printable = !self.printer.is_full();
            // The order is: input, then events, then printing when no event
            // waits. No branch starves the next: input stops when the outbox is
            // full, and reading stops when the printer is full.
            select! {
                biased;
                () = &mut stopped, if !interrupted => {
                    interrupted = true;
                    patience.as_mut().reset(Instant::now() + PATIENCE);
                }
                () = &mut patience, if interrupted => return Over::Interrupted,
                () = &mut alone, if forsaken => {
                    if let Connection::Offline(why) = &self.connection {
                        return Over::Gone(why.clone());
                    }
                }
                written = self.printer.written(mark), if self.unremembered.is_some() => {
                    if let Some((_, position)) = self.unremembered.take()
                        && written
                    {
                        self.client.remember(&position);
                    }
                }
                batch = input.batches.recv(), if wanted => match batch {
                    Some(batch) => input.waiting = batch.into_iter(),
                    None => input.over = true,
                },
                happened = self.client.next(), if printable => {
                    if let Some(end) = self.show(happened) {
                        return Over::Gone(end);
                    }
                }
                () = self.printer.work(), if printing => {
                    if !self.printer.is_open() && self.options.source == Source::Terminal {
                        // The output has no reader, so the client only waits
                        // for the lines typed so far.
                        input.over = true;
                    }
                }
            }
        }
    }

    /// Remembers the last position, once everything up to it is printed.
    async fn remember_all(&mut self) {
        let waiting = self.unremembered.take().map(|(_, position)| position);
        if let Some(position) = self.shown.take().or(waiting)
            && self.printer.flush().await
        {
            self.client.remember(&position);
        }
    }

    fn is_offline(&self) -> bool {
        matches!(self.connection, Connection::Offline(_))
    }

    /// Whether the replay is printed, or need not be: a printing pipe prints all
    /// of it, even if its input ends first.
    fn has_shown_all(&self) -> bool {
        let printing = !self.options.quiet && self.printer.is_open();
        self.live || !printing || self.options.source == Source::Terminal
    }

    /// Sends a line of the input, or complains about it.
    fn enter(&mut self, input: Input) {
        let limit = self.client.welcome().limits.text_bytes;
        match (self.options.source, input) {
            (Source::Pipe, Input::Line { number, text }) => match self.options.ids.of(number) {
                Ok(id) => self.client.send(Command::Publish {
                    text,
                    id: Some(id),
                    kind: Kind::Said,
                    follows: None,
                }),
                Err(why) => self.lose(format_args!("line {number} was not sent: {why}")),
            },
            (Source::Pipe, Input::TooLong { number }) => self.lose(format_args!(
                "line {number} has more than {limit} bytes and was not sent"
            )),
            (Source::Terminal, Input::Line { number, text }) => self.typed(number, &text),
            (Source::Terminal, Input::TooLong { .. }) => {
                let why = format!(
                    "The line is too long and was not sent: at most {limit} bytes of text are taken."
                );
                self.put(&Event::Refused(Refusal::new(RefusalCode::TooLong, why)));
            }
            (_, Input::Failed(error)) => self.unreadable = Some(error),
        }
    }

    fn typed(&mut self, number: u64, line: &str) {
        let limit = self.client.welcome().limits.text_bytes;
        let command = match typed::parse(line) {
            Ok(Some(command)) => command,
            Ok(None) => return,
            Err(refusal) => return self.put(&Event::Refused(refusal)),
        };
        match command {
            Command::Help => self.put(&plain::help()),
            Command::Publish { text, kind, .. } => match Text::accept(&text, limit) {
                Ok(_) => self.client.send(Command::Publish {
                    text,
                    id: self.options.ids.of(number).ok(),
                    kind,
                    follows: None,
                }),
                Err(refusal) => self.put(&Event::Refused(refusal)),
            },
            Command::Private { to, text, .. } => match Text::accept(&text, limit) {
                Ok(_) => self.client.send(Command::Private {
                    to,
                    text,
                    id: self.options.ids.of(number).ok(),
                    follows: None,
                }),
                Err(refusal) => self.put(&Event::Refused(refusal)),
            },
            command => self.client.send(command),
        }
    }

    /// Prints what happened; returns the end without printing it.
    fn show(&mut self, happened: Happened) -> Option<End> {
        match happened {
            Happened::Told(frame, event) => {
                let mut shown = event;
                match &shown {
                    Event::Live { .. } => self.live = true,
                    Event::Welcome(welcome) => {
                        self.live = false;
                        // A person reads one welcome, and a line for each later
                        // room. A new connection to the same room needs none.
                        if matches!(self.connection, Connection::Back) {
                            self.connection = Connection::Behind;
                            if !self.options.json {
                                return None;
                            }
                        }
                        if std::mem::replace(&mut self.welcomed, true) {
                            shown = plain::joined(&welcome.room, welcome.topic.as_ref());
                        }
                    }
                    _ => {}
                }
                self.put_told(&frame, &shown);
                if self.client.is_kept() && self.printer.is_open() {
                    self.shown = self.client.position().cloned();
                }
            }
            Happened::Refused { frame, id, text } => {
                if self.options.source == Source::Pipe {
                    match self.options.ids.line(&id) {
                        Some(line) => self.lose(format_args!("line {line} was not stored: {text}")),
                        None => self.lose(format_args!("an earlier line was not stored: {text}")),
                    }
                }
                if self.options.json || self.options.source == Source::Terminal {
                    self.put_told(&frame, &Event::Notice { text });
                }
            }
            Happened::Heard(frame) => {
                if self.options.json && !self.options.quiet {
                    self.printer.put(&one_line(frame.text()));
                }
            }
            Happened::Hole { after, next } => self.complain(format_args!(
                "messages between {after} and {next} are missing, and the server does not say why"
            )),
            Happened::State(state) => self.show_state(state),
            Happened::Ended(end) => return Some(end),
        }
        None
    }

    /// Complains about a change of the connection, once for each change.
    fn show_state(&mut self, state: State) {
        let said = match state {
            State::Offline { .. } if self.is_offline() => return,
            State::Offline { why, unsent, .. } => {
                let said = format!("offline ({why}), {unsent} unsent; trying again");
                self.connection = Connection::Offline(why);
                said
            }
            State::Connected => {
                self.connection = Connection::Back;
                "connected again".to_owned()
            }
            State::CaughtUp if matches!(self.connection, Connection::Behind) => {
                self.connection = Connection::Up;
                "caught up".to_owned()
            }
            State::CatchingUp { .. } | State::CaughtUp => return,
            State::Held { why, unsent, .. } => {
                format!("the server takes no more for now ({why}), {unsent} unsent; trying again")
            }
        };
        if self.options.states {
            self.complain(format_args!("{said}"));
        }
    }

    /// Prints an event of the server, as received or in the plain format.
    fn put_told(&mut self, frame: &Frame, event: &Event) {
        match (self.options.quiet, self.options.json) {
            (true, _) => {}
            (false, true) => self.printer.put(&one_line(frame.text())),
            (false, false) => self.put(event),
        }
    }

    /// Prints an event that the client itself made.
    fn put(&mut self, event: &Event) {
        if self.options.json {
            self.printer.put(&one_line(&json::event(event)));
        } else if let Some(line) = plain::event(event) {
            self.printer.put(&shown(&line));
        }
    }

    fn lose(&mut self, why: fmt::Arguments<'_>) {
        self.lost += 1;
        self.complain(why);
    }

    fn complain(&mut self, why: fmt::Arguments<'_>) {
        // If this cannot be written, the exit code still tells.
        let _ = writeln!(self.complaints, "client: {}", one_line(&why.to_string()));
    }

    async fn outcome(&mut self, over: Over, mut input: Incoming) -> Result<(), Failure> {
        let kept = self.client.is_kept();
        let pending = self.lost + self.client.unconfirmed() as u64;
        let server = self.client.server().to_owned();
        match over {
            Over::Done => match self.unreadable.take() {
                Some(error) => Err(Failure::Unreadable(error)),
                None if self.lost > 0 => Err(Failure::NotStored(Lost {
                    lines: self.lost,
                    more: false,
                    kept: false,
                })),
                None => Ok(()),
            },
            Over::Gone(end) => {
                let (unsent, more) = match self.options.source {
                    Source::Pipe => input.count_all().await,
                    Source::Terminal => (input.count_read(), false),
                };
                let lines = pending + unsent;
                let done = matches!(end, End::Closed { code: 1000, .. });
                let gone = Failure::Gone {
                    server,
                    end,
                    lost: Lost { lines, more, kept },
                };
                if done && lines == 0 {
                    self.complain(format_args!("{gone}"));
                    return Ok(());
                }
                Err(gone)
            }
            Over::Interrupted => match pending + input.count_read() {
                0 => Ok(()),
                lines => Err(Failure::Interrupted {
                    server,
                    lost: Lost {
                        lines,
                        more: false,
                        kept,
                    },
                }),
            },
        }
    }
}

/// Makes a line of the plain format safe to print. Every further line in it is
/// indented, so that it cannot pose as another person's message.
fn shown(line: &str) -> Cow<'_, str> {
    match clean(line) {
        Cow::Borrowed(line) => line.into(),
        Cow::Owned(line) => {
            let mut safe = String::with_capacity(line.len());
            for (n, part) in line.split('\n').enumerate() {
                safe.push_str(match n {
                    0 => "",
                    _ if part.starts_with("  ") => "\n",
                    _ => "\n  ",
                });
                safe.push_str(part);
            }
            safe.into()
        }
    }
}

#[cfg(test)]
mod tests;
