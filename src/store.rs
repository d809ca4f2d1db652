//! The store: tables in SQLite, made by applying the log's entries.
//!
//! A [`Replica`] applies batches in the order of the log; a store has one.
//! Clones of a [`Store`] read pages, names and topics, and search. This module
//! knows neither its callers nor what a frame looks like.

mod apply;
mod backup;
mod beside;
mod check;
mod database;
#[cfg(test)]
mod digest;
mod failure;
mod folder;
mod index;
mod names;
mod outcome;
mod pages;
mod reader;
mod replica;
mod room;
mod row;
mod sanctions;
mod schema;
mod search;
#[cfg(test)]
mod speed;
mod state;
mod tables;
mod topics;
mod wal;

pub use self::{
    apply::Applied,
    backup::{BackupError, backup},
    beside::check,
    check::Report,
    failure::StoreError,
    folder::{OpenError, Storage},
    index::Words,
    names::OwnedName,
    outcome::Outcome,
    pages::{Hole, StoredPage},
    reader::Store,
    replica::{Replica, StartingState, open},
    sanctions::Sanction,
    search::SearchResult,
};
