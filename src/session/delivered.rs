//! Tracks which private messages a peer has certainly received. A returning
//! peer is not sent those again.
//!
//! A message taken by the socket has not yet reached its reader. It counts as
//! received when the peer is heard some time later, which happens regularly, or
//! closes in order.

use tokio::time::Instant;

use crate::protocol::Seq;

/// How far a peer has received its inbox.
#[derive(Debug, Default)]
pub(super) struct DeliveredMark {
    noted: Seq,
    /// The number up to which everything had been sent, and when that was seen.
    sent: Option<(Seq, Instant)>,
}

impl DeliveredMark {
    /// Compares what was sent with when the peer was last heard. Returns the
    /// number to record, if it is new.
    pub(super) fn observe(&mut self, out: Option<Seq>, heard: Instant) -> Option<Seq> {
        let certain = self.sent.take_if(|(_, at)| heard > *at);
        if self.sent.is_none() {
            self.sent = out.map(|seq| (seq, Instant::now()));
        }
        self.advance(certain?.0)
    }

    /// Takes a number up to which the peer has everything. Returns it if it is
    /// new.
    pub(super) fn advance(&mut self, seq: Seq) -> Option<Seq> {
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
    async fn messages_count_as_delivered_once_the_peer_is_heard_afterwards() {
        let mut shown = DeliveredMark::default();
        let tick = || tokio::time::advance(Duration::from_secs(10));
        let before = Instant::now();
        assert_eq!(shown.observe(Some(Seq(7)), before), None);
        tick().await;
        assert_eq!(shown.observe(Some(Seq(8)), before), None, "not heard since");
        tick().await;
        // Number 8 may have been sent after the peer was heard.
        assert_eq!(shown.observe(Some(Seq(8)), Instant::now()), Some(Seq(7)));
        tick().await;
        assert_eq!(shown.observe(Some(Seq(8)), Instant::now()), Some(Seq(8)));
        tick().await;
        assert_eq!(
            shown.observe(Some(Seq(8)), Instant::now()),
            None,
            "nothing new"
        );
        assert_eq!(shown.observe(None, Instant::now()), None);
        assert_eq!(shown.advance(Seq(9)), Some(Seq(9)));
        assert_eq!(shown.advance(Seq(9)), None);
    }
}
