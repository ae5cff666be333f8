//! A client, as the hub knows it: where it is a member, and what it has yet to be given.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::author::Author;
use super::clock::Moment;
use super::frame::{Frame, MissedReason};
use super::id::EventId;
use super::members::Claim;
use super::queue::Queue;
use super::room::Room;
use crate::counters::{Counters, count};
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
    /// Nothing was sent to it before this time, as far as the hub has looked.
    pub(super) quiet_since: Moment,
}

/// A client's place in one room.
pub(super) struct Membership {
    pub(super) room: RoomName,
    pub(super) place: usize,
}

/// What a client that is behind gets before it is live.
#[derive(Default)]
pub(super) struct Backlog {
    /// Rooms that have been greeted, in the order of the memberships.
    pub(super) greeted: usize,
    /// For each room: where its entries begin, and whether the client has missed some.
    pub(super) starts: Vec<(EventId, Option<MissedReason>)>,
    /// What the client asked for.
    pub(super) after: Option<String>,
    /// The position from which the stream begins.
    pub(super) position: EventId,
    /// Greetings and entries up to `position` do not move the client's `Last-Event-ID`.
    pub(super) keeps_position: bool,
    /// Events to give next.
    pub(super) pending: VecDeque<Arc<Frame>>,
    /// Who the client is to others.
    pub(super) author: Option<Author>,
    /// How many of its rooms, the first ones, have rosters that may have changed unseen.
    pub(super) lost_rosters: usize,
    /// The store lost entries that the client may have; this is the newest id since.
    pub(super) lost_up_to: Option<EventId>,
    /// Positions below this are unknown: the store has lost entries since they were given out.
    pub(super) epoch: EventId,
    /// The newest id of all rooms.
    pub(super) newest: EventId,
    /// The histories still reach back far enough: nothing is evicted while the hub is locked.
    pub(super) is_checked: bool,
}

impl Membership {
    /// The whole roster of the room.
    pub(super) fn whole_roster(&self, rooms: &mut Rooms) -> Option<Frame> {
        let room = rooms.get_mut(&self.room)?;
        Some(room.whole_roster(&self.room))
    }
}

impl Backlog {
    /// Below this, a position is unknown, or the rooms may have had entries after it that are gone.
    pub(super) fn floor(&self, rooms: &Rooms, memberships: &[Membership]) -> EventId {
        let rooms = memberships.iter().filter_map(|of| rooms.get(&of.room));
        let evicted = rooms.map(|room| room.history.evicted_up_to());
        evicted.fold(self.epoch, EventId::max)
    }
}

impl Client {
    /// Queues a heartbeat if nothing was queued for `period`. The queue itself is looked at about
    /// once in a period.
    pub(super) fn beat(
        &mut self,
        heartbeat: &Arc<Frame>,
        period: Duration,
        now: Moment,
        counters: &Counters,
    ) {
        let is_due = |since: Moment| now.saturating_sub(since) >= period;
        if is_due(self.quiet_since) {
            self.quiet_since = self.queue.sent_at();
            if is_due(self.quiet_since) && self.queue.send(heartbeat, now) {
                self.quiet_since = now;
                count(&counters.deliveries);
            }
        }
    }
}
