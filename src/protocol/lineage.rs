//! The logs whose positions count in a log: itself, and those it continues.

use super::{Epoch, Event, GapReason, Seq, command::Start};

/// The epoch of a log, and the logs that it continues.
///
/// A log made from a backup continues the log of the original: up to the end of
/// the backup, both have the same messages under the same numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The epoch of the log.
    pub epoch: Epoch,
    /// The logs that it continues.
    pub parents: Vec<Parent>,
}

/// A log that another one continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its epoch.
    pub epoch: Epoch,
    /// The last number that both logs have in common.
    pub upto: Seq,
}

/// Where a reader starts, and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The number after which it is fed the room, if it gave a position.
    pub after: Option<Seq>,
    /// The number after which it is fed its inbox, if it gave one that counts.
    pub inbox: Option<Seq>,
    /// The same as `after` if the position is one of a parent.
    pub continued: Option<Seq>,
    /// The gap that it is told if its position is not in this log.
    pub gap: Option<Event>,
}

impl Lineage {
    /// Where a reader starts that asks for `start`, if the log ends at `head`.
    pub fn replay(&self, start: &Start, head: Seq) -> Replay {
        let foreign = start.epoch.as_ref().filter(|other| **other != self.epoch);
        let parent = foreign.and_then(|epoch| self.parents.iter().find(|it| it.epoch == *epoch));
        let unknown = foreign.is_some() && parent.is_none();
        // The last number whose message the reader's log and this one share.
        let common = match parent {
            Some(parent) => parent.upto.min(head),
            // A log that ends before the position may have given numbers again.
            None if unknown || start.after > Some(head) => Seq::START,
            None => head,
        };
        let after = start.after.map(|after| after.min(common));
        let beyond = start.after.filter(|after| unknown || *after > common);
        Replay {
            after,
            inbox: match foreign {
                None => start.inbox.filter(|seq| *seq <= head),
                Some(_) => parent.and(start.inbox).map(|seq| seq.min(common)),
            },
            continued: parent.and(after),
            gap: beyond.map(|after| Event::Gap {
                after,
                next: common.next(),
                reason: GapReason::Epoch,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_of_a_parent_counts_up_to_the_backup() {
        let epoch = |name: &str| Epoch(name.into());
        let parent = |name, upto| Parent {
            epoch: epoch(name),
            upto: Seq(upto),
        };
        let lineage = Lineage {
            epoch: epoch("c"),
            parents: vec![parent("a", 10), parent("b", 20)],
        };
        // The epoch and number of a position; the number after which the reader
        // is fed, the end of the gap, and the same for its inbox.
        for (name, after, fed, next, inbox) in [
            (None, 30, 30, None, Some(30)),
            (Some("c"), 30, 30, None, Some(30)),
            (Some("c"), 31, 0, Some(1), None),
            (Some("a"), 0, 0, None, Some(0)),
            (Some("a"), 10, 10, None, Some(10)),
            (Some("a"), 11, 10, Some(11), Some(10)),
            (Some("b"), 20, 20, None, Some(20)),
            (Some("b"), 99, 20, Some(21), Some(20)),
            (Some("d"), 0, 0, Some(1), None),
            (Some("d"), 5, 0, Some(1), None),
        ] {
            let asked = Start {
                after: Some(Seq(after)),
                epoch: name.map(epoch),
                backlog: None,
                inbox: Some(Seq(after)),
            };
            let replay = lineage.replay(&asked, Seq(30));
            assert_eq!(replay.after, Some(Seq(fed)), "{name:?} {after}");
            assert_eq!(replay.inbox, inbox.map(Seq), "{name:?} {after}");
            let gap = next.map(|next| Event::Gap {
                after: Seq(after),
                next: Seq(next),
                reason: GapReason::Epoch,
            });
            assert_eq!(replay.gap, gap, "{name:?} {after}");
            let is_parent = name.is_some_and(|name| name < "c");
            assert_eq!(replay.continued.is_some(), is_parent, "{name:?} {after}");
        }
    }
}
