use proptest::prelude::*;

use super::super::message::{Draft, RemovedBy};
use super::*;
use crate::names::{MemberName, MessageText, RoomName};

const START: EventId = EventId {
    milliseconds: 100,
    sequence: 0,
};

fn id(n: u64) -> EventId {
    EventId {
        milliseconds: 100 + n,
        sequence: 0,
    }
}

fn key(n: u64) -> IdempotencyKey {
    IdempotencyKey::parse(&format!("k{n}")).expect("a key")
}

fn room() -> RoomName {
    RoomName::parse("r").expect("a room")
}

fn message(n: u64, key: Option<IdempotencyKey>) -> Entry {
    let draft = Draft::Message {
        name: MemberName::parse("n").expect("a name"),
        author: None,
        member: Some(true),
        text: MessageText::parse("t", 1).expect("a text"),
        key,
    };
    draft.into_entry(&room(), id(n), id(n).milliseconds)
}

/// A message whose time is not that of its id, as after the clock went back.
fn sent_at(n: u64, time: u64) -> Entry {
    Entry {
        sent_at: id(time).milliseconds,
        ..message(n, None)
    }
}

fn removal(n: u64, of: u64) -> Entry {
    let draft = Draft::Removal {
        removed: id(of),
        by: RemovedBy::Author,
    };
    draft.into_entry(&room(), id(n), id(n).milliseconds)
}

fn limits(history: usize, history_bytes: usize) -> Options {
    Options {
        history,
        history_bytes,
        ..Options::default()
    }
}

fn history(limits: &Options, messages: u64) -> History {
    let mut history = History::new(START);
    for n in 1..=messages {
        history.push(message(n, Some(key(n))), limits);
    }
    history
}

fn retained(history: &History) -> Vec<EventId> {
    history.after(START).map(|entry| entry.id).collect()
}

#[test]
fn retains_no_more_than_its_limits() {
    let by_count = history(&limits(3, usize::MAX), 10);
    assert_eq!(retained(&by_count), [id(8), id(9), id(10)]);
    assert_eq!(by_count.mark(), id(7));
    assert_eq!(by_count.by_key.len(), 3);

    let bytes = |n| message(n, Some(key(n))).bytes();
    let by_bytes = history(&limits(usize::MAX, bytes(9) + bytes(10)), 10);
    assert_eq!(retained(&by_bytes), [id(9), id(10)]);
    assert_eq!(by_bytes.bytes(), bytes(9) + bytes(10));

    let none = history(&limits(usize::MAX, bytes(2) - 1), 2);
    assert!(none.entries.is_empty());
    assert_eq!(
        (none.newest(), none.latest(1), none.bytes()),
        (id(2), None, 0)
    );
}

#[test]
fn evicts_by_age() {
    let mut history = history(&limits(9, usize::MAX), 5);
    let mut evict = |n: u64| history.evict_before(id(n).milliseconds, id(9).milliseconds);
    assert_eq!([1, 3, 3].map(&mut evict), [false, true, false]);
    assert_eq!(retained(&history), [id(3), id(4), id(5)]);
    assert_eq!(history.mark(), id(2));
}

/// `(sent at)` of messages in order, what is evicted of them before 50 when it is 60.
#[test]
fn a_clock_that_was_wrong_neither_keeps_nor_evicts_what_it_did_not_date() {
    for (times, gone) in [
        (&[10, 900, 20, 55][..], 3),
        (&[900, 20, 901, 55], 2),
        (&[10, 20, 900], 2),
        (&[900, 55], 0),
        (&[55, 10, 58], 0),
        (&[10, 20], 2),
        (&[], 0),
    ] {
        let mut history = History::new(START);
        for (n, time) in (1_000..).zip(times) {
            history.push(sent_at(n, *time), &limits(9, usize::MAX));
        }
        let evicted = history.evict_before(id(50).milliseconds, id(60).milliseconds);
        assert_eq!(retained(&history).len(), times.len() - gone, "{times:?}");
        assert_eq!(evicted, gone > 0, "{times:?}");
    }
}

#[test]
fn a_key_is_known_as_long_as_its_message() {
    let history = history(&limits(3, usize::MAX), 10);
    assert!(history.by_key(&key(7)).is_none());
    assert_eq!(history.by_key(&key(8)).map(|entry| entry.id), Some(id(8)));
}

/// As after a restart with larger limits, where an evicted message comes back before its repeat.
#[test]
fn evicting_a_message_forgets_no_other_messages_key() {
    let mut history = History::new(START);
    let limits = limits(2, usize::MAX);
    history.push(message(1, Some(key(1))), &limits);
    history.push(message(2, Some(key(1))), &limits);
    history.push(message(3, None), &limits);
    assert_eq!(retained(&history), [id(2), id(3)]);
    assert_eq!(history.by_key(&key(1)).map(|entry| entry.id), Some(id(2)));
}

#[test]
fn a_removal_takes_the_place_and_the_key_of_its_message() {
    let limits = limits(4, usize::MAX);
    let mut history = history(&limits, 3);
    history.push(removal(4, 2), &limits);
    assert_eq!(retained(&history), [id(1), id(3), id(4)]);
    let by_key = history.by_key(&key(2)).expect("the key is known");
    assert_eq!((by_key.id, by_key.removes), (id(4), Some(id(2))));
    assert_eq!(history.fate_of(id(2)).map(|entry| entry.id), Some(id(4)));
    assert_eq!(history.fate_of(id(3)).map(|entry| entry.id), Some(id(3)));
    assert!(history.fate_of(id(4)).is_none(), "a removal is no message");
    assert!(history.fate_of(id(9)).is_none());
    let bytes: usize = history.after(START).map(Entry::bytes).sum();
    assert_eq!(history.bytes(), bytes);
    // Not counted as a message to begin with.
    assert_eq!(history.latest(2), Some(id(1)));
    for n in 5..=8 {
        history.push(message(n, None), &limits);
    }
    assert!(
        history.by_key(&key(2)).is_none(),
        "evicted with the removal"
    );
    assert!(history.fate_of(id(2)).is_none());
}

#[test]
fn positions() {
    let history = history(&limits(3, usize::MAX), 10);
    assert_eq!(history.mark(), id(7));
    assert_eq!(history.latest(2), Some(id(9)));
    assert_eq!(history.latest(9), Some(id(8)));
    assert_eq!(history.latest(0), None);
}

#[test]
fn pages() {
    let history = history(&limits(5, usize::MAX), 10);
    let before = |n, limit| -> Vec<EventId> {
        let messages = history.messages_before(id(n)).take(limit);
        messages.map(|entry| entry.id).collect()
    };
    assert_eq!(before(9, 2), [id(8), id(7)]);
    assert_eq!(before(7, 9), [id(6)]);
    assert_eq!(before(1, 9), []);
}

#[test]
fn the_newest_message_is_known_whatever_is_removed_and_evicted() {
    let limits = limits(3, usize::MAX);
    let mut history = history(&limits, 3);
    for (removes, newest) in [(3, Some(id(2))), (1, Some(id(2))), (2, None)] {
        let n = 3 + history.after(START).filter(|e| e.removes.is_some()).count() as u64 + 1;
        history.push(removal(n, removes), &limits);
        assert_eq!(history.newest_message(), newest, "{removes}");
    }
    history.push(message(7, None), &limits);
    assert_eq!(history.newest_message(), Some(id(7)));
    history.evict_before(id(8).milliseconds, id(9).milliseconds);
    assert_eq!(history.newest_message(), None);
}

proptest! {
    /// Against a plain list of everything that was said: a client that resumes gets all that
    /// follows its position, or is told that it does not, and never both.
    #[test]
    fn resuming_is_whole_or_says_so(bound in 1_usize..20, said in 0_u64..60, asked in 0_u64..80) {
        let history = history(&limits(bound, usize::MAX), said);
        let missed = id(asked) > history.newest() || id(asked) < history.mark();
        let from = if missed { history.mark() } else { id(asked) };
        let given: Vec<EventId> = history.after(from).map(|entry| entry.id).collect();
        let followed: Vec<EventId> = (1..=said).filter(|n| *n > asked).map(id).collect();
        let whole = asked <= said && followed.len() <= bound;
        prop_assert_eq!(!missed, whole);
        if whole {
            prop_assert_eq!(given, followed);
        } else {
            let kept = (said.saturating_sub(bound as u64) + 1..=said).map(id).collect::<Vec<_>>();
            prop_assert_eq!(given, kept);
        }
    }
}
