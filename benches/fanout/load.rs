//! The load: many connections in one thread, every delivery checked.
//!
//! A message's text starts with its publisher, its number and the time it was
//! due. Each reader expects every message of each publisher of its room, once
//! and in order. Anything else fails the run.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use hdrhistogram::Histogram;
use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, EventData, EventFlags},
    },
    fd::OwnedFd,
};
use tokio::time::Instant;

use crate::wire;

/// The shortest text of a message, in bytes: publisher, number and due time in
/// hex, `pppp ssssssss tttttttttttt `.
const STAMP: usize = 4 + 1 + 8 + 1 + 12 + 1;

/// The longest latency recorded: 100 s, in tenths of a microsecond.
const MAX_LATENCY: u64 = 1_000_000_000;

/// How many connections are opened at a time.
const OPENED_AT_ONCE: usize = 64;

/// How long the last messages may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

/// The mask of every frame: unmasking costs the server the same for any mask.
const MASK: [u8; 4] = [0x3a, 0xc5, 0x91, 0x6e];

/// When a publisher sends its next message.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// When one of its messages has come back: it may have this many on the
    /// way.
    InFlight(usize),
    /// At this rate per second, of all publishers together, whatever comes
    /// back.
    PerSecond(u32),
}

/// The connections of a load, and what they send.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub connections: usize,
    /// How many connections publish; they are the first ones.
    pub publishers: usize,
    /// Connection `i` is in room `i % rooms`.
    pub rooms: usize,
    pub pace: Pace,
    /// The bytes of a message's text.
    pub text: usize,
    /// If given, connections that do not publish read only this often. That
    /// takes little CPU time, as if they were elsewhere; their latencies do not
    /// count.
    pub reads_every: Option<Duration>,
}

struct Connection {
    stream: TcpStream,
    /// Whether the upgrade, or the greeting after it, is still expected.
    opening: bool,
    /// The received part of an incomplete frame.
    rest: Vec<u8>,
    /// The bytes that the socket has not taken yet.
    unsent: Vec<u8>,
    /// The number expected next from each publisher, by its place in the room.
    next: Vec<u32>,
    room: usize,
    /// Whether its latencies count.
    timed: bool,
}

/// The measurements of one period.
#[derive(Clone, Debug)]
pub struct Sample {
    pub deliveries: u64,
    pub seconds: f64,
    pub latency: Histogram<u64>,
}

/// Many connections to one server, and the state of what they sent and read.
pub struct Load {
    address: SocketAddr,
    greeted: bool,
    shape: Shape,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Connections to open: the request target, and how many messages of each
    /// publisher precede the first one expected.
    to_open: VecDeque<(String, u32)>,
    /// Connections that are not upgraded yet.
    opening: usize,
    /// How many messages each publisher has sent.
    sent: Vec<u32>,
    /// How many more each publisher may send now.
    credit: Vec<usize>,
    started: Instant,
    /// How many messages were due so far, at a steady pace.
    due: u64,
    /// When the steady pace began.
    paced_from: Option<Instant>,
    deliveries: u64,
    latency: Histogram<u64>,
    /// How many connections the server closed, if they are counted.
    closed: Option<usize>,
    buffer: Vec<u8>,
    /// When the connections with `reads_every` last read.
    read_by_all: Instant,
    /// The frames that a publisher sends at once; reused.
    outgoing: Vec<u8>,
    filler: Vec<u8>,
}

impl Load {
    /// Opens the connections; also returns how many were opened per second.
    /// With `greeted`, a connection is open once its greeting has arrived.
    ///
    /// # Errors
    /// Fails if a connection cannot be opened or upgraded in time.
    pub fn open(address: SocketAddr, shape: Shape, greeted: bool) -> anyhow::Result<(Self, f64)> {
        ensure!(shape.text >= STAMP, "a text has at least {STAMP} bytes");
        let mut load = Load {
            address,
            greeted,
            shape,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::with_capacity(shape.connections),
            to_open: VecDeque::new(),
            opening: 0,
            sent: vec![0; shape.publishers],
            credit: vec![0; shape.publishers],
            started: Instant::now(),
            due: 0,
            paced_from: None,
            deliveries: 0,
            latency: Histogram::new_with_bounds(1, MAX_LATENCY, 3)?,
            closed: None,
            buffer: vec![0; 1 << 20],
            read_by_all: Instant::now(),
            outgoing: Vec::new(),
            filler: vec![b'x'; shape.text - STAMP],
        };
        for index in 0..shape.connections {
            let target = if shape.rooms > 1 {
                format!("/room-{}", index % shape.rooms)
            } else {
                "/".into()
            };
            load.to_open.push_back((target, 0));
        }
        let begun = Instant::now();
        while !load.is_open() {
            load.connect()?;
            load.listen(Duration::from_millis(10))?;
            ensure!(begun.elapsed() < ARRIVAL, "the upgrades are not answered");
        }
        let rate = shape.connections as f64 / begun.elapsed().as_secs_f64();
        Ok((load, rate))
    }

    /// Adds readers of lobby to open, which resume after its first `after`
    /// messages. If `after` is not 0, one publisher must have sent all of
    /// these.
    fn resume(&mut self, count: usize, after: u32) {
        for _ in 0..count {
            self.to_open.push_back((format!("/?after={after}"), after));
        }
    }

    /// Opens `count` readers of lobby at once. They resume after its first
    /// `after` messages, all of one publisher, and read up to message `until`.
    ///
    /// # Errors
    /// Fails if a connection fails, or a delivery is missing, doubled or out of
    /// order.
    pub fn resume_many(
        address: SocketAddr,
        shape: Shape,
        count: usize,
        after: u32,
        until: u64,
    ) -> anyhow::Result<Self> {
        let none = Shape {
            connections: 0,
            ..shape
        };
        let (mut load, _) = Load::open(address, none, true)?;
        load.resume(count, after);
        while !load.has(until) {
            load.connect()?;
            load.listen(Duration::from_millis(1))?;
        }
        Ok(load)
    }

    /// Waits until every message that another load sent has arrived here too.
    ///
    /// # Errors
    /// As [`Load::finish`].
    pub fn finish_like(&mut self, other: &Load) -> anyhow::Result<()> {
        self.sent.clone_from(&other.sent);
        self.finish()
    }

    fn is_open(&self) -> bool {
        self.to_open.is_empty() && self.opening == 0
    }

    /// Begins to open further connections, at most `OPENED_AT_ONCE` at a time.
    fn connect(&mut self) -> anyhow::Result<()> {
        while self.opening < OPENED_AT_ONCE
            && let Some((target, after)) = self.to_open.pop_front()
        {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.write_all(
                format!(
                    "GET {target} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                    self.address
                )
                .as_bytes(),
            )?;
            stream.set_nonblocking(true)?;
            let index = self.connections.len();
            epoll::add(
                &self.epoll,
                &stream,
                EventData::new_u64(index as u64),
                EventFlags::IN,
            )?;
            let room = index % self.shape.rooms;
            let publishers = self.shape.publishers;
            self.opening += 1;
            self.connections.push(Connection {
                stream,
                opening: true,
                rest: Vec::new(),
                unsent: Vec::new(),
                next: vec![after; (publishers + self.shape.rooms - 1 - room) / self.shape.rooms],
                room,
                timed: after == 0,
            });
        }
        Ok(())
    }

    /// Whether all connections have the first `messages` messages of each
    /// publisher.
    fn has(&self, messages: u64) -> bool {
        let has = |c: &Connection| c.next.iter().all(|next| u64::from(*next) >= messages);
        self.is_open() && self.connections.iter().all(has)
    }

    fn has_all(&self, connection: &Connection) -> bool {
        let from = |place: usize| self.sent[place * self.shape.rooms + connection.room];
        (0..connection.next.len()).all(|place| connection.next[place] == from(place))
    }

    /// Makes connections stop reading, with a small buffer in the kernel, or
    /// read on. The latencies of connections that once stopped do not count.
    ///
    /// # Errors
    /// Fails if a socket or epoll cannot be changed.
    pub fn stall(&mut self, range: std::ops::Range<usize>, stalled: bool) -> anyhow::Result<()> {
        for index in range {
            let connection = &mut self.connections[index];
            let flags = if stalled {
                connection.timed = false;
                rustix::net::sockopt::set_socket_recv_buffer_size(&connection.stream, 4096)?;
                EventFlags::empty()
            } else {
                rustix::net::sockopt::set_socket_recv_buffer_size(&connection.stream, 1 << 20)?;
                EventFlags::IN
            };
            epoll::modify(
                &self.epoll,
                &connection.stream,
                EventData::new_u64(index as u64),
                flags,
            )?;
        }
        Ok(())
    }

    /// Sends messages as fast as they come back, whatever the pace, until
    /// `messages` have been sent in all.
    ///
    /// # Errors
    /// As [`Load::run_until`].
    pub fn send_at_full_speed(&mut self, messages: u64) -> anyhow::Result<()> {
        let pace = std::mem::replace(&mut self.shape.pace, Pace::InFlight(10));
        self.run_until(|load| load.messages() >= messages)?;
        self.shape.pace = pace;
        Ok(())
    }

    /// Sends and reads for a time; returns how many connections the server
    /// closed.
    ///
    /// # Errors
    /// Fails if epoll fails.
    pub fn run_and_count_closed(&mut self, time: Duration) -> anyhow::Result<usize> {
        self.closed = Some(0);
        self.run(time)?;
        Ok(self.closed.unwrap_or_default())
    }

    /// How many messages were sent.
    pub fn messages(&self) -> u64 {
        self.sent.iter().map(|said| u64::from(*said)).sum()
    }

    /// Sends and reads for a time.
    ///
    /// # Errors
    /// As [`Load::run_until`].
    pub fn run(&mut self, time: Duration) -> anyhow::Result<Sample> {
        let begun = Instant::now();
        self.run_until(|_| begun.elapsed() >= time)
    }

    /// Sends and reads until `done` returns true.
    ///
    /// # Errors
    /// Fails if a connection fails, or a delivery is missing, doubled or out of
    /// order.
    pub fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> anyhow::Result<Sample> {
        self.deliveries = 0;
        self.latency.reset();
        let begun = Instant::now();
        match self.shape.pace {
            Pace::InFlight(count) if self.messages() == 0 => self.credit.fill(count),
            Pace::InFlight(_) => {}
            Pace::PerSecond(_) => {
                self.paced_from.get_or_insert(begun);
            }
        }
        while !done(self) {
            self.connect()?;
            let wait = self.publish()?;
            self.listen(wait)?;
        }
        Ok(Sample {
            deliveries: self.deliveries,
            seconds: begun.elapsed().as_secs_f64(),
            latency: self.latency.clone(),
        })
    }

    /// Reads for a time and sends nothing.
    ///
    /// # Errors
    /// As [`Load::run_until`].
    pub fn read_only_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.listen(time.saturating_sub(begun.elapsed()))?;
        }
        Ok(())
    }

    /// Sends nothing more, and waits until every message has arrived
    /// everywhere.
    ///
    /// # Errors
    /// As [`Load::run_until`], or if a message does not arrive in time.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !self.connections.iter().all(|c| self.has_all(c))
            || self.connections.iter().any(|c| !c.unsent.is_empty())
        {
            if begun.elapsed() > ARRIVAL {
                let late = self.connections.iter().filter(|c| !self.has_all(c)).count();
                bail!("{late} readers miss messages");
            }
            for index in 0..self.connections.len() {
                flush(&mut self.connections[index])?;
            }
            self.listen(Duration::from_millis(1))?;
        }
        // A message that arrives twice fails this too.
        self.read_only_for(Duration::from_millis(20))
    }

    /// Sends the messages that are due; returns how long to wait for more.
    fn publish(&mut self) -> anyhow::Result<Duration> {
        let mut wait = Duration::from_millis(10);
        match self.shape.pace {
            Pace::InFlight(_) => {
                for publisher in 0..self.shape.publishers {
                    let count = std::mem::take(&mut self.credit[publisher]);
                    let now = self.started.elapsed();
                    for _ in 0..count {
                        self.put_message(publisher, now)?;
                    }
                    if self.say(publisher)? {
                        wait = Duration::from_micros(100);
                    }
                }
            }
            Pace::PerSecond(rate) => {
                let begun = self.paced_from.unwrap_or(self.started);
                let offset = begun.duration_since(self.started);
                loop {
                    let due = Duration::from_secs_f64(self.due as f64 / f64::from(rate));
                    let since = begun.elapsed();
                    if due > since {
                        wait = wait.min(due.saturating_sub(since));
                        break;
                    }
                    let publisher = usize::try_from(self.due % self.shape.publishers as u64)?;
                    // The latency counts from when it was due, not from when it
                    // is sent.
                    self.put_message(publisher, offset + due)?;
                    self.say(publisher)?;
                    self.due += 1;
                }
            }
        }
        Ok(wait)
    }

    fn put_message(&mut self, publisher: usize, due: Duration) -> anyhow::Result<()> {
        let number = self.sent[publisher];
        self.sent[publisher] += 1;
        wire::put_head(&mut self.outgoing, self.shape.text, Some(MASK));
        let start = self.outgoing.len();
        let due = tenths(due)?;
        write!(self.outgoing, "{publisher:04x} {number:08x} {due:012x} ")?;
        self.outgoing.extend_from_slice(&self.filler);
        for (byte, mask) in self.outgoing[start..].iter_mut().zip(MASK.iter().cycle()) {
            *byte ^= mask;
        }
        Ok(())
    }

    /// Sends the frames in `outgoing`; returns whether some bytes are still
    /// unsent.
    fn say(&mut self, publisher: usize) -> anyhow::Result<bool> {
        let connection = &mut self.connections[publisher];
        connection.unsent.append(&mut self.outgoing);
        match (self.closed, flush(connection)) {
            // The server closed the connection, which the next read counts.
            (Some(_), Err(_)) => connection.unsent.clear(),
            (_, flushed) => flushed?,
        }
        Ok(!connection.unsent.is_empty())
    }

    /// Reads what arrives within the time.
    fn listen(&mut self, wait: Duration) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(1024);
        let wait = Timespec::try_from(wait).context("a short time")?;
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(every) = self.shape.reads_every
            && self.read_by_all.elapsed() >= every
        {
            for index in self.shape.publishers..self.connections.len() {
                if !self.connections[index].opening {
                    self.read(index)?;
                }
            }
            self.read_by_all = Instant::now();
        }
        for event in &events {
            let index = usize::try_from(event.data.u64())?;
            let read = self.read(index);
            match (&mut self.closed, read) {
                (Some(cut), Err(_)) => {
                    *cut += 1;
                    epoll::delete(&self.epoll, &self.connections[index].stream)?;
                }
                (_, read) => read.with_context(|| format!("connection {index}"))?,
            }
        }
        Ok(())
    }

    fn read(&mut self, index: usize) -> anyhow::Result<()> {
        let connection = &mut self.connections[index];
        let kept = connection.rest.len();
        self.buffer[..kept].copy_from_slice(&connection.rest);
        let count = match connection.stream.read(&mut self.buffer[kept..]) {
            Ok(0) => bail!("the server closed it"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let now = tenths(self.started.elapsed())?;
        let bytes = &self.buffer[..kept + count];
        let rooms = self.shape.rooms;
        let mut at = 0;
        if connection.opening {
            match upgraded(bytes, self.greeted)? {
                None => {
                    connection.rest = bytes.to_vec();
                    return Ok(());
                }
                Some(end) => at = end,
            }
            connection.opening = false;
            self.opening -= 1;
            if self.shape.reads_every.is_some() && index >= self.shape.publishers {
                connection.timed = false;
                let data = EventData::new_u64(index as u64);
                epoll::modify(&self.epoll, &connection.stream, data, EventFlags::empty())?;
            }
        }
        while let Some(frame) = wire::frame(&bytes[at..]) {
            at += frame.whole;
            match frame.opcode {
                wire::TEXT if frame.payload.len() >= self.shape.text => {}
                wire::TEXT => continue,
                wire::PING => {
                    wire::put_control(&mut connection.unsent, wire::PONG, frame.payload, MASK);
                    continue;
                }
                wire::CLOSE => bail!(
                    "the server closed it: {}",
                    String::from_utf8_lossy(frame.payload)
                ),
                opcode => bail!("a frame with opcode {opcode}"),
            }
            let text = &frame.payload[frame.payload.len() - self.shape.text..];
            let (publisher, number, due) = parse_stamp(text)
                .ok_or_else(|| anyhow!("no message: {:?}", String::from_utf8_lossy(text)))?;
            ensure!(
                publisher % rooms == connection.room && publisher < self.shape.publishers,
                "a message of publisher {publisher} in room {}",
                connection.room
            );
            let next = &mut connection.next[publisher / rooms];
            ensure!(
                number == *next,
                "message {number} of publisher {publisher}, not {next}"
            );
            *next += 1;
            self.deliveries += 1;
            if connection.timed {
                self.latency.saturating_record(now.saturating_sub(due));
            }
            if publisher == index {
                self.credit[publisher] += 1;
            }
        }
        connection.rest.clear();
        connection.rest.extend_from_slice(&bytes[at..]);
        if !connection.unsent.is_empty() {
            flush(connection)?;
        }
        Ok(())
    }
}

/// The length of the answer to the upgrade, with the greeting if `greeted`;
/// `None` if it is incomplete.
fn upgraded(bytes: &[u8], greeted: bool) -> anyhow::Result<Option<usize>> {
    let Some(end) = wire::head_end(bytes) else {
        return Ok(None);
    };
    ensure!(
        bytes.starts_with(b"HTTP/1.1 101 "),
        "the upgrade was answered {:?}",
        String::from_utf8_lossy(bytes)
    );
    Ok(if greeted {
        wire::frame(&bytes[end..]).map(|greeting| end + greeting.whole)
    } else {
        Some(end)
    })
}

/// Opens a connection to lobby, which has asked to be upgraded.
fn one(address: SocketAddr, target: &str) -> anyhow::Result<(Load, TcpStream)> {
    let shape = Shape {
        connections: 0,
        publishers: 0,
        rooms: 1,
        pace: Pace::InFlight(0),
        text: STAMP,
        reads_every: None,
    };
    let (mut load, _) = Load::open(address, shape, true)?;
    load.resume(1, 0);
    load.to_open[0].0 = target.into();
    load.connect()?;
    let stream = load.connections.remove(0).stream;
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

fn flush(connection: &mut Connection) -> anyhow::Result<()> {
    while !connection.unsent.is_empty() {
        match connection.stream.write(&connection.unsent) {
            Ok(written) => drop(connection.unsent.drain(..written)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A time in tenths of a microsecond, the unit of latencies.
fn tenths(time: Duration) -> anyhow::Result<u64> {
    Ok(u64::try_from(time.as_nanos() / 100)?)
}

/// Publisher, number and due time of a message.
fn parse_stamp(text: &[u8]) -> Option<(usize, u32, u64)> {
    let publisher = hex(text.get(..4)?)?;
    let number = hex(text.get(5..13)?)?;
    let due = hex(text.get(14..26)?)?;
    Some((
        usize::try_from(publisher).ok()?,
        u32::try_from(number).ok()?,
        due,
    ))
}

fn hex(digits: &[u8]) -> Option<u64> {
    let mut value = 0;
    for digit in digits {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u64::from(digit);
    }
    Some(value)
}
