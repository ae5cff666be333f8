//! The log that keeps nothing but what the rooms hold: a message is committed at once.

use std::sync::Mutex;

use super::NotKept;
use crate::chat::answers::Committed;
use crate::chat::clock::Clock;
use crate::chat::id::EventId;
use crate::chat::lock;
use crate::chat::message::{Draft, Stamp};
use crate::chat::room::Room;

/// Gives ids, and keeps nothing.
pub(crate) struct Memory {
    clock: Clock,
    last: Mutex<EventId>,
}

impl Memory {
    /// A log whose ids follow `birth`.
    pub(crate) fn new(clock: Clock, birth: EventId) -> Memory {
        Memory {
            clock,
            last: Mutex::new(birth),
        }
    }

    pub(crate) fn append(&self, room: &Room, draft: Draft) -> Result<Committed, NotKept> {
        Ok(room.commit(draft, || self.stamp())?)
    }

    /// Called under the room's lock, so ids rise in the order in which messages enter the room.
    fn stamp(&self) -> Stamp {
        let sent_at = self.clock.unix_ms();
        let mut last = lock(&self.last);
        *last = last.next(sent_at);
        Stamp { id: *last, sent_at }
    }
}
