//! Hides the addresses that stored messages and topics show.

use std::sync::atomic::Ordering;

use ring::hmac;

use super::reader::Store;
use crate::protocol::{Message, Tag};

impl Store {
    /// From now on shows the tag of a guest where an address was stored as the
    /// tag.
    pub fn hide_addresses(&self) {
        self.shared.hides_addresses.store(true, Ordering::Relaxed);
    }

    /// Hides the addresses of these messages' authors, if addresses are hidden.
    pub(super) fn conceal<'a>(&self, messages: impl IntoIterator<Item = &'a mut Message>) {
        if !self.shared.hides_addresses.load(Ordering::Relaxed) {
            return;
        }
        for message in messages {
            if let Some(guest) = self.guest(&message.from.addr) {
                message.from.addr = guest;
            }
        }
    }

    /// Hides the address of a topic's author.
    pub(super) fn conceal_author(&self, author: String) -> String {
        let hides = self.shared.hides_addresses.load(Ordering::Relaxed);
        let tag = author.parse::<Tag>().ok().filter(|_| hides);
        let guest = tag.and_then(|tag| self.guest(&tag));
        guest.map_or(author, |guest| guest.to_string())
    }

    /// The tag of a guest for a tag that shows its address: the same one each
    /// time.
    fn guest(&self, tag: &Tag) -> Option<Tag> {
        let shown = tag.shown_address()?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.shared.guest_key);
        let signed = hmac::sign(&key, tag.as_str().as_bytes());
        let bytes: [u8; 4] = signed.as_ref().first_chunk().copied()?;
        let number = u32::from_be_bytes(bytes) % Tag::GUESTS;
        Some(Tag::guest(number, Some(shown.ip())))
    }
}
