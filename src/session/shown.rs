//! Which private messages a peer surely has: those are not shown again when it
//! comes back.
//!
//! What a socket took is not with its reader yet. It counts once the peer was
//! heard some time after, as it is every now and then, or took its leave in
//! order.

use tokio::time::Instant;

use crate::protocol::Seq;

/// How far a peer has come.
#[derive(Debug, Default)]
pub(super) struct Shown {
    noted: Seq,
    /// Everything up to this number had gone out by then.
    sent: Option<(Seq, Instant)>,
}

impl Shown {
    /// Looks what went out, and when the peer was heard last; a number to note,
    /// if there is a new one.
    pub(super) fn look(&mut self, out: Option<Seq>, heard: Instant) -> Option<Seq> {
        let certain = self.sent.take_if(|(_, at)| heard > *at);
        if self.sent.is_none() {
            self.sent = out.map(|seq| (seq, Instant::now()));
        }
        self.note(certain?.0)
    }

    /// The peer has everything up to a number; to note, if it is a new one.
    pub(super) fn note(&mut self, seq: Seq) -> Option<Seq> {
        (seq > self.noted).then(|| {
            self.noted = seq;
            seq
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_went_out_counts_once_the_peer_was_heard_since() {
        let mut shown = Shown::default();
        let tick = || tokio::time::advance(Duration::from_secs(10));
        let before = Instant::now();
        assert_eq!(shown.look(Some(Seq(7)), before), None);
        tick().await;
        assert_eq!(shown.look(Some(Seq(8)), before), None, "not heard since");
        tick().await;
        // Of 8 it is not known whether it was out when the peer spoke.
        assert_eq!(shown.look(Some(Seq(8)), Instant::now()), Some(Seq(7)));
        tick().await;
        assert_eq!(shown.look(Some(Seq(8)), Instant::now()), Some(Seq(8)));
        tick().await;
        assert_eq!(
            shown.look(Some(Seq(8)), Instant::now()),
            None,
            "nothing new"
        );
        assert_eq!(shown.look(None, Instant::now()), None);
        assert_eq!(shown.note(Seq(9)), Some(Seq(9)));
        assert_eq!(shown.note(Seq(9)), None);
    }
}
