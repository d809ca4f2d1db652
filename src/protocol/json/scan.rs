//! Passes over JSON values without keeping them.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};

/// Checks the syntax of a value and keeps nothing of it. If the value is a
/// string, a function gets it.
///
/// Unlike [`IgnoredAny`](serde::de::IgnoredAny), it checks numbers, escapes and
/// nesting as strictly as a parser that builds the values.
pub(super) struct Scan<F>(pub(super) F);

impl Scan<fn(&str)> {
    /// Keeps nothing of a string either.
    pub(super) const NOTHING: Self = Scan(|_| ());
}

impl<'de, F: FnOnce(&str)> DeserializeSeed<'de> for Scan<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnOnce(&str)> Visitor<'de> for Scan<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        (self.0)(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Scan::NOTHING)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while object.next_key_seed(Scan::NOTHING)?.is_some() {
            object.next_value_seed(Scan::NOTHING)?;
        }
        Ok(())
    }
}
