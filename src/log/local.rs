//! The default log: this process decides the order, and its store makes the
//! batches durable.

use super::{
    entry::BatchId,
    order::{BatchPosition, Log, NoAnswer, OrderedBatch},
    sealer::SealedBatch,
};

/// The log of a single server.
///
/// It holds the proposed batch until the applier reads it. A batch that the
/// store could not apply never had a position.
#[derive(Debug, Default)]
pub struct LocalLog {
    proposed: Option<SealedBatch>,
}

impl Log for LocalLog {
    fn propose(&mut self, sealed: &SealedBatch) -> Result<(), NoAnswer> {
        self.proposed = Some(sealed.clone());
        Ok(())
    }

    fn read_after(&mut self, after: BatchPosition) -> Result<Option<OrderedBatch>, NoAnswer> {
        Ok(self.proposed.take().map(|sealed| OrderedBatch {
            position: after.next(),
            sealed,
        }))
    }

    fn withdraw(&mut self, _: BatchId) -> bool {
        self.proposed = None;
        true
    }
}
