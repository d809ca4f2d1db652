//! The server's output: the chat on standard output, the log output on standard
//! error.

use std::{
    fmt::{self, Write as _},
    fs::File,
    io::{BufWriter, Write},
    net::SocketAddr,
    os::{fd::AsFd, unix::fs::MetadataExt},
    sync::mpsc,
    thread,
    time::Duration,
};

use broadcast_chat::{
    http::{BasePath, Scheme},
    protocol::{Fingerprint, token::Token},
    server::Entrance,
};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt::{
        FmtContext,
        format::{FormatEvent, FormatFields, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt,
};

use super::{
    flags::{LogFormat, task::CheckedFlags},
    listeners::local,
};

/// The number of lines that may wait for a terminal. Memory for them is
/// allocated at the start.
const LINES: usize = 10_000;

/// How long printing the waiting lines may take at the end.
const PRINT_DEADLINE: Duration = Duration::from_secs(1);

/// The guard of the printing threads. Its drop prints the waiting lines, for at
/// most [`PRINT_DEADLINE`]: a stopped terminal must not keep the server from ending.
pub(crate) struct PrintGuard(Vec<WorkerGuard>);

impl Drop for PrintGuard {
    fn drop(&mut self) {
        let (printing, printed) = mpsc::channel::<()>();
        for guard in self.0.drain(..) {
            let printing = printing.clone();
            // A guard that cannot stop its thread prints an error, and so waits
            // for the same stopped terminal.
            let _ = thread::Builder::new().spawn(move || {
                drop(guard);
                drop(printing);
            });
        }
        drop(printing);
        let _ = printed.recv_timeout(PRINT_DEADLINE);
    }
}

/// Changes what is printed.
pub(crate) struct Levels(Box<dyn Fn(&CheckedFlags) + Send + Sync>);

impl Levels {
    /// Prints from now on as these flags say.
    pub(crate) fn set(&self, checked: &CheckedFlags) {
        (self.0)(checked);
    }
}

/// Starts printing. Lines over [`LINES`] are dropped, so a stopped terminal does
/// not stop the chat.
pub(crate) fn start(checked: &CheckedFlags) -> (PrintGuard, Levels) {
    let (stdout, printing) = lines_to(std::io::stdout());
    let (stderr, logging) = lines_to(std::io::stderr());
    let (chat_filter, chat_levels) = reload::Layer::new(chat_targets(checked));
    let chat = tracing_subscriber::fmt::layer()
        .with_writer(stdout)
        .without_time()
        .with_level(false)
        .with_target(false)
        .with_ansi(false)
        .with_filter(chat_filter);
    let journal = is_journal();
    let (log_filter, log_levels) = reload::Layer::new(log_targets(checked, journal));
    let log = tracing_subscriber::fmt::layer()
        .with_writer(stderr)
        .with_ansi(false);
    let log = match checked.log_format {
        LogFormat::Text if journal => log.without_time().map_event_format(WithPriority).boxed(),
        LogFormat::Text => log.boxed(),
        LogFormat::Json if journal => log
            .json()
            .flatten_event(true)
            .map_event_format(WithPriority)
            .boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let log = log.with_filter(log_filter);
    tracing_subscriber::registry().with(chat).with(log).init();
    let levels = Levels(Box::new(move |checked| {
        // It fails only if nothing prints any more.
        let _ = chat_levels.reload(chat_targets(checked));
        let _ = log_levels.reload(log_targets(checked, journal));
    }));
    (PrintGuard(vec![printing, logging]), levels)
}

fn chat_targets(checked: &CheckedFlags) -> Targets {
    let level = |shown| {
        if shown {
            LevelFilter::INFO
        } else {
            LevelFilter::OFF
        }
    };
    Targets::new()
        .with_target("chat::peer", level(checked.show_joins))
        .with_target("chat::message", level(checked.show_messages))
}

/// The journal gets one level more: its readers choose by priority.
fn log_targets(checked: &CheckedFlags, journal: bool) -> Targets {
    let level = match checked.verbose.max(journal.into()) {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(level)
        .with_target("chat", LevelFilter::OFF)
}

/// Whether standard error is the journal of systemd (systemd.exec(5)).
fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let stderr = std::io::stderr().as_fd().try_clone_to_owned();
    let found = stderr.and_then(|stderr| File::from(stderr).metadata());
    found.is_ok_and(|found| named == format!("{}:{}", found.dev(), found.ino()))
}

/// A line that begins with the priority by which the journal sorts it
/// (sd-daemon(3)).
struct WithPriority<F>(F);

impl<S, N, F> FormatEvent<S, N> for WithPriority<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

fn lines_to(output: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .buffered_lines_limit(LINES)
        // Waiting lines share a write.
        .finish(BufWriter::new(output))
}

/// The beginning of URLs at the server's first address.
pub(crate) fn site(entrances: &[Entrance], base: &BasePath) -> String {
    let site = entrances.iter().find_map(|entrance| {
        let address = entrance.listener.address()?;
        Some(format!("{}://{}", scheme(entrance)?, local(address)))
    });
    // A Unix socket has no URL: the proxy in front of it has one.
    let site = site.unwrap_or_else(|| "https://HOST".to_owned());
    format!("{site}{base}")
}

/// Prints the URL that admits the first user.
pub(crate) fn first_invitation(site: &str, token: &Token) {
    let token = token.reveal();
    print(&format!(
        "nobody is admitted yet: open this URL once, and be the first user and an operator:\n\
         {site}/lobby#invite={token}\n"
    ));
}

/// Prints where the server listens, and the URLs at which it can be reached.
/// With a `pin` it also prints how a client trusts the certificate.
pub(crate) fn listening(entrances: &[Entrance], base: &BasePath, pin: Option<Fingerprint>) {
    let mut said = String::new();
    let mut reached = None;
    for entrance in entrances {
        // Writing to a String cannot fail.
        let _ = writeln!(said, "listening on {}", entrance.listener);
        if let (Some(scheme), Some(address)) = (scheme(entrance), entrance.listener.address()) {
            reached = Some(urls(scheme, address, base, &mut said));
        }
    }
    if let (Some(pin), Some(reached)) = (pin, reached) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            said,
            "the certificate's SHA-256 is {pin}\njoin with: client https://{reached}{base}/ --tls-pin {pin}"
        );
    }
    print(&said);
}

/// The scheme of the URLs at an entrance that serves the chat.
fn scheme(entrance: &Entrance) -> Option<&'static str> {
    match entrance.scheme {
        Scheme::Http => Some("http"),
        Scheme::Https { .. } => Some("https"),
        Scheme::ToHttps { .. } => None,
    }
}

fn print(said: &str) {
    // If standard output is gone, the lines have no reader.
    let mut stdout = std::io::stdout();
    let _ = stdout
        .write_all(said.as_bytes())
        .and_then(|()| stdout.flush());
}

/// Adds the URLs of a TCP listener. Returns the address in the last one.
fn urls(scheme: &str, address: SocketAddr, base: &BasePath, said: &mut String) -> SocketAddr {
    let local = local(address);
    // Writing to a String cannot fail.
    let _ = writeln!(said, "open {scheme}://{local}{base}/ in a browser");
    let mut reached = local;
    if address.ip().is_unspecified() {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        for interface in interfaces
            .iter()
            .filter(|i| !i.is_loopback() && !i.is_link_local())
        {
            if address.is_ipv6() || interface.ip().is_ipv4() {
                let url = SocketAddr::new(interface.ip(), address.port());
                let _ = writeln!(said, "others can join at {scheme}://{url}{base}/");
                reached = url;
            }
        }
    }
    reached
}
