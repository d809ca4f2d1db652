//! The path that all URLs of the server begin with.

use std::{fmt, str::FromStr};

use crate::protocol::is_base_segment;

/// The longest base path, in bytes.
const MAX_LENGTH: usize = 128;

/// The path that all URLs of the server begin with: empty, or like `/chat`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasePath(String);

impl BasePath {
    /// The rest of a path that begins with this one; `None` for another path.
    pub(super) fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(&self.0)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
}

impl FromStr for BasePath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "give a path like /chat, of letters, digits and - _ . ~";
        let path = text.strip_suffix('/').unwrap_or(text);
        if path.is_empty() && !text.is_empty() {
            return Ok(BasePath::default());
        }
        let segments = path.strip_prefix('/').ok_or(RULE)?;
        if path.len() > MAX_LENGTH || !segments.split('/').all(is_base_segment) {
            return Err(RULE);
        }
        Ok(BasePath(path.to_owned()))
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_is_plain_and_has_no_slash_at_its_end() {
        for (text, path) in [
            ("/", ""),
            ("/chat", "/chat"),
            ("/chat/", "/chat"),
            ("/a/b-c_d.e~f", "/a/b-c_d.e~f"),
        ] {
            assert_eq!(text.parse::<BasePath>().expect(text).to_string(), path);
        }
        let long = format!("/{}", "x".repeat(MAX_LENGTH));
        for wrong in [
            "", "chat", "//", "/chat//", "/a//b", "/-", "/..", "/a/../b", "/a b", "/a%20b",
            "/a\"b", "/a?b", "/a#b", "/ä", &long,
        ] {
            assert!(wrong.parse::<BasePath>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_paths_below_it_are_its_own() {
        let base: BasePath = "/chat".parse().expect("a path");
        for (path, rest) in [
            ("/chat", Some("")),
            ("/chat/", Some("/")),
            ("/chat/tea", Some("/tea")),
            ("/chat/-/help", Some("/-/help")),
            ("/chats", None),
            ("/tea", None),
            ("/", None),
            ("*", None),
        ] {
            assert_eq!(base.strip(path), rest, "{path}");
        }
        assert_eq!(BasePath::default().strip("/tea"), Some("/tea"));
    }
}
