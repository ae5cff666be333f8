//! What an answer tells the socket below it, past hyper between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use hyper::http::request::Parts;

/// Whether the end of the client's side ends the connection: where an answer takes as long as its
/// client stays, nothing else would. hyper does not tell such an answer from one that ends by itself.
///
/// The server puts one into the extensions of each request. Answer and socket are polled by the one
/// task of their connection, so no memory ordering is needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Departure(Arc<AtomicBool>);

impl Departure {
    /// That of the connection that a request came by; an embedding server has none.
    pub(crate) fn of(head: &Parts) -> Option<&Departure> {
        head.extensions.get()
    }

    /// Notes whether it ends the connection: not when a request begins.
    pub(crate) fn set_final(&self, is_final: bool) {
        self.0.store(is_final, Relaxed);
    }

    /// Whether it ends the connection.
    pub(crate) fn is_final(&self) -> bool {
        self.0.load(Relaxed)
    }
}
