//! The registry of rooms: finds them, makes them, lets go of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::answers::{CannotJoin, Expendable, Summary};
use super::clock::Clock;
use super::counters::Counters;
use super::history::{Bounds, History, Start};
use super::id::EventId;
use super::lock;
use super::members::Claim;
use super::names::RoomName;
use super::room::Room;
use super::subscription::Subscription;

/// The bounds of rooms. `usize::MAX` is no bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) history: Bounds,
    pub(crate) rooms: usize,
    /// How long a room with messages is kept while nobody is in it; `None` is for ever.
    pub(crate) room_ttl: Option<Duration>,
    /// What clients are told to expect; zero where there are no heartbeats.
    pub(crate) heartbeat: Duration,
}

/// All rooms of one chat.
pub(crate) struct Hub {
    limits: Limits,
    clock: Clock,
    counters: Arc<Counters>,
    /// Where this life of the chat began: positions before it were never known.
    birth: EventId,
    registry: Mutex<Registry>,
}

struct Registry {
    rooms: HashMap<RoomName, Arc<Room>>,
    /// No room that has gone held anything after this, so a new room begins here.
    floor: EventId,
    closed: bool,
}

/// There are as many rooms as there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TooManyRooms;

/// Why a stream cannot begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CannotSubscribe {
    TooManyRooms,
    NameTaken,
    Closing,
}

impl Hub {
    pub(crate) fn new(limits: Limits, clock: Clock, birth: EventId) -> Hub {
        let registry = Registry {
            rooms: HashMap::new(),
            floor: birth,
            closed: false,
        };
        Hub {
            limits,
            clock,
            counters: Arc::default(),
            birth,
            registry: Mutex::new(registry),
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Finds a room to look at; one that is not there looks like an empty one.
    pub(crate) fn look(&self, name: &RoomName) -> Arc<Room> {
        let registry = &mut *lock(&self.registry);
        registry
            .rooms
            .get(name)
            .cloned()
            .unwrap_or_else(|| self.make(registry.floor, name))
    }

    /// Finds a room, or makes it.
    pub(crate) fn enter(&self, name: &RoomName) -> Result<Arc<Room>, TooManyRooms> {
        let registry = &mut *lock(&self.registry);
        if let Some(room) = registry.rooms.get(name) {
            return Ok(room.clone());
        }
        if registry.rooms.len() >= self.limits.rooms {
            registry.sweep(None);
        }
        if registry.rooms.len() >= self.limits.rooms {
            return Err(TooManyRooms);
        }
        Ok(self.register(registry, name))
    }

    /// Finds or makes a room that was kept from an earlier life, even beyond the limit.
    pub(crate) fn restore(&self, name: &RoomName) -> Arc<Room> {
        let registry = &mut *lock(&self.registry);
        match registry.rooms.get(name) {
            Some(room) => room.clone(),
            None => self.register(registry, name),
        }
    }

    fn register(&self, registry: &mut Registry, name: &RoomName) -> Arc<Room> {
        let room = self.make(registry.floor, name);
        if registry.closed {
            room.close();
        }
        registry.rooms.insert(name.clone(), room.clone());
        room
    }

    fn make(&self, floor: EventId, name: &RoomName) -> Arc<Room> {
        let history = History::new(self.limits.history, self.birth, floor);
        let (clock, counters) = (self.clock.clone(), self.counters.clone());
        Arc::new(Room::new(
            name.clone(),
            history,
            self.limits.heartbeat,
            clock,
            counters,
        ))
    }

    /// Joins a room, under a name or as a listener.
    pub(crate) fn subscribe(
        self: &Arc<Hub>,
        room: &RoomName,
        claim: Option<Claim>,
        start: &Start,
    ) -> Result<Subscription, CannotSubscribe> {
        let room = self
            .enter(room)
            .map_err(|TooManyRooms| CannotSubscribe::TooManyRooms)?;
        let seat = room
            .join(claim.as_ref(), start)
            .map_err(|refused| match refused {
                CannotJoin::NameTaken => CannotSubscribe::NameTaken,
                CannotJoin::Closing => CannotSubscribe::Closing,
            })?;
        Ok(Subscription::new(self.clone(), room, claim, seat))
    }

    /// Every room, in the order of their names.
    pub(crate) fn summaries(&self) -> Vec<Summary> {
        let mut summaries: Vec<Summary> = self.rooms().iter().map(|room| room.summary()).collect();
        summaries.sort_unstable_by(|a, b| a.room.cmp(&b.room));
        summaries
    }

    /// Every room.
    pub(crate) fn rooms(&self) -> Vec<Arc<Room>> {
        lock(&self.registry).rooms.values().cloned().collect()
    }

    /// The position up to which rooms that have gone may have held messages.
    pub(crate) fn floor(&self) -> EventId {
        lock(&self.registry).floor
    }

    /// Says that rooms which went in an earlier life had held messages up to `id`.
    pub(crate) fn begin_after(&self, id: EventId) {
        let registry = &mut *lock(&self.registry);
        registry.floor = registry.floor.max(id);
    }

    /// What is done once a second: tells each room who came and went, and lets go of rooms that
    /// nobody needs. Says whether messages went with any of them.
    pub(crate) fn tick(&self) -> bool {
        for room in self.rooms() {
            room.tell_changes();
        }
        lock(&self.registry).sweep(self.limits.room_ttl)
    }

    /// Sends heartbeats where they are due.
    pub(crate) fn beat(&self) {
        for room in self.rooms() {
            room.beat(self.limits.heartbeat);
        }
    }

    /// Lets go of a room that its last client has left and where nothing was ever said.
    pub(crate) fn let_go_if_empty(&self, room: &Arc<Room>) {
        let registry = &mut *lock(&self.registry);
        // The registry holds one of the two references that a room without others has here.
        if Arc::strong_count(room) == 2 && room.expendable(None) == Some(Expendable::Empty) {
            registry.rooms.remove(room.name());
        }
    }

    /// Ends all streams, for good: each says goodbye and ends.
    pub(crate) fn close(&self) {
        lock(&self.registry).closed = true;
        for room in self.rooms() {
            room.close();
        }
    }
}

impl Registry {
    /// Lets go of rooms that hold nothing, or nothing of late. A room that somebody is about to
    /// use is held by a second reference, which can only be got under the registry's lock.
    fn sweep(&mut self, ttl: Option<Duration>) -> bool {
        let before = self.floor;
        let floor = &mut self.floor;
        self.rooms.retain(
            |_, room| match (Arc::strong_count(room), room.expendable(ttl)) {
                (1, Some(Expendable::Empty)) => false,
                (1, Some(Expendable::Forgotten(last))) => {
                    *floor = last.max(*floor);
                    false
                }
                _ => true,
            },
        );
        self.floor > before
    }
}
