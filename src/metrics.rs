//! What the server counts, for `/-/metrics`.
//!
//! Each figure has its name, unit and help here, and its place in the code where
//! the thing happens. Nothing is counted for each delivery alone: a shard adds
//! up a fan-out and counts it once.

use std::{
    fmt,
    ops::AddAssign,
    sync::atomic::{AtomicI64, AtomicU64},
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry, Unit},
};

/// The type [`Metrics::text`] has.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A count that only grows.
pub type Counter = prometheus_client::metrics::counter::Counter<u64, AtomicU64>;

/// A number that goes up and down.
type Level = Gauge<i64, AtomicI64>;

/// Counts by one label.
type Counters = Family<[(&'static str, String); 1], Counter>;

/// Bounds of what is counted in seconds: 50 µs to 50 s.
const SECONDS: [f64; 19] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
    2.0, 5.0, 10.0, 20.0, 50.0,
];

/// Bounds of how many messages a batch has.
const MESSAGES: [f64; 11] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];

/// All that is counted.
pub struct Metrics {
    registry: Registry,
    connections: Level,
    rooms: Level,
    catching_up: Level,
    behind: Level,
    unsent: Level,
    unindexed: Level,
    refusals: Counters,
    closes: Counters,
    answers: Counters,
    /// Messages committed.
    pub stored: Counter,
    /// Messages published again with an id stored before.
    pub duplicates: Counter,
    /// Bytes of the texts committed.
    pub stored_bytes: Counter,
    delivered: Counter,
    delivered_bytes: Counter,
    /// Messages in a batch.
    pub batch: Histogram,
    /// Seconds a commit took.
    pub commit: Histogram,
    /// Commits that failed.
    pub failed_commits: Counter,
    /// Seconds from the arrival of a batch's first message to a shard's last
    /// write of it.
    pub delivery: Histogram,
    /// Times a shard fell behind its channel.
    pub lags: Counter,
    /// Pages read from the database.
    pub pages: Counter,
}

/// Messages written to sockets, and the bytes of their frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    messages: usize,
    bytes: usize,
}

impl Tally {
    /// Adds so many more.
    pub fn add(&mut self, messages: usize, bytes: usize) {
        self.messages += messages;
        self.bytes += bytes;
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.add(other.messages, other.bytes);
    }
}

/// What is looked up when the figures are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Levels {
    /// Rooms with a member.
    pub rooms: usize,
    /// Subscribers that are not live.
    pub catching_up: usize,
    /// How many numbers of the log the last of them is behind.
    pub behind: u64,
    /// Bytes kept in memory until sockets take them.
    pub unsent: usize,
    /// How many numbers of the log are not indexed for searching.
    pub unindexed: u64,
}

impl Default for Metrics {
    #[rustfmt::skip] // a table
    fn default() -> Self {
        let messages = || Unit::Other("messages".into());
        let mut all = Registry::with_prefix("chat");
        let r = &mut all;
        Metrics {
            connections: figure(r, "connections", "Open connections, upgraded or not"),
            rooms: figure(r, "rooms", "Rooms with at least one member"),
            catching_up: figure(r, "subscribers_catching_up", "Subscribers fed from the log: newcomers, and those slower than the room"),
            behind: measure(r, "behind", "How many numbers of the log the slowest subscriber is behind", messages(), Level::default()),
            unsent: measure(r, "unsent", "What is kept in memory until sockets take it: answers and events, no messages, which are read again", Unit::Bytes, Level::default()),
            unindexed: measure(r, "unindexed", "How many numbers of the log are not indexed for searching yet", messages(), Level::default()),
            stored: figure(r, "messages_stored", "Messages committed to the log"),
            duplicates: figure(r, "messages_duplicate", "Messages published again under an id that was stored before"),
            stored_bytes: measure(r, "stored", "Text of the messages committed to the log: what came in, without frames", Unit::Bytes, Counter::default()),
            delivered: figure(r, "messages_delivered", "Messages written to sockets"),
            delivered_bytes: measure(r, "delivered", "Frames of messages written to sockets: what went out, without answers, events and pages", Unit::Bytes, Counter::default()),
            batch: measure(r, "batch", "Messages committed together", messages(), Histogram::new(MESSAGES)),
            commit: measure(r, "commit", "Time a commit takes", Unit::Seconds, Histogram::new(SECONDS)),
            failed_commits: figure(r, "commit_failures", "Commits that failed; their messages were refused"),
            delivery: measure(r, "delivery", "Time from the arrival of a batch's first message to a shard's last write of it", Unit::Seconds, Histogram::new(SECONDS)),
            lags: figure(r, "shard_lags", "Times a shard fell so far behind that its subscribers went back to the log"),
            pages: figure(r, "pages_read", "Pages of the log read from the database for readers"),
            refusals: figure(r, "refusals", "Commands refused, by code"),
            closes: figure(r, "closes", "Conversations ended, by the close code sent; lost: the connection broke"),
            answers: figure(r, "http_answers", "HTTP requests answered, by status; also those that could not be read, or had no place"),
            registry: all,
        }
    }
}

/// Registers a figure that counts things.
fn figure<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let figure = M::default();
    registry.register(name, help, figure.clone());
    figure
}

/// Registers a figure in a unit.
fn measure<M: Metric + Clone>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    unit: Unit,
    measure: M,
) -> M {
    registry.register_with_unit(name, help, unit, measure.clone());
    measure
}

impl Metrics {
    /// Counts a connection while the guard lives.
    pub fn connection(&self) -> impl Drop + Send + use<> {
        self.connections.inc();
        Open(self.connections.clone())
    }

    /// So much was written to sockets.
    pub fn delivered(&self, tally: Tally) {
        self.delivered.inc_by(tally.messages as u64);
        self.delivered_bytes.inc_by(tally.bytes as u64);
    }

    /// A command was refused, with this code.
    pub fn refused(&self, code: &impl fmt::Display) {
        self.refusals
            .get_or_create(&[("code", code.to_string())])
            .inc();
    }

    /// A conversation ended: with this close code, or `lost`.
    pub fn closed(&self, code: &impl fmt::Display) {
        self.closes
            .get_or_create(&[("code", code.to_string())])
            .inc();
    }

    /// A request was answered with this status.
    pub fn answered(&self, status: u16) {
        self.answers
            .get_or_create(&[("status", status.to_string())])
            .inc();
    }

    /// Everything, as `OpenMetrics` text.
    pub fn text(&self, levels: Levels) -> String {
        let level = |number| i64::try_from(number).unwrap_or(i64::MAX);
        self.rooms.set(level(levels.rooms as u64));
        self.catching_up.set(level(levels.catching_up as u64));
        self.behind.set(level(levels.behind));
        self.unsent.set(level(levels.unsent as u64));
        self.unindexed.set(level(levels.unindexed));
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

struct Open(Level);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_help_and_a_name_that_says_its_unit() {
        let metrics = Metrics::default();
        let open = metrics.connection();
        metrics.refused(&"rate");
        metrics.closed(&1000);
        metrics.answered(200);
        metrics.commit.observe(0.000_3);
        let levels = Levels {
            rooms: 2,
            catching_up: 1,
            behind: 7,
            unsent: 5,
            unindexed: 3,
        };
        let text = metrics.text(levels);
        for line in [
            "# HELP chat_connections Open connections, upgraded or not.",
            "chat_connections 1",
            "chat_rooms 2",
            "chat_subscribers_catching_up 1",
            "# UNIT chat_behind_messages messages",
            "chat_behind_messages 7",
            "# UNIT chat_unsent_bytes bytes",
            "chat_unsent_bytes 5",
            "chat_unindexed_messages 3",
            r#"chat_refusals_total{code="rate"} 1"#,
            r#"chat_closes_total{code="1000"} 1"#,
            r#"chat_http_answers_total{status="200"} 1"#,
            "# UNIT chat_commit_seconds seconds",
            r#"chat_commit_seconds_bucket{le="0.0005"} 1"#,
            "# UNIT chat_delivered_bytes bytes",
            "chat_delivered_bytes_total 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        drop(open);
        assert!(metrics.text(levels).contains("chat_connections 0\n"));
    }
}
