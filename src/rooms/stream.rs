//! The stream of one client, through all of its rooms: joining, catching up, going on, leaving.
//!
//! A client is *behind* when it joins, and again after its queue was full. It then takes what follows
//! its position from the histories of its rooms ([`past`]), a queue's worth at a time, so that a client
//! which does not read pins little. When nothing is left, it is told that it has caught up and is *live*
//! in the same step: its rooms queue what follows.

use std::iter;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::client::{Arrival, Client, Membership};
use super::frame::Frame;
use super::hub::{Hub, Rooms, State};
use super::id::EventId;
use super::limits::ROSTER_NAMES;
use super::members::Claim;
use super::past::past;
use super::queue::{Mode, Queue};
use crate::author::Author;
use crate::counters::count;
use crate::names::RoomName;
use crate::refusal::Refusal;

/// About how many bytes a greeting takes, and a name in a roster.
const GREETING_BYTES: usize = 300;
const NAME_BYTES: usize = 16;

/// Where a stream asks to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// With so many messages of each room.
    Latest(usize),
    /// After a position that the client names, perhaps one of another run or server.
    After(EventId),
}

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
        let state = &mut *self.lock();
        self.open_rooms(state, rooms, claim.as_ref())?;
        let now = self.clock().now();
        let begins = state.beginnings(rooms, start);
        let position = begins.iter().min().copied();
        let queue = Arc::new(Queue::new(position.unwrap_or(state.newest)));
        let join = |name: &RoomName| {
            // The hub's own copy of the name, which all clients of the room share.
            let shared = state.rooms.get_key_value(name);
            let name = shared.map_or(name, |(name, _)| name).clone();
            let room = state.room_or_insert(&name, now);
            room.members.join(claim.as_ref());
            Membership {
                room: name,
                key: room.clients.insert(queue.clone()),
                // No room's version, so the client gets a whole roster.
                roster_version: 0,
            }
        };
        let memberships = rooms.iter().map(join).collect();
        let arrival = Arrival {
            author,
            greeted: 0,
            begins,
        };
        if let Start::After(_) = start {
            count(&self.counters.resumes);
        }
        let client = state.clients.insert(Client {
            queue: queue.clone(),
            claim: claim.map(Box::new),
            memberships,
            arrival: Some(Box::new(arrival)),
        });
        self.catch_up(state, client);
        Ok(Stream {
            hub: self.clone(),
            client,
            queue,
        })
    }

    /// About how many bytes of entries and names a stream of these rooms begins with.
    pub(crate) fn past_bytes(&self, rooms: &[RoomName], start: Start) -> u32 {
        let state = self.lock();
        let begins = state.beginnings(rooms, start);
        let bytes = rooms.iter().zip(begins).map(|(name, begin)| {
            let room = state.rooms.get(name);
            let names = room.map_or(0, |room| room.members.census().members.min(ROSTER_NAMES));
            let entries = room.map_or(0, |room| room.history.frame_bytes_after(begin));
            GREETING_BYTES + names * NAME_BYTES + entries
        });
        u32::try_from(bytes.sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// Opens the rooms, and checks that the name is free in all of them. On failure, removes the rooms
    /// that it opened.
    fn open_rooms(
        &self,
        state: &mut State,
        rooms: &[RoomName],
        claim: Option<&Claim>,
    ) -> Result<(), Refusal> {
        let now = self.clock().now();
        if state.closed {
            return Err(Refusal::Draining);
        }
        let admitted = rooms.iter().try_for_each(|name| {
            let room = self.open_locked(state, name, rooms)?;
            match claim.is_none_or(|claim| room.members.admits(claim, now)) {
                true => Ok(()),
                false => Err(Refusal::NameTaken { room: name.clone() }),
            }
        });
        if admitted.is_err() {
            rooms
                .iter()
                .for_each(|name| state.forget_if_empty(name, now));
        }
        admitted
    }

    /// Queues what a client that is behind gets next: greetings, the past, rosters that may have changed
    /// unseen, and at last the event with which it is live. Of a chat that is closed the last is goodbye.
    fn catch_up(&self, state: &mut State, client: usize) {
        let (rooms, newest) = (&mut state.rooms, state.newest);
        let Some(client) = state.clients.get_mut(client) else {
            return;
        };
        let queue = client.queue.clone();
        let counters = &self.counters;
        if !queue.fill(self.greetings(client, rooms, newest), counters) {
            return;
        }
        let position = queue.position();
        // On its first catch-up a client begins where `begins` says in each room; later, at its position.
        let begins = client.arrival.iter().flat_map(|arrival| &arrival.begins);
        let begins = begins.copied().chain(iter::repeat(position));
        let of_rooms = client.memberships.iter().zip(begins);
        let histories = of_rooms.filter_map(|(membership, begin)| {
            let history = &rooms.get(&membership.room)?.history;
            Some((&membership.room, history, begin.max(position)))
        });
        if !queue.fill(past(histories), counters) {
            return;
        }
        if state.closed {
            queue.enter(Mode::Ended, Some(Frame::server_closing("shutdown")));
            return;
        }
        if queue.fill(rosters(&mut client.memberships, rooms), counters) {
            if client.arrival.take().is_none() {
                count(&counters.catch_ups);
            }
            queue.enter(Mode::Live, Some(Frame::caught_up(newest)));
        }
    }

    /// The greetings that a new client has yet to get.
    fn greetings<'a>(
        &'a self,
        client: &'a mut Client,
        rooms: &'a Rooms,
        newest: EventId,
    ) -> impl Iterator<Item = Arc<Frame>> {
        let name = client.claim.as_ref().map(|claim| &claim.name);
        let heartbeat = self.options.heartbeat.unwrap_or_default();
        let memberships = &client.memberships;
        let mut arrival = client.arrival.as_mut();
        iter::from_fn(move || {
            let arrival = arrival.as_mut()?;
            let Membership { room, .. } = memberships.get(arrival.greeted)?;
            let (is_first, author) = (arrival.greeted == 0, arrival.author);
            let census = rooms.get(room)?.members.census();
            arrival.greeted += 1;
            let greeting =
                Frame::connected(newest, is_first, room, name, author, census, heartbeat);
            Some(Arc::new(greeting))
        })
    }

    fn leave(&self, client: usize) {
        let now = self.clock().now();
        let state = &mut *self.lock();
        let Some(client) = state.clients.remove(client) else {
            return;
        };
        for membership in &client.memberships {
            if let Some(room) = state.rooms.get_mut(&membership.room) {
                room.leave(membership.key, client.claim.as_deref(), now);
                state.forget_if_empty(&membership.room, now);
            }
        }
    }
}

/// The rosters of the rooms in which the members may have changed unseen.
fn rosters<'a>(
    memberships: &'a mut [Membership],
    rooms: &'a mut Rooms,
) -> impl Iterator<Item = Arc<Frame>> {
    memberships.iter_mut().filter_map(|membership| {
        let room = rooms.get_mut(&membership.room)?;
        let given = std::mem::replace(&mut membership.roster_version, room.roster_version);
        (given != room.roster_version)
            .then(|| Arc::new(room.members.whole_roster(&membership.room)))
    })
}

impl State {
    /// Where a new stream begins in each of its rooms.
    fn beginnings(&self, rooms: &[RoomName], start: Start) -> Vec<EventId> {
        let begin = |name| match start {
            Start::After(position) => self.position_or_zero(position),
            Start::Latest(count) => {
                let room = self.rooms.get(name);
                let first = room.and_then(|room| room.history.latest(count));
                first.map_or(self.newest, EventId::before)
            }
        };
        rooms.iter().map(begin).collect()
    }
}

impl Stream {
    /// The next frame; `None` when the stream ends.
    ///
    /// A client whose queue was full catches up here, in place: its body only sees more frames.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Arc<Frame>>> {
        loop {
            match ready!(self.queue.poll_next(cx)) {
                Ok(frame) => return Poll::Ready(Some(frame)),
                Err(Mode::Ended) => return Poll::Ready(None),
                Err(_) => self.hub.catch_up(&mut self.hub.lock(), self.client),
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
