//! The limits: messages, streams and rooms, who pays for what, and that all of it comes back.

use crate::common::Change as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use chatroom::{ManualClock, RoomName};
use serde_json::{Value, json};

use crate::common::{
    Client, EventStream, Request, Response, Server, ask, eventually, get, say, unlimited,
    until_streams,
};

async fn limited_server(clock: &ManualClock, per_second: f64) -> Server {
    Server::with(|_| unlimited().clock(clock.clone()).message_rate(per_second)).await
}

/// Posts until it is too much, and says how many were taken and what the refusal was.
async fn exhaust(server: &Server, request: &Request) -> (usize, Response) {
    for taken in 0..1_000 {
        let answer = ask(server.address(), request.clone()).await;
        if answer.status != 201 {
            return (taken, answer.expect(429, "too-many-messages"));
        }
    }
    panic!("there is no limit");
}

fn retry_after(refused: &Response) -> u64 {
    let seconds = refused.header("retry-after").expect("Retry-After is there");
    seconds.parse().expect("whole seconds")
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_seconds_worth_of_messages_may_come_at_once() {
    let clock = ManualClock::default();
    for (rate, burst, wait) in [(2.0, 20, 1), (0.5, 5, 2), (0.1, 1, 10)] {
        let server = limited_server(&clock, rate).await;
        let post = Request::post_text("/chat?name=ann", "x");
        let (taken, refused) = exhaust(&server, &post).await;
        assert_eq!(
            (taken, retry_after(&refused)),
            (burst, wait),
            "at {rate} a second"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_as_long_as_told_is_let_in_and_who_does_not_is_not() {
    let clock = ManualClock::default();
    let server = limited_server(&clock, 0.3).await;
    let post = Request::post_text("/chat?name=ann", "x");
    let (_, refused) = exhaust(&server, &post).await;
    let wait = Duration::from_secs(retry_after(&refused));
    clock.advance(wait - Duration::from_secs(1));
    let early = ask(server.address(), post.clone())
        .await
        .expect(429, "too-many-messages");
    assert_eq!(retry_after(&early), 1);
    clock.advance(Duration::from_secs(1));
    ask(server.address(), post.clone()).await.expect(201, "");
    ask(server.address(), post.clone())
        .await
        .expect(429, "too-many-messages");
    // After a long silence there is a whole burst again, and no more than one.
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(exhaust(&server, &post).await.0, 3);
}

/// Each removal is an entry like a message.
#[tokio::test(flavor = "multi_thread")]
async fn removing_ones_own_message_costs_what_a_message_costs() {
    const SESSION: &str = "0123456789abcdef0123456789abcdef";
    let clock = ManualClock::at(1_700_000_000_000);
    let server = limited_server(&clock, 0.1).await;
    let post = Request::post_text("/chat?name=ann", "x").session(SESSION);
    let posted = ask(server.address(), post).await.expect(201, "").json();
    let id = posted["eventId"].as_str().expect("an id");
    let target = format!("/chat/lobby/messages/{id}");
    let remove = || {
        ask(
            server.address(),
            Request::new("DELETE", &target).session(SESSION),
        )
    };
    let refused = remove().await.expect(429, "too-many-messages");
    assert_eq!(retry_after(&refused), 10);
    clock.advance(Duration::from_secs(10));
    for _ in 0..3 {
        remove().await.expect(200, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_member_has_a_rate_and_those_without_a_seat_share_their_addresses() {
    let clock = ManualClock::default();
    let server = limited_server(&clock, 1.0).await;
    let ann = EventStream::open(server.address(), "/chat?name=ann").await;
    let bob = EventStream::open(server.address(), "/chat?name=bob").await;
    let stranger = Request::post_text("/chat?name=eve", "x");
    assert_eq!(exhaust(&server, &stranger).await.0, 10);
    for member in [&ann, &bob] {
        let post = Request::post_text("/chat", "x").session(&member.session());
        assert_eq!(exhaust(&server, &post).await.0, 10);
    }
    // A seat in one room pays for that room alone: elsewhere its owner is a stranger.
    let elsewhere = Request::post_text("/chat/dev?name=ann", "x").session(&ann.session());
    assert_eq!(exhaust(&server, &elsewhere).await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn zero_switches_the_message_rate_off() {
    let server = limited_server(&ManualClock::default(), 0.0).await;
    for _ in 0..200 {
        say(server.address(), "lobby", "ann", "x").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_of_whatever_limit_is_too_large_beyond_it() {
    let server = Server::with(|chat| chat.max_message(0)).await;
    say(server.address(), "lobby", "ann", &"x".repeat(1024 * 1024)).await;
    let more = Request::post_text("/chat?name=ann", "x".repeat(1024 * 1024 + 1));
    ask(server.address(), more).await.expect(413, "too-large");
}

/// Opens streams until no more are let in.
async fn fill(server: &Server) -> (Vec<EventStream>, Response) {
    let mut streams = Vec::new();
    loop {
        match EventStream::attempt(server.address(), Request::get("/chat")).await {
            Ok(stream) => streams.push(stream),
            Err(refused) => return (streams, refused),
        }
    }
}

/// Waits until the limit admits another stream.
async fn until_a_stream_opens(server: &Server) {
    eventually("a free place", || async {
        EventStream::attempt(server.address(), Request::get("/chat"))
            .await
            .is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_limited_in_all_and_come_back() {
    let server = Server::with(|chat| chat.max_streams(5)).await;
    let (mut streams, refused) = fill(&server).await;
    assert_eq!(streams.len(), 5);
    assert!(retry_after(&refused.expect(503, "too-many-streams")) > 0);
    // A question that waits holds as much as a stream does; one that does not holds nothing.
    let waiting = get(server.address(), "/chat/lobby/messages?wait=60").await;
    waiting.expect(503, "too-many-streams");
    get(server.address(), "/chat/lobby/messages")
        .await
        .expect(200, "");
    say(server.address(), "lobby", "ann", "still here").await;
    drop(streams.pop());
    until_a_stream_opens(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_limited_by_address_and_come_back() {
    let server = Server::with(|chat| chat.max_streams_per_ip(3)).await;
    let (mut streams, refused) = fill(&server).await;
    assert_eq!(streams.len(), 3);
    assert!(retry_after(&refused.expect(429, "too-many-streams")) > 0);
    drop(streams.pop());
    until_a_stream_opens(&server).await;
}

/// Everybody behind one address may lose the connection at once, and come back.
#[tokio::test(flavor = "multi_thread")]
async fn as_many_streams_as_may_be_open_may_come_back_at_once() {
    let (clock, limit) = (ManualClock::default(), 20);
    let server = Server::with(|chat| chat.clock(clock.clone()).max_streams_per_ip(limit)).await;
    let address = server.address();
    for _ in 0..2 {
        let mut streams = Vec::new();
        for n in 0..limit {
            streams.push(EventStream::open(address, &format!("/chat?name=n{n}&history=0")).await);
            clock.advance(Duration::from_millis(1));
        }
        drop(streams);
        until_streams(address, 0).await;
        // Their names are in their grace, and nobody else's.
        clock.advance(Duration::from_secs(11));
    }
    // Without a name nothing stays behind, and there is no rate.
    for _ in 0..5 * limit {
        EventStream::open(address, "/chat?history=0").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_taken_at_a_bounded_rate() {
    let clock = ManualClock::default();
    let server = Server::with(|chat| chat.clock(clock.clone()).max_streams_per_ip(2)).await;
    let address = server.address();
    for n in 0..2 {
        drop(EventStream::open(address, &format!("/chat?name=n{n}")).await);
        until_streams(address, 0).await;
    }
    let third = Request::get("/chat?name=n3");
    let refused = ask(address, third).await.expect(429, "too-many-streams");
    assert_eq!(retry_after(&refused), 5);
    clock.advance(Duration::from_secs(5));
    EventStream::open(address, "/chat?name=n3").await;
}

/// Somebody else at the address may take every opening there is.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_name_comes_back_to_it_whatever_the_address_opens() {
    let clock = ManualClock::default();
    let server = Server::with(|chat| chat.clock(clock).max_streams_per_ip(20)).await;
    let address = server.address();
    let rooms = "/chat?name=ann&room=a&room=b";
    let ann = EventStream::open(address, rooms).await;
    let session = ann.session();
    for n in 1..20 {
        drop(EventStream::open(address, &format!("/chat?name=eve{n}")).await);
    }
    until_streams(address, 1).await;
    let new = async |target: &str| {
        let new = Request::get(target).session(&session);
        ask(address, new).await.expect(429, "too-many-streams");
    };
    new("/chat?name=eve").await;
    let again = || EventStream::request(address, Request::get(rooms).session(&session));
    let _tabs = (again().await, again().await);
    // A name in its grace is hers as well, but in another room or under another name she is new.
    drop((ann, _tabs));
    until_streams(address, 0).await;
    let _back = again().await;
    new("/chat?name=ann&room=a&room=c").await;
    new("/chat?name=anna&room=a").await;
}

/// Asks until it is too much, and gives the refusal.
async fn read_too_much(address: SocketAddr, request: &Request) -> Response {
    let mut client = Client::connect(address).await;
    for _ in 0..40_000 {
        let answer = client.ask(request).await;
        if answer.status != 200 {
            return answer.expect(429, "too-many-requests");
        }
    }
    panic!("there is no limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_reads_no_more_than_its_share_and_nobody_else_notices() {
    let clock = ManualClock::at(1_700_000_000_000);
    let server = Server::with(|chat| {
        let chat = chat.max_streams_per_ip(4).clock(clock.clone());
        chat.trusted_proxy(Ipv4Addr::LOCALHOST.into())
    })
    .await;
    let address = server.address();
    for _ in 0..100 {
        say(address, "lobby", "ann", &"x".repeat(2_000)).await;
    }
    let of = |target: &str, n: u8| {
        Request::get(target).header("X-Forwarded-For", format!("192.0.2.{n}"))
    };
    for (n, target) in (1..).zip(["/chat/lobby/messages?limit=500", "/js/main.js", "/metrics"]) {
        let refused = read_too_much(address, &of(target, n)).await;
        assert!(retry_after(&refused) >= 1, "{target}");
        // All that reads is refused alike, streams included; health is not, nor is what is sent.
        for reads in ["/", "/chat?room=a", "/chat/lobby/members", "/nothing"] {
            let refused = ask(address, of(reads, n)).await;
            refused.expect(429, "too-many-requests");
        }
        let looking = Request::new("DELETE", "/chat/lobby/messages/1-1");
        let looking = looking.header("X-Forwarded-For", format!("192.0.2.{n}"));
        let looked = ask(address, looking).await;
        looked.expect(429, "too-many-requests");
        ask(address, of("/healthz", n)).await.expect(200, "");
        ask(address, of(target, 100)).await.expect(200, "");
        let wait = Duration::from_secs(retry_after(&refused));
        clock.advance(wait);
        ask(address, of("/rooms", n)).await.expect(200, "");
    }
}

/// A stream is worth what it begins with.
#[tokio::test(flavor = "multi_thread")]
async fn catching_up_counts_as_reading() {
    for (target, most) in [("/chat?lastEventId=0-0", 90), ("/chat?history=0", 100)] {
        let clock = ManualClock::at(1_700_000_000_000);
        let server = Server::with(|chat| chat.max_streams_per_ip(100).clock(clock)).await;
        let address = server.address();
        for _ in 0..100 {
            say(address, "lobby", "ann", &"x".repeat(2_000)).await;
        }
        let mut streams = Vec::new();
        let refused = loop {
            match EventStream::attempt(address, Request::get(target)).await {
                Ok(stream) => streams.push(stream),
                Err(refused) => break refused,
            }
        };
        assert!(
            (most * 3 / 4..=most).contains(&streams.len()),
            "{}",
            streams.len()
        );
        let code = if most < 100 {
            "too-many-requests"
        } else {
            "too-many-streams"
        };
        refused.expect(429, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_stream_takes_no_place() {
    let server = Server::with(|chat| chat.max_streams(2)).await;
    let _ann = EventStream::open(server.address(), "/chat?name=ann").await;
    for _ in 0..10 {
        get(server.address(), "/chat?name=ann")
            .await
            .expect(409, "name-taken");
        get(server.address(), "/chat?name=%00")
            .await
            .expect(400, "bad-name");
    }
    EventStream::open(server.address(), "/chat?name=bob").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_limited_and_none_with_messages_is_dropped_for_a_new_one() {
    let server = Server::with(|chat| chat.max_rooms(2)).await;
    let address = server.address();
    say(address, "one", "ann", "kept").await;
    let stream = EventStream::open(address, "/chat/two").await;
    for _ in 0..3 {
        let post = Request::post_text("/chat/three?name=ann", "x");
        let refused = ask(address, post).await.expect(503, "too-many-rooms");
        assert!(retry_after(&refused) > 0);
        get(address, "/chat/three")
            .await
            .expect(503, "too-many-rooms");
    }
    say(address, "one", "ann", "goes on").await;
    // A room in which nothing was said goes with its last client.
    drop(stream);
    eventually("a free place", || async {
        let post = Request::post_text("/chat/three?name=ann", "x");
        ask(address, post).await.status == 201
    })
    .await;
    let kept = get(address, "/chat/one/messages").await.json();
    assert_eq!(kept["messages"].as_array().map(Vec::len), Some(2));
}

fn names(rooms: &Value) -> Vec<&str> {
    let rooms = rooms["rooms"].as_array().expect("a list of rooms");
    rooms
        .iter()
        .map(|room| room["room"].as_str().expect("a name"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_nobody_uses_is_forgotten_after_its_time() {
    let clock = ManualClock::at(1_700_000_000_000);
    let ttl = Duration::from_secs(3_600);
    let server = Server::with(|_| unlimited().clock(clock.clone()).room_ttl(ttl)).await;
    let address = server.address();
    say(address, "quiet", "ann", "x").await;
    say(address, "occupied", "ann", "x").await;
    let mut stream = EventStream::open(address, "/chat/occupied").await;
    let position = say(address, "quiet", "ann", "y").await["eventId"].clone();
    clock.advance(ttl);
    eventually("the room's end", || async {
        names(&get(address, "/rooms").await.json()) == ["occupied"]
    })
    .await;
    assert_eq!(stream.message().await.text(), "x");
    // Its next life begins after its last, so that who comes back is told what is missed.
    let position = position.as_str().expect("a position");
    let page = get(address, &format!("/chat/quiet/messages?after={position}"))
        .await
        .json();
    assert_eq!(
        (&page["messages"], &page["missed"]),
        (&json!([]), &json!(false))
    );
    let next = say(address, "quiet", "ann", "z").await;
    let page = get(address, &format!("/chat/quiet/messages?after={position}"))
        .await
        .json();
    assert_eq!(page["messages"], json!([next]));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_rooms_are_offered_there_are_no_others() {
    let room = |name| RoomName::parse(name).expect("a room's name");
    let server =
        Server::with(|chat| chat.room(room("café")).room(room("dev")).room(room("café"))).await;
    let address = server.address();
    for request in [
        Request::get("/chat/lobby"),
        Request::get("/chat/lobby?name=ann"),
        Request::get("/chat/cafe"),
        Request::get("/chat/DEV"),
        Request::post_text("/chat/lobby?name=ann", "x"),
        Request::get("/chat/lobby/messages"),
        Request::get("/chat/lobby/members"),
    ] {
        ask(address, request).await.expect(403, "room-not-offered");
    }
    let refused = server.chat().listen(["lobby"], None).await.err();
    assert_eq!(refused.map(|e| e.code()), Some("room-not-offered"));
    let first = ask(address, Request::post_text("/chat?name=ann", "x")).await;
    assert_eq!(first.expect(201, "").json()["room"], "café");
    say(address, "dev", "ann", "x").await;
    let mut offered = names(&get(address, "/rooms").await.json())
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    offered.sort_unstable();
    assert_eq!(offered, ["café", "dev"]);
}
