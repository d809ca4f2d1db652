//! Runs a shape against the servers, and computes the figures.

use std::{path::Path, time::Duration};

use anyhow::Context;

use crate::{
    load::{Load, Pace, Sample, Shape},
    process::{self, Cores, Kind, Server},
    report::{Report, Row, Value},
};

/// How a scenario is measured.
pub struct Setting {
    /// The scenario's name.
    pub scenario: &'static str,
    /// The scenario's title.
    pub about: &'static str,
    pub report: Report,
    pub cores: Cores,
    /// How many times each figure is measured.
    pub repeats: usize,
    /// The servers to measure side by side; ratios are to the first.
    pub servers: Vec<Kind>,
}

/// How long a flood is measured, and how long it runs before that.
pub(super) const WINDOW: Duration = Duration::from_millis(500);
pub(super) const WARM_UP: Duration = Duration::from_millis(150);

pub(super) fn in_flight(connections: usize, publishers: usize, count: usize) -> Shape {
    Shape {
        connections,
        publishers,
        rooms: 1,
        pace: Pace::InFlight(count),
        text: 64,
        reads_every: None,
        tls: false,
    }
}

pub(super) fn steady(connections: usize, per_second: u32) -> Shape {
    Shape {
        connections,
        publishers: 10,
        rooms: 1,
        pace: Pace::PerSecond(per_second),
        text: 64,
        reads_every: None,
        tls: false,
    }
}

/// The figures of one run.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    /// Deliveries per second.
    pub(super) rate: f64,
    /// The server's CPU time per delivery, in nanoseconds.
    pub(super) cpu: f64,
    /// Latencies in microseconds: the 50th, 99th and 99.9th percentile.
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    /// The share of the time for which the load kept its core busy, kernel
    /// included.
    pub(super) load: f64,
}

impl Figures {
    pub(super) fn of(sample: &Sample, cpu_ns: u64, load_ns: u64) -> Self {
        let deliveries = sample.deliveries.max(1) as f64;
        let micros = |quantile| sample.latency.value_at_quantile(quantile) as f64 / 10.0;
        Figures {
            rate: sample.deliveries as f64 / sample.seconds,
            cpu: cpu_ns as f64 / deliveries,
            p50: micros(0.5),
            p99: micros(0.99),
            p999: micros(0.999),
            load: load_ns as f64 / 1e9 / sample.seconds,
        }
    }
}

/// A folder that is removed afterwards, on the disk of the build: the system's
/// temporary folder may be in memory.
pub fn folder() -> anyhow::Result<tempfile::TempDir> {
    let target = std::env::current_exe()?;
    let target = target.parent().context("a folder")?;
    Ok(tempfile::tempdir_in(target)?)
}

/// Starts a server, and opens the connections of a shape to it.
pub(super) fn start(
    kind: Kind,
    shape: Shape,
    cores: Cores,
    data: &Path,
) -> anyhow::Result<(Server, Load)> {
    let server = Server::start(kind, cores, data)?;
    let shape = Shape {
        tls: kind == Kind::MemoryTls,
        ..shape
    };
    let (load, _) = Load::open(server.address(), shape, kind.greets())?;
    Ok((server, load))
}

/// Runs a shape against one server, and checks that every message arrived.
pub(super) fn run(kind: Kind, shape: &Shape, cores: Cores) -> anyhow::Result<Figures> {
    run_on(folder()?.path(), kind, shape, cores)
}

/// The same, with the server's data in the folder `data`.
pub(super) fn run_on(
    data: &Path,
    kind: Kind,
    shape: &Shape,
    cores: Cores,
) -> anyhow::Result<Figures> {
    let (server, mut load) = start(kind, *shape, cores, data)?;
    load.run(WARM_UP)?;
    let computed = || anyhow::Ok((server.cpu_ns()?, process::cpu_ns(std::process::id())?));
    let before = computed()?;
    let sample = load.run(WINDOW)?;
    let after = computed()?;
    load.finish().with_context(|| kind.name())?;
    Ok(Figures::of(&sample, after.0 - before.0, after.1 - before.1))
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Measures a figure of each server in turn, `repeats` times; returns the
/// figures of each server.
pub(super) fn in_turn<T>(
    kinds: &[Kind],
    repeats: usize,
    mut figure: impl FnMut(Kind) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<(Kind, Vec<T>)>> {
    let mut all: Vec<(Kind, Vec<T>)> = kinds.iter().map(|kind| (*kind, Vec::new())).collect();
    for _ in 0..repeats {
        for (kind, figures) in &mut all {
            figures.push(figure(*kind)?);
        }
    }
    Ok(all)
}

impl Setting {
    /// Prints the rows of this scenario under a title.
    pub(super) fn print(&self, title: &str, rows: impl Iterator<Item = Row>) {
        self.report
            .table(self.scenario, title, &rows.collect::<Vec<_>>());
    }

    /// The product with its history on disk, for scenarios that compare only
    /// builds of the product; and the other build, if it is to be measured.
    pub(super) fn products(&self) -> Vec<Kind> {
        let before = self.servers.contains(&Kind::BeforeDisk);
        let before = before.then_some(Kind::BeforeDisk);
        before.into_iter().chain([Kind::Disk]).collect()
    }
}

/// The median of the ratios of a figure, each within a turn.
pub(super) fn ratio<T>(these: &[T], others: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    let pairs = these.iter().zip(others);
    median(pairs.map(|(this, other)| figure(this) / figure(other)))
}

/// Runs a shape against the servers in turn, and prints a row for each. Ratios
/// are to the first server, and for a durable one also to the durable floor.
pub(super) fn side_by_side(setting: &Setting, shape: &Shape) -> anyhow::Result<()> {
    table_of(setting, setting.about, shape)
}

/// The same, under a title of its own.
pub(super) fn table_of(setting: &Setting, title: &str, shape: &Shape) -> anyhow::Result<()> {
    let all = in_turn(&setting.servers, setting.repeats, |kind| {
        run(kind, shape, setting.cores)
    })?;
    let figures_of = |wanted: Kind| all.iter().find(|(kind, _)| *kind == wanted);
    let rows = all.iter().map(|(kind, figures)| {
        let of = |figure: fn(&Figures) -> f64| median(figures.iter().map(figure));
        let to_first = |figure: fn(&Figures) -> f64| ratio(figures, &all[0].1, figure);
        let to_durable = |figure: fn(&Figures) -> f64| {
            let floor = kind.durable_floor().and_then(figures_of);
            floor.map_or(f64::NAN, |(_, floor)| ratio(figures, floor, figure))
        };
        Row {
            server: kind.name(),
            figures: vec![
                ("deliveries/s", Value(of(|f| f.rate), 0)),
                ("ratio", Value(to_first(|f| f.rate), 2)),
                ("to synced", Value(to_durable(|f| f.rate), 2)),
                ("CPU ns each", Value(of(|f| f.cpu), 0)),
                ("ratio of CPU", Value(to_first(|f| f.cpu), 2)),
                ("CPU to synced", Value(to_durable(|f| f.cpu), 2)),
                ("p50 µs", Value(of(|f| f.p50), 0)),
                ("p99 µs", Value(of(|f| f.p99), 0)),
                ("p99.9 µs", Value(of(|f| f.p999), 0)),
            ],
        }
    });
    setting.print(title, rows);
    Ok(())
}
