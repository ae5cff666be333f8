//! The stream of one client, through all of its rooms: joining, catching up, going on, leaving.
//!
//! A client is *behind* when it joins, and again after its queue was full. It then takes entries
//! from the histories of its rooms, merged by id, a queue's worth at a time, so that a client which
//! does not read pins little. When nothing is left, it is *live* in the same step, and its rooms
//! queue what follows.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use super::author::Author;
use super::client::{Backlog, Client, Membership, Rooms};
use super::frame::{Frame, Greeting, MissedReason};
use super::hub::{Hub, State};
use super::id::EventId;
use super::members::Claim;
use super::queue::{Next, Queue};
use super::start::Start;
use crate::counters::count;
use crate::names::RoomName;
use crate::refusal::Refusal;

/// A client's stream. It leaves its rooms when it is dropped.
pub(crate) struct Stream {
    hub: Arc<Hub>,
    client: usize,
    queue: Arc<Queue>,
    /// The position that the client has reached.
    position: EventId,
}

impl Hub {
    /// Joins rooms, under a name or as a listener, in one step. The greeting names the `author`.
    ///
    /// # Errors
    /// The name is taken in one of the rooms, there are too many rooms, or the chat is closed.
    pub(crate) fn subscribe(
        self: &Arc<Hub>,
        rooms: &[RoomName],
        claim: Option<Claim>,
        author: Option<Author>,
        start: Start,
    ) -> Result<Stream, Refusal> {
        let now = self.clock().now();
        let state = &mut *self.lock();
        if state.closed {
            return Err(Refusal::Draining);
        }
        for name in rooms {
            let room = self.open_locked(state, name, rooms)?;
            if claim
                .as_ref()
                .is_some_and(|claim| !room.members.admits(claim, now))
            {
                let room = name.clone();
                rooms
                    .iter()
                    .for_each(|name| state.forget_if_unused(name, now));
                return Err(Refusal::NameTaken { room });
            }
        }
        let mut backlog = self.backlog(state, rooms, start);
        backlog.author = author;
        let queue = Arc::new(Queue::new(now));
        let join = |name: &RoomName| {
            // The hub's own copy of the name, which all clients of the room share.
            let shared = state.rooms.get_key_value(name);
            let name = shared.map_or(name, |(name, _)| name).clone();
            let room = state.room_or_insert(&name, now);
            room.members.join(claim.as_ref());
            Membership {
                room: name,
                place: room.clients.insert(queue.clone()),
            }
        };
        let memberships = rooms.iter().map(join).collect();
        let first = backlog.starts.iter().map(|(start, _)| *start).min();
        let mut stream = Stream {
            hub: self.clone(),
            client: state.clients.insert(Client {
                queue: queue.clone(),
                claim: claim.map(Box::new),
                memberships,
                backlog: Some(Box::new(backlog)),
                quiet_since: now,
            }),
            queue,
            position: first.unwrap_or(state.newest),
        };
        self.catch_up(state, stream.client, &mut stream.position);
        Ok(stream)
    }

    /// Queues what a client that is behind gets next. `position` is the one that it has reached.
    fn catch_up(&self, state: &mut State, place: usize, position: &mut EventId) {
        let now = self.clock().now();
        let Some(client) = state.clients.get_mut(place) else {
            return;
        };
        // Whoever is told goodbye needs no roster.
        let rosters = if state.closed {
            0
        } else {
            client.memberships.len()
        };
        let mut backlog = client.backlog.take().unwrap_or_else(|| {
            count(&self.counters.catch_ups);
            Box::new(Backlog {
                greeted: client.memberships.len(),
                after: Some(position.to_string()),
                lost_rosters: rosters,
                ..Backlog::default()
            })
        });
        if client.queue.take_lost_roster() {
            backlog.lost_rosters = rosters;
        }
        if client.queue.take_lost_entries() {
            backlog.lost_up_to = Some(state.newest);
        }
        (backlog.epoch, backlog.newest) = (state.epoch, state.newest);
        backlog.is_checked = false;
        let (memberships, claim) = (&client.memberships, client.claim.as_deref());
        let mut given = 0_u64;
        let is_live = client.queue.refill(now, || {
            let next = self.next_of(&mut backlog, &mut state.rooms, memberships, claim, position);
            given += u64::from(next.is_some());
            next
        });
        self.counters.deliveries.fetch_add(given, Ordering::Relaxed);
        if !is_live {
            client.backlog = Some(backlog);
        } else if state.closed {
            let goodbye = Arc::new(Frame::server_closing());
            client.queue.end(Some(goodbye), now);
        } else {
            *position = state.newest;
        }
    }

    /// The next event for a client that is behind: greetings, then what was missed, then the entries
    /// of all rooms by rising id, then rosters that may have changed unseen.
    fn next_of(
        &self,
        backlog: &mut Backlog,
        rooms: &mut Rooms,
        memberships: &[Membership],
        claim: Option<&Claim>,
        position: &mut EventId,
    ) -> Option<Arc<Frame>> {
        loop {
            if let Some(frame) = backlog.pending.pop_front() {
                return Some(frame);
            }
            if let Some(membership) = memberships.get(backlog.greeted) {
                self.greet(backlog, rooms, &membership.room, claim);
                continue;
            }
            if !std::mem::replace(&mut backlog.is_checked, true) {
                self.tell_gaps(backlog, rooms, memberships, *position);
                continue;
            }
            let next = memberships.iter().zip(&backlog.starts);
            let next = next.filter_map(|(membership, (start, _))| {
                let from = (*position).max(*start);
                rooms.get(&membership.room)?.history.after(from).next()
            });
            if let Some(entry) = next.min_by_key(|entry| entry.id) {
                *position = entry.id;
                let bare = backlog.keeps_position && entry.id <= backlog.position;
                return Some(if bare {
                    Arc::new(entry.frame.without_id_line())
                } else {
                    entry.frame.clone()
                });
            }
            if backlog.lost_rosters > 0 {
                // One at a time, as the client takes them.
                backlog.lost_rosters -= 1;
                let membership = memberships.get(backlog.lost_rosters);
                let roster = membership.and_then(|of| of.whole_roster(rooms));
                backlog.pending.extend(roster.map(Arc::new));
            } else if *position < backlog.floor(rooms, memberships) && !backlog.keeps_position {
                // It has everything, and no position that says so: this event gives it one.
                *position = backlog.newest;
                let roster = memberships.iter().find_map(|of| of.whole_roster(rooms))?;
                return Some(Arc::new(roster.with_id_line(backlog.newest)));
            } else {
                return None;
            }
        }
    }

    fn greet(
        &self,
        backlog: &mut Backlog,
        rooms: &mut Rooms,
        name: &RoomName,
        claim: Option<&Claim>,
    ) {
        let n = backlog.greeted;
        backlog.greeted += 1;
        let Some(room) = rooms.get_mut(name) else {
            return;
        };
        let greeting = Greeting {
            position: backlog.position,
            sets_position: !backlog.keeps_position,
            is_first: n == 0,
            room: name,
            name: claim.map(|claim| &claim.name),
            author: backlog.author,
            census: room.members.census(),
            heartbeat: self.options.heartbeat.unwrap_or(Duration::ZERO),
        };
        let parts = Frame::connected(&greeting, &room.members.roster());
        backlog.pending.extend(parts);
        if let Some((_, Some(reason))) = backlog.starts.get(n) {
            let frame = self.missed(backlog, name, *reason, room.history.oldest());
            backlog.pending.push_back(frame);
        }
    }

    /// Queues a notice for each room whose history no longer reaches back to the client's position.
    fn tell_gaps(
        &self,
        backlog: &mut Backlog,
        rooms: &Rooms,
        memberships: &[Membership],
        position: EventId,
    ) {
        let lost_up_to = backlog.lost_up_to.take();
        let mut gaps = Vec::new();
        let mut has_more = false;
        backlog
            .starts
            .resize(memberships.len(), (EventId::ZERO, None));
        for (membership, (start, _)) in memberships.iter().zip(&mut backlog.starts) {
            let name = &membership.room;
            let Some(history) = rooms.get(name).map(|room| &room.history) else {
                continue;
            };
            *start = position.max(*start);
            has_more |= history.newest() > *start;
            let expired = history.evicted_up_to() > *start;
            if expired {
                *start = history.evicted_up_to();
            }
            let lost = lost_up_to.map(|_| MissedReason::Unknown);
            let reason = lost.or(expired.then_some(MissedReason::Expired));
            gaps.extend(reason.map(|reason| (name, reason, history.oldest())));
        }
        if gaps.is_empty() {
            return;
        }
        let first = backlog.starts.iter().map(|(start, _)| *start).min();
        // What the store lost is behind a client that has all the rest.
        let first = lost_up_to.filter(|_| !has_more).or(first);
        // Rooms that are new may begin below a position that is kept.
        let kept = Some(backlog.position).filter(|_| backlog.keeps_position);
        backlog.position = first.unwrap_or(position).max(kept.unwrap_or_default());
        for (name, reason, oldest) in gaps {
            let frame = self.missed(backlog, name, reason, oldest);
            backlog.pending.push_back(frame);
        }
    }

    fn missed(
        &self,
        backlog: &Backlog,
        room: &RoomName,
        reason: MissedReason,
        oldest: Option<EventId>,
    ) -> Arc<Frame> {
        count(&self.counters.gaps_told);
        let position = (!backlog.keeps_position).then_some(backlog.position);
        let after = backlog.after.as_deref();
        Arc::new(Frame::missed(room, reason, after, oldest, position))
    }

    fn leave(&self, place: usize) {
        let now = self.clock().now();
        let state = &mut *self.lock();
        let Some(client) = state.clients.remove(place) else {
            return;
        };
        for membership in &client.memberships {
            if let Some(room) = state.rooms.get_mut(&membership.room) {
                room.leave(membership.place, client.claim.as_deref(), now);
                state.forget_if_unused(&membership.room, now);
            }
        }
    }
}

impl Stream {
    /// The next frame; `None` when the stream ends.
    ///
    /// A client whose queue was full catches up here, in place, and nobody outside notices.
    pub(crate) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Option<Arc<Frame>>> {
        loop {
            match self.queue.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Next::End) => return Poll::Ready(None),
                Poll::Ready(Next::CatchUp) => {
                    let state = &mut *self.hub.lock();
                    self.hub.catch_up(state, self.client, &mut self.position);
                }
                Poll::Ready(Next::Frame(frame)) => return Poll::Ready(Some(self.reach(frame))),
            }
        }
    }

    /// The next frame if it is queued already and has at most `most` bytes.
    pub(crate) fn next_queued(&mut self, most: usize) -> Option<Arc<Frame>> {
        let frame = self.queue.pop(most)?;
        Some(self.reach(frame))
    }

    /// Where the hub has reached further than a frame, nothing in between is this client's.
    fn reach(&mut self, frame: Arc<Frame>) -> Arc<Frame> {
        self.position = frame.id().unwrap_or(self.position).max(self.position);
        frame
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.hub.leave(self.client);
    }
}

#[cfg(test)]
mod tests;
