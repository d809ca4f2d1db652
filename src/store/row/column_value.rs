//! The types of Rust that a field of a row may have.

use rusqlite::types::ValueRef;

use crate::protocol::{ConnectionId, OwnerNumber, Seq};

/// A field of a row.
pub(in crate::store) trait ColumnValue<'a>: Copy {
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

impl<'a> ColumnValue<'a> for OwnerNumber {
    fn value(self) -> ValueRef<'a> {
        ValueRef::Integer(owner_to_db(self))
    }

    fn of(value: ValueRef<'a>) -> Option<Self> {
        Some(OwnerNumber(value.as_i64().ok()?.cast_unsigned()))
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

/// A message number for the database. SQLite's integers are signed, and no log
/// reaches 2⁶³ messages.
pub(in crate::store) fn to_db(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

/// An owner number as the database has it.
pub(in crate::store) fn owner_to_db(owner: OwnerNumber) -> i64 {
    owner.0.cast_signed()
}

/// A message number from the database; 0 for a negative one.
pub(in crate::store) fn from_db(seq: i64) -> Seq {
    Seq(u64::try_from(seq).unwrap_or(0))
}
