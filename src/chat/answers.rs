//! What a room answers: to who joins, to who posts, to who asks.

use std::sync::Arc;

use super::frame::{Census, Frame};
use super::id::EventId;
use super::names::RoomName;
use super::queue::Receiver;

/// Tells the clients of a room apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct ClientId(pub(super) usize);

/// What a client holds when it has joined: what came before, and the queue of what comes.
pub(crate) struct Seat {
    pub(crate) client: ClientId,
    pub(crate) position: EventId,
    pub(crate) backlog: Vec<Arc<Frame>>,
    pub(crate) live: Receiver,
}

/// Why nobody can join.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CannotJoin {
    /// The name belongs to another session.
    NameTaken,
    /// The server is shutting down.
    Closing,
}

/// The key stands on a message with another text or name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct KeyReused;

/// Why a draft cannot become a message here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CannotCommit {
    KeyReused,
    /// The server is shutting down: no client would get it.
    Closing,
}

/// How a draft came to be a message.
pub(crate) enum Committed {
    Now(Arc<Frame>),
    Before(Arc<Frame>),
}

/// A question for what is held.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Query {
    pub(crate) after: Option<EventId>,
    pub(crate) before: Option<EventId>,
    pub(crate) limit: usize,
}

/// The answer to a question for what is held.
pub(crate) struct Page {
    /// Oldest first.
    pub(crate) messages: Vec<Arc<Frame>>,
    /// Where to ask on.
    pub(crate) next: EventId,
    /// Whether messages after the asked position are held no more.
    pub(crate) missed: bool,
}

/// A room in numbers.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) room: RoomName,
    pub(crate) census: Census,
    /// The newest message that is held.
    pub(crate) newest: Option<EventId>,
    pub(crate) history_bytes: usize,
}

/// Why a room may go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expendable {
    /// Nothing was ever said in it.
    Empty,
    /// Nothing was said in it for long; this is the last position in it.
    Forgotten(EventId),
}
