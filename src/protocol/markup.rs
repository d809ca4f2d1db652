//! The markup of a text: code, quotes, lists and emphasis. The page has the same
//! rules (`http/page/markup.mjs`); `tests/vectors/markup.json` tests both.
//!
//! `docs/decisions/046-markup.md` says why this subset of Markdown, and why no
//! parser of all of it.

mod inline;

pub(crate) use self::inline::Piece;
use self::inline::pieces;

/// The deepest level of a list item, of two spaces each.
const MAX_LEVEL: usize = 4;

/// A part of a text that begins on a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MarkupBlock<'a> {
    Text(Vec<Piece<'a>>),
    Quote(Vec<Piece<'a>>),
    Item {
        level: usize,
        mark: &'a str,
        pieces: Vec<Piece<'a>>,
    },
    /// Lines between two fences.
    Code(Vec<&'a str>),
}

/// Returns the blocks of a text in order.
pub(crate) fn blocks(text: &str) -> Vec<MarkupBlock<'_>> {
    let lines: Vec<&str> = text.split('\n').collect();
    let mut blocks = Vec::new();
    // A fence without an end is text, and so is every longer one after it.
    let mut unclosed = usize::MAX;
    let mut at = 0;
    while let Some(&line) = lines.get(at) {
        at += 1;
        if let Some(fence) = fence(line).filter(|&fence| fence < unclosed) {
            let closes = |line: &&str| closing(line).is_some_and(|marks| marks >= fence);
            if let Some(length) = lines[at..].iter().position(closes) {
                blocks.push(MarkupBlock::Code(lines[at..at + length].to_vec()));
                at += length + 1;
                continue;
            }
            unclosed = fence;
        }
        if let Some((level, mark, rest)) = item(line) {
            let pieces = pieces(rest);
            blocks.push(MarkupBlock::Item {
                level,
                mark,
                pieces,
            });
            continue;
        }
        let quoted = if line == ">" {
            Some("")
        } else {
            line.strip_prefix("> ")
        };
        let more = pieces(quoted.unwrap_or(line));
        match (blocks.last_mut(), quoted) {
            (Some(MarkupBlock::Quote(before)), Some(_))
            | (Some(MarkupBlock::Text(before)), None) => {
                before.push(Piece::plain("\n"));
                before.extend(more);
            }
            (_, Some(_)) => blocks.push(MarkupBlock::Quote(more)),
            (_, None) => blocks.push(MarkupBlock::Text(more)),
        }
    }
    blocks
}

/// How many backticks of a fence begin a line: three or more, and none after
/// them.
fn fence(line: &str) -> Option<usize> {
    let trimmed = line.trim_start_matches(' ');
    let rest = trimmed.trim_start_matches('`');
    let marks = trimmed.len() - rest.len();
    let is_fence = line.len() - trimmed.len() <= 3 && marks >= 3 && !rest.contains('`');
    is_fence.then_some(marks)
}

/// How many backticks a line has that may end code.
fn closing(line: &str) -> Option<usize> {
    let rest = line.trim_start_matches(' ').trim_start_matches('`');
    fence(line).filter(|_| rest.trim().is_empty())
}

/// The level, the mark and the text of a list item.
fn item(line: &str) -> Option<(usize, &str, &str)> {
    let trimmed = line.trim_start_matches(' ');
    let level = ((line.len() - trimmed.len()) / 2).min(MAX_LEVEL);
    let (mark, rest) = trimmed.split_once(' ')?;
    let rest = rest.trim_start_matches(' ');
    let number = mark.strip_suffix(['.', ')']).unwrap_or_default();
    let is_number =
        (1..=9).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    let mark = match mark {
        "-" | "*" | "+" => "•",
        mark if is_number => mark,
        _ => return None,
    };
    let begins = rest.chars().next().is_some_and(|c| !c.is_whitespace());
    begins.then_some((level, mark, rest))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    // With work for each pair of letters, this would take hours.
    #[test]
    fn a_megabyte_is_read_at_once() {
        for text in ["a", "xwww.", "http:// ", "\t"] {
            let text = text.repeat((1 << 20) / text.len());
            assert!(!blocks(&text).is_empty());
        }
    }

    fn piece(piece: &Piece) -> Value {
        let mut value = json!({"text": piece.text});
        for (name, set) in [
            ("bold", piece.bold),
            ("italic", piece.italic),
            ("code", piece.code),
        ] {
            if set {
                value[name] = json!(true);
            }
        }
        value
    }

    fn block(block: &MarkupBlock) -> Value {
        let all = |pieces: &[Piece]| pieces.iter().map(piece).collect::<Vec<_>>();
        match block {
            MarkupBlock::Text(pieces) => json!({"kind": "text", "pieces": all(pieces)}),
            MarkupBlock::Quote(pieces) => json!({"kind": "quote", "pieces": all(pieces)}),
            MarkupBlock::Item {
                level,
                mark,
                pieces,
            } => json!({"kind": "item", "level": level, "mark": mark, "pieces": all(pieces)}),
            MarkupBlock::Code(lines) => json!({"kind": "code", "text": lines.join("\n")}),
        }
    }

    #[test]
    fn markup_is_the_same_as_on_the_page() {
        let vectors = include_str!("../../tests/vectors/markup.json");
        let vectors: Vec<Value> = serde_json::from_str(vectors).expect("vectors");
        for vector in vectors {
            let text = vector["text"].as_str().expect("a text");
            let found: Vec<_> = blocks(text).iter().map(block).collect();
            // Only the page makes links.
            let mut wanted = vector["blocks"].clone();
            let blocks = wanted.as_array_mut().into_iter().flatten();
            for piece in blocks
                .filter_map(|block| block.get_mut("pieces")?.as_array_mut())
                .flatten()
            {
                piece.as_object_mut().expect("a piece").remove("href");
            }
            assert_eq!(Value::from(found), wanted, "{text}");
        }
    }
}
