//! Rows as they are stored, each with a checksum over all its fields.
//!
//! A row that does not match its checksum is never shown. CRC-32 finds every
//! single flipped bit, and all damage within 32 bits. Other damage passes once
//! in four thousand million rows. A longer checksum would cost every row more
//! and find no more flipped bits.

mod column_value;
mod sum;

use rusqlite::{
    CachedStatement, Connection, OptionalExtension, Params, Row, Statement,
    types::{ToSqlOutput, ValueRef},
};

pub(super) use self::column_value::{ColumnValue, from_db, owner_to_db, to_db};
use self::sum::Sum;
use super::StoreError;

/// A table: its name, its columns without the checksum, which is the last one,
/// and how an operator is told of a damaged row.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
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
            name: $table,
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
