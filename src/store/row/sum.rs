//! The checksum of a row.

use crc32fast::Hasher;
use rusqlite::types::ValueRef;

/// How many bytes of fields are hashed together: a row of a short message.
const GATHERED: usize = 256;

/// Computes the checksum of a row's fields. Each field is hashed with its type,
/// and a text or blob with its length, so that no field runs into the next.
pub(super) struct Sum {
    hasher: Hasher,
    /// Collects small fields: the hasher is faster on one longer piece.
    gathered: [u8; GATHERED],
    length: usize,
}

impl Default for Sum {
    fn default() -> Self {
        Sum {
            hasher: Hasher::new(),
            gathered: [0; GATHERED],
            length: 0,
        }
    }
}

impl Sum {
    #[inline]
    pub(super) fn add(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Null => self.bytes(&[0]),
            ValueRef::Integer(number) => self.head(1, number.to_le_bytes()),
            // No table has real numbers: the damaged type does not match.
            ValueRef::Real(_) => self.bytes(&[2]),
            ValueRef::Text(text) => self.counted(3, text),
            ValueRef::Blob(blob) => self.counted(4, blob),
        }
    }

    #[inline]
    fn counted(&mut self, kind: u8, bytes: &[u8]) {
        self.head(kind, (bytes.len() as u64).to_le_bytes());
        self.bytes(bytes);
    }

    /// The type of a field, and its number or length.
    #[inline]
    fn head(&mut self, kind: u8, number: [u8; 8]) {
        let mut head = [kind; 9];
        head[1..].copy_from_slice(&number);
        self.bytes(&head);
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        if self.length + bytes.len() > self.gathered.len() {
            self.hasher.update(&self.gathered[..self.length]);
            self.length = 0;
        }
        if bytes.len() > self.gathered.len() {
            self.hasher.update(bytes);
        } else {
            self.gathered[self.length..self.length + bytes.len()].copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }

    /// The checksum. As a signed number it takes four bytes in the database.
    pub(super) fn finish(mut self) -> i64 {
        self.hasher.update(&self.gathered[..self.length]);
        self.hasher.finalize().cast_signed().into()
    }
}
