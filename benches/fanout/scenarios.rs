//! The scenarios, each with what it measures and how.

mod expiry;
mod ingest;
mod measure;

use std::{path::Path, thread, time::Duration};

use anyhow::{Context, anyhow};
use tokio::time::Instant;

use self::measure::{
    Figures, WARM_UP, WINDOW, in_flight, in_turn, ratio, run, run_on, side_by_side, start, steady,
    table_of,
};
pub use self::measure::{Setting, folder, median};
use crate::{
    load::{Load, Pace, Shape, single},
    process::{Cores, Kind, Server},
    report::{Row, Value},
};

/// A scenario of the table.
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    /// Runs only on request.
    pub long: bool,
    pub run: fn(&Setting) -> anyhow::Result<()>,
}

pub const SCENARIOS: [Scenario; 17] = [
    Scenario {
        name: "one-in-flight",
        about: "100 connections, 10 publishers with 1 message on the way each",
        long: false,
        run: |setting| side_by_side(setting, &in_flight(100, 10, 1)),
    },
    Scenario {
        name: "flood",
        about: "100 connections, 10 publishers with 10 messages on the way each",
        long: false,
        run: flood,
    },
    Scenario {
        name: "wide-flood",
        about: "1,000 connections, 10 publishers with 4 messages on the way each",
        long: false,
        run: |setting| side_by_side(setting, &in_flight(1000, 10, 4)),
    },
    Scenario {
        name: "wide-flood-tls",
        about: "wide-flood over TLS, against the product without it",
        long: false,
        run: wide_flood_tls,
    },
    Scenario {
        name: "steady-wide",
        about: "1,000 connections, 100 messages a second",
        long: false,
        run: |setting| side_by_side(setting, &steady(1000, 100)),
    },
    Scenario {
        name: "steady",
        about: "100 connections, 1,000 messages a second",
        long: false,
        run: |setting| side_by_side(setting, &steady(100, 1000)),
    },
    Scenario {
        name: "everybody",
        about: "200 connections, all publishing with 1 message on the way each",
        long: false,
        run: |setting| side_by_side(setting, &in_flight(200, 200, 1)),
    },
    Scenario {
        name: "rooms",
        about: "100 rooms of 10 connections, and one room with as many deliveries",
        long: false,
        run: rooms,
    },
    Scenario {
        name: "many-rooms",
        about: "1,000 rooms of 10, each with a message a second, and one room with as many deliveries",
        long: false,
        run: |setting| beside_one_room(setting, 1000, 1000),
    },
    Scenario {
        name: "two-cores",
        about: "the rows above with the server on any core, and on one",
        long: false,
        run: two_cores,
    },
    Scenario {
        name: "idle",
        about: "10,000 connections on which nothing happens",
        long: false,
        run: idle,
    },
    Scenario {
        name: "herd",
        about: "1,000 readers resume at once from 1,000 messages back while the room talks on",
        long: false,
        run: herd,
    },
    Scenario {
        name: "replay",
        about: "one reader, 1,000,000 stored messages",
        long: false,
        run: replay,
    },
    Scenario {
        name: "ingest",
        about: "a pipe of 1,000,000 lines through the client, with ids",
        long: true,
        run: ingest::ingest,
    },
    Scenario {
        name: "slow",
        about: "100 of 1,000 readers read nothing for 20 s, then read on",
        long: false,
        run: slow,
    },
    Scenario {
        name: "expiry",
        about: "400,000 stored messages expire while 1,000 others a second are delivered",
        long: true,
        run: expiry::expiry,
    },
    Scenario {
        name: "growth",
        about: "10 to 10,000 connections, and a history of 10,000,000 messages, in the flood",
        long: true,
        run: growth,
    },
];

fn wide_flood_tls(setting: &Setting) -> anyhow::Result<()> {
    let setting = Setting {
        servers: vec![Kind::Memory, Kind::MemoryTls],
        ..*setting
    };
    side_by_side(&setting, &in_flight(1000, 10, 4))
}

fn flood(setting: &Setting) -> anyhow::Result<()> {
    let shape = in_flight(100, 10, 10);
    side_by_side(setting, &shape)?;
    let data = folder()?;
    let (_server, mut load) = start(Kind::Exercise16, shape, setting.cores, data.path())?;
    let cut = load.run_and_count_closed(WARM_UP + WINDOW)?;
    setting.report.remark(&format!(
        "With its own channel of 16 messages, the exercise threw out {cut} of {} connections.",
        shape.connections
    ));
    Ok(())
}

/// Measures the cost of more rooms, with equally many messages and readers of
/// each message. At the low rate messages arrive apart. At the high rate those
/// of one room share a write, and those of many rooms do not.
fn rooms(setting: &Setting) -> anyhow::Result<()> {
    for per_second in [500, 2000] {
        beside_one_room(setting, 100, per_second)?;
    }
    Ok(())
}

/// Measures rooms of 10 readers, and one such room with as many deliveries.
fn beside_one_room(setting: &Setting, rooms: usize, per_second: u32) -> anyhow::Result<()> {
    let in_rooms = |rooms: usize| Shape {
        connections: 10 * rooms,
        publishers: rooms.max(10),
        rooms,
        pace: Pace::PerSecond(per_second),
        text: 64,
        reads_every: None,
        tls: false,
    };
    let all = in_turn(&setting.products(), setting.repeats, |kind| {
        let many = run(kind, &in_rooms(rooms), setting.cores)?;
        Ok((many, run(kind, &in_rooms(1), setting.cores)?))
    })?;
    let rows = all.iter().map(|(kind, runs)| {
        let of = |figure: fn(&(Figures, Figures)) -> f64| median(runs.iter().map(figure));
        Row {
            server: kind.name(),
            figures: vec![
                ("CPU ns each", Value(of(|run| run.0.cpu), 0)),
                ("in one room", Value(of(|run| run.1.cpu), 0)),
                ("ratio", Value(of(|run| run.0.cpu / run.1.cpu), 2)),
                ("p99 µs", Value(of(|run| run.0.p99), 0)),
                ("in one room, µs", Value(of(|run| run.1.p99), 0)),
            ],
        }
    });
    let title = format!("{rooms} rooms of 10 and one, {per_second} messages a second in all");
    setting.print(&title, rows);
    Ok(())
}

/// Measures whether the server does more with a second core. The load must
/// leave the server some of that core. So connections that do not publish read
/// only every 5 ms, and then all there is.
fn two_cores(setting: &Setting) -> anyhow::Result<()> {
    let reads_every = Some(Duration::from_millis(5));
    for (name, shape) in [
        ("one-in-flight", in_flight(100, 10, 1)),
        ("flood", in_flight(100, 10, 10)),
        ("wide-flood", in_flight(1000, 10, 4)),
        ("steady-wide", steady(1000, 100)),
        ("everybody", in_flight(200, 200, 1)),
        (
            "rooms",
            Shape {
                rooms: 100,
                ..in_flight(1000, 100, 4)
            },
        ),
    ] {
        let shape = Shape {
            reads_every,
            ..shape
        };
        let all = in_turn(&setting.products(), setting.repeats.div_ceil(2), |kind| {
            let free = run(kind, &shape, Cores::All)?;
            Ok((free, run(kind, &shape, setting.cores)?))
        })?;
        let rows = all.iter().map(|(kind, runs)| {
            let of = |figure: fn(&(Figures, Figures)) -> f64| median(runs.iter().map(figure));
            Row {
                server: kind.name(),
                figures: vec![
                    ("deliveries/s on any core", Value(of(|run| run.0.rate), 0)),
                    ("on one", Value(of(|run| run.1.rate), 0)),
                    ("ratio", Value(of(|run| run.0.rate / run.1.rate), 2)),
                    ("publishers' p99 µs", Value(of(|run| run.0.p99), 0)),
                    ("on one, µs", Value(of(|run| run.1.p99), 0)),
                    ("load's core %", Value(of(|run| run.0.load * 100.0), 0)),
                    ("on one, %", Value(of(|run| run.1.load * 100.0), 0)),
                ],
            }
        });
        let title = format!("{name}, with the server on any core and on one");
        setting.print(&title, rows);
    }
    Ok(())
}

fn idle(setting: &Setting) -> anyhow::Result<()> {
    const CONNECTIONS: usize = 10_000;
    const WATCHED: Duration = Duration::from_secs(1);
    let shape = steady(CONNECTIONS, 1);
    let all = in_turn(&setting.servers, setting.repeats.div_ceil(2), |kind| {
        let data = folder()?;
        let server = Server::start(kind, setting.cores, data.path())?;
        let before = server.resident()?;
        let (mut load, opened) = Load::open(server.address(), shape, kind.greets())?;
        load.read_only_for(Duration::from_millis(200))?;
        let memory = (server.resident()? - before) as f64 / CONNECTIONS as f64;
        let cpu = server.cpu_ns()?;
        load.read_only_for(WATCHED)?;
        let cpu = (server.cpu_ns()? - cpu) as f64 / WATCHED.as_nanos() as f64;
        Ok((memory, opened, cpu))
    })?;
    let rows = all.iter().map(|(kind, figures)| {
        let of = |figure: fn(&(f64, f64, f64)) -> f64| median(figures.iter().map(figure));
        let to_first = |figure: fn(&(f64, f64, f64)) -> f64| ratio(figures, &all[0].1, figure);
        Row {
            server: kind.name(),
            figures: vec![
                ("bytes each", Value(of(|it| it.0), 0)),
                ("ratio", Value(to_first(|it| it.0), 1)),
                ("accepted/s", Value(of(|it| it.1), 0)),
                ("ratio of accepted", Value(to_first(|it| it.1), 2)),
                (
                    "CPU % before the first ping",
                    Value(of(|it| it.2 * 100.0), 2),
                ),
            ],
        }
    });
    setting.print(setting.about, rows);
    Ok(())
}

fn slow(setting: &Setting) -> anyhow::Result<()> {
    // In 20 s this fills the kernel's buffers of a socket.
    let shape = Shape {
        text: 4096,
        ..steady(1000, 50)
    };
    for kind in setting.products() {
        slow_readers(kind, setting, shape)?;
    }
    Ok(())
}

fn slow_readers(kind: Kind, setting: &Setting, shape: Shape) -> anyhow::Result<()> {
    const STALLED: usize = 100;
    const TIME: Duration = Duration::from_secs(20);
    let data = folder()?;
    let (server, mut load) = start(kind, shape, setting.cores, data.path())?;
    // The tail of the log is in memory in both cases, so it is filled first.
    load.run(TIME / 2)?;
    let (mut quiet, mut rows) = (f64::NAN, Vec::new());
    let range = shape.connections - STALLED..shape.connections;
    for (stalled, time) in [(0, TIME / 2), (STALLED, TIME)] {
        let before = server.resident()?;
        load.stall(range.clone(), stalled > 0)?;
        let p99 = Figures::of(&load.run(time)?, 0, 0).p99;
        if stalled == 0 {
            quiet = p99;
        }
        let grown = server.resident()?.saturating_sub(before) as f64 / 1024.0;
        rows.push(Row {
            server: kind.name(),
            figures: vec![
                ("stalled", Value(stalled as f64, 0)),
                ("others' p99 µs", Value(p99, 0)),
                ("ratio", Value(p99 / quiet, 2)),
                ("grown by KiB", Value(grown, 0)),
                (
                    "behind",
                    Value(server.figure("chat_subscribers_catching_up")?, 0),
                ),
                (
                    "bytes kept for sockets",
                    Value(server.figure("chat_unsent_bytes")?, 0),
                ),
            ],
        });
    }
    load.stall(range, false)?;
    load.finish()?;
    setting.print(setting.about, rows.into_iter());
    Ok(())
}

fn herd(setting: &Setting) -> anyhow::Result<()> {
    const BACK: u64 = 1000;
    const READERS: usize = 1000;
    let shape = Shape {
        publishers: 1,
        ..steady(100, 100)
    };
    let all = in_turn(&setting.products(), setting.repeats, |kind| {
        let data = folder()?;
        let (server, mut load) = start(kind, shape, setting.cores, data.path())?;
        load.send_at_full_speed(2 * BACK)?;
        load.finish()?;
        let until = load.messages();
        let after = u32::try_from(until - BACK)?;
        let begun = Instant::now();
        // The herd has a thread of its own: reading its hundred megabytes would
        // delay the live readers.
        let address = server.address();
        let herd = thread::spawn(move || Load::resume_many(address, shape, READERS, after, until));
        let sample = load.run_until(|_| herd.is_finished())?;
        let took = begun.elapsed().as_secs_f64();
        let herd = herd
            .join()
            .map_err(|_| anyhow!("the herd's thread ended"))?;
        load.finish()?;
        herd?.finish_like(&load)?;
        Ok((Figures::of(&sample, 0, 0).p99, took))
    })?;
    let rows = all.iter().map(|(kind, runs)| Row {
        server: kind.name(),
        figures: vec![
            (
                "live readers' p99 ms",
                Value(median(runs.iter().map(|run| run.0 / 1000.0)), 1),
            ),
            (
                "all caught up after s",
                Value(median(runs.iter().map(|run| run.1)), 2),
            ),
        ],
    });
    setting.print(setting.about, rows);
    Ok(())
}

/// A folder for each build of the product, with `count` messages that this
/// build stored: a build must read its own format.
fn filled(setting: &Setting, count: u64) -> anyhow::Result<Vec<(Kind, tempfile::TempDir)>> {
    let fill = |kind| {
        let folder = folder()?;
        let server = Server::start(kind, setting.cores, folder.path())?;
        single::fill(server.address(), count)?;
        drop(server);
        Ok((kind, folder))
    };
    setting.products().into_iter().map(fill).collect()
}

/// The folder of this build.
fn folder_of(folders: &[(Kind, tempfile::TempDir)], kind: Kind) -> anyhow::Result<&Path> {
    let found = folders.iter().find(|(of, _)| *of == kind);
    found.map(|(_, folder)| folder.path()).context("a folder")
}

fn replay(setting: &Setting) -> anyhow::Result<()> {
    const STORED: u64 = 1_000_000;
    let folders = filled(setting, STORED)?;
    let all = in_turn(&setting.products(), setting.repeats.div_ceil(2), |kind| {
        let server = Server::start(kind, setting.cores, folder_of(&folders, kind)?)?;
        let before = server.resident()?;
        let begun = Instant::now();
        let resident = single::replay(server.address(), STORED, || server.resident())?;
        let rate = STORED as f64 / begun.elapsed().as_secs_f64();
        Ok((rate, resident.saturating_sub(before) as f64))
    })?;
    let rows = all.iter().map(|(kind, runs)| {
        let grown = runs.iter().map(|run| run.1 / f64::from(1 << 20));
        Row {
            server: kind.name(),
            figures: vec![
                ("messages/s", Value(median(runs.iter().map(|run| run.0)), 0)),
                ("ratio", Value(ratio(runs, &all[0].1, |run| run.0), 2)),
                ("grown by MiB at most", Value(median(grown), 1)),
            ],
        }
    });
    setting.print(setting.about, rows);
    Ok(())
}

fn growth(setting: &Setting) -> anyhow::Result<()> {
    const STORED: u64 = 10_000_000;
    // With 10,000 readers of the exercise, a thousand miss messages.
    let lossless = |kind: &Kind| *kind != Kind::Exercise;
    let lossless = Setting {
        servers: setting.servers.iter().copied().filter(lossless).collect(),
        ..*setting
    };
    for connections in [10, 100, 1000, 10_000] {
        let title = format!("{connections} connections");
        table_of(&lossless, &title, &in_flight(connections, 10, 10))?;
    }
    let long = filled(setting, STORED)?;
    // A server that stored all this over time has indexed it. After this fast
    // fill indexing would take an hour, with a twentieth of a core, and disturb
    // the measurement. So the index is marked as complete.
    for (_, folder) in &long {
        let index = rusqlite::Connection::open(folder.path().join("search.sqlite"))?;
        index.execute("UPDATE about SET upto = ?1", [STORED.cast_signed()])?;
    }
    let shape = in_flight(100, 10, 10);
    let all = in_turn(&setting.products(), setting.repeats, |kind| {
        let behind = run_on(folder_of(&long, kind)?, kind, &shape, setting.cores)?;
        Ok((behind, run(kind, &shape, setting.cores)?))
    })?;
    let rows = all.iter().map(|(kind, runs)| Row {
        server: kind.name(),
        figures: vec![
            (
                "deliveries/s behind it",
                Value(median(runs.iter().map(|run| run.0.rate)), 0),
            ),
            (
                "without",
                Value(median(runs.iter().map(|run| run.1.rate)), 0),
            ),
            (
                "ratio",
                Value(median(runs.iter().map(|run| run.0.rate / run.1.rate)), 2),
            ),
        ],
    });
    let title = format!("a history of {STORED} messages");
    setting.print(&title, rows);
    Ok(())
}
