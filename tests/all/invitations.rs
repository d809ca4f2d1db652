//! Invitations: a token admits a name once, and proves nothing afterwards.

use std::{net::SocketAddr, path::Path};

use broadcast_chat::{
    client::{
        Client, ClientEvent, ClientOptions, Keyring, Outbox,
        address::{AddressOptions, Target},
    },
    protocol::{Command as ChatCommand, Event},
    store::Storage,
};
use rustix::process::Signal;
use serde_json::json;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    operators::{SECRET, with_operators},
    programs::{CLIENT, Program, folder, server},
    support::{Peer, TestServer, soon, sse_request, status_and_answer, upgrade, upgraded},
};

fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

fn post(target: &str, headers: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n{headers}\r\nhi")
}

fn bearer(name: &str) -> String {
    format!("Authorization: Bearer the-secret-of-{name}\r\n")
}

/// The room and the token of an invitation's URL.
fn parts(url: &str) -> (String, String) {
    let (room, token) = url.split_once("#invite=").expect(url);
    let (_, room) = room.rsplit_once('/').expect(url);
    (room.to_owned(), token.to_owned())
}

/// An operator in the plain format, in a room.
async fn operator(server: &TestServer, room: &str) -> Peer {
    let mut peer = server.plain(room).await;
    peer.text_after("/name ana the-secret-of-ana").await;
    let proved = peer.text_after(&format!("/operator {SECRET}")).await;
    assert!(proved.starts_with("* You are an operator"), "{proved}");
    peer
}

/// Sends a command; returns its answer.
async fn answer(peer: &mut Peer, command: &str) -> String {
    let mut said = peer.text_after(command).await;
    while !said.starts_with("* ") {
        said = peer.text().await;
    }
    said
}

/// Makes an invitation; returns its token.
async fn invite(peer: &mut Peer, command: &str) -> String {
    let said = answer(peer, command).await;
    let url = said.strip_prefix("* ").expect(&said);
    let (_, token) = parts(url.lines().next().expect("a URL"));
    token
}

// Verified to fail when a spent token admits another name.
#[tokio::test]
async fn a_spent_token_admits_only_the_same_name_again() {
    let server = TestServer::start_with(&Storage::Memory, with_operators()).await;
    let mut ana = operator(&server, "/").await;
    let token = invite(&mut ana, "/invite").await;
    let invited = |name: &str, token: &str| {
        let headers = format!("{}Chat-Invite: {token}\r\n", bearer(name));
        post(&format!("/?name={name}"), &headers)
    };
    let addr = server.addr;
    let (status, body) = status_and_answer(
        addr,
        &post("/?name=bob", &format!("Chat-Invite: {token}\r\n")),
    )
    .await;
    assert_eq!(status, 400, "{body}");
    for _ in 0..2 {
        let (status, body) = status_and_answer(addr, &invited("bob", &token)).await;
        assert_eq!(status, 200, "{body}");
    }
    let (status, body) = status_and_answer(addr, &invited("eve", &token)).await;
    assert_eq!(status, 403);
    assert!(
        body.contains("\r\n\r\nThis invitation or link is not valid"),
        "{body}"
    );
    // Nobody owns a name that was not admitted.
    let unowned = server.plain("/?name=eve").await;
    drop(unowned);
    // The same name with another secret.
    let wrong = format!("Authorization: Bearer not-the-secret-of-bob\r\nChat-Invite: {token}\r\n");
    assert_eq!(
        status_and_answer(addr, &post("/?name=bob", &wrong)).await.0,
        403
    );
    // A browser offers the token as a subprotocol.
    let token = invite(&mut ana, "/invite 2 1h").await;
    let offered = format!("chat.v1, invite.{token}, secret.dGhlLXNlY3JldC1vZi1jeQ");
    let headers = [("Sec-WebSocket-Protocol", &*offered)];
    let mut cy = server.peer("/?name=cy", &headers).await;
    let welcome = cy.event().await;
    assert_eq!(welcome["you"]["name"], "cy");
    // It is taken back.
    let listed = answer(&mut ana, "/invites").await;
    assert_eq!(
        listed,
        "* Open invitations:\n  2: 1 person to lobby in the next 1h, from ana"
    );
    assert_eq!(
        answer(&mut ana, "/uninvite 2").await,
        "* Invitation 2 is taken back."
    );
    assert_eq!(
        status_and_answer(addr, &invited("dora", &token)).await.0,
        403
    );
    assert_eq!(
        answer(&mut ana, "/invites").await,
        "* No invitation is open."
    );
}

// Verified to fail when wrong tokens are not counted.
#[tokio::test]
async fn ten_wrong_tokens_a_minute_are_enough() {
    let server = TestServer::start_with(&Storage::Memory, with_operators()).await;
    let mut ana = operator(&server, "/").await;
    let token = invite(&mut ana, "/invite 5").await;
    let guess = |number: u32, token: &str| {
        let headers = [
            ("Chat-Invite", token),
            ("Authorization", "Bearer the-secret-of-bob"),
        ];
        upgrade(server.addr, &format!("/?name=bob{number}"), &headers)
    };
    for number in 0..10 {
        // Also a text that is no token at all.
        let wrong = format!("wrong-wrong-wrong-w-{number}");
        let (status, body) = status_and_answer(server.addr, &guess(number, &wrong)).await;
        assert_eq!(status, 403, "{body}");
    }
    let (status, body) = status_and_answer(server.addr, &guess(10, &token)).await;
    assert_eq!(status, 429, "{body}");
    assert!(body.contains("\r\n\r\nToo many wrong secrets"), "{body}");
    // Members are not affected.
    assert_eq!(ana.text_after("hi").await, "ana: hi");
}

#[tokio::test]
async fn an_invitation_has_its_limits() {
    let server = TestServer::start_with(&Storage::Memory, with_operators()).await;
    let (mut cy, _) = server.owner("cy", "").await;
    cy.event_of("live").await;
    let refused = cy.event_after(&json!({"type": "invite"})).await;
    assert_eq!(refused["code"], "not_allowed", "{refused}");
    let refused = cy.event_after(&json!({"type": "invites"})).await;
    assert_eq!(refused["code"], "not_allowed", "{refused}");
    let mut ana = operator(&server, "/").await;
    for (typed, answer) in [
        ("/invite 1001", "* An invitation is for 1 to 1000 people."),
        ("/invite 0", "* An invitation is for 1 to 1000 people."),
        (
            "/invite 91d",
            "* An invitation is valid for at most 90 days (90d).",
        ),
    ] {
        assert_eq!(ana.text_after(typed).await, answer);
    }
    for _ in 0..100 {
        invite(&mut ana, "/invite 1000 90d").await;
    }
    let refused = answer(&mut ana, "/invite").await;
    assert!(
        refused.starts_with("* This room has the most open"),
        "{refused}"
    );
}

/// Starts a server by invitation; returns it, its address, and the token that
/// it printed.
async fn by_invitation(data: &Path) -> (Program, SocketAddr, String) {
    let (mut server, addr) = server(data, &["--access", "invite"]).await;
    loop {
        let line = server.line().await;
        if line.contains("#invite=") {
            let (room, token) = parts(&line);
            assert_eq!(room, "lobby", "{line}");
            return (server, addr, token);
        }
    }
}

// Verified to fail when a name need not be admitted.
#[tokio::test]
async fn only_admitted_names_take_part_by_invitation() {
    let folder = folder();
    let (mut running, addr, token) = by_invitation(folder.path()).await;
    let closed = [
        get("/", "Accept: application/json\r\n"),
        get("/tea?limit=3", "Accept: text/plain\r\n"),
        get("/?name=eve", &format!("Accept: */*\r\n{}", bearer("eve"))),
        sse_request("/", ""),
        post("/", ""),
        post("/?name=eve", &bearer("eve")),
        get("/-/openapi.json", ""),
        get("/-/nothing", ""),
        upgrade(addr, "/", &[]),
        upgrade(addr, "/?name=eve", &[("Sec-WebSocket-Protocol", "chat.v1")]),
        upgrade(
            addr,
            "/?name=eve",
            &[("Authorization", "Bearer the-secret-of-eve")],
        ),
    ];
    for request in &closed {
        let (status, body) = status_and_answer(addr, request).await;
        assert_eq!(status, 401, "{request}{body}");
        assert!(
            body.contains("\r\n\r\nThis chat is by invitation"),
            "{body}"
        );
    }
    for target in ["/-/health", "/-/ready", "/-/metrics", "/-/help"] {
        assert_eq!(
            status_and_answer(addr, &get(target, "")).await.0,
            200,
            "{target}"
        );
    }
    let (status, page) = status_and_answer(addr, &get("/", "Accept: text/html\r\n")).await;
    assert_eq!(status, 200);
    let asset = page.split('"').find(|part| part.starts_with("/-/assets/"));
    let asset = asset.expect("an asset").to_owned();
    assert_eq!(status_and_answer(addr, &get(&asset, "")).await.0, 200);

    // The first user is an operator, without a secret.
    let headers = [
        ("Authorization", "Bearer the-secret-of-ana"),
        ("Chat-Invite", &*token),
    ];
    let mut ana: Peer = upgraded(addr, "/?name=ana", &headers).await;
    ana.text().await;
    let listed = answer(&mut ana, "/bans").await;
    assert_eq!(listed, "* No ban or mute is in force.");
    let eve = [("Authorization", "Bearer the-secret-of-eve"), headers[1]];
    let (status, _) = status_and_answer(addr, &upgrade(addr, "/?name=eve", &eve)).await;
    assert_eq!(status, 403, "it works once");
    ana.text_after("hello").await;
    let read = get("/?name=ana", &format!("Accept: */*\r\n{}", bearer("ana")));
    let (status, lines) = status_and_answer(addr, &read).await;
    assert!(status == 200 && lines.contains("ana: hello\n"), "{lines}");
    let events = get(
        "/?name=ana",
        &format!("Accept: text/event-stream\r\n{}", bearer("ana")),
    );
    assert_eq!(status_and_answer(addr, &events).await.0, 200);
    // A name that is not admitted cannot be taken on a connection either.
    let refused = answer(&mut ana, "/name other").await;
    assert!(refused.starts_with("* Here every name needs"), "{refused}");
    let token = invite(&mut ana, "/invite").await;
    let bob = [
        ("Authorization", "Bearer the-secret-of-bob"),
        ("Chat-Invite", &*token),
    ];
    assert_eq!(
        status_and_answer(addr, &upgrade(addr, "/?name=bob", &bob))
            .await
            .0,
        101
    );
    assert_eq!(
        status_and_answer(addr, &post("/?name=bob", &bearer("bob")))
            .await
            .0,
        200
    );
    running.signal(Signal::TERM);
    assert_eq!(running.exit().await, 0);

    // The next start knows them, and invites nobody.
    let (mut running, addr) = server(folder.path(), &["--access", "invite"]).await;
    assert_eq!(
        status_and_answer(addr, &post("/?name=bob", &bearer("bob")))
            .await
            .0,
        200
    );
    running.signal(Signal::TERM);
    let said = running.lines().await.join("\n");
    assert!(!said.contains("#invite="), "{said}");
}

// Verified to fail when the client does not send the token, and when it does not
// try again without it.
#[tokio::test]
async fn the_client_enters_by_an_invitation_and_comes_back() {
    let folder = folder();
    let (_running, addr, token) = by_invitation(folder.path()).await;
    let state = crate::programs::folder();
    let client = async |url: &str, args: &[&str]| {
        let mut command = Command::new(CLIENT);
        command
            .env("XDG_STATE_HOME", state.path())
            .arg(url)
            .args(args);
        let mut client = Program::start(&mut command);
        // A client that is refused does not read it.
        let mut input = client.input.take().expect("piped");
        let _ = input.write_all(b"hi\n").await;
        drop(input);
        let said = client.stderr_lines().await.join("\n");
        (client.exit().await, said)
    };
    let room = format!("http://{addr}/lobby");
    let url = format!("{room}#invite={token}");
    let (code, said) = client(&url, &[]).await;
    assert_eq!(code, 2);
    assert!(said.contains("choose yours with --name NAME"), "{said}");
    let (code, said) = client(&room, &["--name", "ana"]).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("answers HTTP 401: it is by invitation"),
        "{said}"
    );
    for address in [&url, &url, &room] {
        let (code, said) = client(address, &["--name", "ana"]).await;
        assert_eq!(code, 0, "{address}: {said}");
    }
    let (code, said) = client(&url, &["--name", "eve"]).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("answers HTTP 403: it is a private room"),
        "{said}"
    );
    // A name that is admitted needs the invitation no more.
    let secrets = std::fs::read_dir(state.path().join("broadcast-chat")).expect("a folder");
    let texts = secrets.filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok());
    let kept = texts
        .into_iter()
        .find(|text| text.contains("secret of ana"));
    let kept = kept.expect("a secret");
    let bearer = format!("Bearer {}", kept.lines().next().expect("a secret"));
    let mut ana: Peer = upgraded(addr, "/tea?name=ana", &[("Authorization", &bearer)]).await;
    ana.text().await;
    let told = ana.text_after("/uninvite 1").await;
    assert_eq!(told, "* Invitation 1 is taken back.");
    let (code, said) = client(&url, &["--name", "ana"]).await;
    assert_eq!(code, 0, "{said}");
}

/// A client of the library with secrets in a folder.
async fn library_client(address: &str, name: Option<&str>, secrets: &Path) -> Client {
    let wanted = AddressOptions {
        address: Some(address.to_owned()),
        name: name.map(|name| name.parse().expect("a name")),
        ..AddressOptions::default()
    };
    let options = ClientOptions {
        reconnect: false,
        seed: 7,
        outbox: Outbox::in_memory(),
        keyring: Keyring::in_folder(Some(secrets.to_owned())),
    };
    let target = Target::new(&wanted).expect("an address");
    Client::connect(&target, options).await.expect("connected")
}

/// Reads up to an event that `found` accepts.
async fn event_of<T>(client: &mut Client, found: impl Fn(Event) -> Option<T>) -> T {
    loop {
        let next = soon("an event", client.next()).await;
        if let ClientEvent::Event(_, event) = next
            && let Some(found) = found(event)
        {
            return found;
        }
    }
}

// Verified to fail when the client does not send the token.
#[tokio::test]
async fn a_link_makes_another_device_the_same_person() {
    let server = TestServer::start().await;
    let (here, there) = (folder(), folder());
    let address = format!("http://{}/tea", server.addr);
    let mut ana = library_client(&address, Some("ana"), here.path()).await;
    ana.send(ChatCommand::Name {
        name: "--show".parse().expect("a name"),
        secret: None,
    });
    let notice = |event| match event {
        Event::Notice { text } => Some(text),
        _ => None,
    };
    let shown = event_of(&mut ana, notice).await;
    assert!(
        shown.starts_with("In another program: /name ana random128_"),
        "{shown}"
    );
    ana.send(ChatCommand::Link { secret: None });
    let link = event_of(&mut ana, |event| match event {
        Event::Link(link) => Some(link),
        _ => None,
    });
    let link = link.await;
    assert_eq!(link.duration.to_string(), "10m");
    assert!(
        link.qr.len() > 20 && link.url.starts_with(&address),
        "{link:?}"
    );
    let mut other = library_client(&link.url, None, there.path()).await;
    let name = event_of(&mut other, |event| match event {
        Event::Name { name, .. } => Some(name),
        _ => None,
    });
    assert_eq!(name.await.as_str(), "ana");
    drop((ana, other));
    // The other device keeps the name.
    let again = library_client(&address, Some("ana"), there.path()).await;
    let you = again.welcome().you.name.as_ref().expect("a name");
    assert_eq!(you.as_str(), "ana");

    // It works once, and needs the right secret.
    let (_, token) = link.url.split_once("#link=").expect("a token");
    let headers = [("Chat-Link", token)];
    let (status, body) =
        status_and_answer(server.addr, &upgrade(server.addr, "/tea", &headers)).await;
    assert_eq!(status, 403, "{body}");
    let (mut bob, _) = server.owner("bob", "").await;
    bob.event_of("live").await;
    let wrong = json!({"type": "link", "secret": "not-the-secret-of-bob"});
    assert_eq!(bob.event_after(&wrong).await["code"], "name_taken");
    let refused = bob.event_after(&json!({"type": "link"})).await;
    assert_eq!(refused["code"], "bad_field", "{refused}");
}
