use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use broadcast_chat::{
    protocol::ConnectionId,
    store::{self, Storage},
};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use crate::{
    disk::bare_store::{draft, room},
    operators::assert_sound,
    programs::{SERVER, folder, server},
    support::{
        Peer, TestServer, env_number, in_place, open_when_free, soon, status_and_answer, upgraded,
    },
};

/// Runs the server on a data folder with these arguments, and this on standard
/// input.
async fn run(data: &Path, args: &[&str], input: Option<&Path>) -> Output {
    let input = input.map_or(Stdio::null(), |path| {
        fs::File::open(path).expect("a file").into()
    });
    let mut command = Command::new(SERVER);
    command.args(args).arg("--data").arg(data).stdin(input);
    soon("its end", command.kill_on_drop(true).output())
        .await
        .expect("it runs")
}

async fn done(data: &Path, args: &[&str], input: Option<&Path>) -> Vec<u8> {
    let output = run(data, args, input).await;
    assert!(output.status.success(), "{args:?}: {output:?}");
    output.stdout
}

/// Runs a subcommand that must fail; returns its sentence.
async fn refused(data: &Path, args: &[&str]) -> String {
    let output = run(data, args, None).await;
    assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// A data folder with this many messages.
fn filled(data: &Path, messages: u64) {
    const AT_ONCE: u64 = 1000;
    let tea = room("tea");
    let mut log = in_place(&Storage::Folder(data.to_owned()));
    for first in (1..=messages).step_by(1000) {
        let numbers = first..=messages.min(first + AT_ONCE - 1);
        let drafts = numbers.map(|n| draft(&tea, &format!("message {n} about tea"), None));
        log.apply_messages(ConnectionId::SERVER, drafts)
            .expect("stored");
    }
}

/// All lines of the room `tea` in a data folder.
async fn lines(data: &Path) -> Vec<String> {
    let server = TestServer::start_in(data).await;
    let page = server.page("/tea?limit=200").await;
    server.stop().await;
    drop(open_when_free(&Storage::Folder(data.to_owned())).await);
    let messages = page["messages"].as_array().expect("messages").clone();
    let text = |message: &serde_json::Value| message["text"].as_str().expect("a text").to_owned();
    messages.iter().map(text).collect()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The files of a folder, with their bytes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let found = fs::read_dir(folder).expect("a folder");
    let mut files: Vec<_> = found
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file() && !path.ends_with("lock"))
        .map(|path| (path.clone(), fs::read(path).expect("readable")))
        .collect();
    files.sort_unstable();
    files
}

// Verified to fail when the stream is not compressed, and when the files before
// it are not kept.
#[tokio::test]
async fn backups_stream_compress_and_restore() {
    let folder = folder();
    let [data, other] = ["data", "other"].map(|name| folder.path().join(name));
    filled(&data, 50);
    let [plain, small] = ["plain", "small"].map(|name| folder.path().join(name));
    fs::write(&plain, done(&data, &["backup", "-"], None).await).expect("written");
    let compressed = done(&data, &["backup", "-", "--compress"], None).await;
    fs::write(&small, &compressed).expect("written");
    let (plain_bytes, small_bytes) = (
        fs::read(&plain).expect("readable"),
        fs::read(&small).expect("readable"),
    );
    assert!(plain_bytes.starts_with(b"SQLite format 3\0"));
    assert!(small_bytes.len() < plain_bytes.len() / 3);
    let gunzip = Command::new("gzip").arg("-dc").arg(&small).output().await;
    let unpacked = gunzip.expect("gzip is there").stdout;
    assert!(unpacked.starts_with(b"SQLite format 3\0"));

    // Into a new folder, and from standard input over another history.
    let told = done(&other, &["restore", path(&plain)], None).await;
    let told = String::from_utf8(told).expect("UTF-8");
    assert!(told.contains("is sound: 50 messages"), "{told}");
    let before = lines(&other).await;
    assert_eq!(before.len(), 50);
    let first_epoch = epoch(&other);
    let told = done(&other, &["restore", "-"], Some(&small)).await;
    let told = String::from_utf8(told).expect("UTF-8");
    assert!(told.contains("is kept in"), "{told}");
    assert_eq!(lines(&other).await, before);
    assert_ne!(epoch(&other), first_epoch, "another log");
    assert_sound(&other);
    let aside = fs::read_dir(&other)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.is_dir())
        .expect("the history before it");
    assert_sound(&aside);
    assert_eq!(epoch(&aside), first_epoch);
    let left = fs::read_dir(&data).expect("a folder").map(|entry| {
        let name = entry.expect("an entry").file_name();
        name.into_string().expect("UTF-8")
    });
    let unfinished: Vec<_> = left.filter(|name| name.contains("unfinished")).collect();
    assert_eq!(unfinished, [""; 0]);
}

fn epoch(data: &Path) -> String {
    let db = rusqlite::Connection::open(data.join("chat.sqlite")).expect("the store");
    db.query_row("SELECT epoch FROM state", [], |row| row.get(0))
        .expect("a row")
}

// Verified to fail when the check of the backup is left out, and without the
// lock on the folder.
#[tokio::test]
async fn a_restore_refuses_what_it_cannot_use() {
    let folder = folder();
    let data = folder.path().join("data");
    filled(&data, 50);
    let good = folder.path().join("good");
    done(&data, &["backup", path(&good), "--compress"], None).await;
    let bytes = fs::read(&good).expect("readable");
    let plain = done(&data, &["backup", "-"], None).await;
    let mut flipped = plain.clone();
    let at = plain
        .windows(9)
        .position(|found| found == b"message 7")
        .expect("a text");
    flipped[at] ^= 1;
    let mut newer = plain.clone();
    // `user_version` (https://sqlite.org/fileformat2.html#the_database_header).
    newer[63] = 99;
    let bad = folder.path().join("bad");
    let before = files(&data);
    for (bytes, told) in [
        (&bytes[..bytes.len() / 2], "no backup that can be restored"),
        (&plain[..plain.len() / 2], "no backup that can be restored"),
        (b"", "no backup that can be restored"),
        (b"hello", "no backup that can be restored"),
        (&flipped, "damaged"),
        (&newer, "format is 99, this program knows"),
    ] {
        fs::write(&bad, bytes).expect("written");
        let said = refused(&data, &["restore", path(&bad)]).await;
        assert!(said.contains(told), "{told}: {said}");
        assert!(files(&data) == before, "{told}: unchanged");
    }
    let missing = folder.path().join("missing");
    let said = refused(&data, &["restore", path(&missing)]).await;
    assert!(said.contains("cannot be read"), "{said}");

    let server = TestServer::start_in(&data).await;
    let said = refused(&data, &["restore", path(&good)]).await;
    assert!(said.contains("is in use by another server"), "{said}");
    assert_eq!(server.page("/tea").await["messages"][0]["seq"], 1);
    server.stop().await;
}

// Verified to fail when nothing is pruned.
#[tokio::test]
async fn only_the_last_backups_of_a_folder_stay() {
    let folder = folder();
    let [data, copies] = ["data", "copies"].map(|name| folder.path().join(name));
    filled(&data, 5);
    let keep = ["backup", path(&copies), "--keep-last", "2"];
    let said = refused(&data, &keep).await;
    assert!(said.contains("create it"), "{said}");
    fs::create_dir(&copies).expect("a folder");
    for name in [
        "chat-20260101T000000Z.sqlite",
        "chat-20260102T000000Z.sqlite",
        "mine",
    ] {
        fs::write(copies.join(name), "").expect("written");
    }
    done(&data, &[&keep[..], &["--compress"]].concat(), None).await;
    let mut left: Vec<_> = files(&copies)
        .into_iter()
        .map(|(path, _)| {
            path.file_name()
                .expect("a name")
                .to_str()
                .expect("UTF-8")
                .to_owned()
        })
        .collect();
    let made = left.remove(1);
    assert_eq!(left, ["chat-20260102T000000Z.sqlite", "mine"]);
    assert!(
        made.starts_with("chat-2") && made.ends_with("Z.sqlite.gz"),
        "{made}"
    );
    let other = folder.path().join("other");
    done(&other, &["restore", path(&copies.join(made))], None).await;
    assert_eq!(lines(&other).await.len(), 5);
    let again = store::check(&other).expect("readable");
    assert_eq!(again.messages, 5);
}

/// The delays of messages said one after the other, sorted, in milliseconds.
struct Delays(Vec<f64>);

impl Delays {
    fn quantile(&mut self, share: f64) -> f64 {
        self.0.sort_unstable_by(f64::total_cmp);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let at = (share * self.0.len() as f64) as usize;
        self.0[at.min(self.0.len() - 1)]
    }

    /// Says a message every 5 ms and waits for its echo, until `over`.
    async fn measure(ana: &mut Peer, over: impl Future) -> Self {
        let mut over = std::pin::pin!(over);
        let mut delays = Vec::new();
        loop {
            let begun = Instant::now();
            ana.text_after("how long does it take?").await;
            delays.push(begun.elapsed().as_secs_f64() * 1000.0);
            tokio::select! {
                _ = &mut over => return Delays(delays),
                () = sleep(Duration::from_millis(5)) => {}
            }
        }
    }
}

/// Prints what a backup costs a chat. `CHAT_BACKUP_MESSAGES` sets the number of
/// messages, `CHAT_BACKUP_SERVER` names another build of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "a measurement: run it alone, on a quiet machine"]
async fn a_backup_of_many_messages_hardly_delays_the_chat() {
    let folder = folder();
    let data = folder.path().join("chat-data");
    let messages = env_number("CHAT_BACKUP_MESSAGES", 300_000);
    filled(&data, messages);
    let (_server, addr) = server(folder.path(), &[]).await;
    let mut ana: Peer = upgraded(addr, "/", &[]).await;
    ana.text().await;
    let mut ratios = Vec::new();
    for round in 0..3 {
        // The server indexes the messages first.
        let asked = "GET /-/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let is_indexed = |text: &str| text.contains("\nchat_unindexed_messages 0\n");
        while !is_indexed(&status_and_answer(addr, asked).await.1) {
            sleep(Duration::from_millis(100)).await;
        }
        let mut quiet = Delays::measure(&mut ana, sleep(Duration::from_secs(10))).await;
        let copy = folder.path().join(format!("copy-{round}"));
        let program = std::env::var("CHAT_BACKUP_SERVER").unwrap_or_else(|_| SERVER.to_owned());
        let mut command = Command::new(program);
        command.arg("backup").arg(&copy).arg("--data").arg(&data);
        let mut copying = command.kill_on_drop(true).spawn().expect("it runs");
        let begun = Instant::now();
        let over = async {
            assert!(copying.wait().await.expect("a child").success());
            let took = begun.elapsed();
            // The pages that it kept in the write-ahead log move now.
            sleep(Duration::from_secs(2)).await;
            println!("copied {messages} messages in {took:.1?}");
        };
        let mut busy = Delays::measure(&mut ana, over).await;
        for share in [0.5, 0.99, 0.999, 1.0] {
            let (quiet, busy) = (quiet.quantile(share), busy.quantile(share));
            println!("{share}: {quiet:.2} ms quiet, {busy:.2} ms meanwhile");
        }
        ratios.push(busy.quantile(0.99) / quiet.quantile(0.99));
    }
    ratios.sort_unstable_by(f64::total_cmp);
    assert!(ratios[1] <= 2.0, "{ratios:?}");
}
