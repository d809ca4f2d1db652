//! Reads the fields of a command, and builds the command from them.

use std::{borrow::Cow, fmt, iter};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor, value::MapDeserializer},
};

use super::{mistake::Mistake, scan::Scan};
use crate::protocol::{
    Command,
    command::table::{CommandSpec, Field, REF},
    scalar::{FieldError, ObjectScalar, Scalar},
};

/// The fields of a command in the order of its frame, up to the first field that
/// is there twice. A ref that is there twice ends nothing.
pub(super) struct Fields<'a> {
    spec: &'static CommandSpec,
    values: Vec<(&'static Field, Scalar<'a>)>,
    repeated: Option<&'static str>,
    repeated_ref: bool,
}

impl<'a> Fields<'a> {
    /// Reads the declared fields of a command; all others are skipped.
    ///
    /// # Errors
    /// Fails if the frame is no JSON object.
    pub(super) fn read(
        frame: &'a str,
        spec: &'static CommandSpec,
    ) -> Result<Self, serde_json::Error> {
        let fields = Fields {
            spec,
            values: Vec::with_capacity(spec.fields.len() + 1),
            repeated: None,
            repeated_ref: false,
        };
        serde_json::Deserializer::from_str(frame).deserialize_map(fields)
    }

    /// Builds the command.
    ///
    /// # Errors
    /// Fails with the first mistake in the frame.
    pub(super) fn command(&self) -> Result<Command, Mistake> {
        let kind = Scalar::Text(Cow::Borrowed(self.spec.json_type.unwrap_or_default()));
        let values = self.values.iter().map(|(field, value)| (field.name, value));
        let object = MapDeserializer::new(iter::once(("type", &kind)).chain(values));
        let command = Command::deserialize(object);
        match (command, self.repeated, self.wrong_ref()) {
            (Ok(command), None, None) => Ok(command),
            _ => Err(self.mistake()),
        }
    }

    /// The first mistake in the frame. A wrong ref comes after all others.
    fn mistake(&self) -> Mistake {
        let own = self.values.iter().filter(|(field, _)| !is_ref(field));
        let mut wrong = own.filter_map(|(field, value)| wrong(field, value));
        let repeated = self.repeated.map(|field| Mistake::Repeated { field });
        let needed = self.spec.fields.iter().filter(|field| field.needed);
        let mut missing = needed.filter(|field| self.get(field).is_none());
        wrong
            .next()
            .or(repeated)
            .or_else(|| {
                let field = missing.next()?.name;
                Some(Mistake::Missing { field })
            })
            .or_else(|| self.wrong_ref())
            // The table disagrees with the command; no frame is known for it.
            .unwrap_or(Mistake::Wrong {
                field: "type",
                why: FieldError::WrongType,
            })
    }

    fn wrong_ref(&self) -> Option<Mistake> {
        if self.repeated_ref {
            return Some(Mistake::Repeated { field: REF.name });
        }
        wrong(&REF, self.get(&REF)?)
    }

    fn get(&self, field: &Field) -> Option<&Scalar<'a>> {
        let mut values = self.values.iter();
        values.find_map(|(other, value)| (other.name == field.name).then_some(value))
    }
}

fn is_ref(field: &Field) -> bool {
    field.name == REF.name
}

/// The mistake of a value that the field cannot hold.
fn wrong(field: &Field, value: &Scalar<'_>) -> Option<Mistake> {
    let why = (field.check)(value).err()?;
    let field = field.name;
    Some(Mistake::Wrong { field, why })
}

/// A key of a command's object.
enum Key {
    Type,
    Field(&'static Field),
    Other,
}

impl Key {
    fn of(name: &str, spec: &'static CommandSpec) -> Self {
        let mut fields = spec.fields.iter().chain(iter::once(&REF));
        match name {
            "type" => Key::Type,
            _ => fields
                .find(|field| field.name == name)
                .map_or(Key::Other, Key::Field),
        }
    }
}

impl<'de> Visitor<'de> for Fields<'de> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<Self, A::Error> {
        let mut has_type = false;
        loop {
            let mut key = Key::Other;
            let read = |name: &str| key = Key::of(name, self.spec);
            if object.next_key_seed(Scan(read))?.is_none() {
                return Ok(self);
            }
            match key {
                _ if self.repeated.is_some() => {}
                Key::Type if has_type => self.repeated = Some("type"),
                Key::Type => has_type = true,
                Key::Field(field) if self.get(field).is_none() => {
                    let value = if field.is_object {
                        object.next_value_seed(ObjectScalar)?
                    } else {
                        object.next_value()?
                    };
                    self.values.push((field, value));
                    continue;
                }
                Key::Field(field) if is_ref(field) => self.repeated_ref = true,
                Key::Field(field) => self.repeated = Some(field.name),
                Key::Other => {}
            }
            // The outline checked the syntax of all values.
            object.next_value::<IgnoredAny>()?;
        }
    }
}
