//! The faces made of lines: a pipe, whose lines are delivered, and a plain
//! terminal, where a person types lines. Both print the server's events.

mod pending_input;

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

use self::pending_input::PendingInput;
use super::{
    Client, ClientEvent, ConnectionState, End, Frame, Position,
    failure::{Failure, Unstored},
    ids::Ids,
    input::Input,
    one_line,
    output::Printer,
};
use crate::protocol::{
    Command, Event, Limits, MessageKind, Refusal, RefusalCode, json, plain,
    text::{Text, sanitize},
    typed,
};

/// How long the client waits for receipts after an interruption.
const RECEIPT_DEADLINE: Duration = Duration::from_secs(2);

/// How long the client waits for a lost server after the input has ended.
const RECONNECT_DEADLINE: Duration = Duration::from_secs(30);

/// How long the output may take before the end is reported regardless.
const PRINT_DEADLINE: Duration = Duration::from_secs(1);

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
pub struct LinesOptions {
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
    options: LinesOptions,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let mut lines = Lines {
        client,
        options,
        printer,
        complaints,
        live: false,
        welcomed: false,
        reported: ReportedState::Up,
        printed_position: None,
        unremembered: None,
        unstored: 0,
        unreadable: None,
    };
    let mut input = PendingInput::new(input);
    let mut over = lines.run_loop(&mut input, stop).await;
    if let Err(end) = lines.client.settle().await {
        over = Ending::Gone(end);
    }
    let outcome = lines.outcome(over, input).await;
    select! {
        () = lines.remember_all() => {}
        () = async { stop.cancelled().await; sleep(PRINT_DEADLINE).await } => {}
        () = sleep(PRINT_DEADLINE), if outcome.is_err() => {}
    }
    lines.client.close().await;
    if outcome.is_err() {
        // The events before the end should be printed before the failure. An
        // output without a reader must not delay the failure for ever.
        let _ = timeout(PRINT_DEADLINE, printer.finish()).await;
    }
    outcome
}

/// The reason why the conversation is over.
enum Ending {
    /// The input has ended and every message is stored.
    Done,
    /// The conversation ended before the client was done.
    Gone(End),
    /// `stop` was cancelled.
    Interrupted,
}

/// The state of the connection, as the face has reported it.
enum ReportedState {
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
    options: LinesOptions,
    printer: &'a mut Printer,
    complaints: &'a mut W,
    /// Whether the replay is over.
    live: bool,
    welcomed: bool,
    reported: ReportedState,
    /// The position given to the printer last, if the outbox is a file.
    printed_position: Option<Position>,
    /// The position to remember once the printer has reached the mark.
    unremembered: Option<(u64, Position)>,
    /// Lines that will never be stored.
    unstored: u64,
    unreadable: Option<io::Error>,
}

impl<W: Write> Lines<'_, W> {
    async fn run_loop(&mut self, input: &mut PendingInput, stop: &CancellationToken) -> Ending {
        let mut stopped = pin!(stop.cancelled());
        let mut patience = pin!(sleep(RECEIPT_DEADLINE));
        let mut interrupted = false;
        let mut alone = pin!(sleep(RECONNECT_DEADLINE));
        let mut forsaken = false;
        loop {
            if interrupted {
                if self.client.unconfirmed() == 0 {
                    return Ending::Interrupted;
                }
            } else {
                while self.client.has_room()
                    && let Some(line) = input.waiting.next()
                {
                    self.send_line(line);
                }
                if input.ended
                    && !input.is_waiting()
                    && self.client.unconfirmed() == 0
                    && self.has_shown_all()
                {
                    return Ending::Done;
                }
            }
            // The client waits for a lost server until the input has ended, and
            // for `RECONNECT_DEADLINE` after that.
            let forsake = input.ended && !input.is_waiting() && self.is_offline();
            if forsake && !forsaken {
                alone.as_mut().reset(Instant::now() + RECONNECT_DEADLINE);
            }
            forsaken = forsake;
            if self.unremembered.is_none()
                && let Some(position) = self.printed_position.take()
            {
                self.unremembered = Some((self.printer.mark(), position));
            }
            let mark = self.unremembered.as_ref().map_or(0, |(mark, _)| *mark);
            let wanted = !interrupted && !input.ended && !input.is_waiting();
            let printing = self.printer.is_open();
            let printable = !self.printer.is_full();
            // The order is: input, then events, then printing when no event
            // waits. No branch starves the next: input stops when the outbox is
            // full, and reading stops when the printer is full.
            select! {
                biased;
                () = &mut stopped, if !interrupted => {
                    interrupted = true;
                    patience.as_mut().reset(Instant::now() + RECEIPT_DEADLINE);
                }
                () = &mut patience, if interrupted => return Ending::Interrupted,
                () = &mut alone, if forsaken => {
                    if let ReportedState::Offline(why) = &self.reported {
                        return Ending::Gone(why.clone());
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
                    None => input.ended = true,
                },
                happened = self.client.next(), if printable => {
                    if let Some(end) = self.show(happened) {
                        return Ending::Gone(end);
                    }
                }
                () = self.printer.work(), if printing => {
                    if !self.printer.is_open() && self.options.source == Source::Terminal {
                        // The output has no reader, so the client only waits
                        // for the lines typed so far.
                        input.ended = true;
                    }
                }
            }
        }
    }

    /// Remembers the last position, once everything up to it is printed.
    async fn remember_all(&mut self) {
        let waiting = self.unremembered.take().map(|(_, position)| position);
        if let Some(position) = self.printed_position.take().or(waiting)
            && self.printer.flush().await
        {
            self.client.remember(&position);
        }
    }

    fn is_offline(&self) -> bool {
        matches!(self.reported, ReportedState::Offline(_))
    }

    /// Whether the replay is printed, or need not be: a printing pipe prints all
    /// of it, even if its input ends first.
    fn has_shown_all(&self) -> bool {
        let printing = !self.options.quiet && self.printer.is_open();
        self.live || !printing || self.options.source == Source::Terminal
    }

    /// Sends a line of the input, or complains about it.
    fn send_line(&mut self, input: Input) {
        let limit = self.client.welcome().limits.text_bytes;
        match (self.options.source, input) {
            (Source::Pipe, Input::Line { number, text }) => match self.options.ids.of(number) {
                Ok(id) => self.client.send(Command::Publish {
                    text,
                    id: Some(id),
                    kind: MessageKind::Said,
                    follows: None,
                }),
                Err(why) => self.count_unstored(format_args!("line {number} was not sent: {why}")),
            },
            (Source::Pipe, Input::TooLong { number }) => self.count_unstored(format_args!(
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
            Command::Publish { text, kind, .. } => match Text::parse(&text, limit) {
                Ok(_) => self.client.send(Command::Publish {
                    text,
                    id: self.options.ids.of(number).ok(),
                    kind,
                    follows: None,
                }),
                Err(refusal) => self.put(&Event::Refused(refusal)),
            },
            Command::Private { to, text, .. } => match Text::parse(&text, limit) {
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
    fn show(&mut self, happened: ClientEvent) -> Option<End> {
        match happened {
            ClientEvent::Event(frame, event) => {
                let mut shown = event;
                match &shown {
                    Event::Live { .. } => self.live = true,
                    Event::Welcome(welcome) => {
                        self.live = false;
                        // A person reads one welcome, and a line for each later
                        // room. A new connection to the same room needs none.
                        if matches!(self.reported, ReportedState::Back) {
                            self.reported = ReportedState::Behind;
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
                    self.printed_position = self.client.position().cloned();
                }
            }
            ClientEvent::Refused { frame, id, text } => {
                if self.options.source == Source::Pipe {
                    match self.options.ids.line(&id) {
                        Some(line) => {
                            self.count_unstored(format_args!("line {line} was not stored: {text}"))
                        }
                        None => self
                            .count_unstored(format_args!("an earlier line was not stored: {text}")),
                    }
                }
                if self.options.json || self.options.source == Source::Terminal {
                    self.put_told(&frame, &Event::Notice { text });
                }
            }
            ClientEvent::ForPrograms(frame) => {
                if self.options.json && !self.options.quiet {
                    self.printer.put(&one_line(frame.text()));
                }
            }
            ClientEvent::Missing { after, next } => self.complain(format_args!(
                "messages between {after} and {next} are missing, and the server does not say why"
            )),
            ClientEvent::State(state) => self.show_state(state),
            ClientEvent::Ended(end) => return Some(end),
        }
        None
    }

    /// Complains about a change of the connection, once for each change.
    fn show_state(&mut self, state: ConnectionState) {
        let said = match state {
            ConnectionState::Offline { .. } if self.is_offline() => return,
            ConnectionState::Offline { why, unsent, .. } => {
                let said = format!("offline ({why}), {unsent} unsent; trying again");
                self.reported = ReportedState::Offline(why);
                said
            }
            ConnectionState::Connected => {
                self.reported = ReportedState::Back;
                "connected again".to_owned()
            }
            ConnectionState::CaughtUp if matches!(self.reported, ReportedState::Behind) => {
                self.reported = ReportedState::Up;
                "caught up".to_owned()
            }
            ConnectionState::CatchingUp { .. } | ConnectionState::CaughtUp => return,
            ConnectionState::Refusing { why, unsent, .. } => {
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
            self.printer.put(&safe_line(&line));
        }
    }

    fn count_unstored(&mut self, why: fmt::Arguments<'_>) {
        self.unstored += 1;
        self.complain(why);
    }

    fn complain(&mut self, why: fmt::Arguments<'_>) {
        // If this cannot be written, the exit code still tells.
        let _ = writeln!(self.complaints, "client: {}", one_line(&why.to_string()));
    }

    async fn outcome(&mut self, over: Ending, mut input: PendingInput) -> Result<(), Failure> {
        let kept = self.client.is_kept();
        let pending = self.unstored + self.client.unconfirmed() as u64;
        let server = self.client.server().to_owned();
        match over {
            Ending::Done => match self.unreadable.take() {
                Some(error) => Err(Failure::Unreadable(error)),
                None if self.unstored > 0 => Err(Failure::NotStored(Unstored {
                    lines: self.unstored,
                    more: false,
                    kept: false,
                })),
                None => Ok(()),
            },
            Ending::Gone(end) => {
                let (unsent, more) = match self.options.source {
                    Source::Pipe => input.count_rest().await,
                    Source::Terminal => (input.count_buffered(), false),
                };
                let lines = pending + unsent;
                let done = matches!(end, End::Closed { code: 1000, .. });
                let gone = Failure::Gone {
                    server,
                    end,
                    lost: Unstored { lines, more, kept },
                };
                if done && lines == 0 {
                    self.complain(format_args!("{gone}"));
                    return Ok(());
                }
                Err(gone)
            }
            Ending::Interrupted => match pending + input.count_buffered() {
                0 => Ok(()),
                lines => Err(Failure::Interrupted {
                    server,
                    lost: Unstored {
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
fn safe_line(line: &str) -> Cow<'_, str> {
    match sanitize(line) {
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
