//! What is changed beside the messages: in one transaction each, by the writer.
//!
//! A change is a piece of work on a [`Changing`]; what it may do are the methods
//! of that, each beside the table it writes to.

use rusqlite::Connection;

use super::{StoreError, Writer, check};
use crate::protocol::{At, Seq};

/// A transaction in which something is changed. It is committed when the work
/// on it ends well, and leaves nothing otherwise.
pub struct Changing<'a> {
    pub(super) db: &'a Connection,
    /// When it is made.
    pub(super) at: At,
    /// Under which number something was erased.
    pub(super) erased: Option<Seq>,
}

impl Changing<'_> {
    /// Where the log ends.
    pub fn head(&self) -> Result<Seq, StoreError> {
        check::head(self.db)
    }
}

impl Writer {
    /// Changes something beside the messages, in one transaction.
    ///
    /// When this returns, it is on disk; when it returns an error, nothing of it
    /// may be acknowledged. As [`Writer::append`], it then opens the database
    /// anew first, and blocks.
    pub fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Changing<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut store = self.store();
        self.history.recovered(&mut store)?;
        let (made, erased) = store.change(change)?;
        if let Some(seq) = erased {
            self.history.shared.tail().forget(seq);
            // Where somebody is in its way, it is tried again.
            let _ = store.empty_wal();
        }
        Ok(made)
    }
}
