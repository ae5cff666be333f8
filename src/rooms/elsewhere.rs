//! What a hub has in common with the hubs of other servers: members who are connected elsewhere.

use super::hub::Hub;
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
        let mut all = Vec::new();
        self.each_room(|name, Room { members, .. }| {
            members.expire(now);
            let here = members.here().map(|(name, author)| (name.clone(), author));
            all.push((name.clone(), members.listeners_here(), here.collect()));
        });
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
        let loser = {
            let state = &mut *self.lock();
            let members = &mut state.room_or_insert(room, now).members;
            members.joined_elsewhere(name, author)
        };
        if let Some(loser) = loser {
            let is_name = |claim: &Claim| claim.name.folded() == name.folded();
            self.expel(|claim, of| of == room && claim.author == loser && is_name(claim));
        }
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

    /// Of a room another server had so many listeners, and has so many now.
    pub(crate) fn listen_elsewhere(&self, room: &RoomName, before: usize, now: usize) {
        let moment = self.clock().now();
        let state = &mut *self.lock();
        if now > 0 || state.rooms.contains_key(room) {
            let members = &mut state.room_or_insert(room, moment).members;
            members.listen_elsewhere(before, now);
        }
    }
}
