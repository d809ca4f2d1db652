//! A change on its way to the writer, and how whoever ordered it hears of it.

use std::fmt;

use tokio::sync::oneshot;

use crate::history::{Changing, StoreError};

/// A change, to be made in a transaction. Dropped, it is not made, and whoever
/// ordered it knows.
pub struct Order(Box<Make>);

type Make = dyn FnOnce(&mut Changing<'_>) -> Result<Made, StoreError> + Send;

/// Tells of a change, once it is on disk.
pub(super) type Made = Box<dyn FnOnce() + Send>;

impl Order {
    /// The order, and where what it gives arrives. What is to be done `then` is
    /// done in the order of the changes.
    pub(super) fn new<T: Send + 'static>(
        change: impl FnOnce(&mut Changing<'_>) -> Result<T, StoreError> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> (Self, oneshot::Receiver<T>) {
        let (tell, told) = oneshot::channel();
        let make = |changing: &mut Changing<'_>| {
            let made = change(changing)?;
            // Whoever asked may be gone; it is done all the same.
            Ok(Box::new(move || {
                then(&made);
                drop(tell.send(made));
            }) as Made)
        };
        (Order(Box::new(make)), told)
    }

    pub(super) fn make(self, changing: &mut Changing<'_>) -> Result<Made, StoreError> {
        (self.0)(changing)
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order").finish_non_exhaustive()
    }
}
