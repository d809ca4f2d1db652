//! Text on one line, safe to show.

use crate::protocol::text::clean;

/// Text on one line, safe to show: what comes from a server may want to be more.
pub fn one_line(text: &str) -> String {
    clean(text).replace('\n', " ")
}
