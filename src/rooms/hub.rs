//! All rooms of a chat, under one lock.
//!
//! The lock gives ids and hands entries to their rooms, so ids and deliveries have one order
//! everywhere, and a position is one id, whatever the rooms. Joining several rooms, publishing and
//! catching up are each one step that nobody sees half of. The lock is a plain mutex, held for a
//! few lines and never across an `.await`.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use super::author::Author;
use super::clock::{Clock, Moment};
use super::frame::{Census, Frame};
use super::id::EventId;
use super::limits::Limits;
use super::lock;
use super::members::SessionId;
use super::message::{Draft, Entry};
use super::names::{IdempotencyKey, MemberName, RoomName};
use super::room::Room;
use super::stream::Client;
use crate::counters::{Counters, count};
use crate::refusal::Refusal;
use crate::slab::Slab;

/// All rooms of one chat.
pub(crate) struct Hub {
    pub(super) limits: Limits,
    clock: Clock,
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
    forgotten_up_to: EventId,
    pub(super) closed: bool,
}

/// How a draft became an entry: by this call, or by an earlier one that it repeats.
pub(crate) enum Committed {
    New(Arc<Frame>),
    Duplicate(Arc<Frame>),
}

/// A page of the history.
pub(crate) struct Page {
    /// Oldest first.
    pub(crate) messages: Vec<Arc<Frame>>,
    /// Messages removed after the position that was asked for.
    pub(crate) removed: Vec<EventId>,
    /// Where the next page begins.
    pub(crate) next: EventId,
    /// Whether entries after the position that was asked for have been evicted.
    pub(crate) missed: bool,
}

/// Which messages a page has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Range {
    pub(crate) after: Option<EventId>,
    pub(crate) before: Option<EventId>,
    pub(crate) limit: usize,
}

/// A room in numbers.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) room: RoomName,
    pub(crate) census: Census,
    pub(crate) newest: Option<EventId>,
    pub(crate) history_bytes: usize,
}

/// What a room retains, for a store that writes it anew.
pub(crate) struct Retained {
    pub(crate) evicted_up_to: EventId,
    pub(crate) entries: Vec<Entry>,
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
        let start = (!remembers).then(|| EventId::start_of_run(clock.unix_ms(), tag));
        let begin = start.unwrap_or(EventId::ZERO);
        let state = State {
            rooms: HashMap::new(),
            clients: Slab::default(),
            newest: begin,
            forgotten_up_to: begin,
            closed: false,
        };
        Hub {
            limits,
            clock,
            counters,
            start,
            state: Mutex::new(state),
        }
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

    /// Whether a position may have been given out by this run, or by one that is remembered.
    pub(super) fn is_known(&self, position: EventId, newest: EventId) -> bool {
        position <= newest
            && self
                .start
                .is_none_or(|start| position >= start && position.same_run(start))
    }

    /// Commits a draft at once: gives it its id, retains it, and queues it for every client.
    pub(crate) fn commit(&self, room: &RoomName, draft: Draft) -> Result<Committed, Refusal> {
        let state = &mut *self.lock();
        if let Some(frame) = state.duplicate_of(room, &draft)? {
            return Ok(Committed::Duplicate(frame));
        }
        let sent_at = self.clock.unix_ms();
        let entry = draft.into_entry(room, state.newest.next(sent_at), sent_at);
        let frame = entry.frame.clone();
        self.publish_locked(state, room, entry);
        Ok(Committed::New(frame))
    }

    /// What a draft repeats, if it repeats anything.
    ///
    /// # Errors
    /// The draft can never be committed.
    pub(crate) fn duplicate_of(
        &self,
        room: &RoomName,
        draft: &Draft,
    ) -> Result<Option<Arc<Frame>>, Refusal> {
        self.lock().duplicate_of(room, draft)
    }

    /// The message that was sent under a key, if one was. A `name` of `None` fits any.
    ///
    /// # Errors
    /// The key was used for a different message, or the message was removed.
    pub(crate) fn by_key(
        &self,
        room: &RoomName,
        key: &IdempotencyKey,
        name: Option<&MemberName>,
        text: &str,
    ) -> Result<Option<Arc<Frame>>, Refusal> {
        self.lock().by_key(room, key, name, text)
    }

    /// Publishes an entry that a store has committed.
    pub(crate) fn publish(&self, room: &RoomName, entry: Entry) {
        self.publish_locked(&mut self.lock(), room, entry);
    }

    fn publish_locked(&self, state: &mut State, name: &RoomName, entry: Entry) {
        let now = self.clock.now();
        state.newest = state.newest.max(entry.id);
        let is_message = entry.removes.is_none();
        let room = state.room_or_insert(name, now);
        room.publish(entry, &self.limits, now, &self.counters);
        if is_message {
            count(&self.counters.accepted);
        }
    }

    /// Makes sure that a room exists.
    pub(crate) fn open(&self, name: &RoomName) -> Result<(), Refusal> {
        self.open_locked(&mut self.lock(), name).map(drop)
    }

    pub(super) fn open_locked<'a>(
        &self,
        state: &'a mut State,
        name: &RoomName,
    ) -> Result<&'a mut Room, Refusal> {
        let now = self.clock.now();
        if !state.rooms.contains_key(name) && !self.is_permanent(name) {
            let full = |state: &State| {
                let counted = state.rooms.keys().filter(|room| !self.is_permanent(room));
                counted.count() >= self.limits.rooms
            };
            if full(state) {
                state.forget(|room| room.is_expendable(now, None, false));
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

    /// Puts back an entry of a previous run; `after` is the position before it in its room.
    pub(crate) fn restore(&self, room: &RoomName, entry: Entry, after: EventId) {
        let state = &mut *self.lock();
        state.newest = state.newest.max(entry.id);
        let history = &mut state.room_or_insert(room, self.clock.now()).history;
        history.begin_after(after);
        history.push(entry, &self.limits);
    }

    /// Notes that rooms which were forgotten had entries up to `id`.
    pub(crate) fn restore_forgotten(&self, id: EventId) {
        let state = &mut *self.lock();
        state.newest = state.newest.max(id);
        state.forgotten_up_to = state.forgotten_up_to.max(id);
    }

    /// All that is retained, and the low-water mark of the rooms that were forgotten.
    pub(crate) fn retained(&self) -> (EventId, Vec<Retained>) {
        let state = self.lock();
        let rooms = state.rooms.values().map(|room| Retained {
            evicted_up_to: room.history.evicted_up_to(),
            entries: room.history.after(EventId::ZERO).cloned().collect(),
        });
        (state.forgotten_up_to, rooms.collect())
    }

    /// The newest id of all rooms.
    pub(crate) fn newest(&self) -> EventId {
        self.lock().newest
    }

    /// The newest position of one room.
    pub(crate) fn newest_in(&self, room: &RoomName) -> EventId {
        let state = self.lock();
        let room = state.rooms.get(room);
        room.map_or(state.forgotten_up_to, |room| room.history.newest())
    }

    /// The entry that tells what became of a message: the message, or its removal.
    pub(crate) fn fate_of(&self, room: &RoomName, message: EventId) -> Result<Entry, Refusal> {
        self.lock().fate_of(room, message).cloned()
    }

    /// The retained messages of an author, with their rooms.
    pub(crate) fn messages_of(&self, author: Author) -> Vec<(RoomName, EventId)> {
        let state = self.lock();
        let mut found = Vec::new();
        for (name, room) in &state.rooms {
            let own = room.history.after(EventId::ZERO);
            let own = own.filter(|entry| entry.author == Some(author));
            found.extend(own.map(|entry| (name.clone(), entry.id)));
        }
        found
    }

    /// A page of a room's history.
    pub(crate) fn page(&self, room: &RoomName, range: Range) -> Page {
        let state = self.lock();
        let empty;
        let history = match state.rooms.get(room) {
            Some(room) => &room.history,
            None => {
                empty = Room::new(state.forgotten_up_to, Moment::ZERO);
                &empty.history
            }
        };
        let Range {
            after,
            before,
            limit,
        } = range;
        let asked = after.map(|after| {
            let missed = history.missed_after(after, self.is_known(after, state.newest));
            (missed.map_or(after, |_| history.evicted_up_to()), missed)
        });
        let from = match (asked, before) {
            (Some((from, _)), _) => from,
            (None, Some(_)) => history.evicted_up_to(),
            (None, None) => history.before_latest(limit),
        };
        let entries = history
            .after(from)
            .take_while(|entry| before.is_none_or(|before| entry.id < before));
        let messages: Vec<&Entry> = match (asked, before) {
            (None, Some(before)) => history.messages_before(before, limit),
            _ => entries
                .filter(|entry| entry.removes.is_none())
                .take(limit)
                .collect(),
        };
        let last = messages.last().map_or(from, |entry| entry.id);
        let removals = history.after(from).filter(|_| asked.is_some());
        let is_cut = before.is_some() || messages.len() == limit;
        Page {
            next: if is_cut {
                last
            } else {
                last.max(history.newest())
            },
            messages: messages.iter().map(|entry| entry.frame.clone()).collect(),
            removed: removals.filter_map(|entry| entry.removes).collect(),
            missed: asked.is_some_and(|(_, missed)| missed.is_some()),
        }
    }

    /// Waits until a room has something after `position`. It never times out.
    pub(crate) async fn arrival_after(&self, name: &RoomName, position: EventId) {
        let Ok(arrivals) = self.arrivals(name) else {
            return;
        };
        loop {
            let arrival = arrivals.notified();
            {
                let state = self.lock();
                let newest = state.rooms.get(name).map(|room| room.history.newest());
                if state.closed || newest.is_none_or(|newest| newest > position) {
                    return;
                }
            }
            arrival.await;
        }
    }

    fn arrivals(&self, name: &RoomName) -> Result<Arc<Notify>, Refusal> {
        let state = &mut *self.lock();
        Ok(self.open_locked(state, name)?.arrivals.clone())
    }

    /// Finds out under which name a post may go, and whether its sender is a member.
    pub(crate) fn speaker(
        &self,
        room: &RoomName,
        name: Option<MemberName>,
        session: Option<SessionId>,
    ) -> Result<(MemberName, bool), Refusal> {
        let now = self.clock.now();
        let state = &mut *self.lock();
        let members = state.rooms.get_mut(room).map(|room| {
            room.members.expire(now);
            &room.members
        });
        match (name, members) {
            (Some(name), None) => Ok((name, false)),
            (Some(name), Some(members)) => match members.owner(&name, session) {
                None => Ok((name, false)),
                Some((spelling, true)) => Ok((spelling.clone(), true)),
                Some((_, false)) => Err(Refusal::NameTaken { room: room.clone() }),
            },
            (None, members) => members
                .zip(session)
                .and_then(|(members, session)| members.only_name(session))
                .map(|name| (name.clone(), true))
                .ok_or(Refusal::NameRequired),
        }
    }

    /// Whether a session has a name in a room.
    pub(crate) fn includes(&self, room: &RoomName, session: SessionId) -> bool {
        let state = self.lock();
        let room = state.rooms.get(room);
        room.is_some_and(|room| room.members.includes(session))
    }

    /// All names in a room, sorted, and how many are in it.
    pub(crate) fn members(&self, room: &RoomName) -> (Vec<MemberName>, Census) {
        let now = self.clock.now();
        match self.lock().rooms.get_mut(room) {
            None => (Vec::new(), Census::default()),
            Some(room) => {
                room.members.expire(now);
                let names = room.members.names().cloned().collect();
                (names, room.members.census())
            }
        }
    }

    /// Every room, and those that are `offered`, sorted by name.
    pub(crate) fn summaries(&self, offered: &[RoomName]) -> Vec<Summary> {
        let now = self.clock.now();
        let state = &mut *self.lock();
        let missing: Vec<&RoomName> = offered
            .iter()
            .filter(|room| !state.rooms.contains_key(*room))
            .collect();
        let mut summaries: Vec<Summary> = state
            .rooms
            .iter_mut()
            .map(|(name, room)| {
                room.members.expire(now);
                Summary {
                    room: name.clone(),
                    census: room.members.census(),
                    newest: room.history.newest_message(),
                    history_bytes: room.history.bytes(),
                }
            })
            .collect();
        summaries.extend(missing.into_iter().map(|room| Summary {
            room: room.clone(),
            census: Census::default(),
            newest: None,
            history_bytes: 0,
        }));
        summaries.sort_unstable_by(|a, b| a.room.cmp(&b.room));
        summaries
    }

    /// Ends the named streams that `concerns` picks, and frees their names at once.
    pub(crate) fn expel(&self, concerns: impl Fn(Option<Author>, Option<IpAddr>) -> bool) {
        let state = &mut *self.lock();
        for client in state.clients.iter() {
            let Some(claim) = client.claim() else {
                continue;
            };
            if concerns(claim.author, claim.address) {
                client.end();
                for room in client.rooms() {
                    let room = state.rooms.get_mut(room);
                    room.map(|room| room.members.evict(claim));
                }
            }
        }
    }

    /// The work of once a second: tells each room who joined and left, evicts what is too old, and
    /// forgets rooms that nobody needs. Says whether the store has more than is retained.
    pub(crate) fn tick(&self) -> bool {
        let now = self.clock.now();
        let names: Vec<RoomName> = self.lock().rooms.keys().cloned().collect();
        let oldest = self.limits.history_age.map(|age| {
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            self.clock.unix_ms().saturating_sub(age)
        });
        let mut evicted = false;
        for name in &names {
            // The lock is free between two rooms.
            if let Some(room) = self.lock().rooms.get_mut(name) {
                room.tell_changes(name, now, &self.counters);
                evicted |= oldest.is_some_and(|oldest| room.history.evict_before(oldest));
            }
        }
        let ttl = self.limits.room_ttl;
        evicted
            | self
                .lock()
                .forget(|room| room.is_expendable(now, ttl, true))
    }

    /// Sends heartbeats where they are due.
    pub(crate) fn beat(&self) {
        let Some(period) = self.limits.heartbeat else {
            return;
        };
        let heartbeat = Arc::new(Frame::heartbeat(self.clock.unix_ms()));
        let now = self.clock.now();
        for client in self.lock().clients.iter_mut() {
            client.beat(&heartbeat, period, now, &self.counters);
        }
    }

    /// Ends all streams for good: each client gets what is retained, and then the end.
    pub(crate) fn close(&self) {
        let state = &mut *self.lock();
        state.closed = true;
        state.clients.iter().for_each(Client::interrupt);
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

    fn fate_of(&self, room: &RoomName, message: EventId) -> Result<&Entry, Refusal> {
        let room = self.rooms.get(room);
        room.and_then(|room| room.history.fate_of(message))
            .ok_or(Refusal::NoSuchMessage)
    }

    fn duplicate_of(&self, room: &RoomName, draft: &Draft) -> Result<Option<Arc<Frame>>, Refusal> {
        if self.closed {
            return Err(Refusal::Draining);
        }
        match draft {
            Draft::Removal { removed, .. } => {
                let fate = self.fate_of(room, *removed)?;
                Ok(fate.removes.map(|_| fate.frame.clone()))
            }
            Draft::Message { key: None, .. } => Ok(None),
            Draft::Message {
                key: Some(key),
                name,
                text,
                ..
            } => self.by_key(room, key, Some(name), text.as_str()),
        }
    }

    fn by_key(
        &self,
        room: &RoomName,
        key: &IdempotencyKey,
        name: Option<&MemberName>,
        text: &str,
    ) -> Result<Option<Arc<Frame>>, Refusal> {
        let room = self.rooms.get(room);
        let Some(entry) = room.and_then(|room| room.history.by_key(key)) else {
            return Ok(None);
        };
        if entry.removes.is_some() {
            return Err(Refusal::Removed);
        }
        let first = super::message::Message::from_frame(&entry.frame);
        let same = first.is_some_and(|first| {
            let same_name = name.is_none_or(|name| name.folded() == first.name.folded());
            same_name && first.text.as_str() == text
        });
        if same {
            Ok(Some(entry.frame.clone()))
        } else {
            Err(Refusal::KeyReused)
        }
    }

    /// Forgets expendable rooms, and says whether entries went with any of them.
    fn forget(&mut self, is_expendable: impl Fn(&Room) -> bool) -> bool {
        let before = self.forgotten_up_to;
        self.rooms.retain(|_, room| {
            let expendable = is_expendable(room);
            if expendable && !room.history.is_unused() {
                self.forgotten_up_to = self.forgotten_up_to.max(room.history.newest());
            }
            !expendable
        });
        self.forgotten_up_to > before
    }

    /// Forgets a room that its last client has left, if nothing was ever said in it.
    pub(super) fn forget_if_unused(&mut self, name: &RoomName, now: Moment) {
        let room = self.rooms.get(name);
        if room.is_some_and(|room| room.is_expendable(now, None, true)) {
            self.rooms.remove(name);
        }
    }
}
