//! Finds the files of the crate that a file imports, from its text alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The path of a module or an item, as its names.
type Names = Vec<String>;

/// A source file without its test code.
#[derive(Default)]
struct Source {
    /// Its path below `src`.
    place: String,
    /// The imported paths, by their local names.
    imports: BTreeMap<String, Names>,
    /// All paths into the crate that it names.
    paths: BTreeSet<Names>,
    /// The types that it defines for other files.
    types: Vec<String>,
}

/// All source files of a crate except tests, by module.
pub(super) struct Sources(BTreeMap<Names, Source>);

impl Sources {
    /// Reads all source files of a folder.
    pub(super) fn read(src: &Path) -> Self {
        let files = files(src).into_iter().map(|path| {
            let place = path.strip_prefix(src).expect("below src");
            let text = fs::read_to_string(&path).expect("a source");
            (place.to_str().expect("UTF-8").to_owned(), text)
        });
        Self::of(files.collect())
    }

    /// Reads source texts by their paths.
    pub(super) fn of(files: BTreeMap<String, String>) -> Self {
        let modules: BTreeSet<Names> = files.keys().map(|place| module(place)).collect();
        let mut sources = BTreeMap::new();
        let mut tests = BTreeSet::new();
        for (place, text) in files {
            let own = module(&place);
            let (tokens, test_modules) = without_tests(&tokens(&text));
            tests.extend(test_modules.into_iter().map(|name| child(&own, &name)));
            let mut source = Source {
                place,
                types: visible_types(&tokens),
                ..Source::default()
            };
            source.find(&own, &tokens, &modules);
            sources.insert(own, source);
        }
        sources.retain(|own, _| {
            own.last().is_none_or(|name| name != "tests")
                && !tests.iter().any(|test| own.starts_with(test))
        });
        Sources(sources)
    }

    /// The paths of all files.
    pub(super) fn places(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(|source| source.place.as_str())
    }

    /// The top-level modules that each file names.
    pub(super) fn modules_named(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.values().flat_map(|source| {
            let names = source.paths.iter().filter_map(|path| path.first());
            names.map(|name| (source.place.as_str(), name.as_str()))
        })
    }

    /// The types that each file defines for others.
    pub(super) fn visible_types(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.values().flat_map(|source| {
            let names = source.types.iter();
            names.map(|name| (name.as_str(), source.place.as_str()))
        })
    }

    /// The files that each file imports.
    pub(super) fn arrows(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let arrows = self.0.values().map(|source| {
            let defining = source.paths.iter().filter_map(|path| self.defining(path));
            let others = defining.filter(|place| *place != source.place);
            (source.place.as_str(), others.collect())
        });
        arrows.collect()
    }

    /// The file that defines the item of a path; `None` for a module.
    fn defining(&self, path: &Names) -> Option<&str> {
        let mut path = path.clone();
        // Each iteration follows one re-export.
        for _ in 0..8 {
            let depth = (0..=path.len())
                .rev()
                .find(|depth| self.0.contains_key(&path[..*depth]))?;
            let source = &self.0[&path[..depth]];
            let name = path.get(depth)?;
            match source.imports.get(name) {
                Some(exported) => {
                    path = exported.iter().chain(&path[depth + 1..]).cloned().collect();
                }
                None => return Some(&source.place),
            }
        }
        None
    }
}

/// The types that tokens define for other files.
fn visible_types(tokens: &[String]) -> Vec<String> {
    let after_pub = tokens.split(|token| token == "pub").skip(1);
    let names = after_pub.filter_map(|after| {
        let within = after.first().is_some_and(|token| token == "(");
        let closed = after.iter().position(|token| token == ")");
        let after = if within { &after[closed? + 1..] } else { after };
        let [keyword, name, ..] = after else {
            return None;
        };
        let is_type = ["struct", "enum", "trait", "type"].contains(&keyword.as_str());
        // A macro names its types by `$`.
        (is_type && name != "$").then(|| name.clone())
    });
    names.collect()
}

impl Source {
    /// Collects all paths to modules of the crate.
    fn find(&mut self, own: &Names, tokens: &[String], modules: &BTreeSet<Names>) {
        let mut at = 0;
        while at < tokens.len() {
            if tokens[at] == "use" {
                let end = until(tokens, at, ";");
                for (name, path) in used(&tokens[at + 1..end]) {
                    if let Some(path) = absolute(own, &path, modules) {
                        self.paths.insert(path.clone());
                        self.imports.insert(name, path);
                    }
                }
                at = end;
            }
            at += 1;
        }
        at = 0;
        while at < tokens.len() {
            if tokens[at] == "use" {
                at = until(tokens, at, ";");
            }
            let begins = at == 0 || !["::", ".", "in", "fn"].contains(&tokens[at - 1].as_str());
            let (path, length) = path(&tokens[at..]);
            if begins && path.len() > 1 {
                let absolute = absolute(own, &path, modules).or_else(|| {
                    let module = self.imports.get(&path[0])?;
                    Some(module.iter().chain(&path[1..]).cloned().collect())
                });
                self.paths.extend(absolute);
            }
            at += length.max(1);
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The module path of a file.
fn module(place: &str) -> Names {
    let names = place.trim_end_matches(".rs").split('/');
    names
        .filter(|name| *name != "lib")
        .map(str::to_owned)
        .collect()
}

fn child(module: &Names, name: &str) -> Names {
    let mut child = module.clone();
    child.push(name.to_owned());
    child
}

/// Resolves a path from the crate root, if it leads into the crate.
fn absolute(own: &Names, path: &[String], modules: &BTreeSet<Names>) -> Option<Names> {
    let mut module = own.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            module.clear();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        "super" => {}
        name if modules.contains(&child(own, name)) && !own.is_empty() => {}
        _ => return None,
    }
    while rest.first().is_some_and(|name| name == "super") {
        module.pop();
        rest = &rest[1..];
    }
    // A program's file and its folder are one module of the same name.
    if own.len() == 2 && own[0] == "bin" && rest.first() == own.last() {
        rest = &rest[1..];
    }
    module.extend(rest.iter().cloned());
    Some(module)
}

/// The path at the beginning of these tokens, and its number of tokens.
fn path(tokens: &[String]) -> (Names, usize) {
    let mut path = Names::new();
    let mut at = 0;
    while tokens.get(at).is_some_and(|token| is_word(token)) {
        path.push(tokens[at].clone());
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            break;
        }
        at += 1;
    }
    (path, at)
}

/// The paths that a `use` of these tokens imports, with their local names.
fn used(tokens: &[String]) -> Vec<(String, Names)> {
    let (path, length) = path(tokens);
    let name = path.last().cloned().unwrap_or_default();
    match tokens.get(length).map(String::as_str) {
        Some("{") => {
            let end = matching(tokens, length);
            let mut found = Vec::new();
            let mut from = length + 1;
            while from < end {
                let to = until(&tokens[..end], from, ",");
                for (name, rest) in used(&tokens[from..to]) {
                    if rest == ["self"] {
                        let name = path.last().cloned().unwrap_or_default();
                        found.push((name, path.clone()));
                    } else {
                        found.push((name, path.iter().cloned().chain(rest).collect()));
                    }
                }
                from = to + 1;
            }
            found
        }
        Some("*") => vec![("*".to_owned(), child(&path, "*"))],
        Some("as") => vec![(tokens[length + 1].clone(), path)],
        None if !path.is_empty() => vec![(name, path)],
        _ => Vec::new(),
    }
}

/// The next position of a token outside of brackets, or the end.
fn until(tokens: &[String], from: usize, wanted: &str) -> usize {
    let mut at = from;
    while at < tokens.len() && tokens[at] != wanted {
        at = match tokens[at].as_str() {
            "{" | "(" | "[" => matching(tokens, at) + 1,
            _ => at + 1,
        };
    }
    at.min(tokens.len())
}

/// The position of the bracket that closes the one at `from`.
fn matching(tokens: &[String], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// Removes test items; also returns the names of the test modules declared
/// here.
fn without_tests(tokens: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        let is = |at: usize, token: &str| tokens.get(at).is_some_and(|found| found == token);
        if !(is(at, "#") && is(at + 1, "[")) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let end = matching(tokens, at + 1);
        let attribute = &tokens[at + 2..end];
        let has = |token: &str| attribute.iter().any(|found| found == token);
        at = end + 1;
        if !(has("cfg") && has("test") && !has("not")) {
            continue;
        }
        while is(at, "#") {
            at = matching(tokens, at + 1) + 1;
        }
        if let Some(name) = tokens[at..].iter().position(|token| token == "mod")
            && is(at + name + 2, ";")
            && name < 5
        {
            modules.push(tokens[at + name + 1].clone());
        }
        while at < tokens.len() && !is(at, ";") && !is(at, "{") {
            at = if is(at, "(") || is(at, "[") {
                matching(tokens, at) + 1
            } else {
                at + 1
            };
        }
        at = if is(at, "{") {
            matching(tokens, at)
        } else {
            at
        } + 1;
    }
    (kept, modules)
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Splits code into words, `::` and single characters. Comments are dropped; a
/// literal becomes one quotation mark.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if let Some(length) = literal(rest) {
            tokens.push("\"".to_owned());
            length
        } else if is_word(rest) {
            let end = |c: char| !c.is_alphanumeric() && c != '_';
            let length = rest.find(end).unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
            c.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of the string or character literal at the start, if there is one.
fn literal(code: &str) -> Option<usize> {
    let prefix = code.len() - code.trim_start_matches(['b', 'c']).len();
    let open = &code[prefix.min(1)..];
    let before = code.len() - open.len();
    if let Some(raw) = open.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let text = &raw[hashes + 1..];
            let length = text.find(&end).unwrap_or(text.len());
            return Some(before + 1 + hashes + 1 + length + end.len());
        }
        return None;
    }
    let quote = open.chars().next().filter(|c| "\"'".contains(*c))?;
    let mut escaped = false;
    for (at, c) in open.char_indices().skip(1) {
        // `'a` without a closing quote is a lifetime.
        if quote == '\'' && !escaped && c != quote && !open[at + c.len_utf8()..].starts_with(quote)
        {
            if c != '\\' {
                return None;
            }
            let end = open[at + 2..].find(quote)?;
            return Some(before + at + 2 + end + 1);
        }
        match c {
            '\\' if !escaped => escaped = true,
            c if c == quote && !escaped => return Some(before + at + 1),
            _ => escaped = false,
        }
    }
    None
}
