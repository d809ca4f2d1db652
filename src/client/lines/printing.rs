//! Prints what happens: events on the output, complaints beside it.

use std::{borrow::Cow, fmt, io::Write};

use super::{
    super::{ClientEvent, ConnectionState, End, Frame, one_line},
    Lines, ReportedState, Source,
};
use crate::protocol::{Event, json, plain, text::sanitize};

impl<W: Write> Lines<'_, W> {
    /// Prints what happened; returns the end without printing it.
    pub(super) fn show(&mut self, happened: ClientEvent) -> Option<End> {
        match happened {
            ClientEvent::Event(frame, event) => {
                let mut shown = event;
                match &shown {
                    Event::Live { .. } => self.live = true,
                    Event::Message(message) => {
                        let you = &self.client.welcome().you;
                        let own = message.from.name == you.name
                            && (you.name.is_some() || message.from.addr == you.addr);
                        self.last_messages[0] = Some(message.seq);
                        if own {
                            self.last_messages[1] = Some(message.seq);
                        }
                    }
                    Event::Private(private) if !private.sent => {
                        self.last_private.clone_from(&private.from.name);
                    }
                    Event::Welcome(welcome) => {
                        self.live = false;
                        // A person reads one welcome, and a line for each later
                        // room. A new connection to the same room needs none.
                        if matches!(self.reported, ReportedState::Back) {
                            self.reported = ReportedState::Behind;
                            if !self.options.json {
                                return None;
                            }
                        }
                        self.last_messages = [None; 2];
                        let first = !std::mem::replace(&mut self.welcomed, true);
                        if first && !self.options.welcome && !self.options.json {
                            return None;
                        }
                        if !first {
                            shown = plain::joined(&welcome.room, welcome.topic.as_ref());
                        }
                    }
                    _ => {}
                }
                self.put_told(&frame, &shown);
                if self.client.is_kept() && self.printer.is_open() {
                    self.printed_position = self.client.position().cloned();
                }
            }
            ClientEvent::Refused { frame, id, text } => {
                if self.options.source == Source::Pipe {
                    match self.options.ids.line(&id) {
                        Some(line) => {
                            self.count_unstored(format_args!("line {line} was not stored: {text}"));
                        }
                        None => self
                            .count_unstored(format_args!("an earlier line was not stored: {text}")),
                    }
                }
                if self.options.json || self.options.source == Source::Terminal {
                    self.put_told(&frame, &Event::Notice { text });
                }
            }
            ClientEvent::Renewed { frame, id, new_id } => {
                self.options.ids.renew(&id, new_id);
                self.put_for_programs(&frame);
            }
            ClientEvent::Hidden(frame, _) | ClientEvent::ForPrograms(frame) => {
                self.put_for_programs(&frame);
            }
            ClientEvent::Missing { after, next } => self.complain(format_args!(
                "messages between {after} and {next} are missing, and the server does not say why"
            )),
            ClientEvent::State(state) => self.show_state(state),
            ClientEvent::Ended(end) => return Some(end),
        }
        None
    }

    /// Complains about a change of the connection, once for each change.
    fn show_state(&mut self, state: ConnectionState) {
        let said = match state {
            ConnectionState::Offline { .. } if self.is_offline() => return,
            ConnectionState::Offline { why, unsent, .. } => {
                let said = format!("offline ({why}), {unsent} unsent; trying again");
                self.reported = ReportedState::Offline(why);
                said
            }
            ConnectionState::Connected => {
                self.reported = ReportedState::Back;
                "connected again".to_owned()
            }
            ConnectionState::CaughtUp if matches!(self.reported, ReportedState::Behind) => {
                self.reported = ReportedState::Up;
                "caught up".to_owned()
            }
            ConnectionState::CatchingUp { .. } | ConnectionState::CaughtUp => return,
            ConnectionState::Refusing { why, unsent, .. } => {
                format!("the server takes no more for now ({why}), {unsent} unsent; trying again")
            }
        };
        if self.options.states {
            self.complain(format_args!("{said}"));
        }
    }

    /// Prints an event of the server, as received or in the plain format.
    fn put_told(&mut self, frame: &Frame, event: &Event) {
        // A program that counts the lines of a pipe gets those that it knows.
        let is_extra = matches!(event, Event::Away { .. }) && self.options.source == Source::Pipe;
        match (self.options.quiet, self.options.json) {
            (true, _) => {}
            (false, false) if is_extra => {}
            (false, true) => self.printer.put(&one_line(frame.text())),
            (false, false) => self.put(event),
        }
    }

    /// Prints an event that only programs read.
    fn put_for_programs(&mut self, frame: &Frame) {
        if self.options.json && !self.options.quiet {
            self.printer.put(&one_line(frame.text()));
        }
    }

    /// Prints an event that the client itself made.
    pub(super) fn put(&mut self, event: &Event) {
        if self.options.json {
            self.printer.put(&one_line(&json::event(event)));
        } else if let Some(line) = plain::event(event) {
            self.printer.put(&self.with_time(event, safe_line(&line)));
        }
    }

    /// A line with the time of its message before it, if the user wants times.
    fn with_time<'l>(&self, event: &Event, line: Cow<'l, str>) -> Cow<'l, str> {
        let at = match event {
            Event::Message(message) => message.at,
            Event::Private(private) => private.at,
            Event::Changed(change) => change.at,
            _ => return line,
        };
        match &self.options.times {
            Some(zone) => format!("{} {line}", at.local(zone).strftime("%F %T")).into(),
            None => line,
        }
    }

    pub(super) fn count_unstored(&mut self, why: fmt::Arguments<'_>) {
        self.unstored += 1;
        self.complain(why);
    }

    pub(super) fn complain(&mut self, why: fmt::Arguments<'_>) {
        // If this cannot be written, the exit code still tells.
        let _ = writeln!(self.complaints, "client: {}", one_line(&why.to_string()));
    }
}

/// Makes a line of the plain format safe to print. Every further line in it is
/// indented, so that it cannot pose as another person's message.
fn safe_line(line: &str) -> Cow<'_, str> {
    match sanitize(line) {
        Cow::Borrowed(line) => line.into(),
        Cow::Owned(line) => {
            let mut safe = String::with_capacity(line.len());
            for (n, part) in line.split('\n').enumerate() {
                safe.push_str(match n {
                    0 => "",
                    _ if part.starts_with("  ") => "\n",
                    _ => "\n  ",
                });
                safe.push_str(part);
            }
            safe.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cannot_control_the_terminal_or_fake_another() {
        for (line, safe) in [
            ("ana: a\n  b", "ana: a\n  b"),
            ("* \u{1b}[2Ja", "* \u{fffd}[2Ja"),
            ("* a\rbob: b", "* a\n  bob: b"),
            ("* a\n  b\u{2028}bob: c", "* a\n  b\n  bob: c"),
        ] {
            assert_eq!(safe_line(line), safe);
        }
    }
}
