//! The list of rooms.

use super::frame::Census;
use super::hub::Hub;
use super::id::EventId;
use crate::names::RoomName;

/// A room in numbers.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) room: RoomName,
    pub(crate) census: Census,
    pub(crate) newest: Option<EventId>,
    pub(crate) history_bytes: usize,
}

impl Hub {
    /// Every room, and those that are `offered`, sorted by name.
    pub(crate) fn summaries(&self, offered: &[RoomName]) -> Vec<Summary> {
        let now = self.clock().now();
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
}
