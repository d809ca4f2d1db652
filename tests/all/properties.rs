//! Properties that hold for any bytes from a peer. The fuzz targets (`fuzz/`)
//! search for bytes that break one; `corpus` replays known inputs.

// The fuzz targets load this file by its path; without paths they would look for
// its modules beside it.
#[path = "properties/chat.rs"]
mod chat;
#[path = "properties/connection.rs"]
mod connection;
#[path = "properties/values.rs"]
pub(crate) mod values;
#[path = "properties/work.rs"]
pub(crate) mod work;

pub(crate) use self::{
    connection::{frames, requests},
    values::{commands, entries, events, names, proxy_headers, searches, texts},
};

/// Panics if a property does not hold for these bytes.
pub(crate) type Property = fn(&[u8]);

/// All properties, by the name of their target and corpus.
pub(crate) const ALL: [(&str, Property); 9] = [
    ("entries", entries),
    ("commands", commands),
    ("texts", texts),
    ("searches", searches),
    ("names", names),
    ("events", events),
    ("proxy_headers", proxy_headers),
    ("requests", requests),
    ("frames", frames),
];
