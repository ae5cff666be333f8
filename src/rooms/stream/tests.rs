use std::collections::HashSet;
use std::task::Waker;

use proptest::prelude::*;

use super::super::author::Author;
use super::super::clock::ManualClock;
use super::super::limits::{NAME_GRACE, QUEUE_FRAMES};
use super::super::message::{Draft, RemovedBy};
use super::*;
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
    Arc::new(Hub::new(Arc::new(options), Arc::default()))
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
fn a_client_that_is_behind_when_the_chat_closes_still_gets_what_is_retained() {
    let hub = hub(usize::MAX);
    let mut stream = listen(&hub, &[room(0)], Start::default());
    let said: Vec<EventId> = (0..QUEUE_FRAMES * 2 + 9)
        .map(|_| say(&hub, &room(0)))
        .collect();
    hub.close();
    let (frames, ended) = take(&mut stream);
    assert_eq!((messages(&frames), ended), (said, true));
    let goodbyes = frames.iter().filter(|f| f.event() == "server-closing");
    assert_eq!(goodbyes.count(), 1);
    assert_eq!(frames.last().map(|f| f.event()), Some("server-closing"));
}

#[test]
fn a_client_that_is_behind_goes_on_where_it_was() {
    let hub = hub(usize::MAX);
    let mut stream = listen(&hub, &[room(0), room(1)], Start::default());
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
    let mut stream = listen(&hub, &[room(0), room(1)], Start::default());
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

#[test]
fn rooms_that_are_new_begin_with_their_history_and_move_nothing() {
    let hub = hub(usize::MAX);
    let before: Vec<EventId> = (0..4).map(|n| say(&hub, &room(n % 2))).collect();
    let position = before[2];
    let after = say(&hub, &room(1));
    let start = || Start {
        after: Some(position.to_string()),
        history: 9,
        new: vec![room(1)],
    };
    let mut stream = listen(&hub, &[room(0), room(1)], start());
    let (frames, _) = take(&mut stream);
    // Room 0 goes on behind the position; room 1 begins with all that it has.
    assert_eq!(messages(&frames), [before[1], before[3], after]);
    let text = text(&frames);
    assert!(!text.contains(&format!("id: {}\n", before[1])), "{text}");
    assert!(text.contains(&format!("id: {}\n", before[3])), "{text}");
    assert!(!text.contains(&format!("id: {position}\n")), "{text}");
    assert_eq!(
        text.matches(&format!("{{\"eventId\":\"{position}\""))
            .count(),
        2
    );
    // Without a position there is nothing that could be kept.
    let mut stream = listen(
        &hub,
        &[room(0), room(1)],
        Start {
            after: None,
            ..start()
        },
    );
    let text = self::text(&take(&mut stream).0);
    assert!(text.contains(&format!("id: {}\n", before[1])), "{text}");
}

#[test]
fn a_name_that_is_taken_in_one_room_is_refused_in_all() {
    let hub = hub(9);
    let join = |session, rooms: &[RoomName]| {
        let claim = claim("alice", session);
        hub.subscribe(rooms, Some(claim), None, Start::default())
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
        let joined = hub.subscribe(rooms, Some(claim("eve", 1)), None, Start::default());
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
    let start = Start {
        after: Some(position.to_string()),
        ..Start::default()
    };
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
    /// Cuts a client, which comes back with one room more.
    Add(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_usize..4).prop_map(Step::Say),
        1 => (0_usize..99).prop_map(Step::Remove),
        4 => (0_usize..3, 1_usize..60).prop_map(|(client, count)| Step::Take(client, count)),
        1 => (0_usize..3).prop_map(Step::Cut),
        1 => (0_usize..3, 0_usize..4).prop_map(|(client, room)| Step::Add(client, room)),
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
        let all = |count| Start { history: count, ..Start::default() };
        let mut said: Vec<(RoomName, EventId, bool)> = Vec::new();
        let mut clients: Vec<Client> = (0..3)
            .map(|n| {
                let rooms: Vec<RoomName> = (0..=n).map(room).collect();
                Client { stream: listen(&hub, &rooms, all(usize::MAX)), rooms, seen: Vec::new(), last_id: None, gaps: 0 }
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
                    let start = Start { after: client.last_id.clone(), ..all(usize::MAX) };
                    client.stream = listen(&hub, &client.rooms, start);
                }
                Step::Add(client, n) => {
                    let client = &mut clients[client];
                    if client.rooms.contains(&room(n)) || client.last_id.is_none() { continue }
                    client.rooms.push(room(n));
                    let start = Start { after: client.last_id.clone(), new: vec![room(n)], ..all(usize::MAX) };
                    client.stream = listen(&hub, &client.rooms, start);
                    // As long as no id line has come, it would have to open again as it did.
                    client.take(usize::MAX);
                }
            }
        }
        for client in &mut clients {
            client.take(usize::MAX);
            let removed: HashSet<EventId> = said.iter().filter(|(_, _, m)| !m).map(|(_, id, _)| *id).collect();
            let seen: HashSet<EventId> = client.seen.iter().copied().collect();
            prop_assert_eq!(seen.len(), client.seen.len(), "twice");
            prop_assert_eq!(client.gaps, 0);
            for (room, id, is_message) in &said {
                if client.rooms.contains(room) {
                    // A message may have been removed before it was taken.
                    let gone = *is_message && hub.fate_of(room, *id).is_ok_and(|fate| fate.removes.is_some());
                    prop_assert!(seen.contains(id) || gone, "lost {}", id);
                } else {
                    prop_assert!(!seen.contains(id), "not its room");
                }
            }
            prop_assert!(removed.len() <= said.len());
        }
    }
}

mod expelling;
mod limits;
mod positions;

#[cfg(feature = "redis")]
mod epochs;
