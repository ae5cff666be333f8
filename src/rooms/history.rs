//! What a room retains of what was said in it, and how positions in it are understood.

use std::collections::{HashMap, VecDeque};
use std::mem::size_of;

use super::frame::Frame;
use super::id::EventId;
use super::message::Entry;
use crate::names::IdempotencyKey;
use crate::options::Options;

/// Bytes of memory that an entry takes besides its encoded frame: its slot in the history, with the spare
/// ones (see [`History::push`]); the [`Frame`] itself; and the three allocations of a frame, its bytes and
/// their reference count.
const ENTRY_BYTES: usize =
    size_of::<Entry>() * 9 / 8 + size_of::<Frame>() + COUNT_BYTES + 3 * ALLOCATION_BYTES;
/// Bytes in which the references to a frame (`Arc`) and to its bytes (`Bytes`) are counted: 16 and 24,
/// rounded up.
const COUNT_BYTES: usize = 48;
/// Bytes that a key takes besides its text: its slot in a hash table that is between half and fully
/// used, and what counts its references.
const KEY_BYTES: usize = size_of::<(IdempotencyKey, EventId)>() * 3 / 2 + 2 * ALLOCATION_BYTES;
/// Bytes that a removal takes in the table that finds it.
const REMOVAL_BYTES: usize = size_of::<(EventId, EventId)>() * 3 / 2;
/// Bytes that an allocation takes besides its content, on average: allocators round up, and add a little.
const ALLOCATION_BYTES: usize = 16;

/// The newest entries of a room, in order, and its low-water mark: entries up to there may be gone, all
/// above it are retained.
#[derive(Debug, Default)]
pub(crate) struct History {
    entries: VecDeque<Entry>,
    /// The entry that each key was last used for; of a removed message, its removal.
    by_key: HashMap<IdempotencyKey, EventId>,
    /// The removal of each message.
    removals: HashMap<EventId, EventId>,
    /// Known without a look at the entries, of which any number may be removals.
    newest_message: Option<EventId>,
    bytes: usize,
    mark: EventId,
}

impl History {
    /// An empty history, of a room in which nothing above `mark` was ever said.
    pub(super) fn new(mark: EventId) -> History {
        History {
            mark,
            ..History::default()
        }
    }

    /// Adds the newest entry and evicts the oldest ones beyond the limits. The message that a
    /// removal removes is dropped.
    pub(crate) fn push(&mut self, mut entry: Entry, limits: &Options) {
        if let Some(message) = entry.removes {
            self.removals.insert(message, entry.id);
            if let Ok(index) = self.entries.binary_search_by_key(&message, |e| e.id)
                && let Some(removed) = self.entries.remove(index)
            {
                self.bytes -= removed.bytes();
                entry.key = removed.key;
            }
            if self.newest_message == Some(message) {
                self.newest_message = self.latest(1);
            }
        } else {
            self.newest_message = Some(entry.id);
        }
        if let Some(key) = &entry.key {
            self.by_key.insert(key.clone(), entry.id);
        }
        self.bytes += entry.bytes();
        if self.entries.len() == self.entries.capacity() {
            // Not twice as many, which would be a fifth of a room that is full of short messages.
            self.entries.reserve_exact(self.entries.len() / 8 + 4);
        }
        self.entries.push_back(entry);
        while self.entries.len() > limits.history || self.bytes > limits.history_bytes {
            self.evict_oldest();
        }
    }

    /// Evicts what was sent before `unix_ms`, in order, and says whether anything was. What a
    /// clock that was ahead has dated after `now` counts as old only if an old entry follows it.
    pub(super) fn evict_before(&mut self, unix_ms: u64, now: u64) -> bool {
        let is_current = |entry: &Entry| (unix_ms..=now).contains(&entry.sent_at);
        let end = self.entries.iter().position(is_current);
        let mut entries = self.entries.range(..end.unwrap_or(self.entries.len()));
        let last_old = entries.rposition(|entry| entry.sent_at < unix_ms);
        let count = last_old.map_or(0, |last| last + 1);
        (0..count).for_each(|_| self.evict_oldest());
        count > 0
    }

    /// Raises the low-water mark, and evicts what is not above it.
    #[cfg(feature = "redis")]
    pub(super) fn evict_up_to(&mut self, mark: EventId) {
        while self.entries.front().is_some_and(|entry| entry.id <= mark) {
            self.evict_oldest();
        }
        self.mark = self.mark.max(mark);
    }

    fn evict_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else {
            return;
        };
        self.bytes -= oldest.bytes();
        self.mark = self.mark.max(oldest.id);
        self.newest_message.take_if(|id| *id == oldest.id);
        if let Some(message) = oldest.removes
            && self.removals.get(&message) == Some(&oldest.id)
        {
            self.removals.remove(&message);
        }
        if let Some(key) = oldest.key
            && self.by_key.get(&key) == Some(&oldest.id)
        {
            self.by_key.remove(&key);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the frames after a position, about: keys count as well, and all entries are taken to be
    /// equally long.
    pub(super) fn frame_bytes_after(&self, position: EventId) -> usize {
        let count = self.entries.len();
        (self.bytes - count * ENTRY_BYTES) * self.after(position).len() / count.max(1)
    }

    pub(super) fn newest_message(&self) -> Option<EventId> {
        self.newest_message
    }

    /// The low-water mark.
    pub(super) fn mark(&self) -> EventId {
        self.mark
    }

    /// The position of a client that has everything.
    pub(super) fn newest(&self) -> EventId {
        let newest = self.entries.back().map(|entry| entry.id);
        newest.unwrap_or_default().max(self.mark)
    }

    /// The entry that a key was last used for. A key that an earlier version stored is everybody's.
    pub(super) fn by_key(&self, key: &IdempotencyKey) -> Option<&Entry> {
        let id = self.by_key.get(key);
        self.find(*id.or_else(|| self.by_key.get(&key.of_nobody()))?)
    }

    /// The entry that tells what became of a message: the message, or its removal.
    pub(super) fn fate_of(&self, message: EventId) -> Option<&Entry> {
        let message_itself = self.find(message).filter(|entry| entry.removes.is_none());
        message_itself.or_else(|| self.find(*self.removals.get(&message)?))
    }

    /// The entry of this id.
    pub(super) fn find(&self, id: EventId) -> Option<&Entry> {
        let index = self.entries.binary_search_by_key(&id, |entry| entry.id);
        self.entries.get(index.ok()?)
    }

    /// The oldest of the newest `count` messages.
    pub(super) fn latest(&self, count: usize) -> Option<EventId> {
        let newest_first = self.messages_before(EventId::MAX);
        newest_first.take(count).last().map(|entry| entry.id)
    }

    /// What is retained after a position, oldest first.
    pub(super) fn after(&self, position: EventId) -> impl ExactSizeIterator<Item = &Entry> {
        let start = self.entries.partition_point(|entry| entry.id <= position);
        self.entries.range(start..)
    }

    /// The messages before a position, newest first.
    pub(super) fn messages_before(&self, position: EventId) -> impl Iterator<Item = &Entry> {
        let end = self.entries.partition_point(|entry| entry.id < position);
        let newest_first = self.entries.range(..end).rev();
        newest_first.filter(|entry| entry.removes.is_none())
    }
}

impl Entry {
    /// Bytes of memory that the entry takes in a history.
    fn bytes(&self) -> usize {
        let key = self.key.as_ref().map(|key| key.as_str().len() + KEY_BYTES);
        let removal = self.removes.map(|_| REMOVAL_BYTES);
        self.frame.bytes().len() + ENTRY_BYTES + key.unwrap_or(0) + removal.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
