//! What a client that is behind has yet to get, in the order of the ids: the one rule of streams.
//!
//! What follows a position is the lowest id above it, over all rooms of the stream: a retained entry,
//! or the notice at a room's low-water mark that entries up to there may be gone. So whoever resumes
//! at the last id that it has seen gets all that is retained after it, once and in order, and a notice
//! in the place of what is not.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter;
use std::sync::Arc;

use super::frame::Frame;
use super::history::History;
use super::id::EventId;
use crate::names::RoomName;

/// The frames that follow, of rooms with their histories and with where each begins.
pub(super) fn past<'a>(
    rooms: impl Iterator<Item = (&'a RoomName, &'a History, EventId)>,
) -> impl Iterator<Item = Arc<Frame>> {
    let (mut names, mut entries, mut next) = (Vec::new(), Vec::new(), BinaryHeap::new());
    for (place, (name, history, begin)) in rooms.enumerate() {
        let mut after = history.after(begin).peekable();
        next.extend(after.peek().map(|entry| Reverse((entry.id, place))));
        if history.mark() > begin {
            next.push(Reverse((history.mark(), place)));
        }
        names.push(name);
        entries.push(after);
    }
    iter::from_fn(move || {
        let Reverse((id, place)) = next.pop()?;
        if let Some(entry) = entries[place].next_if(|entry| entry.id == id) {
            let following = entries[place].peek();
            next.extend(following.map(|entry| Reverse((entry.id, place))));
            return Some(entry.frame.clone());
        }
        let mut gone = vec![names[place]];
        while let Some(Reverse((_, place))) = next.peek().filter(|Reverse((same, _))| *same == id) {
            gone.push(names[*place]);
            next.pop();
        }
        Some(Arc::new(Frame::missed(&gone, id)))
    })
}
