//! The floor: the least a WebSocket broadcast server can do on one core.
//!
//! It has one thread and one epoll loop. Each turn reads the readable sockets,
//! puts all complete messages into one buffer of frames, and writes the buffer
//! to every socket. It has no names, rooms, checks, history or deadlines, and
//! queues without bound for a slow socket. It serves only as a comparison.
//!
//! With a file, it is the least a server can do to deliver only durable
//! messages. It writes and syncs the frames of each turn to the file, over
//! older frames, before it sends them.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::digest;
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, EventData, EventFlags},
};

use crate::wire;

const LISTENER: u64 = u64::MAX;

struct Client {
    stream: TcpStream,
    upgraded: bool,
    /// The bytes received of an incomplete frame or HTTP head.
    input: Vec<u8>,
    unsent: Vec<u8>,
}

/// The file that makes messages durable. It has a fixed length: a growing file
/// would also have to sync its new length.
struct Disk {
    file: File,
    at: u64,
}

impl Disk {
    const LENGTH: u64 = 4 << 20;

    fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path)?;
        file.write_all_at(&vec![0; usize::try_from(Self::LENGTH)?], 0)?;
        file.sync_all()?;
        Ok(Disk { file, at: 0 })
    }

    fn store(&mut self, frames: &[u8]) -> io::Result<()> {
        let length = frames.len() as u64;
        if self.at + length > Self::LENGTH {
            self.at = 0;
        }
        self.file.write_all_at(frames, self.at)?;
        self.at += length;
        self.file.sync_data()
    }
}

/// Serves until the process is killed; with a file, syncs each turn to it.
///
/// # Errors
/// Fails if the port, epoll or the file fails.
pub fn serve(file: Option<&Path>) -> anyhow::Result<()> {
    let mut disk = file.map(Disk::create).transpose()?;
    let listener = wire::listen()?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut free = Vec::new();
    let mut events = Vec::with_capacity(1024);
    let mut buffer = vec![0; 64 << 10];
    let mut frames = Vec::new();
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        frames.clear();
        for event in &events {
            let token = event.data.u64();
            if token == LISTENER {
                accept(&listener, &epoll, &mut clients, &mut free)?;
                continue;
            }
            let index = usize::try_from(token)?;
            let Some(client) = &mut clients[index] else {
                continue;
            };
            let flags = event.flags;
            let mut alive = true;
            if flags.contains(EventFlags::OUT) {
                alive = flush(client, &epoll, token)?;
            }
            if alive && flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                alive = read(client, &mut buffer, &mut frames)?;
            }
            if !alive {
                clients[index] = None;
                free.push(index);
            }
        }
        if frames.is_empty() {
            continue;
        }
        if let Some(disk) = &mut disk {
            disk.store(&frames)?;
        }
        for (index, place) in clients.iter_mut().enumerate() {
            let Some(client) = place else { continue };
            if client.upgraded && !send(client, &frames, &epoll, index as u64)? {
                *place = None;
                free.push(index);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &impl rustix::fd::AsFd,
    clients: &mut Vec<Option<Client>>,
    free: &mut Vec<usize>,
) -> anyhow::Result<()> {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let index = free.pop().unwrap_or(clients.len());
        epoll::add(
            epoll,
            &stream,
            EventData::new_u64(index as u64),
            EventFlags::IN,
        )?;
        if index == clients.len() {
            clients.push(None);
        }
        clients[index] = Some(Client {
            stream,
            upgraded: false,
            input: Vec::new(),
            unsent: Vec::new(),
        });
    }
    Ok(())
}

/// Reads once, and adds the complete messages to `frames`; false if the
/// connection has ended.
fn read(client: &mut Client, buffer: &mut [u8], frames: &mut Vec<u8>) -> anyhow::Result<bool> {
    let count = match client.stream.read(buffer) {
        Ok(0) => return Ok(false),
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
        Err(_) => return Ok(false),
    };
    client.input.extend_from_slice(&buffer[..count]);
    if !client.upgraded {
        let Some(end) = wire::head_end(&client.input) else {
            return Ok(true);
        };
        let answer = answer(&client.input[..end])?;
        client.input.drain(..end);
        client.stream.write_all(answer.as_bytes())?;
        client.upgraded = true;
    }
    let mut at = 0;
    while let Some(frame) = wire::masked_frame(&mut client.input[at..]) {
        at += frame.whole;
        match frame.opcode {
            wire::TEXT => wire::put_head(frames, frame.payload.len(), None),
            wire::CLOSE => return Ok(false),
            _ => continue,
        }
        frames.extend_from_slice(frame.payload);
    }
    client.input.drain(..at);
    Ok(true)
}

fn answer(head: &[u8]) -> anyhow::Result<String> {
    let head = std::str::from_utf8(head)?;
    let key = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map_or("", |(_, key)| key);
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(hash.finish());
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    ))
}

fn send(
    client: &mut Client,
    frames: &[u8],
    epoll: &impl rustix::fd::AsFd,
    token: u64,
) -> anyhow::Result<bool> {
    if !client.unsent.is_empty() {
        client.unsent.extend_from_slice(frames);
        return Ok(true);
    }
    let written = match client.stream.write(frames) {
        Ok(written) => written,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(_) => return Ok(false),
    };
    if written < frames.len() {
        client.unsent.extend_from_slice(&frames[written..]);
        epoll::modify(
            epoll,
            &client.stream,
            EventData::new_u64(token),
            EventFlags::IN | EventFlags::OUT,
        )?;
    }
    Ok(true)
}

fn flush(client: &mut Client, epoll: &impl rustix::fd::AsFd, token: u64) -> anyhow::Result<bool> {
    match client.stream.write(&client.unsent) {
        Ok(written) => drop(client.unsent.drain(..written)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(_) => return Ok(false),
    }
    if client.unsent.is_empty() {
        client.unsent = Vec::new();
        epoll::modify(
            epoll,
            &client.stream,
            EventData::new_u64(token),
            EventFlags::IN,
        )?;
    }
    Ok(true)
}
