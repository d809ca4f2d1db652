//! The `client` command: flags to checked options, signals, and exit codes.
//!
//! 0 is done, 1 could not connect or deliver, 2 was called wrongly. Whatever
//! went wrong is one sentence on standard error.

#[path = "client/flags.rs"]
mod flags;

use std::{
    fmt::Display,
    fs::{self, File},
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
        preferences::Preferences,
        screen::{self, Colours, Settings},
    },
    protocol::{Epoch, Seq, Start},
};
use clap::{Parser, error::ErrorKind};
use tokio::{select, time::sleep};
use tokio_util::sync::CancellationToken;

use self::flags::Flags;

/// How much of the input is read at once, in bytes.
const READ: usize = 64 * 1024;

/// How long after an interruption the output may take what is left.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Exit code of one that was called wrongly.
const MISUSED: u8 = 2;

const NO_IDS: &str = "there is no randomness for ids";

/// What the shell calls an exit by Ctrl-C.
const INTERRUPTED: i32 = 130;

fn user_folder() -> Option<PathBuf> {
    client::folder::of_user(|name| std::env::var_os(name))
}

fn main() -> ExitCode {
    let mut flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => return explain(&error),
    };
    let preferences = match flags.preferences() {
        Ok(preferences) => preferences,
        Err(mistakes) => {
            mistakes.iter().for_each(complain);
            return ExitCode::from(MISUSED);
        }
    };
    let mut target = flags.target();
    if target.as_ref().is_ok_and(|target| target.name().is_none()) && flags.name.is_none() {
        flags.name.clone_from(&preferences.name);
        target = flags.target();
    }
    let target = match target {
        Ok(target) => target,
        Err(why) => return misused(why),
    };
    let outbox = match flags.outbox(&target) {
        Ok(outbox) => outbox,
        Err(why) => return misused(why),
    };
    start(&flags, &preferences, &target, outbox).unwrap_or_else(|error| {
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

    /// What is written down for the screen; or all that is wrong with it.
    fn preferences(&self) -> Result<Preferences, Vec<String>> {
        let file = client::folder::preferences(|name| std::env::var_os(name));
        let Some(file) = file.filter(|_| self.wants_screen()) else {
            return Ok(Preferences::default());
        };
        let named = |why: &dyn Display| format!("{}: {why}", file.display());
        match fs::read_to_string(&file) {
            Ok(text) => Preferences::read(&text)
                .map_err(|mistakes| mistakes.iter().map(|why| named(why)).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Preferences::default()),
            Err(error) => Err(vec![named(&error)]),
        }
    }

    fn settings(&self, preferences: &Preferences) -> io::Result<Settings> {
        Ok(Settings {
            colours: preferences.colours.unwrap_or_else(|| Colours::of(variable)),
            bell: preferences.bell.unwrap_or(true) && !self.no_bell,
            quiet: preferences.quiet.unwrap_or(false),
            ids: self.ids()?,
            folder: user_folder(),
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
fn start(
    flags: &Flags,
    preferences: &Preferences,
    target: &Target,
    outbox: Outbox,
) -> anyhow::Result<ExitCode> {
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
            outcome = converse(flags, preferences, behaviour, target, &stop) => outcome,
            Err(error) = heed_signals(flags, &stop) => Err(error).context("no signal can be heard"),
        }
    });
    // Looking up a name cannot be cancelled, and nobody waits for it any more.
    runtime.shutdown_background();
    outcome
}

async fn converse(
    flags: &Flags,
    preferences: &Preferences,
    behaviour: client::Options,
    target: &Target,
    stop: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    let client = select! {
        client = Client::connect(target, behaviour) => client?,
        () = stop.cancelled() => anyhow::bail!("interrupted before {target} had answered"),
    };
    if flags.wants_screen() {
        let settings = flags.settings(preferences).context(NO_IDS)?;
        return show(client, settings, stop).await;
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
async fn show(
    client: Client,
    settings: Settings,
    stop: &CancellationToken,
) -> anyhow::Result<ExitCode> {
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
    ExitCode::from(MISUSED)
}

/// Says it on standard error, on one line whatever was typed or sent.
fn complain(why: impl Display) {
    let sentence = client::one_line(&why.to_string());
    // Where this goes nowhere, the exit code still tells.
    let _ = writeln!(io::stderr(), "client: {}", sentence.trim_end());
}
