//! What a chat counts. The metrics page renders it; whoever causes an event counts it here.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Events since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Messages committed.
    pub(crate) accepted: AtomicU64,
    /// Frames queued, counted once for each client.
    pub(crate) deliveries: AtomicU64,
    /// Clients that caught up in place after their queue had been full.
    pub(crate) catch_ups: AtomicU64,
    /// Streams that went on from a position they gave.
    pub(crate) resumes: AtomicU64,
    /// Times that a client was told it had missed messages.
    pub(crate) gaps_told: AtomicU64,
    /// Connections cut because their client took nothing.
    pub(crate) stalled_writes: AtomicU64,
    /// Size of the journal, in bytes.
    pub(crate) journal_bytes: AtomicU64,
    /// Times that the journal was synced, and how long that took.
    pub(crate) journal_syncs: AtomicU64,
    pub(crate) journal_sync_nanoseconds: AtomicU64,
    /// Messages refused, by the code of the refusal.
    pub(crate) refused: Mutex<BTreeMap<&'static str, u64>>,
    /// Requests answered, by route and status.
    pub(crate) requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
}

/// Counts one event.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
