//! A chat is one ordered log; a connection is a reader of it that may also
//! publish.

pub mod protocol;

pub mod history;

pub mod fanout;

pub mod hub;

pub mod session;

pub mod http;

pub mod server;

pub mod client;
