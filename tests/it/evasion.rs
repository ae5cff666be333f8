//! Ways around limits and rules, each closed: rooms that lock others out, names that look alike,
//! cookies of neighbours, repeats of lost posts, requests that a foreign page can make.

use crate::common::Change as _;
use std::time::{Duration, Instant};

use chatroom::{Chat, ManualClock};
use serde_json::json;

use crate::common::{
    Client, EventStream, Request, Server, ask, encode, figure, get, post_all, retained, say,
    unlimited, until_streams,
};

/// Names in their grace alone hold no room, and the default room can always be opened.
#[tokio::test(flavor = "multi_thread")]
async fn opening_and_closing_every_room_locks_nobody_out() {
    let server = Server::with(|chat| chat.max_rooms(20)).await;
    let address = server.address();
    for n in 0..20 {
        drop(EventStream::open(address, &format!("/chat/r{n}?name=eve")).await);
    }
    until_streams(address, 0).await;
    EventStream::open(address, "/chat?name=ann").await;
    for n in 20..40 {
        say(address, &format!("r{n}"), "ann", "a room of my own").await;
    }
    // Now every place is taken by a room that has something to keep.
    let post = Request::post_text("/chat/late?name=ann", "x");
    ask(address, post).await.expect(503, "too-many-rooms");
    EventStream::open(address, "/chat/lobby?name=ann").await;
    say(address, "lobby", "bob", "I can still speak").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offered_rooms_do_not_count_towards_the_limit() {
    let server = Server::with(|chat| {
        let rooms = ["a", "b", "c"].map(|room| room.parse().expect("a room"));
        rooms
            .into_iter()
            .fold(chat.max_rooms(1), |chat, room| chat.room(room))
    })
    .await;
    for room in ["a", "b", "c"] {
        say(server.address(), room, "ann", "x").await;
    }
}

/// A rate below one in ten seconds still lets somebody speak.
#[tokio::test(flavor = "multi_thread")]
async fn a_low_rate_is_no_ban() {
    let clock = ManualClock::at(1_700_000_000_000);
    let server = Server::with(|chat| chat.message_rate(0.05).clock(clock.clone())).await;
    let post = || Request::post_text("/chat?name=ann", "x");
    ask(server.address(), post()).await.expect(201, "");
    let refused = ask(server.address(), post()).await;
    let refused = refused.expect(429, "too-many-messages");
    assert_eq!(refused.header("retry-after"), Some("20"));
    clock.advance(Duration::from_secs(20));
    ask(server.address(), post()).await.expect(201, "");
}

/// Cookies are shared across the ports of a host, and other programs put any bytes into theirs.
#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_s_cookie_hides_no_session() {
    let server = Server::start().await;
    let address = server.address();
    let first = EventStream::open(address, "/chat?name=ann").await;
    for other in ["theme=é".as_bytes(), b"x=\xff\xfe", b"broken", b"="] {
        let session = first.session();
        let ours = format!("chatroom-session={session}");
        let cookies = [other, b"; ", ours.as_bytes()].concat();
        let tab = Request::get("/chat?name=ann").header("Cookie", &cookies);
        EventStream::request(address, tab).await;
        let post = Request::post_text("/chat", "mine").header("Cookie", &cookies);
        let message = ask(address, post).await.expect(201, "").json();
        assert_eq!(message["member"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_look_alike_are_one() {
    let server = Server::start().await;
    let address = server.address();
    let _strasse = EventStream::open(address, &format!("/chat?name={}", encode("Straße"))).await;
    let _ann = EventStream::open(address, "/chat?name=ann").await;
    let mut alike = vec![
        "STRASSE".to_owned(),
        "STRAẞE".to_owned(),
        "strasse".to_owned(),
    ];
    for unseen in [
        '\u{fe0f}',
        '\u{fe00}',
        '\u{e0100}',
        '\u{17b4}',
        '\u{180b}',
        '\u{180f}',
    ] {
        alike.push(format!("ann{unseen}"));
        alike.push(format!("a{unseen}nn"));
    }
    for name in alike {
        let target = format!("/chat?name={}", encode(&name));
        get(address, &target).await.expect(409, "name-taken");
        let post = Request::post_text(&target, "forged");
        ask(address, post).await.expect(409, "name-taken");
    }
    for unseen in [
        "\u{fe0f}",
        "\u{17b5}",
        "\u{180c}",
        "\u{fff0}",
        "\u{e0080}",
        "\u{1d159}",
        "\u{e0101}",
    ] {
        let target = format!("/chat?name={}", encode(unseen));
        get(address, &target).await.expect(400, "bad-name");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_have_names_in_any_script() {
    let server = Server::start().await;
    for room in ["हिन्दी", "தமிழ்", "ภาษาไทย", "café", "聊天"]
    {
        let path = encode(room);
        let message = say(server.address(), &path, "ann", "x").await;
        assert_eq!(message["room"], room);
    }
}

/// Whoever repeats a post whose answer was lost gets that answer, whatever became of the name.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_finds_its_message_after_the_name_has_gone_elsewhere() {
    let (server, clock) = Server::in_still_time().await;
    let address = server.address();
    let stream = EventStream::open(address, "/chat?name=ann").await;
    let session = stream.session();
    let keyed = |target: &str, key: &str| {
        let request = Request::post_text(target, "once").session(&session);
        request.header("Idempotency-Key", key)
    };
    let first = ask(address, keyed("/chat", "unnamed")).await;
    let first = first.expect(201, "").json();
    let named = ask(address, keyed("/chat?name=ann", "named")).await;
    let named = named.expect(201, "").json();
    let again = async |target: &str, key: &str| {
        ask(address, keyed(target, key))
            .await
            .expect(200, "")
            .json()
    };
    // It was respelt.
    assert_eq!(again("/chat?name=ANN", "named").await, named);
    // It was left.
    drop(stream);
    until_streams(address, 0).await;
    clock.advance(Duration::from_secs(11));
    assert_eq!(again("/chat", "unnamed").await, first);
    assert_eq!(again("/chat?name=ann", "named").await, named);
    // It was taken.
    let _taken = EventStream::open(address, "/chat?name=ann").await;
    assert_eq!(again("/chat", "unnamed").await, first);
    assert_eq!(again("/chat?name=ann", "named").await, named);
    let other = keyed("/chat?name=bob", "named");
    ask(address, other).await.expect(409, "key-reused");
    assert_eq!(retained(address, "lobby").await.len(), 2);
}

/// `<img src="http://chat.lan/chat?name=x">` on a foreign page, over plain HTTP, where browsers do
/// not say which site asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_picture_on_a_foreign_page_takes_no_name() {
    let server = Server::start().await;
    let address = server.address();
    for accept in [
        "*/*",
        "text/*",
        "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "text/event-stream;q=0, */*",
    ] {
        let request = |target: &str| Request::get(target).header("Accept", accept);
        let refused = ask(address, request("/chat?name=x")).await;
        refused.expect(406, "not-acceptable");
    }
    let members = get(address, "/chat/lobby/members").await.json();
    assert_eq!(members["members"], json!([]));
    // Listening shows nobody.
    let listening = Request::get("/chat").header("Accept", "*/*");
    EventStream::request(address, listening).await;
}

/// What a client that does not read was not sent is not counted as delivered.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_what_was_queued() {
    const POSTS: usize = 2_000;
    let server = Server::with(|chat| chat.write_timeout(Duration::ZERO)).await;
    let address = server.address();
    let mut client = Client::connect_narrow(address, 4 * 1024).await;
    let request = Request::get("/chat?history=0");
    client.send(&request.to_bytes()).await;
    client.head().await.expect("the stream begins");
    let texts = std::iter::repeat_n("x".repeat(800), POSTS);
    post_all(address, "/chat?name=a", texts).await;
    let delivered = figure(address, "chatroom_deliveries_total").await;
    assert!((10..POSTS as u64 / 2).contains(&delivered), "{delivered}");
}

/// How long so many posts take.
async fn time_of_posts(chat: &Chat) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let begin = Instant::now();
        for _ in 0..2_000 {
            chat.post("lobby", "bot", "x").await.expect("posted");
        }
        best = best.min(begin.elapsed());
    }
    best
}

/// After a proxy restarts, a whole crowd is in its grace: nobody looks through all of it.
#[tokio::test]
async fn a_crowd_in_its_grace_slows_nobody() {
    let clock = ManualClock::at(1_700_000_000_000);
    let chat = unlimited().clock(clock).build().expect("a chat");
    let alone = time_of_posts(&chat).await;
    let mut crowd = Vec::new();
    for n in 0..20_000 {
        let joined = chat.join(["lobby"], format!("n{n}"), None).await;
        crowd.push(joined.expect("a free name"));
    }
    drop(crowd);
    assert_eq!(chat.members("lobby").expect("a room").len(), 20_000);
    let crowded = time_of_posts(&chat).await;
    assert!(crowded < alone * 10, "{crowded:?} instead of {alone:?}");
}

/// Whoever asks for messages that there are not, in a room that retains many, slows nobody.
#[tokio::test]
async fn looking_for_what_is_not_there_costs_the_same_in_a_full_room() {
    let chat = unlimited().history(0).history_bytes(0);
    let chat = chat.build().expect("a chat");
    let nowhere = "1-1".parse().expect("an id");
    let time_of_removals = async || {
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let begin = Instant::now();
            for _ in 0..200 {
                let refused = chat.remove("lobby", nowhere).await;
                assert_eq!(refused.map_err(|e| e.code()), Err("not-found"));
            }
            best = best.min(begin.elapsed());
        }
        best
    };
    chat.post("lobby", "bot", "x").await.expect("posted");
    let alone = time_of_removals().await;
    for _ in 0..50_000 {
        chat.post("lobby", "bot", "x").await.expect("posted");
    }
    let full = time_of_removals().await;
    assert!(full < alone * 10, "{full:?} instead of {alone:?}");
}
