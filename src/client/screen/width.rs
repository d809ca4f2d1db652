//! The width of text on the screen, in cells.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The width of a text on the screen, in cells.
pub(super) fn text_width(text: &str) -> usize {
    text.graphemes(true)
        .map(|g| grapheme_width(visible_form(g)))
        .sum()
}

/// The largest width of a grapheme, in cells: some terminals draw joined
/// characters side by side.
pub(super) fn grapheme_width(grapheme: &str) -> usize {
    let apart = grapheme.chars().filter_map(UnicodeWidthChar::width).sum();
    grapheme.width().max(apart)
}

/// The text that the editor shows for a grapheme.
pub(super) fn visible_form(grapheme: &str) -> &str {
    match grapheme {
        "\t" => "→",
        // Without a width it would be invisible.
        grapheme if grapheme.width() == 0 => "\u{b7}",
        grapheme => grapheme,
    }
}
