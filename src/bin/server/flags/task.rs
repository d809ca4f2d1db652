//! The task that the flags ask for, with the options made from them.

use std::{io::IsTerminal, num::NonZeroUsize, path::PathBuf, process::ExitCode, time::Duration};

use broadcast_chat::{
    admin::AdminRequest,
    http::Trust,
    hub::{self, AccessMode, Capacity, PrefixLimits, QuotaLimits, Rate, RetentionLimits},
    log::UnreadLimit,
    protocol::Limits,
    server::ServerOptions,
    session,
    store::Storage,
};
use clap::error::ErrorKind;

use super::{
    super::{
        exit::{fail, fail_all},
        files,
        listeners::{Places, local},
    },
    Limit, LogFormat, Maintenance, ServerFlags, Tags, When, Who,
    mistakes::{Mistakes, sentence},
    process::{raise_descriptors, workers},
    sources::{self, RawValues, Sources},
    tls::CheckedTls,
};

/// File descriptors not used for sessions: about 20 of the server's own, and
/// those of connections refused because the server is full.
const RESERVED_DESCRIPTORS: u64 = 96;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The connections that one address may have where strangers may come: enough
/// for a household or a small office.
const MAX_PER_PREFIX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

/// The task that the flags ask for.
#[derive(Debug)]
pub(crate) enum Task {
    /// Serve.
    Serve(Places, Box<CheckedFlags>),
    /// Only say what would be served.
    CheckConfig(Places, Box<CheckedFlags>),
    /// Copy the history of a folder.
    Backup {
        /// The folder.
        data: PathBuf,
        /// The file, a folder, or `-`.
        file: PathBuf,
        /// Whether to compress the copy.
        compress: bool,
        /// How many backups stay in the folder.
        keep_last: Option<NonZeroUsize>,
    },
    /// Put a backup in the place of the history of a folder.
    Restore {
        /// The folder.
        data: PathBuf,
        /// The backup, or `-`.
        file: PathBuf,
    },
    /// Check the history of a folder.
    Check {
        /// The folder.
        data: PathBuf,
    },
    /// Ask the server at a URL whether it is healthy.
    HealthCheck {
        /// The URL.
        url: String,
    },
    /// Carry out an operator's request.
    Admin {
        /// The folder.
        data: PathBuf,
        /// The request.
        request: AdminRequest,
        /// Whether to print the answer as JSON.
        json: bool,
    },
}

/// The checked flags of a server that serves.
#[derive(Debug)]
pub(crate) struct CheckedFlags {
    /// The values that the flags have.
    pub(crate) raw: RawValues,
    /// The TLS of its TCP listeners, if they speak TLS.
    pub(crate) tls: Option<CheckedTls>,
    /// The place of the message store.
    pub(crate) storage: Storage,
    /// Whether to print the messages of the chat.
    pub(crate) show_messages: bool,
    /// Whether to print connections and their ends.
    pub(crate) show_joins: bool,
    /// The form of the log.
    pub(crate) log_format: LogFormat,
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
    // A supervisor knows 0 and 1 alone.
    let is_healthcheck = std::env::args_os().any(|word| word == "healthcheck");
    let wrong = |code| {
        if is_healthcheck {
            ExitCode::FAILURE
        } else {
            code
        }
    };
    let sources = sources::read(std::env::args_os()).map_err(|error| {
        if matches!(
            error.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
        ) {
            // If standard output is gone, the help has no reader.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        wrong(fail(&format_args!(
            "{}; server --help lists the flags",
            sentence(&error)
        )))
    })?;
    task(sources).map_err(|mistakes| wrong(fail_all(&mistakes)))
}

/// Reads the flags again, for a server whose listeners are on a network or not.
///
/// # Errors
///
/// Fails with all mistakes.
pub(crate) fn read_again(on_a_network: bool) -> Result<CheckedFlags, Vec<String>> {
    let sources = sources::read(std::env::args_os()).map_err(|error| vec![sentence(&error)])?;
    let Sources {
        flags,
        raw,
        mut mistakes,
    } = sources;
    let checked = check(flags, raw, on_a_network, &mut mistakes);
    mistakes.none_or(Some(checked))
}

/// The environment variables named like a flag's that no flag has.
pub(crate) fn unknown_variables() -> Vec<String> {
    sources::unknown_variables()
}

fn task(sources: Sources) -> Result<Task, Vec<String>> {
    let Sources {
        mut flags,
        raw,
        mut mistakes,
    } = sources;
    let task = match flags.upkeep.take() {
        Some(Maintenance::Backup {
            file,
            compress,
            keep_last,
            folder,
        }) => Task::Backup {
            data: folder.data,
            file,
            compress,
            keep_last,
        },
        Some(Maintenance::Restore { file, folder }) => Task::Restore {
            data: folder.data,
            file,
        },
        Some(Maintenance::Check { folder }) => Task::Check { data: folder.data },
        Some(Maintenance::HealthCheck { url }) => Task::HealthCheck {
            url: url.unwrap_or_else(|| local_url(&flags)),
        },
        Some(Maintenance::Admin(command)) => {
            let (request, said) = command.into_request();
            Task::Admin {
                data: said.folder.data,
                request,
                json: said.json,
            }
        }
        upkeep @ (None | Some(Maintenance::CheckConfig)) => {
            let places = Places::new((flags.bind, flags.port).into(), flags.unix.clone());
            let places = places.map_err(|why| mistakes.tell(why)).ok();
            let on_a_network = places.as_ref().is_some_and(Places::are_on_a_network);
            let checked = check(flags, raw, on_a_network, &mut mistakes);
            return mistakes
                .none_or(places.map(|places| (places, checked)))
                .map(|(places, checked)| {
                    let checked = Box::new(checked);
                    match upkeep {
                        None => Task::Serve(places, checked),
                        Some(_) => Task::CheckConfig(places, checked),
                    }
                });
        }
    };
    mistakes.none_or(Some(task))
}

/// Makes options of the flags, for listeners that are on a network or not. They
/// are right if no mistake is added.
fn check(
    flags: ServerFlags,
    raw: RawValues,
    on_a_network: bool,
    mistakes: &mut Mistakes,
) -> CheckedFlags {
    if flags.proxy_protocol && flags.trusted_proxy.is_empty() {
        mistakes.add("--proxy-protocol", &"needs --trusted-proxy");
    }
    let secret = flags.operator_secret_file.as_deref();
    let operator = mistakes.take(
        "--operator-secret-file",
        secret.map(files::read_secret).transpose(),
    );
    let motd = flags.motd.as_deref().map(files::read_motd).transpose();
    let motd = mistakes.take("--motd", motd);
    let terminal = std::io::stdout().is_terminal();
    let show_messages = match flags.show_messages {
        When::Auto => terminal,
        When::Always => true,
        When::Never => false,
    };
    let base_path = flags.prefix.clone().unwrap_or_default();
    let hides_addresses = hides_addresses(&flags, on_a_network);
    let (per_prefix, forwarded) = limits(&flags, on_a_network);
    let hosts = [&flags.host[..], flags.tls.domains()].concat();
    let text_limits = Limits {
        text_bytes: flags.max_text as usize,
    };
    CheckedFlags {
        raw,
        tls: flags.tls.check(flags.ephemeral, mistakes),
        storage: if flags.ephemeral {
            Storage::Memory
        } else {
            Storage::Folder(flags.folder.data)
        },
        show_messages,
        show_joins: terminal || show_messages,
        log_format: flags.log_format,
        verbose: flags.verbose,
        options: ServerOptions {
            keep: RetentionLimits {
                age: flags.keep.map(|days| DAY * days),
                messages: flags.keep_messages,
                size: flags.keep_size,
            },
            hub: hub::HubOptions {
                shards: workers(),
                name_expiry: DAY * flags.name_expiry,
                edit_window: flags.edit_window,
                access: match flags.access {
                    Who::Open => AccessMode::Open,
                    Who::Invite => AccessMode::Invite,
                },
                capacity: Capacity {
                    connections: most_connections(flags.max_connections),
                    per_prefix,
                    forwarded,
                    unread: Limit::resolve(flags.unread, Some(UnreadLimit::DEFAULT)),
                },
                hides_addresses,
                proxies: flags.trusted_proxy.into_iter().collect(),
            },
            trust: Trust {
                hostname: hostname(),
                hosts,
                origins: flags
                    .origin
                    .iter()
                    .map(|o| o.trim_end_matches('/').to_owned())
                    .collect(),
                metrics_readers: flags.metrics_from.into_iter().collect(),
            },
            base_path,
            administration: None,
            proxy_protocol: flags.proxy_protocol,
            session: session::SessionOptions {
                limits: text_limits,
                unfinished: session::UnfinishedMessages::new(text_limits),
                ping: Duration::from_secs(flags.ping.into()),
                motd: motd.flatten().flatten(),
                operator: operator.flatten(),
            },
        },
    }
}

/// The most connections: as many as wanted, as far as file descriptors suffice.
fn most_connections(wanted: Option<u32>) -> usize {
    let descriptors = raise_descriptors();
    let possible = descriptors - RESERVED_DESCRIPTORS.min(descriptors / 2);
    let wanted = wanted.map_or(u64::MAX, u64::from);
    usize::try_from(wanted.min(possible)).unwrap_or(usize::MAX)
}

/// The name of this machine; empty if it is not UTF-8.
fn hostname() -> String {
    let system = rustix::system::uname();
    system.nodename().to_str().unwrap_or_default().to_owned()
}

/// The URL by which this machine reaches a server with these flags.
fn local_url(flags: &ServerFlags) -> String {
    let scheme = if flags.tls.is_on() { "https" } else { "http" };
    let local = local((flags.bind, flags.port).into());
    let base = flags.prefix.clone().unwrap_or_default();
    format!("{scheme}://{local}{base}/")
}

/// Whether clients of other machines may come, directly or through a proxy.
fn strangers_may_come(flags: &ServerFlags, on_a_network: bool) -> bool {
    on_a_network || !flags.host.is_empty() || !flags.trusted_proxy.is_empty() || flags.tls.is_on()
}

/// Whether people see no address of anybody.
fn hides_addresses(flags: &ServerFlags, on_a_network: bool) -> bool {
    match flags.tags {
        Tags::Auto => on_a_network,
        Tags::Address => false,
        Tags::Guest => true,
    }
}

/// The limits of one address, and those for all requests of one address that
/// were forwarded.
///
/// Where no strangers come, the first are off by default, because every client
/// is on this machine.
fn limits(flags: &ServerFlags, on_a_network: bool) -> (PrefixLimits, PrefixLimits) {
    let limits = |on: bool| {
        let quotas = if on {
            QuotaLimits::DEFAULT
        } else {
            QuotaLimits::UNLIMITED
        };
        PrefixLimits {
            rate: Limit::resolve(flags.rate, on.then_some(Rate::DEFAULT)),
            connections: Limit::resolve(flags.max_per_address, on.then_some(MAX_PER_PREFIX))
                .map(NonZeroUsize::get),
            quotas: QuotaLimits {
                new_names: Limit::resolve(flags.new_names, quotas.new_names),
                daily_bytes: Limit::resolve(flags.daily_bytes, quotas.daily_bytes),
                topics: Limit::resolve(flags.topic_rate, quotas.topics),
            },
        }
    };
    (
        limits(strangers_may_come(flags, on_a_network)),
        limits(true),
    )
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU32, NonZeroU64};

    use super::*;

    fn flags(words: &[&str]) -> ServerFlags {
        let sources = sources::read([&["server"], words].concat()).expect("right words");
        sources
            .mistakes
            .none_or(Some(sources.flags))
            .expect("no mistake")
    }

    #[test]
    fn limits_are_off_only_where_no_strangers_come() {
        let (most, none) = (QuotaLimits::DEFAULT, QuotaLimits::UNLIMITED);
        let default = (Some(Rate::DEFAULT), Some(64), most);
        let off = (None, None, none);
        let set = |rate: &str, connections, quotas| (rate.parse().ok(), connections, quotas);
        let quotas = QuotaLimits {
            new_names: NonZeroU32::new(4),
            daily_bytes: NonZeroU64::new(9000),
            topics: "2:3".parse().ok(),
        };
        let off_quotas = ["--new-names=off", "--daily-bytes=off", "--topic-rate=off"];
        let off_flags = [
            &["--bind=::", "--rate=off", "--max-per-address=off"][..],
            &off_quotas,
        ]
        .concat();
        for (words, direct, forwarded) in [
            (&["--bind=::1"][..], off, default),
            (&["--bind=0.0.0.0"], default, default),
            (&["--host=chat.example"], default, default),
            (&["--trusted-proxy=private"], default, default),
            (&["--tls-self-signed"], default, default),
            (&["--acme=chat.example"], default, default),
            (&off_flags, off, off),
            (
                &["--rate=7", "--max-per-address=2"],
                set("7:70", Some(2), none),
                set("7:70", Some(2), most),
            ),
            (
                &[
                    "--new-names=4",
                    "--daily-bytes=9000",
                    "--topic-rate=2:3",
                    "--rate=500:100",
                ],
                set("500:100", None, quotas),
                set("500:100", Some(64), quotas),
            ),
        ] {
            let flags = flags(words);
            let on_a_network = !flags.bind.is_loopback();
            let (found, found_forwarded) = limits(&flags, on_a_network);
            let of = |limits: PrefixLimits| (limits.rate, limits.connections, limits.quotas);
            assert_eq!(of(found), direct, "{words:?}");
            assert_eq!(of(found_forwarded), forwarded, "{words:?}");
        }
    }

    // Verified to fail when `auto` shows addresses on a network.
    #[test]
    fn addresses_are_shown_by_default_only_on_loopback() {
        for (words, hidden) in [
            (&["--bind=127.0.0.1"][..], false),
            (&["--bind=::1", "--trusted-proxy=loopback"], false),
            (&["--bind=0.0.0.0"], true),
            (&["--bind=192.0.2.1"], true),
            (&["--bind=0.0.0.0", "--tags=address"], false),
            (&["--bind=127.0.0.1", "--tags=guest"], true),
        ] {
            let flags = flags(words);
            let on_a_network = !flags.bind.is_loopback();
            assert_eq!(hides_addresses(&flags, on_a_network), hidden, "{words:?}");
        }
    }
}
