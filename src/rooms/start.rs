//! Where a stream begins: at a position that its client has, or some messages before the present.

use super::client::Backlog;
use super::frame::MissedReason;
use super::hub::{Hub, State};
use super::id::EventId;
use crate::counters::count;
use crate::names::RoomName;

/// Where a stream asks to begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    /// The last event that the client has, as it sent it.
    pub(crate) after: Option<String>,
    /// Messages of each room to begin with if there is no such event.
    pub(crate) history: usize,
    /// Rooms that did not belong to the stream before: they begin with `history` all the same.
    pub(crate) new: Vec<RoomName>,
}

impl Hub {
    /// Finds where a stream begins in each of its rooms.
    pub(super) fn backlog(&self, state: &mut State, rooms: &[RoomName], start: Start) -> Backlog {
        let now = self.clock().now();
        let newest = state.newest;
        let Start {
            after,
            history: messages,
            new,
        } = start;
        // If no room belonged to the stream before, there is nothing to resume.
        let after = after.filter(|_| rooms.iter().any(|room| !new.contains(room)));
        let asked: Option<EventId> = after.as_deref().and_then(|after| after.parse().ok());
        let known = asked.filter(|asked| self.is_known(*asked, state));
        let mut position = None;
        let mut oldest = None;
        let mut starts = Vec::with_capacity(rooms.len());
        for name in rooms {
            let history = &state.room_or_insert(name, now).history;
            if after.is_none() || new.contains(name) {
                let from = history.before_latest(messages);
                let first = history.after(from).next().map(|entry| entry.id);
                oldest = oldest.into_iter().chain(first).min();
                starts.push((from, None));
                continue;
            }
            let reason = history.missed_after(known);
            let from = match (reason, known) {
                (None, Some(known)) => known,
                _ => history.evicted_up_to(),
            };
            position = Some(position.map_or(from, |position: EventId| position.min(from)));
            starts.push((from, reason));
        }
        let resumed = starts.iter().all(|(_, reason)| reason.is_none());
        if after.is_some() && resumed {
            count(&self.counters.resumes);
        }
        let position = position.unwrap_or_else(|| begin_before(oldest, &starts, newest));
        Backlog {
            starts,
            position,
            keeps_position: after.is_some() && !new.is_empty(),
            after,
            ..Backlog::default()
        }
    }
}

/// The position before `oldest`, the first event of a stream that resumes nothing: the nearest id
/// below it that its rooms know, so that a client that is cut right there is told of no gap.
fn begin_before(
    oldest: Option<EventId>,
    starts: &[(EventId, Option<MissedReason>)],
    newest: EventId,
) -> EventId {
    let Some(oldest) = oldest else { return newest };
    let starts = starts.iter().map(|(start, _)| *start);
    starts
        .filter(|start| *start < oldest)
        .max()
        .unwrap_or(newest)
}
