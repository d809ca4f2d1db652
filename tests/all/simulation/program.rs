//! A program of a simulated world, which speaks the protocol by hand.

use std::{rc::Rc, time::Duration};

use fastrand::Rng;
use futures_util::{SinkExt, StreamExt};
use http::{
    HeaderValue,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
};
use serde_json::{Value, json};
use tokio::{
    io::DuplexStream,
    select,
    time::{sleep, timeout},
};
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use super::{
    diary::{Seen, SentMessage, View},
    network::pick,
    world::{ROOMS, World, check_erased, millis, next_line},
};

/// How long a program waits for the server before it gives up the connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A program that speaks the protocol by hand, so it hides nothing that the
/// server does. Each of its connections resumes where the last one ended.
pub(super) struct Program {
    world: Rc<World>,
    name: String,
    rng: Rng,
    room: &'static str,
}

type Socket = WebSocketStream<DuplexStream>;

impl Program {
    pub(super) fn new(world: &Rc<World>, name: &str) -> Self {
        let mut rng = world.fork();
        Program {
            world: Rc::clone(world),
            name: name.to_owned(),
            room: pick(&mut rng, &ROOMS),
            rng,
        }
    }

    /// Connects once; `None` if that fails.
    async fn connect(&mut self, query: &str, json: bool) -> Option<Socket> {
        sleep(millis(&mut self.rng, 1000)).await;
        let stream = self.world.host.connect(false).await.ok()?;
        let uri = format!("ws://127.0.0.1:2000/{}?{query}", self.room);
        // Its last connection may still seem to hold the name, so it proves
        // that it owns it.
        // A chosen secret would be hashed on another thread.
        let proof = format!("Bearer random128_{:_>22}", self.name);
        let proof = HeaderValue::try_from(proof).expect("a value");
        let mut builder = ClientBuilder::new()
            .uri(&uri)
            .expect("an address")
            .add_header(AUTHORIZATION, proof)
            .expect("a header");
        if json {
            let protocol = HeaderValue::from_static("chat.v1");
            builder = builder
                .add_header(SEC_WEBSOCKET_PROTOCOL, protocol)
                .expect("a header");
        }
        let connected = timeout(ANSWER_TIMEOUT, builder.connect_on(stream)).await;
        Some(connected.ok()?.ok()?.0)
    }

    /// Reads the room to its end, in JSON or in numbered lines.
    ///
    /// # Errors
    /// Fails if the server sends something that a reader does not expect.
    pub(super) async fn read(mut self, json: bool) -> Result<(), String> {
        let mut view = View::new(&self.name, self.room, 0);
        view.in_lines = !json;
        while !view.reaches(self.world.ends.get()) {
            // A word that is erased later may be on its way already.
            let erased = self.world.erased();
            let query = format!("seq=1&after={}", view.last());
            let Some(mut socket) = self.connect(&query, json).await else {
                continue;
            };
            self.world
                .note(&self.name, &format!("resumes after {}", view.last()));
            while !view.reaches(self.world.ends.get()) {
                let knows = self.world.ended.is_cancelled();
                let text = select! {
                    biased;
                    text = next_text(&mut socket) => text,
                    () = self.world.ended.cancelled(), if !knows => continue,
                };
                let Some(text) = text else { break };
                check_erased(&erased, &self.name, &text)?;
                let seen = if json {
                    seen_in_json(&text)?
                } else {
                    seen_in_line(&text)?
                };
                if let Some(seen) = seen {
                    self.world.note(&self.name, &format!("sees {}", seen.seq));
                    view.seen.push(seen);
                }
                if !self.world.is_calm() && self.rng.u8(..16) == 0 {
                    sleep(millis(&mut self.rng, 40_000)).await;
                }
            }
        }
        view.upto = u64::MAX;
        self.world.note_view(view);
        Ok(())
    }

    /// Sends each message up to three times, and goes on when the message is
    /// accepted.
    ///
    /// # Errors
    /// Fails if the server refuses a message for another reason than `busy`.
    pub(super) async fn repeat(mut self, mut unsaid: usize) -> Result<(), String> {
        let ids = self.world.ids_of(&self.name);
        let query = format!("echo=0&name={}", self.name);
        let mut line = next_line(
            &self.world,
            &mut self.rng,
            &self.name,
            (self.room, None),
            &ids,
        );
        while unsaid > 0 {
            let Some(mut socket) = self.connect(&query, true).await else {
                continue;
            };
            while unsaid > 0 && self.say(&mut socket, &line).await?.is_some() {
                self.world.confirm(&self.name, &line.id);
                unsaid -= 1;
                if unsaid > 0 {
                    sleep(millis(&mut self.rng, 3000)).await;
                    line = next_line(
                        &self.world,
                        &mut self.rng,
                        &self.name,
                        (self.room, None),
                        &ids,
                    );
                }
            }
        }
        self.world.note_finished(&self.name);
        Ok(())
    }

    /// Sends a message, again after each refusal with `busy`, and waits for its
    /// receipt. `None` if the connection ends.
    async fn say(&mut self, socket: &mut Socket, line: &SentMessage) -> Result<Option<()>, String> {
        let said = json!({"type": "publish", "text": line.text, "id": line.id}).to_string();
        for _ in 0..self.rng.u8(1..=3) {
            let sent = timeout(ANSWER_TIMEOUT, socket.send(Message::text(said.clone()))).await;
            if !matches!(sent, Ok(Ok(()))) {
                return Ok(None);
            }
        }
        while let Some(text) = next_text(socket).await {
            let event: Value = serde_json::from_str(&text).expect("JSON");
            if event["type"] == "refused" && event["code"] == "busy" {
                self.world.note(&self.name, &text);
                let wait = event["retry_ms"].as_u64().expect("a time to wait");
                sleep(Duration::from_millis(wait)).await;
                let sent = timeout(ANSWER_TIMEOUT, socket.send(Message::text(said.clone()))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return Ok(None);
                }
                continue;
            }
            if event["type"] == "refused" {
                return Err(format!("{}: {event}", self.name));
            }
            if event["type"] == "accepted" && event["id"] == line.id.as_str() {
                self.world.note(&self.name, &text);
                return Ok(Some(()));
            }
        }
        Ok(None)
    }
}

/// The next text on a connection; `None` if it has ended or seems to have.
async fn next_text(socket: &mut Socket) -> Option<String> {
    loop {
        let message = timeout(ANSWER_TIMEOUT, socket.next()).await.ok()??.ok()?;
        if let Some(text) = message.as_text() {
            return Some(text.to_owned());
        }
    }
}

fn seen_in_json(text: &str) -> Result<Option<Seen>, String> {
    let event: Value = serde_json::from_str(text).expect("JSON");
    match event["type"].as_str() {
        Some("message") => Ok(Some(Seen {
            seq: event["seq"].as_u64().expect("a number"),
            prev: event["prev"].as_u64(),
            text: event["text"].as_str().expect("a text").to_owned(),
            is_change: false,
        })),
        Some("changed") => Ok(Some(Seen {
            seq: event["seq"].as_u64().expect("a number"),
            prev: event["prev"].as_u64(),
            text: if event["kind"] == "edit" {
                String::new()
            } else {
                event["text"].as_str().expect("a text").to_owned()
            },
            is_change: true,
        })),
        Some("erased") => Ok(event["prev"].as_u64().map(|prev| Seen {
            seq: event["seq"].as_u64().expect("a number"),
            prev: Some(prev),
            text: String::new(),
            is_change: false,
        })),
        Some("welcome" | "live" | "joined" | "left" | "renamed" | "members") => Ok(None),
        _ => Err(format!("a reader is told {event}")),
    }
}

fn seen_in_line(line: &str) -> Result<Option<Seen>, String> {
    if line.starts_with("Welcome to chat!") {
        return Ok(None);
    }
    let parts = line.split_once(' ').and_then(|(seq, rest)| {
        let (author, text) = rest.split_once(": ")?;
        let is_change = author.starts_with("* ") && author.ends_with(" corrected");
        let text = match text.split_once("\n  ") {
            _ if is_change => "",
            // A reply begins with a quote.
            Some((quote, text)) if quote.starts_with("> ") => text,
            _ => text,
        };
        Some((seq.parse().ok()?, text.to_owned(), is_change))
    });
    let (seq, text, is_change) = parts.ok_or_else(|| format!("a reader is told {line}"))?;
    let prev = None;
    Ok(Some(Seen {
        seq,
        prev,
        text,
        is_change,
    }))
}
