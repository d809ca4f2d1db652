//! Text made safe to show on one line.

use crate::protocol::text::sanitize;

/// The text with unsafe characters replaced and line breaks made spaces. A
/// server's text may hold both.
pub fn one_line(text: &str) -> String {
    sanitize(text).replace('\n', " ")
}
