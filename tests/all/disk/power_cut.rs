//! The power goes: what was written and not synced is there, or not, or in part.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path};

use broadcast_chat::{
    fanout::History,
    protocol::Seq,
    store::{self, Storage},
};

use super::{
    bit_flips::{read, room},
    faulty::{Disk, EIO, Fault, publish, publish_until_stored},
    random::{Random, cases, seed},
};

const SECTOR: usize = 512;

/// What the disk was asked for.
struct Entry {
    kind: i64,
    file: u64,
    offset: usize,
    bytes: Vec<u8>,
    /// How long the record is with it.
    end: u64,
}

fn entries(record: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut at = 0;
    while at + 32 <= record.len() {
        let number = |n: usize| {
            let field = &record[at + 8 * n..][..8];
            i64::from_ne_bytes(field.try_into().expect("eight"))
        };
        let (kind, file) = (number(0), number(1).cast_unsigned());
        let size = |n| usize::try_from(number(n)).expect("a size");
        let (offset, length) = (size(2), if kind == 1 { size(3) } else { 0 });
        let bytes = record[at + 32..][..length].to_vec();
        at += 32 + length;
        entries.push(Entry {
            kind,
            file,
            offset,
            bytes,
            end: at as u64,
        });
    }
    entries
}

/// A file as the disk has it, and what it may have beside that.
#[derive(Clone, Default)]
struct File {
    durable: Vec<u8>,
    /// Written, and not synced: an entry's number.
    pending: Vec<usize>,
    /// Written before a sync that failed: the system takes it for clean, and no
    /// later sync writes it.
    doubtful: Vec<usize>,
}

fn put(file: &mut Vec<u8>, entry: &Entry, kept: impl Fn(usize) -> bool) {
    if entry.kind == 3 {
        file.resize(entry.offset, 0);
        return;
    }
    // Sectors of the disk, not of the write.
    let mut from = 0;
    while from < entry.bytes.len() {
        let at = entry.offset + from;
        let to = (from + SECTOR - at % SECTOR).min(entry.bytes.len());
        if kept(at / SECTOR) {
            if file.len() < entry.offset + to {
                file.resize(entry.offset + to, 0);
            }
            file[at..entry.offset + to].copy_from_slice(&entry.bytes[from..to]);
        }
        from = to;
    }
}

impl File {
    /// Puts down an entry for good.
    fn take(&mut self, entries: &[Entry], number: usize) {
        let entry = &entries[number];
        match entry.kind {
            2 => {
                for number in std::mem::take(&mut self.pending) {
                    put(&mut self.durable, &entries[number], |_| true);
                    // Written again, it is not doubtful any more.
                    let again = &entries[number];
                    self.doubtful.retain(|old| {
                        let old = &entries[*old];
                        old.offset < again.offset
                            || old.offset + old.bytes.len() > again.offset + again.bytes.len()
                    });
                }
            }
            4 => self.doubtful.append(&mut self.pending),
            _ => self.pending.push(number),
        }
    }

    /// What the disk has when the power goes now.
    fn cut(&self, entries: &[Entry], random: &mut Random) -> Vec<u8> {
        let mut file = self.durable.clone();
        let mut old = Vec::new();
        for number in &self.doubtful {
            // Nothing of it is worse than some of it: zeros, or what was before.
            let entry = &entries[*number];
            if random.below(2) == 0 {
                old.push((entry.offset, entry.bytes.len()));
            }
        }
        for (offset, length) in old {
            let end = (offset + length).min(file.len());
            if offset < end {
                file[offset..end].fill(0);
            }
        }
        for number in &self.pending {
            let mode = random.below(5);
            let sectors = random.next();
            put(&mut file, &entries[*number], |sector| match mode {
                0 | 1 => true,
                2 | 3 => false,
                _ => sectors >> (sector % 64) & 1 == 1,
            });
        }
        file
    }
}

/// The files of a folder by their numbers.
fn files_of(folder: &Path) -> BTreeMap<u64, String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a name");
            (entry.metadata().expect("a file").ino(), name)
        })
        .filter(|(_, name)| !name.ends_with("-shm"))
        .collect()
}

/// What was acknowledged, and how long the record was when that was seen.
type Acknowledged = Vec<(u64, String)>;

/// Cuts the power at random moments: everything acknowledged is there.
async fn cut(disk: &Disk, acknowledged: &Acknowledged, count: u64) {
    let record = fs::read(disk.record()).expect("a record");
    let files_there = files_of(&disk.data());
    let entries = entries(&record);
    let mut random = Random(seed());
    let mut moments: Vec<usize> = (0..count)
        .map(|_| usize::try_from(random.below(entries.len() as u64)).expect("small"))
        .collect();
    moments.push(entries.len() - 1);
    moments.sort_unstable();
    let mut files: BTreeMap<u64, File> = BTreeMap::new();
    let mut done = 0;
    for moment in moments {
        while done <= moment {
            let file = files.entry(entries[done].file).or_default();
            file.take(&entries, done);
            done += 1;
        }
        let folder = tempfile::tempdir().expect("a folder");
        for (number, file) in &files {
            if let Some(name) = files_there.get(number) {
                let bytes = file.cut(&entries, &mut random);
                fs::write(folder.path().join(name), bytes).expect("a file");
            }
        }
        let named = format!("seed {}, cut after {moment} of {}", seed(), entries.len());
        let storage = Storage::Folder(folder.path().into());
        let opened = store::open(&storage, "a test");
        let (_replica, store) = opened.unwrap_or_else(|why| panic!("{named}: {why}"));
        let history = History::new(store);
        let seen = read(&history, &room("lobby"), Seq::START).await;
        let seen = seen.unwrap_or_else(|why| panic!("{named}: {why}"));
        let due: Vec<_> = acknowledged
            .iter()
            .take_while(|(length, _)| *length <= entries[moment].end)
            .map(|(_, text)| text)
            .collect();
        for (at, text) in due.iter().enumerate() {
            let line = seen.get(at).unwrap_or_else(|| {
                panic!("{named}: {} of {} acknowledged are there", at, due.len())
            });
            let line = line.as_ref().unwrap_or_else(|| panic!("{named}: a gap"));
            assert!(
                line.contains(&format!(r#""text":"{text}""#)),
                "{named}: {line}"
            );
        }
        assert!(seen.iter().all(Option::is_some), "{named}: a gap");
    }
}

fn length(disk: &Disk) -> u64 {
    fs::metadata(disk.record()).expect("a record").len()
}

// Broken to see it fail: `synchronous=NORMAL`.
#[tokio::test]
async fn a_power_cut_takes_nothing_acknowledged() {
    let disk = Disk::new();
    let server = disk.serve(true).await;
    let mut ana = server.join("/?name=ana").await;
    let mut acknowledged = Acknowledged::new();
    // Enough that the log is written into the database a few times.
    for n in 0..500_u64 {
        let text = format!(
            "{n} {}",
            "x".repeat(usize::try_from(n % 7).expect("small") * 1000)
        );
        let event = publish(&mut ana, &text, &n.to_string()).await;
        assert_eq!(event["seq"], n + 1);
        acknowledged.push((length(&disk), text));
    }
    server.kill().await;
    cut(&disk, &acknowledged, cases(60)).await;
}

// Broken to see it fail: the WAL not written anew at a start.
#[tokio::test]
async fn nothing_is_built_on_what_a_failed_sync_left() {
    let disk = Disk::new();
    let server = disk.serve(true).await;
    let mut ana = server.join("/?name=ana").await;
    let mut acknowledged = Acknowledged::new();
    for n in 0..5 {
        publish(&mut ana, &format!("before {n}"), &format!("a{n}")).await;
        acknowledged.push((length(&disk), format!("before {n}")));
    }
    disk.set(Fault::Sync, EIO);
    let refused = publish(&mut ana, "in doubt", "b").await;
    assert_eq!(refused["code"], "busy");
    // The next server finds it in the system's memory, where it looks well.
    server.kill().await;
    disk.set(Fault::Sync, 0);
    let server = disk.serve(true).await;
    let mut ana = server.join("/?name=ana").await;
    let again = publish_until_stored(&mut ana, "in doubt", "b").await;
    assert_eq!(again["seq"], 6);
    acknowledged.push((length(&disk), "in doubt".into()));
    for n in 0..5 {
        publish(&mut ana, &format!("after {n}"), &format!("c{n}")).await;
        acknowledged.push((length(&disk), format!("after {n}")));
    }
    server.kill().await;
    cut(&disk, &acknowledged, 40).await;
}
