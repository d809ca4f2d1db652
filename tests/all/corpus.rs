//! Replays the fuzz targets' corpora: each file as it stands, and with small
//! random changes.

use std::{fs, path::Path};

use fastrand::Rng;

use crate::properties;

/// How often each file is changed.
const CHANGES: usize = 20;

#[test]
fn the_corpora_keep_every_property() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, holds) in properties::ALL {
        let folder = fs::read_dir(corpora.join(name)).expect(name);
        let mut paths: Vec<_> = folder.map(|entry| entry.expect("a file").path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "{name} has a corpus");
        let files: Vec<Vec<u8>> = paths
            .iter()
            .map(|path| fs::read(path).expect("a file"))
            .collect();
        let mut rng = Rng::with_seed(7);
        for (path, file) in paths.iter().zip(&files) {
            println!("{}", path.display());
            holds(file);
            for _ in 0..CHANGES {
                let other = &files[rng.usize(..files.len())];
                holds(&changed(&mut rng, file.clone(), other));
            }
        }
    }
}

/// Cuts the bytes, inserts a byte, flips a bit, or joins the bytes with another
/// file.
fn changed(rng: &mut Rng, mut bytes: Vec<u8>, other: &[u8]) -> Vec<u8> {
    let at = rng.usize(..=bytes.len());
    match rng.u8(..4) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, rng.u8(..)),
        2 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
        _ => {
            bytes.truncate(at);
            bytes.extend(&other[rng.usize(..=other.len())..]);
        }
    }
    bytes
}
