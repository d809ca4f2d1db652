//! Power cuts: an unsynced write may then be on the disk, or missing, or there
//! in part.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path};

use broadcast_chat::{
    fanout::History,
    protocol::Seq,
    store::{self, Storage},
};

use super::{
    bare_store::{read, room},
    faulty::{ControlField, Disk, EIO, publish, publish_until_stored},
    random::{Random, cases, seed},
};

const SECTOR: usize = 512;

/// A recorded call: write, sync, truncate or failed sync.
struct DiskCall {
    kind: i64,
    file: u64,
    offset: usize,
    bytes: Vec<u8>,
    /// The record's length up to the end of this entry.
    end: u64,
}

fn entries(record: &[u8]) -> Vec<DiskCall> {
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
        entries.push(DiskCall {
            kind,
            file,
            offset,
            bytes,
            end: at as u64,
        });
    }
    entries
}

/// A file's durable bytes, and the writes that the disk may or may not hold.
#[derive(Clone, Default)]
struct File {
    durable: Vec<u8>,
    /// Writes that are not synced, as indexes of entries.
    pending: Vec<usize>,
    /// Writes before a failed sync. The kernel takes their pages for clean, so
    /// no later sync writes them.
    doubtful: Vec<usize>,
}

fn put(file: &mut Vec<u8>, entry: &DiskCall, kept: impl Fn(usize) -> bool) {
    if entry.kind == 3 {
        file.resize(entry.offset, 0);
        return;
    }
    // Sectors are counted from the start of the file.
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
    /// Takes the next entry of the record into account.
    fn take(&mut self, entries: &[DiskCall], number: usize) {
        let entry = &entries[number];
        match entry.kind {
            2 => {
                for number in std::mem::take(&mut self.pending) {
                    put(&mut self.durable, &entries[number], |_| true);
                    // A synced write over a doubtful one replaces it.
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

    /// The file's bytes after a power cut at this moment.
    fn cut(&self, entries: &[DiskCall], random: &mut Random) -> Vec<u8> {
        let mut file = self.durable.clone();
        let mut old = Vec::new();
        for number in &self.doubtful {
            // A doubtful write is missing as a whole, which is worse than in
            // part: its range keeps the bytes before, or holds zeros.
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

/// The files of a folder by their inode numbers.
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

/// The acknowledged texts, each with the record's length at its receipt.
type Acknowledged = Vec<(u64, String)>;

/// Cuts the power at random moments; asserts that the store then holds every
/// message acknowledged before.
async fn assert_acknowledged_survive(disk: &Disk, acknowledged: &Acknowledged, count: u64) {
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

// Verified to fail with `synchronous=NORMAL`.
#[tokio::test]
async fn a_power_cut_loses_no_acknowledged_message() {
    let disk = Disk::new();
    let server = disk.serve(true).await;
    let mut ana = server.join("/?name=ana").await;
    let mut acknowledged = Acknowledged::new();
    // Enough for a few checkpoints of the WAL.
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
    assert_acknowledged_survive(&disk, &acknowledged, cases(60)).await;
}

// Verified to fail when a start does not write the WAL anew.
#[tokio::test]
async fn a_power_cut_after_a_failed_sync_loses_nothing_acknowledged() {
    let disk = Disk::new();
    let server = disk.serve(true).await;
    let mut ana = server.join("/?name=ana").await;
    let mut acknowledged = Acknowledged::new();
    for n in 0..5 {
        publish(&mut ana, &format!("before {n}"), &format!("a{n}")).await;
        acknowledged.push((length(&disk), format!("before {n}")));
    }
    disk.set(ControlField::Sync, EIO);
    let refused = publish(&mut ana, "in doubt", "b").await;
    assert_eq!(refused["code"], "busy");
    // The next server finds the unsynced write in the page cache, undamaged.
    server.kill().await;
    disk.set(ControlField::Sync, 0);
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
    assert_acknowledged_survive(&disk, &acknowledged, 40).await;
}
