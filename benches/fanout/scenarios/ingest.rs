//! Measures how fast a long pipe is stored.

use std::{
    fs::{self, File},
    io::{BufWriter, ErrorKind, Write},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use tokio::time::Instant;

use super::measure::{Setting, folder, in_turn, median};
use crate::{
    process::Server,
    report::{Row, Value},
};

const LINES: usize = 1_000_000;

/// Pipes lines through the client, which gives each an id and waits for every
/// receipt. Beside it, `sqlite3` imports the same lines in one transaction, if
/// it is installed.
pub(super) fn ingest(setting: &Setting) -> anyhow::Result<()> {
    let folder = folder()?;
    let lines = folder.path().join("lines");
    write_lines(&lines)?;
    let mut rows = Vec::new();
    let all = in_turn(&setting.products(), setting.repeats, |kind| {
        let data = super::folder()?;
        let server = Server::start(kind, setting.cores, data.path())?;
        let begun = Instant::now();
        let piped = Command::new(env!("CARGO_BIN_EXE_client"))
            .arg("--quiet")
            .arg(server.address().to_string())
            .stdin(File::open(&lines)?)
            .stdout(Stdio::null())
            .status()?;
        ensure!(piped.success(), "the client ended with {piped}");
        Ok(LINES as f64 / begun.elapsed().as_secs_f64())
    })?;
    for (kind, rates) in &all {
        rows.push(row(kind.name(), rates));
    }
    let mut rates = Vec::new();
    for _ in 0..setting.repeats {
        rates.extend(import(&lines)?);
    }
    if rates.is_empty() {
        setting.report.remark("sqlite3 is not installed");
    } else {
        rows.push(row("sqlite3 .import", &rates));
    }
    setting.print(setting.about, rows.into_iter());
    Ok(())
}

fn row(server: &'static str, rates: &[f64]) -> Row {
    Row {
        server,
        figures: vec![("messages/s", Value(median(rates.iter().copied()), 0))],
    }
}

fn write_lines(path: &Path) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for number in 0..LINES {
        writeln!(
            file,
            "{number:07} {}",
            "a line of a long log, 64 bytes in all."
                .repeat(2)
                .get(..56)
                .unwrap_or_default()
        )?;
    }
    Ok(file.flush()?)
}

/// Lines a second of one import; `None` without `sqlite3`.
fn import(lines: &Path) -> anyhow::Result<Option<f64>> {
    let data = folder()?;
    let database = data.path().join("imported");
    let begun = Instant::now();
    let imported = Command::new("sqlite3")
        .arg(&database)
        .args(["CREATE TABLE lines(text TEXT NOT NULL)", ".mode ascii"])
        .arg(r#".separator "\t" "\n""#)
        .arg(format!(".import {} lines", lines.display()))
        .stdout(Stdio::null())
        .status();
    let imported = match imported {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        imported => imported.context("sqlite3")?,
    };
    ensure!(imported.success(), "sqlite3 ended with {imported}");
    let rate = LINES as f64 / begun.elapsed().as_secs_f64();
    ensure!(
        fs::metadata(&database)?.len() > 0,
        "sqlite3 imported nothing"
    );
    Ok(Some(rate))
}
