//! The server's flags. [`task`] makes options from them.

pub(crate) mod admin;
pub(crate) mod config;
mod folder;
pub(crate) mod live;
mod mistakes;
mod process;
pub(crate) mod sources;
pub(crate) mod task;
pub(crate) mod tls;

use std::{
    net::IpAddr,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use broadcast_chat::{
    http::BasePath,
    hub::Rate,
    log::UnreadLimit,
    net::AddressSet,
    protocol::{DEFAULT_PORT, DEFAULT_TEXT_BYTES, typed_duration::TypedDuration},
};
use clap::{ArgAction, Parser, Subcommand, ValueEnum, builder::BoolishValueParser};

use self::folder::Folder;

const EXAMPLES: &str = "\
Examples:
  server                          a chat on this machine, at 127.0.0.1:2000
  server --bind 0.0.0.0           a chat for everyone on the network
  server --bind 0.0.0.0 --tls-self-signed
                                  the same, encrypted
  server --port 8080 --ephemeral  another port, and no history on disk
  server backup chat-monday       a copy of the history, also while it runs
  server bans                     the bans in force; an operator's subcommands need no secret

Join with: client, a browser at http://127.0.0.1:2000/, or websocat ws://127.0.0.1:2000/

A running server has its documents at /-/help: http://127.0.0.1:2000/-/help";

/// A chat server: everyone in a room reads every message sent to it.
#[derive(Debug, Parser)]
#[command(name = "server", version, after_help = EXAMPLES, disable_help_subcommand = true,
    args_conflicts_with_subcommands = true)]
pub(crate) struct ServerFlags {
    #[command(subcommand)]
    upkeep: Option<Maintenance>,

    /// Read further flags from this TOML file, one a line, like max-text = 4096 [default: none]
    ///
    /// Typed flags and environment variables override it. docs/broadcast-chatd.toml has every key.
    #[arg(long, env = "CHAT_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// The port to listen on; 0 takes a free one
    #[arg(long, env = "CHAT_PORT", default_value_t = DEFAULT_PORT)]
    port: u16,

    /// The address to listen on; 0.0.0.0 or :: lets other machines connect
    #[arg(long, env = "CHAT_BIND", value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = address)]
    bind: IpAddr,

    /// Also listen on a Unix socket at this path; its owner and group may connect
    #[arg(long, env = "CHAT_UNIX", value_name = "PATH")]
    unix: Option<PathBuf>,

    #[command(flatten)]
    folder: Folder,

    /// Keep the history in memory only; it is lost when the server ends
    #[arg(long, env = "CHAT_EPHEMERAL", value_parser = BoolishValueParser::new())]
    ephemeral: bool,

    /// Expire messages older than this many days, 1 to 36500 [default: never]
    #[arg(long, env = "CHAT_KEEP", value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    keep: Option<u32>,

    /// Expire all but the last N messages of all rooms together [default: never]
    #[arg(long, env = "CHAT_KEEP_MESSAGES", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keep_messages: Option<u64>,

    /// Expire the oldest messages while the history and its search index use more bytes than
    /// this; at least 1000000 (1 MB) [default: never]
    #[arg(long, env = "CHAT_KEEP_SIZE", value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1_000_000..))]
    keep_size: Option<u64>,

    /// Days without use after which an owned name is free again, 1 to 36500
    #[arg(long, env = "CHAT_NAME_EXPIRY", value_name = "DAYS", default_value_t = 90,
        value_parser = clap::value_parser!(u32).range(1..=36_500))]
    name_expiry: u32,

    /// How long the author of a message may correct or erase it, like 30m or 24h; 0: never
    #[arg(long, env = "CHAT_EDIT_WINDOW", value_name = "TIME", default_value = "24h", value_parser = edit_window)]
    edit_window: Duration,

    /// The longest text of one message, in bytes; at most 1048576 (1 MiB)
    #[arg(long, env = "CHAT_MAX_TEXT", value_name = "BYTES", default_value_t = DEFAULT_TEXT_BYTES as u32,
        value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    max_text: u32,

    /// The most connections at a time; further ones get HTTP 503 [default: as many as the system
    /// allows]
    #[arg(long, env = "CHAT_MAX_CONNECTIONS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: Option<u32>,

    /// The most connections of one address [default: 64; off if only this machine can connect]
    ///
    /// An IPv6 prefix of 64 bits counts as one address. Further connections get HTTP 429.
    #[arg(long, env = "CHAT_MAX_PER_ADDRESS", value_name = "N|off", value_parser = limit::<NonZeroUsize>)]
    max_per_address: Option<Limit<NonZeroUsize>>,

    /// The most messages a second from a connection, and the most at once after a pause
    /// [default: 20:200; off if only this machine can connect]
    ///
    /// Without BURST, ten seconds' worth may come at once. All connections of one address
    /// together may send four times that. The server refuses further messages and says how
    /// long to wait. It closes a connection that goes on regardless for 10 s (4504).
    #[arg(long, env = "CHAT_RATE", value_name = "RATE[:BURST]|off", value_parser = limit::<Rate>)]
    rate: Option<Limit<Rate>>,

    /// The most bytes that one address may store in a day
    /// [default: 67108864 (64 MiB); off if only this machine can connect]
    ///
    /// They may come at once, and come back over the day. A message counts the bytes of its text,
    /// but at least 256. A private message counts twice, for its two inboxes.
    #[arg(long, env = "CHAT_DAILY_BYTES", value_name = "BYTES|off", value_parser = daily_bytes)]
    daily_bytes: Option<Limit<NonZeroU64>>,

    /// The most new names that one address may own in a day, a quarter of them at once
    /// [default: 20; off if only this machine can connect]
    #[arg(long, env = "CHAT_NEW_NAMES", value_name = "N|off", value_parser = limit::<NonZeroU32>)]
    new_names: Option<Limit<NonZeroU32>>,

    /// The most topics a second from an address, and the most at once after a pause
    /// [default: 1:20; off if only this machine can connect]
    #[arg(long, env = "CHAT_TOPIC_RATE", value_name = "RATE[:BURST]|off", value_parser = limit::<Rate>)]
    topic_rate: Option<Limit<Rate>>,

    /// The most private messages that wait for an absent reader: of one sender, and of all
    /// [default: 200:1000]
    ///
    /// The server refuses further ones. The reader is told on return.
    #[arg(long, env = "CHAT_UNREAD", value_name = "ONE:ALL|off", value_parser = limit::<UnreadLimit>)]
    unread: Option<Limit<UnreadLimit>>,

    /// Seconds of silence in which the server pings a peer twice, 1 to 3600
    ///
    /// It closes the connection after as many seconds more, at most 10, without an answer.
    #[arg(long, env = "CHAT_PING", value_name = "SECONDS", default_value_t = 25,
        value_parser = clap::value_parser!(u16).range(1..=3600))]
    ping: u16,

    /// Whether everybody may take part, or only names that an invitation admitted
    ///
    /// With "invite", the first start prints a URL that admits the first user and makes that
    /// name an operator. Operators invite others with /invite.
    #[arg(long, env = "CHAT_ACCESS", value_name = "WHO", default_value = "open")]
    access: Who,

    /// A file of at most 4 KiB (UTF-8), shown to newcomers after the welcome [default: none]
    #[arg(long, env = "CHAT_MOTD", value_name = "FILE")]
    motd: Option<PathBuf>,

    /// A file with the operators' secret; operators can kick, ban and mute people and erase
    /// messages [default: none]
    ///
    /// The file has one line of 16 to 128 characters. Only its owner may read it.
    #[arg(long, env = "CHAT_OPERATOR_SECRET_FILE", value_name = "FILE")]
    operator_secret_file: Option<PathBuf>,

    /// When to print the messages of the chat; "auto" prints them on a terminal
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

    /// Another host name of this server, like chat.example.org (repeatable)
    #[arg(long, env = "CHAT_HOST", value_name = "NAME", value_delimiter = ',')]
    host: Vec<String>,

    /// A proxy that is believed: an address, a prefix, loopback or private (repeatable)
    ///
    /// It names the visitor's address in Forwarded or X-Forwarded-For. Limits and bans go by that
    /// address.
    #[arg(
        long,
        env = "CHAT_TRUSTED_PROXY",
        value_name = "PREFIX",
        value_delimiter = ','
    )]
    trusted_proxy: Vec<AddressSet>,

    /// Connections of a trusted proxy begin with a PROXY header, version 1 or 2
    #[arg(long, env = "CHAT_PROXY_PROTOCOL", value_parser = BoolishValueParser::new())]
    proxy_protocol: bool,

    /// The tag of people without a name: their address, or guest-xxxx, which hides all addresses.
    /// With "auto", addresses are shown if the server listens to this machine alone
    #[arg(long, env = "CHAT_TAGS", value_name = "KIND", default_value = "auto")]
    tags: Tags,

    /// The path that all URLs begin with, like /chat, for a chat below another site
    #[arg(long, env = "CHAT_PREFIX", value_name = "PATH")]
    prefix: Option<BasePath>,

    /// An address or prefix that may read /-/metrics, besides this machine (repeatable)
    #[arg(
        long,
        env = "CHAT_METRICS_FROM",
        value_name = "PREFIX",
        value_delimiter = ','
    )]
    metrics_from: Vec<AddressSet>,

    #[command(flatten)]
    tls: tls::TlsFlags,

    /// The form of the log on standard error
    #[arg(
        long,
        env = "CHAT_LOG_FORMAT",
        value_name = "FORM",
        default_value = "text"
    )]
    log_format: LogFormat,

    /// Log more to standard error: -v what happens, -vv details, -vvv everything
    #[arg(short, long, env = "CHAT_VERBOSE", action = ArgAction::Count)]
    verbose: u8,
}

/// The subcommands; without one, the server serves.
#[derive(Debug, Subcommand)]
enum Maintenance {
    /// Copy the history into a new file, also while the server runs
    Backup {
        /// The file to create, a folder that gets a file named after the time, or - for standard
        /// output
        file: PathBuf,

        /// Compress the copy by gzip
        #[arg(long)]
        compress: bool,

        /// In a folder, remove all but the last N backups afterwards
        #[arg(long, value_name = "N")]
        keep_last: Option<NonZeroUsize>,

        #[command(flatten)]
        folder: Folder,
    },
    /// Put a backup in the place of the history, while no server runs
    Restore {
        /// The backup, compressed or not; - for standard input
        file: PathBuf,

        #[command(flatten)]
        folder: Folder,
    },
    /// Check the whole history, also while the server runs
    Check {
        #[command(flatten)]
        folder: Folder,
    },
    /// Check the flags and the files they name, and say what would be served
    CheckConfig,
    /// Exit with 0 if a running server is healthy, else with 1
    #[command(name = "healthcheck")]
    HealthCheck {
        /// The URL of the chat [default: that of a server with these flags]
        url: Option<String>,
    },
    #[command(flatten)]
    Admin(admin::AdminCommand),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Who {
    Open,
    Invite,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Tags {
    Auto,
    Address,
    Guest,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
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

/// The most bytes a day that can be set: 1 TiB.
const MAX_DAILY_BYTES: u64 = 1 << 40;

fn daily_bytes(text: &str) -> Result<Limit<NonZeroU64>, String> {
    match limit(text) {
        Ok(Limit::Of(bytes)) if NonZeroU64::get(bytes) > MAX_DAILY_BYTES => Err(format!(
            "give at most {MAX_DAILY_BYTES} bytes (1 TiB), or off"
        )),
        bytes => bytes,
    }
}

/// A time, or `0`.
fn edit_window(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let time = text.parse::<TypedDuration>();
    let rule = |rule| format!("{rule}; 0 lets nobody change a message");
    time.map(TypedDuration::duration).map_err(rule)
}

fn address(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        other => other
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .map_err(|_| {
                "give an IP address (127.0.0.1 for this machine only, 0.0.0.0 for the network)"
                    .to_owned()
            }),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        ServerFlags::command().debug_assert();
    }
}
