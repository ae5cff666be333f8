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
        let summary = |room| match state.room_at(&room, now) {
            None => Summary {
                room,
                census: Census::default(),
                newest: None,
                history_bytes: 0,
            },
            Some(found) => Summary {
                room,
                census: found.members.census(),
                newest: found.history.newest_message(),
                history_bytes: found.history.bytes(),
            },
        };
        names.into_iter().map(summary).collect()
    }
}
