//! Ignoring: each reader chooses the names whose words it is not shown.

use broadcast_chat::store::Storage;
use serde_json::json;
use tempfile::tempdir;

use crate::support::{TestServer, options};

fn ignore(name: &str) -> String {
    json!({"type": "ignore", "name": name}).to_string()
}

// Verified to fail when the outlet writes all messages.
#[tokio::test]
async fn a_plain_reader_is_not_shown_ignored_words() {
    let server = TestServer::start().await;
    let mut bob = server.plain("/?name=bob").await;
    let mut carl = server.plain("/?name=carl").await;
    assert_eq!(bob.text_after("one").await, "bob: one");
    assert_eq!(carl.text().await, "bob: one");
    assert_eq!(carl.text_after("/ignore").await, "* You ignore nobody.");
    assert_eq!(carl.text_after("/ignore B0b").await, "* You ignore B0b.");
    assert_eq!(bob.text_after("two").await, "bob: two");
    assert_eq!(carl.text_after("three").await, "carl: three");
    assert_eq!(carl.text_after("/history").await, "* carl: three");
    let own = carl.text_after("/ignore CARL").await;
    assert_eq!(own, "* You cannot ignore yourself.");
    assert_eq!(
        carl.text_after("/unignore bob").await,
        "* You ignore nobody."
    );
    assert_eq!(bob.text_after("four").await, "carl: three");
    assert_eq!(bob.text().await, "bob: four");
    assert_eq!(carl.text().await, "bob: four");
    // The list of a connection without an owned name ends with it.
    carl.text_after("/ignore bob").await;
    drop(carl);
    let mut again = server.plain("/?backlog=9").await;
    assert_eq!(again.text().await, "bob: one");
}

// Verified to fail when the welcome lacks the list.
#[tokio::test]
async fn an_owner_ignores_a_name_on_every_connection() {
    let folder = tempdir().expect("a folder");
    let storage = Storage::Folder(folder.path().to_owned());
    let server = TestServer::start_with(&storage, options()).await;
    let (mut guest, _) = server.json("/").await;
    guest.event_of("live").await;
    // A list from before the name is taken stays.
    guest.say(&ignore("dora")).await;
    assert_eq!(guest.event().await["names"], json!(["dora"]));
    let claim = json!({"type": "name", "name": "ana", "secret": "the-secret-of-ana"});
    guest.say(&claim.to_string()).await;
    guest.event_of("name").await;
    guest.say(&ignore("Bob")).await;
    assert_eq!(guest.event().await["names"], json!(["Bob", "dora"]));
    drop(guest);
    server.stop().await;

    let server = TestServer::start_with(&storage, options()).await;
    let (mut ana, welcome) = server.owner("ana", "").await;
    assert_eq!(welcome["ignored"], json!(["Bob", "dora"]));
    ana.event_of("live").await;
    // The numbers prove that a JSON client missed no message.
    let (mut bob, _) = server.owner("bob", "").await;
    bob.event_of("live").await;
    bob.say(r#"{"type":"publish","text":"hello"}"#).await;
    let heard = ana.event_of("message").await;
    assert_eq!((&heard["seq"], &heard["prev"]), (&json!(1), &json!(0)));
    let unignore = r#"{"type":"unignore","name":"b0b","ref":"r"}"#;
    ana.say(unignore).await;
    let answer = ana.event_of("ignored").await;
    assert_eq!(
        answer,
        json!({"type": "ignored", "names": ["dora"], "ref": "r"})
    );
    let (_, welcome) = server.owner("ana", "").await;
    assert_eq!(welcome["ignored"], json!(["dora"]));
    let report = broadcast_chat::store::check(folder.path()).expect("readable");
    assert_eq!(report.faults.len(), 0, "{:?}", report.faults);
}

// Verified to fail when the recipient's copy is stored.
#[tokio::test]
async fn a_private_message_of_an_ignored_name_is_not_delivered() {
    let server = TestServer::start().await;
    let (mut ana, _) = server.owner("ana", "").await;
    let (mut bob, _) = server.owner("bob", "").await;
    for peer in [&mut ana, &mut bob] {
        peer.event_of("live").await;
    }
    ana.say(&ignore("bob")).await;
    ana.event_of("ignored").await;
    let private = |text: &str| json!({"type": "private", "to": "ana", "text": text}).to_string();
    bob.say(&private("unheard")).await;
    // Bob is not told.
    assert_eq!(bob.event_of("private").await["text"], "unheard");
    ana.say(r#"{"type":"unignore","name":"bob"}"#).await;
    ana.event_of("ignored").await;
    bob.say(&private("heard")).await;
    assert_eq!(ana.event_of("private").await["text"], "heard");
    let (mut again, _) = server.owner("ana", "&inbox=0").await;
    let replayed = again.event_of("private").await;
    assert_eq!(
        (&replayed["text"], &replayed["prev"]),
        (&json!("heard"), &json!(0))
    );
}

#[tokio::test]
async fn a_list_of_ignored_names_is_bounded() {
    let server = TestServer::start().await;
    let (mut guest, _) = server.json("/").await;
    let (mut ana, _) = server.owner("ana", "").await;
    for peer in [&mut guest, &mut ana] {
        peer.event_of("live").await;
        for n in 1..=200 {
            peer.say(&ignore(&format!("n-{n}"))).await;
            let names = peer.event_of("ignored").await["names"].clone();
            assert_eq!(names.as_array().map(Vec::len), Some(n));
        }
        peer.say(&ignore("another")).await;
        assert_eq!(peer.event_of("refused").await["code"], "not_allowed");
        peer.say(&ignore("N-7")).await;
        peer.event_of("ignored").await;
    }
}
