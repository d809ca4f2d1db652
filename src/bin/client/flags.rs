//! What the `client` command can be told.

use std::path::PathBuf;

use broadcast_chat::protocol::{
    DEFAULT_PORT, MAX_BACKLOG,
    name::{MessageId, Name, RoomName},
};
use clap::Parser;

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
pub(crate) struct Flags {
    /// The server or room: HOST, HOST:PORT, or a URL such as
    /// http://HOST:PORT/ROOM [default: 127.0.0.1]
    pub(crate) address: Option<String>,

    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), help = port_help())]
    pub(crate) port: Option<u16>,

    /// The room to join [default: lobby]
    #[arg(long)]
    pub(crate) room: Option<RoomName>,

    /// The name others see instead of your address
    #[arg(long)]
    pub(crate) name: Option<Name>,

    /// First show the last N messages, at most 1000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_BACKLOG)))]
    pub(crate) backlog: Option<u32>,

    /// First show everything after this message number: 0 for all there is
    #[arg(long, value_name = "SEQ")]
    pub(crate) after: Option<u64>,

    /// The log that --after counts in, as a welcome named it
    #[arg(long)]
    pub(crate) epoch: Option<String>,

    /// Publish the first line under this id and line N after it under ID-N:
    /// the same input sent again with the same ID is not stored twice
    #[arg(long)]
    pub(crate) id: Option<MessageId>,

    /// Print bare lines, even on a terminal
    #[arg(long, conflicts_with = "json")]
    pub(crate) plain: bool,

    /// Do not ring the terminal's bell where your name is said
    #[arg(long)]
    pub(crate) no_bell: bool,

    /// Print each event as one line of JSON, as received
    #[arg(long)]
    pub(crate) json: bool,

    /// Print nothing of the chat
    #[arg(long)]
    pub(crate) quiet: bool,

    /// End when the connection is lost, instead of connecting again
    #[arg(long)]
    pub(crate) no_reconnect: bool,

    /// Keep in this file what is sent and not yet stored, and what was shown:
    /// the next client with the same file and room goes on from there, also
    /// after a crash. Not covered: a line read but not yet in the file, and one
    /// printed but not yet noted there (it is printed again).
    /// On a terminal, without this flag, a file in the user's state folder does that
    /// for who is killed; it is gone after an end in order with nothing unsent
    #[arg(long, value_name = "FILE")]
    pub(crate) outbox: Option<PathBuf>,
}

fn port_help() -> String {
    format!("The port, when ADDRESS has none [default: {DEFAULT_PORT}]")
}
