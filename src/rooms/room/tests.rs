use std::task::{Context, Poll, Waker};

use super::*;
use crate::chat::history::Bounds;
use crate::chat::names::MessageText;
use crate::chat::queue::{CLIENT_QUEUE_FRAMES, Receiver};

fn id(n: usize) -> EventId {
    EventId {
        milliseconds: 100,
        sequence: n as u64,
    }
}

fn room() -> Room {
    let bounds = Bounds {
        messages: usize::MAX,
        bytes: usize::MAX,
    };
    Room::new(
        RoomName::parse("r").expect("a room"),
        History::new(bounds, id(0), id(0)),
        Duration::from_secs(15),
        Clock::system(),
        Arc::default(),
    )
}

fn say(room: &Room, number: usize) {
    let draft = Draft {
        name: MemberName::parse("n").expect("a name"),
        member: false,
        text: MessageText::parse("t", 1).expect("a text"),
        key: None,
    };
    let stamp = Stamp {
        id: id(number),
        sent_at: 0,
    };
    assert!(room.commit(draft, || stamp).is_ok());
}

/// The positions of what is queued, and whether the end follows.
fn drain(live: &mut Receiver) -> (Vec<EventId>, bool) {
    let mut ids = Vec::new();
    loop {
        match live.poll_recv(&Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(frame)) => ids.extend(frame.id()),
            Poll::Ready(None) => return (ids, true),
            Poll::Pending => return (ids, false),
        }
    }
}

#[test]
fn a_client_that_is_behind_when_the_room_closes_still_gets_what_is_held() {
    const BEHIND: usize = 10;
    const LAST: usize = CLIENT_QUEUE_FRAMES + BEHIND;
    let room = room();
    let Ok(mut seat) = room.join(None, &Start::Latest(0)) else {
        panic!("the room is open");
    };
    (1..=LAST).for_each(|number| say(&room, number));
    room.close();
    let queued: Vec<EventId> = (1..=CLIENT_QUEUE_FRAMES).map(id).collect();
    assert_eq!(drain(&mut seat.live), (queued, true));

    let mut rest = room
        .rejoin(seat.client, id(CLIENT_QUEUE_FRAMES))
        .expect("there is more");
    let given: Vec<EventId> = rest.backlog.iter().filter_map(|frame| frame.id()).collect();
    let held: Vec<EventId> = (CLIENT_QUEUE_FRAMES + 1..=LAST).map(id).collect();
    assert_eq!(given, held);
    assert_eq!(drain(&mut rest.live), (Vec::new(), true));
    assert!(room.rejoin(seat.client, id(LAST)).is_none());
}

#[test]
fn a_client_that_is_behind_goes_on_where_it_was() {
    let room = room();
    let Ok(mut seat) = room.join(None, &Start::Latest(0)) else {
        panic!("the room is open");
    };
    (1..=CLIENT_QUEUE_FRAMES + 1).for_each(|number| say(&room, number));
    let (queued, ended) = drain(&mut seat.live);
    assert!(ended);
    let mut again = room
        .rejoin(seat.client, *queued.last().expect("a position"))
        .expect("the room is open");
    say(&room, CLIENT_QUEUE_FRAMES + 2);
    let given: Vec<EventId> = again
        .backlog
        .iter()
        .filter_map(|frame| frame.id())
        .collect();
    assert_eq!(given, [id(CLIENT_QUEUE_FRAMES + 1)]);
    let live = drain(&mut again.live);
    assert_eq!(live, (vec![id(CLIENT_QUEUE_FRAMES + 2)], false));
}
