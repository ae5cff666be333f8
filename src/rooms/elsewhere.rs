//! What a hub has in common with the hubs of other servers: members who are connected elsewhere.

use super::hub::{Hub, State};
use super::id::EventId;
use super::members::Claim;
use super::room::Room;
use crate::author::Author;
use crate::names::{MemberName, RoomName};

/// What this server contributes to a room: how many listeners, and which names, with their authors.
pub(crate) type Here = (RoomName, usize, Vec<(MemberName, Author)>);

impl Hub {
    /// The members and listeners of this server, without those of others.
    pub(crate) fn here(&self) -> Vec<Here> {
        let now = self.clock().now();
        let names: Vec<RoomName> = self.lock().rooms.keys().cloned().collect();
        let mut all = Vec::new();
        for room in names {
            // The lock is free between two rooms.
            let state = &mut *self.lock();
            let Some(Room { members, .. }) = state.room_at(&room, now) else {
                continue;
            };
            let listeners = members.listeners_here();
            let here = members.here();
            let members: Vec<_> = here.map(|(name, author)| (name.clone(), author)).collect();
            if listeners > 0 || !members.is_empty() {
                all.push((room, listeners, members));
            }
        }
        all
    }

    /// Whether this server has the name for its author in all of these rooms, as the claim spells it.
    pub(crate) fn has_here(&self, rooms: &[RoomName], claim: &Claim) -> bool {
        let now = self.clock().now();
        let state = &mut *self.lock();
        rooms.iter().all(|room| {
            let room = state.room_at(room, now);
            room.is_some_and(|room| room.members.has_here(claim))
        })
    }

    /// A member joined another server. If somebody else has the name here, that one has lost it.
    pub(crate) fn joined_elsewhere(&self, room: &RoomName, name: &MemberName, author: Author) {
        let now = self.clock().now();
        let of = |state: &State| {
            state
                .rooms
                .get(room)?
                .members
                .owner(name, Some(author))
                .map(|(_, is_same)| is_same)
        };
        if of(&self.lock()) == Some(false) {
            let folded = name.folded();
            self.expel(|claim, of| {
                of == room && claim.author != author && claim.name.folded() == folded
            });
        }
        let state = &mut *self.lock();
        let members = &mut state.room_or_insert(room, now).members;
        members.joined_elsewhere(name, author);
    }

    /// A member's latest stream, at another server, spells the name like this.
    pub(crate) fn respell(&self, room: &RoomName, name: &MemberName, author: Author) {
        if let Some(room) = self.lock().rooms.get_mut(room) {
            room.members.respell(name, author);
        }
    }

    /// A member left another server.
    pub(crate) fn left_elsewhere(&self, room: &RoomName, name: &MemberName, author: Author) {
        if let Some(room) = self.lock().rooms.get_mut(room) {
            room.members.left_elsewhere(name.folded(), author);
        }
    }

    /// Everything up to a position is published here, so other servers may have given it out.
    pub(crate) fn advance(&self, position: EventId) {
        let state = &mut *self.lock();
        state.newest = state.newest.max(position);
    }

    /// The entries of a room up to here are gone for all servers.
    pub(crate) fn evict(&self, room: &RoomName, mark: EventId) {
        if let Some(room) = self.lock().rooms.get_mut(room) {
            room.history.evict_up_to(mark);
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
}
