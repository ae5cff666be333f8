//! A client, as the hub knows it: where it is a member, and what it has yet to be given.

use std::sync::Arc;

use super::id::EventId;
use super::members::Claim;
use super::queue::Queue;
use crate::author::Author;
use crate::names::RoomName;

/// A client, as the hub knows it.
pub(super) struct Client {
    /// It knows where the client will be when it has taken what is queued.
    pub(super) queue: Arc<Queue>,
    /// In a box, because most streams of a large room are listeners and have none.
    pub(super) claim: Option<Box<Claim>>,
    pub(super) memberships: Box<[Membership]>,
    /// `None` once the client has caught up for the first time.
    pub(super) arrival: Option<Box<Arrival>>,
}

/// What a client has in one room.
pub(super) struct Membership {
    pub(super) room: RoomName,
    /// The key of its queue among the room's clients.
    pub(super) key: usize,
    /// [`Room::roster_version`](super::room::Room::roster_version) when the client was last given a whole
    /// roster, 0 before. Changes that it is told while it is live do not raise it.
    pub(super) roster_version: u64,
}

/// What a client that is new needs beside its position.
pub(super) struct Arrival {
    /// Who the client is to others.
    pub(super) author: Option<Author>,
    /// Rooms that have been greeted, in the order of the memberships.
    pub(super) greeted: usize,
    /// Where the stream begins in each room.
    pub(super) begins: Vec<EventId>,
}
