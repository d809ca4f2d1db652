//! The server's flags, and the options made from them.

use std::{
    ffi::OsString,
    io::IsTerminal,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    process::ExitCode,
    str::FromStr,
    time::Duration,
};

use broadcast_chat::{
    http::Trust,
    hub::{self, Capacity, Rate, RetentionLimits},
    protocol::{DEFAULT_PORT, DEFAULT_TEXT_BYTES, Limits},
    server::ServerOptions,
    session,
    store::Storage,
};
use clap::{
    ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    builder::BoolishValueParser, error::ErrorKind, parser::ValueSource,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{exit::fail, files};

/// File descriptors not used for sessions: about 20 of the server's own, and
/// those of connections refused because the server is full.
const RESERVED_DESCRIPTORS: u64 = 96;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The connections that one address may have if the server is not on loopback:
/// enough for a household or a small office.
const MAX_PER_PREFIX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

const EXAMPLES: &str = "\
Examples:
  server                          a chat on this machine, at 127.0.0.1:2000
  server --bind 0.0.0.0           a chat for everyone on the network
  server --port 8080 --ephemeral  another port, and no history on disk
  server backup chat-monday       a copy of the history, also while it runs

Join with: client, a browser at http://127.0.0.1:2000/, or websocat ws://127.0.0.1:2000/";

/// A chat server: everyone in a room reads every message sent to it.
#[derive(Debug, Parser)]
#[command(name = "server", version, after_help = EXAMPLES, disable_help_subcommand = true,
    args_conflicts_with_subcommands = true)]
pub(crate) struct ServerFlags {
    #[command(subcommand)]
    upkeep: Option<Maintenance>,

    /// The port to listen on; 0 takes a free one
    #[arg(long, env = "CHAT_PORT", default_value_t = DEFAULT_PORT)]
    port: u16,

    /// The address to listen on; 0.0.0.0 or :: lets other machines connect
    #[arg(long, env = "CHAT_BIND", value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = address)]
    bind: IpAddr,

    #[command(flatten)]
    folder: Folder,

    /// Keep the history in memory only; it is lost when the server ends
    #[arg(long, env = "CHAT_EPHEMERAL", value_parser = BoolishValueParser::new())]
    ephemeral: bool,

    /// Expire messages older than this many days [default: never]
    #[arg(long, env = "CHAT_KEEP", value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    keep: Option<u32>,

    /// Expire all but the last N messages of all rooms together [default: never]
    #[arg(long, env = "CHAT_KEEP_MESSAGES", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keep_messages: Option<u64>,

    /// Days without use after which an owned name is free again
    #[arg(long, env = "CHAT_NAME_EXPIRY", value_name = "DAYS", default_value_t = 90,
        value_parser = clap::value_parser!(u32).range(1..=36_500))]
    name_expiry: u32,

    /// The longest text of one message, in bytes
    #[arg(long, env = "CHAT_MAX_TEXT", value_name = "BYTES", default_value_t = DEFAULT_TEXT_BYTES as u32,
        value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    max_text: u32,

    /// The most connections at a time [default: as many as the system allows]
    #[arg(long, env = "CHAT_MAX_CONNECTIONS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: Option<u32>,

    /// The most connections of one address [default: off on loopback, else 64]
    ///
    /// An IPv6 prefix of 64 bits counts as one address. Further connections get HTTP 429.
    #[arg(long, env = "CHAT_MAX_PER_ADDRESS", value_name = "N|off", value_parser = limit::<NonZeroUsize>)]
    max_per_address: Option<Limit<NonZeroUsize>>,

    /// The most messages a second from a connection, and the most at once after a pause
    /// [default: off on loopback, else 20:200]
    ///
    /// Without BURST, ten seconds' worth may come at once. All connections of one address
    /// together may send four times that. The server refuses further messages and says how
    /// long to wait. It closes a connection that goes on regardless for 10 s (4504).
    #[arg(long, env = "CHAT_RATE", value_name = "RATE[:BURST]|off", value_parser = limit::<Rate>)]
    rate: Option<Limit<Rate>>,

    /// Seconds of silence in which the server pings a peer twice. It closes the connection
    /// after as many seconds more, at most 10
    #[arg(long, env = "CHAT_PING", value_name = "SECONDS", default_value_t = 25,
        value_parser = clap::value_parser!(u16).range(1..=3600))]
    ping: u16,

    /// A file of at most 4 KiB, shown to newcomers after the welcome
    #[arg(long, env = "CHAT_MOTD", value_name = "FILE")]
    motd: Option<PathBuf>,

    /// A file with the operators' secret; operators can kick, ban and mute people and redact messages [default: none]
    ///
    /// The file has one line of 16 to 128 characters. Only its owner may read it.
    #[arg(long, env = "CHAT_OPERATOR_SECRET_FILE", value_name = "FILE")]
    operator_secret_file: Option<PathBuf>,

    /// Whether to print the messages of the chat; "auto" prints them on a terminal
    #[arg(
        long,
        env = "CHAT_SHOW_MESSAGES",
        value_name = "WHEN",
        default_value = "auto"
    )]
    show_messages: When,

    #[arg(
        long,
        env = "CHAT_ORIGIN",
        help = "Another origin whose pages may connect, like https://example.org (repeatable)",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    origin: Vec<String>,

    /// Another host name of this server when it listens on loopback only (repeatable)
    #[arg(long, env = "CHAT_HOST", value_name = "NAME", value_delimiter = ',')]
    host: Vec<String>,

    /// Log more to standard error: -v what happens, -vv details, -vvv everything
    #[arg(short, long, env = "CHAT_VERBOSE", action = ArgAction::Count)]
    verbose: u8,
}

/// The subcommands; without one, the server serves.
#[derive(Debug, Subcommand)]
enum Maintenance {
    /// Copy the history into a new file, also while the server runs
    Backup {
        /// The file to create
        file: PathBuf,

        #[command(flatten)]
        folder: Folder,
    },
    /// Check the whole history, also while the server runs
    Check {
        #[command(flatten)]
        folder: Folder,
    },
}

#[derive(Debug, Args)]
struct Folder {
    /// The folder of the history; the server creates it if it does not exist
    #[arg(
        long,
        env = "CHAT_DATA",
        value_name = "FOLDER",
        default_value = "chat-data"
    )]
    data: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

/// A limit, or `off`.
#[derive(Clone, Copy, Debug)]
enum Limit<T> {
    Off,
    Of(T),
}

impl<T> Limit<T> {
    /// The limit of a flag, or `otherwise` if the flag was not given; `None` is
    /// no limit.
    fn resolve(limit: Option<Self>, otherwise: Option<T>) -> Option<T> {
        match limit {
            None => otherwise,
            Some(Limit::Off) => None,
            Some(Limit::Of(limit)) => Some(limit),
        }
    }
}

fn limit<T: FromStr<Err: ToString>>(text: &str) -> Result<Limit<T>, String> {
    match text {
        "off" => Ok(Limit::Off),
        limit => limit
            .parse()
            .map(Limit::Of)
            .map_err(|why: T::Err| why.to_string()),
    }
}

/// The task that the flags ask for.
#[derive(Debug)]
pub(crate) enum Task {
    /// Serve.
    Serve(Box<CheckedFlags>),
    /// Copy the history of a folder into a file.
    Backup {
        /// The folder.
        data: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// Check the history of a folder.
    Check {
        /// The folder.
        data: PathBuf,
    },
}

/// The checked flags of a server that serves.
#[derive(Debug)]
pub(crate) struct CheckedFlags {
    /// The address to listen on.
    pub(crate) address: SocketAddr,
    /// The place of the message store.
    pub(crate) storage: Storage,
    /// Whether to print the messages of the chat.
    pub(crate) show_messages: bool,
    /// The number of `-v` flags: 0 logs warnings, 3 and more log everything.
    pub(crate) verbose: u8,
    /// The options of the server.
    pub(crate) options: ServerOptions,
}

/// Reads the flags of this process.
///
/// # Errors
///
/// Fails if the flags are wrong or only ask for help. It has then printed the
/// error or the help, and returns the exit code.
pub(crate) fn read() -> Result<Task, ExitCode> {
    let flags = parse(std::env::args_os()).map_err(|error| {
        if matches!(
            error.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
        ) {
            // If standard output is gone, the help has no reader.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        fail(&format_args!(
            "{}; server --help lists the flags",
            sentence(&error)
        ))
    })?;
    task(flags).map_err(|why| fail(&why))
}

fn parse(
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<ServerFlags, clap::Error> {
    let mut command = ServerFlags::command();
    let matches = command.try_get_matches_from_mut(words)?;
    let mut flags = ServerFlags::from_arg_matches(&matches)?;
    // A typed flag overrides the environment.
    let typed = |flag| matches.value_source(flag) == Some(ValueSource::CommandLine);
    match (typed("data"), flags.ephemeral && typed("ephemeral")) {
        (true, true) => {
            let told = "--data and --ephemeral contradict each other: give one of them";
            return Err(command.error(ErrorKind::ArgumentConflict, told));
        }
        (true, false) => flags.ephemeral = false,
        (false, _) => {}
    }
    Ok(flags)
}

/// The first paragraph of clap's message, on one line.
fn sentence(error: &clap::Error) -> String {
    let message = error.to_string();
    let lines = message.trim_start_matches("error: ").lines();
    let told =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let parts: Vec<_> = told
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    parts.join("; ").replace("; tip:", " -")
}

fn task(mut flags: ServerFlags) -> Result<Task, String> {
    Ok(match flags.upkeep.take() {
        Some(Maintenance::Backup { file, folder }) => Task::Backup {
            data: folder.data,
            file,
        },
        Some(Maintenance::Check { folder }) => Task::Check { data: folder.data },
        None => Task::Serve(Box::new(check(flags)?)),
    })
}

fn check(flags: ServerFlags) -> Result<CheckedFlags, String> {
    let operator = flags
        .operator_secret_file
        .as_deref()
        .map(files::read_secret);
    let operator = operator.transpose()?;
    let motd = flags.motd.as_deref().map(files::read_motd).transpose()?;
    let loopback = is_loopback(&flags);
    let (rate, max_per_address) = limits(&flags);
    let descriptors = raise_descriptors();
    let possible = descriptors - RESERVED_DESCRIPTORS.min(descriptors / 2);
    let wanted = flags.max_connections.map_or(u64::MAX, u64::from);
    let max_connections = usize::try_from(wanted.min(possible)).unwrap_or(usize::MAX);
    Ok(CheckedFlags {
        address: (flags.bind, flags.port).into(),
        storage: if flags.ephemeral {
            Storage::Memory
        } else {
            Storage::Folder(flags.folder.data)
        },
        show_messages: match flags.show_messages {
            When::Auto => std::io::stdout().is_terminal(),
            When::Always => true,
            When::Never => false,
        },
        verbose: flags.verbose,
        options: ServerOptions {
            keep: RetentionLimits {
                age: flags.keep.map(|days| DAY * days),
                messages: flags.keep_messages,
            },
            hub: hub::HubOptions {
                shards: workers(),
                name_expiry: DAY * flags.name_expiry,
                capacity: Capacity {
                    connections: max_connections,
                    per_prefix: max_per_address,
                    rate,
                },
            },
            trust: Trust {
                loopback,
                hosts: flags.host,
                origins: flags
                    .origin
                    .iter()
                    .map(|o| o.trim_end_matches('/').to_owned())
                    .collect(),
            },
            session: session::SessionOptions {
                limits: Limits {
                    text_bytes: flags.max_text as usize,
                },
                ping: Duration::from_secs(flags.ping.into()),
                motd: motd.flatten(),
                operator,
            },
        },
    })
}

/// The number of workers, and of shards.
///
/// One core is left to the writer, the kernel's half of the sockets and other
/// programs. On two cores, two shards delivered 0.7 to 1.3 times as much as one
/// core does, and one shard 0.8 to 1.6 times as much.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
}

fn is_loopback(flags: &ServerFlags) -> bool {
    flags.bind.to_canonical().is_loopback()
}

/// The rate, and the most connections of one address.
///
/// On loopback both are off by default, because every client is on this
/// machine.
fn limits(flags: &ServerFlags) -> (Option<Rate>, Option<usize>) {
    let (rate, per_address) = if is_loopback(flags) {
        (None, None)
    } else {
        (Some(Rate::DEFAULT), Some(MAX_PER_PREFIX))
    };
    let per_address = Limit::resolve(flags.max_per_address, per_address);
    (
        Limit::resolve(flags.rate, rate),
        per_address.map(NonZeroUsize::get),
    )
}

/// Raises this process's limit of file descriptors as far as the system allows;
/// returns the limit.
fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
    .unwrap_or(u64::MAX)
}

fn address(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        other => other
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .map_err(|_| {
                "it is no IP address (127.0.0.1 for this machine only, 0.0.0.0 for the network)"
                    .to_owned()
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_consistent() {
        ServerFlags::command().debug_assert();
    }

    #[test]
    fn a_typed_flag_overrides_the_environment() {
        assert!(parse(["server", "--ephemeral"]).expect("right").ephemeral);
        assert!(!parse(["server", "--data", "x"]).expect("right").ephemeral);
        assert!(parse(["server", "--data", "x", "--ephemeral"]).is_err());
    }

    #[test]
    fn limits_are_off_only_on_loopback_by_default() {
        for (words, rate, per_address) in [
            (&["--bind=::1"][..], None, None),
            (&["--bind=0.0.0.0"], Some(Rate::DEFAULT), Some(64)),
            (
                &["--bind=::", "--rate=off", "--max-per-address=off"],
                None,
                None,
            ),
            (
                &["--rate=7", "--max-per-address=2"],
                "7:70".parse().ok(),
                Some(2),
            ),
            (&["--rate=500:100"], "500:100".parse().ok(), None),
        ] {
            let flags = parse([&["server"], words].concat()).expect("right");
            let limits = limits(&flags);
            assert_eq!(limits, (rate, per_address), "{words:?}");
        }
    }

    #[test]
    fn an_error_is_one_sentence() {
        for (flag, told) in [
            ("--prot=1", "unexpected argument '--prot' found"),
            ("--port=x", "invalid value 'x' for '--port <PORT>'"),
            (
                "--rate=20:",
                "invalid value '20:' for '--rate <RATE[:BURST]|off>': a rate is",
            ),
            ("--bind=here", "it is no IP address"),
        ] {
            let error = parse(["server", flag]).expect_err(flag);
            let sentence = sentence(&error);
            assert!(sentence.contains(told), "{sentence}");
            assert!(!sentence.contains('\n'), "{sentence}");
        }
    }
}
