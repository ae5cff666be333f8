//! One room: its history, its members and its clients. The hub holds it under its lock.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;

use super::frame::Frame;
use super::history::History;
use super::id::EventId;
use super::members::{Claim, Members};
use super::message::Entry;
use super::queue::Queue;
use crate::clock::Moment;
use crate::counters::Counters;
use crate::names::RoomName;
use crate::options::Options;
use crate::slab::Slab;

/// A room.
pub(super) struct Room {
    pub(super) history: History,
    pub(super) members: Members,
    /// Counts the changes of the roster that were told, from 1.
    pub(super) roster_version: u64,
    pub(super) clients: Slab<Arc<Queue>>,
    /// Wakes those who wait for an entry without a stream.
    pub(super) published: Arc<Notify>,
    /// When somebody last spoke or left.
    pub(super) active_at: Moment,
}

impl Room {
    pub(super) fn new(mark: EventId, now: Moment) -> Room {
        Room {
            history: History::new(mark),
            members: Members::default(),
            roster_version: 1,
            clients: Slab::default(),
            published: Arc::default(),
            active_at: now,
        }
    }

    /// Retains an entry and queues it for every client.
    pub(super) fn publish(
        &mut self,
        entry: Entry,
        limits: &Options,
        now: Moment,
        counters: &Counters,
    ) {
        let frame = entry.frame.clone();
        self.history.push(entry, limits);
        self.active_at = now;
        self.deliver(&frame, counters);
        self.published.notify_waiters();
    }

    /// Removes a client, by the key of its queue.
    pub(super) fn leave(&mut self, key: usize, claim: Option<&Claim>, now: Moment) {
        self.clients.remove(key);
        self.members.leave(claim, now);
        self.active_at = now;
    }

    /// Tells the clients what has changed among the members since this was last called.
    pub(super) fn tell_changes(&mut self, name: &RoomName, now: Moment, counters: &Counters) {
        self.members.expire(now);
        if let Some(changes) = self.members.take_changes(name) {
            self.roster_version += 1;
            self.deliver(&Arc::new(changes), counters);
        }
    }

    fn deliver(&mut self, frame: &Arc<Frame>, counters: &Counters) {
        let queued = self.clients.iter().filter(|queue| queue.send(frame));
        let queued = queued.count() as u64;
        counters.deliveries.fetch_add(queued, Ordering::Relaxed);
    }

    /// Whether the room has nothing to lose: no stream, no name in its grace, and no entry, or none
    /// within `ttl`.
    pub(super) fn is_expendable(&self, now: Moment, ttl: Option<Duration>) -> bool {
        let idle = now.saturating_sub(self.active_at);
        !self.has_streams()
            && self.members.census().members == 0
            && (self.history.is_empty() || ttl.is_some_and(|ttl| idle >= ttl))
    }

    /// Whether all that the room has is names in their grace. A room that has nothing at all was
    /// opened just now, for an entry or a stream that is on its way.
    pub(super) fn has_only_names_in_grace(&self) -> bool {
        !self.has_streams() && self.members.census().members > 0 && self.history.is_empty()
    }

    /// Whether there is a stream, or a request that waits.
    fn has_streams(&self) -> bool {
        !self.clients.is_empty()
            || self.members.has_streams_elsewhere()
            // A waiting request holds the other reference.
            || Arc::strong_count(&self.published) > 1
    }
}
