//! The list of rooms.

use std::collections::BTreeSet;

use super::frame::Census;
use super::hub::Hub;
use super::id::EventId;
use super::room::Room;
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
        let rooms = &mut self.lock().rooms;
        let names: BTreeSet<RoomName> = rooms.keys().chain(offered).cloned().collect();
        let summary = |room| match rooms.get_mut(&room) {
            None => Summary {
                room,
                census: Census::default(),
                newest: None,
                history_bytes: 0,
            },
            Some(Room {
                history, members, ..
            }) => {
                members.expire(now);
                Summary {
                    room,
                    census: members.census(),
                    newest: history.latest(1),
                    history_bytes: history.bytes(),
                }
            }
        };
        names.into_iter().map(summary).collect()
    }
}
