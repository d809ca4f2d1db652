//! The client: a handle in, events out.
