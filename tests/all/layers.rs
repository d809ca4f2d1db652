use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The modules, lowest first, and what each may import beside itself.
const LAYERS: [(&str, &[&str]); 9] = [
    ("protocol", &[]),
    ("metrics", &[]),
    ("history", &["protocol"]),
    ("fanout", &["protocol", "metrics", "history"]),
    ("hub", &["protocol", "metrics", "history", "fanout"]),
    ("session", &["protocol", "history", "fanout", "hub"]),
    (
        "http",
        &["protocol", "metrics", "history", "hub", "session"],
    ),
    ("server", &["protocol", "history", "hub", "session", "http"]),
    ("client", &["protocol"]),
];

/// Names that say nothing about what belongs there.
const NO_MODULES: [&str; 7] = [
    "utils",
    "util",
    "common",
    "helpers",
    "types",
    "constants",
    "error",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// What follows each `crate::` in code: the modules a file reaches.
fn reached(code: &str) -> BTreeSet<String> {
    let code: String = code
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut reached = BTreeSet::new();
    let word = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            reached.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        reached.insert(word(group));
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    reached.insert(word(&group[at + 1..]));
                }
                _ => {}
            }
        }
    }
    reached.remove("");
    reached
}

#[test]
fn no_arrow_points_up() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = BTreeSet::new();
    for path in sources(&src) {
        let place = path.strip_prefix(&src).expect("below src");
        let own = place
            .iter()
            .next()
            .expect("a name")
            .to_string_lossy()
            .replace(".rs", "");
        for part in place
            .iter()
            .map(|part| part.to_string_lossy().replace(".rs", ""))
        {
            assert!(!NO_MODULES.contains(&part.as_str()), "{}", place.display());
            assert_ne!(
                part,
                "mod",
                "{}: name.rs and name/child.rs",
                place.display()
            );
        }
        if own == "lib" || own == "bin" {
            continue;
        }
        let layer = LAYERS.iter().find(|(name, _)| *name == own);
        let (_, below) = layer.unwrap_or_else(|| panic!("{own} has no place in the layers"));
        for module in reached(&fs::read_to_string(&path).expect("a source")) {
            let fits = module == own || below.contains(&module.as_str());
            assert!(
                fits,
                "{} imports {module}, which does not stand below {own}",
                place.display()
            );
        }
        seen.insert(own);
    }
    assert_eq!(seen.len(), LAYERS.len(), "every layer is there: {seen:?}");
}

#[test]
fn imports_are_read() {
    let code =
        "use crate::{a::{b, c}, d, e::f};\nfn x() { crate::g::h() } // crate::no\nuse crate::i::j;";
    assert_eq!(
        reached(code).into_iter().collect::<Vec<_>>(),
        ["a", "d", "e", "g", "i"]
    );
}
