//! The `client` command: checks flags, handles signals and chooses the exit
//! code.
//!
//! The exit code is 0 for success, 1 if the client could not connect or deliver,
//! and 2 for wrong usage. Every error is one sentence on standard error.

#[path = "client/flags.rs"]
mod flags;

use std::{
    fmt::Display,
    fs::{self, File},
    io::{self, BufReader, IsTerminal, Write},
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use broadcast_chat::{
    client::{
        self, Client, Keyring, Outbox, OutboxError, Pass, ServerTrust,
        address::{AddressOptions, Target},
        ids::Ids,
        input, last_visit,
        lines::{self, LinesOptions, Source},
        output::Printer,
        preferences::Preferences,
        screen::{self, ColourDepth, ScreenOptions},
    },
    protocol::{Epoch, Seq, Start},
};
use clap::{Parser, error::ErrorKind};
use jiff::tz::TimeZone;
use tokio::{select, time::sleep};
use tokio_util::sync::CancellationToken;

use self::flags::ClientFlags;

/// The size of the input buffer, in bytes.
const READ: usize = 64 * 1024;

/// The time that the output may take for its last lines after an interruption.
const PRINT_DEADLINE: Duration = Duration::from_secs(1);

/// How many messages a screen begins with.
const CONTEXT: u32 = 30;

/// The exit code for wrong usage.
const EXIT_USAGE: u8 = 2;

const NO_IDS: &str = "the system gives no random bytes for ids";

/// The exit code that shells use for an exit by Ctrl-C.
const INTERRUPTED: i32 = 130;

fn user_folder() -> Option<PathBuf> {
    client::folder::of_user(|name| std::env::var_os(name))
}

fn main() -> ExitCode {
    let mut flags = match ClientFlags::try_parse() {
        Ok(flags) => flags,
        Err(error) => return report_usage(&error),
    };
    let preferences = match flags.preferences() {
        Ok(preferences) => preferences,
        Err(mistakes) => {
            mistakes.iter().for_each(print_error);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let trust = match flags.trust() {
        Ok(trust) => trust,
        Err(why) => return usage_error(why),
    };
    let mut target = flags.target(&trust);
    if target.as_ref().is_ok_and(|target| target.name().is_none()) && flags.name.is_none() {
        flags.name.clone_from(&preferences.name);
        let remembers = flags.name.is_none() && flags.wants_screen();
        if let (Some(folder), true, Ok(target)) = (user_folder(), remembers, &target)
            && target.pass().is_none()
        {
            flags.name = last_visit::last_name(&folder, target);
        }
        target = flags.target(&trust);
    }
    let target = match target {
        Ok(target) => target,
        Err(why) => return usage_error(why),
    };
    if matches!(target.pass(), Some(Pass::Invitation(_))) && target.name().is_none() {
        return usage_error("an invitation admits a name: choose yours with --name NAME");
    }
    let outbox = match flags.open_outbox(&target) {
        Ok(outbox) => outbox,
        Err(why) => return usage_error(why),
    };
    start(&flags, &preferences, &target, outbox).unwrap_or_else(|error| {
        print_error(format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}

impl ClientFlags {
    fn trust(&self) -> Result<ServerTrust, String> {
        match (self.tls_pin, &self.tls_ca) {
            (Some(pin), _) => Ok(ServerTrust::Pinned(pin)),
            (None, Some(path)) => {
                let read = fs::read(path).map_err(|why| why.to_string());
                read.and_then(|pem| ServerTrust::authorities(&pem))
                    .map_err(|why| format!("--tls-ca {}: {why}", path.display()))
            }
            (None, None) => Ok(ServerTrust::System),
        }
    }

    fn target(&self, trust: &ServerTrust) -> Result<Target, client::address::BadAddress> {
        Target::new(&AddressOptions {
            trust: trust.clone(),
            address: self.address.clone(),
            port: self.port,
            room: self.room.clone(),
            name: self.name.clone(),
            start: Start {
                after: self.after.map(Seq),
                epoch: self.epoch.as_deref().map(|epoch| Epoch(epoch.into())),
                backlog: self.backlog.or_else(|| self.context()),
                inbox: None,
            },
        })
    }

    /// How many messages a screen begins with, if the user does not say.
    fn context(&self) -> Option<u32> {
        (self.wants_screen() && self.after.is_none()).then_some(CONTEXT)
    }

    fn open_outbox(&self, target: &Target) -> Result<Outbox, OutboxError> {
        if let Some(path) = &self.outbox {
            return Outbox::open(path, target);
        }
        // A person at a terminal wants to go on after a crash. With `--after`
        // the person has chosen another position.
        let folder = user_folder().filter(|_| is_person() && self.after.is_none());
        let Some(folder) = folder else {
            return Ok(Outbox::in_memory());
        };
        Ok(Outbox::in_folder(&folder, target).unwrap_or_else(|why| {
            print_error(format_args!(
                "{why}; unsent messages are lost when this client ends"
            ));
            Outbox::in_memory()
        }))
    }

    /// Whether the client shows a screen: the terminal is able to, and the flags
    /// do not ask for lines.
    fn wants_screen(&self) -> bool {
        let able = variable("TERM").is_some_and(|term| !["", "dumb"].contains(&term.as_str()));
        is_person() && able && !self.plain && !self.times && !self.json && !self.quiet
    }

    fn lines_options(&self) -> io::Result<LinesOptions> {
        let source = if io::stdin().is_terminal() {
            Source::Terminal
        } else {
            Source::Pipe
        };
        Ok(LinesOptions {
            source,
            // With a pipe as input, standard error is the log output of a job.
            // A person sees connection states only on the terminal.
            states: source == Source::Pipe || io::stderr().is_terminal(),
            json: self.json,
            quiet: self.quiet,
            // A program reads the history, and no person can type a message.
            welcome: self.after.is_none() || !reads_nothing(),
            times: self.times.then(TimeZone::system),
            ids: self.ids()?,
        })
    }

    /// Reads the preferences of the screen.
    ///
    /// # Errors
    /// Fails with every mistake in the file, or because it cannot be read.
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

    fn screen_settings(&self, preferences: &Preferences) -> io::Result<ScreenOptions> {
        Ok(ScreenOptions {
            colours: preferences
                .colours
                .unwrap_or_else(|| ColourDepth::of(variable)),
            bell: preferences.bell.unwrap_or(true) && !self.no_bell,
            joins: preferences.joins.unwrap_or(true),
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

/// Whether a person uses the client: input and output are a terminal.
fn is_person() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Whether standard input is the null device.
fn reads_nothing() -> bool {
    let device = |file: &File| file.metadata().map(|meta| meta.rdev());
    let null = File::open("/dev/null").and_then(|null| device(&null));
    let input = io::stdin().as_fd().try_clone_to_owned();
    let input = input.and_then(|input| device(&File::from(input)));
    matches!((null, input), (Ok(null), Ok(input)) if null == input)
}

/// Runs the conversation on one thread. It is one task, so a second thread would
/// not help.
fn start(
    flags: &ClientFlags,
    preferences: &Preferences,
    target: &Target,
    outbox: Outbox,
) -> anyhow::Result<ExitCode> {
    let behaviour = client::ClientOptions {
        reconnect: !flags.no_reconnect,
        seed: getrandom::u64().context("the system gives no random bytes for delays")?,
        outbox,
        keyring: Keyring::in_folder(user_folder()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")?;
    let stop = CancellationToken::new();
    let outcome = runtime.block_on(async {
        select! {
            outcome = run_conversation(flags, preferences, behaviour, target, &stop) => outcome,
            Err(error) = handle_signals(flags, &stop) => Err(error).context("cannot receive signals"),
        }
    });
    // A lookup of a host name cannot be cancelled, and its result is not needed.
    runtime.shutdown_background();
    outcome
}

async fn run_conversation(
    flags: &ClientFlags,
    preferences: &Preferences,
    behaviour: client::ClientOptions,
    target: &Target,
    stop: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    let client = select! {
        client = Client::connect(target, behaviour) => client?,
        () = stop.cancelled() => anyhow::bail!("interrupted before {target} had answered"),
    };
    if flags.wants_screen() {
        let settings = flags.screen_settings(preferences).context(NO_IDS)?;
        return run_screen(client, settings, stop).await;
    }
    let options = flags.lines_options().context(NO_IDS)?;
    let limit = options.source.longest_line(client.welcome().limits);
    let input = input::read(BufReader::with_capacity(READ, io::stdin()), limit)
        .context("standard input cannot be read")?;
    let mut printer = Printer::start(io::stdout()).context("nothing can be printed")?;
    let mut complaints = io::stderr();
    let outcome = lines::run(client, input, &mut printer, &mut complaints, options, stop).await;
    if let Err(failure) = &outcome {
        drop_typed_input();
        print_error(failure);
    }
    let written = select! {
        written = printer.finish() => written,
        () = async { stop.cancelled().await; sleep(PRINT_DEADLINE).await } => Ok(()),
    };
    written.context("standard output cannot be written")?;
    Ok(outcome.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
}

/// Shows the conversation on the screen.
async fn run_screen(
    client: Client,
    settings: ScreenOptions,
    stop: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    // `io::Stdout` would write every line on its own.
    let out = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let mut printer = out
        .and_then(Printer::start)
        .context("nothing can be shown")?;
    let outcome = Box::pin(screen::run(client, &mut printer, settings, stop)).await;
    if let Err(failure) = &outcome {
        print_error(failure);
    }
    Ok(outcome.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS))
}

/// Ends the conversation in order at the first signal, and the process at the
/// second.
async fn handle_signals(flags: &ClientFlags, stop: &CancellationToken) -> io::Result<()> {
    let mut signals = Signals::listen(flags.wants_screen())?;
    signals.next().await;
    stop.cancel();
    signals.next().await;
    screen::terminal::restore();
    std::process::exit(INTERRUPTED)
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// Only with a screen, which ends with its terminal. A pipe may outlive the
    /// terminal (`nohup`).
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

/// Drops input that was typed without Enter. Otherwise the shell would read it
/// and run it.
fn drop_typed_input() {
    let input = io::stdin();
    if input.is_terminal() {
        let _ = rustix::termios::tcflush(input, rustix::termios::QueueSelector::IFlush);
        let _ = writeln!(io::stderr());
    }
}

/// Prints the help or the version, or complains of wrong flags in one sentence.
fn report_usage(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // A pipe that is closed early, as by `head`, is no failure.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    // Tips and usage follow the sentence. The sentence quotes the arguments, so
    // it may have any number of lines.
    let text = error.render().to_string();
    let text = text.replacen("\n\n  tip: a similar", " - a similar", 1);
    let end = ["\n\n  tip:", "\n\nUsage:", "\n\nFor more information"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min()
        .unwrap_or(text.len());
    let sentence = &text[..end];
    usage_error(sentence.strip_prefix("error: ").unwrap_or(sentence))
}

fn usage_error(why: impl Display) -> ExitCode {
    print_error(format_args!("{why}; see client --help"));
    ExitCode::from(EXIT_USAGE)
}

/// Prints a complaint on standard error, always as one line.
fn print_error(why: impl Display) {
    let sentence = client::one_line(&why.to_string());
    // If standard error is closed, the exit code still tells of the failure.
    let _ = writeln!(io::stderr(), "client: {}", sentence.trim_end());
}
