//! Runs that follow each other in a room, to be written in one piece.

use std::{cell::OnceCell, collections::HashSet, net::SocketAddr, sync::Arc};

use crate::{
    history::Run,
    protocol::{Seq, format::Format},
};

/// What is new in a room: at least one run.
pub(super) struct Stretch {
    runs: Vec<Arc<Run>>,
    messages: usize,
    authors: Authors,
    /// The frames of all runs, end to end; joined when somebody needs them.
    joined: [OnceCell<Vec<u8>>; Format::COUNT],
}

impl Stretch {
    pub(super) fn of(first: Arc<Run>) -> Self {
        let mut stretch = Stretch {
            messages: 0,
            runs: Vec::with_capacity(1),
            authors: Authors::default(),
            joined: Default::default(),
        };
        stretch.push(first);
        stretch
    }

    pub(super) fn push(&mut self, run: Arc<Run>) {
        self.messages += run.entries().len();
        run.messages().for_each(|m| self.authors.add(m.from.addr));
        self.runs.push(run);
    }

    pub(super) fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// Whether an author of any of it is at this address.
    pub(super) fn is_by(&self, addr: SocketAddr) -> bool {
        self.authors.contains(addr)
    }

    /// How many messages it has.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// Whether all of it, and nothing before it, is new to who is there.
    pub(super) fn follows(&self, position: Seq) -> bool {
        let first = &self.runs[0];
        first.prev() <= position && position < first.first()
    }

    /// The last number in it.
    pub(super) fn last(&self) -> Seq {
        self.runs[self.runs.len() - 1].last()
    }

    /// All frames. Copying them together once is less than what a system call
    /// with many pieces costs for each of many sockets.
    pub(super) fn frames(&self, format: Format) -> &[u8] {
        match &self.runs[..] {
            [one] => one.block(format).all(),
            many => self.joined[format.index()].get_or_init(|| {
                let blocks = many.iter().map(|run| run.block(format).all());
                blocks.collect::<Vec<_>>().concat()
            }),
        }
    }
}

/// Who said something; asked of each of many subscribers, few of whom did.
#[derive(Default)]
struct Authors {
    /// By the end of their ports: most who are asked of are not among these.
    ports: u64,
    addrs: HashSet<SocketAddr>,
}

impl Authors {
    fn add(&mut self, addr: SocketAddr) {
        self.ports |= Self::bit(addr);
        self.addrs.insert(addr);
    }

    fn contains(&self, addr: SocketAddr) -> bool {
        self.ports & Self::bit(addr) != 0 && self.addrs.contains(&addr)
    }

    fn bit(addr: SocketAddr) -> u64 {
        1 << (addr.port() % 64)
    }
}
