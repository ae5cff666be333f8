//! What a room retains of what was said in it, and how positions in it are understood.

use std::collections::{HashMap, VecDeque};

use super::frame::MissedReason;
use super::id::EventId;
use super::message::Entry;
use crate::names::IdempotencyKey;
use crate::options::Options;

/// The newest entries of a room, in order.
///
/// Everything after `evicted_up_to` is retained. So a position that was ever given out can be
/// resumed unless it is below that.
#[derive(Debug)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    /// The entry that each key was last used for; of a removed message, its removal.
    by_key: HashMap<IdempotencyKey, EventId>,
    bytes: usize,
    evicted_up_to: EventId,
    is_unused: bool,
}

impl History {
    /// An empty history, of a room in which nothing after `evicted_up_to` was ever said.
    pub(super) fn new(evicted_up_to: EventId) -> History {
        History {
            entries: VecDeque::new(),
            by_key: HashMap::new(),
            bytes: 0,
            evicted_up_to,
            is_unused: true,
        }
    }

    /// Adds the newest entry and evicts the oldest ones beyond the limits. The message that a
    /// removal removes is dropped.
    pub(super) fn push(&mut self, mut entry: Entry, limits: &Options) {
        debug_assert!(entry.id > self.newest(), "ids rise");
        self.is_unused = false;
        if let Some(removed) = entry.removes
            && let Ok(place) = self.entries.binary_search_by_key(&removed, |e| e.id)
            && let Some(removed) = self.entries.remove(place)
        {
            self.bytes -= removed.frame.bytes().len();
            entry.key = removed.key;
        }
        if let Some(key) = &entry.key {
            self.by_key.insert(key.clone(), entry.id);
        }
        self.bytes += entry.frame.bytes().len();
        self.entries.push_back(entry);
        while self.entries.len() > limits.history || self.bytes > limits.history_bytes {
            self.evict_oldest();
        }
    }

    /// Evicts what is older than `unix_ms`.
    pub(super) fn evict_before(&mut self, unix_ms: u64) {
        while self.oldest().is_some_and(|id| id.milliseconds < unix_ms) {
            self.evict_oldest();
        }
    }

    fn evict_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else {
            return;
        };
        self.bytes -= oldest.frame.bytes().len();
        self.evicted_up_to = oldest.id;
        if let Some(key) = oldest.key
            && self.by_key.get(&key) == Some(&oldest.id)
        {
            self.by_key.remove(&key);
        }
    }

    /// Whether nothing was ever retained.
    pub(super) fn is_unused(&self) -> bool {
        self.is_unused
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The low-water mark: nothing up to here is retained.
    pub(super) fn evicted_up_to(&self) -> EventId {
        self.evicted_up_to
    }

    /// The position of a client that has everything.
    pub(super) fn newest(&self) -> EventId {
        self.entries
            .back()
            .map_or(self.evicted_up_to, |entry| entry.id)
    }

    pub(super) fn oldest(&self) -> Option<EventId> {
        self.entries.front().map(|entry| entry.id)
    }

    pub(super) fn newest_message(&self) -> Option<EventId> {
        let mut newest = self.entries.iter().rev();
        newest
            .find(|entry| entry.removes.is_none())
            .map(|entry| entry.id)
    }

    /// The entry that a key was last used for.
    pub(super) fn by_key(&self, key: &IdempotencyKey) -> Option<&Entry> {
        self.find(*self.by_key.get(key)?)
    }

    /// The entry that tells what became of a message: the message, or its removal.
    pub(super) fn fate_of(&self, message: EventId) -> Option<&Entry> {
        let removal = |entry: &&Entry| entry.removes == Some(message);
        self.find(message)
            .filter(|entry| entry.removes.is_none())
            .or_else(|| self.after(message).find(removal))
    }

    /// The entry of this id.
    pub(super) fn find(&self, id: EventId) -> Option<&Entry> {
        let place = self.entries.binary_search_by_key(&id, |entry| entry.id);
        self.entries.get(place.ok()?)
    }

    /// Why not everything after a position can be given; `None` is a position that is not known.
    pub(super) fn missed_after(&self, known: Option<EventId>) -> Option<MissedReason> {
        match known {
            None => Some(MissedReason::Unknown),
            Some(position) => (position < self.evicted_up_to).then_some(MissedReason::Expired),
        }
    }

    /// The position before the newest `count` messages.
    pub(super) fn before_latest(&self, count: usize) -> EventId {
        if count == 0 {
            return self.newest();
        }
        let messages = self.entries.iter().enumerate().rev();
        let first = messages
            .filter(|(_, entry)| entry.removes.is_none())
            .nth(count - 1);
        match first {
            Some((place, _)) if place > 0 => self.entries[place - 1].id,
            _ => self.evicted_up_to,
        }
    }

    /// What is retained after a position, oldest first.
    pub(super) fn after(&self, position: EventId) -> impl ExactSizeIterator<Item = &Entry> {
        let start = self.entries.partition_point(|entry| entry.id <= position);
        self.entries.range(start..)
    }

    /// The messages nearest before a position, at most `limit`, oldest first.
    pub(super) fn messages_before(&self, position: EventId, limit: usize) -> Vec<&Entry> {
        let end = self.entries.partition_point(|entry| entry.id < position);
        let messages = self.entries.range(..end).rev();
        let nearest = messages.filter(|entry| entry.removes.is_none()).take(limit);
        let mut nearest: Vec<&Entry> = nearest.collect();
        nearest.reverse();
        nearest
    }
}

#[cfg(test)]
mod tests;
