//! How entries enter the rooms, and how they are read: the part of the hub that stores and histories
//! are about.

use std::sync::Arc;

use tokio::sync::Notify;

use super::author::Author;
use super::clock::Moment;
use super::frame::Frame;
use super::history::History;
use super::hub::{Hub, State};
use super::id::EventId;
use super::message::{Draft, Entry, Message};
use super::room::Room;
use crate::counters::count;
use crate::names::{IdempotencyKey, MemberName, MessageText, RoomName};
use crate::refusal::Refusal;

/// How a draft became an entry: by this call, or by an earlier one that it repeats.
pub(crate) enum Committed {
    New(Arc<Frame>),
    Duplicate(Arc<Frame>),
}

/// A room as a store has it: the low-water mark of its history, and what it retains.
pub(crate) type Retained = (RoomName, EventId, Vec<Entry>);

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

impl Hub {
    /// Commits a draft at once: gives it its id, retains it, and queues it for every client.
    pub(crate) fn commit(&self, room: &RoomName, draft: Draft) -> Result<Committed, Refusal> {
        let state = &mut *self.lock();
        if let Some(frame) = state.duplicate_of(room, &draft)? {
            return Ok(Committed::Duplicate(frame));
        }
        let sent_at = self.clock().unix_ms();
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

    /// The message that was sent under a key, if one was.
    ///
    /// # Errors
    /// As [`Entry::repeated_by`].
    pub(crate) fn by_key(
        &self,
        room: &RoomName,
        key: &IdempotencyKey,
        name: Option<&MemberName>,
        text: &MessageText,
    ) -> Result<Option<Arc<Frame>>, Refusal> {
        // Compared without the lock, since a text may be long.
        let entry = self.lock().by_key(room, key).cloned();
        entry.map(|entry| entry.repeated_by(name, text)).transpose()
    }

    /// Publishes an entry that a store has committed.
    pub(crate) fn publish(&self, room: &RoomName, entry: Entry) {
        self.publish_locked(&mut self.lock(), room, entry);
    }

    fn publish_locked(&self, state: &mut State, name: &RoomName, entry: Entry) {
        let now = self.clock().now();
        state.newest = state.newest.max(entry.id);
        let is_message = entry.removes.is_none();
        let room = state.room_or_insert(name, now);
        room.publish(entry, &self.options, now, &self.counters);
        if is_message {
            count(&self.counters.accepted);
        }
    }

    /// Puts back an entry of a previous run.
    pub(crate) fn restore(&self, room: &RoomName, entry: Entry) {
        let state = &mut *self.lock();
        state.newest = state.newest.max(entry.id);
        let history = &mut state.room_or_insert(room, self.clock().now()).history;
        history.push(entry, &self.options);
    }

    /// Notes that a room, or each that has no entries, had some up to `id` in a previous run.
    pub(crate) fn restore_evicted(&self, room: Option<&RoomName>, id: EventId) {
        let state = &mut *self.lock();
        state.newest = state.newest.max(id);
        match room {
            Some(room) => {
                let room = state.room_or_insert(room, self.clock().now());
                room.history = History::new(id);
            }
            None => state.forgotten_up_to = state.forgotten_up_to.max(id),
        }
    }

    /// What each room retains, and up to where rooms without entries had some, for a store that writes
    /// this anew. It publishes nothing meanwhile, so one room is locked after the other.
    pub(crate) fn retained(&self) -> (EventId, Vec<Retained>) {
        let names: Vec<RoomName> = self.lock().rooms.keys().cloned().collect();
        let mut forgotten_up_to = EventId::ZERO;
        let mut rooms = Vec::new();
        for name in names {
            let state = self.lock();
            let Some(Room { history, .. }) = state.rooms.get(&name) else {
                continue;
            };
            let evicted_up_to = history.evicted_up_to();
            let entries: Vec<Entry> = history.after(EventId::ZERO).cloned().collect();
            if entries.is_empty() {
                forgotten_up_to = forgotten_up_to.max(evicted_up_to);
            } else {
                rooms.push((name, evicted_up_to, entries));
            }
        }
        // Last, for it covers rooms that were forgotten meanwhile.
        (forgotten_up_to.max(self.lock().forgotten_up_to), rooms)
    }

    /// The newest id of all rooms.
    pub(crate) fn newest(&self) -> EventId {
        self.lock().newest
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

    /// A page of a room's history: the oldest messages after a position, or the nearest before one, or
    /// else the newest; at most `limit`.
    pub(crate) fn page(
        &self,
        room: &RoomName,
        after: Option<EventId>,
        before: Option<EventId>,
        limit: usize,
    ) -> Page {
        let state = self.lock();
        let empty;
        let history = match state.rooms.get(room) {
            Some(room) => &room.history,
            None => {
                empty = Room::new(state.forgotten_up_to, Moment::ZERO);
                &empty.history
            }
        };
        let asked = after.map(|after| {
            let known = Some(after).filter(|after| self.is_known(*after, &state));
            let missed = history.missed_after(known);
            // A client that reads page by page goes on, even if an earlier epoch lost entries.
            let goes_on = missed.is_none() || after < state.epoch && history.find(after).is_some();
            (
                if goes_on {
                    after
                } else {
                    history.evicted_up_to()
                },
                missed,
            )
        });
        let from = match (asked, before) {
            (Some((from, _)), _) => from,
            (None, Some(_)) => history.evicted_up_to(),
            (None, None) => history.before_latest(limit),
        };
        let entries = history
            .after(from)
            .take_while(|entry| before.is_none_or(|before| entry.id < before));
        let frame_of = |entry: &Entry| entry.frame.clone();
        let mut messages = Vec::new();
        let mut is_cut = before.is_some();
        match (asked, before) {
            (None, Some(before)) => {
                let nearest = history.messages_before(before, limit);
                messages.extend(nearest.into_iter().map(frame_of));
            }
            _ => {
                messages.reserve_exact(limit.min(history.after(from).len()));
                let mut wanted = entries.filter(|entry| entry.removes.is_none());
                messages.extend(wanted.by_ref().take(limit).map(frame_of));
                is_cut |= wanted.next().is_some();
            }
        }
        let last = messages.last().and_then(|message| message.id());
        let last = last.unwrap_or(from);
        let removals = history.after(from).filter(|_| asked.is_some());
        Page {
            next: match last.max(history.newest()) {
                _ if is_cut => last,
                // Not a position that could be resumed, so one behind it.
                newest if newest < state.epoch => state.newest,
                newest => newest,
            },
            messages,
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
        Ok(self.open_locked(state, name, &[])?.arrivals.clone())
    }
}

impl State {
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
            } => {
                let entry = self.by_key(room, key);
                let repeated = entry.map(|entry| entry.repeated_by(Some(name), text));
                repeated.transpose()
            }
        }
    }

    fn by_key(&self, room: &RoomName, key: &IdempotencyKey) -> Option<&Entry> {
        self.rooms.get(room)?.history.by_key(key)
    }
}

impl Entry {
    /// The entry's frame, if a message of this text under its key repeats it. A `name` of `None`
    /// fits any.
    ///
    /// # Errors
    /// The key was used for a different message, or the message was removed.
    pub(crate) fn repeated_by(
        &self,
        name: Option<&MemberName>,
        text: &MessageText,
    ) -> Result<Arc<Frame>, Refusal> {
        let first = Message::from_frame(&self.frame).ok_or(Refusal::Removed)?;
        let same_name = name.is_none_or(|name| name.folded() == first.name.folded());
        if same_name && first.text == *text {
            Ok(self.frame.clone())
        } else {
            Err(Refusal::KeyReused)
        }
    }
}
