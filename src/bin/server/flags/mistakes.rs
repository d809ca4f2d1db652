//! Mistakes in the flags, and how they are told.

use std::{collections::HashMap, fmt::Display};

/// The mistakes of all sources.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    pub(super) all: Vec<String>,
    /// The places in the file of the flags that it sets, by flag.
    pub(super) places: HashMap<String, String>,
}

impl Mistakes {
    /// Adds a mistake of a flag, like `--port`, with its place if the value is
    /// from the file.
    pub(crate) fn add(&mut self, flag: &str, why: &impl Display) {
        let told = match self.places.get(flag) {
            Some(place) => format!("{place}: {flag} {why}"),
            None => format!("{flag} {why}"),
        };
        self.all.push(told);
    }

    /// The value of a flag; adds a mistake and returns `None` if it has none.
    pub(crate) fn take<T>(&mut self, flag: &str, value: Result<T, impl Display>) -> Option<T> {
        value.map_err(|why| self.add(flag, &why)).ok()
    }

    /// Adds a mistake of no single flag.
    pub(crate) fn tell(&mut self, sentence: String) {
        self.all.push(sentence);
    }

    /// The result, if there is no mistake.
    ///
    /// # Errors
    /// Fails with all mistakes, in the order in which they were found.
    pub(crate) fn none_or<T>(self, result: Option<T>) -> Result<T, Vec<String>> {
        result.filter(|_| self.all.is_empty()).ok_or(self.all)
    }
}

/// The first paragraph of clap's message, on one line.
pub(super) fn sentence(error: &clap::Error) -> String {
    let message = error.to_string();
    let lines = message.trim_start_matches("error: ").lines();
    let told =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let parts: Vec<_> = told
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    parts.join("; ").replace("; tip:", " -")
}
