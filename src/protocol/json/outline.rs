//! Finds the outline of a frame in one pass, without building its values.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use super::scan::Scan;
use crate::protocol::{
    command::table::{self, REF},
    name::MessageId,
    request::{FrameKind, Outline},
};

/// The `id` of a frame with a value that cannot be read.
#[derive(Deserialize)]
struct IdField {
    #[serde(default)]
    id: Option<MessageId>,
}

/// The outline of a frame. If the frame is no JSON object, the outline has at
/// most an `id`. Without its `id`, a publisher of half a surrogate pair would
/// wait for an answer for ever.
pub fn outline(frame: &str) -> Outline {
    // An error of `serde_json` about another value would quote it.
    let scanned = frame.trim_start().starts_with('{').then(|| {
        let mut parser = serde_json::Deserializer::from_str(frame);
        let outline = parser.deserialize_map(OutlineVisitor)?;
        parser.end().map(|()| outline)
    });
    match scanned {
        Some(Ok(outline)) => outline,
        Some(Err(_)) => {
            let read = serde_json::from_str::<IdField>(frame).ok();
            let id = read.and_then(|field| field.id);
            let outline = Outline::new(FrameKind::NoObject);
            Outline { id, ..outline }
        }
        None => Outline::new(FrameKind::NoObject),
    }
}

/// The keys that the outline needs.
enum Key {
    Type,
    Id,
    Follows,
    Ref,
    Other,
}

impl Key {
    fn of(name: &str) -> Self {
        match name {
            "type" => Key::Type,
            "id" => Key::Id,
            "follows" => Key::Follows,
            _ if name == REF.name => Key::Ref,
            _ => Key::Other,
        }
    }
}

struct OutlineVisitor;

impl<'de> Visitor<'de> for OutlineVisitor {
    type Value = Outline;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Outline, A::Error> {
        let mut outline = Outline::new(FrameKind::NoType);
        let mut has_ref = false;
        loop {
            let mut key = Key::Other;
            let read = |name: &str| key = Key::of(name);
            if object.next_key_seed(Scan(read))?.is_none() {
                return Ok(outline);
            }
            // Repeated keys are refused later; here they must cost nothing.
            match key {
                Key::Type => {
                    outline.kind = FrameKind::NoType;
                    object.next_value_seed(Scan(|name: &str| {
                        outline.kind = table::by_json_type(name)
                            .map_or(FrameKind::UnknownType, FrameKind::Command);
                    }))?;
                }
                Key::Id => object.next_value_seed(Scan(|id: &str| {
                    outline.id = outline.id.take().or_else(|| id.parse().ok());
                }))?,
                Key::Follows => object.next_value_seed(Scan(|id: &str| {
                    outline.follows = outline.follows.take().or_else(|| id.parse().ok());
                }))?,
                Key::Ref => {
                    outline.reference = None;
                    let again = std::mem::replace(&mut has_ref, true);
                    object.next_value_seed(Scan(|text: &str| {
                        outline.reference = (!again).then(|| text.parse().ok()).flatten();
                    }))?;
                }
                Key::Other => object.next_value_seed(Scan::NOTHING)?,
            }
        }
    }
}
