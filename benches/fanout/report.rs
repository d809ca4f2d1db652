//! The figures as they are printed: Markdown tables, or a JSON object a row.

use serde_json::{Map, json};

/// A figure, and how many decimals of it people are shown.
#[derive(Clone, Copy, Debug)]
pub struct Value(pub f64, pub usize);

/// A row of a table: the figures of one server.
#[derive(Debug)]
pub struct Row {
    pub server: &'static str,
    /// The figures by column. All rows of a table have the same columns.
    pub figures: Vec<(&'static str, Value)>,
}

/// How figures are printed.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub json: bool,
}

impl Report {
    /// Prints a remark, which JSON leaves out.
    pub fn remark(self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }

    /// Prints a table of a scenario.
    pub fn table(self, scenario: &str, title: &str, rows: &[Row]) {
        if self.json {
            for row in rows {
                println!("{}", as_json(scenario, title, row));
            }
            return;
        }
        println!("\n{scenario}: {title}");
        let Some(first) = rows.first() else { return };
        let columns: Vec<_> = first.figures.iter().map(|(column, _)| *column).collect();
        println!("| {:15} | {} |", "", columns.join(" | "));
        println!("|---|{}", "--:|".repeat(columns.len()));
        for row in rows {
            let figures = row.figures.iter().map(|(column, Value(value, decimals))| {
                let width = column.chars().count();
                if value.is_nan() {
                    format!("{:>width$}", "–")
                } else {
                    format!("{value:width$.decimals$}")
                }
            });
            let figures: Vec<_> = figures.collect();
            println!("| {:15} | {} |", row.server, figures.join(" | "));
        }
    }
}

fn as_json(scenario: &str, title: &str, row: &Row) -> serde_json::Value {
    let figures = row.figures.iter().map(|(column, Value(value, _))| {
        // JSON has no NaN: a ratio without a yardstick is null.
        ((*column).to_owned(), json!(value))
    });
    json!({
        "scenario": scenario,
        "title": title,
        "server": row.server,
        "figures": figures.collect::<Map<_, _>>(),
    })
}
