//! HTTP on the one port: what a request may ask, and the upgrade, strictly.
//!
//! hyper reads the request and writes the answer; a connection serves one
//! request. Knows nothing of the accept loop.

mod accept;
mod answer;
mod events;
mod excerpt;
mod origin;
mod page;
mod query;
mod room;
mod route;
mod serve;
mod site;
mod upgrade;
mod wordy;

pub use self::{
    origin::Trust,
    serve::{Upgraded, serve},
    site::Site,
};
