//! All rooms of a chat, under one lock.
//!
//! The store gives each entry its id, and the hub publishes entries by rising id. So ids and deliveries
//! have one order everywhere, and a position is one id, whatever the rooms. Joining several rooms,
//! publishing and catching up each hold the lock from beginning to end, so nobody sees a half-done
//! state. The lock is a plain mutex, held for a few lines and never across an `.await`.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};

use super::client::Client;
use super::clock::{Clock, Moment, milliseconds};
use super::frame::Frame;
use super::id::EventId;
use super::room::Room;
use crate::lock::lock;
use crate::names::RoomName;
use crate::options::Options;

use crate::counters::Counters;
use crate::refusal::Refusal;
use crate::slab::Slab;

/// All rooms of one chat.
pub(crate) struct Hub {
    pub(crate) options: Arc<Options>,
    pub(super) counters: Arc<Counters>,
    /// Where this run began, unless a store remembers the previous ones.
    start: Option<EventId>,
    state: Mutex<State>,
}

/// What the lock protects.
pub(super) struct State {
    pub(super) rooms: HashMap<RoomName, Room>,
    pub(super) clients: Slab<Client>,
    /// The newest id of all rooms.
    pub(super) newest: EventId,
    /// Rooms that were forgotten had entries up to here, at most: a new room begins here.
    pub(super) forgotten_up_to: EventId,
    /// Positions below this are unknown: the store has lost entries since they were given out.
    pub(super) epoch: EventId,
    pub(super) closed: bool,
}

impl Hub {
    /// A hub without rooms. Where previous runs are remembered, it takes any earlier position as known.
    pub(crate) fn new(options: Arc<Options>, counters: Arc<Counters>) -> Hub {
        let tag = RandomState::new().hash_one("run") as u32;
        let start = || EventId::start_of_run(options.clock.unix_ms(), tag);
        let start = (!options.remembers()).then(start);
        let begin = start.unwrap_or(EventId::ZERO);
        let state = State {
            rooms: HashMap::new(),
            clients: Slab::default(),
            newest: begin,
            forgotten_up_to: begin,
            epoch: EventId::ZERO,
            closed: false,
        };
        Hub {
            options,
            counters,
            start,
            state: Mutex::new(state),
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.options.clock
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Whether a position may have been given out by this run, or by one that is remembered.
    pub(super) fn is_known(&self, position: EventId, state: &State) -> bool {
        (state.epoch..=state.newest).contains(&position)
            && self
                .start
                .is_none_or(|start| position >= start && position.same_run(start))
    }

    /// Makes sure that a room exists.
    pub(crate) fn open(&self, name: &RoomName) -> Result<(), Refusal> {
        self.open_locked(&mut self.lock(), name, &[]).map(drop)
    }

    pub(super) fn open_locked<'a>(
        &self,
        state: &'a mut State,
        name: &RoomName,
        keep: &[RoomName],
    ) -> Result<&'a mut Room, Refusal> {
        let now = self.options.clock.now();
        if !state.rooms.contains_key(name) && !self.is_permanent(name) {
            let full = |state: &State| {
                let counted = state.rooms.keys().filter(|room| !self.is_permanent(room));
                counted.count() >= self.options.max_rooms
            };
            if full(state) {
                state.forget(|name, room| room.has_only_names_in_grace() && !keep.contains(name));
            }
            if full(state) {
                return Err(Refusal::TooManyRooms);
            }
        }
        Ok(state.room_or_insert(name, now))
    }

    fn is_permanent(&self, name: &RoomName) -> bool {
        self.options.rooms.contains(name) || *name == self.options.default_room()
    }

    /// Entries with fewer milliseconds than this are too old to be retained.
    pub(crate) fn expired_before(&self) -> Option<u64> {
        let age = milliseconds(self.options.history_age?);
        Some(self.options.clock.unix_ms().saturating_sub(age))
    }

    /// The work of once a second: tells each room who joined and left, evicts what is too old, and
    /// forgets rooms that nobody needs. Says whether it has forgotten entries with them.
    pub(crate) fn tick(&self) -> bool {
        let now = self.options.clock.now();
        let names: Vec<RoomName> = self.lock().rooms.keys().cloned().collect();
        let expired = self.expired_before();
        for name in &names {
            // The lock is free between two rooms.
            if let Some(room) = self.lock().rooms.get_mut(name) {
                room.tell_changes(name, now, &self.counters);
                if let Some(expired) = expired {
                    room.history.evict_before(expired);
                }
            }
        }
        let ttl = self.options.room_ttl;
        self.lock().forget(|_, room| room.is_expendable(now, ttl))
    }

    /// Sends heartbeats where they are due.
    pub(crate) fn beat(&self) {
        let Some(period) = self.options.heartbeat else {
            return;
        };
        let heartbeat = Arc::new(Frame::heartbeat(self.options.clock.unix_ms()));
        let now = self.options.clock.now();
        for client in self.lock().clients.iter_mut() {
            client.beat(&heartbeat, period, now, &self.counters);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Ends all streams: each client gets what is retained, and then the end.
    pub(crate) fn close(&self) {
        let state = &mut *self.lock();
        state.closed = true;
        // They catch up, and find that the hub is closed.
        state
            .clients
            .iter()
            .for_each(|client| client.queue.interrupt());
        for room in state.rooms.values() {
            room.arrivals.notify_waiters();
        }
    }
}

impl State {
    pub(super) fn room_or_insert(&mut self, name: &RoomName, now: Moment) -> &mut Room {
        let begin = self.forgotten_up_to;
        self.rooms
            .entry(name.clone())
            .or_insert_with(|| Room::new(begin, now))
    }

    /// Forgets expendable rooms, and says whether entries went with any of them.
    fn forget(&mut self, is_expendable: impl Fn(&RoomName, &Room) -> bool) -> bool {
        let mut forgotten = false;
        self.rooms.retain(|name, room| {
            let expendable = is_expendable(name, room);
            if expendable && !room.history.is_unused() {
                forgotten = true;
                self.forgotten_up_to = self.forgotten_up_to.max(room.history.newest());
            }
            !expendable
        });
        forgotten
    }

    /// Forgets a room that its last client has left, if nothing was ever said in it.
    pub(super) fn forget_if_unused(&mut self, name: &RoomName, now: Moment) {
        let room = self.rooms.get(name);
        if room.is_some_and(|room| room.is_expendable(now, None)) {
            self.rooms.remove(name);
        }
    }
}
