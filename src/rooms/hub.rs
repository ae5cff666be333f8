//! All rooms of a chat, under one lock.
//!
//! The store gives each entry its id, and the hub publishes entries by rising id. So ids and deliveries
//! have one order everywhere, and a position is one id, whatever the rooms. Joining several rooms,
//! publishing and catching up each hold the lock from beginning to end, so nobody sees a half-done
//! state. The lock is a plain mutex, held for a few lines and never across an `.await`.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::client::Client;
use super::clock::{Clock, Moment, milliseconds};
use super::frame::Frame;
use super::id::EventId;
use super::limits::{BEATS_PER_PERIOD, Limits};
use super::room::Room;
use crate::lock::lock;
use crate::names::RoomName;

use crate::counters::Counters;
use crate::refusal::Refusal;
use crate::slab::Slab;

/// All rooms of one chat.
pub(crate) struct Hub {
    pub(super) limits: Limits,
    clock: Clock,
    pub(super) counters: Arc<Counters>,
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
    /// Positions below this are unknown: since they were given out, entries were lost. It is where
    /// the store has lost some, or where this run began if nothing remembers the previous ones.
    pub(super) epoch: EventId,
    /// Parts of the clients that were given heartbeats so far.
    beats: usize,
    pub(super) closed: bool,
}

impl Hub {
    /// A hub without rooms. One that `remembers` previous runs takes any earlier position as known.
    pub(crate) fn new(
        limits: Limits,
        clock: Clock,
        counters: Arc<Counters>,
        remembers: bool,
    ) -> Hub {
        let tag = RandomState::new().hash_one("run") as u32;
        let begin = match remembers {
            true => EventId::ZERO,
            false => EventId::start_of_run(clock.unix_ms(), tag),
        };
        let state = State {
            rooms: HashMap::new(),
            clients: Slab::default(),
            newest: begin,
            forgotten_up_to: begin,
            epoch: begin,
            beats: 0,
            closed: false,
        };
        Hub {
            limits,
            clock,
            counters,
            state: Mutex::new(state),
        }
    }

    /// The limits, which stores apply too.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn heartbeat(&self) -> Option<Duration> {
        self.limits.heartbeat
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
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
        let now = self.clock.now();
        if !state.rooms.contains_key(name) && !self.is_permanent(name) {
            let full = |state: &State| {
                let counted = state.rooms.keys().filter(|room| !self.is_permanent(room));
                counted.count() >= self.limits.rooms
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
        self.limits.permanent_rooms.contains(name)
    }

    /// Entries with fewer milliseconds than this are too old to be retained.
    pub(crate) fn expired_before(&self) -> Option<u64> {
        let age = milliseconds(self.limits.history_age?);
        Some(self.clock.unix_ms().saturating_sub(age))
    }

    /// The work of once a second: tells each room who joined and left, evicts what is too old, and
    /// forgets rooms that nobody needs. Says whether it has forgotten entries with them.
    pub(crate) fn tick(&self) -> bool {
        let now = self.clock.now();
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
        let ttl = self.limits.room_ttl;
        self.lock().forget(|_, room| room.is_expendable(now, ttl))
    }

    /// Sends each client a heartbeat once in a period: to a part of the clients at a time.
    pub(crate) fn beat(&self) {
        let Some(period) = self.limits.heartbeat else {
            return;
        };
        let state = &mut *self.lock();
        let heartbeat = Frame::heartbeat(self.clock.unix_ms(), state.newest);
        let heartbeat = Arc::new(heartbeat);
        let part = (period / BEATS_PER_PERIOD as u32).as_nanos().max(1);
        let due = (self.clock.now().as_nanos() / part) as usize;
        let first = due.saturating_sub(BEATS_PER_PERIOD).max(state.beats);
        for beat in first..due {
            let part = beat % BEATS_PER_PERIOD;
            let clients = state.clients.iter_part(part, BEATS_PER_PERIOD);
            let given = clients.filter(|client| client.queue.send(&heartbeat));
            let given = given.count() as u64;
            self.counters.deliveries.fetch_add(given, Ordering::Relaxed);
        }
        state.beats = due;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Takes nothing more, and ends all streams.
    pub(crate) fn close(&self) {
        let state = &mut *self.lock();
        state.closed = true;
        self.end_all(state, "shutdown");
    }

    /// Ends all streams, and what waits without one: each client gets what is queued, and a goodbye.
    pub(super) fn end_all(&self, state: &State, reason: &str) {
        for client in state.clients.iter() {
            client.queue.end(Some(Frame::server_closing(reason)));
        }
        for room in state.rooms.values() {
            room.arrivals.notify_waiters();
        }
    }
}

impl State {
    /// Whether a position may have been given out. Below the epoch, not all that followed it is here.
    pub(super) fn may_have_given(&self, position: EventId) -> bool {
        position <= self.newest && position.same_run(self.epoch)
    }

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
