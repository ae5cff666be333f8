//! What a hub has in common with the hubs of other servers: members who are connected elsewhere.

use super::author::Author;
use super::hub::Hub;
use super::members::Claim;
use crate::names::{MemberName, RoomName};

/// What this server contributes to a room: how many listeners, and which names, with their authors
/// and whether they have a stream.
pub(crate) type Here = (RoomName, usize, Vec<(MemberName, Author, bool)>);

impl Hub {
    /// The members and listeners of this server, without those of others.
    pub(crate) fn here(&self) -> Vec<Here> {
        let now = self.clock().now();
        let names: Vec<RoomName> = self.lock().rooms.keys().cloned().collect();
        let mut all = Vec::new();
        for room in names {
            // The lock is free between two rooms.
            let state = &mut *self.lock();
            let Some(members) = state.rooms.get_mut(&room).map(|room| &mut room.members) else {
                continue;
            };
            members.expire(now);
            let listeners = members.listeners_here();
            let here = members.here();
            let members: Vec<_> = here
                .map(|(name, author, has_streams)| (name.clone(), author, has_streams))
                .collect();
            if listeners > 0 || !members.is_empty() {
                all.push((room, listeners, members));
            }
        }
        all
    }

    /// Whether this server has the name for its author in all of these rooms.
    pub(crate) fn has_here(&self, rooms: &[RoomName], claim: &Claim) -> bool {
        let now = self.clock().now();
        let folded = claim.name.folded();
        let state = &mut *self.lock();
        rooms.iter().all(|room| {
            let room = state.rooms.get_mut(room);
            room.is_some_and(|room| {
                room.members.expire(now);
                room.members.has_here(&folded, claim.author)
            })
        })
    }

    /// A member joined another server.
    pub(crate) fn arrive(&self, room: &RoomName, name: &MemberName, author: Author) {
        let now = self.clock().now();
        let state = &mut *self.lock();
        let members = &mut state.room_or_insert(room, now).members;
        members.arrive(name, author);
    }

    /// A member is spelt like this, as the servers have agreed.
    pub(crate) fn respell(&self, room: &RoomName, name: &MemberName, author: Author) {
        if let Some(room) = self.lock().rooms.get_mut(room) {
            room.members.respell(&name.folded(), name, author);
        }
    }

    /// A member left another server.
    pub(crate) fn depart(&self, room: &RoomName, name: &MemberName, author: Author) {
        if let Some(room) = self.lock().rooms.get_mut(room) {
            room.members.depart(&name.folded(), author);
        }
    }

    /// So many listeners of a room are at other servers.
    pub(crate) fn listen_elsewhere(&self, room: &RoomName, listeners: usize) {
        let now = self.clock().now();
        let state = &mut *self.lock();
        if listeners > 0 || state.rooms.contains_key(room) {
            let members = &mut state.room_or_insert(room, now).members;
            members.listen_elsewhere(listeners);
        }
    }

    /// Ends the streams that have a name in a room which another server's session has now.
    pub(crate) fn lose(&self, room: &RoomName, name: &MemberName, author: Author) {
        let folded = name.folded();
        self.expel(|claim, of| {
            claim.author == author && of == room && claim.name.folded() == folded
        });
    }
}
