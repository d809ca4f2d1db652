//! The messages in the store, compared with those that were sent.

use std::{collections::BTreeMap, path::Path};

/// The messages of the room: number and text.
pub(super) type Messages = Vec<(u64, String)>;

pub(super) fn stored_messages(folder: &Path) -> Messages {
    let db = rusqlite::Connection::open(folder.join("chat-data/chat.sqlite")).expect("the store");
    let mut query = db
        .prepare("SELECT seq, text FROM messages ORDER BY seq")
        .expect("a query");
    let rows = query.query_map([], |row| {
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?))
    });
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

/// Counts the messages whose time differs from the time of the message before
/// by more than half an hour: forwards, and back.
pub(super) fn jumps(folder: &Path) -> [i64; 2] {
    let db = rusqlite::Connection::open(folder.join("chat-data/chat.sqlite")).expect("the store");
    let jumps = "WITH steps (step) AS (SELECT at - lag(at) OVER (ORDER BY seq) FROM messages)
         SELECT count(*) FILTER (WHERE step > 1800000),
                count(*) FILTER (WHERE step < -1800000) FROM steps";
    let counts = db.query_row(jumps, [], |row| Ok([row.get(0)?, row.get(1)?]));
    counts.expect("counts")
}

/// What became of the messages that were sent.
pub(super) struct Account {
    sent: u64,
    stored: usize,
    lost: u64,
    duplicated: usize,
    reordered: usize,
}

impl Account {
    pub(super) fn of(said: &BTreeMap<String, u64>, messages: &Messages) -> Self {
        let mut account = Account {
            sent: said.values().sum(),
            stored: messages.len(),
            lost: 0,
            duplicated: 0,
            reordered: 0,
        };
        let mut numbers = BTreeMap::<&str, Vec<u64>>::new();
        for (_, text) in messages {
            let (name, number) = text.split_once(' ').expect("a line of somebody");
            let number = number.parse().expect("a number");
            numbers.entry(name).or_default().push(number);
        }
        for (name, said) in said {
            let mut stored = numbers.remove(name.as_str()).unwrap_or_default();
            account.reordered += stored.windows(2).filter(|pair| pair[0] > pair[1]).count();
            let all = stored.len();
            stored.sort_unstable();
            stored.dedup();
            account.duplicated += all - stored.len();
            account.lost += (1..=*said)
                .filter(|n| stored.binary_search(n).is_err())
                .count() as u64;
        }
        account
    }

    pub(super) fn is_good(&self) -> bool {
        self.sent == self.stored as u64 && self.lost == 0 && self.duplicated + self.reordered == 0
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "sent {}, stored {}, lost {}, duplicated {}, reordered {}",
            self.sent, self.stored, self.lost, self.duplicated, self.reordered
        )
    }
}
