//! The signals of the server.

use std::{io, sync::mpsc, thread};

use rustix::termios::isatty;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{reload::Reload, service};

/// Stops the server on SIGTERM, SIGINT, or if its terminal was closed. The first
/// such signal cancels the token, the second ends the process at once. Any other
/// SIGHUP reads the configuration again.
pub(crate) fn handle(reload: Reload) -> anyhow::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let asked = shutdown.clone();
    let terminals = terminals();
    // It reads files, which may hang: no task and no stop waits for it. A second
    // request waits for the first one, and covers all later ones.
    let (again, requests) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("reload".to_owned())
        .spawn(move || {
            for () in requests {
                reload.run();
            }
        })?;
    // This task may outlive the server; it ends with the process.
    #[allow(clippy::disallowed_methods)]
    tokio::spawn(async move {
        while !asked.is_cancelled() {
            tokio::select! {
                _ = terminate.recv() => asked.cancel(),
                _ = interrupt.recv() => asked.cancel(),
                // A closed terminal is none any more.
                _ = hangup.recv() => if self::terminals() < terminals {
                    asked.cancel();
                } else {
                    let _ = again.try_send(());
                },
            }
        }
        service::stopping();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
        std::process::exit(1);
    });
    Ok(shutdown)
}

/// How many of the standard streams are a terminal.
fn terminals() -> usize {
    let streams = [
        isatty(io::stdin()),
        isatty(io::stdout()),
        isatty(io::stderr()),
    ];
    streams
        .into_iter()
        .filter(|is_terminal| *is_terminal)
        .count()
}
