//! The stream of one client, through all of its rooms: joining, catching up, going on, leaving.
//!
//! A client is *behind* when it joins, and again after its queue was full. It then takes entries
//! from the histories of its rooms, merged by id, a queue's worth at a time, so that a client which
//! does not read pins little. When nothing is left, it is *live* in the same step, and its rooms
//! queue what follows.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::author::Author;
use super::client::{Client, Membership};
use super::frame::Frame;
use super::hub::{Hub, State};
use super::id::EventId;
use super::members::Claim;
use super::queue::{Next, Queue};
use super::start::{Backlog, Start};
use crate::counters::count;
use crate::names::RoomName;
use crate::refusal::Refusal;

/// A client's stream. It leaves its rooms when it is dropped.
pub(crate) struct Stream {
    hub: Arc<Hub>,
    client: usize,
    queue: Arc<Queue>,
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
        let newest = state.newest;
        let asked = match start {
            Start::Latest(_) => None,
            Start::After(asked) => asked.filter(|asked| state.may_have_given(*asked)),
        };
        let is_resuming = matches!(start, Start::After(_));
        let is_unknown = is_resuming && asked.is_none_or(|asked| asked < state.epoch);
        let mut is_whole = asked.is_some() && !is_unknown;
        let begin = |name: &RoomName| {
            let history = &state.room_or_insert(name, now).history;
            is_whole &= asked >= Some(history.evicted_up_to());
            match start {
                Start::Latest(count) => history.before_latest(count).unwrap_or(newest),
                Start::After(_) => asked.unwrap_or(history.evicted_up_to()),
            }
        };
        let begins: Vec<EventId> = rooms.iter().map(begin).collect();
        if is_whole {
            count(&self.counters.resumes);
        }
        let position = begins.iter().min().copied().unwrap_or(newest);
        let queue = Arc::new(Queue::new(position));
        let join = |(name, begin): (&RoomName, EventId)| {
            // The hub's own copy of the name, which all clients of the room share.
            let shared = state.rooms.get_key_value(name);
            let name = shared.map_or(name, |(name, _)| name).clone();
            let room = state.room_or_insert(&name, now);
            room.members.join(claim.as_ref());
            Membership {
                room: name,
                place: room.clients.insert(queue.clone()),
                begin,
                roster: room.told,
            }
        };
        let memberships = rooms.iter().zip(begins).map(join).collect();
        let backlog = Backlog {
            is_unknown,
            author,
            ..Backlog::default()
        };
        let stream = Stream {
            hub: self.clone(),
            client: state.clients.insert(Client {
                queue: queue.clone(),
                claim: claim.map(Box::new),
                memberships,
                backlog: Some(Box::new(backlog)),
            }),
            queue,
        };
        self.catch_up(state, stream.client);
        Ok(stream)
    }

    /// Queues what a client that is behind gets next.
    fn catch_up(&self, state: &mut State, place: usize) {
        let Some(client) = state.clients.get_mut(place) else {
            return;
        };
        client.backlog.get_or_insert_with(|| {
            count(&self.counters.catch_ups);
            Box::new(Backlog {
                greeted: client.memberships.len(),
                ..Backlog::default()
            })
        });
        let queue = client.queue.clone();
        let (rooms, newest) = (&mut state.rooms, state.newest);
        let mut given = 0_u64;
        let is_live = queue.refill(|position| {
            let next = self.next_of(client, rooms, newest, position);
            given += u64::from(next.is_some());
            next
        });
        self.counters.deliveries.fetch_add(given, Ordering::Relaxed);
        if is_live {
            client.backlog = None;
        }
    }

    fn leave(&self, place: usize) {
        let now = self.clock().now();
        let state = &mut *self.lock();
        let Some(client) = state.clients.remove(place) else {
            return;
        };
        for membership in &client.memberships {
            if let Some(room) = state.rooms.get_mut(&membership.room) {
                room.leave(membership, client.claim.as_deref(), now);
                state.forget_if_unused(&membership.room, now);
            }
        }
    }
}

impl Stream {
    /// The next frame; `None` when the stream ends.
    ///
    /// A client whose queue was full catches up here, in place, and nobody outside notices.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Arc<Frame>>> {
        loop {
            match self.queue.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Next::End) => return Poll::Ready(None),
                Poll::Ready(Next::CatchUp) => {
                    let state = &mut *self.hub.lock();
                    self.hub.catch_up(state, self.client);
                }
                Poll::Ready(Next::Frame(frame)) => return Poll::Ready(Some(frame)),
            }
        }
    }

    /// The next frame if it is queued already and has at most `most` bytes.
    pub(crate) fn next_queued(&self, most: usize) -> Option<Arc<Frame>> {
        self.queue.pop(most)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.hub.leave(self.client);
    }
}

#[cfg(test)]
mod tests;
