//! Tests of changes of name and room between messages.

use serde_json::{Value, json};

use super::{converse, done, say};
use crate::{
    client::scripted,
    protocol::{Command, Start},
};

#[tokio::test(start_paused = true)]
async fn a_refused_question_leaves_a_name_change_pending() {
    let mut commands = vec![
        Command::Members,
        Command::Name {
            name: "bob".parse().expect("a name"),
            secret: None,
        },
    ];
    commands.extend(say("a"));
    converse(commands, async |host| {
        let (mut server, _) = host.welcome(0).await;
        let question = server.hear().await;
        assert_eq!(question["type"], "members");
        assert_eq!(server.hear().await["type"], "name");
        let refused = |reference: &Value| {
            json!({"type": "refused", "code": "rate", "text": "Later.", "ref": reference})
        };
        server.say(refused(&question["ref"])).await;
        // The name change is not answered yet.
        server.hear_nothing().await;
        server.say(refused(&Value::Null)).await;
        server.take(1, "a").await;
        done(server).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_changes_of_room_and_name() {
    let mut commands = say("a b c");
    let join = Command::Join {
        room: "ops".parse().expect("a room"),
        start: Start::default(),
    };
    let name = Command::Name {
        name: "ana".parse().expect("a name"),
        secret: None,
    };
    commands.insert(2, join);
    commands.insert(1, name);
    commands.insert(1, Command::Members);
    converse(commands, async |host| {
        let (mut server, _) = host.welcome(0).await;
        server.hear_publish("a").await;
        assert_eq!(server.hear().await["type"], "members");
        server.hear_nothing().await;
        server.store(1, "a", "t").await;
        assert_eq!(server.hear().await["type"], "name");
        server.hear_nothing().await;
        server.vanish();
        // The name change was not answered, so the client sends it again.
        let (mut server, asked) = host.welcome(1).await;
        assert!(!asked.contains("name="), "{asked}");
        assert_eq!(server.hear().await["type"], "name");
        server.say(json!({"type": "name", "name": "ana"})).await;
        server.hear_publish("b").await;
        server.vanish();
        let (mut server, asked) = host.welcome(1).await;
        assert!(asked.contains("name=ana"), "{asked}");
        server.take(2, "b").await;
        assert_eq!(server.hear().await["type"], "join");
        server.hear_nothing().await;
        let mut welcome = scripted::welcome(9);
        welcome["room"] = json!("ops");
        server.say(welcome).await;
        server.hear_publish("c").await;
        server.vanish();
        let (mut server, asked) = host.accept().await;
        assert_eq!(asked, "/ops?name=ana&after=9&epoch=e");
        let mut welcome = scripted::welcome(9);
        welcome["room"] = json!("ops");
        server.say(welcome).await;
        // The client waits for the reason why it did not get the name. The
        // first reason is temporary, so it connects again.
        server.hear_nothing().await;
        let busy = json!({"type": "refused", "code": "busy", "text": "no", "retry_ms": 50});
        server.say(busy).await;
        let (mut server, asked) = host.accept().await;
        assert_eq!(asked, "/ops?name=ana&after=9&epoch=e");
        let mut welcome = scripted::welcome(9);
        welcome["room"] = json!("ops");
        server.say(welcome.clone()).await;
        let taken = json!({"type": "refused", "code": "name_taken", "text": "no"});
        server.say(taken).await;
        // It sent the message under that name, so it waits for the name.
        let (mut server, asked) = host.accept().await;
        assert_eq!(asked, "/ops?name=ana&after=9&epoch=e");
        welcome["you"]["name"] = json!("ana");
        server.say(welcome).await;
        server.hear_publish("c").await;
        done(server).await;
    })
    .await;
}
