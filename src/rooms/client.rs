//! A client, as the hub knows it: where it is a member, and what it has yet to be given.

use std::sync::Arc;

use super::id::EventId;
use super::members::Claim;
use super::queue::Queue;
use crate::author::Author;
use crate::names::RoomName;

/// A client, as the hub knows it.
pub(super) struct Client {
    /// It knows the position that the client has reached.
    pub(super) queue: Arc<Queue>,
    /// In a box, because most streams of a large room are listeners and have none.
    pub(super) claim: Option<Box<Claim>>,
    pub(super) memberships: Box<[Membership]>,
    /// `None` once the client has caught up for the first time.
    pub(super) arrival: Option<Box<Arrival>>,
}

impl Client {
    /// The position after which the client gets what is in its n-th room.
    pub(super) fn begin(&self, n: usize, position: EventId) -> EventId {
        let arrival = self.arrival.as_ref();
        let begin = arrival.and_then(|arrival| arrival.begins.get(n));
        begin.map_or(position, |begin| position.max(*begin))
    }
}

/// A client's place in one room.
pub(super) struct Membership {
    pub(super) room: RoomName,
    pub(super) place: usize,
    /// The version of the roster when the client was last sent all of it; 0 before that. Changes that it
    /// receives while it is live do not raise it, so a roster may be sent again without need.
    pub(super) roster_version: u64,
}

/// What a client that is new needs beside its position.
pub(super) struct Arrival {
    /// Who the client is to others.
    pub(super) author: Option<Author>,
    /// How many rooms have been greeted, in the order of the memberships.
    pub(super) rooms_greeted: usize,
    /// The position after which the stream begins in each room: the same for all if it resumes.
    pub(super) begins: Vec<EventId>,
}
