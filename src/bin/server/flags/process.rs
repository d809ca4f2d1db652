//! The cores and file descriptors of this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The number of workers, and of shards.
///
/// One core is left to the writer, the kernel's half of the sockets and other
/// programs. On two cores, two shards delivered 0.7 to 1.3 times as much as one
/// core does, and one shard 0.8 to 1.6 times as much.
pub(super) fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
}

/// Raises this process's limit of file descriptors as far as the system allows;
/// returns the limit.
pub(super) fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
    .unwrap_or(u64::MAX)
}
