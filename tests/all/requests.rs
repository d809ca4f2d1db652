use broadcast_chat::protocol::DEFAULT_TEXT_BYTES;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::support::{TEXT, TestServer};

/// The status and the body of a response.
fn parts(answer: &str) -> (u16, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").expect(answer);
    (head[9..12].parse().expect("a status"), body)
}

#[tokio::test]
async fn a_post_publishes_a_message_and_returns_its_receipt() {
    let server = TestServer::start().await;
    let (mut reader, _) = server.json("/ops").await;
    reader.event_of("live").await;
    let answer = server
        .post("/Ops?name=cron", "", "caf\u{e9}\u{7}\r\n".as_bytes())
        .await;
    assert_eq!(parts(&answer), (200, "{\"seq\":1}\n"));
    let message = reader.event().await;
    assert_eq!(
        (&message["text"], &message["seq"]),
        (&json!("café\u{fffd}"), &json!(1))
    );
    assert_eq!(message["from"]["name"], "cron");

    let key = "Idempotency-Key: job-1\r\n";
    for expected in [json!({"seq": 2}), json!({"seq": 2, "duplicate": true})] {
        let answer = server.post("/ops", key, b"once").await;
        let body: Value = serde_json::from_str(parts(&answer).1).expect("JSON");
        assert_eq!(body, expected);
    }
    assert_eq!(reader.event().await["id"], "job-1");
    let chunked = b"POST /ops HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\na\nb\r\n0\r\n\r\n";
    assert_eq!(
        parts(&server.request(chunked).await),
        (200, "{\"seq\":3}\n")
    );
    assert_eq!(reader.event().await["text"], "a\nb");

    let (long, longer) = ([b'x'; 8193], vec![b'x'; 100_000]);
    for (target, headers, body, status) in [
        ("/ops", "", &b""[..], 400),
        ("/ops", "", b"\n", 400),
        ("/ops", "", b"\xff", 400),
        ("/ops", "", &long, 413),
        ("/ops", "", &longer, 413),
        ("/ops", "Idempotency-Key: a b\r\n", b"x", 400),
        (
            "/ops",
            "Idempotency-Key: a\r\nIdempotency-Key: a\r\n",
            b"x",
            400,
        ),
        ("/ops?name=a+b", "", b"x", 400),
        ("/ops", "Origin: https://evil.example\r\n", b"x", 403),
        ("/ops", "Origin: null\r\n", b"x", 403),
        ("/a/b", "", b"x", 404),
        ("/-/health", "", b"x", 405),
    ] {
        let answer = server.post(target, headers, body).await;
        let (told, sentence) = parts(&answer);
        assert_eq!(told, status, "{target} {headers}: {answer}");
        assert!(sentence.ends_with(".\n"), "{answer}");
    }
    let answer = server.post("/ops", "", &long[1..]).await;
    assert_eq!(
        parts(&answer),
        (200, "{\"seq\":4}\n"),
        "a text of just the limit"
    );
}

#[tokio::test]
async fn a_get_returns_the_last_lines() {
    let server = TestServer::start().await;
    assert_eq!(server.get("/", "*/*").await, "");
    for n in 1..=60 {
        server
            .post("/?name=ana", "", format!("m{n}").as_bytes())
            .await;
    }
    server.post("/tea", "", b"elsewhere").await;
    let lines = |from: usize| {
        let lines: Vec<_> = (from..=60).map(|n| format!("ana: m{n}\n")).collect();
        lines.concat()
    };
    assert_eq!(server.get("/", "*/*").await, lines(11));
    assert_eq!(server.get("/?after=57", "*/*").await, lines(58));
    assert_eq!(server.get("/?after=0", "*/*").await, lines(1));
    assert_eq!(server.get("/?backlog=1", "*/*").await, lines(60));
    assert_eq!(server.get("/?after=59&seq=1", "*/*").await, "60 ana: m60\n");
    assert_eq!(server.get("/?after=60", "*/*").await, "");
    // A position of another log is announced, and all of this log follows.
    for query in ["after=600", "after=1&epoch=other"] {
        let told = server.get(&format!("/?{query}"), "*/*").await;
        assert!(
            told.starts_with("* ") && told.ends_with(&lines(1)),
            "{query}: {told}"
        );
    }
}

/// The numbers of a page's messages, and whether there are more.
fn numbers(page: &Value) -> (Vec<u64>, bool) {
    let messages = page["messages"].as_array().expect("messages").iter();
    let numbers = messages.map(|m| m["seq"].as_u64().expect("a number"));
    (
        numbers.collect(),
        page["more"].as_bool().expect("more or not"),
    )
}

#[tokio::test]
async fn a_get_of_json_returns_a_history_page() {
    let server = TestServer::start().await;
    let empty = server.page("/").await;
    assert_eq!(
        (numbers(&empty), &empty["head"]),
        ((vec![], false), &json!(0))
    );
    for n in 1..=60 {
        let room = if n % 10 == 0 { "/tea" } else { "/?name=ana" };
        server.post(room, "", format!("m{n}").as_bytes()).await;
    }
    let (mut reader, welcome) = server.json("/?after=0").await;
    let first = reader.event().await;
    let whole = server.page("/").await;
    assert_eq!(whole["epoch"], welcome["epoch"]);
    assert_eq!(whole["head"], 60);
    let (seqs, more) = numbers(&whole);
    assert_eq!(
        (seqs.len(), seqs.first(), seqs.last(), more),
        (50, Some(&5), Some(&59), true)
    );
    for (target, seqs, more) in [
        ("/?limit=2", vec![58, 59], true),
        ("/?before=3", vec![1, 2], false),
        ("/?before=12&limit=2", vec![9, 11], true),
        ("/?after=57", vec![58, 59], false),
        ("/?after=7&limit=2", vec![8, 9], true),
        ("/?after=7&before=12", vec![8, 9, 11], false),
        ("/?after=60", vec![], false),
        ("/tea?after=10&limit=1", vec![20], true),
        ("/tea?limit=1&name=ana&other=x", vec![60], true),
        ("/nobody", vec![], false),
    ] {
        let found = server.page(target).await;
        assert_eq!(numbers(&found), (seqs, more), "{target}");
        assert_eq!(found["gap"], Value::Null, "{target}");
    }
    let mut message = server.page("/?before=2").await["messages"][0].take();
    message["type"] = json!("message");
    assert_eq!(message, first, "as it is told");
    let found = server.page("/?limit=1000").await;
    assert_eq!(numbers(&found).0.len(), 54);
    assert_eq!(
        numbers(&server.page("/?backlog=2").await),
        (vec![58, 59], true)
    );
    // The same queries as lines.
    assert_eq!(
        server.get("/?before=3&seq=1", "*/*").await,
        "1 ana: m1\n2 ana: m2\n"
    );
    assert_eq!(server.get("/?after=1&limit=1", "*/*").await, "ana: m2\n");
    let foreign = server.get("/?after=61&limit=1", "*/*").await;
    assert!(
        foreign.starts_with("* 61 ") && foreign.ends_with("\nana: m1\n"),
        "{foreign}"
    );
    // A position of another log is announced as a gap, and this log is shown.
    for target in ["/?after=61&limit=1", "/?after=1&epoch=other&limit=1"] {
        let found = server.page(target).await;
        assert_eq!(numbers(&found), (vec![1], true), "{target}");
        assert_eq!(found["gap"]["reason"], "epoch", "{target}");
    }
}

#[tokio::test]
async fn conflicting_queries_and_formats_are_explained() {
    let server = TestServer::start().await;
    for (accept, target, status, sentence) in [
        ("text/event-stream", "/?limit=2", 400, "?backlog=20"),
        ("text/event-stream", "/?before=2", 400, "?backlog=20"),
        ("*/*", "/?before=x", 400, "before=x is not a whole number"),
        (
            "application/json",
            "/?limit=x",
            400,
            "limit=x is not a whole number",
        ),
        ("text/html", "/?limit=x", 200, "<title>"),
        ("image/png", "/", 406, "text/event-stream"),
        (
            "text/html;q=0, text/plain;q=0",
            "/",
            406,
            "application/json",
        ),
    ] {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
        let answer = server.request(request.as_bytes()).await;
        let (told, body) = parts(&answer);
        assert_eq!(told, status, "{accept} {target}: {answer}");
        assert!(body.contains(sentence), "{accept} {target}: {answer}");
    }
}

#[tokio::test]
async fn only_trusted_origins_receive_cors_headers() {
    let server = TestServer::trusting("https://app.example").await;
    let origin = "Origin: https://app.example\r\n";
    let answer = server.post("/", origin, b"hello").await.to_lowercase();
    assert!(
        answer.contains("access-control-allow-origin: https://app.example\r\n"),
        "{answer}"
    );
    let preflight = format!(
        "OPTIONS / HTTP/1.1\r\nHost: localhost\r\n{origin}Access-Control-Request-Method: POST\r\n\r\n"
    );
    let answer = server.request(preflight.as_bytes()).await.to_lowercase();
    assert_eq!(parts(&answer).0, 204);
    assert!(answer.contains(
        "access-control-allow-headers: authorization, content-type, idempotency-key\r\n"
    ));
    let answer = server
        .request(preflight.replace("app", "evil").as_bytes())
        .await;
    assert_eq!(parts(&answer).0, 405);
    assert!(
        !answer.to_lowercase().contains("access-control"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_returns_all_of_a_long_history() {
    const COUNT: usize = 5000;
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_in(folder.path()).await;
    let (mut sending, mut echo) = server.plain("/?name=ana").await.split();
    let sender = tokio::spawn(async move {
        for n in 0..COUNT {
            // Together the lines exceed the part of a body that is made at a
            // time.
            sending.say(&format!("{n}\n{}", "x".repeat(n % 900))).await;
        }
        sending
    });
    for _ in 0..COUNT {
        echo.text().await;
    }
    drop(sender.await.expect("sent"));
    let told = server.get("/?after=0&seq=1", "*/*").await;
    server.stop().await;
    let server = TestServer::start_in(folder.path()).await;
    assert!(
        server.get("/?after=0&seq=1", "*/*").await == told,
        "from disk as from memory"
    );
    let lines = told.lines().filter(|line| !line.starts_with("  "));
    let numbers = (0..COUNT).map(|n| format!("{} ana: {n}", n + 1));
    assert!(lines.eq(numbers));
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_during_a_drain_are_answered() {
    for _ in 0..3 {
        let server = TestServer::start().await;
        let posts: JoinSet<_> = (0..16)
            .map(|_| {
                let addr = server.addr;
                async move {
                    let mut answered = 0;
                    while let Ok(mut stream) = TcpStream::connect(addr).await {
                        let post =
                            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
                        let mut answer = String::new();
                        if stream.write_all(post).await.is_err()
                            || stream.read_to_string(&mut answer).await.is_err()
                        {
                            break;
                        }
                        if !answer.starts_with("HTTP/1.1 200 ") {
                            // The server has not read it, or refuses it while
                            // it drains.
                            assert!(
                                answer.is_empty() || answer.starts_with("HTTP/1.1 503 "),
                                "{answer}"
                            );
                            break;
                        }
                        answered += 1;
                    }
                    answered
                }
            })
            .collect();
        let mut watching = server.plain("/").await;
        for _ in 0..50 {
            watching.text().await;
        }
        server.begin_shutdown();
        let mut seen = 50;
        while watching
            .next()
            .await
            .is_some_and(|frame| frame.opcode == TEXT)
        {
            seen += 1;
        }
        let answered: usize = posts.join_all().await.into_iter().sum();
        assert!(
            answered >= seen,
            "{answered} were answered, {seen} were seen"
        );
    }
}

#[tokio::test]
async fn programs_post_their_notifications_as_json() {
    let server = TestServer::start().await;
    let (mut reader, _) = server.json("/ops").await;
    reader.event_of("live").await;
    let json = "Content-Type: application/json; charset=utf-8\r\n";
    let alert = json!({"version": "4", "alerts": [{
        "status": "firing", "fingerprint": "c0ffee", "startsAt": "2026-11-30T10:00:00Z",
        "labels": {"alertname": "DiskFull"}, "annotations": {"summary": "/ is full"},
    }]});
    let push = json!({"ref": "refs/heads/main", "commits": [], "sender": {"login": "ana"}});
    let long = json!({"text": "x".repeat(DEFAULT_TEXT_BYTES + 100)});
    let github = format!("{json}X-GitHub-Event: push\r\n");
    for (headers, target, object, text) in [
        (
            json,
            "/ops?name=ci",
            json!({"text": "built"}),
            "built".to_owned(),
        ),
        (
            json,
            "/ops",
            alert.clone(),
            "FIRING DiskFull: / is full".to_owned(),
        ),
        (
            &*github,
            "/ops",
            push,
            "[GitHub] ana pushed 0 commits to main".to_owned(),
        ),
        (
            json,
            "/ops",
            long,
            format!("{}…", "x".repeat(DEFAULT_TEXT_BYTES - 3)),
        ),
    ] {
        let answer = server
            .post(target, headers, object.to_string().as_bytes())
            .await;
        let (status, body) = parts(&answer);
        assert!(status == 200 && body.starts_with("{\"seq\":"), "{answer}");
        assert_eq!(reader.event_of("message").await["text"], text);
    }
    // An alert that is sent again is stored once.
    let again = server
        .post("/ops", json, alert.to_string().as_bytes())
        .await;
    assert_eq!(parts(&again), (200, "{\"seq\":2,\"duplicate\":true}\n"));
    // Other content that has its id suppresses no alert.
    let other = server
        .post("/ops?kind=me", json, alert.to_string().as_bytes())
        .await;
    let (status, body) = parts(&other);
    assert!(status == 200 && !body.contains("duplicate"), "{other}");
    reader.event_of("message").await;
    let answer = server.post("/ops?kind=me", "", b"waves").await;
    assert_eq!(parts(&answer).0, 200);
    assert_eq!(reader.event_of("message").await["kind"], "me");
    // Every other type is the text itself.
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    assert_eq!(
        parts(&server.post("/ops", form, b"{\"text\":1}").await).0,
        200
    );
    assert_eq!(reader.event_of("message").await["text"], "{\"text\":1}");
    for (headers, body, status, sentence) in [
        (json, "{}", 422, "\"alerts\""),
        (json, "no object", 400, "not a JSON object"),
        (
            json,
            &*format!("{{\"text\":\"{}\"}}", "x".repeat(300_000)),
            413,
            "too long",
        ),
        (
            json,
            r#"{"text":"/operator of-the-operators "}"#,
            403,
            "secret",
        ),
        (
            "Content-Type: multipart/form-data; boundary=x\r\n",
            "--x--",
            415,
            "--data",
        ),
    ] {
        let answer = server.post("/ops", headers, body.as_bytes()).await;
        let (got, said) = parts(&answer);
        assert_eq!(got, status, "{answer}");
        assert!(said.contains(sentence), "{said}");
    }
}
