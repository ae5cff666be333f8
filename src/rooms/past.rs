//! What a client that is behind has yet to get, in the order of the ids: the one rule of streams.
//!
//! What follows a position is the lowest id above it, over all rooms of the stream: a retained entry,
//! or the notice at a room's low-water mark that entries up to there may be gone. So whoever resumes
//! at the last id that it has seen gets all that is retained after it, once and in order, and a notice
//! in the place of what is not. A mark is the id of an entry that is gone, or of none: no retained
//! entry has it.

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
    for (n, (name, history, begin)) in rooms.enumerate() {
        let mut after = history.after(begin).peekable();
        next.extend(
            after
                .peek()
                .map(|entry| Reverse((entry.id, Next::Entry, n))),
        );
        if history.mark() > begin {
            next.push(Reverse((history.mark(), Next::Mark, n)));
        }
        names.push(name);
        entries.push(after);
    }
    iter::from_fn(move || match next.pop()? {
        Reverse((_, Next::Entry, n)) => {
            let entry = entries[n].next()?;
            let following = entries[n].peek();
            next.extend(following.map(|entry| Reverse((entry.id, Next::Entry, n))));
            Some(entry.frame.clone())
        }
        Reverse((mark, Next::Mark, n)) => {
            // One frame for all rooms that share the mark.
            let mut gone = vec![names[n]];
            while let Some(Reverse((id, Next::Mark, n))) = next.peek()
                && *id == mark
            {
                gone.push(names[*n]);
                next.pop();
            }
            Some(Arc::new(Frame::missed(&gone, mark)))
        }
    })
}

/// What comes next in a room.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
enum Next {
    Mark,
    Entry,
}

#[cfg(test)]
mod tests {
    use super::super::message::{Draft, RemovedBy};
    use super::*;
    use crate::options::Options;

    fn id(milliseconds: u64) -> EventId {
        EventId {
            milliseconds,
            sequence: 0,
        }
    }

    /// Not to be expected, but then a room must not lose what follows.
    #[test]
    fn a_mark_with_the_id_of_an_entry_elsewhere_takes_nothing_with_it() {
        let names = ["a", "b"].map(|name| RoomName::parse(name).expect("a room"));
        let mut history = History::new(id(1));
        for n in 10..13 {
            let draft = Draft::Removal {
                removed: id(2),
                by: RemovedBy::Author,
            };
            let entry = draft.into_entry(&names[1], id(n), n);
            history.push(entry, &Options::default());
        }
        let marked = History::new(id(10));
        let rooms = [(&names[0], &marked, id(5)), (&names[1], &history, id(5))];
        let mut reversed = rooms;
        reversed.reverse();
        for rooms in [rooms, reversed] {
            let frames: Vec<_> = past(rooms.into_iter()).collect();
            let ids: Vec<_> = frames.iter().filter_map(|frame| frame.id()).collect();
            assert_eq!(ids, [10, 10, 11, 12].map(id));
        }
    }
}
