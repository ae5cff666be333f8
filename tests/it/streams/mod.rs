//! One stream of several rooms.

mod behind;
mod resuming;
mod walk;

use crate::common::Change as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chatroom::{EventId, RoomName};
use serde_json::json;

use crate::common::{
    EventStream, Follower, Request, Seen, Server, ask, figure, finished, get, id_of, in_order,
    post_all, say, until_streams, within,
};

/// The query of a stream of these rooms.
fn rooms(names: &[&str]) -> String {
    let rooms: Vec<String> = names.iter().map(|name| format!("room={name}")).collect();
    format!("/chat?{}", rooms.join("&"))
}

/// The rooms and texts of the next messages.
async fn told(stream: &mut EventStream, count: usize) -> Vec<(String, String)> {
    let mut told = Vec::new();
    while told.len() < count {
        let message = stream.message().await.json();
        let part = |key: &str| message[key].as_str().expect("a string").to_owned();
        told.push((part("room"), part("text")));
    }
    told
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(room, text): &(&str, &str)| (room.to_string(), text.to_string());
    expected.iter().map(owned).collect()
}

async fn posted(address: SocketAddr, room: &str, text: &str) -> EventId {
    id_of(&say(address, room, "bot", text).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_parameters_are_refused_and_leave_nothing() {
    let server = Server::start().await;
    let address = server.address();
    let many: Vec<String> = (0..33).map(|n| format!("r{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (target, code) in [
        (rooms(&many), "bad-request"),
        ("/chat/a?room=a".to_owned(), "bad-request"),
        ("/chat?room=".to_owned(), "bad-room"),
        ("/chat?room=a&room=.b".to_owned(), "bad-room"),
        ("/chat?room=a&room=%ff".to_owned(), "bad-room"),
    ] {
        get(address, &target).await.expect(400, code);
    }
    for target in ["/chat?room=a&room=b&name=x", "/chat/a?room=b&name=x"] {
        let post = Request::post_text(target, "hi");
        ask(address, post).await.expect(400, "bad-request");
    }
    assert_eq!(get(address, "/rooms").await.json()["rooms"], json!([]));
    // 32 rooms are allowed, and one that is named twice is one.
    let twice = format!("{}&room=r0&room=r31", rooms(&many[..32]));
    let mut stream = EventStream::open(address, &twice).await;
    for room in &many[..32] {
        assert_eq!(stream.event().await.json()["room"], **room);
    }
    let post = Request::post_text("/chat?room=r7&room=r7&name=x", "hi");
    assert_eq!(
        ask(address, post).await.expect(201, "").json()["room"],
        "r7"
    );
    assert_eq!(told(&mut stream, 1).await, pairs(&[("r7", "hi")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_offered_rooms_are_streamed() {
    let room = |name: &str| name.parse::<RoomName>().expect("a room");
    let server = Server::with(|chat| chat.room(room("a")).room(room("b"))).await;
    let address = server.address();
    let refused = get(address, &rooms(&["a", "c"])).await;
    refused.expect(403, "room-not-offered");
    let mut stream = EventStream::open(address, &rooms(&["b", "a"])).await;
    assert_eq!(stream.event().await.json()["room"], "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_room_greets_in_the_order_asked_for() {
    let server = Server::start().await;
    let address = server.address();
    let newest = posted(address, "b", "1").await;
    let _present = EventStream::open(address, "/chat/b?name=bob").await;
    let target = format!("{}&name=ann", rooms(&["c", "b", "a"]));
    let mut stream = EventStream::open(address, &target).await;
    let members = [
        ("c", vec!["ann"]),
        ("b", vec!["ann", "bob"]),
        ("a", vec!["ann"]),
    ];
    for (n, (room, names)) in members.iter().enumerate() {
        let event = stream.event().await;
        let greeting = event.json();
        assert!(event.is("chat-room-connected"));
        assert_eq!((event.id, event.retry.is_some()), (None, n == 0));
        assert_eq!(id_of(&greeting), newest, "what follows is the past");
        assert_eq!(
            (
                &greeting["room"],
                &greeting["name"],
                &greeting["memberCount"]
            ),
            (&json!(room), &json!("ann"), &json!(names.len()))
        );
    }
    assert_eq!(stream.event().await.text(), "1");
    for (room, names) in members {
        let roster = stream.event().await;
        assert!(roster.is("members-changed") && roster.id.is_none());
        let roster = roster.json();
        assert_eq!(
            (&roster["room"], &roster["members"]),
            (&json!(room), &json!(names))
        );
    }
    let caught_up = stream.event().await;
    assert_eq!(caught_up.id, Some(newest.to_string()));
    assert_eq!(caught_up.json(), json!({"eventId": newest.to_string()}));
    for room in ["a", "b", "c"] {
        let members = get(address, &format!("/chat/{room}/members")).await.json();
        let names = members["members"].as_array().expect("names");
        assert!(names.contains(&json!("ann")), "{members}");
    }
    // Each of the rooms tells its own changes.
    let mut other = EventStream::open(address, "/chat/c?name=cy").await;
    assert!(other.event().await.is("chat-room-connected"));
    loop {
        let change = stream.until("members-changed").await.json();
        let joined = change["joined"].as_array().expect("names");
        if joined.contains(&json!("cy")) {
            assert_eq!(change["room"], "c");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_has_one_and_the_same_order() {
    let server = Server::with(|chat| chat.history(0).history_bytes(0)).await;
    let address = server.address();
    let names = ["a", "b", "c", "d"];
    let mut followers = Vec::new();
    for n in 0..4 {
        let mut order = names;
        order.rotate_left(n);
        let target = format!("{}&history=0", rooms(&order));
        followers.push(Follower::join(address, &target).await);
    }
    let posters: Vec<_> = names
        .iter()
        .map(|room| {
            let texts = (0..500).map(|n| n.to_string());
            tokio::spawn(post_all(
                address,
                match *room {
                    "a" => "/chat/a?name=x",
                    "b" => "/chat/b?name=x",
                    "c" => "/chat/c?name=x",
                    _ => "/chat/d?name=x",
                },
                texts,
            ))
        })
        .collect();
    let mut posted = Vec::new();
    for poster in posters {
        posted.push(finished("a poster", poster).await);
    }
    let truth = in_order(posted);
    for (mut follower, mut seen) in followers {
        follower.follow(truth.len(), &mut seen).await;
        assert_eq!(seen.messages, truth);
        assert!(seen.gaps.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_had_in_all_rooms_or_in_none() {
    let server = Server::start().await;
    let address = server.address();
    let taken = EventStream::open(address, "/chat/b?name=ann").await;
    let target = format!("{}&name=Ann", rooms(&["a", "b", "c"]));
    let refused = get(address, &target).await.expect(409, "name-taken");
    assert_eq!(refused.json()["room"], "b");
    for room in ["a", "c"] {
        let members = get(address, &format!("/chat/{room}/members")).await.json();
        assert_eq!(members["memberCount"], 0);
    }
    assert_eq!(figure(address, "chatroom_rooms").await, 1);
    assert_eq!(figure(address, "chatroom_streams").await, 1);
    // The session that has the name takes it in the other rooms too.
    let request = Request::get(&target).session(&taken.session());
    let mut stream = EventStream::request(address, request).await;
    assert_eq!(stream.event().await.json()["name"], "Ann");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_many_rooms_counts_as_several() {
    let server = Server::with(|chat| chat.max_streams_per_ip(2)).await;
    let address = server.address();
    let names: Vec<String> = (0..17).map(|n| format!("r{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let refused = get(address, &rooms(&names)).await;
    refused.expect(429, "too-many-streams");
    let whole = EventStream::open(address, &rooms(&names[..16])).await;
    let refused = get(address, "/chat/a").await;
    let refused = refused.expect(429, "too-many-streams");
    assert!(refused.header("retry-after").is_some());
    drop(whole);
    until_streams(address, 0).await;
    let _both = [
        EventStream::open(address, &rooms(&names[..8])).await,
        EventStream::open(address, "/chat/a").await,
    ];
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_one_heartbeat_whatever_its_rooms() {
    let (server, clock) = Server::in_still_time().await;
    let address = server.address();
    let mut stream = EventStream::open(address, &rooms(&["a", "b", "c"])).await;
    stream.caught_up().await;
    // Each room tells of the new listener. Later, that would count as something sent.
    for _ in 0..3 {
        stream.until("members-changed").await;
    }
    for _ in 0..3 {
        clock.advance(Duration::from_secs(15));
        let beat = stream.until("heartbeat").await.json();
        assert_eq!(beat, json!({"sentAt": beat["sentAt"]}));
    }
    say(address, "b", "bot", "x").await;
    loop {
        let next = stream.event().await;
        assert!(!next.is("heartbeat"), "one too many");
        if next.is("new-message") {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_silence_brings_a_heartbeat() {
    const PERIOD: Duration = Duration::from_secs(1);
    let server = Server::with(|chat| chat.heartbeat(PERIOD)).await;
    let address = server.address();
    let mut busy = EventStream::open(address, "/chat/busy").await;
    let mut quiet = EventStream::open(address, "/chat/quiet").await;
    let beats = tokio::spawn(async move {
        for _ in 0..3 {
            quiet.until("heartbeat").await;
        }
    });
    let mut before = Instant::now();
    while !beats.is_finished() {
        let now = Instant::now();
        say(address, "busy", "bot", "x").await;
        // A machine that is too busy to post in time has silences of its own.
        let silence = before.elapsed();
        loop {
            let event = busy.event().await;
            if event.is("new-message") {
                break;
            }
            let is_due = silence > PERIOD - PERIOD / 8;
            assert!(!event.is("heartbeat") || is_due, "after {silence:?}");
        }
        before = now;
        tokio::time::sleep(PERIOD / 20).await;
    }
    beats.await.expect("three heartbeats in silence");
    busy.until("heartbeat").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_once() {
    let mut server = Server::start().await;
    let address = server.address();
    let (mut follower, mut seen) = Follower::join(address, &rooms(&["a", "b"])).await;
    posted(address, "b", "last").await;
    server.begin_stop();
    follower.read_to_the_end(&mut seen).await;
    let Seen {
        goodbyes,
        greetings,
        messages,
        ..
    } = seen;
    assert_eq!((goodbyes.len(), greetings, messages.len()), (1, 2, 1));
    within("the end", server.stop()).await;
}

/// What a listener in the program hears of several rooms.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_listens_to_several_rooms_in_one_order() {
    let server = Server::start().await;
    let chat = server.chat();
    let mut listener = chat.listen(["a", "b"], None).await.expect("rooms");
    let mut truth = Vec::new();
    for n in 0..20 {
        let room = ["b", "a", "c"][n % 3];
        let message = chat.post(room, "bot", "x").await.expect("posted");
        if room != "c" {
            truth.push(message.id);
        }
    }
    let mut heard = Vec::new();
    while heard.len() < truth.len() {
        match within("a message", listener.next()).await {
            Some(chatroom::Heard::Message(message)) => heard.push(message.id),
            Some(_) => {}
            None => panic!("the chat is open"),
        }
    }
    assert_eq!(heard, truth);
    let none: [&str; 0] = [];
    let many: Vec<String> = (0..33).map(|n| format!("r{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (refused, code) in [
        (chat.listen(none, None).await.err(), "bad-request"),
        (chat.join(&many, "ann", None).await.err(), "bad-request"),
        (chat.listen([".x"], None).await.err(), "bad-room"),
    ] {
        assert_eq!(refused.map(|refused| refused.code()), Some(code));
    }
    let twice = chat.join(["d", "d"], "ann", None).await.expect("one room");
    drop(twice);
    assert_eq!(chat.members("d").expect("a room").len(), 1, "in its grace");
    let page = chat.history("a", chatroom::PageAt::End, 99).await;
    assert_eq!(page.expect("a room").messages.len(), 7);
}
