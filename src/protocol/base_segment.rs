//! The parts of the path that all URLs of a server begin with.

/// Whether all URLs of a server may begin with this part of a path. `-` alone is
/// the server's own.
pub fn is_base_segment(part: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    !["", ".", "..", "-"].contains(&part) && part.bytes().all(is_plain)
}
