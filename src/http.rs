//! HTTP on the server's only port: the routes and the strict upgrade.
//!
//! hyper reads the request and writes the response; a connection serves one
//! request. This module does not know the accept loop.

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
    site::HttpState,
};
