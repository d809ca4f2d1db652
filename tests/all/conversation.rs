use serde_json::json;

use crate::support::TestServer;

#[tokio::test]
async fn every_peer_receives_every_message() {
    let server = TestServer::start().await;
    let mut peers = [
        server.plain("/").await,
        server.plain("/").await,
        server.plain("/").await,
    ];
    for speaker in 0..3 {
        peers[speaker].say("hello").await;
        let line = format!("{}: hello", peers[speaker].tag());
        for peer in &mut peers {
            assert_eq!(peer.text().await, line);
        }
    }
}

#[tokio::test]
async fn plain_commands_are_answered() {
    let server = TestServer::start().await;
    let mut ana = server.plain("/?name=ana").await;
    let mut bob = server.plain("/").await;
    let tag = bob.tag();
    let mut members = ["ana".to_owned(), tag.clone()];
    members.sort();

    for (typed, answer) in [
        ("/members", format!("* 2 here: {}", members.join(", "))),
        ("/name bob 0123456789abcdef", "* You are now bob.".into()),
        ("/members", "* 2 here: ana, bob".into()),
        ("/join Tea", "* You are now in tea.".into()),
        ("/members", "* 1 here: bob".into()),
        ("nobody hears", "bob: nobody hears".into()),
        ("/join lobby", "* You are now in lobby.".into()),
        ("//members", "bob: /members".into()),
        ("/me waves", "bob: * waves".into()),
        ("a\nana: b\r\n", "bob: a\n  ana: b".into()),
    ] {
        bob.say(typed).await;
        assert_eq!(bob.text().await, answer, "{typed}");
    }
    for line in ["bob: /members", "bob: * waves", "bob: a\n  ana: b"] {
        assert_eq!(ana.text().await, line);
    }

    bob.say("/help").await;
    let help = bob.text().await;
    for command in [
        "/name", "/join", "/members", "/me", "/history", "/search", "/help", "//",
    ] {
        assert!(help.contains(command), "{help}");
    }
    for wrong in [
        "/dance",
        "/",
        "/name",
        "/name a b",
        "/join a/b",
        "/me",
        &"x".repeat(8193),
    ] {
        bob.say(wrong).await;
        assert!(bob.text().await.starts_with("* "), "{wrong}");
    }
    bob.say("").await;
    bob.say("\n").await;
    bob.say("still here").await;
    assert_eq!(bob.text().await, "bob: still here");
    assert_eq!(ana.text().await, "bob: still here");
}

#[tokio::test]
async fn json_commands_and_errors_are_answered() {
    let server = TestServer::start().await;
    let (mut ana, welcome) = server.json("/Ops?name=ana").await;
    assert_eq!(welcome["room"], "ops");
    assert_eq!(welcome["you"], json!({"name": "ana", "addr": ana.tag()}));
    assert_eq!(
        (&welcome["head"], &welcome["members"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(welcome["limits"]["text_bytes"], 8192);
    assert_eq!(ana.event().await, json!({"type": "live", "seq": 0}));
    let mut bob = server.plain("/ops?seq=1").await;

    ana.say(r#"{"type":"publish","text":"hi\r\nthere","id":"m-1","unknown":[]}"#)
        .await;
    let mut message = ana.event().await;
    let at = message["at"].take();
    assert!(
        at.as_str()
            .is_some_and(|at| at.ends_with('Z') && at.len() == 24),
        "{at}"
    );
    let expected = json!({
        "type": "message", "seq": 1, "prev": 0, "room": "ops", "at": null, "id": "m-1",
        "from": {"name": "ana", "addr": ana.tag(), "unverified": true}, "text": "hi\nthere",
    });
    assert_eq!(message, expected);
    assert_eq!(bob.text().await, "1 ana: hi\n  there");

    bob.say("/me waves").await;
    assert_eq!(bob.text().await, format!("2 {}: * waves", bob.tag()));
    let message = ana.event().await;
    assert_eq!(
        (&message["kind"], &message["prev"]),
        (&json!("me"), &json!(1))
    );

    ana.say(r#"{"type":"publish","text":"hi\nthere","id":"m-1"}"#)
        .await;
    let answer = json!({"type": "accepted", "id": "m-1", "seq": 1, "duplicate": true});
    assert_eq!(ana.event().await, answer);
    ana.say(r#"{"type":"members"}"#).await;
    assert_eq!(ana.event().await["total"], 2);
    ana.say(r#"{"type":"name","name":"eve","secret":"0123456789abcdef"}"#)
        .await;
    assert_eq!(ana.event().await, json!({"type": "name", "name": "eve"}));

    for (frame, code) in [
        ("hello", "bad_json"),
        ("[]", "bad_json"),
        (r#"{"type":"dance"}"#, "unknown_type"),
        (r#"{"type":"publish"}"#, "bad_field"),
        (r#"{"type":"publish","text":"","id":"m-2"}"#, "empty"),
        (r#"{"type":"name","name":"a b"}"#, "bad_name"),
        (r#"{"type":"join","room":"a b"}"#, "bad_field"),
    ] {
        ana.say(frame).await;
        let refused = ana.event().await;
        assert_eq!(
            (&refused["type"], &refused["code"]),
            (&json!("refused"), &json!(code)),
            "{frame}"
        );
        assert!(
            refused["text"]
                .as_str()
                .is_some_and(|text| text.ends_with('.')),
            "{refused}"
        );
    }
    let long = "x".repeat(8193);
    ana.say(&json!({"type": "publish", "text": long, "id": "m-3"}).to_string())
        .await;
    let refused = ana.event().await;
    assert_eq!(
        (&refused["code"], &refused["id"]),
        (&json!("too_long"), &json!("m-3"))
    );
    let fits = "\0".repeat(8192);
    ana.say(&json!({"type": "publish", "text": fits}).to_string())
        .await;
    assert_eq!(ana.event().await["text"], "\u{fffd}".repeat(8192));
}

#[tokio::test]
async fn without_echo_the_receipt_is_an_accepted_event() {
    let server = TestServer::start().await;
    let (mut ana, _) = server.json("/?echo=0").await;
    let mut bob = server.plain("/").await;
    assert_eq!(ana.event().await["type"], "live");
    ana.say(r#"{"type":"publish","text":"one","id":"a"}"#).await;
    ana.say(r#"{"type":"publish","text":"two"}"#).await;
    assert_eq!(
        ana.event().await,
        json!({"type": "accepted", "id": "a", "seq": 1})
    );
    assert_eq!(ana.event().await, json!({"type": "accepted", "seq": 2}));
    assert_eq!(bob.text().await, format!("{}: one", ana.tag()));
    assert_eq!(bob.text().await, format!("{}: two", ana.tag()));
    bob.say("three").await;
    assert_eq!(ana.event().await["text"], "three");

    let mut eve = server.plain("/?echo=0").await;
    eve.say("unseen by eve").await;
    assert_eq!(ana.event().await["text"], "unseen by eve");
    bob.say("seen").await;
    assert_eq!(eve.text().await, format!("{}: seen", bob.tag()));
}

#[tokio::test]
async fn joining_starts_at_the_requested_position() {
    let server = TestServer::start().await;
    let mut ana = server.plain("/?name=ana").await;
    let mut elsewhere = server.plain("/elsewhere?name=eve").await;
    for n in 1..=5 {
        ana.say(&format!("m{n}")).await;
        assert_eq!(ana.text().await, format!("ana: m{n}"));
        elsewhere.say("e").await;
        assert_eq!(elsewhere.text().await, "eve: e");
    }
    // The lobby's messages have the numbers 1, 3, 5, 7, 9.
    let mut readers = Vec::new();
    for (query, lines) in [
        ("backlog=2", &["7 ana: m4", "9 ana: m5"][..]),
        (
            "backlog=5000",
            &[
                "1 ana: m1",
                "3 ana: m2",
                "5 ana: m3",
                "7 ana: m4",
                "9 ana: m5",
            ],
        ),
        ("backlog=0", &[]),
        ("after=9", &[]),
        ("after=6", &["7 ana: m4", "9 ana: m5"]),
        ("after=7&backlog=4", &["9 ana: m5"]),
    ] {
        let mut reader = server.plain(&format!("/?seq=1&{query}")).await;
        for line in lines {
            assert_eq!(reader.text().await, *line, "{query}");
        }
        readers.push((query, reader));
    }
    ana.say("next").await;
    for (query, mut reader) in readers {
        assert_eq!(reader.text().await, "11 ana: next", "{query}");
    }
}

#[tokio::test]
async fn a_position_of_another_log_is_announced_as_gap() {
    let server = TestServer::start().await;
    let mut ana = server.plain("/?name=ana").await;
    ana.say("one").await;
    ana.text().await;
    let gap = json!({"type": "gap", "after": 7, "next": 1, "reason": "epoch"});
    for query in ["after=7", "after=7&epoch=other"] {
        let (mut eve, _) = server.json(&format!("/?{query}")).await;
        assert_eq!(eve.event().await, gap, "{query}");
        assert_eq!(eve.event().await["text"], "one");
        assert_eq!(eve.event().await["type"], "live");
        let mut eve = server.plain(&format!("/?{query}")).await;
        assert!(
            eve.text()
                .await
                .starts_with("* 7 is not a position of this log")
        );
        assert_eq!(eve.text().await, "ana: one");
    }
    let (mut eve, welcome) = server.json("/").await;
    eve.event_of("live").await;
    let join = json!({"type": "join", "room": "lobby", "after": 0, "epoch": welcome["epoch"]});
    eve.say(&join.to_string()).await;
    assert_eq!(eve.event().await["type"], "welcome");
    assert_eq!(eve.event().await["text"], "one");
    assert_eq!(eve.event().await, json!({"type": "live", "seq": 1}));
}

#[tokio::test]
async fn receipts_arrive_before_the_publisher_changes_rooms() {
    let server = TestServer::start().await;
    for n in 0..20 {
        let (mut ana, _) = server.json("/?name=ana").await;
        ana.event_of("live").await;
        ana.say(&json!({"type": "publish", "text": "x", "id": format!("i{n}")}).to_string())
            .await;
        ana.say(r#"{"type":"join","room":"tea"}"#).await;
        assert_eq!(ana.event().await["id"], format!("i{n}"));
        assert_eq!(ana.event().await["room"], "tea");

        let mut bob = server.plain("/?name=bob").await;
        bob.say("x").await;
        bob.say("/join tea").await;
        assert_eq!(bob.text().await, "bob: x");
        assert_eq!(bob.text().await, "* You are now in tea.");
    }
}

#[tokio::test]
async fn history_commands_return_pages_of_the_room() {
    let server = TestServer::start().await;
    let mut ana = server.plain("/?name=ana").await;
    let (mut bob, _) = server.json("/?name=bob").await;
    bob.event_of("live").await;
    assert_eq!(
        ana.text_after("/history").await,
        "* Nothing was said here yet."
    );
    let page =
        |messages: &[&str], more: bool| (messages.iter().map(ToString::to_string).collect(), more);
    for n in 1..=60 {
        let text = format!("m{n}\n* eve: x");
        assert_eq!(
            ana.text_after(&text).await,
            format!("ana: m{n}\n  * eve: x")
        );
        bob.event().await;
    }
    assert_eq!(
        ana.text_after("/history 2").await,
        "* ana: m59\n  * eve: x\n* ana: m60\n  * eve: x"
    );
    assert_eq!(ana.text_after("/history").await.matches("\n* ").count(), 49);
    assert_eq!(
        ana.text_after("/history 999").await.matches("\n* ").count(),
        59
    );
    let mut numbered = server.plain("/?seq=1").await;
    let line = numbered.text_after("/history 1").await;
    assert_eq!(line, "* 60 ana: m60\n  * eve: x");

    for (ask, expected) in [
        (json!({"limit": 2}), page(&["59", "60"], true)),
        (json!({"before": 3}), page(&["1", "2"], false)),
        (json!({"before": 9, "limit": 1}), page(&["8"], true)),
        (json!({"before": 0}), page(&[], false)),
    ] {
        let mut asked = ask.clone();
        asked["type"] = json!("history");
        bob.say(&asked.to_string()).await;
        let told = bob.event().await;
        assert_eq!(told["type"], "page");
        let messages = told["messages"].as_array().expect("messages").iter();
        let seqs: Vec<String> = messages.map(|m| m["seq"].to_string()).collect();
        assert_eq!(
            (seqs, told["more"].as_bool().expect("more")),
            expected,
            "{ask}"
        );
    }
    // Answers keep the order of the commands; a page shows this room only.
    bob.say(r#"{"type":"history","limit":1}"#).await;
    bob.say(r#"{"type":"members"}"#).await;
    bob.say(r#"{"type":"join","room":"tea"}"#).await;
    bob.say(r#"{"type":"history"}"#).await;
    for kind in ["page", "members", "welcome"] {
        assert_eq!(bob.event().await["type"], kind);
    }
    assert_eq!(bob.event_of("page").await["messages"], json!([]));
}

#[tokio::test]
async fn search_returns_messages_with_all_words() {
    let server = TestServer::start().await;
    let mut ana = server.plain("/?name=ana").await;
    let (mut bob, _) = server.json("/?name=bob").await;
    bob.event_of("live").await;
    for text in ["green tea", "black\ntea", "coffee"] {
        ana.text_after(text).await;
        bob.event().await;
    }
    // The index may lag behind.
    while !ana
        .text_after("/search coffee")
        .await
        .ends_with("* 1 found.")
    {}
    assert_eq!(
        ana.text_after("/search te").await,
        "* ana: green tea\n* ana: black\n  tea\n* 2 found."
    );
    assert_eq!(ana.text_after("/search \"milk").await, "* Nothing found.");
    for wrong in [
        "/search",
        "/search !",
        &format!("/search {}", "x".repeat(300)),
    ] {
        assert!(ana.text_after(wrong).await.starts_with("* "), "{wrong}");
    }
    for (ask, seqs, more) in [
        (json!({"query": "tea"}), json!([1, 2]), false),
        (json!({"query": " tea ", "limit": 1}), json!([2]), true),
        (json!({"query": "tea", "before": 2}), json!([1]), false),
    ] {
        let mut asked = ask.clone();
        asked["type"] = json!("search");
        bob.say(&asked.to_string()).await;
        let page = bob.event().await;
        assert_eq!(page["type"], "page", "{page}");
        let messages = page["messages"].as_array().expect("messages").iter();
        let found: Vec<_> = messages.map(|m| m["seq"].clone()).collect();
        assert_eq!((json!(found), &page["more"]), (seqs, &json!(more)), "{ask}");
        assert_eq!(
            (&page["query"], &page["indexed"]),
            (&json!("tea"), &json!(3))
        );
    }
    bob.say(r#"{"type":"search","query":"..."}"#).await;
    assert_eq!(bob.event().await["code"], "empty");
}

#[tokio::test]
async fn people_type_aliases_and_misspelled_commands() {
    let server = TestServer::start().await;
    let mut ana = server.plain("/tea").await;
    let mut bob = server.plain("/tea").await;
    assert!(
        ana.text_after("/nick ana")
            .await
            .starts_with("* You are now ana.")
    );
    assert!(
        bob.text_after("/nick bob")
            .await
            .starts_with("* You are now bob.")
    );
    for word in ["/who", "/names"] {
        assert!(bob.text_after(word).await.starts_with("* 2 here: "));
    }
    assert!(bob.text_after("/list").await.ends_with("\n  tea (2)"));
    let nobody = bob.text_after("/r yes").await;
    assert!(
        nobody.starts_with("* You have no private message to answer"),
        "{nobody}"
    );
    assert_eq!(ana.text_after("/w bob psst").await, "* you to bob: psst");
    assert_eq!(bob.text().await, "* ana to you: psst");
    assert_eq!(bob.text_after("/r yes").await, "* you to ana: yes");
    assert_eq!(ana.text().await, "* bob to you: yes");
    assert_eq!(bob.text_after("/part").await, "* You are now in lobby.");
    assert_eq!(bob.text_after("/join #tea").await, "* You are now in tea.");
    let unknown = bob.text_after("/jion tea").await;
    assert!(
        unknown.contains("No such command: /jion. Did you mean /join?"),
        "{unknown}"
    );
    for blank in ["\u{200b}\u{200d}", " \t\u{3000}"] {
        let empty = bob.text_after(blank).await;
        assert!(empty.starts_with("* "), "{empty}");
    }
}
