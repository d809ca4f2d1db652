//! Hides the addresses that stored messages and topics show.

use std::{net::IpAddr, sync::atomic::Ordering};

use ring::hmac;
use rusqlite::{Row, params};

use super::{
    StoreError,
    reader::Store,
    row::{TableRow, find, to_db},
    tables::{MESSAGES, MessageRow},
};
use crate::protocol::{Author, Seq, Tag};

/// How many messages are searched for a guest, newest first: about 50 ms.
const LOOKED_BACK: u64 = 100_000;

impl Store {
    /// From now on shows the tag of a guest where an address was stored as the
    /// tag.
    pub fn hide_addresses(&self) {
        self.shared.hides_addresses.store(true, Ordering::Relaxed);
    }

    /// Hides the addresses of these authors, if addresses are hidden.
    pub(super) fn conceal<'a>(&self, authors: impl IntoIterator<Item = &'a mut Author>) {
        if !self.shared.hides_addresses.load(Ordering::Relaxed) {
            return;
        }
        for author in authors {
            if let Some(guest) = self.guest(&author.addr) {
                author.addr = guest;
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

    /// The address of the last guest with this tag that wrote one of the last
    /// 100,000 messages.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub async fn address_of(&self, guest: &Tag) -> Result<Option<IpAddr>, StoreError> {
        let after = Seq(self.head().0.saturating_sub(LOOKED_BACK));
        let guest = guest.as_str().to_owned();
        self.on_reader(move |database| {
            let newest =
                "WHERE seq > ?1 AND addr = ?2 AND address IS NOT NULL ORDER BY seq DESC LIMIT 1";
            let address = |row: &Row<'_>| MessageRow::read(row)?.address?.parse().ok();
            let found = find(
                database.db(),
                &MESSAGES,
                newest,
                params![to_db(after), guest],
                address,
            );
            found.map(Option::flatten)
        })
        .await
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
