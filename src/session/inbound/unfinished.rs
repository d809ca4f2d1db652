//! Bounds the memory of unfinished messages, over all connections.
//!
//! A peer that begins messages and ends none holds memory for as long as the
//! message deadline. If all peers together hold too much, the connections that
//! have held theirs for longest are closed. An honest message is there within
//! moments.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use crate::protocol::Limits;

/// The memory that unfinished messages may hold together, in bytes.
const BUDGET: usize = 64 << 20;

/// At least this many of the longest messages fit into the budget.
const MIN_MESSAGES: usize = 16;

/// The unfinished messages of all connections. Clones are the same.
#[derive(Clone, Debug)]
pub struct UnfinishedMessages(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    budget: usize,
    held: usize,
    /// By the order in which they began: the bytes of each message, and the way
    /// to cut its connection.
    messages: BTreeMap<u64, (usize, oneshot::Sender<()>)>,
    /// The number of the next message.
    next: u64,
}

impl UnfinishedMessages {
    /// A budget that suits these limits.
    pub fn new(limits: Limits) -> Self {
        Self::with_budget(BUDGET.max(MIN_MESSAGES * limits.payload_bytes()))
    }

    /// A budget of this many bytes.
    pub fn with_budget(budget: usize) -> Self {
        UnfinishedMessages(Arc::new(Mutex::new(Table {
            budget,
            held: 0,
            messages: BTreeMap::new(),
            next: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an unfinished message, of no bytes yet.
    pub(super) fn begin(&self) -> UnfinishedMessage {
        let (cut, is_cut) = oneshot::channel();
        let mut table = self.lock();
        let number = table.next;
        table.next += 1;
        table.messages.insert(number, (0, cut));
        drop(table);
        UnfinishedMessage {
            all: self.clone(),
            number,
            is_cut,
        }
    }
}

impl Table {
    /// Sets the bytes of a message, then cuts the oldest messages over the
    /// budget.
    fn set(&mut self, number: u64, bytes: usize) {
        if let Some((held, _)) = self.messages.get_mut(&number) {
            self.held = self.held - *held + bytes;
            *held = bytes;
        }
        while self.held > self.budget
            && let Some((_, (bytes, cut))) = self.messages.pop_first()
        {
            self.held -= bytes;
            // If the message is dropped meanwhile, its memory is free already.
            let _ = cut.send(());
        }
    }
}

/// One unfinished message. Dropping it frees its share of the budget.
#[derive(Debug)]
pub(super) struct UnfinishedMessage {
    all: UnfinishedMessages,
    number: u64,
    is_cut: oneshot::Receiver<()>,
}

impl UnfinishedMessage {
    /// Sets the bytes that the message holds.
    pub(super) fn set(&self, bytes: usize) {
        self.all.lock().set(self.number, bytes);
    }

    /// Ready once the connection must be closed.
    pub(super) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.is_cut).poll(cx).map(|_| ())
    }
}

impl Drop for UnfinishedMessage {
    fn drop(&mut self) {
        let mut table = self.all.lock();
        if let Some((bytes, _)) = table.messages.remove(&self.number) {
            table.held -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn is_cut(message: &mut UnfinishedMessage) -> bool {
        (&mut message.is_cut).now_or_never().is_some()
    }

    #[test]
    fn the_oldest_messages_over_the_budget_are_cut() {
        let all = UnfinishedMessages::with_budget(100);
        let mut messages: Vec<_> = (0..4).map(|_| all.begin()).collect();
        for message in &messages {
            message.set(25);
        }
        assert!(!messages.iter_mut().any(is_cut));
        messages[2].set(60);
        let cut: Vec<_> = messages.iter_mut().map(is_cut).collect();
        assert_eq!(cut, [true, true, false, false]);
        drop(messages);
        let table = all.lock();
        assert_eq!((table.held, table.messages.len()), (0, 0));
    }
}
