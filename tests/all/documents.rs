use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::{Component, Path, PathBuf},
};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde_json::Value;

use crate::support::TestServer;

/// The index of the served documents.
const INDEX: &str = "/-/help";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A Markdown file.
#[derive(Default)]
struct Document {
    /// The ids of its headings, as GitHub makes them.
    ids: BTreeSet<String>,
    /// The targets of its links, and of its pictures.
    links: Vec<String>,
    pictures: Vec<String>,
    /// Its text, code and alternative texts, without white space.
    text: String,
    /// Its raw HTML.
    html: String,
}

impl Document {
    fn read(path: &Path) -> Self {
        let markdown = fs::read_to_string(path).expect("a readable file");
        let mut document = Document::default();
        let mut heading = None;
        for event in Parser::new_ext(&markdown, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. }) => document.links.push(dest_url.into()),
                Event::Start(Tag::Image { dest_url, .. }) => {
                    document.pictures.push(dest_url.into());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let words = heading.take().expect("a heading");
                    document.add_heading(&words);
                }
                Event::Text(text) | Event::Code(text) => {
                    document.text.push_str(&dense(&text));
                    if let Some(words) = &mut heading {
                        words.push_str(&text);
                    }
                }
                Event::Html(html) | Event::InlineHtml(html) => document.html.push_str(&html),
                _ => {}
            }
        }
        document
    }

    fn add_heading(&mut self, words: &str) {
        let mut id = words.to_lowercase().replace(' ', "-");
        id.retain(|c| c.is_alphanumeric() || c == '-' || c == '_');
        let numbered = (1..).map(|number| format!("{id}-{number}"));
        let free = std::iter::once(id.clone())
            .chain(numbered)
            .find(|id| !self.ids.contains(id));
        self.ids.extend(free);
    }
}

fn dense(text: &str) -> String {
    text.split_whitespace().collect()
}

/// All Markdown files of the project, by their paths.
fn markdown_files() -> BTreeMap<PathBuf, Document> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_string_lossy();
            let foreign = name.starts_with('.') || name == "target" || name == "node_modules";
            if path.is_dir() && !foreign {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                let document = Document::read(&path);
                found.insert(path, document);
            }
        }
    }
    found
}

/// The documents that a server serves, by name.
fn served_files() -> BTreeMap<String, Document> {
    let files = fs::read_dir(root().join("docs")).expect("a folder");
    files
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy();
            (name.into_owned(), Document::read(&path))
        })
        .collect()
}

/// Resolves `.` and `..` without the file system.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

/// The texts of all tests over real sockets.
fn tests() -> String {
    let mut texts = String::new();
    let mut folders = vec![root().join("tests/all")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                texts += &fs::read_to_string(path).expect("a text");
            }
        }
    }
    texts
}

// Verified to fail when one of them is renamed.
#[test]
fn every_test_that_the_drill_names_exists() {
    let operations = fs::read_to_string(root().join("docs/operations.md")).expect("a document");
    let drill = operations.split("\n## Drill\n").nth(1).expect("a drill");
    let drill = drill.split("\n## ").next().unwrap_or_default();
    let tests = tests();
    let mut faults = 0;
    for named in drill
        .lines()
        .filter_map(|line| line.split("Tests: ").nth(1))
    {
        faults += 1;
        for name in named.split('`').skip(1).step_by(2) {
            assert!(tests.contains(&format!("async fn {name}()")), "{name}");
        }
    }
    assert_eq!(faults, 6);
}

// Verified to fail when a heading that a document links to is renamed.
#[test]
fn every_link_between_the_markdown_files_leads_somewhere() {
    let files = markdown_files();
    let mut checked = 0;
    let mut dead = Vec::new();
    for (file, document) in &files {
        for target in document.links.iter().chain(&document.pictures) {
            if target.contains("://") {
                continue;
            }
            checked += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() {
                file.clone()
            } else {
                normal(&file.with_file_name(path))
            };
            let there = path.starts_with(root()) && path.exists();
            let linked = files.get(&path);
            if !there || !anchor.is_empty() && linked.is_none_or(|to| !to.ids.contains(anchor)) {
                dead.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(checked > 100, "{checked} links");
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

/// A served page, as a browser reads it.
struct Page {
    html: String,
    /// The part that was made from Markdown.
    main: String,
    ids: BTreeSet<String>,
}

impl Page {
    async fn get(server: &TestServer, path: &str) -> Self {
        let html = server.get(path, "text/html").await;
        let (_, main) = html.split_once("<main>").expect("a main part");
        let (main, _) = main.split_once("</main>").expect("its end");
        Page {
            ids: values(&html, "id").into_iter().collect(),
            main: main.to_owned(),
            html,
        }
    }

    /// The text of the main part, without white space.
    fn text(&self) -> String {
        let mut text = String::new();
        for part in self.main.split('<').skip(1) {
            text += part.split_once('>').expect("the end of a tag").1;
        }
        dense(&unescaped(&text))
    }
}

/// The values of an attribute, in order.
fn values(html: &str, attribute: &str) -> Vec<String> {
    let mark = format!(" {attribute}=\"");
    html.split(&mark)
        .skip(1)
        .map(|rest| unescaped(rest.split('"').next().expect("a value")))
        .collect()
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#x27;", "'")
        .replace("&amp;", "&")
}

/// The URL at which a link of a document in `docs` is served.
fn served_url(target: &str, served: &BTreeMap<String, Document>) -> Option<String> {
    let (path, anchor) = target.split_at(target.find('#').unwrap_or(target.len()));
    let name = path.strip_suffix(".md").unwrap_or(path);
    if path.is_empty() || path.contains("://") {
        Some(target.to_owned())
    } else if served.contains_key(name) && name != path {
        Some(format!("{INDEX}/{name}{anchor}"))
    } else {
        None
    }
}

// Verified to fail when headings get no ids, and when a document is not listed
// in the README.
#[tokio::test]
async fn every_link_of_the_served_documents_leads_to_a_page_and_a_heading() {
    let server = TestServer::start().await;
    let mut pages = BTreeMap::new();
    let mut next = VecDeque::from([INDEX.to_owned()]);
    let mut links = Vec::new();
    while let Some(path) = next.pop_front() {
        if pages.contains_key(&path) {
            continue;
        }
        let page = Page::get(&server, &path).await;
        for link in values(&page.html, "href") {
            let (to, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let to = if to.is_empty() { &path } else { to };
            if to.starts_with(INDEX) {
                next.push_back(to.to_owned());
                links.push((path.clone(), to.to_owned(), anchor.to_owned()));
            } else if to.starts_with("/-/") {
                server.get(to, "text/css").await;
            } else {
                let known = to == "/" || to.starts_with("data:") || to.starts_with("https://");
                assert!(known, "{path}: {link}");
            }
        }
        pages.insert(path, page);
    }
    for (from, to, anchor) in links {
        let found = anchor.is_empty() || pages[&to].ids.contains(&anchor);
        assert!(found, "{from} links to {to}#{anchor}");
    }
    let files = served_files();
    let paths = files.keys().map(|name| format!("{INDEX}/{name}"));
    let mut wanted: BTreeSet<_> = paths.collect();
    let listed = values(&pages[INDEX].main, "href");
    assert_eq!(BTreeSet::from_iter(listed), wanted);
    wanted.insert(INDEX.to_owned());
    assert_eq!(pages.into_keys().collect::<BTreeSet<_>>(), wanted);
}

// Verified to fail when headings get no ids, and when code is left out.
#[tokio::test]
async fn a_served_document_has_the_text_and_links_of_its_file() {
    let server = TestServer::start().await;
    let files = served_files();
    for (name, file) in &files {
        let page = Page::get(&server, &format!("{INDEX}/{name}")).await;
        let text = page.text();
        assert!(text == file.text, "{name}:\n{text}\n\n{}", file.text);
        assert_eq!(page.ids, file.ids, "{name}");
        let wanted = file.links.iter();
        let wanted: Vec<_> = wanted
            .filter_map(|target| served_url(target, &files))
            .collect();
        assert_eq!(values(&page.main, "href"), wanted, "{name}");
        let comments = file.html.lines().filter(|line| !line.is_empty());
        for comment in comments {
            assert!(comment.starts_with("<!--"), "{name} loses {comment}");
        }
        let version = format!("broadcast-chat {}<", env!("CARGO_PKG_VERSION"));
        assert!(page.html.contains(&version), "{name}");
    }
}

#[tokio::test]
async fn a_served_document_loads_nothing_but_its_style() {
    let server = TestServer::start().await;
    let names = served_files().into_keys();
    let paths = names.map(|name| format!("{INDEX}/{name}"));
    for path in paths.chain([INDEX.to_owned()]) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = server.request(request.as_bytes()).await;
        let policy =
            "content-security-policy: default-src 'none'; style-src 'self'; img-src data:;";
        assert!(answer.contains(policy), "{answer}");
        let (_, html) = answer.split_once("\r\n\r\n").expect("an answer");
        for tag in [
            "<script", "<img", "<iframe", "<object", "<style", "<form", "<base",
        ] {
            assert!(!html.contains(tag), "{path} has {tag}");
        }
        for attribute in ["src", "srcset", "style", "onclick", "http-equiv"] {
            assert_eq!(values(html, attribute), [""; 0], "{path}: {attribute}");
        }
        let loaded: Vec<_> = html.matches("<link rel=\"").collect();
        assert_eq!(loaded.len(), 2, "an icon and a style");
        assert!(html.contains("<link rel=\"icon\" href=\"data:"));
        let (_, style) = html
            .split_once("<link rel=\"stylesheet\" href=\"")
            .expect("a style");
        let style = style.split('"').next().expect("a path");
        assert!(style.starts_with("/-/assets/help-"), "{style}");
        let style = server.get(style, "text/css").await;
        assert!(!style.contains("url(") && !style.contains("@import"));
        assert!(style.contains("prefers-color-scheme: dark"));
    }
}

#[tokio::test]
async fn documents_are_read_only_and_an_unknown_one_is_refused() {
    let server = TestServer::start().await;
    for (method, path, status, sentence) in [
        ("HEAD", "/-/help", 200, ""),
        ("HEAD", "/-/help/guide", 200, ""),
        (
            "POST",
            "/-/help",
            405,
            "This path does not accept POST, only GET, HEAD.",
        ),
        (
            "PUT",
            "/-/help/guide",
            405,
            "This path does not accept PUT, only GET, HEAD.",
        ),
        ("GET", "/-/help/", 404, "/-/help lists them all."),
        ("GET", "/-/help/nothing", 404, "/-/help lists them all."),
        ("GET", "/-/help/guide.md", 404, "/-/help lists them all."),
        ("GET", "/-/help/../../Cargo", 404, "/-/help lists them all."),
        ("GET", "/-/helper", 404, "There is nothing here."),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = server.request(request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let line = format!("HTTP/1.1 {status} ");
        assert!(head.starts_with(&line), "{method} {path}: {answer}");
        assert!(
            body.trim_end().ends_with(sentence),
            "{method} {path}: {answer}"
        );
        assert_eq!(body.is_empty(), sentence.is_empty(), "{method} {path}");
        let allowed = answer.contains("\r\nallow: GET, HEAD\r\n");
        assert_eq!(allowed, status == 405, "{method} {path}: {answer}");
    }
}

// Verified to fail when the page links to a heading that is not there.
#[test]
fn the_page_and_the_programs_name_served_documents() {
    let files = served_files();
    for source in [
        "src/http/page/panels.mjs",
        "src/bin/server/flags.rs",
        "src/bin/client/flags.rs",
    ] {
        let text = fs::read_to_string(root().join(source)).expect("a file");
        let named: Vec<_> = text.split(INDEX).skip(1).collect();
        assert!(!named.is_empty(), "{source}");
        for rest in named {
            let end = |c: char| !c.is_ascii_alphanumeric() && !"/#-".contains(c);
            let rest = &rest[..rest.find(end).unwrap_or(rest.len())];
            let Some(rest) = rest.strip_prefix('/') else {
                assert_eq!(rest, "", "{source}");
                continue;
            };
            let (name, anchor) = rest.split_once('#').unwrap_or((rest, ""));
            let found = anchor.is_empty() || files[name].ids.contains(anchor);
            assert!(found, "{source} names {rest}");
        }
    }
}

#[tokio::test]
async fn the_openapi_description_lists_the_documents() {
    let server = TestServer::start().await;
    let description = server.get("/-/openapi.json", "application/json").await;
    let description: Value = serde_json::from_str(&description).expect("JSON");
    let paths = &description["paths"];
    assert!(paths[INDEX]["get"].is_object());
    let names = &paths["/-/help/{document}"]["parameters"][0]["schema"]["enum"];
    let names: Vec<String> = serde_json::from_value(names.clone()).expect("names");
    assert_eq!(names, served_files().into_keys().collect::<Vec<_>>());
}
