//! The faces made of lines: a pipe whose lines are delivered, and a plain
//! terminal where lines are typed. Both print what is said meanwhile.

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

/// How long receipts are still waited for after an interruption.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a server that is gone is waited for once there is no more input.
const RETURN: Duration = Duration::from_secs(30);

/// How long the output may take before the end is reported regardless.
const SHOWING: Duration = Duration::from_secs(1);

/// The longest word of a command with the blanks after it, in bytes, and then
/// some.
const COMMAND: usize = 256;

/// Where lines come from, which decides what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A program or a file: every line is said as it stands.
    Pipe,
    /// A person: lines that begin with a slash are commands.
    Terminal,
}

impl Source {
    /// The longest line worth reading, in bytes: what is typed may begin with
    /// the word of a command, which does not count.
    pub fn longest_line(self, limits: Limits) -> usize {
        match self {
            Source::Pipe => limits.text_bytes,
            Source::Terminal => limits.text_bytes + COMMAND,
        }
    }
}

/// How the conversation is held.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where lines come from.
    pub source: Source,
    /// Print events as JSON, as received.
    pub json: bool,
    /// Print nothing of the chat.
    pub quiet: bool,
    /// Say on the complaints when the connection is lost and when it is back.
    pub states: bool,
    /// The ids of the lines.
    pub ids: Ids,
}

/// Holds the conversation: sends what the input gives and prints what the
/// server tells, until the input is over and everything is stored, the server
/// goes for good, or `stop` is cancelled.
///
/// What goes wrong with a single line is said on `complaints` at once.
///
/// # Errors
///
/// The server went for good, lines were not stored, or the input failed.
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
        // What was said before the end is better read before it; but an output
        // nobody reads does not keep the end a secret.
        let _ = timeout(SHOWING, printer.finish()).await;
    }
    outcome
}

/// Why the conversation is over.
enum Over {
    /// Nothing is left to do.
    Done,
    /// The server went.
    Gone(End),
    /// It was interrupted.
    Interrupted,
}

/// How it stands with the connection, as far as it was said.
enum Connection {
    /// It is there, and everything was shown.
    Up,
    /// It is lost, and why.
    Offline(End),
    /// It is there again; its welcome comes next.
    Back,
    /// What was said meanwhile is being shown.
    Behind,
}

struct Lines<'a, W> {
    client: Client,
    options: Options,
    printer: &'a mut Printer,
    complaints: &'a mut W,
    /// The replay is over.
    live: bool,
    welcomed: bool,
    connection: Connection,
    /// What was given to the printer last, where it is to be remembered.
    shown: Option<Position>,
    /// What will be remembered once the printer has come to a mark.
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
            // A server that is gone is waited for as long as there is more to
            // say to it, and a while longer.
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
            // In this order: what is asked of us before what we are told, and
            // printing when nothing more is told right now. None starves the
            // next: input ends with the window, and a full printer ends reading.
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
                        // Nobody reads along: there is nothing to wait for but
                        // what was typed so far.
                        input.over = true;
                    }
                }
            }
        }
    }

    /// Remembers what was shown last, once it is printed.
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

    /// A pipe that is printed shows the whole replay, however short its input.
    fn has_shown_all(&self) -> bool {
        let printing = !self.options.quiet && self.printer.is_open();
        self.live || !printing || self.options.source == Source::Terminal
    }

    /// Sends what the input gave.
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

    /// Prints what happened, except the end.
    fn show(&mut self, happened: Happened) -> Option<End> {
        match happened {
            Happened::Told(frame, event) => {
                let mut shown = event;
                match &shown {
                    Event::Live { .. } => self.live = true,
                    Event::Welcome(welcome) => {
                        self.live = false;
                        // A person is welcomed once, then told of other rooms;
                        // a new connection is nothing new about this one.
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
                "what stood between {after} and {next} did not come, and the server does not say why"
            )),
            Happened::State(state) => self.show_state(state),
            Happened::Ended(end) => return Some(end),
        }
        None
    }

    /// Says what has changed, once for each change.
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

    /// Prints an event of the server: as received, or as the plain format has
    /// it.
    fn put_told(&mut self, frame: &Frame, event: &Event) {
        match (self.options.quiet, self.options.json) {
            (true, _) => {}
            (false, true) => self.printer.put(&one_line(frame.text())),
            (false, false) => self.put(event),
        }
    }

    /// Prints an event of our own making.
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
        // Where complaints go nowhere, the exit code still tells.
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

/// A plain line with whatever a server may have put into it made safe: what
/// still begins a new line is set in, so that it cannot fake another's.
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
