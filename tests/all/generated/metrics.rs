use std::fmt::Write;

use broadcast_chat::metrics::{Gauges, Metrics};

/// A row for each metric, in the order of `/-/metrics`.
pub(super) fn reference() -> String {
    let metrics = Metrics::default();
    metrics.expect("", ["rate"], [1000], [200]);
    let told = metrics.open_metrics_text(Gauges::default());
    let mut text = "\n| metric | kind | counts |\n|---|---|---|\n".to_owned();
    let mut rows = 0;
    for line in told.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let (name, help) = line.split_once(' ').expect("a name and a help text");
        let kind = told.lines().find_map(|line| {
            let line = line.strip_prefix("# TYPE ")?.strip_prefix(name)?;
            line.strip_prefix(' ')
        });
        let kind = kind.expect("a kind");
        let total = if kind == "counter" { "_total" } else { "" };
        let sample = format!("{name}{total}{{");
        let label = told.lines().find_map(|line| {
            let (label, _) = line.strip_prefix(&sample)?.split_once('=')?;
            Some(format!("{{{label}}}"))
        });
        let label = label.unwrap_or_default();
        let help = help.trim_end_matches('.');
        writeln!(text, "| `{name}{total}{label}` | {kind} | {help} |").expect("a string");
        rows += usize::from(name.starts_with("chat_"));
    }
    let declared = include_str!("../../../src/metrics.rs").matches("(r, \"");
    assert_eq!(rows, declared.count(), "a metric is not in {told}");
    text.push('\n');
    text
}
