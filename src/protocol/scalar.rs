//! JSON values as the fields of commands hold them.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeSeed, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::MapDeserializer,
    },
    forward_to_deserialize_any,
};

/// The most entries of an object that a field holds.
const MAX_ENTRIES: usize = 64;

/// A JSON value of a command. No field of a command holds a list.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number from 0 on.
    Unsigned(u64),
    /// A whole number below 0.
    Signed(i64),
    /// Any other number.
    Float(f64),
    /// A string; borrowed from the frame if it has no escapes.
    Text(Cow<'a, str>),
    /// An object of a field that holds one, with at most 64 entries.
    Object(Vec<(Cow<'a, str>, Scalar<'a>)>),
    /// Any other list or object, whose content is dropped.
    Nested,
}

/// The mistake of a value that a field cannot hold. It never quotes the value,
/// which may be as long as the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// The value has another type, or is none of the values of its type.
    WrongType,
    /// The value breaks this rule of the field.
    RuleBroken(String),
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldError::WrongType => f.write_str("the value has a wrong type"),
            FieldError::RuleBroken(rule) => f.write_str(rule),
        }
    }
}

impl std::error::Error for FieldError {}

impl de::Error for FieldError {
    fn custom<T: fmt::Display>(rule: T) -> Self {
        FieldError::RuleBroken(rule.to_string())
    }

    fn invalid_type(_: de::Unexpected<'_>, _: &dyn de::Expected) -> Self {
        FieldError::WrongType
    }

    fn invalid_value(_: de::Unexpected<'_>, _: &dyn de::Expected) -> Self {
        FieldError::WrongType
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        FieldError::WrongType
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keeps_object = false;
        deserializer.deserialize_any(ScalarVisitor { keeps_object })
    }
}

/// Reads the value of a field that holds an object.
pub struct ObjectScalar;

impl<'de> DeserializeSeed<'de> for ObjectScalar {
    type Value = Scalar<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar<'de>, D::Error> {
        let keeps_object = true;
        deserializer.deserialize_any(ScalarVisitor { keeps_object })
    }
}

struct ScalarVisitor {
    keeps_object: bool,
}

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Unsigned(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Signed(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Scalar<'de>, A::Error> {
        IgnoredAny.visit_seq(list)?;
        Ok(Scalar::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Scalar<'de>, A::Error> {
        if !self.keeps_object {
            IgnoredAny.visit_map(object)?;
            return Ok(Scalar::Nested);
        }
        let mut entries = Vec::new();
        while let Some(entry) = object.next_entry()? {
            let (Scalar::Text(key), value) = entry else {
                continue;
            };
            entries.push((key, value));
            if entries.len() > MAX_ENTRIES {
                IgnoredAny.visit_map(object)?;
                return Ok(Scalar::Nested);
            }
        }
        Ok(Scalar::Object(entries))
    }
}

impl<'de> Deserializer<'de> for &'de Scalar<'_> {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match self {
            Scalar::Null => visitor.visit_unit(),
            Scalar::Bool(value) => visitor.visit_bool(*value),
            Scalar::Unsigned(number) => visitor.visit_u64(*number),
            Scalar::Signed(number) => visitor.visit_i64(*number),
            Scalar::Float(number) => visitor.visit_f64(*number),
            Scalar::Text(text) => visitor.visit_borrowed_str(text),
            Scalar::Object(fields) => {
                let fields = fields.iter().map(|(key, value)| (&**key, value));
                visitor.visit_map(MapDeserializer::new(fields))
            }
            Scalar::Nested => Err(FieldError::WrongType),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match self {
            Scalar::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        match self {
            Scalar::Text(text) => visitor.visit_enum((&**text).into_deserializer()),
            _ => Err(FieldError::WrongType),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        bytes byte_buf unit unit_struct newtype_struct seq tuple tuple_struct
        map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, FieldError> for &'de Scalar<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
