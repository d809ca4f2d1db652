//! The work of parsing a frame, for each of its bytes, does not grow with its
//! length.

use std::{fs, path::Path};

use broadcast_chat::protocol::{
    Limits,
    command::table::{TABLE, all_in_json, by_json_type},
};

use crate::properties::work;

/// The shortest frame, in bytes.
const SHORTEST: usize = 1024;

/// How many bytes more may be allocated for each 100 bytes of a long frame than
/// for each 100 bytes of the shortest. Buffers grow by doubling.
const SLACK: u64 = 200;

/// Frames of one shape: their start, a part that is repeated, and their end.
struct Shape {
    start: String,
    part: String,
    end: String,
}

impl Shape {
    fn new(start: impl Into<String>, part: impl Into<String>, end: impl Into<String>) -> Self {
        Shape {
            start: start.into(),
            part: part.into(),
            end: end.into(),
        }
    }

    /// The longest frame of this shape with at most this many bytes.
    fn frame(&self, bytes: usize) -> String {
        let room = bytes.saturating_sub(self.start.len() + self.end.len());
        let parts = self.part.repeat(room / self.part.len());
        [&self.start, &*parts, &self.end].concat()
    }

    /// Panics if a long frame takes more work for each byte than a short one.
    fn assert_flat(&self) {
        let longest = Limits::default().payload_bytes();
        let [first, rest @ ..] = [SHORTEST, 5 * SHORTEST, longest].map(|bytes| {
            let frame = self.frame(bytes);
            let (_, work) = work::parse(&frame);
            work.bytes_total * 100 / frame.len() as u64
        });
        for each in rest {
            assert!(
                each <= first + SLACK,
                "{first} {rest:?}: {:.200}",
                self.frame(SHORTEST)
            );
        }
    }
}

/// Values that may stand in any field, each as long as the frame.
fn values() -> Vec<Shape> {
    [
        ("[", "1,", "1]"),
        ("[", "[],", "0]"),
        ("[", r#"{"a":[{}]},"#, "0]"),
        ("[", "1.5e-7,", "0]"),
        ("{", r#""a":0,"#, r#""a":0}"#),
        ("{", r#""\u0061":"\u0061","#, r#""a":0}"#),
        ("[", r#""a","#, "0]"),
        ("[", r#""\n","#, "0]"),
        ("\"", "x", "\""),
        ("\"", r"\u0000", "\""),
        ("\"", r"\ud83d\ude00", "\""),
        ("\"", r"\\", "\""),
        ("\"\\n", "x", "\""),
        ("0.", "1", ""),
        ("", "1", "e-9"),
        ("", " ", "null"),
        ("", "[", ""),
    ]
    .map(|(start, part, end)| Shape::new(start, part, end))
    .into()
}

/// Commands with fields of every type, with a long value in one field.
fn one_long_value() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for kind in ["publish", "private", "name", "join", "ban"] {
        let spec = by_json_type(kind).expect(kind);
        let names = spec.fields.iter().map(|field| field.name);
        for name in names.chain(["type", "ref", "unknown"]) {
            for Shape { start, part, end } in values() {
                let whole = spec.json_example.strip_suffix('}').expect("an object");
                let start = format!("{whole},\"{name}\":{start}");
                shapes.push(Shape::new(start, part, format!("{end}}}")));
            }
        }
    }
    shapes
}

/// Every known field in one object, each with a wrong type.
fn every_field_wrong() -> Vec<Shape> {
    let fields = TABLE.iter().flat_map(|spec| spec.fields);
    let kinds = all_in_json().into_iter().filter_map(|spec| spec.json_type);
    let wrong = [r#"{"a":[]}"#, "[1,2]", "-1.5", "true", r#""a b""#];
    let mut shapes = Vec::new();
    for kind in kinds {
        for wrong in wrong {
            let all = fields
                .clone()
                .map(|field| format!("\"{}\":{wrong}", field.name));
            let all: Vec<_> = all.collect();
            let start = format!("{{\"type\":\"{kind}\",");
            shapes.push(Shape::new(start, all.join(",") + ",", r#""x":0}"#));
        }
    }
    shapes
}

/// The corpus of commands: the fields of an object repeated, and the object in
/// an unknown field again and again.
fn corpus() -> Vec<Shape> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/commands");
    let mut shapes = Vec::new();
    for entry in fs::read_dir(folder).expect("a corpus") {
        let text = fs::read_to_string(entry.expect("a file").path()).expect("UTF-8");
        if text.len() > SHORTEST {
            // A long frame already; the replay of the corpus counts its work.
            continue;
        }
        shapes.push(Shape::new("", text.clone() + "\n", ""));
        let object = text.trim().strip_prefix('{');
        if let Some(fields) = object.and_then(|object| object.strip_suffix('}')) {
            shapes.push(Shape::new("{", format!("{fields},"), format!("{fields}}}")));
            let start = r#"{"type":"publish","text":"hi","unknown":["#;
            shapes.push(Shape::new(start, format!("{{{fields}}},"), "0]}"));
        }
    }
    shapes
}

// Verified to fail when every field of a frame is built into a value.
#[test]
fn the_work_for_a_byte_does_not_grow_with_the_frame() {
    let keys = [("x", r#"":0}"#), (r"\u0078", r#"":0}"#)];
    let keys = keys.map(|(part, end)| Shape::new(r#"{"type":"members",""#, part, end));
    let shapes = values()
        .into_iter()
        .chain(keys)
        .chain(one_long_value())
        .chain(every_field_wrong())
        .chain(corpus());
    for shape in shapes {
        shape.assert_flat();
    }
}
