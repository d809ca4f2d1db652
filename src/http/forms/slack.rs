//! The incoming webhook of Slack.

use super::fields::{Object, lines, object, objects, text};

/// A message with text, blocks or attachments. The text only stands in for the
/// blocks, so blocks come in its place.
pub(super) fn read(message: &Object) -> Option<String> {
    let blocks = lines(objects(message, "blocks").map(|one| Some(block(one))));
    let main = if blocks.is_empty() {
        text(message, "text").map(plain)
    } else {
        Some(blocks)
    };
    let attachments = objects(message, "attachments").map(attachment);
    let said = lines([main].into_iter().chain(attachments));
    (!said.is_empty()).then_some(said)
}

fn block(block: &Object) -> String {
    let own = object(block, "text").and_then(|own| text(own, "text"));
    let parts = objects(block, "fields").chain(objects(block, "elements"));
    let parts = parts.map(|part| text(part, "text"));
    lines([own].into_iter().chain(parts).map(|part| part.map(plain)))
}

fn attachment(attachment: &Object) -> Option<String> {
    let part = |field| text(attachment, field).map(plain);
    let title = part("title").map(|title| match text(attachment, "title_link") {
        Some(link) => format!("{title} ({link})"),
        None => title,
    });
    let fields = objects(attachment, "fields").map(field);
    let blocks = objects(attachment, "blocks").map(|one| Some(block(one)));
    let shown = [part("pretext"), title, part("text")].into_iter();
    let said = lines(shown.chain(fields).chain(blocks));
    if said.is_empty() {
        return part("fallback");
    }
    Some(said)
}

/// A field with a title (or, as for Discord, a name) and a value.
pub(super) fn field(field: &Object) -> Option<String> {
    let value = plain(text(field, "value")?);
    Some(match text(field, "title").or_else(|| text(field, "name")) {
        Some(title) => format!("{}: {value}", plain(title)),
        None => value,
    })
}

/// A text without the marks of Slack: `<URL|label>`, `<@U1>`, `&lt;`.
fn plain(text: &str) -> String {
    let mut said = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find('<') {
        let Some(length) = rest[begin..].find('>') else {
            break;
        };
        said.push_str(&rest[..begin]);
        let inner = &rest[begin + 1..begin + length];
        match (inner.split_once('|'), inner.as_bytes().first()) {
            (Some((_, label)), Some(b'#')) => said.extend(["#", label]),
            (Some((_, label)), Some(b'@' | b'!')) => {
                said.extend(["@", label.trim_start_matches('@')]);
            }
            (Some((link, label)), _) => said.extend([label, " (", link, ")"]),
            (None, Some(b'@' | b'!')) => {
                said.push('@');
                said.push_str(&inner[1..]);
            }
            (None, _) => said.push_str(inner),
        }
        rest = &rest[begin + length + 1..];
    }
    said.push_str(rest);
    said.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}
