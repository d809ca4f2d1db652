//! Maps keys, and other events of the terminal, to actions.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::editor::To;

/// An action of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyAction {
    Type(char),
    Paste(String),
    NewLine,
    Submit,
    Go(To),
    Erase(To),
    /// A line up, or the text sent before.
    Up,
    /// A line down, or the text sent after.
    Down,
    /// Picks a message: the one before, or after, the picked one.
    Pick {
        back: bool,
    },
    Earlier,
    Later,
    Yank,
    Undo,
    Redo,
    Complete {
        back: bool,
    },
    Cancel,
    Redraw,
    /// Opens the switcher of rooms, or chooses its next candidate.
    Switch,
    /// Goes to the place of this number, from 1.
    Place(usize),
    /// Opens the typed text in an editor.
    Edit,
    /// Ctrl-D: leaves if no text is typed, otherwise erases to the right.
    EndOfInput,
    /// Ctrl-C: leaves when pressed twice.
    Interrupt,
    Suspend,
    Resize {
        columns: u16,
        rows: u16,
    },
    /// The terminal has gained the focus, or lost it.
    Focus(bool),
}

/// The action of a terminal event; `None` if it has none.
pub(super) fn action(event: Event) -> Option<KeyAction> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => pressed(key),
        Event::Paste(text) => Some(KeyAction::Paste(text)),
        Event::Resize(columns, rows) => Some(KeyAction::Resize { columns, rows }),
        Event::FocusGained => Some(KeyAction::Focus(true)),
        Event::FocusLost => Some(KeyAction::Focus(false)),
        _ => None,
    }
}

fn pressed(key: KeyEvent) -> Option<KeyAction> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    let shift = key.modifiers.contains(KeyModifiers::SHIFT);
    let word = control || alt;
    Some(match key.code {
        KeyCode::Enter if alt || shift => KeyAction::NewLine,
        KeyCode::Enter => KeyAction::Submit,
        KeyCode::Tab => KeyAction::Complete { back: false },
        KeyCode::BackTab => KeyAction::Complete { back: true },
        KeyCode::Esc => KeyAction::Cancel,
        KeyCode::Left if word => KeyAction::Go(To::WordLeft),
        KeyCode::Right if word => KeyAction::Go(To::WordRight),
        KeyCode::Left => KeyAction::Go(To::Left),
        KeyCode::Right => KeyAction::Go(To::Right),
        KeyCode::Home if control => KeyAction::Go(To::Start),
        KeyCode::End if control => KeyAction::Go(To::End),
        KeyCode::Home => KeyAction::Go(To::LineStart),
        KeyCode::End => KeyAction::Go(To::LineEnd),
        KeyCode::Up if alt => KeyAction::Pick { back: true },
        KeyCode::Down if alt => KeyAction::Pick { back: false },
        KeyCode::Up => KeyAction::Up,
        KeyCode::Down => KeyAction::Down,
        KeyCode::Backspace if word => KeyAction::Erase(To::WordLeft),
        KeyCode::Backspace => KeyAction::Erase(To::Left),
        KeyCode::Delete if word => KeyAction::Erase(To::WordRight),
        KeyCode::Delete => KeyAction::Erase(To::Right),
        KeyCode::Char(c) if control => return controlled(c),
        KeyCode::Char(c) if alt => match c {
            'b' => KeyAction::Go(To::WordLeft),
            'f' => KeyAction::Go(To::WordRight),
            'd' => KeyAction::Erase(To::WordRight),
            'k' => KeyAction::Erase(To::LineEnd),
            'e' => KeyAction::Edit,
            '1'..='9' => KeyAction::Place(c.to_digit(10)? as usize),
            '<' => KeyAction::Go(To::Start),
            '>' => KeyAction::Go(To::End),
            '_' | '/' => KeyAction::Redo,
            _ => return None,
        },
        KeyCode::Char(c) => KeyAction::Type(c),
        _ => return None,
    })
}

fn controlled(c: char) -> Option<KeyAction> {
    Some(match c {
        'a' => KeyAction::Go(To::LineStart),
        'e' => KeyAction::Go(To::LineEnd),
        'b' => KeyAction::Go(To::Left),
        'f' => KeyAction::Go(To::Right),
        'h' => KeyAction::Erase(To::Left),
        'w' => KeyAction::Erase(To::WhitespaceLeft),
        'u' => KeyAction::Erase(To::LineStart),
        'k' => KeyAction::Switch,
        'y' => KeyAction::Yank,
        // crossterm reports Ctrl-_ and Ctrl-/ as Ctrl-7.
        '7' | '_' | '/' => KeyAction::Undo,
        'p' => KeyAction::Earlier,
        'n' => KeyAction::Later,
        'j' => KeyAction::NewLine,
        'l' => KeyAction::Redraw,
        'd' => KeyAction::EndOfInput,
        'c' => KeyAction::Interrupt,
        'z' => KeyAction::Suspend,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_map_to_actions() {
        let none = KeyModifiers::NONE;
        let (control, alt) = (KeyModifiers::CONTROL, KeyModifiers::ALT);
        for (code, modifiers, wanted) in [
            (KeyCode::Char('a'), none, Some(KeyAction::Type('a'))),
            (
                KeyCode::Char('A'),
                KeyModifiers::SHIFT,
                Some(KeyAction::Type('A')),
            ),
            (KeyCode::Char('7'), control, Some(KeyAction::Undo)),
            (KeyCode::Char('_'), alt, Some(KeyAction::Redo)),
            (KeyCode::Char('3'), alt, Some(KeyAction::Place(3))),
            (KeyCode::Char('k'), control, Some(KeyAction::Switch)),
            (KeyCode::Enter, none, Some(KeyAction::Submit)),
            (KeyCode::Enter, alt, Some(KeyAction::NewLine)),
            (KeyCode::Up, alt, Some(KeyAction::Pick { back: true })),
            (KeyCode::Left, control, Some(KeyAction::Go(To::WordLeft))),
            (
                KeyCode::Backspace,
                alt,
                Some(KeyAction::Erase(To::WordLeft)),
            ),
            (KeyCode::Char('z'), control, Some(KeyAction::Suspend)),
            (KeyCode::Char('x'), control, None),
            (KeyCode::F(1), none, None),
        ] {
            let key = KeyEvent::new(code, modifiers);
            assert_eq!(action(Event::Key(key)), wanted, "{key:?}");
        }
        let released = KeyEvent::new_with_kind(
            KeyCode::Char('a'),
            KeyModifiers::NONE,
            KeyEventKind::Release,
        );
        assert_eq!(action(Event::Key(released)), None);
    }
}
