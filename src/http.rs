//! HTTP on the server's only port: the routes and the strict upgrade.
//!
//! hyper reads the request and writes the response; a connection serves one
//! request. This module does not know the accept loop.

mod answer;
mod asset;
mod base_path;
mod entry;
mod error_filter;
mod events;
mod forms;
mod forwarding;
mod help;
mod history_page;
mod hook;
mod origin;
mod page;
mod posted;
mod query;
mod representation;
mod room;
mod route;
mod serve;
mod state;
mod upgrade;

pub use self::{
    base_path::BasePath,
    origin::Trust,
    serve::{Upgraded, serve},
    state::{HttpState, Scheme},
};
