//! The metrics of the server, for `/-/metrics`.
//!
//! This module declares the name, unit and help of each metric. The code where
//! an event happens counts it. A shard does not count each delivery: it adds up
//! a fan-out and counts it once.

mod classic;
mod process;

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

use self::process::Process;

pub use self::classic::CONTENT_TYPE;

/// The content type of [`Metrics::open_metrics_text`].
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A count that only grows.
pub type Counter = prometheus_client::metrics::counter::Counter<u64, AtomicU64>;

/// A value that goes up and down.
type Level = Gauge<i64, AtomicI64>;

/// Counters by the value of one label.
type Counters = Family<[(&'static str, String); 1], Counter>;

/// A level that is always 1, with what it tells in its labels.
type Info = Family<[(&'static str, String); 1], Level>;

/// The bucket bounds of times in seconds: 50 µs to 50 s.
const SECONDS: [f64; 19] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
    2.0, 5.0, 10.0, 20.0, 50.0,
];

/// The bucket bounds of the number of messages in a batch.
const MESSAGES: [f64; 11] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];

/// All metrics of one server.
pub struct Metrics {
    registry: Registry,
    build: Info,
    ready: Level,
    connections: Level,
    max_connections: Level,
    people: Level,
    rooms: Level,
    catching_up: Level,
    behind: Level,
    unsent: Level,
    unindexed: Level,
    oldest: Level,
    newest: Level,
    database: Level,
    write_ahead_log: Level,
    index: Level,
    free: Level,
    last_backup: Level,
    certificate_expiry: Level,
    refusals: Counters,
    closes: Counters,
    answers: Counters,
    /// The number of messages committed.
    pub stored: Counter,
    /// The number of messages whose id was stored before.
    pub duplicates: Counter,
    /// The bytes of the texts committed.
    pub stored_bytes: Counter,
    delivered: Counter,
    delivered_bytes: Counter,
    /// The number of messages in a batch.
    pub batch: Histogram,
    /// The time that a commit took, in seconds.
    pub commit: Histogram,
    /// The number of commits that failed.
    pub failed_commits: Counter,
    /// The time from the arrival of a batch's first message to a shard's last
    /// write of the batch, in seconds.
    pub delivery: Histogram,
    /// The time that a subscriber caught up until it was live, in seconds.
    pub catching_up_time: Histogram,
    /// The time from the question of a search to its answer, in seconds.
    pub search: Histogram,
    /// The number of times that a shard fell behind its channel.
    pub lags: Counter,
    /// The number of pages that readers read from the store.
    pub pages: Counter,
}

/// A count of messages written to sockets, and the bytes of their frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeliveryCount {
    messages: usize,
    bytes: usize,
}

impl DeliveryCount {
    /// Adds messages and the bytes of their frames.
    pub fn add(&mut self, messages: usize, bytes: usize) {
        self.messages += messages;
        self.bytes += bytes;
    }
}

impl AddAssign for DeliveryCount {
    fn add_assign(&mut self, other: DeliveryCount) {
        self.add(other.messages, other.bytes);
    }
}

/// The values that are looked up when a client asks for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    /// Whether messages can be stored now.
    pub ready: bool,
    /// The most connections allowed.
    pub max_connections: usize,
    /// The number of people in all rooms; a person in two rooms counts twice.
    pub people: usize,
    /// The number of rooms with a member.
    pub rooms: usize,
    /// The number of subscribers that are catching up.
    pub catching_up: usize,
    /// How far the slowest of them is behind the log, in message numbers.
    pub behind: u64,
    /// The bytes kept in memory until sockets accept them.
    pub unsent: usize,
    /// The count of message numbers that the search index does not cover yet.
    pub unindexed: u64,
    /// The oldest message number that has not expired.
    pub oldest: u64,
    /// The last message number given.
    pub newest: u64,
    /// The bytes of the database.
    pub database: u64,
    /// The bytes of its write-ahead log.
    pub write_ahead_log: u64,
    /// The bytes of the search index.
    pub index: u64,
    /// The bytes that are free on the disk of the store.
    pub free: u64,
    /// When the last backup was made, in seconds since 1970; 0 if none was.
    pub last_backup: u64,
    /// When the certificate expires, in seconds since 1970; 0 if it is not
    /// known.
    pub certificate_expiry: i64,
}

impl Default for Metrics {
    #[rustfmt::skip] // a table
    fn default() -> Self {
        let messages = || Unit::Other("messages".into());
        let seconds = || Unit::Other("timestamp_seconds".into());
        let mut all = Registry::default();
        all.register_collector(Box::new(Process));
        let r = all.sub_registry_with_prefix("chat");
        Metrics {
            build: register(r, "build_info", "Always 1; the label is the version of the server"),
            ready: register(r, "ready", "1 if messages can be stored now, else 0"),
            max_connections: register(r, "max_connections", "The most connections allowed"),
            people: register(r, "people", "People in all rooms; a person in two rooms counts twice"),
            newest: register(r, "newest_seq", "The last message number given"),
            database: register_with_unit(r, "store", "Size of the database", Unit::Bytes, Level::default()),
            write_ahead_log: register_with_unit(r, "write_ahead_log", "Size of the database's write-ahead log", Unit::Bytes, Level::default()),
            index: register_with_unit(r, "index", "Size of the search index", Unit::Bytes, Level::default()),
            free: register_with_unit(r, "free", "Free space on the disk of the history; 0 with a history in memory", Unit::Bytes, Level::default()),
            last_backup: register_with_unit(r, "last_backup", "When the last backup was made, in seconds since 1970; 0 if none was", seconds(), Level::default()),
            certificate_expiry: register_with_unit(r, "certificate_expiry", "When the certificate that was shown last expires, in seconds since 1970; 0 without TLS and before the first connection", seconds(), Level::default()),
            catching_up_time: register_with_unit(r, "catching_up", "Time a subscriber caught up until it was live", Unit::Seconds, Histogram::new(SECONDS)),
            search: register_with_unit(r, "search", "Time from the question of a search to its answer", Unit::Seconds, Histogram::new(SECONDS)),
            connections: register(r, "connections", "Open connections, upgraded or not"),
            rooms: register(r, "rooms", "Rooms with at least one member"),
            catching_up: register(r, "subscribers_catching_up", "Subscribers that are catching up: new ones, and subscribers slower than the room"),
            behind: register_with_unit(r, "behind", "How far the slowest subscriber is behind the log, in message numbers", messages(), Level::default()),
            unsent: register_with_unit(r, "unsent", "Answers, events and the rests of partly written frames, kept in memory until sockets accept them; messages are read from the store instead", Unit::Bytes, Level::default()),
            unindexed: register_with_unit(r, "unindexed", "Message numbers that the search index does not cover yet", messages(), Level::default()),
            oldest: register(r, "oldest_seq", "The oldest message number that has not expired; the next number if all have"),
            stored: register(r, "messages_stored", "Messages committed to the log"),
            duplicates: register(r, "messages_duplicate", "Messages published again under an id that was stored before"),
            stored_bytes: register_with_unit(r, "stored", "Text of the messages committed to the log, without frames", Unit::Bytes, Counter::default()),
            delivered: register(r, "messages_delivered", "Messages written to sockets"),
            delivered_bytes: register_with_unit(r, "delivered", "Frames of messages written to sockets, without answers, events and pages", Unit::Bytes, Counter::default()),
            batch: register_with_unit(r, "batch", "Messages committed together", messages(), Histogram::new(MESSAGES)),
            commit: register_with_unit(r, "commit", "Time a commit takes", Unit::Seconds, Histogram::new(SECONDS)),
            failed_commits: register(r, "commit_failures", "Commits that failed; their messages were refused"),
            delivery: register_with_unit(r, "delivery", "Time from the arrival of a batch's first message to a shard's last write of the batch", Unit::Seconds, Histogram::new(SECONDS)),
            lags: register(r, "shard_lags", "Times a shard fell so far behind that its subscribers had to catch up"),
            pages: register(r, "pages_read", "Pages of messages that readers read from the store"),
            refusals: register(r, "refusals", "Commands refused, by code"),
            closes: register(r, "closes", "Conversations ended, by the close code sent; lost: the connection broke"),
            answers: register(r, "http_answers", "HTTP requests answered, by status; malformed requests and refused connections count too"),
            registry: all,
        }
    }
}

/// Registers a metric without a unit.
fn register<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let figure = M::default();
    registry.register(name, help, figure.clone());
    figure
}

/// Registers a metric with a unit.
fn register_with_unit<M: Metric + Clone>(
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
    /// Has the counters with a label from the start on, and this version of the
    /// program: an increase from nothing is none for Prometheus.
    pub fn expect(
        &self,
        version: &str,
        refusals: impl IntoIterator<Item = impl fmt::Display>,
        closes: impl IntoIterator<Item = u16>,
        statuses: impl IntoIterator<Item = u16>,
    ) {
        self.build
            .get_or_create(&[("version", version.to_owned())])
            .set(1);
        let codes = closes.into_iter().map(|code| code.to_string());
        for code in codes.chain(["lost".to_owned()]) {
            drop(self.closes.get_or_create(&[("code", code)]));
        }
        for code in refusals {
            drop(self.refusals.get_or_create(&[("code", code.to_string())]));
        }
        for status in statuses {
            drop(
                self.answers
                    .get_or_create(&[("status", status.to_string())]),
            );
        }
    }

    /// Counts a connection while the guard lives.
    pub fn connection(&self) -> impl Drop + Send + use<> {
        self.connections.inc();
        Open(self.connections.clone())
    }

    /// Counts messages written to sockets.
    pub fn delivered(&self, tally: DeliveryCount) {
        self.delivered.inc_by(tally.messages as u64);
        self.delivered_bytes.inc_by(tally.bytes as u64);
    }

    /// Counts a command that was refused with this code.
    pub fn refused(&self, code: &impl fmt::Display) {
        self.refusals
            .get_or_create(&[("code", code.to_string())])
            .inc();
    }

    /// Counts a conversation that ended with this close code, or with `lost`.
    pub fn closed(&self, code: &impl fmt::Display) {
        self.closes
            .get_or_create(&[("code", code.to_string())])
            .inc();
    }

    /// Counts a request that was answered with this status.
    pub fn answered(&self, status: u16) {
        self.answers
            .get_or_create(&[("status", status.to_string())])
            .inc();
    }

    /// Encodes all metrics in the text format 0.0.4 of Prometheus.
    pub fn text(&self, levels: Gauges) -> String {
        classic::from_open_metrics(&self.open_metrics_text(levels))
    }

    /// Encodes all metrics as `OpenMetrics` text.
    pub fn open_metrics_text(&self, levels: Gauges) -> String {
        let level = |number| i64::try_from(number).unwrap_or(i64::MAX);
        self.ready.set(levels.ready.into());
        self.max_connections
            .set(level(levels.max_connections as u64));
        self.people.set(level(levels.people as u64));
        self.newest.set(level(levels.newest));
        self.database.set(level(levels.database));
        self.write_ahead_log.set(level(levels.write_ahead_log));
        self.index.set(level(levels.index));
        self.free.set(level(levels.free));
        self.last_backup.set(level(levels.last_backup));
        self.certificate_expiry.set(levels.certificate_expiry);
        self.rooms.set(level(levels.rooms as u64));
        self.catching_up.set(level(levels.catching_up as u64));
        self.behind.set(level(levels.behind));
        self.unsent.set(level(levels.unsent as u64));
        self.unindexed.set(level(levels.unindexed));
        self.oldest.set(level(levels.oldest));
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
    fn the_text_has_help_units_and_values() {
        let metrics = Metrics::default();
        let open = metrics.connection();
        metrics.refused(&"rate");
        metrics.closed(&1000);
        metrics.answered(200);
        metrics.commit.observe(0.000_3);
        let levels = Gauges {
            rooms: 2,
            catching_up: 1,
            behind: 7,
            unsent: 5,
            unindexed: 3,
            oldest: 4,
            ..Gauges::default()
        };
        let text = metrics.open_metrics_text(levels);
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
            "chat_oldest_seq 4",
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
        let classic = metrics.text(levels);
        for line in [
            "# TYPE chat_delivered_bytes_total counter",
            "# HELP chat_connections Open connections, upgraded or not.",
            r#"chat_commit_seconds_bucket{le="0.0005"} 1"#,
        ] {
            assert!(classic.lines().any(|l| l == line), "{line} in\n{classic}");
        }
        assert!(!classic.contains("# UNIT") && !classic.contains("# EOF"));
        drop(open);
        assert!(metrics.text(levels).contains("chat_connections 0\n"));
    }
}
