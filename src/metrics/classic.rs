//! The text format 0.0.4 of Prometheus, made from `OpenMetrics` text.

use std::fmt::Write;

/// The content type of this format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Rewrites `OpenMetrics` text. There a counter's metadata lack the `_total` of
/// its samples; this format has neither units nor an end.
pub(super) fn from_open_metrics(text: &str) -> String {
    let mut classic = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        let metadata = line.strip_prefix("# ").and_then(|it| it.split_once(' '));
        // Writing to a String cannot fail.
        let _ = match metadata {
            Some(("UNIT", _)) => Ok(()),
            Some(("HELP", rest)) => {
                help = rest.split_once(' ');
                Ok(())
            }
            Some(("TYPE", rest)) => {
                let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
                let total = if kind == "counter" { "_total" } else { "" };
                if let Some((_, help)) = help.take() {
                    let _ = writeln!(classic, "# HELP {name}{total} {help}");
                }
                writeln!(classic, "# TYPE {name}{total} {kind}")
            }
            _ if line.starts_with('#') => Ok(()),
            _ => writeln!(classic, "{line}"),
        };
    }
    classic
}
