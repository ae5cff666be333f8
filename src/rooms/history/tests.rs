use proptest::prelude::*;

use super::*;
use crate::chat::message::Message;
use crate::chat::names::{MemberName, MessageText, RoomName};

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
