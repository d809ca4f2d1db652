//! Private rooms: only members enter, read, publish in and see them.

use broadcast_chat::{protocol::command::table::all_in_json, store::Storage};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::{
    operators::{SECRET, assert_sound, audit, with_operators},
    support::{Peer, TestServer, sse_request, status_and_answer, upgrade},
};

/// What only members may read.
const KEPT: &str = "the kettle is on";

/// Everybody who may ask for the private room `tea`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Nobody,
    Unowned,
    WrongSecret,
    Owned,
    Invited,
    Member,
    RoomOwner,
    Operator,
    Removed,
}

const CALLERS: [Caller; 9] = [
    Caller::Nobody,
    Caller::Unowned,
    Caller::WrongSecret,
    Caller::Owned,
    Caller::Invited,
    Caller::Member,
    Caller::RoomOwner,
    Caller::Operator,
    Caller::Removed,
];

impl Caller {
    /// The query and the headers of its requests.
    fn credentials(self, token: &str) -> (String, Vec<(&'static str, String)>) {
        let owner = |name: &str| {
            let secret = format!("Bearer the-secret-of-{name}");
            (format!("?name={name}"), vec![("Authorization", secret)])
        };
        match self {
            Caller::Nobody => (String::new(), Vec::new()),
            Caller::Unowned => ("?name=uma".to_owned(), Vec::new()),
            Caller::WrongSecret => {
                let secret = "Bearer not-the-secret-of-bob".to_owned();
                ("?name=bob".to_owned(), vec![("Authorization", secret)])
            }
            Caller::Owned => owner("cy"),
            Caller::Invited => {
                let (query, mut headers) = owner("ivy");
                headers.push(("Chat-Invite", token.to_owned()));
                (query, headers)
            }
            Caller::Member => owner("bob"),
            Caller::RoomOwner => owner("ana"),
            Caller::Operator => owner("olga"),
            Caller::Removed => owner("rex"),
        }
    }
}

/// Makes `tea` private, with the owner ana and the member bob. Its former member
/// rex was removed a moment ago. Returns the owner, and the token of an open
/// invitation.
async fn private_tea(server: &TestServer) -> (Peer, String) {
    let (mut ana, _) = server.owner("ana", "").await;
    ana.event_of("live").await;
    command(&mut ana, &json!({"type": "join", "room": "tea"})).await;
    ana.event_of("live").await;
    let made = command(
        &mut ana,
        &json!({"type": "access", "room": "tea", "private": true}),
    )
    .await;
    assert_eq!(made["type"], "notice", "{made}");
    let topic = json!({"type": "topic", "text": KEPT});
    assert_eq!(command(&mut ana, &topic).await["type"], "topic");
    for name in ["bob", "rex"] {
        join_by_invitation(server, &mut ana, name).await;
    }
    let removed = command(&mut ana, &json!({"type": "remove", "name": "rex"})).await;
    assert_eq!(removed["type"], "notice", "{removed}");
    for name in ["cy", "olga"] {
        server.owner(name, "").await;
    }
    let said = command(&mut ana, &json!({"type": "publish", "text": KEPT})).await;
    assert_eq!(said["type"], "message", "{said}");
    let token = invitation(&mut ana).await;
    (ana, token)
}

/// Sends a command; returns its answer, without presence events.
async fn command(peer: &mut Peer, command: &Value) -> Value {
    peer.event_after(command).await
}

/// Makes an invitation for two people; returns its token.
async fn invitation(owner: &mut Peer) -> String {
    let invite = command(owner, &json!({"type": "invite", "uses": 2, "for": "2d"})).await;
    let url = invite["url"].as_str().expect("a URL");
    let (room, token) = url.split_once("#invite=").expect(url);
    assert!(room.ends_with("/tea"), "{url}");
    token.to_owned()
}

/// Owns a name, and makes it a member by an invitation of the owner.
async fn join_by_invitation(server: &TestServer, owner: &mut Peer, name: &str) {
    let token = invitation(owner).await;
    let (mut new, _) = server.owner(name, "").await;
    new.event_of("live").await;
    let used = command(&mut new, &json!({"type": "invite", "token": token})).await;
    assert_eq!(used["text"], "You may enter tea now: /join tea", "{used}");
}

fn head(method: &str, target: &str, headers: &[(&str, String)], rest: &str) -> String {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        head.extend([*name, ": ", value, "\r\n"]);
    }
    head + rest
}

// Verified to fail when requests do not ask who may enter.
#[tokio::test]
async fn every_route_asks_who_may_enter() {
    for caller in CALLERS {
        let server = TestServer::start_with(&Storage::Memory, with_operators()).await;
        let (_ana, token) = private_tea(&server).await;
        let (query, headers) = caller.credentials(&token);
        let more = if query.is_empty() { "?" } else { "&" };
        let get = |accept: &str, more: &str| {
            let accept = format!("Accept: {accept}\r\n\r\n");
            head("GET", &format!("/tea{query}{more}"), &headers, &accept)
        };
        let borrowed: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let json = [&borrowed[..], &[("Sec-WebSocket-Protocol", "chat.v1")]].concat();
        let target = format!("/tea{query}");
        let reads = [
            get("application/json", ""),
            get("application/json", &format!("{more}after=0&limit=9")),
            get("text/plain", ""),
            get("text/plain", &format!("{more}after=0")),
            get("text/plain", &format!("{more}limit=9")),
            head(
                "HEAD",
                &target,
                &headers,
                "Accept: application/json\r\n\r\n",
            ),
            head(
                "HEAD",
                &target,
                &headers,
                "Accept: text/event-stream\r\n\r\n",
            ),
            get("text/event-stream", &format!("{more}backlog=9")),
        ];
        // Only these use an invitation.
        let writes = [
            head("POST", &target, &headers, "Content-Length: 2\r\n\r\nhi"),
            upgrade(server.addr, &target, &borrowed),
            upgrade(server.addr, &target, &json),
        ];
        let is_member = matches!(caller, Caller::Member | Caller::RoomOwner);
        for request in &reads {
            let (status, answer) = status_and_answer(server.addr, request).await;
            let expected = if is_member { 200 } else { 403 };
            assert_eq!(status, expected, "{caller:?}: {request}{answer}");
            assert!(is_member || !answer.contains(KEPT), "{caller:?}: {answer}");
        }
        let enters = is_member || caller == Caller::Invited;
        // An address may try ten wrong secrets a minute.
        let tried = if caller == Caller::WrongSecret { 1 } else { 3 };
        for request in &writes[..tried] {
            let (status, answer) = status_and_answer(server.addr, request).await;
            let accepted = if request.starts_with("POST") {
                200
            } else {
                101
            };
            let expected = if enters { accepted } else { 403 };
            assert_eq!(status, expected, "{caller:?}: {request}{answer}");
        }
        // The page holds nothing of the room.
        let (status, answer) = status_and_answer(server.addr, &get("text/html", "")).await;
        assert!(status == 200 && !answer.contains(KEPT), "{caller:?}");
        if !enters {
            let (_, answer) = status_and_answer(server.addr, &reads[0]).await;
            assert!(answer.contains("tea is a private room"), "{answer}");
        }
    }
}

// Verified to fail when a join does not ask who may enter.
#[tokio::test]
async fn no_command_tells_an_outsider_anything() {
    for caller in CALLERS {
        let server = TestServer::start_with(&Storage::Memory, with_operators()).await;
        let (mut ana, token) = private_tea(&server).await;
        let (query, headers) = caller.credentials(&token);
        let mut headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        headers.retain(|(name, _)| *name != "Chat-Invite");
        headers.push(("Sec-WebSocket-Protocol", "chat.v1"));
        let mut peer = server.peer(&format!("/{query}"), &headers).await;
        peer.event_of("live").await;
        if caller == Caller::Operator {
            let proof = json!({"type": "operator", "secret": SECRET});
            assert_eq!(command(&mut peer, &proof).await["type"], "notice");
        }
        let is_member = matches!(caller, Caller::Member | Caller::RoomOwner);
        let join = json!({"type": "join", "room": "tea", "after": 0, "ref": "j"});
        let joined = command(&mut peer, &join).await;
        if is_member {
            assert_eq!(joined["topic"], KEPT, "{caller:?}: {joined}");
            assert_eq!(peer.event_of("message").await["text"], KEPT);
            continue;
        }
        assert_eq!(
            (&joined["code"], &joined["ref"]),
            (&json!("not_allowed"), &json!("j")),
            "{caller:?}: {joined}"
        );
        for spec in all_in_json() {
            // These change who the caller is, or send it away.
            if matches!(
                spec.json_type,
                Some("operator" | "kick" | "ban" | "name" | "release")
            ) {
                continue;
            }
            let mut example: Value = serde_json::from_str(spec.json_example).expect("JSON");
            if example.get("room").is_some() {
                example["room"] = "tea".into();
            }
            example["ref"] = "walk".into();
            peer.say(&example.to_string()).await;
            peer.say(r#"{"type":"members","ref":"end"}"#).await;
            loop {
                let event = peer.any_event().await;
                assert!(!event.to_string().contains(KEPT), "{caller:?}: {event}");
                let names_tea = event["type"] == "rooms" && event.to_string().contains("tea");
                assert!(!names_tea, "{caller:?}: {event}");
                if event["ref"] == "end" {
                    break;
                }
            }
        }
        // Nothing changed in the room.
        let members = command(&mut ana, &json!({"type": "members"})).await;
        let owns = json!([{"name": "ana", "owner": true}, {"name": "bob"}]);
        assert_eq!(members["members"], owns, "{caller:?}");
    }
}

// Verified to fail when a removal ends no conversation.
#[tokio::test]
async fn a_removed_member_gets_nothing_more() {
    let server = TestServer::start().await;
    let (mut ana, _) = private_tea(&server).await;
    let (query, headers) = Caller::Member.credentials("");
    let secret = &*headers[0].1;
    let json = [
        ("Authorization", secret),
        ("Sec-WebSocket-Protocol", "chat.v1"),
    ];
    let mut live = server.peer(&format!("/tea{query}"), &json).await;
    live.event_of("live").await;
    let mut lobby = server.peer(&format!("/{query}"), &json).await;
    lobby.event_of("live").await;
    let mut plain = server.peer(&format!("/tea{query}"), &json[..1]).await;
    plain.text().await;
    let authorization = format!("Authorization: {secret}\r\n");
    let mut events = server.follow(&format!("/tea{query}"), &authorization).await;
    while events.sse_event().await.expect("an event").event.as_deref() != Some("live") {}
    for said in ["remove", "publish"] {
        let frame = json!({"type": said, "name": "bob", "text": "behind his back"});
        ana.say(&frame.to_string()).await;
    }
    assert_eq!(ana.event_of("notice").await["type"], "notice");
    assert_eq!(ana.event_of("message").await["text"], "behind his back");
    for peer in [&mut live, &mut plain] {
        let (code, reason) = peer.closed().await;
        assert_eq!((code, &*reason), (4503, "you may not be in this room"));
    }
    let rest = events.rest().await;
    assert!(!rest.contains("behind his back"), "{rest}");
    // He goes on elsewhere.
    let refused = command(&mut lobby, &json!({"type": "join", "room": "tea"})).await;
    assert_eq!(refused["code"], "not_allowed", "{refused}");
    assert_eq!(
        command(&mut lobby, &json!({"type": "members"})).await["total"],
        1
    );
}

// Verified to fail when an invitation outlives its author's membership.
#[tokio::test]
async fn a_removed_owner_comes_back_by_no_invitation_of_its_own() {
    let server = TestServer::start().await;
    let (mut ana, _) = private_tea(&server).await;
    let (mut bob, _) = server.owner("bob", "").await;
    command(&mut bob, &json!({"type": "join", "room": "tea"})).await;
    bob.event_of("live").await;
    let made = command(&mut ana, &json!({"type": "owner", "name": "bob"})).await;
    assert_eq!(made["type"], "notice", "{made}");
    let token = invitation(&mut bob).await;
    let removed = command(&mut ana, &json!({"type": "remove", "name": "bob"})).await;
    assert_eq!(removed["type"], "notice", "{removed}");
    let (mut again, _) = server.owner("bob", "").await;
    again.event_of("live").await;
    let refused = command(&mut again, &json!({"type": "invite", "token": token})).await;
    assert_eq!(refused["code"], "not_allowed", "{refused}");
}

// Verified to fail when a message is stored without asking for a membership.
#[tokio::test]
async fn the_log_decides_who_publishes_in_a_private_room() {
    use broadcast_chat::{
        fanout::Applier,
        log::{Action, Draft},
        protocol::{Author, MessageKind, OwnerNumber},
        store::{self, Denial, Outcome},
    };
    let (replica, _store) = store::open(&Storage::Memory, "a test").expect("a store");
    let mut log = Applier::local(replica).expect("a log");
    let draft = |owner| {
        Action::Message(Draft {
            room: "tea".parse().expect("a room"),
            from: Author {
                name: None,
                addr: ([127, 0, 0, 1], 5000).into(),
                owner,
            },
            text: "hi".to_owned().into(),
            id: None,
            follows: None,
            kind: MessageKind::Said,
            to: None,
            mentions: Vec::new(),
            about: None,
        })
    };
    let close = Action::SetAccess {
        room: "tea".parse().expect("a room"),
        private: true,
        by: OwnerNumber(1),
        name: "ana".parse().expect("a name"),
        operator: false,
    };
    assert_eq!(log.apply_action(close).expect("applied"), Outcome::Done);
    let mut outcome = |owner| log.apply_action(draft(owner)).expect("applied");
    let denied = Outcome::Denied(Denial::NotMember);
    assert_eq!(outcome(None), denied);
    assert_eq!(outcome(Some(OwnerNumber(2))), denied);
    assert!(matches!(outcome(Some(OwnerNumber(1))), Outcome::Stored(_)));
}

#[tokio::test]
async fn a_room_becomes_private_only_by_its_speaker() {
    let server = TestServer::start_with(&Storage::Memory, with_operators()).await;
    let mut uma = server.plain("/tea?name=uma").await;
    let answer = uma.text_after("/private").await;
    assert!(
        answer.starts_with("* This needs a name of your own"),
        "{answer}"
    );
    uma.text_after("first").await;
    let mut ana = server.plain("/tea").await;
    ana.text_after("/name ana").await;
    let refused = ana.text_after("/private").await;
    assert!(
        refused.starts_with("* This room has messages of other"),
        "{refused}"
    );
    let refused = ana.text_after("/remove uma").await;
    assert_eq!(refused, "* Nobody owns the name uma.");
    ana.text_after("/join milk").await;
    let told = ana.text_after("/private").await;
    assert_eq!(told, "* milk is private now: /invite lets people in.");
    assert_eq!(
        ana.text_after("/members").await,
        "* 1 here: ana\n  Members of this private room: ana (owner)"
    );
    let told = ana.text_after("/remove ana").await;
    assert!(told.starts_with("* You are its last member"), "{told}");
    // Everybody arrives in the lobby.
    ana.text_after("/join lobby").await;
    let refused = ana.text_after("/private").await;
    assert!(
        refused.starts_with("* Everybody arrives in the lobby"),
        "{refused}"
    );
    // An operator may close a room where others spoke; they have to leave.
    ana.text_after(&format!("/operator {SECRET}")).await;
    ana.text_after("/join tea").await;
    let told = ana.text_after("/private").await;
    assert_eq!(told, "* tea is private now: /invite lets people in.");
    assert_eq!(uma.closed().await.0, 4503);
    let told = ana.text_after("/public").await;
    assert!(told.starts_with("* tea is public now"), "{told}");
    assert_eq!(server.get("/tea", "*/*").await, "uma: first\n");
}

// Verified to fail when the twenty-first room is not denied.
#[tokio::test]
async fn a_name_owns_at_most_twenty_private_rooms() {
    let server = TestServer::start().await;
    let (mut ana, _) = server.owner("ana", "").await;
    ana.event_of("live").await;
    for number in 0..21 {
        let room = format!("room-{number}");
        let close = json!({"type": "access", "room": room, "private": true});
        let expected = if number < 20 { "notice" } else { "refused" };
        assert_eq!(command(&mut ana, &close).await["type"], expected, "{room}");
    }
}

#[tokio::test]
async fn private_rooms_outlive_a_restart_and_end_with_the_name() {
    let folder = tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let server = TestServer::start_with(&storage, with_operators()).await;
    let (mut ana, token) = private_tea(&server).await;
    let owner = command(&mut ana, &json!({"type": "owner", "name": "bob"})).await;
    assert_eq!(owner["text"], "bob is an owner of tea now.", "{owner}");
    server.stop().await;
    assert_sound(folder.path());

    let server = TestServer::start_with(&storage, with_operators()).await;
    let answer = server
        .request(&head("GET", "/tea", &[], "\r\n").into_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let (query, headers) = Caller::Invited.credentials(&token);
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    server.peer(&format!("/tea{query}"), &headers).await;
    let (query, headers) = Caller::RoomOwner.credentials("");
    let json = [
        ("Authorization", &*headers[0].1),
        ("Sec-WebSocket-Protocol", "chat.v1"),
    ];
    let mut ana = server.peer(&format!("/tea{query}"), &json).await;
    ana.event_of("live").await;

    // An operator frees the name; its next owner starts with nothing.
    let mut olga = server.plain("/").await;
    olga.text_after(&format!("/operator {SECRET}")).await;
    let told = olga.text_after("/release ana").await;
    assert!(told.starts_with("* ana is free now"), "{told}");
    assert_eq!(ana.closed().await.0, 4503);
    let (mut next, welcome) = server.owner("ana", "").await;
    assert_eq!(welcome["you"]["name"], "ana");
    next.event_of("live").await;
    let refused = command(&mut next, &json!({"type": "join", "room": "tea"})).await;
    assert_eq!(refused["code"], "not_allowed", "{refused}");
    assert_eq!(
        olga.text_after("/release nobody").await,
        "* Nobody owns the name nobody."
    );
    server.stop().await;
    let [operator, act, target, _] = audit(folder.path()).pop().expect("a record");
    assert_eq!((&*act, &*target), ("release", "ana"), "{operator}");
    assert_sound(folder.path());
}

#[tokio::test]
async fn the_last_owner_leaves_the_room_to_the_oldest_member() {
    let server = TestServer::start().await;
    let (mut ana, _) = private_tea(&server).await;
    ana.say(r#"{"type":"remove","name":"ana"}"#).await;
    assert_eq!(ana.closed().await.0, 4503);
    let (query, headers) = Caller::Member.credentials("");
    let headers = [
        ("Authorization", &*headers[0].1),
        ("Sec-WebSocket-Protocol", "chat.v1"),
    ];
    let mut bob = server.peer(&format!("/tea{query}"), &headers).await;
    bob.event_of("live").await;
    let members = command(&mut bob, &json!({"type": "members"})).await;
    assert_eq!(members["members"], json!([{"name": "bob", "owner": true}]));
    let request = sse_request("/tea", "");
    assert_eq!(status_and_answer(server.addr, &request).await.0, 403);
}
