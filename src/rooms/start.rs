//! Where a stream begins, and what its client gets from there until it is live.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::author::Author;
use super::client::{Client, Membership, Rooms};
use super::frame::{Frame, Greeting, MissedReason};
use super::hub::Hub;
use super::id::EventId;
use super::message::Entry;
use crate::counters::count;
use crate::names::RoomName;

/// Where a stream asks to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// With so many messages of each room.
    Latest(usize),
    /// After an event; `None` is one that cannot be read.
    After(Option<EventId>),
}

/// What a client that is behind gets besides entries.
#[derive(Default)]
pub(super) struct Backlog {
    /// This server knows no such position.
    pub(super) is_unknown: bool,
    /// Who the client is to others.
    pub(super) author: Option<Author>,
    /// Rooms that have been greeted, in the order of the memberships.
    pub(super) greeted: usize,
    /// It was told that it has everything.
    pub(super) is_told: bool,
    /// Events to give next.
    pub(super) pending: VecDeque<Arc<Frame>>,
}

impl Hub {
    /// The next event for a client that is behind: greetings, then the entries of all its rooms by
    /// rising id, with a notice where a history no longer reaches back, then rosters that may have
    /// changed unseen, and at last the position that it has reached.
    pub(super) fn next_of(
        &self,
        client: &mut Client,
        rooms: &mut Rooms,
        newest: EventId,
        position: EventId,
    ) -> Option<Arc<Frame>> {
        let backlog = client.backlog.as_mut()?;
        loop {
            if let Some(frame) = backlog.pending.pop_front() {
                return Some(frame);
            }
            if let Some(membership) = client.memberships.get_mut(backlog.greeted) {
                let name = client.claim.as_ref().map(|claim| &claim.name);
                let room = rooms.get_mut(&membership.room)?;
                let greeting = Greeting {
                    position,
                    is_first: backlog.greeted == 0,
                    room: &membership.room,
                    name,
                    author: backlog.author,
                    census: room.members.census(),
                    heartbeat: self.limits.heartbeat.unwrap_or(Duration::ZERO),
                };
                membership.roster = room.told;
                let parts = Frame::connected(&greeting, &room.members.roster());
                backlog.pending.extend(parts);
                if backlog.is_unknown {
                    let oldest = room.history.oldest();
                    let missed = self.missed(&membership.room, MissedReason::Unknown, oldest);
                    backlog.pending.push_back(missed);
                }
                backlog.greeted += 1;
                continue;
            }
            let mut next: Option<&Entry> = None;
            for Membership { room, begin, .. } in &mut client.memberships {
                let history = &rooms.get(room)?.history;
                *begin = (*begin).max(position);
                if *begin < history.evicted_up_to() {
                    *begin = history.evicted_up_to();
                    return Some(self.missed(room, MissedReason::Expired, history.oldest()));
                }
                let first = history.after(*begin).next();
                next = next.into_iter().chain(first).min_by_key(|entry| entry.id);
            }
            if let Some(entry) = next {
                return Some(entry.frame.clone());
            }
            for membership in &mut client.memberships {
                let room = rooms.get_mut(&membership.room)?;
                if membership.roster != room.told {
                    membership.roster = room.told;
                    return Some(Arc::new(room.whole_roster(&membership.room)));
                }
            }
            if std::mem::replace(&mut backlog.is_told, true) && position == newest {
                return None;
            }
            // It has everything: so it is told, and comes back from here.
            return Some(Arc::new(Frame::heartbeat(self.clock().unix_ms(), newest)));
        }
    }

    fn missed(&self, room: &RoomName, reason: MissedReason, oldest: Option<EventId>) -> Arc<Frame> {
        count(&self.counters.gaps_told);
        Arc::new(Frame::missed(room, reason, oldest))
    }
}
