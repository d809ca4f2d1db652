//! Measures what a sync, a `send` and a thread switch cost on this machine. With
//! these figures, the tables of two machines can be read side by side.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
    sync::mpsc,
    thread,
};

use anyhow::{Context, anyhow};
use tokio::time::Instant;

use crate::{
    process::Cores,
    report::{Report, Row, Value},
    scenarios::{folder, median},
};

/// How often each cost is measured; the median is shown.
const TIMES: usize = 200;

/// Prints the processor and the costs of one sync, one `send` and one thread
/// switch.
///
/// # Errors
/// Fails if a file or a socket cannot be used.
pub fn describe(report: Report) -> anyhow::Result<()> {
    let row = Row {
        server: "this machine",
        figures: vec![
            ("sync µs", Value(sync()? / 1000.0, 0)),
            ("send ns", Value(send()?, 0)),
            ("thread switch ns", Value(switch()?, 0)),
        ],
    };
    report.table("machine", &processor(), &[row]);
    Ok(())
}

/// The processor's model, as the system names it.
fn processor() -> String {
    let described = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = described
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(field, _)| field.trim() == "model name")
        .map(|(_, model)| model.trim().to_owned());
    model.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The time of one `fdatasync` after a write over older bytes, in nanoseconds.
fn sync() -> anyhow::Result<f64> {
    let folder = folder()?;
    let file = File::create(folder.path().join("synced"))?;
    file.write_all_at(&vec![0; 64 << 10], 0)?;
    file.sync_all()?;
    let mut taken = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let begun = Instant::now();
        file.write_all_at(&[1; 512], 0)?;
        file.sync_data()?;
        taken.push(begun.elapsed().as_nanos() as f64);
    }
    Ok(median(taken))
}

/// The time of one `send` of 64 bytes on a TCP connection, in nanoseconds.
fn send() -> anyhow::Result<f64> {
    const TOGETHER: usize = 100;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut from = TcpStream::connect(listener.local_addr()?)?;
    from.set_nodelay(true)?;
    let (mut to, _) = listener.accept()?;
    let mut received = [0; 64 * TOGETHER];
    let mut taken = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let begun = Instant::now();
        for _ in 0..TOGETHER {
            from.write_all(&[0; 64])?;
        }
        taken.push(begun.elapsed().as_nanos() as f64 / TOGETHER as f64);
        to.read_exact(&mut received)?;
    }
    Ok(median(taken))
}

/// The time of one thread switch, in nanoseconds. Two threads on the server's core
/// wake each other in turn.
fn switch() -> anyhow::Result<f64> {
    const TOGETHER: usize = 100;
    let (ask, asked) = mpsc::sync_channel::<()>(1);
    let (answer, answered) = mpsc::sync_channel::<()>(1);
    let other = thread::spawn(move || {
        Cores::move_to_server();
        while asked.recv().is_ok() && answer.send(()).is_ok() {}
    });
    let measuring = thread::spawn(move || -> anyhow::Result<f64> {
        Cores::move_to_server();
        let mut taken = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let begun = Instant::now();
            for _ in 0..TOGETHER {
                ask.send(())?;
                answered.recv()?;
            }
            taken.push(begun.elapsed().as_nanos() as f64 / (2 * TOGETHER) as f64);
        }
        Ok(median(taken))
    });
    let taken = measuring.join().map_err(|_| anyhow!("a thread ended"))?;
    other.join().ok().context("a thread ended")?;
    taken
}
