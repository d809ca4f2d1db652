//! Measures the cost of a delivery. The product is compared with the least a
//! broadcast server can do (the floor) and with the exercise it grew from.
//! A durable chat is also compared with the least durable broadcast server (the
//! synced floor).
//!
//!     cargo bench --bench fanout                 the whole table, about 5 minutes
//!     cargo bench --bench fanout -- flood idle   some scenarios
//!     cargo bench --bench fanout -- --long       also long scenarios
//!     cargo bench --bench fanout -- --json       an object a row, for programs
//!
//! Each server is a process of its own; the servers take turns. If the system
//! allows it, the server has one core and the load another; only `two-cores`
//! also gives the server more cores.
//!
//! A run fails if any delivery is missing, doubled or out of order. Ratios are
//! taken within a turn, and their median is shown: absolute figures depend on
//! the machine and its neighbours.

// This program prints its figures.
#![allow(clippy::print_stdout, clippy::print_stderr)]
// Figures are rounded when they are printed.
#![allow(clippy::cast_precision_loss)]
#![allow(unreachable_pub)] // a program exports nothing

mod exercise;
mod floor;
mod load;
mod machine;
mod process;
mod report;
mod scenarios;
mod tls;
mod wire;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use tokio::time::Instant;

use self::{
    process::{BEFORE, Cores, Kind},
    report::Report,
    scenarios::{SCENARIOS, Setting},
};

#[derive(Debug, Parser)]
#[command(name = "fanout", about = "Measures the cost of a delivery")]
struct Flags {
    /// Run only these scenarios
    scenarios: Vec<String>,

    /// How many times to measure each figure
    #[arg(long, default_value_t = 5)]
    repeats: usize,

    /// Measure only these servers; ratios are to the first of them, and for
    /// servers with their history on disk also to the synced floor
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "floor,synced-floor,memory,disk,exercise"
    )]
    servers: Vec<Kind>,

    /// Another build of the server, for the servers before-disk and
    /// before-memory
    #[arg(long, value_name = "PATH")]
    before: Option<PathBuf>,

    /// Also run the scenarios that take longer than all others together
    #[arg(long)]
    long: bool,

    /// Print each row as a JSON object on a line of its own
    #[arg(long)]
    json: bool,

    /// Accepted because `cargo bench` passes it
    #[arg(long, hide = true)]
    bench: bool,

    /// Run one of the servers
    #[arg(long, hide = true)]
    serve: Option<String>,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let outcome = match &flags.serve {
        Some(server) => serve(server),
        None => measure(&flags),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanout: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(server: &str) -> anyhow::Result<()> {
    match server.split_once(':') {
        Some(("exercise", messages)) => exercise::serve(messages.parse()?),
        Some((_, file)) => floor::serve(Some(file.as_ref())),
        None => floor::serve(None),
    }
}

fn measure(flags: &Flags) -> anyhow::Result<()> {
    for name in &flags.scenarios {
        anyhow::ensure!(
            SCENARIOS.iter().any(|scenario| scenario.name == name),
            "no such scenario: {name}; there are {}",
            SCENARIOS.map(|scenario| scenario.name).join(", ")
        );
    }
    if let Some(before) = &flags.before {
        BEFORE.get_or_init(|| before.clone());
    }
    raise_descriptors();
    let report = Report { json: flags.json };
    report.remark(&Cores::settle()?);
    machine::describe(report)?;
    let begun = Instant::now();
    for scenario in &SCENARIOS {
        let wanted = if flags.scenarios.is_empty() {
            flags.long || !scenario.long
        } else {
            flags.scenarios.iter().any(|name| name == scenario.name)
        };
        if wanted {
            let setting = Setting {
                scenario: scenario.name,
                about: scenario.about,
                report,
                cores: Cores::One,
                repeats: flags.repeats.max(1),
                servers: flags.servers.clone(),
            };
            (scenario.run)(&setting)?;
        }
    }
    let took = Duration::from_secs(begun.elapsed().as_secs());
    report.remark(&format!(
        "\nAll deliveries arrived once and in order. It took {took:?}."
    ));
    Ok(())
}

/// Lets this process, and those it starts, open as many connections as the
/// system allows.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    // If this fails, opening the connections reports an error.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}
