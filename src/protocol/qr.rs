//! QR codes of URLs.

use qrcode_generator::qr::{Encoder, ErrorCorrection};

/// The light modules around a code, which readers need.
const QUIET: usize = 2;

/// The rows of a QR code, with `#` for a dark module and `.` for a light one.
/// There are none if the text is too long for a code.
pub fn rows(text: &str) -> Vec<String> {
    let encoded = Encoder::new(ErrorCorrection::Low).encode_text(text);
    let Ok(code) = encoded else {
        return Vec::new();
    };
    let row = |row: Vec<bool>| row.into_iter().map(|dark| if dark { '#' } else { '.' });
    code.to_matrix()
        .into_iter()
        .map(|modules| row(modules).collect())
        .collect()
}

/// Draws a QR code with characters, two rows in a line. Light modules have the
/// colour of the text: a terminal is dark.
pub fn draw(rows: &[String]) -> String {
    let size = rows.len();
    let is_light = |row: usize, column: usize| {
        let module = |at: usize| at.checked_sub(QUIET).filter(|at| *at < size);
        let (Some(row), Some(column)) = (module(row), module(column)) else {
            return true;
        };
        rows.get(row).and_then(|row| row.as_bytes().get(column)) != Some(&b'#')
    };
    let whole = if size == 0 { 0 } else { size + 2 * QUIET };
    let mut drawn = String::new();
    for row in (0..whole).step_by(2) {
        let pair = |column| match (is_light(row, column), is_light(row + 1, column)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        };
        if row > 0 {
            drawn.push('\n');
        }
        drawn.extend((0..whole).map(pair));
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_drawn_with_a_light_border() {
        let rows = rows("http://127.0.0.1:2000/tea#link=0123456789abcdefghijkl");
        assert!(rows.len() >= 21 && rows.iter().all(|row| row.len() == rows.len()));
        // The finder pattern in the corner.
        assert!(rows[0].starts_with("#######.") && rows[1].starts_with("#.....#."));
        let drawn = draw(&rows);
        let lines: Vec<_> = drawn.lines().collect();
        assert_eq!(lines.len(), (rows.len() + 2 * QUIET).div_ceil(2));
        assert!(lines[0].chars().all(|c| c == '█'));
        assert!(lines[1].starts_with("██ ▄▄▄▄▄ █"), "{drawn}");
        assert_eq!(draw(&[]), "");
    }
}
