//! Tests of movements, erasures, undo and rows.

use proptest::prelude::*;

use super::*;

const FAMILY: &str = "👨‍👩‍👧";

/// The text, with a bar at the cursor.
fn seen(editor: &Editor) -> String {
    let (left, right) = editor.text().split_at(editor.cursor());
    format!("{left}|{right}")
}

fn at(seen: &str) -> Editor {
    let (left, right) = seen.split_once('|').expect("a cursor");
    let mut editor = Editor::with(format!("{left}{right}"));
    editor.now.cursor = left.len();
    editor
}

#[test]
fn movements_and_erasures_keep_graphemes_whole() {
    let cases: [(&str, To, &str, &str); 18] = [
        ("ab|c", To::Left, "a|bc", "a|c"),
        ("ab|c", To::Right, "abc|", "ab|"),
        ("|ab", To::Left, "|ab", "|ab"),
        ("ab|", To::Right, "ab|", "ab|"),
        ("日本|語", To::Left, "日|本語", "日|語"),
        ("日本|語", To::Right, "日本語|", "日本|"),
        ("e\u{301}|x", To::Left, "|e\u{301}x", "|x"),
        ("a👨‍👩‍👧|b", To::Left, "a|👨‍👩‍👧b", "a|b"),
        ("a|👨‍👩‍👧b", To::Right, "a👨‍👩‍👧|b", "a|b"),
        ("🇩🇪🇫🇷|", To::Left, "🇩🇪|🇫🇷", "🇩🇪|"),
        ("👍🏽|", To::Left, "|👍🏽", "|"),
        ("one two.| x", To::WordLeft, "one |two. x", "one | x"),
        ("one| two x", To::WordRight, "one two| x", "one| x"),
        ("a one,two |x", To::WhitespaceLeft, "a |one,two x", "a |x"),
        ("a\nbc|d\ne", To::LineStart, "a\n|bcd\ne", "a\n|d\ne"),
        ("a\nb|cd\ne", To::LineEnd, "a\nbcd|\ne", "a\nb|\ne"),
        ("a\nb|c", To::Start, "|a\nbc", "|c"),
        ("a|\nbc", To::End, "a\nbc|", "a|"),
    ];
    for (before, to, gone, erased) in cases {
        let mut editor = at(before);
        editor.go(to);
        assert_eq!(seen(&editor), gone, "{before:?} {to:?}");
        let mut editor = at(before);
        editor.erase(to);
        assert_eq!(seen(&editor), erased, "{before:?} {to:?}");
        editor.undo();
        assert_eq!(seen(&editor), before, "{to:?} undone");
    }
}

#[test]
fn moving_by_lines_keeps_the_column() {
    let mut editor = at("日本語\nab\nwxyz|");
    assert!(editor.go_line(false));
    assert_eq!(seen(&editor), "日本語\nab|\nwxyz");
    assert!(editor.go_line(false));
    assert_eq!(seen(&editor), "日|本語\nab\nwxyz");
    assert!(!editor.go_line(false));
    assert!(editor.go_line(true) && editor.go_line(true));
    assert!(!editor.go_line(true));
}

#[test]
fn undo_redo_and_yank_restore_text() {
    let mut editor = Editor::default();
    for c in "hello big world".chars() {
        editor.type_char(c);
    }
    editor.erase(To::WhitespaceLeft);
    assert_eq!(seen(&editor), "hello big |");
    editor.yank();
    editor.yank();
    assert_eq!(seen(&editor), "hello big worldworld|");
    for undone in ["hello big world|", "hello big |", "hello big world|"] {
        editor.undo();
        assert_eq!(seen(&editor), undone);
    }
    editor.undo();
    assert_eq!(seen(&editor), "hello big |", "a word at a time");
    editor.redo();
    assert_eq!(seen(&editor), "hello big world|");
    assert_eq!(editor.take(), "hello big world");
    editor.undo();
    assert_eq!(seen(&editor), "hello big world|", "also what was sent");
}

#[test]
fn combining_characters_join_their_neighbours() {
    // A combining mark, and a joiner, arrive as keys of their own.
    let mut editor = at("|x");
    for c in "e\u{301}".chars().chain(FAMILY.chars()) {
        editor.type_char(c);
    }
    assert_eq!(seen(&editor), format!("e\u{301}{FAMILY}|x"));
    editor.erase(To::Left);
    editor.erase(To::Left);
    assert_eq!(seen(&editor), "|x");
    // The first half of a flag joins the second half after it.
    let mut editor = at("|🇪");
    editor.type_char('🇩');
    assert_eq!(seen(&editor), "🇩🇪|");
}

#[test]
fn pasted_text_is_made_safe_and_bounded() {
    let mut editor = Editor::default();
    editor.insert("a\r\nb\u{1b}[2J");
    assert_eq!(seen(&editor), "a\nb\u{fffd}[2J|");
    editor.insert(&"é".repeat(MOST));
    assert!(editor.text().len() <= MOST && editor.text().len() > MOST - 2);
}

#[test]
fn long_lines_are_cut_into_rows() {
    for (text, width, cut, cursor) in [
        ("|", 4, &[""][..], 0),
        ("abc|", 4, &["abc"], 0),
        ("abcdef|", 4, &["abcd", "ef"], 1),
        ("abcd|ef", 4, &["abcd", "ef"], 1),
        ("abcd|\nef", 4, &["abcd", "ef"], 0),
        ("a\n|\nb", 4, &["a", "", "b"], 1),
        ("日本語|", 5, &["日本", "語"], 1),
        ("abc👨‍👩‍👧|", 6, &["abc", FAMILY], 1),
        ("a\n|", 4, &["a", ""], 1),
    ] {
        let editor = at(text);
        let rows = editor.rows(width);
        let seen: Vec<&str> = rows
            .rows
            .iter()
            .map(|row| &editor.text()[row.clone()])
            .collect();
        assert_eq!((&seen[..], rows.cursor), (cut, cursor), "{text:?}");
    }
}

proptest! {
    /// After any edits the cursor is between graphemes, and no row is wider
    /// than allowed.
    #[test]
    fn any_edits_keep_graphemes_and_rows_intact(text in "[a-c日é\u{301}\u{200d}👩🇩🇪 \n\t]{0,20}", keys in prop::collection::vec(0..16_u8, 0..30), width in 2..12_usize) {
        let mut editor = Editor::with(text);
        for key in keys {
            match key {
                0 => editor.go(To::Left),
                1 => editor.go(To::Right),
                2 => editor.go(To::WordLeft),
                3 => editor.go(To::WordRight),
                4 => editor.erase(To::Left),
                5 => editor.erase(To::Right),
                6 => editor.erase(To::WordLeft),
                7 => editor.erase(To::LineEnd),
                8 => editor.undo(),
                9 => editor.redo(),
                10 => editor.yank(),
                11 => editor.type_char('\u{200d}'),
                12 => editor.type_char('👩'),
                13 => editor.insert("\u{301}"),
                14 => { editor.go_line(false); }
                _ => { editor.go_line(true); }
            }
            let at = editor.cursor();
            prop_assert!(editor.text().is_char_boundary(at));
            prop_assert_eq!(editor.boundary(at), at, "{:?}", editor.text());
        }
        let rows = editor.rows(width);
        for row in &rows.rows {
            let text = &editor.text()[row.clone()];
            let one = text.graphemes(true).count() <= 1;
            prop_assert!(one || text_width(text) <= width);
        }
        let row = &rows.rows[rows.cursor];
        prop_assert!(row.start <= editor.cursor() && editor.cursor() <= row.end);
    }
}
