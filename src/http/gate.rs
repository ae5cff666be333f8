//! What an answer's body and the socket below it tell each other, past hyper between them.
//!
//! hyper copies what a body gives into a buffer that it flushes, and keeps the capacity that this
//! buffer once had for as long as the connection lives. It also sees no difference between an answer
//! that ends by itself and one that lasts until the client leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use hyper::http::request::Parts;

/// Whether the socket of a connection takes bytes, and what the end of the client's side means.
///
/// The server puts one into the extensions of each request. Body and socket are polled by the one
/// task of their connection, so no memory ordering is needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteGate(Arc<State>);

#[derive(Debug, Default)]
struct State {
    writes: AtomicU8,
    lasts: AtomicBool,
}

const OPEN: u8 = 0;
const BLOCKED: u8 = 1;
/// Blocked, and a body that had bytes to give was refused.
const REFUSED: u8 = 2;

impl WriteGate {
    /// Whether a body may give bytes. If not, the body returns pending: the socket wakes the task
    /// when all that hyper holds has been written.
    pub(crate) fn admits(&self) -> bool {
        let open = self.0.writes.load(Relaxed) == OPEN;
        if !open {
            self.0.writes.store(REFUSED, Relaxed);
        }
        open
    }

    /// Marks the answer to a request (a stream, or a wait for messages) as one that takes as long as
    /// its client stays: from now on the end of the client's side ends the connection.
    pub(crate) fn lasts_until_departure(&self) {
        self.0.lasts.store(true, Relaxed);
    }

    /// The gate of the connection that a request came by; an embedding server has none.
    pub(crate) fn of(head: &Parts) -> Option<&WriteGate> {
        head.extensions.get()
    }

    /// Notes that a write would block.
    pub(crate) fn block(&self) {
        if self.0.writes.load(Relaxed) == OPEN {
            self.0.writes.store(BLOCKED, Relaxed);
        }
    }

    /// Notes that all bytes were written. Returns whether a body was refused meanwhile.
    pub(crate) fn open(&self) -> bool {
        let before = self.0.writes.load(Relaxed);
        if before != OPEN {
            self.0.writes.store(OPEN, Relaxed);
        }
        before == REFUSED
    }

    /// Notes that a request begins.
    pub(crate) fn begin_request(&self) {
        self.0.lasts.store(false, Relaxed);
    }

    /// Whether the end of the client's side ends the connection.
    pub(crate) fn ends_with_client(&self) -> bool {
        self.0.lasts.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_body_is_remembered_until_the_gate_opens() {
        let gate = WriteGate::default();
        assert!(gate.admits() && !gate.open());
        gate.block();
        assert!(!gate.open(), "nothing was refused");
        gate.block();
        assert!(!gate.admits());
        gate.block();
        assert!(gate.open(), "the second block forgets nothing");
        assert!(gate.admits() && !gate.open());
    }
}
