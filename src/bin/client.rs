//! The `client` command: flags to checked options, signals, and exit codes.
//!
//! 0 is done, 1 could not connect or deliver, 2 was called wrongly. Whatever
//! went wrong is one sentence on standard error.

use std::{
    fmt::Display,
    fs::File,
    io::{self, BufReader, IsTerminal, Write},
    os::fd::AsFd,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use broadcast_chat::{
    client::{
        self, Client, Keyring, Outbox, OutboxError,
        address::{Target, Wanted},
        ids::Ids,
        input,
        lines::{self, Options, Source},
        output::Printer,
        screen::{self, Colours, Settings},
    },
    protocol::{
        DEFAULT_PORT, Epoch, MAX_BACKLOG, Seq, Start,
        name::{MessageId, Name, RoomName},
        text::clean,
    },
};
use clap::{Parser, error::ErrorKind};
use tokio::{select, time::sleep};
use tokio_util::sync::CancellationToken;

/// How much of the input is read at once, in bytes.
const READ: usize = 64 * 1024;

/// How long after an interruption the output may take what is left.
const LAST_WORDS: Duration = Duration::from_secs(1);

const NO_IDS: &str = "there is no randomness for ids";

/// What the shell calls an exit by Ctrl-C.
const INTERRUPTED: i32 = 130;

const EXAMPLES: &str = "\
Examples:
  client                             talk in the lobby of this machine
  client 192.168.1.7 --name ana      join from another machine
  client http://chat.local:2000/ops  join the room of a link
  tail -f app.log | client --room ops
                                     say every line of a log
  client --after 0 </dev/null        print the whole history of the room
  client --json --backlog 10 | jq .  events for programs

A line typed that begins with / is a command: /help lists them, and the keys. A
line from a pipe is always said as it stands.

On a terminal, what is said goes into its scrollback, and the last lines hold
the state and what you type: Tab completes, Up fetches what you typed before,
Alt-Enter begins a new line, Ctrl-D on an empty line leaves. With --plain, or
where TERM is dumb, there are bare lines instead. NO_COLOR switches colours off.

A connection that is lost is made again, unless --no-reconnect is given: what
was missed is shown, and what is not known to be stored is sent again, once and
in order. A pipe that has ended waits 30 s for a server that is gone.

Exit codes: 0 done, 1 could not connect or deliver, 2 wrong usage.";

/// Joins a room of a chat: prints what is said there, and says what you type.
///
/// When standard input is a pipe or a file, each of its lines is one message;
/// the exit code is 0 only if every one of them was stored.
#[derive(Debug, Parser)]
#[allow(clippy::struct_excessive_bools)] // each is a flag that stands for itself
#[command(name = "client", version, after_help = EXAMPLES)]
struct Flags {
    /// The server or room: HOST, HOST:PORT, or a URL such as
    /// http://HOST:PORT/ROOM [default: 127.0.0.1]
    address: Option<String>,

    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), help = port_help())]
    port: Option<u16>,

    /// The room to join [default: lobby]
    #[arg(long)]
    room: Option<RoomName>,

    /// The name others see instead of your address
    #[arg(long)]
    name: Option<Name>,

    /// First show the last N messages, at most 1000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_BACKLOG)))]
    backlog: Option<u32>,

    /// First show everything after this message number: 0 for all there is
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,

    /// The log that --after counts in, as a welcome named it
    #[arg(long)]
    epoch: Option<String>,

    /// Publish the first line under this id and line N after it under ID-N:
    /// the same input sent again with the same ID is not stored twice
    #[arg(long)]
    id: Option<MessageId>,

    /// Print bare lines, even on a terminal
    #[arg(long, conflicts_with = "json")]
    plain: bool,

    /// Do not ring the terminal's bell where your name is said
    #[arg(long)]
    no_bell: bool,

    /// Print each event as one line of JSON, as received
    #[arg(long)]
    json: bool,

    /// Print nothing of the chat
    #[arg(long)]
    quiet: bool,

    /// End when the connection is lost, instead of connecting again
    #[arg(long)]
    no_reconnect: bool,

    /// Keep in this file what is sent and not yet stored, and what was shown:
    /// the next client with the same file and room goes on from there, also
    /// after a crash. Not covered: a line read but not yet in the file, and one
    /// printed but not yet noted there (it is printed again).
    /// On a terminal, without this flag, a file in the user's state folder does that
    /// for who is killed; it is gone after an end in order with nothing unsent
    #[arg(long, value_name = "FILE")]
    outbox: Option<PathBuf>,
}

fn user_folder() -> Option<PathBuf> {
    client::folder::of_user(|name| std::env::var_os(name))
}

fn port_help() -> String {
    format!("The port, when ADDRESS has none [default: {DEFAULT_PORT}]")
}

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => return explain(&error),
    };
    let target = match flags.target() {
        Ok(target) => target,
        Err(why) => return misused(why),
    };
    let outbox = match flags.outbox(&target) {
        Ok(outbox) => outbox,
        Err(why) => return misused(why),
    };
    start(&flags, &target, outbox).unwrap_or_else(|error| {
        complain(format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}

impl Flags {
    fn target(&self) -> Result<Target, client::address::BadAddress> {
        Target::new(&Wanted {
            address: self.address.clone(),
            port: self.port,
            room: self.room.clone(),
            name: self.name.clone(),
            start: Start {
                after: self.after.map(Seq),
                epoch: self.epoch.as_deref().map(|epoch| Epoch(epoch.into())),
                backlog: self.backlog,
                inbox: None,
            },
        })
    }

    fn outbox(&self, target: &Target) -> Result<Outbox, OutboxError> {
        if let Some(path) = &self.outbox {
            return Outbox::open(path, target);
        }
        // A person in front of it wants to go on where a crash ended it; who
        // says where to begin does not.
        let folder = user_folder().filter(|_| is_person() && self.after.is_none());
        let Some(folder) = folder else {
            return Ok(Outbox::in_memory());
        };
        Ok(Outbox::in_folder(&folder, target).unwrap_or_else(|why| {
            complain(format_args!("{why}; what is unsent ends with this client"));
            Outbox::in_memory()
        }))
    }

    /// Whether the terminal is more than a printer, and wanted so.
    fn wants_screen(&self) -> bool {
        let able = variable("TERM").is_some_and(|term| !["", "dumb"].contains(&term.as_str()));
        is_person() && able && !self.plain && !self.json && !self.quiet
    }

    fn options(&self) -> io::Result<Options> {
        let source = if io::stdin().is_terminal() {
            Source::Terminal
        } else {
            Source::Pipe
        };
        Ok(Options {
            source,
            // Beside a pipe they are the log of a job; a person sees them on
            // the terminal or not at all.
            states: source == Source::Pipe || io::stderr().is_terminal(),
            json: self.json,
            quiet: self.quiet,
            ids: self.ids()?,
        })
    }

    fn settings(&self) -> io::Result<Settings> {
        Ok(Settings {
            colours: Colours::of(variable),
            bell: !self.no_bell,
            ids: self.ids()?,
        })
    }

    fn ids(&self) -> io::Result<Ids> {
        self.id
            .as_ref()
            .map(Ids::given)
            .map_or_else(Ids::random, Ok)
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether somebody sits in front of it.
fn is_person() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// One conversation is one task: a second thread would only pass it around.
fn start(flags: &Flags, target: &Target, outbox: Outbox) -> anyhow::Result<ExitCode> {
    let behaviour = client::Options {
        reconnect: !flags.no_reconnect,
        seed: getrandom::u64().context("there is no randomness for waits")?,
        outbox,
        keyring: Keyring::in_folder(user_folder()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("this process cannot start")?;
    let stop = CancellationToken::new();
    let outcome = runtime.block_on(async {
        select! {
            outcome = converse(flags, behaviour, target, &stop) => outcome,
            Err(error) = heed_signals(flags, &stop) => Err(error).context("no signal can be heard"),
        }
    });
    // Looking up a name cannot be cancelled, and nobody waits for it any more.
    runtime.shutdown_background();
    outcome
}

async fn converse(
    flags: &Flags,
    behaviour: client::Options,
    target: &Target,
    stop: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    let client = select! {
        client = Client::connect(target, behaviour) => client?,
        () = stop.cancelled() => anyhow::bail!("interrupted before {target} had answered"),
    };
    if flags.wants_screen() {
        return show(client, flags, stop).await;
    }
    let options = flags.options().context(NO_IDS)?;
    let limit = options.source.longest_line(client.welcome().limits);
    let input = input::read(BufReader::with_capacity(READ, io::stdin()), limit)
        .context("standard input cannot be read")?;
    let mut printer = Printer::start(io::stdout()).context("nothing can be printed")?;
    let mut complaints = io::stderr();
    let outcome = lines::run(client, input, &mut printer, &mut complaints, options, stop).await;
    if let Err(failure) = &outcome {
        forget_half_typed();
        complain(failure);
    }
    let written = select! {
        written = printer.finish() => written,
        () = async { stop.cancelled().await; sleep(LAST_WORDS).await } => Ok(()),
    };
    written.context("standard output cannot be written")?;
    Ok(outcome.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
}

/// Holds the conversation on the screen.
async fn show(client: Client, flags: &Flags, stop: &CancellationToken) -> anyhow::Result<ExitCode> {
    let settings = flags.settings().context(NO_IDS)?;
    // Standard output by itself would write every line by itself.
    let out = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let mut printer = out
        .and_then(Printer::start)
        .context("nothing can be shown")?;
    let outcome = screen::run(client, &mut printer, settings, stop).await;
    if let Err(failure) = &outcome {
        complain(failure);
    }
    Ok(outcome.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
}

/// The first signal asks for a polite end, the second for any.
async fn heed_signals(flags: &Flags, stop: &CancellationToken) -> io::Result<()> {
    let mut signals = Signals::listen(flags.wants_screen())?;
    signals.next().await;
    stop.cancel();
    signals.next().await;
    screen::terminal::give_back();
    std::process::exit(INTERRUPTED)
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// A screen goes with its terminal; a pipe may outlive it (`nohup`).
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    fn listen(screen: bool) -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hangup = screen.then(|| signal(SignalKind::hangup()));
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: hangup.transpose()?,
        })
    }

    async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Drops what was typed without Enter: otherwise the shell would get it next,
/// and run it.
fn forget_half_typed() {
    let input = io::stdin();
    if input.is_terminal() {
        let _ = rustix::termios::tcflush(input, rustix::termios::QueueSelector::IFlush);
        let _ = writeln!(io::stderr());
    }
}

/// Prints what was asked for, or says what is wrong with the flags in one
/// sentence.
fn explain(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // A reader that has seen enough of it is no failure.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    // After the sentence come tips and usage; what was typed is part of the
    // sentence, and may hold any number of lines.
    let text = error.render().to_string();
    let text = text.replacen("\n\n  tip: a similar", " - a similar", 1);
    let end = ["\n\n  tip:", "\n\nUsage:", "\n\nFor more information"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min()
        .unwrap_or(text.len());
    let sentence = &text[..end];
    misused(sentence.strip_prefix("error: ").unwrap_or(sentence))
}

fn misused(why: impl Display) -> ExitCode {
    complain(format_args!("{why}; see client --help"));
    ExitCode::from(2)
}

/// Says it on standard error, on one line whatever was typed or sent.
fn complain(why: impl Display) {
    let sentence = clean(&why.to_string()).replace('\n', " ");
    // Where this goes nowhere, the exit code still tells.
    let _ = writeln!(io::stderr(), "client: {}", sentence.trim_end());
}
