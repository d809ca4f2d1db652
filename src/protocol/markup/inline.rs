//! The markup within a line: code and emphasis. A URL is one piece, so none of
//! its characters counts as a mark.

use std::ops::Range;

/// A part of a line in one look.
#[allow(clippy::struct_excessive_bools)] // the flags are independent
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) text: &'a str,
    pub(crate) bold: bool,
    pub(crate) italic: bool,
    pub(crate) code: bool,
}

impl<'a> Piece<'a> {
    pub(super) fn plain(text: &'a str) -> Self {
        Piece {
            text,
            bold: false,
            italic: false,
            code: false,
        }
    }
}

/// A part of a line before its marks have partners.
struct Part {
    range: Range<usize>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Code,
    Url,
    /// Asterisks or an underscore that may begin or end emphasis. `turn` is 1
    /// if it begins some, -1 if it ends some.
    Mark {
        begins: bool,
        ends: bool,
        turn: i8,
    },
}

/// Returns the pieces of a line.
pub(super) fn pieces(line: &str) -> Vec<Piece<'_>> {
    let mut parts = Vec::new();
    split_code(line, &mut parts);
    pair_marks(line, &mut parts);
    let (mut bold, mut italic) = (0, 0);
    let mut pieces: Vec<Piece> = Vec::new();
    // The start of the last piece, if more text may join it.
    let mut joinable = None;
    for Part { range, kind } in parts {
        if let Kind::Mark { turn, .. } = kind
            && turn != 0
        {
            if range.len() > 1 {
                bold += turn;
            }
            if range.len() != 2 {
                italic += turn;
            }
            joinable = None;
        } else if !range.is_empty() {
            let is_text = !matches!(kind, Kind::Code | Kind::Url);
            match (pieces.last_mut(), joinable) {
                (Some(last), Some(start)) if is_text => last.text = &line[start..range.end],
                _ => {
                    pieces.push(Piece {
                        text: &line[range.clone()],
                        bold: bold > 0,
                        italic: italic > 0,
                        code: kind == Kind::Code,
                    });
                    joinable = is_text.then_some(range.start);
                }
            }
        }
    }
    pieces
}

/// Splits a line at its code, and the text between at URLs and marks.
fn split_code(line: &str, parts: &mut Vec<Part>) {
    let fences = repeats(line, 0..line.len(), '`');
    let mut from = 0;
    let mut next = 0;
    while let Some(first) = fences.get(next) {
        next += 1;
        let same = |other: &Range<usize>| other.len() == first.len();
        let Some(between) = fences[next..].iter().position(same) else {
            continue;
        };
        let last = &fences[next + between];
        split_urls(line, from..first.start, parts);
        let mut range = first.end..last.start;
        let code = &line[range.clone()];
        // The blanks let code begin or end with a backtick.
        if code.starts_with(' ') && code.ends_with(' ') && !code.trim_matches(' ').is_empty() {
            range = range.start + 1..range.end - 1;
        }
        parts.push(Part {
            range,
            kind: Kind::Code,
        });
        from = last.end;
        next += between + 1;
    }
    split_urls(line, from..line.len(), parts);
}

fn split_urls(line: &str, range: Range<usize>, parts: &mut Vec<Part>) {
    let mut from = range.start;
    let mut at = range.start;
    while at < range.end {
        if let Some(length) = url_length(&line[range.start..range.end], at - range.start) {
            split_marks(line, from..at, parts);
            parts.push(Part {
                range: at..at + length,
                kind: Kind::Url,
            });
            at += length;
            from = at;
        } else {
            at += line[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    split_marks(line, from..range.end, parts);
}

/// The length of the URL at a place of a text, if there is one.
fn url_length(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at..];
    let begins = |prefix: &str| {
        let head = rest.get(..prefix.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(prefix))
    };
    let prefix = ["https://", "http://", "www."]
        .into_iter()
        .find(|prefix| begins(prefix))?;
    let stops = |c: char| c.is_whitespace() || "<>\"'`\u{fffd}".contains(c);
    let after = rest[prefix.len()..].chars().next().filter(|c| !stops(*c))?;
    if prefix == "www." {
        let joins = |c: char| c.is_alphanumeric() || ".@/_-".contains(c);
        if text[..at].ends_with(joins) || !after.is_alphanumeric() {
            return None;
        }
    }
    // Only here: the end of each word would be looked for from each of its
    // letters.
    let end = rest.find(stops).unwrap_or(rest.len());
    Some(without_punctuation(&rest[..end]).len())
}

/// A URL without the punctuation that ends the sentence around it.
fn without_punctuation(url: &str) -> &str {
    let count = |c: char| url.matches(c).count();
    let mut brackets = [(')', '('), (']', '['), ('}', '{')]
        .map(|(close, open)| (close, count(close), count(open)));
    let mut kept = url;
    while let Some(last) = kept.chars().next_back() {
        if !".,;:!?)]}*_~…»”’".contains(last) {
            break;
        }
        if let Some((_, closed, opened)) = brackets.iter_mut().find(|(close, ..)| *close == last) {
            if opened >= closed {
                break;
            }
            *closed -= 1;
        }
        kept = &kept[..kept.len() - last.len_utf8()];
    }
    kept
}

fn split_marks(line: &str, range: Range<usize>, parts: &mut Vec<Part>) {
    let mut marks = repeats(line, range.clone(), '*');
    marks.extend(repeats(line, range.clone(), '_'));
    marks.sort_unstable_by_key(|mark| mark.start);
    let mut from = range.start;
    let text = |range| Part {
        range,
        kind: Kind::Text,
    };
    for range in marks {
        let (begins, ends) = sides(line, &range);
        if begins || ends {
            parts.push(text(from..range.start));
            from = range.end;
            let turn = 0;
            let kind = Kind::Mark { begins, ends, turn };
            parts.push(Part { range, kind });
        }
    }
    parts.push(text(from..range.end));
}

/// Where a character stands in a range of a line, once or repeated.
fn repeats(line: &str, range: Range<usize>, mark: char) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, _) in line[range.clone()].match_indices(mark) {
        let at = range.start + at;
        match found.last_mut() {
            Some(last) if last.end == at => last.end += 1,
            _ => found.push(at..at + 1),
        }
    }
    found
}

/// Whether a mark may begin emphasis, and whether it may end it.
fn sides(line: &str, mark: &Range<usize>) -> (bool, bool) {
    let is_underscore = line[mark.clone()].starts_with('_');
    if mark.len() > if is_underscore { 1 } else { 3 } {
        return (false, false);
    }
    let before = line[..mark.start].chars().next_back();
    let after = line[mark.end..].chars().next();
    let outside = |c: Option<char>, signs: &str| {
        c.is_none_or(|c| {
            let joins = is_underscore && c.is_alphanumeric();
            !joins && (c.is_whitespace() || signs.contains(c) || !c.is_ascii())
        })
    };
    // Patterns for files, such as `src/*.rs`, have no emphasis.
    let inside =
        |c: Option<char>, signs: &str| c.is_some_and(|c| !c.is_whitespace() && !signs.contains(c));
    (
        inside(after, ".,;:!?)]}/") && outside(before, "([{\"'*_"),
        inside(before, "([{/") && outside(after, ".,;:!?)]}\"'*_-"),
    )
}

/// Sets the turn of each mark that begins or ends emphasis.
fn pair_marks(line: &str, parts: &mut [Part]) {
    // The last mark of each text that may begin emphasis, in order.
    let mut open: Vec<usize> = Vec::new();
    for at in 0..parts.len() {
        let Part { range, kind } = &parts[at];
        let Kind::Mark { begins, ends, .. } = *kind else {
            continue;
        };
        let mark = &line[range.clone()];
        let partner = open
            .iter()
            .position(|&other| line[parts[other].range.clone()] == *mark);
        match partner {
            Some(place) if ends => {
                for (at, turned) in [(open[place], 1), (at, -1)] {
                    if let Kind::Mark { turn, .. } = &mut parts[at].kind {
                        *turn = turned;
                    }
                }
                // A mark between the two has no partner outside of them.
                open.truncate(place);
            }
            _ if begins => {
                if let Some(place) = partner {
                    open.remove(place);
                }
                open.push(at);
            }
            _ => {}
        }
    }
}
