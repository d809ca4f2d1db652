//! Standard input as numbered lines, read on a thread of its own.
//!
//! Reading a terminal or a pipe cannot be cancelled, so the thread is never
//! joined. The process ends with the conversation instead of waiting for the
//! next typed line.

use std::{
    io::{self, BufRead},
    mem, thread,
};

use tokio::sync::mpsc;

use crate::protocol::text::is_blank;

/// The number of groups of lines that may wait in the channel. Each group holds
/// the lines of one read.
const WAITING: usize = 8;

/// One result of reading standard input. Blank lines are counted but left out.
#[derive(Debug)]
pub enum Input {
    /// A line without its end, made valid UTF-8.
    Line {
        /// Counted from 1, blank lines included.
        number: u64,
        /// The text of the line.
        text: String,
    },
    /// A line over the limit; its text was dropped.
    TooLong {
        /// Counted from 1, blank lines included.
        number: u64,
    },
    /// Reading failed.
    Failed(io::Error),
}

/// Reads lines on a thread of their own until the input ends; then the channel
/// closes. The text of a line over `limit` bytes is dropped.
///
/// # Errors
///
/// Fails if the thread cannot be started.
pub fn read(
    mut input: impl BufRead + Send + 'static,
    limit: usize,
) -> io::Result<mpsc::Receiver<Vec<Input>>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            let mut splitter = Splitter::new(limit);
            let mut over = false;
            while !over {
                let mut lines = Vec::new();
                match input.fill_buf() {
                    Ok([]) => {
                        splitter.finish(&mut lines);
                        over = true;
                    }
                    Ok(chunk) => {
                        let length = chunk.len();
                        splitter.feed(chunk, &mut lines);
                        input.consume(length);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        splitter.finish(&mut lines);
                        lines.push(Input::Failed(error));
                        over = true;
                    }
                }
                if !lines.is_empty() && sender.blocking_send(lines).is_err() {
                    return;
                }
            }
        })?;
    Ok(receiver)
}

/// Cuts a stream of bytes into lines. It keeps at most `limit` + 1 bytes of a
/// line.
#[derive(Debug)]
struct Splitter {
    limit: usize,
    number: u64,
    /// The beginning of the current line.
    partial: Vec<u8>,
    /// Whether the current line is over the limit; its rest is skipped.
    too_long: bool,
}

impl Splitter {
    fn new(limit: usize) -> Self {
        Splitter {
            limit,
            number: 0,
            partial: Vec::new(),
            too_long: false,
        }
    }

    fn feed(&mut self, chunk: &[u8], lines: &mut Vec<Input>) {
        for piece in chunk.split_inclusive(|b| *b == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(rest) => {
                    self.keep(rest);
                    self.end(lines);
                }
                None => self.keep(piece),
            }
        }
    }

    /// Ends the last line at the end of the input.
    fn finish(&mut self, lines: &mut Vec<Input>) {
        if self.too_long || !self.partial.is_empty() {
            self.end(lines);
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        // One byte over the limit is for a carriage return at the end.
        if self.too_long || self.partial.len() + piece.len() > self.limit + 1 {
            self.too_long = true;
            self.partial.clear();
        } else {
            self.partial.extend_from_slice(piece);
        }
    }

    fn end(&mut self, lines: &mut Vec<Input>) {
        self.number += 1;
        let number = self.number;
        let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        let text = String::from_utf8_lossy(line);
        // The limit counts the text that is sent. Bytes that are not UTF-8 grow
        // when they are replaced.
        if mem::take(&mut self.too_long) || text.len() > self.limit {
            lines.push(Input::TooLong { number });
        } else if !is_blank(&text) {
            let text = text.into_owned();
            lines.push(Input::Line { number, text });
        }
        self.partial.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Lines as `number:text`, and lines over the limit as `number!`.
    fn shown(lines: &[Input]) -> Vec<String> {
        lines
            .iter()
            .map(|line| match line {
                Input::Line { number, text } => format!("{number}:{text}"),
                Input::TooLong { number } => format!("{number}!"),
                Input::Failed(error) => error.to_string(),
            })
            .collect()
    }

    fn split(limit: usize, chunks: &[&[u8]]) -> Vec<String> {
        let (mut splitter, mut lines) = (Splitter::new(limit), Vec::new());
        for chunk in chunks {
            splitter.feed(chunk, &mut lines);
        }
        splitter.finish(&mut lines);
        shown(&lines)
    }

    #[test]
    fn input_is_cut_into_numbered_lines() {
        let cases: [(&[u8], &[&str]); 10] = [
            (b"", &[]),
            (b"\n\n", &[]),
            (b"a\nb\n", &["1:a", "2:b"]),
            (b"a\n\n\nb", &["1:a", "4:b"]),
            (b"a\r\n\r\nb\rc\r", &["1:a", "3:b\rc"]),
            (b" \n /name x\n", &["2: /name x"]),
            (b"\xff\xe2\x82\n", &["1:\u{fffd}\u{fffd}"]),
            (b"12345678\n123456789\nx", &["1:12345678", "2!", "3:x"]),
            (b"12345678\r\n12345678\r\r\n", &["1:12345678", "2!"]),
            // Three bytes that are not UTF-8 are replaced by nine.
            (b"\xff\xff\xff\nx\n123456789", &["1!", "2:x", "3!"]),
        ];
        for (input, lines) in cases {
            assert_eq!(split(8, &[input]), lines, "{input:?}");
        }
    }

    #[test]
    fn a_line_over_the_limit_takes_no_memory() {
        let (mut splitter, mut lines) = (Splitter::new(8), Vec::new());
        for _ in 0..1000 {
            splitter.feed(&[b'x'; 1000], &mut lines);
        }
        assert!(splitter.partial.capacity() <= 16);
        splitter.feed(b"x\ny\n", &mut lines);
        assert_eq!(shown(&lines), ["1!", "2:y"]);
    }

    #[tokio::test]
    async fn input_is_read_to_its_end() {
        let mut input = read(&b"a\n\nb"[..], 8).expect("a thread");
        let mut lines = Vec::new();
        while let Some(more) = input.recv().await {
            lines.extend(more);
        }
        assert_eq!(shown(&lines), ["1:a", "3:b"]);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_the_chunks(input in "[ab\r\né]{0,40}", size in 1_usize..8) {
            let whole = split(8, &[input.as_bytes()]);
            let chunks: Vec<&[u8]> = input.as_bytes().chunks(size).collect();
            prop_assert_eq!(split(8, &chunks), whole);
        }
    }
}
