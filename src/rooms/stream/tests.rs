use std::task::Waker;
use std::time::Duration;

use super::super::entries::{Loaded, PageAt};
use super::super::frame::Event;
use super::super::limits::{NAME_GRACE, QUEUE_FRAMES};
use super::super::message::{Draft, Entry};
use super::*;
use crate::author::Author;
use crate::clock::ManualClock;
use crate::names::{MemberName, MessageText};
use crate::options::Options;

fn room(n: usize) -> RoomName {
    RoomName::parse(&format!("r{n}")).expect("a room")
}

fn hub(history: usize) -> Arc<Hub> {
    hub_by(&ManualClock::at(1_000), history)
}

fn hub_by(clock: &ManualClock, history: usize) -> Arc<Hub> {
    hub_with(Options {
        history,
        clock: clock.clone().into(),
        ..options()
    })
}

fn options() -> Options {
    Options {
        history_bytes: usize::MAX,
        max_rooms: usize::MAX,
        room_ttl: None,
        heartbeat: None,
        clock: ManualClock::at(1_000).into(),
        ..Options::default()
    }
}

fn hub_with(options: Options) -> Arc<Hub> {
    Arc::new(Hub::new(Arc::new(options)))
}

fn claim(name: &str, author: u64) -> Claim {
    Claim {
        name: MemberName::parse(name).expect("a name"),
        author: Author(author),
        address: None,
    }
}

fn draft() -> Draft {
    Draft::Message {
        name: MemberName::parse("n").expect("a name"),
        author: None,
        member: Some(false),
        text: MessageText::parse("t", 1).expect("a text"),
        key: None,
    }
}

fn say(hub: &Hub, room: &RoomName) -> EventId {
    assert!(hub.commit(room, draft()).is_ok());
    hub.newest()
}

fn listen(hub: &Arc<Hub>, rooms: &[RoomName], start: Start) -> Stream {
    let stream = hub.subscribe(rooms, None, None, start);
    stream.unwrap_or_else(|refusal| panic!("{refusal}"))
}

/// What is there to be taken: the frames, and whether the end follows.
fn take(stream: &mut Stream) -> (Vec<Arc<Frame>>, bool) {
    let mut frames = Vec::new();
    loop {
        match stream.poll_next(&Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(frame)) => frames.push(frame),
            Poll::Ready(None) => return (frames, true),
            Poll::Pending => return (frames, false),
        }
    }
}

fn of_kind(frames: &[Arc<Frame>], kind: Event) -> Vec<&Arc<Frame>> {
    frames
        .iter()
        .filter(|frame| frame.event() == kind)
        .collect()
}

fn messages(frames: &[Arc<Frame>]) -> Vec<EventId> {
    let messages = of_kind(frames, Event::Message);
    messages
        .into_iter()
        .filter_map(|frame| frame.id())
        .collect()
}

/// The `Last-Event-ID` of a client that has these frames.
fn last_id(frames: &[Arc<Frame>]) -> EventId {
    let ids = frames.iter().rev();
    ids.filter_map(|frame| frame.id()).next().expect("an id")
}

fn text(frames: &[Arc<Frame>]) -> String {
    let bytes = frames.iter().flat_map(|frame| frame.bytes().to_vec());
    String::from_utf8(bytes.collect()).expect("UTF-8")
}

fn kinds(frames: &[Arc<Frame>]) -> Vec<Event> {
    frames.iter().map(|frame| frame.event()).collect()
}

#[test]
fn a_stream_is_greetings_then_the_past_then_rosters_and_then_live() {
    use Event::{CaughtUp, Connected, Members, Message};
    let hub = hub(usize::MAX);
    let rooms = [room(1), room(0)];
    let said = [say(&hub, &room(0)), say(&hub, &room(1))];
    let mut stream = listen(&hub, &rooms, Start::Latest(50));
    let (frames, _) = take(&mut stream);
    assert_eq!(
        kinds(&frames),
        [
            Connected, Connected, Message, Message, Members, Members, CaughtUp
        ]
    );
    assert_eq!(messages(&frames), said);
    assert!(String::from_utf8_lossy(&frames[0].data()).contains(r#""room":"r1""#));
    assert_eq!(frames[6].id(), Some(said[1]));
    let live = say(&hub, &room(1));
    let (frames, _) = take(&mut stream);
    assert_eq!((messages(&frames), frames.len()), (vec![live], 1));
}

#[test]
fn everything_that_is_retained_comes_before_the_goodbye() {
    let hub = hub(usize::MAX);
    let mut stream = listen(&hub, &[room(0)], Start::Latest(0));
    take(&mut stream);
    let said: Vec<EventId> = (0..QUEUE_FRAMES * 2).map(|_| say(&hub, &room(0))).collect();
    hub.close();
    let (frames, ended) = take(&mut stream);
    assert_eq!((messages(&frames), ended), (said, true));
    assert_eq!(of_kind(&frames, Event::Closing).len(), 1);
    assert_eq!(frames.last().map(|f| f.event()), Some(Event::Closing));
    assert!(of_kind(&frames, Event::Members).is_empty());
}

#[test]
fn a_client_that_is_behind_goes_on_where_it_was() {
    let hub = hub(usize::MAX);
    let mut stream = listen(&hub, &[room(0), room(1)], Start::Latest(0));
    let said: Vec<EventId> = (0..QUEUE_FRAMES * 3)
        .map(|n| say(&hub, &room(n % 2)))
        .collect();
    let (frames, ended) = take(&mut stream);
    assert_eq!((messages(&frames), ended), (said, false));
    let last = frames.last().expect("an event");
    assert_eq!(
        (last.event(), last.id()),
        (Event::CaughtUp, Some(hub.newest()))
    );
    let live = say(&hub, &room(1));
    assert_eq!(messages(&take(&mut stream).0), [live]);
}

#[test]
fn a_roster_that_changed_unseen_is_given_before_the_client_is_live() {
    let hub = hub(usize::MAX);
    let mut stream = listen(&hub, &[room(0), room(1)], Start::Latest(0));
    take(&mut stream);
    (0..=QUEUE_FRAMES).for_each(|_| _ = say(&hub, &room(0)));
    let _member = hub.subscribe(&[room(1)], Some(claim("ann", 1)), None, Start::Latest(0));
    hub.tick();
    let (frames, _) = take(&mut stream);
    let rosters = text(&frames);
    assert!(
        rosters.contains(r#""room":"r1","joined":[],"left":[],"#),
        "{rosters}"
    );
    assert!(rosters.contains(r#""members":["ann"]"#), "{rosters}");
}

#[test]
fn a_gap_is_told_in_its_place_and_in_the_room_that_has_it_and_nowhere_else() {
    let hub = hub(10);
    let mut stream = listen(&hub, &[room(0), room(1)], Start::Latest(0));
    take(&mut stream);
    let quiet = say(&hub, &room(1));
    let said: Vec<EventId> = (0..QUEUE_FRAMES + 50)
        .map(|_| say(&hub, &room(0)))
        .collect();
    let (frames, _) = take(&mut stream);
    let missed = of_kind(&frames, Event::Missed);
    let mark = said[said.len() - 11];
    let expected = format!(
        "id: {mark}\nevent: messages-missed\ndata: {{\"eventId\":\"{mark}\",\"room\":\"r0\"}}\n\n"
    );
    assert_eq!(missed.len(), 1);
    assert_eq!(missed[0].bytes(), expected.as_bytes());
    assert!(messages(&frames).contains(&quiet));
    let ids: Vec<EventId> = frames.iter().filter_map(|frame| frame.id()).collect();
    assert!(ids[..ids.len() - 1].is_sorted_by(|a, b| a < b), "{ids:?}");
    assert_eq!(last_id(&frames), hub.newest());
}

#[test]
fn rooms_that_share_a_mark_are_told_in_one_piece() {
    let hub = hub(9);
    let start = Start::After(EventId::ZERO);
    let mut stream = listen(&hub, &[room(0), room(1), room(2)], start);
    let (frames, _) = take(&mut stream);
    let missed = of_kind(&frames, Event::Missed);
    assert_eq!(missed.len(), 1);
    let text = text(&frames);
    assert_eq!(text.matches("event: messages-missed").count(), 3);
    let order: Vec<usize> = (0..3)
        .filter_map(|n| text.rfind(&format!(r#","room":"r{n}"}}"#)))
        .collect();
    assert!(order.len() == 3 && order.is_sorted(), "{text}");
    assert_eq!(
        text.matches("\nid: ").count(),
        2,
        "one for the mark, one for the end: {text}"
    );
}

#[test]
fn positions_of_a_previous_run_are_before_everything_even_if_the_clock_was_set_back() {
    let position = say(&hub(9), &room(0));
    let hub = hub(9);
    let said: Vec<EventId> = (0..5).map(|_| say(&hub, &room(0))).collect();
    let mut stream = listen(&hub, &[room(0)], Start::After(position));
    let (frames, _) = take(&mut stream);
    assert_eq!(of_kind(&frames, Event::Missed).len(), 1);
    assert_eq!(messages(&frames), said);
}

#[test]
fn a_position_in_the_future_is_before_everything() {
    let hub = hub(9);
    let said = say(&hub, &room(0));
    let mut stream = listen(&hub, &[room(0)], Start::After(EventId::MAX));
    let (frames, _) = take(&mut stream);
    assert_eq!(of_kind(&frames, Event::Missed).len(), 1);
    assert_eq!(messages(&frames), [said]);
}

#[test]
fn a_fresh_stream_is_told_of_nothing_that_was_evicted_before() {
    let hub = hub(3);
    (0..9).for_each(|_| _ = say(&hub, &room(0)));
    for history in [0, 1, 3, 50] {
        let mut stream = listen(&hub, &[room(0), room(1)], Start::Latest(history));
        let (frames, _) = take(&mut stream);
        assert!(
            of_kind(&frames, Event::Missed).is_empty(),
            "{}",
            text(&frames)
        );
        assert_eq!(messages(&frames).len(), history.min(3));
        let start = Start::After(last_id(&frames));
        let (frames, _) = take(&mut listen(&hub, &[room(0), room(1)], start));
        assert!(
            of_kind(&frames, Event::Missed).is_empty(),
            "{}",
            text(&frames)
        );
    }
}

#[test]
fn a_forgotten_room_tells_its_mark_when_it_is_there_again() {
    let clock = ManualClock::at(1_000);
    let hub = hub_with(Options {
        history: 9,
        room_ttl: Some(Duration::from_secs(60)),
        clock: clock.clone().into(),
        ..options()
    });
    let before = say(&hub, &room(0));
    let forgotten = say(&hub, &room(1));
    let _here = listen(&hub, &[room(0)], Start::Latest(0));
    clock.advance(Duration::from_secs(61));
    assert!(hub.tick());
    for (after, expected) in [(before, vec![forgotten]), (forgotten, vec![])] {
        let (frames, _) = take(&mut listen(&hub, &[room(1)], Start::After(after)));
        let missed = of_kind(&frames, Event::Missed);
        let marks: Vec<_> = missed.iter().filter_map(|frame| frame.id()).collect();
        assert_eq!(marks, expected);
    }
}

#[test]
fn a_name_that_is_taken_in_one_room_is_refused_in_all() {
    let hub = hub(9);
    let join = |session, rooms: &[RoomName]| {
        let claim = claim("alice", session);
        hub.subscribe(rooms, Some(claim), None, Start::Latest(0))
    };
    let _first = join(1, &[room(1)]).unwrap_or_else(|refusal| panic!("{refusal}"));
    let refused = join(2, &[room(0), room(1), room(2)]).err();
    assert_eq!(refused, Some(Refusal::NameTaken { room: room(1) }));
    assert_eq!(hub.summaries(&[]).len(), 1, "no room was left behind");
    assert!(join(2, &[room(0), room(2)]).is_ok());
}

/// The client takes its time to see the end. Meanwhile the ban is lifted.
#[test]
fn a_stream_that_was_ended_takes_nothing_from_a_later_one() {
    let clock = ManualClock::at(1_000);
    let hub = hub_by(&clock, 9);
    let join = |rooms: &[RoomName]| {
        let joined = hub.subscribe(rooms, Some(claim("eve", 1)), None, Start::Latest(0));
        joined.unwrap_or_else(|refusal| panic!("{refusal}"))
    };
    let census = |n| hub.members(&room(n)).1;
    let mut banned = join(&[room(0), room(1)]);
    hub.expel(|_, room| *room == self::room(0));
    assert_eq!(census(0).members, 0);
    assert_eq!(census(1).members, 1, "its grace goes on");
    let mut back = join(&[room(0)]);
    assert!(take(&mut banned).1, "it has ended");
    drop(banned);
    clock.advance(NAME_GRACE);
    assert_eq!((census(0).members, census(1).members), (1, 0));
    assert!(!take(&mut back).1);
}

mod epochs;
mod expelling;
mod limits;
mod walk;
