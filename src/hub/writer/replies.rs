//! The writer's replies to those that submitted entries.

use crate::{
    hub::{
        actions::BUSY_RETRY_MS,
        admission,
        receipts::Reply,
        submissions::{ActionResult, OutcomeReceiver, Submission},
    },
    log::Entry,
    protocol::{Refusal, RefusalCode, Seq, name::MessageId},
    store::Outcome,
};

impl Submission {
    /// Whether it may be stored now: not if it follows a refused message.
    pub(super) fn accept(&self) -> bool {
        match (&self.receiver, self.entry.action.message()) {
            (OutcomeReceiver::Publisher(receipt), Some(draft)) => {
                receipt.accept(draft.id.as_ref(), draft.follows.as_ref())
            }
            _ => true,
        }
    }
}

impl OutcomeReceiver {
    pub(super) fn tell(self, entry: &Entry, outcome: Outcome, ended: usize) {
        match self {
            OutcomeReceiver::Publisher(receipt) => receipt.tell(match outcome {
                Outcome::Stored(seq) => stored(entry, seq, false),
                Outcome::Repeat(seq) => stored(entry, seq, true),
                Outcome::NotHere => not_here(entry),
                Outcome::IdTaken => Reply::Refused(id_taken(message_id(entry))),
                Outcome::InboxFull => inbox_full(entry),
                Outcome::Denied(denial) => {
                    Reply::Refused(admission::refusal(denial).with_id(message_id(entry)))
                }
                _ => busy(message_id(entry)),
            }),
            // If the task has ended, the send fails; the entry stays applied.
            OutcomeReceiver::Task(tell) => drop(tell.send(ActionResult { outcome, ended })),
            OutcomeReceiver::Nobody => {}
        }
    }

    /// Tells a publisher that its message was not stored. A task notices that
    /// its channel closes.
    pub(super) fn refuse(self, id: Option<MessageId>) {
        if let OutcomeReceiver::Publisher(receipt) = self {
            receipt.tell(busy(id));
        }
    }
}

pub(super) fn refuse(submission: Submission) {
    submission.receiver.refuse(message_id(&submission.entry));
}

pub(super) fn message_id(entry: &Entry) -> Option<MessageId> {
    entry.action.message()?.id.clone()
}

fn stored(entry: &Entry, seq: Seq, duplicate: bool) -> Reply {
    Reply::Stored {
        id: message_id(entry),
        seq,
        duplicate,
    }
}

fn id_taken(id: Option<MessageId>) -> Refusal {
    let text = "Another message has this id: send this one under a new id, drawn at random.";
    Refusal::new(RefusalCode::IdTaken, text).with_id(id)
}

/// The reply to a draft about a message that is not there.
fn not_here(entry: &Entry) -> Reply {
    let draft = entry.action.message();
    let about = draft.and_then(|draft| Some((&draft.room, draft.about?.seq)));
    let refusal = about.map_or_else(
        || Refusal::new(RefusalCode::NotHere, "There is no such message here."),
        |(room, seq)| admission::not_here(room, seq),
    );
    Reply::Refused(refusal.with_id(message_id(entry)))
}

fn inbox_full(entry: &Entry) -> Reply {
    let to = entry.action.message().and_then(|draft| draft.to.as_ref());
    let name = to.map_or("The reader", |to| to.name.as_str());
    let text = format!(
        "{name} has not read so many private messages that there is no room for another one: write again once {name} was here."
    );
    Reply::Refused(Refusal::new(RefusalCode::NotAllowed, text).with_id(message_id(entry)))
}

fn busy(id: Option<MessageId>) -> Reply {
    Reply::Refused(Refusal {
        code: RefusalCode::Busy,
        text: "The message could not be stored; send it again in a while.".into(),
        id,
        retry_ms: Some(BUSY_RETRY_MS),
    })
}
