use std::collections::HashSet;
use std::task::Waker;

use proptest::prelude::*;

use super::super::author::Author;
use super::super::clock::{Clock, ManualClock};
use super::super::limits::{Limits, NAME_GRACE, QUEUE_FRAMES};
use super::super::message::{Draft, RemovedBy};
use super::*;
use crate::names::{MemberName, MessageText};

fn room(n: usize) -> RoomName {
    RoomName::parse(&format!("r{n}")).expect("a room")
}

fn hub(history: usize) -> Arc<Hub> {
    hub_by(&ManualClock::at(1_000), history)
}

fn hub_by(clock: &ManualClock, history: usize) -> Arc<Hub> {
    let limits = Limits {
        history,
        history_bytes: usize::MAX,
        history_age: None,
        rooms: usize::MAX,
        permanent_rooms: Vec::new(),
        room_ttl: None,
        heartbeat: None,
    };
    let clock: Clock = clock.clone().into();
    Arc::new(Hub::new(limits, clock, Arc::default(), false))
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
        member: false,
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

fn messages(frames: &[Arc<Frame>]) -> Vec<EventId> {
    let messages = frames.iter().filter(|frame| frame.event() == "new-message");
    messages.filter_map(|frame| frame.id()).collect()
}

fn text(frames: &[Arc<Frame>]) -> String {
    let bytes = frames.iter().flat_map(|frame| frame.bytes().to_vec());
    String::from_utf8(bytes.collect()).expect("UTF-8")
}

#[test]
fn a_client_gets_what_is_queued_when_the_chat_closes_and_a_goodbye() {
    let hub = hub(usize::MAX);
    let mut stream = listen(&hub, &[room(0)], Start::Latest(0));
    let said: Vec<EventId> = (0..QUEUE_FRAMES * 2).map(|_| say(&hub, &room(0))).collect();
    hub.close();
    let (frames, ended) = take(&mut stream);
    let given = messages(&frames);
    assert!(ended && !given.is_empty() && said.starts_with(&given));
    let goodbyes = frames.iter().filter(|f| f.event() == "server-closing");
    assert_eq!(goodbyes.count(), 1);
    assert_eq!(frames.last().map(|f| f.event()), Some("server-closing"));
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
    let live = say(&hub, &room(1));
    assert_eq!(messages(&take(&mut stream).0), [live]);
}

#[test]
fn a_gap_is_told_in_the_room_that_has_it_and_nowhere_else() {
    let hub = hub(10);
    let mut stream = listen(&hub, &[room(0), room(1)], Start::Latest(0));
    take(&mut stream);
    let quiet = say(&hub, &room(1));
    for _ in 0..QUEUE_FRAMES + 50 {
        say(&hub, &room(0));
    }
    let (frames, _) = take(&mut stream);
    let missed: Vec<_> = frames
        .iter()
        .filter(|f| f.event() == "messages-missed")
        .collect();
    assert_eq!(missed.len(), 1);
    let data = String::from_utf8_lossy(&missed[0].data()).into_owned();
    assert!(
        data.contains("\"room\":\"r0\",\"reason\":\"expired\""),
        "{data}"
    );
    let given = messages(&frames);
    assert!(given.contains(&quiet));
    assert!(given.is_sorted());
    assert_eq!(given.iter().collect::<HashSet<_>>().len(), given.len());
    assert_eq!(given.last(), Some(&hub.newest()));
}

/// The past of a room up to the position of a greeting, as a client reads it that adds the room.
fn past(hub: &Hub, room: &RoomName, position: EventId) -> Vec<EventId> {
    let above = EventId {
        sequence: position.sequence + 1,
        ..position
    };
    let page = hub.page(room, None, Some(above), usize::MAX);
    messages(&page.messages)
}

#[test]
fn a_room_that_is_added_has_its_past_in_the_history_and_the_rest_in_the_stream() {
    let hub = hub(usize::MAX);
    let before: Vec<EventId> = (0..4).map(|n| say(&hub, &room(n % 2))).collect();
    let position = before[2];
    let after = say(&hub, &room(1));
    let start = Start::After(Some(position));
    let mut stream = listen(&hub, &[room(0), room(1)], start);
    let (frames, _) = take(&mut stream);
    assert_eq!(messages(&frames), [before[3], after]);
    assert_eq!(past(&hub, &room(1), position), [before[1]]);
    // A greeting says where the stream begins.
    let text = text(&frames);
    let greeting =
        format!("id: {position}\nevent: chat-room-connected\ndata: {{\"eventId\":\"{position}\"");
    assert_eq!(text.matches(&greeting).count(), 2, "{text}");
}

#[test]
fn whoever_has_everything_is_told_a_position_that_says_so() {
    let hub = hub(usize::MAX);
    say(&hub, &room(0));
    let newest = say(&hub, &room(1));
    let start = Start::Latest(1);
    let mut stream = listen(&hub, &[room(0)], start);
    let (frames, _) = take(&mut stream);
    let last = frames.last().expect("an event");
    assert_eq!((last.event(), last.id()), ("heartbeat", Some(newest)));
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

#[test]
fn positions_of_a_previous_run_are_unknown_even_if_the_clock_was_set_back() {
    let position = say(&hub(9), &room(0));
    let hub = hub(9);
    for _ in 0..5 {
        say(&hub, &room(0));
    }
    let start = Start::After(Some(position));
    let mut stream = listen(&hub, &[room(0)], start);
    let (frames, _) = take(&mut stream);
    assert!(text(&frames).contains("\"reason\":\"unknown\""));
    assert_eq!(messages(&frames).len(), 5);
}

#[derive(Clone, Debug)]
enum Step {
    Say(usize),
    Remove(usize),
    /// Lets a client take some frames.
    Take(usize, usize),
    /// Cuts a client, which resumes from the last `id:` line it saw.
    Cut(usize),
    /// Cuts a client, which comes back with one room more and reads its past.
    Add(usize, usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_usize..4).prop_map(Step::Say),
        1 => (0_usize..99).prop_map(Step::Remove),
        4 => (0_usize..3, 1_usize..60).prop_map(|(client, count)| Step::Take(client, count)),
        1 => (0_usize..3).prop_map(Step::Cut),
        1 => (0_usize..3, 0_usize..4, 0_usize..9).prop_map(|(client, room, count)| Step::Add(client, room, count)),
    ]
}

/// A client over several connections: what it has seen, as a browser's page keeps it.
struct Client {
    rooms: Vec<RoomName>,
    stream: Stream,
    seen: Vec<EventId>,
    last_id: Option<String>,
    gaps: usize,
}

impl Client {
    fn take(&mut self, mut count: usize) {
        while count > 0
            && let Poll::Ready(Some(frame)) =
                self.stream.poll_next(&Context::from_waker(Waker::noop()))
        {
            count -= 1;
            let text = String::from_utf8_lossy(frame.bytes()).into_owned();
            if let Some(id) = text.lines().find_map(|line| line.strip_prefix("id: ")) {
                self.last_id = Some(id.to_owned());
            }
            match frame.event() {
                "new-message" | "message-removed" => self.seen.extend(frame.id()),
                "messages-missed" => self.gaps += 1,
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Clients of several rooms that are slow, are cut, and add rooms: each sees every entry of its
    /// rooms once, by rising ids within a connection, as long as the histories reach back.
    #[test]
    fn nothing_is_lost_and_nothing_comes_twice(steps in prop::collection::vec(step(), 1..400)) {
        let hub = hub(usize::MAX);
        let all = Start::Latest(usize::MAX);
        let mut said: Vec<(RoomName, EventId, bool)> = Vec::new();
        let mut clients: Vec<Client> = (0..3)
            .map(|n| {
                let rooms: Vec<RoomName> = (0..=n).map(room).collect();
                Client { stream: listen(&hub, &rooms, all), rooms, seen: Vec::new(), last_id: None, gaps: 0 }
            })
            .collect();
        for step in steps {
            match step {
                Step::Say(n) => said.push((room(n), say(&hub, &room(n)), true)),
                Step::Remove(n) => {
                    if said.is_empty() { continue }
                    let (room, message, is_message) = said[n % said.len()].clone();
                    if !is_message { continue }
                    let draft = Draft::Removal { removed: message, by: RemovedBy::Author };
                    if matches!(hub.commit(&room, draft), Ok(super::super::entries::Committed::New(_))) {
                        said.push((room, hub.newest(), false));
                    }
                }
                Step::Take(client, count) => clients[client].take(count),
                Step::Cut(client) => {
                    let client = &mut clients[client];
                    let start = client.last_id.as_ref().map_or(all, |last| Start::After(last.parse().ok()));
                    client.stream = listen(&hub, &client.rooms, start);
                }
                Step::Add(client, n, count) => {
                    let client = &mut clients[client];
                    let Some(last) = client.last_id.clone() else { continue };
                    if client.rooms.contains(&room(n)) { continue }
                    client.rooms.push(room(n));
                    let start = Start::After(last.parse().ok());
                    client.stream = listen(&hub, &client.rooms, start);
                    // Whatever comes by the stream meanwhile.
                    client.take(count);
                    let position: EventId = last.parse().expect("an id");
                    client.seen.extend(past(&hub, &room(n), position));
                }
            }
        }
        for client in &mut clients {
            client.take(usize::MAX);
            let seen: HashSet<EventId> = client.seen.iter().copied().collect();
            prop_assert_eq!(seen.len(), client.seen.len(), "twice");
            prop_assert_eq!(client.gaps, 0);
            for (room, id, is_message) in &said {
                if !client.rooms.contains(room) {
                    prop_assert!(!seen.contains(id), "not its room");
                } else if *is_message {
                    // Who had a message learns of its removal; it may have been removed before.
                    let fate = hub.fate_of(room, *id).expect("all is retained");
                    let removal = fate.removes.map(|_| fate.id);
                    match removal {
                        Some(removal) if seen.contains(id) => prop_assert!(seen.contains(&removal)),
                        Some(_) => {}
                        None => prop_assert!(seen.contains(id), "lost {}", id),
                    }
                }
            }
        }
    }
}

mod expelling;
mod limits;
mod positions;

mod epochs;
