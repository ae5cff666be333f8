//! What a room still holds of what was said in it, and how positions in it are understood.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::frame::{Frame, MissedReason};
use super::id::EventId;
use super::names::IdempotencyKey;

/// How much a room holds, whichever is reached first. `usize::MAX` is no bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// The newest messages of a room, in order, each with the key that its poster gave it.
///
/// Everything after the `floor` is held. So a position is good if it is neither below the floor
/// nor beyond the newest message: whoever stands there can be given all that follows.
#[derive(Debug)]
pub(crate) struct History {
    held: VecDeque<Held>,
    by_key: HashMap<IdempotencyKey, Arc<Frame>>,
    bytes: usize,
    bounds: Bounds,
    birth: EventId,
    floor: EventId,
    untouched: bool,
}

/// A message that is held.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) id: EventId,
    pub(crate) frame: Arc<Frame>,
    pub(crate) key: Option<IdempotencyKey>,
}

/// Where in its room's stream a client asks to begin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Start {
    /// With this many messages before the present.
    Latest(usize),
    /// After this position.
    After(EventId),
    /// After a position that cannot be read.
    Unreadable(String),
}

/// Where a client's stream begins, and whether it has missed something before that.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Beginning {
    pub(crate) position: EventId,
    pub(crate) missed: Option<MissedReason>,
}

impl History {
    /// A history that begins empty at `floor`, in a life of the server that began at `birth`.
    pub(crate) fn new(bounds: Bounds, birth: EventId, floor: EventId) -> History {
        History {
            held: VecDeque::new(),
            by_key: HashMap::new(),
            bytes: 0,
            bounds,
            birth,
            floor,
            untouched: true,
        }
    }

    /// Adds the newest message, and lets go of the oldest where there are too many.
    pub(crate) fn push(&mut self, id: EventId, frame: Arc<Frame>, key: Option<IdempotencyKey>) {
        debug_assert!(id > self.newest(), "the log gives rising ids");
        self.untouched = false;
        self.bytes += frame.bytes().len();
        if let Some(key) = &key {
            self.by_key.insert(key.clone(), frame.clone());
        }
        self.held.push_back(Held { id, frame, key });
        while self.held.len() > self.bounds.messages || self.bytes > self.bounds.bytes {
            let Some(oldest) = self.held.pop_front() else {
                break;
            };
            self.bytes -= oldest.frame.bytes().len();
            self.floor = oldest.id;
            if let Some(key) = oldest.key {
                self.by_key.remove(&key);
            }
        }
    }

    /// Says that everything up to `id` is not held, as a journal that was shortened knows.
    pub(crate) fn begin_after(&mut self, id: EventId) {
        if self.held.is_empty() {
            self.floor = self.floor.max(id);
        }
    }

    /// Whether nothing was ever held.
    pub(crate) fn is_untouched(&self) -> bool {
        self.untouched
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The position up to which nothing is held.
    pub(crate) fn floor(&self) -> EventId {
        self.floor
    }

    /// The position of whoever has everything.
    pub(crate) fn newest(&self) -> EventId {
        self.held.back().map_or(self.floor, |held| held.id)
    }

    pub(crate) fn newest_held(&self) -> Option<EventId> {
        self.held.back().map(|held| held.id)
    }

    pub(crate) fn oldest(&self) -> Option<EventId> {
        self.held.front().map(|held| held.id)
    }

    pub(crate) fn by_key(&self, key: &IdempotencyKey) -> Option<&Arc<Frame>> {
        self.by_key.get(key)
    }

    /// Finds where a stream begins that is asked for at `start`.
    pub(crate) fn begin(&self, start: &Start) -> Beginning {
        let missed = match start {
            Start::Latest(count) => {
                let skipped = self.held.len().saturating_sub(*count);
                let position = if skipped == 0 {
                    self.floor
                } else {
                    self.held[skipped - 1].id
                };
                return Beginning {
                    position,
                    missed: None,
                };
            }
            Start::After(id) if (self.floor..=self.newest()).contains(id) => {
                return Beginning {
                    position: *id,
                    missed: None,
                };
            }
            Start::After(id) if *id < self.floor && *id >= self.birth => MissedReason::Expired,
            Start::After(_) | Start::Unreadable(_) => MissedReason::Unknown,
        };
        Beginning {
            position: self.floor,
            missed: Some(missed),
        }
    }

    /// What is held after a position, oldest first.
    pub(crate) fn after(
        &self,
        position: EventId,
    ) -> impl ExactSizeIterator<Item = &Held> + DoubleEndedIterator {
        self.held
            .range(self.held.partition_point(|held| held.id <= position)..)
    }

    /// The messages nearest before a position, `limit` at most, oldest first.
    pub(crate) fn before(&self, position: EventId, limit: usize) -> impl Iterator<Item = &Held> {
        let end = self.held.partition_point(|held| held.id < position);
        self.held.range(end.saturating_sub(limit)..end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::message::Message;
    use super::super::names::{MemberName, MessageText, RoomName};
    use super::*;

    const BIRTH: EventId = EventId {
        milliseconds: 100,
        sequence: 0,
    };

    fn id(n: u64) -> EventId {
        EventId {
            milliseconds: 100 + n,
            sequence: 0,
        }
    }

    fn frame(id: EventId) -> Arc<Frame> {
        Arc::new(Frame::new_message(&Message {
            id,
            room: RoomName::parse("r").expect("a room"),
            name: MemberName::parse("n").expect("a name"),
            member: true,
            text: MessageText::parse("t", 1).expect("a text"),
            sent_at: 0,
        }))
    }

    fn history(bounds: Bounds, messages: u64) -> History {
        let mut history = History::new(bounds, BIRTH, BIRTH);
        for n in 1..=messages {
            let key = IdempotencyKey::parse(&format!("k{n}")).expect("a key");
            history.push(id(n), frame(id(n)), Some(key));
        }
        history
    }

    fn ids<'a>(held: impl Iterator<Item = &'a Held>) -> Vec<EventId> {
        held.map(|held| held.id).collect()
    }

    #[test]
    fn holds_no_more_than_its_bounds() {
        let by_count = history(
            Bounds {
                messages: 3,
                bytes: usize::MAX,
            },
            10,
        );
        assert_eq!(ids(by_count.after(BIRTH)), [id(8), id(9), id(10)]);
        assert_eq!(by_count.floor(), id(7));
        assert_eq!(by_count.by_key.len(), 3);

        let one = frame(id(1)).bytes().len();
        let by_bytes = history(
            Bounds {
                messages: usize::MAX,
                bytes: one * 2 + 1,
            },
            10,
        );
        assert_eq!(ids(by_bytes.after(BIRTH)), [id(9), id(10)]);
        assert_eq!(by_bytes.bytes(), one * 2);

        let none = history(
            Bounds {
                messages: usize::MAX,
                bytes: one - 1,
            },
            2,
        );
        assert!(none.held.is_empty());
        assert_eq!(
            (none.newest(), none.oldest(), none.bytes()),
            (id(2), None, 0)
        );
    }

    #[test]
    fn a_key_is_known_as_long_as_its_message() {
        let history = history(
            Bounds {
                messages: 3,
                bytes: usize::MAX,
            },
            10,
        );
        let key = |n: u64| IdempotencyKey::parse(&format!("k{n}")).expect("a key");
        assert!(history.by_key(&key(7)).is_none());
        assert_eq!(
            history.by_key(&key(8)).and_then(|frame| frame.id()),
            Some(id(8))
        );
    }

    #[test]
    fn positions() {
        let history = history(
            Bounds {
                messages: 3,
                bytes: usize::MAX,
            },
            10,
        );
        let missed = |start| history.begin(&start).missed;
        let before_birth = EventId {
            milliseconds: 99,
            sequence: 9,
        };
        assert_eq!(
            history.begin(&Start::After(id(9))),
            Beginning {
                position: id(9),
                missed: None
            }
        );
        assert_eq!(
            missed(Start::After(id(7))),
            None,
            "the last that is gone: nothing is missed after it"
        );
        assert_eq!(missed(Start::After(id(10))), None);
        assert_eq!(missed(Start::After(id(6))), Some(MissedReason::Expired));
        assert_eq!(
            missed(Start::After(before_birth)),
            Some(MissedReason::Unknown)
        );
        assert_eq!(missed(Start::After(id(11))), Some(MissedReason::Unknown));
        assert_eq!(
            history.begin(&Start::Unreadable("x".into())),
            Beginning {
                position: id(7),
                missed: Some(MissedReason::Unknown)
            }
        );
        assert_eq!(history.begin(&Start::Latest(2)).position, id(8));
        assert_eq!(history.begin(&Start::Latest(9)).position, id(7));
        assert_eq!(history.begin(&Start::Latest(0)).position, id(10));
    }

    #[test]
    fn pages() {
        let history = history(
            Bounds {
                messages: 5,
                bytes: usize::MAX,
            },
            10,
        );
        assert_eq!(ids(history.before(id(9), 2)), [id(7), id(8)]);
        assert_eq!(ids(history.before(id(7), 9)), [id(6)]);
        assert_eq!(ids(history.before(id(1), 9)), []);
        assert_eq!(ids(history.after(id(8))), [id(9), id(10)]);
    }

    proptest! {
        /// Against a plain list of all that was ever said: whoever resumes gets all that follows
        /// its position, or is told that it does not, and never both.
        #[test]
        fn resuming_is_whole_or_says_so(bound in 1_usize..20, said in 0_u64..60, asked in 0_u64..80) {
            let history = history(Bounds { messages: bound, bytes: usize::MAX }, said);
            let Beginning { position, missed } = history.begin(&Start::After(id(asked)));
            let given = ids(history.after(position));
            let followed: Vec<EventId> = (1..=said).filter(|n| *n > asked).map(id).collect();
            let whole = asked <= said && followed.len() <= bound;
            prop_assert_eq!(missed.is_none(), whole);
            if whole {
                prop_assert_eq!(given, followed);
            } else {
                let kept = (said.saturating_sub(bound as u64) + 1..=said).map(id).collect::<Vec<_>>();
                prop_assert_eq!(given, kept);
            }
        }
    }
}
