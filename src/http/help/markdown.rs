//! Markdown as HTML: headings get ids as on GitHub, raw HTML is dropped.

use std::{collections::BTreeMap, iter};

use pulldown_cmark::{Alignment, CowStr, Event, Options, Parser, Tag, TagEnd, html};

/// A document as HTML.
pub(super) struct Rendered {
    /// The first heading.
    pub(super) title: String,
    pub(super) body: String,
}

/// Renders Markdown. `url` maps the target of a link to its URL; a link without
/// a URL becomes plain text.
pub(super) fn render(markdown: &str, url: impl Fn(&str) -> Option<String>) -> Rendered {
    let mut renderer = Renderer::default();
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        renderer.add(event, &url);
    }
    let (mut title, mut body) = (String::new(), String::new());
    html::push_html(&mut title, iter::once(Event::Text(renderer.title.into())));
    html::push_html(&mut body, renderer.events.into_iter());
    Rendered { title, body }
}

/// Changes the events of a Markdown parser into those of a page.
#[derive(Default)]
struct Renderer<'a> {
    events: Vec<Event<'a>>,
    title: String,
    /// The open heading: its place in `events`, and its words so far.
    heading: Option<(usize, String)>,
    /// How often each id was wanted.
    ids: BTreeMap<String, u32>,
    /// Whether the open link is kept. Links do not nest.
    keeps_link: bool,
    /// The columns of the open table, and the place in its open row.
    columns: Vec<Alignment>,
    column: usize,
    in_table_head: bool,
}

impl<'a> Renderer<'a> {
    fn add(&mut self, event: Event<'a>, url: &impl Fn(&str) -> Option<String>) {
        match event {
            Event::Start(tag) => self.start(tag, url),
            Event::End(tag) => self.end(tag),
            // Only comments for programs that make parts of a page are HTML.
            Event::Html(_) | Event::InlineHtml(_) => {}
            Event::Text(ref text) | Event::Code(ref text) => {
                if let Some((_, words)) = &mut self.heading {
                    words.push_str(text);
                }
                self.events.push(event);
            }
            _ => self.events.push(event),
        }
    }

    fn start(&mut self, mut tag: Tag<'a>, url: &impl Fn(&str) -> Option<String>) {
        match &mut tag {
            Tag::Heading { .. } => self.heading = Some((self.events.len(), String::new())),
            Tag::Link { dest_url, .. } => {
                let url = url(dest_url);
                self.keeps_link = url.is_some();
                let Some(url) = url else { return };
                *dest_url = url.into();
            }
            // The pictures are not in the binary: their texts stand for them.
            Tag::Image { .. } => tag = Tag::Emphasis,
            Tag::CodeBlock(_) => return self.html("\n<pre tabindex=\"0\"><code>"),
            Tag::Table(columns) => {
                // The policy forbids the style attributes of aligned columns.
                self.columns = std::mem::take(columns);
                self.html("\n<div class=\"wide\" tabindex=\"0\">");
            }
            Tag::TableHead => {
                self.in_table_head = true;
                self.column = 0;
            }
            Tag::TableRow => self.column = 0,
            Tag::TableCell => {
                let right = self.columns.get(self.column) == Some(&Alignment::Right);
                self.column += 1;
                if right {
                    return self.html(if self.in_table_head {
                        "<th class=\"right\">"
                    } else {
                        "<td class=\"right\">"
                    });
                }
            }
            Tag::HtmlBlock => return,
            _ => {}
        }
        self.events.push(Event::Start(tag));
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => self.end_heading(),
            TagEnd::Link if !self.keeps_link => return,
            TagEnd::Image => return self.events.push(Event::End(TagEnd::Emphasis)),
            TagEnd::CodeBlock => return self.html("</code></pre>\n"),
            TagEnd::Table => {
                self.events.push(Event::End(tag));
                return self.html("</div>\n");
            }
            // An empty cell heads no column.
            TagEnd::TableCell if self.in_table_head && self.is_cell_empty() => {
                self.events.pop();
                return self.html("<td></td>");
            }
            TagEnd::TableHead => self.in_table_head = false,
            TagEnd::HtmlBlock => return,
            _ => {}
        }
        self.events.push(Event::End(tag));
    }

    /// Whether the open cell has no content yet.
    fn is_cell_empty(&self) -> bool {
        match self.events.last() {
            Some(Event::Start(Tag::TableCell)) => true,
            Some(Event::Html(html)) => html.starts_with("<th"),
            _ => false,
        }
    }

    /// Gives the open heading its id.
    fn end_heading(&mut self) {
        let Some((at, words)) = self.heading.take() else {
            return;
        };
        let slug = slug(&words);
        let wanted = self.ids.entry(slug.clone()).or_default();
        let unique = match *wanted {
            0 => slug,
            times => format!("{slug}-{times}"),
        };
        *wanted += 1;
        if let Some(Event::Start(Tag::Heading { id, .. })) = self.events.get_mut(at) {
            *id = Some(unique.into());
        }
        if self.title.is_empty() {
            self.title = words;
        }
    }

    fn html(&mut self, html: &'static str) {
        self.events.push(Event::Html(CowStr::Borrowed(html)));
    }
}

/// The id that GitHub gives to a heading of these words, if no other has it.
fn slug(words: &str) -> String {
    words
        .chars()
        .filter(|&c| c.is_alphanumeric() || " -_".contains(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(markdown: &str) -> String {
        render(markdown, |target| {
            target.strip_suffix(".md").map(|name| format!("/{name}"))
        })
        .body
    }

    #[test]
    fn headings_get_the_ids_of_github() {
        let markdown = "# The `gap`, and _why_ A-1!\n## Öl_1\n## One\n### One\n## One\n";
        let ids = body(markdown);
        let ids: Vec<_> = ids
            .split("id=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        let wanted = ["the-gap-and-why-a-1", "öl_1", "one", "one-1", "one-2"];
        assert_eq!(ids, wanted);
    }

    #[test]
    fn the_title_is_the_escaped_first_heading() {
        let rendered = render("a\n# A & `<b>`\n# C\n", |_| None);
        assert_eq!(rendered.title, "A &amp; &lt;b&gt;");
    }

    #[test]
    fn a_link_without_a_url_and_a_picture_become_text() {
        assert_eq!(
            body("[a *b*](c.md), [d](e.rs) and ![a cat](cat.png)\n"),
            "<p><a href=\"/c\">a <em>b</em></a>, d and <em>a cat</em></p>\n"
        );
    }

    #[test]
    fn raw_html_is_dropped_and_text_is_escaped() {
        let markdown = "<!-- made -->\n\n<script>\nalert(1)\n</script>\n\na <img src=x> `<b>`\n";
        assert_eq!(body(markdown), "<p>a  <code>&lt;b&gt;</code></p>\n");
    }

    #[test]
    fn code_and_tables_scroll_and_need_no_inline_style() {
        assert_eq!(
            body("```sh\n<x>\n```\n"),
            "\n<pre tabindex=\"0\"><code>&lt;x&gt;\n</code></pre>\n"
        );
        let table = body("| a | b |\n|---|--:|\n| 1 | 2 |\n");
        assert!(
            table.contains("<th>a</th><th class=\"right\">b</th>"),
            "{table}"
        );
        assert!(
            table.contains("<td>1</td><td class=\"right\">2</td>"),
            "{table}"
        );
        assert!(!table.contains("style"), "{table}");
    }
}
