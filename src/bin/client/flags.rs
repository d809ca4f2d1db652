//! The flags of the `client` command.

use std::path::PathBuf;

use broadcast_chat::protocol::{
    DEFAULT_PORT, Fingerprint, MAX_BACKLOG,
    name::{MessageId, Name, RoomName},
};
use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  client                             talk in the lobby of this machine
  client 192.168.1.7 --name ana      join from another machine
  client http://chat.local:2000/ops  join the room of a link
  client 'URL#invite=TOKEN' --name ana
                                     use an invitation
  tail -f app.log | client --room ops
                                     send each line of a log
  client --after 0 </dev/null        print the whole history of the room
  client --json --backlog 10 | jq .  events for programs

A typed line that begins with / is a command: /help lists commands and keys. A
line from a pipe is always a message and is sent unchanged.

If the connection is lost, the client connects again. It shows the messages that
it missed, and sends unconfirmed messages again in order; each is stored once.
At the end of a pipe it waits 30 s for a server that is gone.

With --plain, or if TERM is dumb, a terminal gets bare lines too. NO_COLOR
switches colours off.

The server has a guide at /-/help/guide: http://127.0.0.1:2000/-/help/guide

Exit codes: 0 done, 1 could not connect or deliver, 2 wrong usage.";

/// Joins a room of a chat: prints its messages, and sends the lines that you
/// type.
///
/// If standard input is a pipe or a file, each line is one message. The exit
/// code is 0 only if all of them were stored.
#[derive(Debug, Parser)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
#[command(name = "client", version, after_help = EXAMPLES)]
pub(crate) struct ClientFlags {
    /// The server or room: HOST, HOST:PORT, HOST:PORT/ROOM, or a URL such as
    /// http://HOST:PORT/ROOM [default: 127.0.0.1]
    pub(crate) address: Option<String>,

    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), help = port_help())]
    pub(crate) port: Option<u16>,

    /// The room to join [default: lobby]
    #[arg(long)]
    pub(crate) room: Option<RoomName>,

    /// The name others see instead of your address
    #[arg(long, value_parser = Name::asked)]
    pub(crate) name: Option<Name>,

    /// First show the last N messages, at most 1000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_BACKLOG)))]
    pub(crate) backlog: Option<u32>,

    /// First show all messages after this message number; 0 shows the whole
    /// history
    #[arg(long, value_name = "SEQ")]
    pub(crate) after: Option<u64>,

    /// The epoch that --after belongs to, from an earlier welcome
    #[arg(long)]
    pub(crate) epoch: Option<String>,

    /// Publish line 1 with this id, and each later line N with ID-N. The same
    /// input with the same ID and name is stored once. Other text needs another
    /// ID: a line whose id is taken is published under a random one
    #[arg(long)]
    pub(crate) id: Option<MessageId>,

    /// Print bare lines, even on a terminal
    #[arg(long, conflicts_with = "json")]
    pub(crate) plain: bool,

    /// Do not ring the terminal's bell when a message mentions you
    #[arg(long)]
    pub(crate) no_bell: bool,

    /// Print each event as one line of JSON, as received
    #[arg(long)]
    pub(crate) json: bool,

    /// Begin each printed message with its local time. On a
    /// terminal this prints bare lines, too
    #[arg(long, conflicts_with = "json")]
    pub(crate) times: bool,

    /// Do not print messages and events
    #[arg(long)]
    pub(crate) quiet: bool,

    /// Exit when the connection is lost, instead of connecting again
    #[arg(long)]
    pub(crate) no_reconnect: bool,

    /// Trust exactly the server's certificate with this SHA-256, which a server
    /// with --tls-self-signed prints
    #[arg(long, value_name = "SHA256", conflicts_with = "tls_ca")]
    pub(crate) tls_pin: Option<Fingerprint>,

    /// Trust the certificate authorities in this PEM file, instead of those of
    /// this machine
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,

    /// Keep unconfirmed messages and the position of the last printed line in
    /// this file. The next client with the same file and room goes on from
    /// there, also after a crash. Not covered: a line read but not yet in the
    /// file, and a line printed but not yet noted there (it is printed again).
    /// On a terminal, a client without this flag keeps such a file in the
    /// user's state folder, and removes it if it ends in order with nothing
    /// unsent
    #[arg(long, value_name = "FILE")]
    pub(crate) outbox: Option<PathBuf>,
}

fn port_help() -> String {
    format!("The port, when ADDRESS has none [default: {DEFAULT_PORT}]")
}
