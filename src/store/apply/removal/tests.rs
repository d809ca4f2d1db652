//! Tests of what leaves the store: redacted words and expired messages.

mod expiry;
mod redaction;
