//! The system's figures of this process, under the names that all exporters
//! use.

use std::fs;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// Reads `/proc` when a client asks for the metrics. A system without it has
/// none of these metrics.
#[derive(Debug)]
pub(super) struct Process;

/// The fields of `/proc/self/stat` after the name of the program, counted from
/// 0 (`proc_pid_stat(5)`).
mod field {
    pub(super) const USER_TICKS: usize = 11;
    pub(super) const SYSTEM_TICKS: usize = 12;
    pub(super) const THREADS: usize = 17;
    pub(super) const STARTED: usize = 19;
    pub(super) const VIRTUAL_BYTES: usize = 20;
    pub(super) const RESIDENT_PAGES: usize = 21;
}

/// The figures of one process.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figures {
    cpu_seconds: f64,
    threads: i64,
    /// Seconds from the start of the system to that of the process.
    started: f64,
    virtual_bytes: i64,
    resident_pages: i64,
}

impl Figures {
    /// Reads the text of `/proc/self/stat`.
    fn parse(stat: &str, ticks_a_second: f64) -> Option<Self> {
        // The name of the program may have spaces and brackets.
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<_> = rest.split(' ').collect();
        let whole = |at: usize| fields.get(at)?.trim().parse::<i64>().ok();
        let seconds = |at: usize| Some(fields.get(at)?.parse::<f64>().ok()? / ticks_a_second);
        Some(Figures {
            cpu_seconds: seconds(field::USER_TICKS)? + seconds(field::SYSTEM_TICKS)?,
            threads: whole(field::THREADS)?,
            started: seconds(field::STARTED)?,
            virtual_bytes: whole(field::VIRTUAL_BYTES)?,
            resident_pages: whole(field::RESIDENT_PAGES)?,
        })
    }
}

/// When the system started, in seconds since 1970.
fn system_start() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

fn open_descriptors() -> Option<i64> {
    // The listing has a descriptor of its own.
    let open = fs::read_dir("/proc/self/fd")
        .ok()?
        .count()
        .saturating_sub(1);
    i64::try_from(open).ok()
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name: &str, help: &str, value: Option<f64>| match value {
            Some(value) => {
                let gauge = ConstGauge::new(value);
                let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                gauge.encode(encoder)
            }
            None => Ok(()),
        };
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        #[allow(clippy::cast_precision_loss)]
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let Some(figures) = Figures::parse(&stat, ticks) else {
            return Ok(());
        };
        #[allow(clippy::cast_precision_loss)]
        let number = |number: i64| Some(number as f64);
        #[allow(clippy::cast_precision_loss)]
        let page = rustix::param::page_size() as f64;
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        gauge(
            "process_resident_memory_bytes",
            "Memory of the process that is not swapped out",
            number(figures.resident_pages).map(|pages| pages * page),
        )?;
        gauge(
            "process_virtual_memory_bytes",
            "Address space of the process",
            number(figures.virtual_bytes),
        )?;
        gauge(
            "process_threads",
            "Threads of the process",
            number(figures.threads),
        )?;
        gauge(
            "process_open_fds",
            "Open file descriptors",
            open_descriptors().and_then(number),
        )?;
        gauge(
            "process_max_fds",
            "The most file descriptors that may be open",
            limit.and_then(|limit| number(i64::try_from(limit).ok()?)),
        )?;
        gauge(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970",
            system_start().map(|system| system + figures.started),
        )?;
        let cpu = ConstCounter::new(figures.cpu_seconds);
        let help = "Processor time of the process, in seconds";
        cpu.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            help,
            None,
            MetricType::Counter,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_with_a_strange_name_is_read() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 4200 8192 33 1\n";
        let found = Figures::parse(stat, 100.0).expect("figures");
        let wanted = Figures {
            cpu_seconds: 3.0,
            threads: 9,
            started: 42.0,
            virtual_bytes: 8192,
            resident_pages: 33,
        };
        assert_eq!(found, wanted);
        assert_eq!(Figures::parse("7 (x) S", 100.0), None);
    }
}
