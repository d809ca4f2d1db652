//! Modules import only lower modules, and files do not import each other in a
//! circle.

mod imports;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use self::imports::Sources;

/// The modules, lowest first, and the modules each may import.
const LAYERS: [(&str, &[&str]); 12] = [
    ("protocol", &[]),
    ("metrics", &[]),
    ("net", &["protocol"]),
    ("log", &["protocol"]),
    ("store", &["protocol", "log"]),
    ("fanout", &["protocol", "metrics", "net", "log", "store"]),
    (
        "hub",
        &["protocol", "metrics", "net", "log", "store", "fanout"],
    ),
    (
        "admin",
        &["protocol", "net", "log", "store", "fanout", "hub"],
    ),
    (
        "session",
        &["protocol", "net", "log", "store", "fanout", "hub"],
    ),
    (
        "http",
        &[
            "protocol", "metrics", "net", "log", "store", "fanout", "hub", "session",
        ],
    ),
    (
        "server",
        &[
            "protocol", "net", "store", "fanout", "hub", "admin", "session", "http",
        ],
    ),
    ("client", &["protocol"]),
];

/// Module names that do not say what belongs there.
const NO_MODULES: [&str; 7] = [
    "utils",
    "util",
    "common",
    "helpers",
    "types",
    "constants",
    "error",
];

fn sources() -> Sources {
    Sources::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

/// The top-level module that a file belongs to.
fn layer(place: &str) -> &str {
    let end = place.find(['/', '.']).unwrap_or(place.len());
    &place[..end]
}

#[test]
fn modules_import_lower_modules_only() {
    let sources = sources();
    let mut seen = BTreeSet::new();
    for place in sources.places() {
        for part in place.trim_end_matches(".rs").split('/') {
            assert!(!NO_MODULES.contains(&part), "{place}");
            assert_ne!(part, "mod", "{place}: name.rs and name/child.rs");
        }
        seen.insert(layer(place));
    }
    for (place, module) in sources.modules_named() {
        let own = layer(place);
        if own == "lib" || own == "bin" || own == module {
            continue;
        }
        let found = LAYERS.iter().find(|(name, _)| *name == own);
        let (_, below) = found.unwrap_or_else(|| panic!("{own} has no place in the layers"));
        assert!(
            below.contains(&module),
            "{place} imports {module}, which does not stand below {own}"
        );
    }
    let named: BTreeSet<_> = LAYERS.iter().map(|(name, _)| *name).collect();
    let there: BTreeSet<_> = named.iter().copied().chain(["lib", "bin"]).collect();
    assert_eq!(seen, there, "every layer is there, and no other module");
}

#[test]
fn files_import_without_circles() {
    let sources = sources();
    let arrows = sources.arrows();
    let found: Vec<_> = circles(&arrows)
        .iter()
        .map(|files| told(files, &arrows))
        .collect();
    assert!(
        found.is_empty(),
        "files import each other in a circle:\n{}",
        found.join("\n")
    );
}

#[test]
fn no_two_visible_types_have_one_name() {
    let sources = sources();
    let mut places = BTreeMap::new();
    for (name, place) in sources.visible_types() {
        if let Some(other) = places.insert(name, place) {
            panic!("{name} is defined in {other} and in {place}");
        }
    }
    assert!(places.len() > 300, "only {} types", places.len());
}

/// The groups of files that import each other, directly or not.
fn circles<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<BTreeSet<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = arrows
        .iter()
        .map(|(&file, first)| {
            let mut reached = BTreeSet::new();
            let mut next: Vec<&str> = first.iter().copied().collect();
            while let Some(file) = next.pop() {
                if reached.insert(file) {
                    next.extend(&arrows[file]);
                }
            }
            (file, reached)
        })
        .collect();
    let circle = |file: &&'a str| -> BTreeSet<&'a str> {
        let others = reached[file].iter().copied();
        others
            .filter(|other| reached[other].contains(file))
            .collect()
    };
    let groups = arrows.keys().map(circle);
    groups.filter(|group| !group.is_empty()).collect()
}

/// Describes a group: which of its files each file imports.
fn told(group: &BTreeSet<&str>, arrows: &BTreeMap<&str, BTreeSet<&str>>) -> String {
    let files = group.iter().map(|file| {
        let imported: Vec<_> = arrows[file].intersection(group).copied().collect();
        format!("    {file} imports {}", imported.join(", "))
    });
    let files: Vec<_> = files.collect();
    format!("  {} files:\n{}", group.len(), files.join("\n"))
}

/// The imports between files of these texts, each as `from > to`.
fn drawn(files: &[(&str, &str)]) -> Vec<String> {
    let files = files
        .iter()
        .map(|(place, text)| ((*place).to_owned(), (*text).to_owned()));
    let sources = Sources::of(files.collect());
    let arrows = sources.arrows();
    let lines = arrows
        .iter()
        .flat_map(|(from, all)| all.iter().map(move |to| format!("{from} > {to}")));
    lines.collect()
}

#[test]
fn an_import_leads_to_the_defining_file() {
    let found = drawn(&[
        ("lib.rs", "pub mod a; mod b;"),
        ("a.rs", "mod x; mod y; pub use self::x::Thing; struct Own;"),
        ("a/x.rs", "use super::y::Other; pub struct Thing;"),
        ("a/y.rs", "pub(in super::super) struct Other;"),
        (
            "b.rs",
            "mod z; use crate::a::{self, Thing as That}; fn f() { z::g(a::Own) }",
        ),
        ("b/z.rs", "fn g() { crate::a::Own; super::super::b::f() }"),
    ]);
    assert_eq!(
        found,
        [
            "a.rs > a/x.rs",
            "a/x.rs > a/y.rs",
            "b.rs > a.rs",
            "b.rs > a/x.rs",
            "b.rs > b/z.rs",
            "b/z.rs > a.rs",
            "b/z.rs > b.rs",
        ]
    );
}

#[test]
fn comments_strings_and_tests_import_nothing() {
    let found = drawn(&[
        ("a.rs", "mod b; mod tests; #[cfg(test)] mod scripted;"),
        (
            "a/b.rs",
            r##"// use super::c::X;
            const T: &str = r#"} use super::c::X; "#; const C: char = '"'; fn f<'a>() {}
            #[cfg(test)] mod tests { use super::super::c::X; }"##,
        ),
        ("a/c.rs", ""),
        ("a/tests.rs", "use super::c::X;"),
        ("a/scripted.rs", "use super::c::X;"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_circle_of_imports_is_found() {
    let files = [
        ("a", &["b"][..]),
        ("b", &["c"]),
        ("c", &["a", "d"]),
        ("d", &[]),
    ];
    let arrows = files.map(|(file, all)| (file, all.iter().copied().collect()));
    let found = circles(&BTreeMap::from(arrows));
    assert_eq!(found, BTreeSet::from([BTreeSet::from(["a", "b", "c"])]));
}
