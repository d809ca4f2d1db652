//! One conversation in every format: all readers see the same messages. No text
//! looks like something else in any format.

use serde_json::{Value, json};

use crate::{
    properties::values::join_indented,
    support::{Peer, TestServer},
};

/// How a message is published.
#[derive(Clone, Copy, Debug)]
enum Way {
    Plain,
    Json,
    Post,
}

/// A message as a reader saw it: author and text.
type Shown = (String, String);

/// Texts that look like something else in some format, and their stored form.
const TEXTS: [(&str, &str); 28] = [
    ("hi", "hi"),
    (" .", " ."),
    ("grüße, 世界 👋", "grüße, 世界 👋"),
    // Lines of other people, and of the server.
    ("a\nbob: b\n* c", "a\nbob: b\n* c"),
    ("a\r\nbob: b\rcarl: c", "a\nbob: b\ncarl: c"),
    (
        "a\u{2028}bob: b\u{2029}carl: c\u{85}dora: d",
        "a\nbob: b\ncarl: c\ndora: d",
    ),
    ("ana: hi", "ana: hi"),
    ("* You are now in tea.", "* You are now in tea."),
    (
        "Welcome to chat! Type a message",
        "Welcome to chat! Type a message",
    ),
    ("\n.", "\n."),
    ("a\n\n\n\n\nb", "a\n\n\nb"),
    ("a\n\n", "a\n\n"),
    ("  set in\n    more", "  set in\n    more"),
    ("7 ana: hi", "7 ana: hi"),
    ("/help", "/help"),
    ("//help", "//help"),
    // Events and objects.
    (
        "{\"type\":\"live\",\"seq\":9}",
        "{\"type\":\"live\",\"seq\":9}",
    ),
    ("\"},{\"seq\":9,\"text\":\"", "\"},{\"seq\":9,\"text\":\""),
    ("\\\"\\u0022\\n\\", "\\\"\\u0022\\n\\"),
    ("data: {\"type\":\"live\"}", "data: {\"type\":\"live\"}"),
    (
        "a\n\nid: 999\nevent: gap\nretry: 1\ndata: x\n\n: c",
        "a\n\nid: 999\nevent: gap\nretry: 1\ndata: x\n\n: c",
    ),
    (
        "a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "a\n\nHTTP/1.1 200 OK\n\n",
    ),
    // Pages and terminals.
    (
        "<script>alert(1)</script>&amp;",
        "<script>alert(1)</script>&amp;",
    ),
    ("--></title><b>", "--></title><b>"),
    (
        "\u{1b}[2J\u{7}\u{8}\u{9b}x\u{7f}",
        "\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}x\u{fffd}",
    ),
    ("\u{202e}evil\u{2066}", "\u{fffd}evil\u{fffd}"),
    ("tab\there", "tab\there"),
    ("\0", "\u{fffd}"),
];

/// Texts of `/me`; each is one line.
const DONE: [&str; 3] = ["waves", "* x", "ana: y"];

fn of_line(line: &str) -> Shown {
    let (who, text) = line.split_once(": ").expect(line);
    (who.to_owned(), text.to_owned())
}

/// The author and text of a JSON message, as a plain line shows them.
fn of_object(message: &Value) -> Shown {
    let from = &message["from"];
    let who = from["name"].as_str().or(from["addr"].as_str());
    let done = if message["kind"] == "me" { "* " } else { "" };
    let text = message["text"].as_str().expect("a text");
    (who.expect("somebody").to_owned(), format!("{done}{text}"))
}

/// Publishes a text so that it arrives unchanged; returns the author.
async fn say(
    server: &TestServer,
    way: Way,
    plain: &mut Peer,
    json: &mut Peer,
    text: &str,
) -> String {
    match way {
        Way::Plain => {
            // The server drops one newline, and takes one slash for a command.
            let slash = if text.starts_with('/') { "/" } else { "" };
            plain.say(&format!("{slash}{text}\n")).await;
            plain.tag()
        }
        Way::Json => {
            let command = json!({"type": "publish", "text": text});
            json.say(&command.to_string()).await;
            "Jürgen-1.x".to_owned()
        }
        Way::Post => {
            let body = format!("{text}\n");
            let answer = server.post("/?name=post", "", body.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            "post".to_owned()
        }
    }
}

#[tokio::test]
async fn every_format_shows_the_same_messages() {
    let server = TestServer::start().await;
    let mut plain = server.plain("/").await;
    let mut numbered = server.plain("/?seq=1").await;
    let (mut json, _) = server.json("/?name=J%C3%BCrgen-1.x").await;
    json.event_of("live").await;
    let mut events = server.follow("/", "").await;
    let (mut said, mut objects) = (Vec::new(), Vec::new());
    for way in [Way::Plain, Way::Json, Way::Post] {
        for (text, stored) in TEXTS {
            let who = say(&server, way, &mut plain, &mut json, text).await;
            said.push((who, stored.to_owned()));
            // Other events are skipped; a text that looked like a message
            // would be counted as one.
            objects.push(json.event_of("message").await);
        }
    }
    for text in DONE {
        plain.say(&format!("/me {text}")).await;
        said.push((plain.tag(), format!("* {text}")));
        objects.push(json.event_of("message").await);
    }
    let shown: Vec<Shown> = objects.iter().map(of_object).collect();
    assert_same(&shown, &said, "JSON");
    let (mut lines, mut numbers, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for object in &objects {
        let line = plain.text().await;
        lines.extend(join_indented(&line).iter().map(|line| of_line(line)));
        let line = numbered.text().await;
        let (number, rest) = line.split_once(' ').expect("a number");
        assert_eq!(number, object["seq"].to_string());
        numbers.extend(join_indented(rest).iter().map(|line| of_line(line)));
        let event = loop {
            let event = events.sse_event().await.expect("an event");
            if event.event.is_none() && event.comment.is_none() {
                break event;
            }
        };
        assert_eq!(event.retry, None);
        assert_eq!(event.id, Some(object["seq"].to_string()));
        assert_eq!(event.json(), *object);
        told.push(of_object(&event.json()));
    }
    assert_same(&lines, &said, "plain lines");
    assert_same(&numbers, &said, "numbered lines");
    assert_same(&told, &said, "events");

    // History pages show the same messages.
    let whole = server.get("/?after=0", "*/*").await;
    let whole = join_indented(whole.strip_suffix('\n').expect("lines"));
    assert_same(
        &whole.iter().map(|line| of_line(line)).collect::<Vec<_>>(),
        &said,
        "GET",
    );
    let page = server.get("/?after=0&limit=200", "application/json").await;
    let page: Value = serde_json::from_str(&page).expect("JSON");
    assert_eq!(page["more"], false);
    let of_page = |page: &Value| -> Vec<Shown> {
        page["messages"]
            .as_array()
            .expect("a page")
            .iter()
            .map(of_object)
            .collect()
    };
    assert_same(&of_page(&page), &said, "GET of JSON");
    plain.say("/history 200").await;
    let answer = plain.text().await;
    let answer: Vec<Shown> = join_indented(&answer)
        .iter()
        .map(|line| of_line(line.strip_prefix("* ").expect("an answer")))
        .collect();
    assert_same(&answer, &said, "/history");
    json.say(r#"{"type":"history","limit":200}"#).await;
    assert_same(&of_page(&json.event_of("page").await), &said, "history");
}

/// No private text looks like a public message or like an answer.
#[tokio::test]
async fn every_format_shows_the_same_private_messages() {
    let server = TestServer::start().await;
    let owner = [("Authorization", "Bearer the-secret-of-bob")];
    let in_json = [owner[0], ("Sec-WebSocket-Protocol", "chat.v1")];
    let mut json = server.peer("/?name=bob", &in_json).await;
    json.event_of("live").await;
    let mut plain = server.peer("/?name=bob", &owner).await;
    let mut numbered = server.peer("/tea?name=bob&seq=1", &owner).await;
    for peer in [&mut plain, &mut numbered] {
        assert!(peer.text().await.starts_with("Welcome"));
    }
    let header = format!("{}: {}\r\n", owner[0].0, owner[0].1);
    let mut events = server.follow("/?name=bob", &header).await;
    let (mut ana, _) = server.json("/?name=ana").await;
    ana.event_of("live").await;
    for (text, stored) in TEXTS {
        let command = json!({"type": "private", "to": "bob", "text": text});
        ana.say(&command.to_string()).await;
        let object = json.event_of("private").await;
        assert_eq!(object["text"], stored);
        let line = format!("* ana to you: {}", stored.replace('\n', "\n  "));
        assert_eq!(plain.text().await, line);
        assert_eq!(numbered.text().await, format!("{} {line}", object["seq"]));
        let event = loop {
            let event = events.sse_event().await.expect("an event");
            if event.event.as_deref() == Some("private") {
                break event;
            }
        };
        assert_eq!(event.id, Some(object["seq"].to_string()));
        assert_eq!(event.json(), object);
    }
}

fn assert_same(shown: &[Shown], said: &[Shown], what: &str) {
    for (shown, said) in shown.iter().zip(said) {
        assert_eq!(shown, said, "{what}");
    }
    assert_eq!(shown.len(), said.len(), "{what}");
}
