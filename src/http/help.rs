//! The documents of the project, served below `/-/help`.
//!
//! They are in the binary, so a server has the documents of its own version. A
//! page is made from its Markdown at the first request, and kept.

mod markdown;

use std::sync::{LazyLock, OnceLock};

use bytes::Bytes;
use http::{Response, request::Parts};
use http_body_util::Full;

use self::markdown::Rendered;
use super::{asset::Asset, base_path::BasePath};

const PAGE: &str = include_str!("help/help.html");
const STYLE: &str = concat!(
    include_str!("page/colours.css"),
    include_str!("help/help.css")
);

/// The file whose table of documents is the index.
const README: &str = include_str!("../../README.md");

/// The heading of that table.
const DOCUMENTS_HEADING: &str = "## Documents";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A page loads only its style. It has no script.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

macro_rules! documents {
    ($($name:literal),+ $(,)?) => {
        [$(Document {
            name: $name,
            markdown: include_str!(concat!("../../docs/", $name, ".md")),
        }),+]
    };
}

const DOCUMENTS: [Document; 8] = documents![
    "exercise",
    "guarantees",
    "guide",
    "operations",
    "performance",
    "protocol",
    "scripts",
    "storage",
];

static STYLE_ASSET: LazyLock<Asset> =
    LazyLock::new(|| Asset::named("help", "css", "text/css; charset=utf-8", STYLE.into()));

/// A file of the folder `docs`.
struct Document {
    /// The file's name without `.md`, and the last part of the page's path.
    name: &'static str,
    markdown: &'static str,
}

/// The pages of a server, each made at its first request.
#[derive(Debug)]
pub(super) struct Help {
    base: BasePath,
    index: OnceLock<Asset>,
    pages: [OnceLock<Asset>; DOCUMENTS.len()],
}

impl Help {
    pub(super) fn new(base: &BasePath) -> Self {
        Help {
            base: base.clone(),
            index: OnceLock::new(),
            pages: Default::default(),
        }
    }

    /// Returns the index of the documents.
    pub(super) fn index(&self, head: &Parts) -> Response<Full<Bytes>> {
        let index = self.index.get_or_init(|| {
            let section = README
                .lines()
                .skip_while(|line| *line != DOCUMENTS_HEADING)
                .skip(1)
                .take_while(|line| !line.starts_with("## "));
            let table: Vec<_> = section.filter(|line| line.starts_with('|')).collect();
            let markdown = format!(
                "# Help\n\nThese documents describe the chat that this server runs. \
                 Those without a link are files of its source.\n\n{}\n",
                table.join("\n")
            );
            self.page(&markdown, "docs/")
        });
        index.revalidated(head, POLICY)
    }

    /// Returns the document of this name.
    pub(super) fn document(&self, head: &Parts, name: &str) -> Option<Response<Full<Bytes>>> {
        let mut all = DOCUMENTS.iter().zip(&self.pages);
        let (document, page) = all.find(|(document, _)| document.name == name)?;
        let page = page.get_or_init(|| self.page(document.markdown, ""));
        Some(page.revalidated(head, POLICY))
    }

    /// Makes a page of Markdown whose links lead to documents in `folder`.
    fn page(&self, markdown: &str, folder: &str) -> Asset {
        let base = &self.base;
        let Rendered { title, body } =
            markdown::render(markdown, |target| url(target, folder, base));
        // The body comes last: it may contain any of these marks.
        let html = PAGE
            .replace("{title}", &title)
            .replace("{style}", &STYLE_ASSET.path(base))
            .replace("{base}", &base.to_string())
            .replace("{version}", VERSION)
            .replace("{body}", &body);
        Asset::page(html)
    }
}

/// Returns the style of the documents, if this is its name.
pub(super) fn asset(head: &Parts, name: &str) -> Option<Response<Full<Bytes>>> {
    (name == STYLE_ASSET.name()).then(|| STYLE_ASSET.immutable(head))
}

/// Returns the URL of a link's target. A file that is not served has none.
fn url(target: &str, folder: &str, base: &BasePath) -> Option<String> {
    if ["#", "https://", "http://"]
        .iter()
        .any(|start| target.starts_with(start))
    {
        return Some(target.to_owned());
    }
    let anchor = target.find('#').unwrap_or(target.len());
    let (file, anchor) = target.split_at(anchor);
    let name = file.strip_prefix(folder)?.strip_suffix(".md")?;
    let document = DOCUMENTS.iter().find(|document| document.name == name)?;
    Some(format!("{base}/-/help/{}{anchor}", document.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_served_documents_only() {
        for (target, folder, served) in [
            ("guide.md", "", Some("/-/help/guide")),
            (
                "guide.md#give-a-command",
                "",
                Some("/-/help/guide#give-a-command"),
            ),
            ("docs/guide.md", "docs/", Some("/-/help/guide")),
            ("#below", "", Some("#below")),
            ("https://rustup.rs", "docs/", Some("https://rustup.rs")),
            ("guide.md", "docs/", None),
            ("../ARCHITECTURE.md#words", "", None),
            ("decisions/README.md", "", None),
            ("../image/names.png", "", None),
            ("javascript:alert(1)", "", None),
            ("//evil.example/guide.md", "", None),
            ("", "", None),
        ] {
            let found = url(target, folder, &BasePath::default());
            assert_eq!(found.as_deref(), served, "{target} {folder}");
        }
        let base = "/chat".parse().expect("a path");
        let found = url("guide.md#below", "", &base);
        assert_eq!(found.as_deref(), Some("/chat/-/help/guide#below"));
    }
}
