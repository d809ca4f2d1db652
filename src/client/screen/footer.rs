//! Draws the footer, the last lines of the screen, from the model: messages
//! without a receipt, the state, and the typed text.

use unicode_segmentation::UnicodeSegmentation;

use super::{
    line::{Line, Span, Style},
    model::{LinkStatus, Model, Now, places::PlaceMark},
    width::{text_width, visible_form},
};
use crate::protocol::Quote;

/// How many messages without a receipt are shown.
const SENDING: usize = 3;

/// How many rows of the typed text are shown at most.
const TYPED: usize = 10;

/// The width of the progress bar, in cells.
const BAR: usize = 10;

/// From how many missed numbers on the progress bar is shown.
const LONG: u64 = 200;

/// From this importance on, a part of the state line is urgent.
const URGENT: u8 = 4;

/// The width of the prompt before the typed text, in cells.
const PROMPT: usize = 2;

/// The rows of the footer, each no wider than the screen. `before` and `after`
/// are one row, with the cursor between them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) above: Vec<Line>,
    pub(super) before: Line,
    pub(super) after: Line,
    pub(super) below: Vec<Line>,
}

impl Footer {
    /// How many rows it has.
    pub(super) fn rows(&self) -> usize {
        self.above.len() + 1 + self.below.len()
    }
}

/// Draws the footer for a screen of this size.
pub(super) fn footer(model: &Model, now: Now, columns: usize, rows: usize) -> Footer {
    // The last column stays free, so that no row wraps into the next.
    let width = columns.saturating_sub(1).max(1);
    let mut footer = Footer::default();
    if rows >= 5 {
        let most = if rows >= 12 { SENDING } else { 1 };
        footer.above.extend(sending(model, most, width));
    }
    if rows >= 5 {
        footer.above.extend(choice(model, width));
    }
    if rows >= 2 {
        footer.above.push(state(model, now, width));
    }
    let room = rows.saturating_sub(footer.above.len() + 1);
    typed(model, width, room.clamp(1, TYPED), &mut footer);
    footer
}

fn sending(model: &Model, most: usize, width: usize) -> impl Iterator<Item = Line> {
    let more = model.sending.len().saturating_sub(most);
    let lines = model.sending.iter().take(most).map(move |sent| {
        let first = sent.text.lines().next().unwrap_or_default();
        let rest = if first.len() < sent.text.len() {
            " …"
        } else {
            ""
        };
        Line::new(Style::Dim, format!("sending: {first}{rest}")).fit(width)
    });
    let more = (more > 0).then(|| Line::new(Style::Dim, format!("and {more} more")));
    lines.chain(more.map(|line| line.fit(width)))
}

/// The message that the user picks, and some around it, with their numbers.
fn choice(model: &Model, width: usize) -> Vec<Line> {
    let rows = model.choice().into_iter().map(|(picked, message)| {
        let (mark, style) = if picked {
            ("▸", Style::Loud)
        } else {
            (" ", Style::Dim)
        };
        let text = Quote::beginning(&message.text);
        let row = format!("{mark} {} {}: {}", message.seq, message.from, &*text);
        Line::new(style, row).fit(width)
    });
    rows.collect()
}

/// A part of the state line; the least important are left out first.
struct Part {
    line: Line,
    importance: u8,
}

fn state(model: &Model, now: Now, width: usize) -> Line {
    let mut parts = vec![Part {
        line: Line::new(Style::Own, model.own_mark()),
        importance: u8::MAX,
    }];
    if let Some(switcher) = model.switcher_line() {
        return Line::new(Style::Loud, switcher).fit(width);
    }
    let mut part = |style, text: String, importance| {
        let line = Line::new(style, text);
        parts.push(Part { line, importance });
    };
    for place in model.place_marks() {
        let (style, importance) = match place {
            PlaceMark {
                is_called: true, ..
            } => (Style::Loud, 4),
            PlaceMark {
                is_unread: true, ..
            } => (Style::Plain, 2),
            _ => (Style::Dim, 1),
        };
        part(style, place.text, importance);
    }
    if let Some(company) = model.company() {
        part(Style::Dim, company, 2);
    }
    part(Style::Dim, model.you().to_string(), 1);
    match &model.link {
        LinkStatus::Up if model.refusing.is_none() => part(Style::Dim, "connected".to_owned(), 0),
        LinkStatus::Up => part(
            Style::Bad,
            format!("waiting, {} unsent", model.sending.len()),
            5,
        ),
        LinkStatus::Behind { from, at, head } => {
            let (done, all) = (at.0 - from.0.min(at.0), head.0 - from.0.min(head.0));
            part(Style::Dim, format!("catching up {done} of {all}"), 4);
            if all >= LONG {
                part(Style::Dim, bar(done, all), 3);
            }
        }
        LinkStatus::Offline { again } => {
            let left = again.saturating_duration_since(now.tick);
            let text = match left.as_secs() + u64::from(left.subsec_nanos() > 0) {
                0 => "reconnecting".to_owned(),
                seconds => format!("reconnecting in {seconds} s"),
            };
            let unsent = match model.sending.len() {
                0 => "offline".to_owned(),
                unsent => format!("offline, {unsent} unsent"),
            };
            part(Style::Bad, unsent, 5);
            part(Style::Bad, text, 4);
        }
    }
    if let Some(missed) = &model.unseen {
        let since = model.clock(missed.since);
        part(
            Style::Loud,
            format!("{} new since {since}", missed.count),
            4,
        );
    }
    let (left, limit) = (model.bytes_left(), model.limit());
    if left < 0 {
        part(Style::Bad, format!("{} bytes too long", -left), 5);
    } else if usize::try_from(left).is_ok_and(|left| left <= limit / 10) {
        part(Style::Dim, format!("{left} bytes left"), 4);
    }
    if let Some(completion) = &model.completion {
        let words: Vec<String> = completion
            .words
            .iter()
            .enumerate()
            .map(|(n, word)| {
                if n == completion.taken {
                    format!("[{word}]")
                } else {
                    word.clone()
                }
            })
            .collect();
        part(Style::Dim, words.join(" "), 5);
    }
    if let Some(hint) = &model.hint {
        part(Style::Loud, hint.clone(), 5);
    }
    joined(parts, width)
}

/// Joins the parts in order, without the least important that do not fit. The
/// first one stays, and an urgent one beside it.
fn joined(mut parts: Vec<Part>, width: usize) -> Line {
    const BETWEEN: &str = " · ";
    let needed = |parts: &[Part]| -> usize {
        let texts: usize = parts.iter().map(|part| text_width(&part.line.text())).sum();
        texts + parts.len().saturating_sub(1) * text_width(BETWEEN)
    };
    while needed(&parts) > width {
        let least = (1..parts.len()).rev().min_by_key(|&n| parts[n].importance);
        match least {
            Some(least) if parts.len() > 2 || parts[least].importance < URGENT => {
                parts.remove(least);
            }
            _ => break,
        }
    }
    let is_tight = needed(&parts) > width && parts.len() > 1;
    let mut line = Line::default();
    for (n, part) in parts.into_iter().enumerate() {
        if n > 0 {
            line = line.and(Style::Dim, BETWEEN);
        }
        let part = if n == 0 && is_tight {
            part.line.fit(width / 2)
        } else {
            part.line
        };
        line.0.extend(part.0);
    }
    line.fit(width)
}

fn bar(done: u64, all: u64) -> String {
    let full = usize::try_from(done * BAR as u64 / all.max(1))
        .unwrap_or(BAR)
        .min(BAR);
    format!("[{}{}]", "#".repeat(full), "-".repeat(BAR - full))
}

/// Adds at most `room` rows of the typed text, the cursor's row among them.
fn typed(model: &Model, width: usize, room: usize, footer: &mut Footer) {
    let editor = &model.editor;
    let rows = editor.rows(width.saturating_sub(PROMPT).max(2));
    let first = (rows.cursor + 1).saturating_sub(room);
    let last = rows.rows.len().min(first + room);
    for (n, row) in rows.rows[first..last].iter().enumerate() {
        let n = first + n;
        let prompt = if n == 0 { "> " } else { "  " };
        let prompt = Line::new(Style::Dim, prompt);
        let text = |from: usize, to: usize| -> Span {
            let text = editor.text()[from..to]
                .graphemes(true)
                .map(visible_form)
                .collect();
            let style = Style::Plain;
            Span { style, text }
        };
        let row_of = |mut line: Line, from, to| {
            line.0.push(text(from, to));
            line
        };
        match n.cmp(&rows.cursor) {
            std::cmp::Ordering::Less => footer.above.push(row_of(prompt, row.start, row.end)),
            std::cmp::Ordering::Equal => {
                footer.before = row_of(prompt, row.start, editor.cursor());
                footer.after = row_of(Line::default(), editor.cursor(), row.end);
            }
            std::cmp::Ordering::Greater => footer.below.push(row_of(prompt, row.start, row.end)),
        }
    }
}
