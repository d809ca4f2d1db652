//! Who is connected, so that somebody can be sent away.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::oneshot;

use super::{Hub, measures::Measures};
use crate::{
    history::{Changing, Measure},
    protocol::{
        Author, Refusal,
        close::CloseReason,
        name::{Name, NameKey},
        text::Text,
        who::Who,
    },
};

/// All conversations.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    present: Mutex<HashMap<u64, Present>>,
    next: AtomicU64,
    /// Who may not be here, or may only read.
    pub(super) measures: Measures,
}

#[derive(Debug)]
struct Present {
    addr: SocketAddr,
    name: Option<NameKey>,
    /// Until it was sent away.
    leave: Option<oneshot::Sender<CloseReason>>,
}

impl Attendance {
    pub(super) fn new(measures: Vec<Measure>) -> Self {
        Attendance {
            measures: Measures::new(measures),
            ..Attendance::default()
        }
    }

    /// Sends one away who may not be here. Whoever imposes a ban looks for them
    /// afterwards: one of both sees the other.
    fn admit(&self, number: u64, author: &Author) {
        if let Some(reason) = self.measures.keeps_out(author)
            && let Some(one) = self.present().get_mut(&number)
            && let Some(leave) = one.leave.take()
        {
            // It may be over by itself.
            let _ = leave.send(reason);
        }
    }

    fn present(&self) -> MutexGuard<'_, HashMap<u64, Present>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends somebody away; how many connections that ends.
    pub(super) fn send_away(&self, who: &Who, why: &CloseReason) -> usize {
        let key = match who {
            Who::Name(name) => Some(name.key()),
            Who::Address(_) | Who::Connection(_) => None,
        };
        let mut present = self.present();
        let meant = present.values_mut().filter(|one| match who {
            Who::Connection(addr) => one.addr == *addr,
            Who::Address(ip) => one.addr.ip().to_canonical() == ip.to_canonical(),
            Who::Name(_) => one.name == key,
        });
        meant
            .filter_map(|one| one.leave.take()?.send(why.clone()).ok())
            .count()
    }
}

/// One conversation among all. Dropped, it is over.
#[derive(Debug)]
pub struct Seat {
    attendance: Arc<Attendance>,
    number: u64,
}

impl Seat {
    /// It carries another name from now on.
    pub fn rename(&self, author: &Author) {
        let key = author.name.as_ref().map(Name::key);
        if let Some(one) = self.attendance.present().get_mut(&self.number) {
            one.name = key;
        }
        self.attendance.admit(self.number, author);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.attendance.present().remove(&self.number);
    }
}

impl Hub {
    /// A conversation begins; the second tells when it is to end, and why.
    pub fn attend(&self, author: &Author) -> (Seat, oneshot::Receiver<CloseReason>) {
        let attendance = Arc::clone(&self.shared.attendance);
        let number = attendance.next.fetch_add(1, Ordering::Relaxed);
        let (leave, left) = oneshot::channel();
        let one = Present {
            addr: author.addr,
            name: author.name.as_ref().map(Name::key),
            leave: Some(leave),
        };
        attendance.present().insert(number, one);
        attendance.admit(number, author);
        (Seat { attendance, number }, left)
    }

    /// Sends somebody away, once it is written down; how many connections that
    /// ends.
    pub fn kick(
        &self,
        by: &Author,
        who: Who,
        why: Option<Text>,
    ) -> impl Future<Output = Result<usize, Refusal>> + use<> {
        let (hub, by) = (self.clone(), by.to_string());
        let reason = CloseReason::Kicked {
            why: why.as_deref().map(Into::into),
        };
        async move {
            let attendance = Arc::clone(&hub.shared.attendance);
            let (whom, why) = (who.to_string(), why.map_or_else(String::new, String::from));
            let change = move |log: &mut Changing<'_>| {
                log.audit(by, "kick", whom, why)?;
                Ok(AtomicUsize::new(0))
            };
            let then = move |ended: &AtomicUsize| {
                ended.store(attendance.send_away(&who, &reason), Ordering::Relaxed);
            };
            let ended = hub.change_then(change, then).await?;
            Ok(ended.into_inner())
        }
    }
}
