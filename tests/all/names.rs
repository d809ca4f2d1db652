use broadcast_chat::store::Storage;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::{
    programs::{Program, client_command},
    support::{Peer, TestServer, options},
};

const SECRET: &str = "the-secret-of-ana";

/// Sends the command `name`; returns its answer.
async fn name(peer: &mut Peer, name: &str, secret: Option<&str>) -> Value {
    let mut command = json!({"type": "name", "name": name});
    if let Some(secret) = secret {
        command["secret"] = secret.into();
    }
    peer.say(&command.to_string()).await;
    loop {
        let event = peer.event().await;
        if event["type"] == "name" || event["type"] == "refused" {
            return event;
        }
    }
}

// Verified to fail when names are compared as written, and when a lease is
// granted beside any other person of the name.
#[tokio::test]
async fn two_people_do_not_share_a_name() {
    let server = TestServer::start().await;
    let (ana, welcome) = server.json("/?name=ana").await;
    assert_eq!(welcome["you"]["name"], "ana");
    for other in ["Ana", "%D0%B0na", "%EF%BD%81na"] {
        let (mut peer, welcome) = server.json(&format!("/?name={other}")).await;
        assert_eq!(welcome["you"], json!({"addr": peer.tag()}), "{other}");
        let refused = peer.event().await;
        assert_eq!(
            (&refused["type"], &refused["code"]),
            (&"refused".into(), &"name_taken".into())
        );
        peer.say(r#"{"type":"publish","text":"hi"}"#).await;
        let message = peer.event_of("message").await;
        assert_eq!(message["from"], json!({"addr": peer.tag()}), "{other}");
    }
    let mut plain = server.plain("/?name=Ana").await;
    let line = plain.text().await;
    assert!(line.starts_with("* Ana is in use"), "{line}");
    // The same name from the same address is the same person, whose old
    // connection may not have ended yet. No other client can own the name
    // beside them.
    let (again, welcome) = server.json("/?name=ana").await;
    assert_eq!(welcome["you"]["name"], "ana");
    assert!(server.post("/?name=ana", "", b"hi").await.contains(" 200 "));
    let (mut eve, _) = server.json("/").await;
    assert_eq!(name(&mut eve, "ana", None).await["code"], "name_taken");
    drop((ana, again));
    while name(&mut eve, "ana", None).await["type"] != "name" {}
}

// Verified to fail when the secret is not checked, and when it holds for the
// first spelling of the name only.
#[tokio::test]
async fn the_secret_proves_an_owned_name() {
    let server = TestServer::start().await;
    let (mut ana, _) = server.json("/").await;
    let told = name(&mut ana, "ana", None).await;
    let secret = told["secret"].as_str().expect("a secret").to_owned();
    assert!(secret.starts_with("random128_") && secret.len() == 32);
    assert_eq!(
        name(&mut ana, "ana", None).await,
        json!({"type": "name", "name": "ana"})
    );
    assert_eq!(
        name(&mut ana, "Ana", None).await,
        json!({"type": "name", "name": "Ana"})
    );

    let (mut eve, _) = server.json("/").await;
    for wrong in [None, Some("another-secret-than-that")] {
        let refused = name(&mut eve, "ANA", wrong).await;
        assert_eq!(refused["code"], "name_taken", "{refused}");
        assert_eq!(refused["secret"], Value::Null);
    }
    assert_eq!(
        name(&mut eve, "eve", Some("short")).await["code"],
        "bad_field"
    );
    assert_eq!(
        name(&mut eve, "e:e", Some(&secret)).await["code"],
        "bad_name"
    );
    assert_eq!(
        name(&mut eve, "eve", Some(SECRET)).await,
        json!({"type": "name", "name": "eve"})
    );

    // The secret works beside a connection that may be dead, and without one.
    let (beside, welcome) = server.asking("ana", &secret, "").await;
    assert_eq!(welcome["you"]["name"], "ana");
    drop((ana, beside));
    let mut plain = server.plain("/").await;
    plain.say("/name ana").await;
    let line = plain.text().await;
    assert!(
        line.starts_with("* ana belongs to another person"),
        "{line}"
    );
    // The owner learns what to do.
    for way in ["/link on the device where you took it", "/release ana"] {
        assert!(line.contains(way), "{line}");
    }
    plain.say(&format!("/name ana {secret}")).await;
    assert_eq!(plain.text().await, "* You are now ana.");
    plain.say("/name rana").await;
    let line = plain.text().await;
    let secret = line.strip_prefix("* You are now rana. To have this name again: /name rana ");
    assert_eq!(secret.map(str::len), Some(32), "{line}");
}

#[tokio::test]
async fn an_owned_name_survives_restarts_until_it_expires() {
    let folder = tempdir().expect("a folder");
    let server = TestServer::start_in(folder.path()).await;
    let (_, welcome) = server.asking("ana", SECRET, "").await;
    assert_eq!(welcome["you"]["name"], "ana");
    server.stop().await;
    let server = TestServer::start_in(folder.path()).await;
    let (mut eve, _) = server.json("/?name=ana").await;
    assert_eq!(eve.event().await["code"], "name_taken");
    let (_, welcome) = server.asking("Ana", SECRET, "").await;
    assert_eq!(welcome["you"]["name"], "Ana");
    server.stop().await;

    let mut options = options();
    options.hub.name_expiry = std::time::Duration::ZERO;
    let storage = Storage::Folder(folder.path().to_owned());
    let server = TestServer::start_with(&storage, options).await;
    let (_, welcome) = server.asking("ana", "the-secret-of-eve", "").await;
    assert_eq!(welcome["you"]["name"], "ana");
    server.stop().await;
}

// Verified to fail without a bound.
#[tokio::test]
async fn new_names_of_one_session_are_limited() {
    let server = TestServer::start().await;
    let (mut eve, _) = server.json("/").await;
    for n in 0..5 {
        assert_eq!(
            name(&mut eve, &format!("eve-{n}x"), None).await["type"],
            "name"
        );
    }
    let refused = name(&mut eve, "one-more", None).await;
    assert_eq!(refused["code"], "not_allowed");
    // The client keeps the name it had, and the refused name stays free.
    eve.say(r#"{"type":"publish","text":"hi"}"#).await;
    assert_eq!(eve.event_of("message").await["from"]["name"], "eve-4x");
    assert_eq!(
        server.json("/?name=one-more").await.1["you"]["name"],
        "one-more"
    );
}

#[tokio::test]
async fn a_post_proves_its_name_by_a_secret() {
    let server = TestServer::start().await;
    let (mut reader, _) = server.json("/").await;
    let good = format!("Authorization: Bearer {SECRET}\r\n");
    let wrong = "Authorization: bearer another-secret-than-that\r\n";
    for (headers, status) in [
        ("", 200),
        ("", 200),
        ("Authorization: Basic YTpi\r\n", 200),
        (&*good, 200),
        ("", 401),
        (wrong, 403),
        ("Authorization: Bearer short\r\n", 400),
        ("Authorization: Bearer\r\n", 400),
        ("Authorization: 0123456789abcdef\r\n", 400),
        ("Authorization:\r\n", 400),
        (&*good, 200),
    ] {
        let answer = server.post("/?name=ana", headers, b"hi").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{headers}: {answer}"
        );
        if status == 401 {
            let answer = answer.to_lowercase();
            assert!(
                answer.contains("\r\nwww-authenticate: bearer\r\n"),
                "{answer}"
            );
        }
        server.assert_described("post", status).await;
        if status == 400 {
            assert!(
                answer.contains("Authorization: it is Bearer SECRET"),
                "{answer}"
            );
        }
        if status == 200 {
            assert_eq!(reader.event_of("message").await["from"]["name"], "ana");
        }
    }
}

// Verified to fail when the client sends no secret at the upgrade, and when it
// makes a new one each time.
#[tokio::test]
async fn the_client_keeps_its_owned_names() {
    let server = TestServer::start().await;
    let state = tempdir().expect("a folder");
    let client = |args: &[&str]| {
        let mut command = client_command();
        command.env("XDG_STATE_HOME", state.path());
        Program::start(command.arg(server.addr.to_string()).args(args))
    };
    let (mut reader, _) = server.json("/").await;
    for args in [&["--name", "ana"][..], &["--name", "Ana"]] {
        let mut ana = client(args);
        ana.type_line("hi").await;
        assert_eq!(ana.exit().await, 0);
        assert_eq!(reader.event_of("message").await["from"]["name"], args[1]);
    }
    let (mut eve, _) = server.json("/?name=ana").await;
    assert_eq!(eve.event().await["code"], "name_taken");
    // A client with another state folder does not have the secret.
    let mut other = Program::start(
        client_command()
            .env("XDG_STATE_HOME", state.path().join("other"))
            .arg(server.addr.to_string())
            .args(["--name", "ana"]),
    );
    assert_eq!(other.line().await, "Welcome to chat! Type a message");
    let line = other.line().await;
    assert!(
        line.starts_with("* ana belongs to another person"),
        "{line}"
    );
}

// Verified to fail when names are compared by one look alone.
#[tokio::test]
async fn names_that_look_alike_in_any_case_are_not_used_side_by_side() {
    let pairs = [
        ("Mike", "%D0%9Cike"),
        ("Nina", "%CE%9Dina"),
        ("Bob", "%CE%92ob"),
        ("Yves", "%CE%A5ves"),
        ("Carol", "%CF%B9arol"),
        ("Tom", "To%D0%9C"),
        ("Wanda", "VVanda"),
    ];
    let turned = pairs.map(|(one, other)| (other, one));
    for pairs in [pairs, turned] {
        let server = TestServer::start().await;
        for (first, second) in pairs {
            let (_used, welcome) = server.json(&format!("/?name={first}")).await;
            assert!(welcome["you"]["name"].is_string(), "{first}");
            let (mut peer, _) = server.json(&format!("/?name={second}")).await;
            assert_eq!(peer.event().await["code"], "name_taken", "{second}");
        }
    }
}

// Verified to fail when a claim reserves only the first look of its name.
#[tokio::test]
async fn an_owned_name_reserves_the_names_that_look_like_it() {
    let server = TestServer::start().await;
    // A Greek capital looks like N, and its small letter like v.
    let (capital, small) = ("\u{39d}ina", "\u{3bd}ina");
    let (mut ana, _) = server.json("/").await;
    assert_eq!(name(&mut ana, capital, Some(SECRET)).await["type"], "name");
    assert_eq!(name(&mut ana, "ana", None).await["type"], "name");
    let (mut eve, _) = server.json("/").await;
    for taken in ["Nina", "vina", small] {
        for secret in [None, Some("another-secret-than-that")] {
            let refused = name(&mut eve, taken, secret).await;
            assert_eq!(refused["code"], "name_taken", "{taken}");
        }
    }
    eve.say(r#"{"type":"name","name":"eve"}"#).await;
    eve.say(r#"{"type":"private","to":"Nina","text":"hi"}"#)
        .await;
    assert_eq!(eve.event_of("refused").await["code"], "not_here");
    for own in [small, capital] {
        assert_eq!(name(&mut ana, own, Some(SECRET)).await["name"], own);
    }
}

// Verified to fail when a name is checked for its letters alone.
#[tokio::test]
async fn nobody_takes_a_reserved_name_or_an_address() {
    let server = TestServer::start().await;
    let (mut eve, _) = server.json("/").await;
    for refused in ["server", "Admin", "\u{430}dmin", "203.0.113.7"] {
        let answer = name(&mut eve, refused, None).await;
        assert_eq!(answer["code"], "bad_name", "{refused}");
    }
    let answer = server.post("/?name=Operator", "", b"hi").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("are reserved"), "{answer}");
}

// Verified to fail when every name's messages are marked, and when none are.
#[tokio::test]
async fn only_messages_of_names_that_nobody_owns_are_unverified() {
    let server = TestServer::start().await;
    let (mut ana, _) = server.owner("ana", "").await;
    let (mut bob, _) = server.json("/?name=bob").await;
    let (mut nobody, _) = server.json("/").await;
    let publish = r#"{"type":"publish","text":"hi"}"#;
    ana.say(publish).await;
    assert_eq!(
        nobody.event_of("message").await["from"]["unverified"],
        Value::Null
    );
    bob.say(publish).await;
    assert_eq!(nobody.event_of("message").await["from"]["unverified"], true);
    nobody.say(publish).await;
    assert_eq!(
        nobody.event_of("message").await["from"]["unverified"],
        Value::Null
    );
}
