//! Maps keys, and other events of the terminal, to actions.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::editor::To;

/// An action of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
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
    /// Ctrl-D: leaves if no text is typed, otherwise erases to the right.
    End,
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
pub(super) fn action(event: Event) -> Option<Action> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => pressed(key),
        Event::Paste(text) => Some(Action::Paste(text)),
        Event::Resize(columns, rows) => Some(Action::Resize { columns, rows }),
        Event::FocusGained => Some(Action::Focus(true)),
        Event::FocusLost => Some(Action::Focus(false)),
        _ => None,
    }
}

fn pressed(key: KeyEvent) -> Option<Action> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let alt = key.modifiers.contains(KeyModifiers::ALT);
    let shift = key.modifiers.contains(KeyModifiers::SHIFT);
    let word = control || alt;
    Some(match key.code {
        KeyCode::Enter if alt || shift => Action::NewLine,
        KeyCode::Enter => Action::Submit,
        KeyCode::Tab => Action::Complete { back: false },
        KeyCode::BackTab => Action::Complete { back: true },
        KeyCode::Esc => Action::Cancel,
        KeyCode::Left if word => Action::Go(To::WordLeft),
        KeyCode::Right if word => Action::Go(To::WordRight),
        KeyCode::Left => Action::Go(To::Left),
        KeyCode::Right => Action::Go(To::Right),
        KeyCode::Home if control => Action::Go(To::Start),
        KeyCode::End if control => Action::Go(To::End),
        KeyCode::Home => Action::Go(To::LineStart),
        KeyCode::End => Action::Go(To::LineEnd),
        KeyCode::Up => Action::Up,
        KeyCode::Down => Action::Down,
        KeyCode::Backspace if word => Action::Erase(To::WordLeft),
        KeyCode::Backspace => Action::Erase(To::Left),
        KeyCode::Delete if word => Action::Erase(To::WordRight),
        KeyCode::Delete => Action::Erase(To::Right),
        KeyCode::Char(c) if control => return controlled(c),
        KeyCode::Char(c) if alt => match c {
            'b' => Action::Go(To::WordLeft),
            'f' => Action::Go(To::WordRight),
            'd' => Action::Erase(To::WordRight),
            '<' => Action::Go(To::Start),
            '>' => Action::Go(To::End),
            '_' | '/' => Action::Redo,
            _ => return None,
        },
        KeyCode::Char(c) => Action::Type(c),
        _ => return None,
    })
}

fn controlled(c: char) -> Option<Action> {
    Some(match c {
        'a' => Action::Go(To::LineStart),
        'e' => Action::Go(To::LineEnd),
        'b' => Action::Go(To::Left),
        'f' => Action::Go(To::Right),
        'h' => Action::Erase(To::Left),
        'w' => Action::Erase(To::BlankLeft),
        'u' => Action::Erase(To::LineStart),
        'k' => Action::Erase(To::LineEnd),
        'y' => Action::Yank,
        // crossterm reports Ctrl-_ and Ctrl-/ as Ctrl-7.
        '7' | '_' | '/' => Action::Undo,
        'p' => Action::Earlier,
        'n' => Action::Later,
        'j' => Action::NewLine,
        'l' => Action::Redraw,
        'd' => Action::End,
        'c' => Action::Interrupt,
        'z' => Action::Suspend,
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
            (KeyCode::Char('a'), none, Some(Action::Type('a'))),
            (
                KeyCode::Char('A'),
                KeyModifiers::SHIFT,
                Some(Action::Type('A')),
            ),
            (KeyCode::Char('7'), control, Some(Action::Undo)),
            (KeyCode::Char('_'), alt, Some(Action::Redo)),
            (KeyCode::Enter, none, Some(Action::Submit)),
            (KeyCode::Enter, alt, Some(Action::NewLine)),
            (KeyCode::Left, control, Some(Action::Go(To::WordLeft))),
            (KeyCode::Backspace, alt, Some(Action::Erase(To::WordLeft))),
            (KeyCode::Char('z'), control, Some(Action::Suspend)),
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
