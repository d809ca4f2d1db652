//! A single connection that writes or reads a long history.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
};

use anyhow::{anyhow, ensure};

use super::{ARRIVAL, Load, Pace, Shape, connection::upgraded, stamp::STAMP};
use crate::wire;

/// Opens a connection to lobby, which has asked to be upgraded.
fn one(address: SocketAddr, target: &str) -> anyhow::Result<(Load, TcpStream)> {
    let shape = Shape {
        connections: 0,
        publishers: 0,
        rooms: 1,
        pace: Pace::InFlight(0),
        text: STAMP,
        reads_every: None,
        tls: false,
    };
    let (mut load, _) = Load::open(address, shape, true)?;
    load.resume(1, 0);
    load.to_open[0].0 = target.into();
    load.connect()?;
    let stream = load.connections.remove(0).stream.tcp().try_clone()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(ARRIVAL))?;
    Ok((load, stream))
}

/// Sends the numbers from `count` down to 1 to lobby, and waits until the last
/// one is stored.
///
/// # Errors
/// Fails if a connection fails, or a number does not come back in order.
pub fn fill(address: SocketAddr, count: u64) -> anyhow::Result<()> {
    let (load, stream) = one(address, "/?backlog=0")?;
    let mut said = stream.try_clone()?;
    let saying = thread::spawn(move || -> anyhow::Result<()> {
        let mut frames = Vec::new();
        for number in (1..=count).rev() {
            wire::put_head(&mut frames, 64, Some([0; 4]));
            write!(frames, "{number:064}")?;
            if number % 1000 == 1 {
                said.write_all(&frames)?;
                frames.clear();
            }
        }
        Ok(())
    });
    read_numbers(load, stream, count, || Ok(0))?;
    saying.join().map_err(|_| anyhow!("a panic"))?
}

/// Reads all of lobby, whose texts are the numbers from `count` down to 1.
/// Calls `watch` every 50,000 messages, and returns its highest result.
///
/// # Errors
/// Fails if the connection or `watch` fails, or a number is not in order.
pub fn replay(
    address: SocketAddr,
    count: u64,
    watch: impl Fn() -> anyhow::Result<u64>,
) -> anyhow::Result<u64> {
    let (load, stream) = one(address, "/?after=0")?;
    read_numbers(load, stream, count, watch)
}

/// Reads the numbers from `count` down to 1, as [`replay`] does.
fn read_numbers(
    mut load: Load,
    mut stream: TcpStream,
    count: u64,
    watch: impl Fn() -> anyhow::Result<u64>,
) -> anyhow::Result<u64> {
    let mut bytes = Vec::new();
    let mut greeted = false;
    let mut expected = count;
    let mut most = 0;
    while expected > 0 {
        let read = stream.read(&mut load.buffer)?;
        ensure!(read > 0, "the server closed it");
        bytes.extend_from_slice(&load.buffer[..read]);
        let mut at = 0;
        if !greeted {
            let Some(end) = upgraded(&bytes, true)? else {
                continue;
            };
            at = end;
            greeted = true;
        }
        while let Some(frame) = wire::frame(&bytes[at..]) {
            at += frame.whole;
            let text = str::from_utf8(frame.payload)?;
            let number = text.rsplit(' ').next().unwrap_or_default().parse::<u64>()?;
            ensure!(number == expected, "message {number}, not {expected}");
            expected -= 1;
            if expected.is_multiple_of(50_000) {
                most = most.max(watch()?);
            }
        }
        bytes.drain(..at);
    }
    Ok(most)
}
