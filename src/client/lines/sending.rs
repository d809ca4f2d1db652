//! Sends the lines of the input: as messages, or as the commands typed.

use std::io::Write;

use super::{super::input::Input, Lines, Source};
use crate::protocol::{
    Command, Event, LastOf, PublishKind, Refusal, RefusalCode, misplaced_secret, plain, text::Text,
    typed,
};

impl<W: Write> Lines<'_, W> {
    /// Sends a line of the input, or complains about it.
    pub(super) fn send_line(&mut self, input: Input) {
        let limit = self.client.welcome().limits.text_bytes;
        match (self.options.source, input) {
            (Source::Pipe, Input::Line { number, text })
                if misplaced_secret::check(&text).is_err() =>
            {
                self.count_unstored(format_args!(
                    "line {number} looks like a command with a secret and was not sent"
                ));
            }
            (Source::Pipe, Input::Line { number, text }) => match self.options.ids.of(number) {
                Ok(id) => self.client.send(Command::Publish {
                    text,
                    id: Some(id),
                    kind: PublishKind::Said,
                    about: None,
                    follows: None,
                }),
                Err(why) => self.count_unstored(format_args!("line {number} was not sent: {why}")),
            },
            (Source::Pipe, Input::TooLong { number }) => self.count_unstored(format_args!(
                "line {number} has more than {limit} bytes and was not sent"
            )),
            (Source::Terminal, Input::Line { number, text }) => self.typed(number, &text),
            (Source::Terminal, Input::TooLong { .. }) => {
                let why = format!(
                    "The line is too long and was not sent: at most {limit} bytes of text are taken."
                );
                self.put(&Event::Refused(Refusal::new(RefusalCode::TooLong, why)));
            }
            (_, Input::Failed(error)) => self.unreadable = Some(error),
        }
    }

    fn typed(&mut self, number: u64, line: &str) {
        let limit = self.client.welcome().limits.text_bytes;
        let last = self.last_private.as_ref();
        let command = typed::parse(line).and_then(|command| {
            let addressed = command.map(|command| {
                let [last_of_all, last_own] = self.last_messages;
                command.addressed(last)?.referring(|among| match among {
                    LastOf::All => last_of_all,
                    LastOf::Own => last_own,
                })
            });
            addressed.transpose()
        });
        let command = match command {
            Ok(Some(command)) => command,
            Ok(None) => return,
            Err(refusal) => return self.put(&Event::Refused(refusal)),
        };
        match command {
            Command::Help => self.put(&plain::help()),
            Command::Publish {
                text, kind, about, ..
            } => match Text::parse(&text, limit) {
                Ok(_) => self.client.send(Command::Publish {
                    text,
                    id: self.options.ids.of(number).ok(),
                    kind,
                    about,
                    follows: None,
                }),
                Err(refusal) => self.put(&Event::Refused(refusal)),
            },
            Command::Private { to, text, .. } => match Text::parse(&text, limit) {
                Ok(_) => self.client.send(Command::Private {
                    to,
                    text,
                    id: self.options.ids.of(number).ok(),
                    follows: None,
                }),
                Err(refusal) => self.put(&Event::Refused(refusal)),
            },
            command => self.client.send(command),
        }
    }
}
