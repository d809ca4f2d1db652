//! Properties of single values: commands, texts, searches, names, events,
//! entries, PROXY headers.

use std::{
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use broadcast_chat::{
    client::address::{AddressOptions, Target},
    hub::{self, Receipts, Submission},
    log::{self, Draft, OrderedBatch, SealedBatch},
    net,
    protocol::{
        Author, Command, ConnectionId, Event, Limits, Message, MessageKind, Outline, OwnerNumber,
        PublishKind, Seq, WallTime,
        format::Format,
        json, misplaced_secret,
        name::{MessageId, Name, RoomName},
        plain,
        text::{Text, is_blank, sanitize},
        typed,
    },
    store::{self, Storage, Words},
};

use super::{chat::in_a_chat, work};

/// A proxy's first bytes are a header or refused, by the bytes that are there.
/// No byte after the longest header is read.
pub(crate) fn proxy_headers(bytes: &[u8]) {
    const LONGEST: usize = 536;
    let mut rest = bytes;
    let mut context = Context::from_waker(Waker::noop());
    let read = pin!(net::read_proxy_header(&mut rest)).poll(&mut context);
    assert!(read.is_ready(), "it waits for bytes that will not come");
    let used = bytes.len() - rest.len();
    assert!(used <= LONGEST, "{used} bytes were read");
}

/// A client's text is a command or a refusal with a reason, in every format. The
/// work of parsing it is bounded by its length.
pub(crate) fn commands(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    // The server closes a connection with a longer frame.
    if text.len() > Limits::default().payload_bytes() {
        return;
    }
    for format in [Format::Plain, Format::NumberedPlain, Format::Json] {
        let outline = format.outline(text);
        let is_message = outline.as_ref().is_some_and(Outline::is_message);
        let Some(request) = outline.and_then(|outline| format.parse(text, outline)) else {
            assert!(format != Format::Json && ["", "\n", "\r\n"].contains(&text));
            continue;
        };
        match request.command {
            Ok(command) => {
                let message = matches!(command, Command::Publish { .. } | Command::Private { .. });
                assert_eq!(is_message, message, "it is charged as what it is");
            }
            Err(refusal) => assert!(!refusal.text.is_empty(), "a refusal says why"),
        }
    }
    let (request, _) = work::parse(text);
    if let Ok(command) = &request.command {
        let again = json::request(command, request.reference.as_ref());
        assert_eq!(json::parse(&again), request);
    }
    // Every text can be typed that does not look like a command with a secret.
    // (A carriage return before the typed newline counts as part of the line
    // end.)
    if !text.is_empty() && !text.ends_with('\r') {
        let escape = if text.starts_with('/') { "/" } else { "" };
        let said = typed::parse(&format!("{escape}{text}\n"));
        let wanted = Command::Publish {
            text: text.to_owned(),
            id: None,
            kind: PublishKind::Said,
            about: None,
            follows: None,
        };
        let wanted = misplaced_secret::check(text).map(|()| Some(wanted));
        assert_eq!(said, wanted);
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
        assert!(is_blank(&raw) || raw.len() > Limits::default().text_bytes);
        return;
    };
    // Lines of several messages can be told apart, whatever the texts hold.
    let [said, done] = [MessageKind::Said, MessageKind::Me].map(|kind| message(text.clone(), kind));
    let private = Message {
        room: RoomName::inbox(OwnerNumber(2)),
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
        assert_eq!(join_indented(&lines), expected);
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
            follows: None,
            kind: MessageKind::Said,
            to: None,
            mentions: Vec::new(),
            about: None,
        };
        let receipts = Receipts::new(ConnectionId(7), hub::WantedReplies::All);
        let submission = Submission::message(draft, receipts.issue());
        let publisher = chat.site.hub.submitter().expect("a writer");
        publisher.send(submission).await.expect("a writer");
        receipts.next(Some(0)).await.expect("it is stored");
        let found = async {
            loop {
                let found = history
                    .store()
                    .search(&room, &words, None, 9, || false)
                    .await;
                let found = found.expect("no syntax").expect("in time");
                if found.indexed == history.head() {
                    break found;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let found = tokio::select! {
            () = history.store().clone().run_indexing() => panic!("it does not end"),
            found = found => found,
        };
        // Only ASCII: the index may know an older Unicode with fewer letters.
        if words.typed().is_ascii() {
            assert_eq!(found.messages.len(), 1, "{:?}", words.typed());
        }
    });
}

/// Joins the indented lines of the plain format to the line before.
pub(crate) fn join_indented(lines: &str) -> Vec<String> {
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
            owner: None,
        },
        text,
        id: None,
        kind,
        to: None,
        about: None,
        quote: None,
        edited: false,
        edited_at: None,
        reactions: None,
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

/// Bytes of a log are an error or a batch, and every batch can be applied.
pub(crate) fn entries(bytes: &[u8]) {
    let Ok(batch) = log::decode(bytes) else {
        return;
    };
    assert_eq!(log::decode(&log::encode(&batch)).as_ref(), Ok(&batch));
    let (mut replica, _) = store::open(&Storage::Memory, "a test").expect("a store");
    let (position, head) = replica.recover().expect("sound");
    let ordered = OrderedBatch {
        position: position.next(),
        sealed: SealedBatch::new(batch),
    };
    let applied = replica.apply(&ordered).expect("an outcome");
    let (after, end) = replica.recover().expect("sound");
    assert_eq!(after, position.next());
    assert!(end.0 >= head.0 + applied.messages.len() as u64);
}
