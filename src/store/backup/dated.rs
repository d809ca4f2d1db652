//! Backups in a folder, named after the time.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, tz::TimeZone};

/// The name of a backup made at this moment, in UTC.
pub(super) fn name(folder: &Path, compressed: bool) -> PathBuf {
    let extension = if compressed { "sqlite.gz" } else { "sqlite" };
    folder.join(format!("chat-{}.{extension}", stamp()))
}

/// This moment in UTC, as a part of a file's name. Later moments sort later.
pub(in crate::store) fn stamp() -> String {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    now.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Removes all but the last `keep` backups of the folder that holds the file
/// `newest`, which stays. Other files stay, too.
///
/// # Errors
/// Fails if the folder cannot be read or a file cannot be removed.
pub(super) fn prune(newest: &Path, keep: usize) -> io::Result<()> {
    let Some(folder) = newest.parent() else {
        return Ok(());
    };
    let mut others = Vec::new();
    for found in fs::read_dir(folder)? {
        let path = found?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if path != newest && name.is_some_and(is_dated) {
            others.push(path);
        }
    }
    others.sort_unstable();
    let surplus = (others.len() + 1).saturating_sub(keep.max(1));
    others.iter().take(surplus).try_for_each(fs::remove_file)
}

/// Whether a name is one that [`name`] makes.
fn is_dated(name: &str) -> bool {
    let stamp = name.strip_prefix("chat-").and_then(|rest| {
        rest.strip_suffix(".sqlite.gz")
            .or_else(|| rest.strip_suffix(".sqlite"))
    });
    stamp.is_some_and(|stamp| {
        let is_right = |(at, byte): (usize, u8)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        };
        stamp.len() == 16 && stamp.bytes().enumerate().all(is_right)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_dated_backups_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let dated = [
            "chat-20261128T030000Z.sqlite",
            "chat-20261129T030000Z.sqlite.gz",
            "chat-20261130T030000Z.sqlite",
        ];
        let others = [
            "chat-monday.sqlite",
            "chat-20261128T030000Z.sqlite.gz.unfinished",
            "chat-2026112xT030000Z.sqlite",
            "chat.sqlite",
        ];
        for name in dated.iter().chain(&others) {
            fs::write(at(name), "").expect("written");
        }
        let newest = name(folder.path(), true);
        let newest_name = newest.file_name().and_then(|it| it.to_str());
        assert!(newest_name.is_some_and(is_dated), "{newest:?}");
        fs::write(&newest, "").expect("written");
        prune(&newest, 5).expect("pruned");
        assert!(dated.iter().all(|name| at(name).exists()));
        prune(&newest, 2).expect("pruned");
        let left: Vec<_> = dated.iter().filter(|name| at(name).exists()).collect();
        assert_eq!(left, [&dated[2]]);
        // A clock that was set back does not cost the backup just made.
        prune(&at(dated[2]), 1).expect("pruned");
        assert!(at(dated[2]).exists() && !newest.exists());
        assert!(others.iter().all(|name| at(name).exists()));
    }
}
