//! Formats the bytes that the server sends for a recording: in lines, with
//! labels for values that differ between runs.

use std::fmt::Write;

/// The longest HTTP body recorded in full, in bytes. A longer one is recorded
/// as its length and checksum.
const MAX_BODY: usize = 2048;

/// The longest run of one character recorded in full. A longer one is recorded
/// as `<x*100>`.
const MAX_RUN: usize = 64;

/// The labels of values that differ between runs: `<ana>` is the address of a
/// connection, `<epoch 1>` the first epoch. All values that one of [`RULES`]
/// finds share one label.
#[derive(Default)]
pub(super) struct Labels(Vec<(String, String)>);

/// The text before a value, the value's characters, the text after it, and its
/// label.
type Rule = (&'static str, fn(char) -> bool, &'static str, &'static str);

/// Values with numbered labels, in order of appearance.
const NUMBERED: [Rule; 3] = [
    (r#""epoch":""#, is_word, "\"", "epoch"),
    (r#""secret":""#, is_word, "\"", "secret"),
    // The secret is the last word, after the name.
    ("have this name again: /name ", is_words, "", "secret"),
];

const RULES: [Rule; 12] = [
    (r#""at":""#, is_time, "Z\"", "at"),
    (r#""edited_at":""#, is_time, "Z\"", "at"),
    (r#""retry_ms":"#, is_digit, "", "ms"),
    ("send it again in ", is_decimal, " s.", "s"),
    ("retry-after: ", is_digit, "\r\n", "s"),
    ("\nretry: ", is_digit, "\n", "ms"),
    // A drain's reason, in a close frame and in a comment of server-sent
    // events.
    (" 4003 ", is_digit, " ms: ", "ms"),
    (": ", is_digit, " ms: ", "ms"),
    ("date: ", |c| c != '\r', "\r\n", "date"),
    ("etag: W/\"", is_word, "\"", "hash"),
    ("/-/assets/", is_word, ".", "hash"),
    ("broadcast-chat/", is_decimal, "\"", "version"),
];

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

fn is_decimal(c: char) -> bool {
    is_digit(c) || c == '.'
}

fn is_time(c: char) -> bool {
    c.is_ascii_digit() || "-T:.".contains(c)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_".contains(c)
}

fn is_words(c: char) -> bool {
    is_word(c) || c == ' '
}

impl Labels {
    /// Replaces a value by a label from now on.
    pub(super) fn add(&mut self, value: String, label: &str) {
        let label = format!("<{label}>");
        let known = self.0.iter().any(|(_, other)| *other == label);
        assert!(!known, "{label} is there twice");
        self.0.push((value, label));
    }

    pub(super) fn knows(&self, value: &str) -> bool {
        self.0.iter().any(|(known, _)| known == value)
    }

    /// Replaces the labels of a step by their values.
    pub(super) fn values(&self, step: &str) -> String {
        let labels = self.0.iter();
        labels.fold(step.to_owned(), |step, (value, label)| {
            step.replace(label, value)
        })
    }

    /// Replaces the values in the sent text by their labels.
    pub(super) fn label(&mut self, sent: &str) -> String {
        for (before, class, after, name) in NUMBERED {
            for value in found(sent, before, class, after) {
                let value = value.rsplit(' ').next().unwrap_or(value);
                if !self.knows(value) {
                    let same = |label: &str| label.starts_with(&format!("<{name} "));
                    let before = self.0.iter().filter(|(_, label)| same(label)).count();
                    self.add(value.to_owned(), &format!("{name} {}", before + 1));
                }
            }
        }
        let mut told = sent.to_owned();
        for (value, label) in &self.0 {
            told = told.replace(value, label);
        }
        for (before, class, after, label) in RULES {
            let values: Vec<_> = found(&told, before, class, after)
                .map(str::to_owned)
                .collect();
            for value in values {
                let labelled = format!("{before}<{label}>{after}");
                told = told.replace(&[before, &value, after].concat(), &labelled);
            }
        }
        told
    }
}

/// Appends a text line by line.
pub(super) fn lines(text: &str, out: &mut Vec<String>) {
    out.extend(text.split_inclusive('\n').map(escaped));
}

/// Appends an HTTP response.
pub(super) fn answer(text: &str, out: &mut Vec<String>) {
    let head = text.find("\r\n\r\n").map_or(text.len(), |end| end + 4);
    let (head, body) = text.split_at(head);
    lines(head, out);
    if body.len() > MAX_BODY {
        let sum = crc32fast::hash(body.as_bytes());
        out.push(format!("({} bytes, CRC-32 {sum:08x})", body.len()));
    } else {
        lines(body, out);
    }
}

/// Finds the values of these characters between two texts.
fn found<'a>(
    text: &'a str,
    before: &'a str,
    class: fn(char) -> bool,
    after: &'a str,
) -> impl Iterator<Item = &'a str> {
    text.match_indices(before).filter_map(move |(start, _)| {
        let rest = &text[start + before.len()..];
        let end = rest.find(|c| !class(c)).unwrap_or(rest.len());
        (end > 0 && rest[end..].starts_with(after)).then_some(&rest[..end])
    })
}

/// Escapes a text to one line and shortens long runs of one character.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let run = rest.chars().take_while(|other| *other == c).count();
        let taken = if run > MAX_RUN { run } else { 1 };
        rest = &rest[taken * c.len_utf8()..];
        match c {
            _ if run > MAX_RUN => {
                let _ = write!(out, "<{c}*{run}>");
            }
            '"' | '\'' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}
