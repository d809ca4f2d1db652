//! The digest of a message's content, by which a repeat of its id is recognised.
//!
//! The text itself does not do: a later edit changes it, and a redaction removes
//! it. The salt keeps a digest from being looked up in a list of known texts.

use ring::digest::{Context, SHA256};

use crate::{
    log::Draft,
    protocol::{MessageKind, OwnerNumber},
};

/// The length of a salt, and of the part of a digest that is kept. Two contents
/// have the same digest by chance once in 2^128.
const LENGTH: usize = 16;

/// A salt, and the digest of a content under it.
pub(super) type ContentDigest = [u8; 2 * LENGTH];

/// The digest of a draft's content: kind, recipient, reference and
/// text.
pub(super) fn digest(salt: &[u8; LENGTH], draft: &Draft) -> ContentDigest {
    let to = draft.to.as_ref().map_or(OwnerNumber::NONE, |to| to.owner);
    let mut context = Context::new(&SHA256);
    context.update(salt);
    context.update(&[u8::from(draft.kind == MessageKind::Me)]);
    context.update(&to.0.to_le_bytes());
    if let Some(about) = draft.about {
        context.update(&[1 + about.kind as u8]);
        context.update(&about.seq.0.to_le_bytes());
    } else {
        context.update(&[0]);
    }
    context.update(draft.text.as_bytes());
    let mut salted = [0; 2 * LENGTH];
    let (first, second) = salted.split_at_mut(LENGTH);
    first.copy_from_slice(salt);
    second.copy_from_slice(&context.finish().as_ref()[..LENGTH]);
    salted
}

/// Whether a draft has the content with this digest.
pub(super) fn is_content(stored: &[u8], draft: &Draft) -> bool {
    let salt = stored.first_chunk().copied().unwrap_or_default();
    stored == digest(&salt, draft)
}
