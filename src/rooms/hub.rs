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

use super::client::Client;
use super::frame::Frame;
use super::id::EventId;
use super::limits::BEATS_PER_PERIOD;
use super::queue::Mode;
use super::room::Room;
use crate::clock::{Clock, Moment, milliseconds};
use tokio::sync::Notify;

use crate::lock::lock;
use crate::names::RoomName;
use crate::options::Options;

use crate::counters::Counters;
use crate::refusal::Refusal;
use crate::slab::Slab;

/// All rooms of one chat.
pub(crate) struct Hub {
    pub(crate) options: Arc<Options>,
    pub(crate) counters: Counters,
    state: Mutex<State>,
}

pub(super) type Rooms = HashMap<RoomName, Room>;

/// What the lock protects.
#[derive(Default)]
pub(super) struct State {
    pub(super) rooms: Rooms,
    pub(super) clients: Slab<Client>,
    /// The newest id of all rooms.
    pub(super) newest: EventId,
    /// The low-water mark of a room that is opened next: where the chat began, or the newest position of
    /// all rooms that were forgotten, if that is later.
    pub(super) mark: EventId,
    /// Wakes those who wait for an entry of a room that does not exist.
    pub(super) room_created: Arc<Notify>,
    /// How often [`Hub::beat`] was due so far.
    beats: u128,
    pub(super) closed: bool,
}

impl Hub {
    /// A hub without rooms. Unless previous runs are remembered, the chat begins now.
    pub(crate) fn new(options: Arc<Options>) -> Hub {
        let tag = RandomState::new().hash_one("run") as u32;
        let mark = match options.remembers() {
            true => EventId::FIRST,
            false => EventId::start_of_run(options.clock.unix_ms(), tag),
        };
        let state = State {
            newest: mark,
            mark,
            ..State::default()
        };
        Hub {
            options,
            counters: Counters::default(),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.options.clock
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
        match self.options.rooms.is_empty() {
            true => *name == self.options.default_room(),
            false => self.options.rooms.contains(name),
        }
    }

    /// Entries that were sent before this are too old to be retained.
    pub(crate) fn expired_before(&self) -> Option<u64> {
        let age = milliseconds(self.options.history_age?);
        Some(self.options.clock.unix_ms().saturating_sub(age))
    }

    /// The work of once a second: tells each room who joined and left, evicts what is too old, and
    /// forgets rooms that nobody needs. Says whether entries went for age or with a room.
    pub(crate) fn tick(&self) -> bool {
        let (now, unix_ms) = (self.clock().now(), self.clock().unix_ms());
        let expired = self.expired_before();
        let mut has_evicted = false;
        self.each_room(|name, room| {
            room.tell_changes(name, now, &self.counters);
            if let Some(expired) = expired {
                has_evicted |= room.history.evict_before(expired, unix_ms);
            }
        });
        let ttl = self.options.room_ttl;
        self.lock().forget(|_, room| room.is_expendable(now, ttl)) | has_evicted
    }

    /// Sends heartbeats where they are due, to be called several times in their period.
    pub(crate) fn beat(&self) {
        let Some(period) = self.options.heartbeat else {
            return;
        };
        let heartbeat = Arc::new(Frame::heartbeat(self.clock().unix_ms()));
        let state = &mut *self.lock();
        let part = (period / BEATS_PER_PERIOD).as_nanos().max(1);
        let beats = self.clock().now().as_nanos() / part;
        let passed = beats.saturating_sub(std::mem::replace(&mut state.beats, beats));
        let passed = passed.min(BEATS_PER_PERIOD.into()) as u32;
        let clients = state.clients.iter();
        let given = clients.filter(|client| client.queue.beat(passed, &heartbeat));
        let given = given.count() as u64;
        self.counters.deliveries.fetch_add(given, Ordering::Relaxed);
    }

    /// Visits one room after the other. The lock is free between two of them.
    pub(super) fn each_room(&self, mut visit: impl FnMut(&RoomName, &mut Room)) {
        let names: Vec<RoomName> = self.lock().rooms.keys().cloned().collect();
        for name in &names {
            if let Some(room) = self.lock().rooms.get_mut(name) {
                visit(name, room);
            }
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Takes nothing more, and ends all streams: each client gets what is retained, and a goodbye.
    pub(crate) fn close(&self) {
        let state = &mut *self.lock();
        state.closed = true;
        state.interrupt();
    }
}

impl State {
    /// A position, or [`EventId::ZERO`] for one that this chat cannot have given: in the future, or of
    /// another run in memory.
    pub(super) fn position_or_zero(&self, position: EventId) -> EventId {
        let is_known = position <= self.newest && position.same_run(self.newest);
        if is_known { position } else { EventId::ZERO }
    }

    /// Makes all clients catch up, and whoever waits without a stream look again.
    pub(super) fn interrupt(&self) {
        for client in self.clients.iter() {
            client.queue.enter(Mode::Behind, None);
        }
        self.room_created.notify_waiters();
        for room in self.rooms.values() {
            room.published.notify_waiters();
        }
    }

    /// A room, without the names whose grace is over.
    pub(super) fn room_at(&mut self, name: &RoomName, now: Moment) -> Option<&mut Room> {
        let room = self.rooms.get_mut(name)?;
        room.members.expire(now);
        Some(room)
    }

    pub(super) fn room_or_insert(&mut self, name: &RoomName, now: Moment) -> &mut Room {
        self.rooms.entry(name.clone()).or_insert_with(|| {
            self.room_created.notify_waiters();
            Room::new(self.mark, now)
        })
    }

    /// Forgets expendable rooms, and says whether entries went with any of them.
    fn forget(&mut self, is_expendable: impl Fn(&RoomName, &Room) -> bool) -> bool {
        let expendable = |name: &RoomName, room: &mut Room| is_expendable(name, room);
        let mut had_entries = false;
        for (_, room) in self.rooms.extract_if(expendable) {
            had_entries |= !room.history.is_empty();
            self.mark = self.mark.max(room.history.newest());
        }
        had_entries
    }

    /// Forgets a room that its last client has left, if it has no entries.
    pub(super) fn forget_if_empty(&mut self, name: &RoomName, now: Moment) {
        if let Some(room) = self.rooms.get(name)
            && room.is_expendable(now, None)
        {
            self.mark = self.mark.max(room.history.newest());
            self.rooms.remove(name);
        }
    }
}
