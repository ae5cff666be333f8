//! What an answer tells the socket below it, past hyper between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use hyper::http::request::Parts;

/// Whether the client's end of file ends the connection. Set for answers that last as long as their
/// client stays: hyper does not know that these have no other end.
///
/// The server puts one into the extensions of each request. Answer and socket are polled by the one
/// task of their connection, so no memory ordering is needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Departure(Arc<AtomicBool>);

impl Departure {
    /// Makes it end the connection that a request came by; an embedding server has none.
    pub(crate) fn ends_answer_to(head: &Parts) {
        if let Some(departure) = head.extensions.get::<Departure>() {
            departure.0.store(true, Relaxed);
        }
    }

    /// Notes that a request begins, whose answer is to end by itself.
    pub(crate) fn begin_request(&self) {
        self.0.store(false, Relaxed);
    }

    /// Whether it ends the connection.
    pub(crate) fn is_final(&self) -> bool {
        self.0.load(Relaxed)
    }
}
