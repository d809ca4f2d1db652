//! A chat is one ordered log; a connection is a reader of it that may also
//! publish.

pub mod protocol;

pub mod client;
