//! Tests of conversations that outlive their connections, with a scripted
//! server and a paused clock.

mod changes;
mod connecting;
mod receipts;
mod resuming;

use tokio::join;

use super::{
    ids::Ids,
    scripted::{Host, ScriptedServer, host},
    *,
};
use crate::protocol::{Event, PublishKind};

/// The values that a client returned, each as a word or two.
struct ReturnedEvents(Vec<String>);

impl ReturnedEvents {
    fn note(&mut self, happened: &ClientEvent) {
        self.0.push(match happened {
            ClientEvent::Event(_, Event::Message(message)) => {
                format!("{} {}", message.seq, &*message.text)
            }
            ClientEvent::Event(frame, _) => kind(frame),
            ClientEvent::Hidden(frame, _) => format!("hidden {}", kind(frame)),
            ClientEvent::ForPrograms(frame) => format!("heard {}", kind(frame)),
            ClientEvent::Refused { id, .. } => format!("{id} refused"),
            ClientEvent::Renewed { id, .. } => format!("{id} renewed"),
            ClientEvent::Missing { after, next } => format!("hole {after}-{next}"),
            ClientEvent::State(ConnectionState::Offline { why, unsent, .. }) => {
                format!("offline with {unsent}: {why}")
            }
            ClientEvent::State(ConnectionState::Connected) => "connected".to_owned(),
            ClientEvent::State(ConnectionState::CatchingUp { at, head }) => {
                format!("at {at} of {head}")
            }
            ClientEvent::State(ConnectionState::CaughtUp) => "caught up".to_owned(),
            ClientEvent::State(ConnectionState::Refusing { unsent, .. }) => {
                format!("held with {unsent}")
            }
            ClientEvent::Ended(end) => format!("ended: {end}"),
        });
    }

    /// The values without those that every conversation has.
    fn without_usual(self) -> Vec<String> {
        let usual = ["welcome", "live", "caught up", "connected"];
        let told = self.0.into_iter();
        told.filter(|word| !usual.contains(&word.as_str()))
            .collect()
    }
}

fn kind(frame: &Frame) -> String {
    let event: serde_json::Value = serde_json::from_str(frame.text()).expect("JSON");
    event["type"].as_str().expect("a type").to_owned()
}

fn publish(number: u64, text: &str) -> Command {
    let ids = Ids::given(&"t".parse().expect("an id"));
    Command::Publish {
        text: text.to_owned(),
        id: ids.of(number).ok(),
        kind: PublishKind::Said,
        about: None,
        follows: None,
    }
}

fn say(texts: &str) -> Vec<Command> {
    let texts = (1..).zip(texts.split_whitespace());
    texts.map(|(number, text)| publish(number, text)).collect()
}

/// Runs a client that sends `commands` against a scripted host, until the
/// conversation ends.
async fn converse_with(
    host: Host,
    connecting: impl Future<Output = Result<Client, ConnectError>>,
    commands: Vec<Command>,
    script: impl AsyncFnOnce(&mut Host),
) -> ReturnedEvents {
    let mut host = host;
    let mut told = ReturnedEvents(Vec::new());
    let client = async {
        let mut client = connecting.await.expect("a welcome");
        for command in commands {
            client.send(command);
        }
        loop {
            let happened = client.next().await;
            told.note(&happened);
            if let ClientEvent::Event(_, Event::Message(_)) = happened
                && let Some(position) = client.position().cloned()
            {
                client.remember(&position);
            }
            if let ClientEvent::Ended(_) = happened {
                break;
            }
        }
        client.close().await;
    };
    join!(client, script(&mut host));
    told
}

async fn converse(commands: Vec<Command>, script: impl AsyncFnOnce(&mut Host)) -> ReturnedEvents {
    let (host, connecting) = host(64 * 1024, "", Outbox::in_memory(), true);
    converse_with(host, connecting, commands, script).await
}

/// Ends a script with a normal close.
async fn done(mut server: ScriptedServer) {
    server.close(1000, "done").await;
}
