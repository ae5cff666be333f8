//! How entries enter the rooms, and how they are read: the part of the hub that stores and histories
//! are about.

use std::collections::HashMap;
use std::sync::Arc;

use super::frame::Frame;
use super::history::History;
use super::hub::{Hub, State};
use super::id::EventId;
use super::message::{Draft, Entry, Message};
use super::room::Room;
use crate::author::Author;
use crate::counters::count;
use crate::names::{IdempotencyKey, MemberName, MessageText, RoomName};
use crate::refusal::Refusal;

/// How a draft became an entry: by this call, or by an earlier one that it repeats.
pub(crate) enum Committed {
    New(Arc<Frame>),
    Duplicate(Arc<Frame>),
}

/// What a store has of the rooms.
pub(crate) struct Loaded {
    /// The low-water mark of every room that has no entries so far.
    pub(crate) mark: EventId,
    rooms: HashMap<RoomName, History>,
}

/// A room, its low-water mark, and its entries in order.
pub(crate) type Retained = (RoomName, EventId, Vec<Entry>);

/// Which part of a room's history is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PageAt {
    /// The oldest entries after a position.
    After(EventId),
    /// The messages nearest before a position.
    Before(EventId),
    /// The newest messages.
    End,
}

/// A page of the history.
pub(crate) struct Page {
    /// Oldest first.
    pub(crate) messages: Vec<Arc<Frame>>,
    /// Messages removed after the position that was asked for.
    pub(crate) removed: Vec<EventId>,
    /// The position after which the next page begins.
    pub(crate) next: EventId,
    /// Whether entries after the position that was asked for may be gone.
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

    /// Publishes an entry that a store has committed, unless the room was loaded with it.
    pub(crate) fn publish(&self, room: &RoomName, entry: Entry) {
        self.publish_locked(&mut self.lock(), room, entry);
    }

    fn publish_locked(&self, state: &mut State, name: &RoomName, entry: Entry) {
        let now = self.clock().now();
        state.newest = state.newest.max(entry.id);
        let is_message = entry.removes.is_none();
        let room = state.room_or_insert(name, now);
        if entry.id <= room.history.newest() {
            return;
        }
        room.publish(entry, &self.options, now, &self.counters);
        if is_message {
            count(&self.counters.accepted);
        }
    }

    /// Takes over what a store has, in place of what there was. Streams go on from their positions.
    pub(crate) fn load(&self, loaded: Loaded) {
        let now = self.clock().now();
        let state = &mut *self.lock();
        state.mark = state.mark.max(loaded.mark);
        state.newest = state.newest.max(state.mark);
        for room in state.rooms.values_mut() {
            room.history = History::new(state.mark);
        }
        for (name, history) in loaded.rooms {
            state.newest = state.newest.max(history.newest());
            state.room_or_insert(&name, now).history = history;
        }
        state.interrupt();
    }

    /// What the rooms retain, for a store that writes this anew, and the low-water mark of all others.
    /// The store publishes nothing meanwhile, so one room is locked after the other.
    pub(crate) fn retained(&self) -> (EventId, Vec<Retained>) {
        let mark = self.lock().mark;
        let mut rooms = Vec::new();
        self.each_room(|name, Room { history, .. }| {
            if !history.is_empty() || history.mark() > mark {
                let entries = history.after(EventId::ZERO).cloned().collect();
                rooms.push((name.clone(), history.mark(), entries));
            }
        });
        // Last, for it covers rooms that were forgotten meanwhile.
        (self.lock().mark, rooms)
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

    /// A page of a room's history. After a position, `limit` counts messages and removals.
    pub(crate) fn page(&self, room: &RoomName, at: PageAt, limit: usize) -> Page {
        let state = self.lock();
        let empty = History::new(state.mark);
        let room = state.rooms.get(room);
        let history = room.map_or(&empty, |room| &room.history);
        let mut page = Page {
            messages: Vec::new(),
            removed: Vec::new(),
            next: history.newest(),
            missed: false,
        };
        let before = match at {
            PageAt::After(position) => {
                let position = state.position_or_zero(position);
                page.missed = history.mark() > position;
                let mut entries = history.after(position);
                page.messages.reserve_exact(limit.min(entries.len()));
                let mut last = position;
                for entry in entries.by_ref().take(limit) {
                    match entry.removes {
                        None => page.messages.push(entry.frame.clone()),
                        Some(removed) => page.removed.push(removed),
                    }
                    last = entry.id;
                }
                if entries.len() > 0 {
                    page.next = last;
                }
                return page;
            }
            PageAt::Before(position) => position,
            PageAt::End => EventId::MAX,
        };
        let newest_first = history.messages_before(before).take(limit);
        page.messages = newest_first.map(|entry| entry.frame.clone()).collect();
        page.messages.reverse();
        if let PageAt::Before(_) = at {
            let last = page.messages.last().and_then(|message| message.id());
            page.next = last.unwrap_or(history.mark());
        }
        page
    }

    /// Waits until a room has something after `position`. It never times out.
    pub(crate) async fn wait_for_entry_after(&self, name: &RoomName, position: EventId) {
        loop {
            let notified = {
                let state = self.lock();
                let room = state.rooms.get(name);
                if state.closed || room.is_some_and(|room| room.history.newest() > position) {
                    return;
                }
                // Of a room that does not exist, the first thing to come is the room.
                let next = room.map_or(&state.room_created, |room| &room.published);
                next.clone().notified_owned()
            };
            notified.await;
        }
    }
}

impl Loaded {
    pub(crate) fn new(mark: EventId) -> Loaded {
        Loaded {
            mark,
            rooms: HashMap::new(),
        }
    }

    /// The history of a room. If it is new, its low-water mark is this, or that of all if it is higher.
    pub(crate) fn room(&mut self, room: RoomName, mark: EventId) -> &mut History {
        let mark = mark.max(self.mark);
        let history = self.rooms.entry(room);
        history.or_insert_with(|| History::new(mark))
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
