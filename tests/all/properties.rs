//! Properties that hold for any bytes from a peer. The fuzz targets (`fuzz/`)
//! search for bytes that break one; `corpus` replays known inputs.

use std::{sync::LazyLock, time::Duration};

use broadcast_chat::{
    client::address::{AddressOptions, Target},
    fanout::{Applier, History, Socket},
    http::{self, HttpState, Trust, Upgraded},
    hub::{self, Hub, Receipts, Registration, Submission},
    log::{self, Draft, LocalLog, OrderedBatch, SealedBatch},
    net::Peer,
    protocol::{
        Author, Command, ConnectionId, Event, Limits, Message, MessageKind, Seq, WallTime,
        format::Format,
        json,
        name::{MessageId, Name, RoomName},
        plain,
        text::{Text, sanitize},
        typed,
    },
    session::{self, Transport},
    store::{self, Storage, Words},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    runtime,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Panics if a property does not hold for these bytes.
pub(crate) type Property = fn(&[u8]);

/// All properties, by the name of their target and corpus.
pub(crate) const ALL: [(&str, Property); 8] = [
    ("entries", entries),
    ("commands", commands),
    ("texts", texts),
    ("searches", searches),
    ("names", names),
    ("events", events),
    ("requests", requests),
    ("frames", frames),
];

/// A client's text is a command or a refusal with a reason, in every format.
pub(crate) fn commands(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    for format in [Format::Plain, Format::NumberedPlain, Format::Json] {
        if let Some(request) = format.parse(text)
            && let Err(refusal) = request.command
        {
            assert!(!refusal.text.is_empty(), "a refusal says why");
        }
    }
    let request = json::parse(text);
    if let Ok(command) = &request.command {
        let again = json::request(command, request.reference.as_ref());
        assert_eq!(json::parse(&again), request);
    }
    // Every text can be typed. (A carriage return before the typed newline
    // counts as part of the line end.)
    if !text.is_empty() && !text.ends_with('\r') {
        let escape = if text.starts_with('/') { "/" } else { "" };
        let said = typed::parse(&format!("{escape}{text}\n"));
        let wanted = Command::Publish {
            text: text.to_owned(),
            id: None,
            kind: MessageKind::Said,
            follows: None,
        };
        assert_eq!(said, Ok(Some(wanted)));
    }
}

/// A cleaned text is safe in every format and cannot imitate another message.
pub(crate) fn texts(bytes: &[u8]) {
    let raw = String::from_utf8_lossy(bytes);
    let safe = sanitize(&raw);
    assert_eq!(sanitize(&safe), safe, "a safe text stays unchanged");
    assert!(!safe.contains(forbidden), "{safe:?}");
    assert!(
        safe.len() <= raw.len() * 3,
        "each byte becomes one replacement at most"
    );
    let Ok(text) = Text::parse(&raw, Limits::default().text_bytes) else {
        assert!(raw.is_empty() || raw.len() > Limits::default().text_bytes);
        return;
    };
    // Lines of several messages can be told apart, whatever the texts hold.
    let [said, done] = [MessageKind::Said, MessageKind::Me].map(|kind| message(text.clone(), kind));
    let private = Message {
        room: RoomName::inbox(&"bob".parse::<Name>().expect("a name").key()),
        to: "bob".parse().ok(),
        ..said.clone()
    };
    let messages = [said, done, private];
    for format in [Format::Plain, Format::NumberedPlain] {
        let mut lines = String::new();
        for message in &messages {
            format.put_line(&mut lines, message);
            lines.push('\n');
        }
        let number = if format == Format::Plain { "" } else { "7 " };
        let heads = ["ana: ", "ana: * ", "* ana to you: "].map(|head| format!("{number}{head}"));
        let expected: Vec<_> = heads
            .iter()
            .map(|head| format!("{head}{}", &*text))
            .collect();
        assert_eq!(apart(&lines), expected);
    }
    let mut event = String::new();
    Format::EventStream.put_line(&mut event, &messages[0]);
    let [id, data, "", ""] = event.split('\n').collect::<Vec<_>>()[..] else {
        panic!("one event: {event:?}");
    };
    assert_eq!(id, "id: 7");
    let mut line = String::new();
    Format::Json.put_line(&mut line, &messages[0]);
    assert_eq!(data, format!("data: {line}"));
    assert_eq!(
        json::parse_event(&line).ok(),
        Some(Event::Message(messages[0].clone()))
    );
}

/// Every query is a list of words, without syntax. It finds a message with the
/// same text.
pub(crate) fn searches(bytes: &[u8]) {
    let raw = String::from_utf8_lossy(bytes);
    let Ok(words) = Words::parse(&raw) else {
        return;
    };
    assert!(!words.typed().contains(forbidden));
    in_a_chat(async |chat| {
        let (history, room) = (chat.site.hub.history(), RoomName::lobby());
        let text = Text::parse(words.typed(), Limits::default().text_bytes);
        let draft = Draft {
            room: room.clone(),
            from: message(text.clone().expect("words"), MessageKind::Said).from,
            text: text.expect("words"),
            id: None,
            kind: MessageKind::Said,
            to: None,
        };
        let receipts = Receipts::new(ConnectionId(7), hub::WantedReplies::All);
        let submission = Submission::message(draft, None, receipts.issue());
        let publisher = chat.site.hub.submitter().expect("a writer");
        publisher.send(submission).await.expect("a writer");
        receipts.next(Some(0)).await.expect("it is stored");
        let found = async {
            loop {
                let found = history.store().search(&room, &words, None, 9).await;
                let found = found.expect("no syntax").expect("in time");
                if found.indexed == history.head() {
                    break found;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let found = tokio::select! {
            () = history.store().clone().index() => panic!("it does not end"),
            found = found => found,
        };
        // Only ASCII: the index may know an older Unicode with fewer letters.
        if words.typed().is_ascii() {
            assert_eq!(found.messages.len(), 1, "{:?}", words.typed());
        }
    });
}

/// Joins the indented lines of the plain format to the line before.
fn apart(lines: &str) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    let whole = lines.strip_suffix('\n').unwrap_or(lines);
    for line in whole.split('\n') {
        match (line.strip_prefix("  "), messages.last_mut()) {
            (Some(rest), Some(message)) => {
                message.push('\n');
                message.push_str(rest);
            }
            _ => messages.push(line.to_owned()),
        }
    }
    messages
}

fn forbidden(c: char) -> bool {
    let separates = matches!(c, '\u{2028}' | '\u{2029}');
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    separates || turns || c.is_control() && c != '\n' && c != '\t'
}

fn message(text: Text, kind: MessageKind) -> Message {
    Message {
        seq: Seq(7),
        prev: Seq(3),
        room: RoomName::lobby(),
        at: WallTime(1_767_225_600_123),
        from: Author {
            name: "ana".parse().ok(),
            addr: ([127, 0, 0, 1], 5000).into(),
        },
        text,
        id: None,
        kind,
        to: None,
        connection: ConnectionId::SERVER,
    }
}

/// An accepted name, room or id parses to itself; no address panics.
pub(crate) fn names(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.as_str().parse(), Ok(name.clone()), "a name is a name");
        assert!(
            !name.as_str().contains([' ', ':', '\n']),
            "{name:?} is no address tag"
        );
        assert!(!name.as_str().contains(forbidden), "{name:?}");
        let (key, small) = (name.key(), name.as_str().to_lowercase());
        assert!(!key.as_str().is_empty(), "{name:?} has a key");
        if let Ok(small) = small.parse::<Name>() {
            assert_eq!(small.key(), key, "{name:?} in lower case");
        }
    }
    if let Ok(room) = RoomName::from_path(text) {
        assert_eq!(RoomName::from_path(&format!("/{room}")), Ok(room.clone()));
        assert!(!room.as_str().starts_with(['-', '.']), "{room}");
    }
    if let Ok(id) = text.parse::<MessageId>() {
        assert_eq!(id.as_str(), text);
    }
    let _ = Target::new(&AddressOptions {
        address: Some(text.to_owned()),
        ..AddressOptions::default()
    });
}

/// An event parses to itself, and its plain line is safe.
pub(crate) fn events(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let Ok(event) = json::parse_event(text) else {
        return;
    };
    if let Some(line) = plain::event(&event) {
        assert!(!line.contains(forbidden), "{line:?}");
    }
    assert_eq!(json::parse_event(&json::event(&event)).ok(), Some(event));
}

/// The first bytes of a connection are a request, and the response is HTTP.
pub(crate) fn requests(bytes: &[u8]) {
    in_a_chat(async |chat| {
        let (mut near, far) = duplex(64 << 10);
        let asked = async {
            // The server may answer and close before it has read everything.
            let _ = near.write_all(bytes).await;
            let _ = near.shutdown().await;
            let mut answer = Vec::new();
            let _ = near.read_to_end(&mut answer).await;
            answer
        };
        let registration = chat.register();
        let served = async {
            let Upgraded {
                stream,
                early,
                request: visit,
            } = http::serve(far, &registration, &chat.site, &chat.drain).await?;
            let format = visit.format;
            if format == Format::EventStream {
                let (read, write) = split(stream);
                let write = Socket::Other(Box::new(write));
                let connection = Transport { read, early, write };
                chat.run(connection, visit, &registration).await;
            }
            Some(format)
        };
        let (answer, format) = tokio::join!(asked, served);
        let status = answer.get(..12).unwrap_or_default();
        let upgraded = format.is_some_and(|format| format != Format::EventStream);
        assert_eq!(status == b"HTTP/1.1 101", upgraded);
        if format == Some(Format::EventStream) {
            assert_eq!(status, b"HTTP/1.1 200");
            are_events(&answer);
        }
        if !answer.is_empty() {
            assert!(
                matches!(
                    status,
                    [
                        b'H',
                        b'T',
                        b'T',
                        b'P',
                        b'/',
                        b'1',
                        b'.',
                        b'0' | b'1',
                        b' ',
                        b'1'..=b'5',
                        _,
                        _
                    ]
                ),
                "{:?}",
                String::from_utf8_lossy(&answer)
            );
        }
    });
}

/// Asserts that a response's body consists of whole events.
fn are_events(answer: &[u8]) {
    let answer = str::from_utf8(answer).expect("UTF-8");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(body.is_empty() || body.ends_with("\n\n"), "{body}");
    for line in body.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        match field {
            "" => {}
            "id" | "retry" => assert!(value.trim().parse::<u64>().is_ok(), "{line}"),
            "event" => assert!(value.trim().bytes().all(|b| b.is_ascii_lowercase())),
            "data" => assert!(json::parse_event(value).is_ok(), "{line}"),
            _ => panic!("{line}"),
        }
    }
}

/// Bytes after the upgrade store the same messages, however they are cut.
pub(crate) fn frames(bytes: &[u8]) {
    let whole = stored(bytes, bytes.len().max(1));
    assert_eq!(stored(bytes, 1), whole, "byte by byte");
    assert_eq!(stored(bytes, 5), whole, "five by five");
}

/// The stored texts, if the bytes arrive in pieces of this size.
fn stored(bytes: &[u8], piece: usize) -> Vec<String> {
    in_a_chat(async |chat| {
        let (near, far) = duplex(1 << 20);
        let (read, write) = split(far);
        let connection = Transport {
            read,
            early: bytes::Bytes::new(),
            write: Socket::Other(Box::new(write)),
        };
        let visit = session::SessionRequest {
            room: RoomName::lobby(),
            name: None,
            secret: None,
            format: Format::Json,
            start: broadcast_chat::protocol::Start::default(),
            echo: true,
        };
        let spoken = speak(near, bytes, piece);
        let registration = chat.register();
        let listened = chat.run(connection, visit, &registration);
        tokio::join!(spoken, listened);
        // The writer may still be storing messages. This entry is applied after
        // all of them.
        let kick = log::Action::Kick(log::AuditRecord {
            operator: String::new(),
            act: String::new(),
            target: String::new(),
            reason: String::new(),
        });
        let made = chat.site.hub.act(ConnectionId::SERVER, kick).await;
        made.expect("a writer");
        let (history, room) = (chat.site.hub.history(), RoomName::lobby());
        let page = history.after(&room, Seq::START).await.expect("a page");
        let messages = page.room_batches.iter().flat_map(|run| run.messages());
        messages.map(|message| message.text.to_string()).collect()
    })
}

/// Writes the pieces one by one; asserts that the server sends whole frames.
async fn speak(mut near: DuplexStream, bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece) {
        if near.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let _ = near.shutdown().await;
    let mut answer = Vec::new();
    let _ = near.read_to_end(&mut answer).await;
    let mut rest = &answer[..];
    while let [first, second, after @ ..] = rest {
        assert_eq!(first & 0xf0, 0x80, "final, and no extension");
        let (length, body) = match (second, after) {
            (126, [a, b, body @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), body),
            (length @ 0..126, body) => (usize::from(*length), body),
            _ => panic!("a longer frame than any answer, or a masked one"),
        };
        rest = &body[length..];
    }
    assert!(rest.is_empty(), "whole frames");
}

static OPTIONS: LazyLock<session::SessionOptions> = LazyLock::new(|| session::SessionOptions {
    limits: Limits { text_bytes: 200 },
    ping: Duration::from_secs(25),
    motd: None,
    operator: None,
});

const HUB: hub::HubOptions = hub::HubOptions {
    shards: 1,
    name_expiry: Duration::from_secs(24 * 60 * 60),
    capacity: hub::Capacity::UNLIMITED,
};

struct Chat {
    site: HttpState,
    drain: CancellationToken,
}

impl Chat {
    /// Registers a connection from 127.0.0.1:5000.
    fn register(&self) -> Registration {
        let peer = Peer::accepted(Some(([127, 0, 0, 1], 5000).into()));
        let place = self.site.hub.register(peer.expect("an id"));
        place.expect("a place")
    }

    /// Runs a session to its end.
    async fn run(
        &self,
        connection: Transport<impl AsyncRead + Unpin>,
        visit: session::SessionRequest,
        registration: &Registration,
    ) {
        let Chat { site, drain } = self;
        session::run(connection, visit, registration, &site.hub, &OPTIONS, drain).await;
    }
}

/// Bytes of a log are an error or a batch, and every batch can be applied.
pub(crate) fn entries(bytes: &[u8]) {
    let Ok(batch) = log::decode(bytes) else {
        return;
    };
    assert_eq!(log::decode(&log::encode(&batch)).as_ref(), Ok(&batch));
    let (mut replica, _) = store::open(&Storage::Memory, "a test").expect("a store");
    let (position, head) = replica.position().expect("sound");
    let ordered = OrderedBatch {
        position: position.next(),
        sealed: SealedBatch::new(batch),
    };
    let applied = replica.apply(&ordered).expect("an outcome");
    let (after, end) = replica.position().expect("sound");
    assert_eq!(after, position.next());
    assert!(end.0 >= head.0 + applied.messages.len() as u64);
}

/// Runs an action in a chat of its own, on one thread and a paused clock.
fn in_a_chat<T>(act: impl AsyncFnOnce(&Chat) -> T) -> T {
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let tasks = TaskTracker::new();
        let (replica, store) = store::open(&Storage::Memory, "a test").expect("a store");
        let history = History::new(store.on_caller_thread());
        let applier = Applier::new(LocalLog::default(), replica, history).expect("in step");
        let (hub, publisher, work) = Hub::start_in_tasks(applier, &HUB, &tasks).expect("a hub");
        tasks.spawn(work.run_with(async || {}));
        let trust = Trust {
            loopback: true,
            ..Trust::default()
        };
        let limits = OPTIONS.limits;
        let chat = Chat {
            site: HttpState { hub, trust, limits },
            drain: CancellationToken::new(),
        };
        let done = act(&chat).await;
        drop(publisher);
        done
    })
}
