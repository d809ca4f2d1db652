//! Copies of the store as streams, compressed or not.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, Write},
};

use flate2::{Compression, bufread::GzDecoder, write::GzEncoder};

use super::pace::{CopyPace, PacedStream};

/// How many bytes are read at a time.
const CHUNK: usize = 1 << 18;

/// The first bytes of a file that gzip made (RFC 1952 §2.3.1).
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Whether a file that begins with these bytes is compressed.
fn is_compressed(start: &[u8]) -> bool {
    start.starts_with(&MAGIC)
}

/// Writes a file to a stream, compressed or as it is.
///
/// # Errors
/// Fails if the file cannot be read or the stream not be written.
pub(super) fn write(
    mut file: &File,
    to: impl Write,
    compressed: bool,
    pace: &mut CopyPace,
) -> io::Result<()> {
    file.rewind()?;
    let mut to = PacedStream::new(to, pace);
    if compressed {
        let mut to = GzEncoder::new(to, Compression::default());
        pump(file, &mut to)?;
        to.finish()?.flush()
    } else {
        pump(file, &mut to)?;
        to.flush()
    }
}

fn pump(mut file: &File, to: &mut impl Write) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&chunk[..read])?;
    }
}

/// Reads a backup, compressed or not, into a file.
///
/// # Errors
/// Fails if the stream is cut short or cannot be read, or if the file cannot be
/// written.
pub(in crate::store) fn read(from: impl Read, mut to: &File) -> io::Result<()> {
    let mut from = BufReader::with_capacity(CHUNK, from);
    if is_compressed(from.fill_buf()?) {
        io::copy(&mut GzDecoder::new(from), &mut to)?;
    } else {
        io::copy(&mut from, &mut to)?;
    }
    to.sync_all()
}
