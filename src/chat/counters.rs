//! What is counted in the rooms.

use std::sync::atomic::{AtomicU64, Ordering};

/// What has happened in all rooms so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Frames queued, counted once for every client.
    pub(crate) deliveries: AtomicU64,
    /// Clients that joined again in place because their queue had been full.
    pub(crate) catch_ups: AtomicU64,
    /// Streams that went on from a position that was held.
    pub(crate) resumes: AtomicU64,
    /// Clients that were told that they had missed messages.
    pub(crate) gaps_told: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}
