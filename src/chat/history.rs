//! What a room still holds of what was said in it, and how positions in it are understood.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::frame::{Frame, MissedReason};
use super::id::EventId;
use super::names::IdempotencyKey;

/// How much a room holds, whichever is reached first. `usize::MAX` is no bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// The newest messages of a room, in order, each with the key that its poster gave it.
///
/// Everything after the `floor` is held. So a position is good if it is neither below the floor
/// nor beyond the newest message: whoever stands there can be given all that follows.
#[derive(Debug)]
pub(crate) struct History {
    held: VecDeque<Held>,
    by_key: HashMap<IdempotencyKey, Arc<Frame>>,
    bytes: usize,
    bounds: Bounds,
    birth: EventId,
    floor: EventId,
    untouched: bool,
}

/// A message that is held.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) id: EventId,
    pub(crate) frame: Arc<Frame>,
    pub(crate) key: Option<IdempotencyKey>,
}

/// Where in its room's stream a client asks to begin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Start {
    /// With this many messages before the present.
    Latest(usize),
    /// After this position.
    After(EventId),
    /// After a position that cannot be read.
    Unreadable(String),
}

/// Where a client's stream begins, and whether it has missed something before that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Beginning {
    pub(crate) position: EventId,
    pub(crate) missed: Option<MissedReason>,
}

impl History {
    /// A history that begins empty at `floor`, in a life of the server that began at `birth`.
    pub(crate) fn new(bounds: Bounds, birth: EventId, floor: EventId) -> History {
        History {
            held: VecDeque::new(),
            by_key: HashMap::new(),
            bytes: 0,
            bounds,
            birth,
            floor,
            untouched: true,
        }
    }

    /// Adds the newest message, and lets go of the oldest where there are too many.
    pub(crate) fn push(&mut self, id: EventId, frame: Arc<Frame>, key: Option<IdempotencyKey>) {
        debug_assert!(id > self.newest(), "the log gives rising ids");
        self.untouched = false;
        self.bytes += frame.bytes().len();
        if let Some(key) = &key {
            self.by_key.insert(key.clone(), frame.clone());
        }
        self.held.push_back(Held { id, frame, key });
        while self.held.len() > self.bounds.messages || self.bytes > self.bounds.bytes {
            let Some(oldest) = self.held.pop_front() else {
                break;
            };
            self.bytes -= oldest.frame.bytes().len();
            self.floor = oldest.id;
            if let Some(key) = oldest.key {
                self.by_key.remove(&key);
            }
        }
    }

    /// Says that the first message that comes follows `id`, as a journal knows it of a room.
    pub(crate) fn begin_after(&mut self, id: EventId) {
        if self.untouched {
            self.floor = id;
        }
    }

    /// Whether nothing was ever held.
    pub(crate) fn is_untouched(&self) -> bool {
        self.untouched
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The position up to which nothing is held.
    pub(crate) fn floor(&self) -> EventId {
        self.floor
    }

    /// The position of whoever has everything.
    pub(crate) fn newest(&self) -> EventId {
        self.held.back().map_or(self.floor, |held| held.id)
    }

    pub(crate) fn newest_held(&self) -> Option<EventId> {
        self.held.back().map(|held| held.id)
    }

    pub(crate) fn oldest(&self) -> Option<EventId> {
        self.held.front().map(|held| held.id)
    }

    pub(crate) fn by_key(&self, key: &IdempotencyKey) -> Option<&Arc<Frame>> {
        self.by_key.get(key)
    }

    /// Finds where a stream begins that is asked for at `start`.
    pub(crate) fn begin(&self, start: &Start) -> Beginning {
        let missed = match start {
            Start::Latest(count) => {
                let skipped = self.held.len().saturating_sub(*count);
                let position = if skipped == 0 {
                    self.floor
                } else {
                    self.held[skipped - 1].id
                };
                return Beginning {
                    position,
                    missed: None,
                };
            }
            Start::After(id) if (self.floor..=self.newest()).contains(id) => {
                return Beginning {
                    position: *id,
                    missed: None,
                };
            }
            Start::After(id) if *id < self.floor && *id >= self.birth => MissedReason::Expired,
            Start::After(_) | Start::Unreadable(_) => MissedReason::Unknown,
        };
        Beginning {
            position: self.floor,
            missed: Some(missed),
        }
    }

    /// What is held after a position, oldest first.
    pub(crate) fn after(
        &self,
        position: EventId,
    ) -> impl ExactSizeIterator<Item = &Held> + DoubleEndedIterator {
        self.held
            .range(self.held.partition_point(|held| held.id <= position)..)
    }

    /// The messages nearest before a position, `limit` at most, oldest first.
    pub(crate) fn before(&self, position: EventId, limit: usize) -> impl Iterator<Item = &Held> {
        let end = self.held.partition_point(|held| held.id < position);
        self.held.range(end.saturating_sub(limit)..end)
    }
}

#[cfg(test)]
mod tests;
