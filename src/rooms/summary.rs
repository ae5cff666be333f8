//! Each room in numbers, for the metrics and for the list of rooms. Which rooms a visitor is shown is
//! decided in `http`.

use std::collections::BTreeSet;

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
        let names: BTreeSet<RoomName> = state.rooms.keys().chain(offered).cloned().collect();
        let summary = |room| {
            let found = state.room_at(&room, now).map(|found| &*found);
            Summary {
                census: found
                    .map(|found| found.members.census())
                    .unwrap_or_default(),
                newest: found.and_then(|found| found.history.newest_message()),
                history_bytes: found.map_or(0, |found| found.history.bytes()),
                room,
            }
        };
        names.into_iter().map(summary).collect()
    }
}
