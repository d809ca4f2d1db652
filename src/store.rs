//! The store: tables in SQLite, made by applying the log's entries.
//!
//! A [`Replica`] applies batches in the order of the log; a store has one.
//! Clones of a [`Store`] read pages, names and topics, and search. This module
//! knows neither its callers nor what a frame looks like.

mod access;
mod apply;
mod asker;
mod audit;
mod backup;
mod check;
mod database;
#[cfg(test)]
mod digest;
mod expired;
mod files;
mod folder;
mod guests;
mod hardened_secret;
mod hook;
mod hooks;
mod ignored;
mod index;
mod invitation;
mod invitations;
mod memberships;
mod names;
mod outcome;
mod ownership;
mod pages;
mod parents;
mod places;
mod read_only;
mod reader;
mod related;
mod replica;
mod restore;
mod room;
mod room_list;
mod rooms;
mod row;
mod sanctions;
mod schema;
mod search;
#[cfg(test)]
mod speed;
mod state;
mod store_error;
mod tables;
mod topics;
mod unread;
mod used_bytes;
mod wal;

pub use self::{
    access::{AccessChange, Denial},
    apply::Applied,
    asker::Asker,
    backup::{BackupError, BackupProgress, BackupTarget, backup},
    check::Report,
    expired::{ExpiredName, ExpiredPage},
    files::StoreFiles,
    folder::{OpenError, Storage},
    hardened_secret::{HardenedSecret, HashMemory},
    hook::Hook,
    index::Words,
    invitation::Invitation,
    names::OwnedName,
    outcome::Outcome,
    ownership::Ownership,
    pages::{Hole, StoredPage},
    places::PlaceReader,
    read_only::check,
    reader::Store,
    replica::{Replica, StartingState, open},
    restore::{Restored, restore},
    room_list::StoredRoom,
    rooms::ListedRooms,
    sanctions::Sanction,
    search::{SEARCHES_AT_ONCE, SearchResult},
    store_error::StoreError,
    unread::Unread,
};
