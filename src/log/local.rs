//! The default log: this process decides the order, and its store makes the
//! batches durable.

use super::{
    entry::Origin,
    order::{Log, Ordered, Position, Unanswered},
    sealer::Sealed,
};

/// The log of a single server.
///
/// It holds the proposed batch until the applier reads it. A batch that the
/// store could not apply never had a position.
#[derive(Debug, Default)]
pub struct Local {
    proposed: Option<Sealed>,
}

impl Log for Local {
    fn propose(&mut self, sealed: &Sealed) -> Result<(), Unanswered> {
        self.proposed = Some(sealed.clone());
        Ok(())
    }

    fn next(&mut self, after: Position) -> Result<Option<Ordered>, Unanswered> {
        Ok(self.proposed.take().map(|sealed| Ordered {
            position: after.next(),
            sealed,
        }))
    }

    fn withdraw(&mut self, _: Origin) -> bool {
        self.proposed = None;
        true
    }
}
