//! The load: many connections in one thread, every delivery checked.
//!
//! A message's text starts with its publisher, its number and the time it was
//! due. Each reader expects every message of each publisher of its room, once
//! and in order. Anything else fails the run.

mod connection;
mod publish;
mod receive;
pub mod single;
mod stamp;

use std::{collections::VecDeque, io::Write, net::SocketAddr, time::Duration};

use anyhow::{bail, ensure};
use hdrhistogram::Histogram;
use rustix::{
    event::epoll::{self, EventData, EventFlags},
    fd::OwnedFd,
};
use tokio::time::Instant;

use self::{
    connection::{Connection, Stream, flush},
    stamp::STAMP,
};

/// The longest latency recorded: 100 s, in tenths of a microsecond.
const MAX_LATENCY: u64 = 1_000_000_000;

/// How many connections are opened at a time.
const OPENED_AT_ONCE: usize = 64;

/// How long the last messages may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

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
    /// Whether the connections speak TLS.
    pub tls: bool,
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
            let mut stream = Stream::connect(self.address, self.shape.tls)?;
            stream.write_all(
                format!(
                    "GET {target} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                    self.address
                )
                .as_bytes(),
            )?;
            stream.tcp().set_nonblocking(true)?;
            let index = self.connections.len();
            epoll::add(
                &self.epoll,
                stream.tcp(),
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
                rustix::net::sockopt::set_socket_recv_buffer_size(connection.stream.tcp(), 4096)?;
                EventFlags::empty()
            } else {
                rustix::net::sockopt::set_socket_recv_buffer_size(
                    connection.stream.tcp(),
                    1 << 20,
                )?;
                EventFlags::IN
            };
            epoll::modify(
                &self.epoll,
                connection.stream.tcp(),
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
}
