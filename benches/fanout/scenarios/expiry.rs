//! Measures how fast old messages expire, and what that costs the others.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::Context;
use rusqlite::Connection;

use super::{
    filled, folder_of,
    measure::{Figures, Setting, WARM_UP, folder, in_turn, median, steady},
};
use crate::{
    load::Load,
    process::{Kind, Server},
    report::{Row, Value},
};

const STORED: u64 = 400_000;
const KEPT: u64 = 1000;

/// How long the other messages are measured. Expiry takes longer.
const WATCHED: Duration = Duration::from_secs(3);

#[allow(clippy::disallowed_methods)] // this thread has nothing else to do
pub(super) fn expiry(setting: &Setting) -> anyhow::Result<()> {
    let folders = filled(setting, STORED)?;
    for (kind, folder) in &folders {
        let server = Server::start(*kind, setting.cores, folder.path())?;
        while server.figure("chat_unindexed_messages")? > 0.0 {
            thread::sleep(Duration::from_millis(100));
        }
    }
    let all = in_turn(&setting.products(), setting.repeats, |kind| {
        let stored = folder_of(&folders, kind)?;
        let without = watched(setting, kind, stored, u64::MAX)?;
        Ok((watched(setting, kind, stored, KEPT)?, without))
    })?;
    let rows = all.iter().map(|(kind, runs)| {
        let ratios = runs.iter().map(|(with, without)| with.1 / without.1);
        Row {
            server: kind.name(),
            figures: vec![
                (
                    "expired/s",
                    Value(median(runs.iter().map(|run| run.0.0)), 0),
                ),
                (
                    "others' p99 µs",
                    Value(median(runs.iter().map(|run| run.0.1)), 0),
                ),
                (
                    "without, µs",
                    Value(median(runs.iter().map(|run| run.1.1)), 0),
                ),
                ("ratio", Value(median(ratios), 2)),
            ],
        }
    });
    setting.print(setting.about, rows);
    Ok(())
}

/// Messages expired a second, and the p99 of the others in microseconds, on a
/// copy of a folder.
fn watched(setting: &Setting, kind: Kind, stored: &Path, kept: u64) -> anyhow::Result<(f64, f64)> {
    let data = folder()?;
    for file in fs::read_dir(stored)? {
        let file = file?;
        fs::copy(file.path(), data.path().join(file.file_name()))?;
    }
    let server = Server::start_keeping(kind, setting.cores, data.path(), kept)?;
    let (mut load, _) = Load::open(server.address(), steady(100, 1000), kind.greets())?;
    load.run(WARM_UP)?;
    let database = Connection::open(data.path().join("chat.sqlite"))?;
    let oldest = || -> anyhow::Result<i64> {
        let oldest = "SELECT min(seq) FROM messages";
        let oldest = database.query_row(oldest, [], |row| row.get(0));
        oldest.context("the oldest message")
    };
    let before = oldest()?;
    let sample = load.run(WATCHED)?;
    let expired = oldest()? - before;
    load.finish()?;
    let rate = expired as f64 / sample.seconds;
    Ok((rate, Figures::of(&sample, 0, 0).p99))
}
