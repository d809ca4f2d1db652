use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use broadcast_chat::{
    server::ServerOptions,
    store::{self, Storage},
};
use serde_json::json;
use tempfile::tempdir;

use crate::{
    programs::{folder, rejected_start, server, server_command},
    support::{TestServer, options, sse_request, upgrade},
};

pub(crate) const SECRET: &str = "of-the-operators";

pub(crate) fn with_operators() -> ServerOptions {
    let mut options = options();
    options.session.operator = Some(SECRET.parse().expect("a secret"));
    options
}

/// Asserts that `server check` finds no fault.
pub(crate) fn assert_sound(folder: &Path) {
    let report = store::check(folder).expect("readable");
    assert_eq!(report.faults.len(), 0, "{:?}", report.faults);
}

pub(crate) fn audit(folder: &Path) -> Vec<[String; 4]> {
    let db = rusqlite::Connection::open(folder.join("chat.sqlite")).expect("the store");
    let mut rows = db
        .prepare("SELECT operator, action, target, reason FROM audit ORDER BY id")
        .expect("a table");
    let rows = rows.query_map([], |row| {
        Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
    });
    rows.expect("rows").map(|row| row.expect("texts")).collect()
}

#[tokio::test]
async fn operators_kick_by_name_connection_or_address() {
    let folder = tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let server = TestServer::start_with(&storage, with_operators()).await;
    let (mut ana, _) = server.json("/?name=ana").await;
    ana.event_of("live").await;
    let kick = |who: &str, reason: Option<&str>| match reason {
        Some(reason) => json!({"type": "kick", "who": who, "reason": reason}),
        None => json!({"type": "kick", "who": who}),
    };
    let mut eve = server.plain("/?name=eve").await;
    let refused = ana.event_after(&kick("eve", None)).await;
    assert_eq!(refused["code"], "not_allowed", "{refused}");
    let refused = eve.text_after("/kick ana").await;
    assert!(refused.starts_with("* Operators only"), "{refused}");

    let proved = ana
        .event_after(&json!({"type": "operator", "secret": SECRET}))
        .await;
    assert_eq!(proved["type"], "notice", "{proved}");
    // A kick by name ignores case. It covers every room and every format.
    let mut other = server.plain("/tea").await;
    other.text_after("/name Bob").await;
    let mut reader = server.follow("/tea", "").await;
    for kind in ["welcome", "live"] {
        assert_eq!(
            reader.sse_event().await.expect("told").event.as_deref(),
            Some(kind)
        );
    }
    let told = ana.event_after(&kick("bob", Some("spam\u{1b}"))).await;
    assert_eq!(told, json!({"type": "notice", "text": "bob was kicked."}));
    assert_eq!(other.closed().await, (4501, "spam\u{fffd}".into()));
    // A kick by `IP:port` covers one connection.
    let one = server.plain("/").await;
    let mut two = server.plain("/").await;
    let told = ana.event_after(&kick(&two.tag(), None)).await;
    assert_eq!(told["text"], format!("{} was kicked.", two.tag()));
    assert_eq!(two.closed().await.0, 4501);
    let told = ana.event_after(&kick(&two.tag(), None)).await;
    assert_eq!(told["text"], format!("{} is not here.", two.tag()));
    // A kick by IP address covers all its connections, the operator's too.
    ana.say(&kick("127.0.0.1", None).to_string()).await;
    for mut peer in [ana, eve, one] {
        assert_eq!(peer.closed().await.0, 4501);
    }
    let end = reader.rest().await;
    assert!(end.contains("(4501)"), "{end}");
    // A kicked person may return.
    let mut again = server.plain("/?name=ana").await;
    for (reason, code) in [("x".repeat(100), true), ("x".repeat(101), false)] {
        again.text_after(&format!("/operator {SECRET}")).await;
        let told = again.text_after(&format!("/kick zoe {reason}")).await;
        assert_eq!(told == "* zoe is not here.", code, "{told}");
    }
    let refused = again.text_after("/kick a/b").await;
    assert!(refused.starts_with("* /kick WHO [WHY]: "), "{refused}");
    server.stop().await;

    let done = audit(folder.path());
    assert_eq!(done.len(), 5, "{done:?}");
    assert_eq!(done[0], ["ana", "kick", "bob", "spam\u{fffd}"]);
    assert_eq!(done[3], ["ana", "kick", "127.0.0.1", ""]);
    assert_sound(folder.path());
}

#[tokio::test]
async fn three_wrong_operator_secrets_close_the_connection() {
    let server = TestServer::start_with(&Storage::Memory, with_operators()).await;
    let mut guest = server.plain("/").await;
    for guess in ["", "of-the-operator", "of-the-operators-x"] {
        let refused = guest.text_after(&format!("/operator {guess}")).await;
        assert_eq!(refused, "* This is not the operators' secret.");
    }
    assert_eq!(guest.closed().await.0, 4503);

    let (mut guest, _) = server.json("/").await;
    guest.event_of("live").await;
    for _ in 0..2 {
        let wrong = json!({"type": "operator", "secret": "x"});
        let refused = guest.event_after(&wrong).await;
        assert_eq!(refused["code"], "not_allowed", "{refused}");
    }
    let kick = json!({"type": "kick", "who": "127.0.0.1"});
    assert_eq!(guest.event_after(&kick).await["code"], "not_allowed");
    // The third attempt is right.
    let proved = guest
        .event_after(&json!({"type": "operator", "secret": SECRET}))
        .await;
    assert_eq!(proved["type"], "notice", "{proved}");

    let server = TestServer::start().await;
    let mut guest = server.plain("/").await;
    for _ in 0..5 {
        let refused = guest.text_after(&format!("/operator {SECRET}")).await;
        assert_eq!(refused, "* This server has no operators.");
    }
}

#[tokio::test]
async fn an_invalid_file_of_the_operator_secret_is_explained() {
    let folder = folder();
    let path = folder.path().join("secret");
    let flag = path.to_str().expect("UTF-8");
    for (written, mode, told) in [
        (None, 0, "No such file or directory"),
        (Some(""), 0o600, "a secret is 16 to 128"),
        (Some("fifteen-letters\n"), 0o600, "a secret is 16 to 128"),
        (Some(SECRET), 0o640, "others may read"),
        (Some(SECRET), 0o604, "others may read"),
    ] {
        if let Some(text) = written {
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        }
        let args = ["--operator-secret-file", flag];
        let said = rejected_start(&mut server_command(folder.path(), &args)).await;
        assert!(said.contains(told), "{said}");
        assert!(!said.contains(SECRET), "{said}");
    }
    fs::write(&path, format!("{SECRET}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    let args = ["--operator-secret-file", flag];
    let (_server, _addr) = server(folder.path(), &args).await;
}

#[tokio::test]
async fn a_ban_survives_a_restart_until_it_is_lifted() {
    let folder = tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let server = TestServer::start_with(&storage, with_operators()).await;
    let (mut ana, _) = server.json("/?name=ana").await;
    ana.event_of("live").await;
    let ban = json!({"type": "ban", "who": "bob", "for": "2h", "reason": "spam"});
    assert_eq!(ana.event_after(&ban).await["code"], "not_allowed");
    ana.event_after(&json!({"type": "operator", "secret": SECRET}))
        .await;
    let mut bob = server.plain("/?name=Bob").await;
    let mut eve = server.plain("/").await;
    let told = ana.event_after(&ban).await;
    assert_eq!(told, json!({"type": "notice", "text": "bob is banned."}));
    assert_eq!(bob.closed().await, (4502, "spam".into()));
    // A client that takes the banned name is closed too.
    eve.say("/name BOB").await;
    assert_eq!(eve.closed().await, (4502, "spam".into()));
    let connection = json!({"type": "ban", "who": ana.tag()});
    assert_eq!(ana.event_after(&connection).await["code"], "bad_field");
    drop(ana);
    server.stop().await;

    let server = TestServer::start_with(&storage, with_operators()).await;
    let requests = [
        upgrade(server.addr, "/?name=bob", &[]),
        sse_request("/?name=bob", ""),
        "POST /?name=bob HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi".to_owned(),
        "GET /?name=bob HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET /?name=bob&limit=2 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET /?name=bob HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n".to_owned(),
    ];
    for request in &requests {
        let answer = server.request(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        let sentence = "An operator has banned you, for another 2h: spam.\n";
        assert!(answer.ends_with(sentence), "{answer}");
    }
    for method in ["get", "post"] {
        server.assert_described(method, 403).await;
    }
    let mut ana = server.plain("/?name=ana").await;
    ana.text_after(&format!("/operator {SECRET}")).await;
    assert_eq!(ana.text_after("/unban BOB").await, "* BOB is not banned.");
    let mut zoe = server.plain("/?name=zoe").await;
    let told = ana.text_after("/ban zoe 1m").await;
    assert_eq!(told, "* zoe is banned.");
    assert_eq!(zoe.closed().await, (4502, "an operator banned you".into()));
    let answer = server.request(requests[0].as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    server.stop().await;
    let done: Vec<_> = audit(folder.path())
        .into_iter()
        .map(|row| row[1].clone())
        .collect();
    assert_eq!(done, ["ban 2h", "unban", "ban 1m"]);
    assert_sound(folder.path());
}

#[tokio::test]
async fn a_muted_person_can_only_read() {
    let server = TestServer::start_with(&Storage::Memory, with_operators()).await;
    let mut ana = server.plain("/?name=ana").await;
    ana.text_after(&format!("/operator {SECRET}")).await;
    let mut bob = server.plain("/?name=bob").await;
    let refused = bob.text_after("/mute ana").await;
    assert!(refused.starts_with("* Operators only"), "{refused}");
    assert_eq!(ana.text_after("/mute bob 30m").await, "* bob is muted.");
    let refused = bob.text_after("hello").await;
    assert_eq!(refused, "* An operator has muted you, for another 30m.");
    let post = b"POST /?name=bob HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi";
    let answer = server.request(post).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    // Neither a name nor a topic says what a message may not.
    for said in ["/name other", "/name bob", "/topic loud", "/msg ana loud"] {
        assert_eq!(bob.text_after(said).await, refused, "{said}");
    }
    assert_eq!(bob.text_after("/topic").await, "* lobby has no topic.");
    ana.say("hi").await;
    assert_eq!(bob.text().await, "ana: hi");
    assert_eq!(ana.text().await, "ana: hi");
    assert_eq!(ana.text_after("/unmute bob").await, "* bob is not muted.");
    assert_eq!(bob.text_after("hello").await, "bob: hello");
}
