//! Measures how many messages are indexed in a second. Then it measures a search
//! in a small room and in a large one, beside a million messages of others.
//!
//!     cargo bench --bench search [-- FOLDER]
//!
//! With a folder, the messages are stored once and used again.

// This program prints, and measures real time.
#![allow(clippy::print_stdout, clippy::expect_used, clippy::disallowed_methods)]

use std::{
    env,
    fmt::Write,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use broadcast_chat::{
    fanout::Applier,
    log::Draft,
    protocol::{Author, ConnectionId, MessageKind, Seq, name::RoomName},
    store::{Storage, Store, Words, open},
};
use tempfile::tempdir;

const OTHERS: usize = 1_000_000;
const BATCH: usize = 1000;
const RUNS: usize = 25;

fn main() {
    let kept = env::args().nth(1).filter(|given| !given.starts_with('-'));
    let temporary = tempdir().expect("a folder");
    let folder = kept.map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    fs::create_dir_all(&folder).expect("a folder");
    let (replica, store) = open(&Storage::Folder(folder.clone()), "a bench").expect("a store");
    let mut log = Applier::local(replica).expect("a log");
    if store.head() == Seq::START {
        fill(&mut log);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime").block_on(measure(store));
    let index = fs::metadata(folder.join("search.sqlite")).expect("the index");
    println!("the index has {} MB", index.len() >> 20);
}

fn fill(log: &mut Applier<'_>) {
    let mut random = fastrand::Rng::with_seed(7);
    let begun = Instant::now();
    for batch in 0..OTHERS / BATCH {
        let drafts = (0..BATCH).map(|n| {
            let small = batch % 5 == 0 && n == 0;
            draft(if small { "small" } else { "large" }, &text(&mut random))
        });
        log.apply_messages(ConnectionId(7), drafts).expect("stored");
    }
    println!("stored {OTHERS} messages in {:.0?}", begun.elapsed());
}

fn draft(room: &str, text: &str) -> Draft {
    Draft {
        room: room.parse().expect("a room"),
        from: Author {
            name: None,
            addr: ([127, 0, 0, 1], 5000).into(),
            owner: None,
        },
        text: text.to_owned().into(),
        id: None,
        follows: None,
        kind: MessageKind::Said,
        to: None,
        mentions: Vec::new(),
        about: None,
    }
}

/// Twelve words: half of the texts have `tea`, and half `milk`. The others are
/// of 20,000 words, some more often than others.
fn text(random: &mut fastrand::Rng) -> String {
    let mut text = String::new();
    for common in ["tea", "milk"] {
        if random.bool() {
            text += common;
            text.push(' ');
        }
    }
    for _ in 0..10 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let word = (random.f64().powi(3) * 20_000.0) as u32;
        // Writing to a string cannot fail.
        let _ = write!(text, "w{word} ");
    }
    text
}

/// The processor time of this process.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("a Linux system");
    let fields = stat.rsplit_once(") ").expect("a name").1;
    // Fields 14 and 15, in hundredths of a second (proc_pid_stat(5)).
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: u64 = ticks
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 10)
}

async fn measure(store: Store) {
    let (begun, worked) = (Instant::now(), cpu_time());
    let messages = store.unindexed_count();
    let indexing = tokio::spawn(store.clone().run_indexing());
    while store.unindexed_count() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    #[allow(clippy::cast_precision_loss)]
    let rate = |time: Duration| messages as f64 / time.as_secs_f64().max(0.01);
    let (took, worked) = (begun.elapsed(), cpu_time().saturating_sub(worked));
    println!(
        "indexed {messages} messages in {took:.1?}: {:.0} in a second, {:.0} in a second of one core",
        rate(took),
        rate(worked)
    );
    indexing.abort();
    for (room, typed) in [
        ("small", "tea"),
        ("small", "tea milk"),
        ("small", "w1 w2 w3"),
        ("small", "te"),
        ("large", "tea"),
        ("large", "w1 w2 w3 w4"),
        ("large", "w15000 w16000"),
    ] {
        let room: RoomName = room.parse().expect("a room");
        let words = Words::parse(typed).expect("words");
        let mut times = Vec::new();
        let mut results = 0;
        for _ in 0..RUNS {
            let begun = Instant::now();
            let found = store.search(&room, &words, None, 50, || false).await;
            times.push(begun.elapsed());
            results = found
                .expect("searchable")
                .map_or(0, |found| found.messages.len());
        }
        times.sort_unstable();
        let (median, worst) = (times[RUNS / 2], times[RUNS - 1]);
        println!("{room} {typed:?}: {results} results, median {median:.1?}, worst {worst:.1?}");
    }
}
