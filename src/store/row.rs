//! Rows as they are stored, each with a checksum over all its fields.
//!
//! A row that does not match its checksum is never shown. CRC-32 finds every
//! single flipped bit, and all damage within 32 bits. Other damage passes once
//! in four thousand million rows. A longer checksum would cost every row more
//! and find no more flipped bits.

use crc32fast::Hasher;
use rusqlite::{
    CachedStatement, Connection, OptionalExtension, Params, Row, Statement,
    types::{ToSqlOutput, ValueRef},
};

use super::StoreError;
use crate::protocol::{ConnectionId, Seq};

/// A table: its columns without the checksum, which is the last one, and how an
/// operator is told of a damaged row.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) columns: &'static [&'static str],
    /// `SELECT` of all columns and the checksum, without a condition.
    pub(super) select: &'static str,
    /// Inserts one row, or replaces the row of the same key.
    pub(super) put: &'static str,
    /// Describes a row, for an operator.
    pub(super) describe: fn(&Row<'_>) -> String,
}

/// A row of one table.
pub(super) trait TableRow<'a>: Sized {
    /// The table.
    const TABLE: &'static Table;

    /// The row's fields, without the checksum; `None` for a field of another
    /// type.
    fn fields(row: &'a Row<'_>) -> Option<Self>;

    /// Hands each field to `put`, in the order of the columns.
    fn each(&self, put: impl FnMut(ValueRef<'_>));

    /// The row; `None` if it is damaged.
    fn read(row: &'a Row<'_>) -> Option<Self> {
        let read = Self::fields(row)?;
        let sum = row.get_ref(Self::TABLE.columns.len()).ok()?.as_i64();
        (sum == Ok(read.sum())).then_some(read)
    }

    /// The checksum of its fields.
    fn sum(&self) -> i64 {
        let mut sum = Sum::default();
        self.each(|value| sum.add(value));
        sum.finish()
    }

    /// Binds the fields and the checksum to a statement that may insert several
    /// rows, as the row of this number; the first is 0.
    ///
    /// # Errors
    /// Fails only if the statement has no such parameters.
    fn bind(&self, statement: &mut Statement<'_>, number: usize) -> rusqlite::Result<()> {
        let mut at = number * (Self::TABLE.columns.len() + 1);
        let mut bound = Ok(());
        let mut sum = Sum::default();
        self.each(|value| {
            at += 1;
            sum.add(value);
            if bound.is_ok() {
                bound = statement.raw_bind_parameter(at, ToSqlOutput::Borrowed(value));
            }
        });
        bound?;
        statement.raw_bind_parameter(at + 1, sum.finish())
    }

    /// Stores the row, and replaces one with the same key.
    ///
    /// # Errors
    /// Fails if the database cannot be written.
    fn put(&self, db: &Connection) -> Result<(), StoreError> {
        let mut put = db.prepare_cached(Self::TABLE.put)?;
        self.bind(&mut put, 0)?;
        put.raw_execute()?;
        Ok(())
    }
}

/// The query of a table's rows under a condition.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) fn query<'db>(
    db: &'db Connection,
    table: &Table,
    condition: &str,
) -> Result<CachedStatement<'db>, StoreError> {
    Ok(db.prepare_cached(&format!("{} {condition}", table.select))?)
}

/// The first row under a condition, as `read` reads it; `None` if there is
/// none.
///
/// # Errors
/// Fails if the database cannot be read.
pub(super) fn find<T>(
    db: &Connection,
    table: &Table,
    condition: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> T,
) -> Result<Option<T>, StoreError> {
    let mut query = query(db, table, condition)?;
    Ok(query.query_row(params, |row| Ok(read(row))).optional()?)
}

/// Whether the fields of a row match the checksum after them.
pub(super) fn checksum_matches(row: &Row<'_>, columns: usize) -> bool {
    let mut sum = Sum::default();
    for column in 0..columns {
        let Ok(value) = row.get_ref(column) else {
            return false;
        };
        sum.add(value);
    }
    row.get_ref(columns).and_then(|value| Ok(value.as_i64()?)) == Ok(sum.finish())
}

/// How many bytes of fields are hashed together: a row of a short message.
const GATHERED: usize = 256;

/// Computes the checksum of a row's fields. Each field is hashed with its type,
/// and a text or blob with its length, so that no field runs into the next.
struct Sum {
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
    fn add(&mut self, value: ValueRef<'_>) {
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
    fn finish(mut self) -> i64 {
        self.hasher.update(&self.gathered[..self.length]);
        self.hasher.finalize().cast_signed().into()
    }
}

/// A field of a row.
pub(super) trait ColumnValue<'a>: Copy {
    /// The field as a value of the database.
    fn value(self) -> ValueRef<'a>;

    /// The field; `None` for a value of another type.
    fn of(value: ValueRef<'a>) -> Option<Self>;
}

impl<'a> ColumnValue<'a> for i64 {
    fn value(self) -> ValueRef<'a> {
        ValueRef::Integer(self)
    }

    fn of(value: ValueRef<'a>) -> Option<Self> {
        value.as_i64().ok()
    }
}

impl<'a> ColumnValue<'a> for Seq {
    fn value(self) -> ValueRef<'a> {
        ValueRef::Integer(to_db(self))
    }

    fn of(value: ValueRef<'a>) -> Option<Self> {
        value.as_i64().ok().map(from_db)
    }
}

impl<'a> ColumnValue<'a> for ConnectionId {
    fn value(self) -> ValueRef<'a> {
        ValueRef::Integer(self.0.cast_signed())
    }

    fn of(value: ValueRef<'a>) -> Option<Self> {
        Some(ConnectionId(value.as_i64().ok()?.cast_unsigned()))
    }
}

impl<'a> ColumnValue<'a> for bool {
    fn value(self) -> ValueRef<'a> {
        ValueRef::Integer(self.into())
    }

    fn of(value: ValueRef<'a>) -> Option<Self> {
        Some(value.as_i64().ok()? != 0)
    }
}

impl<'a> ColumnValue<'a> for &'a str {
    fn value(self) -> ValueRef<'a> {
        ValueRef::Text(self.as_bytes())
    }

    fn of(value: ValueRef<'a>) -> Option<Self> {
        value.as_str().ok()
    }
}

impl<'a> ColumnValue<'a> for &'a [u8] {
    fn value(self) -> ValueRef<'a> {
        ValueRef::Blob(self)
    }

    fn of(value: ValueRef<'a>) -> Option<Self> {
        value.as_blob().ok()
    }
}

impl<'a, F: ColumnValue<'a>> ColumnValue<'a> for Option<F> {
    fn value(self) -> ValueRef<'a> {
        self.map_or(ValueRef::Null, F::value)
    }

    fn of(value: ValueRef<'a>) -> Option<Self> {
        match value {
            ValueRef::Null => Some(None),
            value => F::of(value).map(Some),
        }
    }
}

/// Declares tables and the types of their rows. The key comes first.
macro_rules! rows {
    ($(
        $(#[$doc:meta])*
        $Row:ident in $TABLE:ident $table:literal ($describe:expr) {
            $($(#[$field_doc:meta])* $field:ident: $type:ty,)*
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $Row<'a> {
            $($(#[$field_doc])* pub(super) $field: $type,)*
        }

        #[doc = concat!("The table `", $table, "`.")]
        pub(super) static $TABLE: Table = Table {
            columns: &[$(stringify!($field)),*],
            select: concat!("SELECT ", $(stringify!($field), ", ",)* "sum FROM ", $table),
            put: concat!(
                "INSERT OR REPLACE INTO ", $table,
                " (", $(stringify!($field), ", ",)* "sum) VALUES (",
                $(rows!(@parameter $field),)* "?)"
            ),
            describe: $describe,
        };

        impl<'a> TableRow<'a> for $Row<'a> {
            const TABLE: &'static Table = &$TABLE;

            fn fields(row: &'a Row<'_>) -> Option<Self> {
                let mut column = 0..;
                Some($Row {
                    $($field: ColumnValue::of(row.get_ref(column.next()?).ok()?)?,)*
                })
            }

            fn each(&self, mut put: impl FnMut(ValueRef<'_>)) {
                $(put(ColumnValue::value(self.$field));)*
            }
        }
    )*};
    (@parameter $field:ident) => { "?, " };
}
pub(super) use rows;

/// A message number for the database. SQLite's integers are signed, and no log
/// reaches 2⁶³ messages.
pub(super) fn to_db(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

/// A message number from the database; 0 for a negative one.
pub(super) fn from_db(seq: i64) -> Seq {
    Seq(u64::try_from(seq).unwrap_or(0))
}
