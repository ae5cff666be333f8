//! Who is in the rooms: the part of the hub that names and sessions are about.

use super::author::Author;
use super::client::Membership;
use super::frame::Census;
use super::hub::Hub;
use super::id::EventId;
use super::members::Claim;
use crate::names::{MemberName, RoomName};
use crate::refusal::Refusal;

/// A room in numbers.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) room: RoomName,
    pub(crate) census: Census,
    pub(crate) newest: Option<EventId>,
    pub(crate) history_bytes: usize,
}

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
        let members = state.rooms.get_mut(room).map(|room| {
            room.members.expire(now);
            &room.members
        });
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

    /// Whether an author has a name in a room.
    pub(crate) fn includes(&self, room: &RoomName, author: Author) -> bool {
        let state = self.lock();
        let room = state.rooms.get(room);
        room.is_some_and(|room| room.members.includes(author))
    }

    /// All names in a room, sorted, and how many are in it.
    pub(crate) fn members(&self, room: &RoomName) -> (Vec<MemberName>, Census) {
        let now = self.clock().now();
        match self.lock().rooms.get_mut(room) {
            None => (Vec::new(), Census::default()),
            Some(room) => {
                room.members.expire(now);
                let names = room.members.names().cloned().collect();
                (names, room.members.census())
            }
        }
    }

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

    /// Ends the named streams that `concerns` picks by their claim and one of their rooms, and frees
    /// their names in those rooms at once. They leave all of their rooms now: until the client has
    /// taken what is queued, its session may have come back.
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
            client.queue.end(None);
            for membership in &std::mem::take(&mut client.memberships) {
                if let Some(room) = state.rooms.get_mut(&membership.room) {
                    room.leave(membership.place, Some(claim), now);
                    if is_concerned(membership) {
                        room.members.end_grace(claim);
                    }
                }
            }
        }
    }
}
