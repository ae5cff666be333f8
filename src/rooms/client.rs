//! A client, as the hub knows it: where it is a member, and what it has yet to be given.

use std::collections::HashMap;
use std::sync::Arc;

use super::id::EventId;
use super::members::Claim;
use super::queue::Queue;
use super::room::Room;
use super::start::Backlog;
use crate::names::RoomName;

pub(super) type Rooms = HashMap<RoomName, Room>;

/// A client, as the hub knows it.
pub(super) struct Client {
    pub(super) queue: Arc<Queue>,
    /// In a box, because most streams of a large room are listeners and have none.
    pub(super) claim: Option<Box<Claim>>,
    pub(super) memberships: Box<[Membership]>,
    /// What is left to give; `None` while the client is live.
    pub(super) backlog: Option<Box<Backlog>>,
}

/// A client's place in one room.
pub(super) struct Membership {
    pub(super) room: RoomName,
    pub(super) place: usize,
    /// The client gets what is after this.
    pub(super) begin: EventId,
    /// How often changes of the roster had been told when the client was given all of it.
    pub(super) roster: u64,
}
