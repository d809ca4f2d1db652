//! Reads and checks the deliveries of a load.

use std::{
    io::{ErrorKind, Read},
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, EventData, EventFlags},
    },
};
use tokio::time::Instant;

use super::{
    Load,
    connection::{MASK, flush, upgraded},
    stamp::{parse_stamp, tenths},
};
use crate::wire;

impl Load {
    /// Reads what arrives within the time.
    pub(super) fn listen(&mut self, wait: Duration) -> anyhow::Result<()> {
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
                    epoll::delete(&self.epoll, self.connections[index].stream.tcp())?;
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
                epoll::modify(
                    &self.epoll,
                    connection.stream.tcp(),
                    data,
                    EventFlags::empty(),
                )?;
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
