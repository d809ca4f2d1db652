//! Reads the fields of an object.

use serde_json::{Map, Value};

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// The parts that are there, each on lines of its own.
pub(super) fn lines<T: AsRef<str>>(parts: impl IntoIterator<Item = Option<T>>) -> String {
    let mut lines = String::new();
    for part in parts.into_iter().flatten() {
        let part = part.as_ref().trim_end();
        if !part.is_empty() {
            if !lines.is_empty() {
                lines.push('\n');
            }
            lines.push_str(part);
        }
    }
    lines
}

/// The text of a field; `None` if there is none, or it is empty.
pub(super) fn text<'a>(object: &'a Object, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str().filter(|text| !text.is_empty())
}

/// The object in a field.
pub(super) fn object<'a>(object: &'a Object, field: &str) -> Option<&'a Object> {
    object.get(field)?.as_object()
}

/// The objects in a field's list.
pub(super) fn objects<'a>(object: &'a Object, field: &str) -> impl Iterator<Item = &'a Object> {
    let all = object.get(field).and_then(Value::as_array);
    all.into_iter().flatten().filter_map(Value::as_object)
}
