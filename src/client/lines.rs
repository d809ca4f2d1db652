//! The faces made of lines: a pipe, whose lines are delivered, and a plain
//! terminal, where a person types lines. Both print the server's events.

mod pending_input;
mod printing;
mod sending;

use std::{
    io::{self, Write},
    pin::pin,
    time::Duration,
};

use jiff::tz::TimeZone;
use tokio::{
    select,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::pending_input::PendingInput;
use super::{
    Client, End, Position,
    failure::{Failure, Unstored},
    ids::Ids,
    input::Input,
    output::Printer,
};
use crate::protocol::{Limits, Seq, name::Name};

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
#[allow(clippy::struct_excessive_bools)] // the flags are independent
pub struct LinesOptions {
    /// The source of the lines.
    pub source: Source,
    /// Whether to print events as JSON, as received.
    pub json: bool,
    /// Whether to print no events at all.
    pub quiet: bool,
    /// Whether to print the first welcome.
    pub welcome: bool,
    /// Whether a printed message begins with its time, in this time zone.
    pub times: Option<TimeZone>,
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
        last_private: None,
        last_messages: [None; 2],
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
    /// The author of the last private message to the user.
    last_private: Option<Name>,
    /// The last message of the room, and the last of the user's own.
    last_messages: [Option<Seq>; 2],
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

#[cfg(test)]
mod tests;
