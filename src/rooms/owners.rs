//! Whose a name is in a room, and who is there: the part of the hub that names and sessions are about.
//! What a room is told of those who join and leave is in [`members`](super::members).

use super::client::Membership;
use super::frame::Census;
use super::hub::Hub;
use super::members::Claim;
use super::queue::Mode;
use super::room::Room;
use crate::author::Author;
use crate::names::{MemberName, RoomName};
use crate::refusal::Refusal;

impl Hub {
    /// Finds out under which name a post may go, and whether its sender is a member.
    pub(crate) fn speaker(
        &self,
        room: &RoomName,
        name: Option<MemberName>,
        author: Option<Author>,
    ) -> Result<(MemberName, bool), Refusal> {
        let now = self.clock().now();
        let state = &mut *self.lock();
        let members = state.room_at(room, now).map(|room| &room.members);
        match (name, members) {
            (Some(name), None) => Ok((name, false)),
            (Some(name), Some(members)) => match members.owner(&name, author) {
                None => Ok((name, false)),
                Some((spelling, true)) => Ok((spelling.clone(), true)),
                Some((_, false)) => Err(Refusal::NameTaken { room: room.clone() }),
            },
            (None, members) => members
                .zip(author)
                .and_then(|(members, author)| members.only_name(author))
                .map(|name| (name.clone(), true))
                .ok_or(Refusal::NameRequired),
        }
    }

    /// Whether a name is an author's in all these rooms.
    pub(crate) fn owns(
        &self,
        rooms: &[RoomName],
        name: &MemberName,
        author: Option<Author>,
    ) -> bool {
        let now = self.clock().now();
        let state = &mut *self.lock();
        rooms.iter().all(|room| {
            let room = state.room_at(room, now);
            let owner = room.and_then(|room| room.members.owner(name, author));
            owner.is_some_and(|(_, own)| own)
        })
    }

    /// Whether an author has a name in a room.
    pub(crate) fn includes(&self, room: &RoomName, author: Author) -> bool {
        let state = self.lock();
        let room = state.rooms.get(room);
        room.is_some_and(|room| room.members.includes(author))
    }

    /// All names in a room, sorted, and how many are in it.
    pub(crate) fn members(&self, room: &RoomName) -> (Vec<(MemberName, Author)>, Census) {
        let now = self.clock().now();
        let state = &mut *self.lock();
        let Some(Room { members, .. }) = state.room_at(room, now) else {
            return Default::default();
        };
        let names = members.names();
        let names = names.map(|(name, author)| (name.clone(), author));
        (names.collect(), members.census())
    }

    /// Ends the named streams that `concerns` picks by their claim and one of their rooms, and frees
    /// their names in those rooms at once. They leave all of their rooms now: until the client has
    /// taken what is queued, its session may have come back. Names in their grace have a claim without an
    /// address.
    pub(crate) fn expel(&self, concerns: impl Fn(&Claim, &RoomName) -> bool) {
        let now = self.clock().now();
        let state = &mut *self.lock();
        for client in state.clients.iter_mut() {
            let Some(claim) = client.claim.as_deref() else {
                continue;
            };
            let is_concerned = |membership: &Membership| concerns(claim, &membership.room);
            if !client.memberships.iter().any(is_concerned) {
                continue;
            }
            client.queue.enter(Mode::Ended, None);
            for membership in &std::mem::take(&mut client.memberships) {
                if let Some(room) = state.rooms.get_mut(&membership.room) {
                    room.leave(membership.key, Some(claim), now);
                    if is_concerned(membership) {
                        room.members.end_grace(claim);
                    }
                }
            }
        }
        for (name, room) in &mut state.rooms {
            room.members.end_graces(|claim| concerns(claim, name));
        }
    }
}
