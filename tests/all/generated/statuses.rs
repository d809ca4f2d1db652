use std::{collections::BTreeSet, fs, path::Path};

use http::StatusCode;

/// The statuses in the table of `docs/protocol.md`.
pub(crate) fn documented() -> BTreeSet<u16> {
    let page = include_str!("../../../docs/protocol.md");
    let (_, rest) = page.split_once("| status | when |\n").expect("the table");
    let (table, _) = rest.split_once("\n\n").expect("its end");
    let cells = table.lines().filter_map(|row| row.split('|').nth(1));
    let statuses = cells.flat_map(|cell| cell.split(',').map(str::trim));
    statuses.filter_map(|status| status.parse().ok()).collect()
}

/// The statuses that the code names outside of its tests, and 100, which hyper
/// sends.
pub(super) fn of_the_code() -> BTreeSet<u16> {
    let mut named = BTreeSet::from(["CONTINUE".to_owned()]);
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut named,
    );
    let numbers = named.iter().map(|name| {
        let found = (100..600).find(|number| constant(*number).as_ref() == Some(name));
        found.unwrap_or_else(|| panic!("StatusCode::{name} is no status"))
    });
    numbers.collect()
}

/// The statuses of `/-/openapi.json`.
pub(super) fn of_the_description() -> BTreeSet<u16> {
    let description = include_str!("../../../src/http/openapi.json");
    let keys = description.lines().filter_map(|line| {
        let (key, _) = line.trim().split_once("\": {")?;
        key.strip_prefix('"')?.parse().ok()
    });
    keys.collect()
}

/// Adds the names of the constants in all files of a folder.
fn collect(folder: &Path, named: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a file").path();
        if path.is_dir() {
            collect(&path, named);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let source = fs::read_to_string(&path).expect("a file");
            let source = source.split("#[cfg(test)]").next().unwrap_or_default();
            for rest in source.split("StatusCode::").skip(1) {
                let end = rest.find(|c: char| c != '_' && !c.is_ascii_uppercase());
                let name = &rest[..end.unwrap_or(rest.len())];
                // A function has a small first letter.
                if name.len() > 1 {
                    named.insert(name.to_owned());
                }
            }
        }
    }
}

/// The name of a status's constant in `http`.
fn constant(number: u16) -> Option<String> {
    let reason = StatusCode::from_u16(number).ok()?.canonical_reason()?;
    Some(reason.to_ascii_uppercase().replace([' ', '-'], "_"))
}
