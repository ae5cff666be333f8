//! Positions that can be resumed after something is gone: lost by Redis, or forgotten on purpose.

use std::time::Duration;

use chatroom::EventId;

use crate::common::redis::Redis;
use crate::common::{Event, EventStream, Process, Request, ask, eventually, get};
use crate::ordeal::{OPTIONS, server};
use crate::relay::{Line, Relay};

const ROOMS: &str = "/chat?room=lobby&room=quiet";

async fn say(server: &Process, room: &str, text: &str) -> EventId {
    let post = Request::post_text(&format!("/chat/{room}?name=bot"), text);
    let stored = ask(server.address(), post).await.expect(201, "").json();
    crate::common::id_of(&stored)
}

/// An event, as one line: messages by their text, notices by their room and their id line.
fn line(event: &Event) -> String {
    let json = event.json();
    match event.event.as_str() {
        "new-message" => event.text(),
        "messages-missed" => format!(
            "missed in {}, {}",
            json["room"],
            event.id.as_deref().unwrap_or("no id")
        ),
        other => other.to_owned(),
    }
}

/// What comes until a stream has caught up, but for greetings and rosters.
async fn past(stream: &mut EventStream) -> Vec<String> {
    let events = stream.caught_up().await;
    let skipped = ["chat-room-connected", "members-changed", "heartbeat"];
    let told = events
        .iter()
        .filter(|event| !skipped.contains(&&*event.event));
    told.map(line).collect()
}

/// What a stream from a position begins with.
async fn resumed(server: &Process, after: &str) -> Vec<String> {
    let request = Request::get(ROOMS).header("Last-Event-ID", after);
    let mut stream = EventStream::request(server.address(), request).await;
    past(&mut stream).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_is_told_once_in_its_place_and_open_streams_stay_open() {
    let mut redis = Redis::start().await;
    let (old, other) = (server(&redis.url()).await, server(&redis.url()).await);
    say(&old, "lobby", "kept").await;
    say(&other, "quiet", "kept too").await;
    redis.command(&["SAVE"]).await;
    let mut open = Vec::new();
    for server in [&old, &other] {
        let mut stream = EventStream::open(server.address(), ROOMS).await;
        assert_eq!(past(&mut stream).await, ["kept", "kept too", "caught-up"]);
        open.push(stream);
    }
    let lost = say(&old, "lobby", "lost").await;
    for stream in &mut open {
        assert_eq!(stream.message().await.text(), "lost");
    }
    redis.kill().await;
    redis.restart().await;
    let mut told = Vec::new();
    for stream in &mut open {
        told.push(past(stream).await);
    }
    assert_eq!(told[0], told[1], "the mark is the same at both servers");
    let (notices, end) = told[0].split_at(2);
    assert_eq!(
        (&*notices[0], end),
        ("missed in \"lobby\", no id", &["caught-up".to_owned()][..])
    );
    let mark = notices[1].strip_prefix("missed in \"quiet\", ");
    let mark: EventId = mark.and_then(|id| id.parse().ok()).expect("the mark");
    assert!(mark > lost, "{mark}");
    say(&other, "lobby", "after").await;
    for stream in &mut open {
        assert_eq!(stream.telling().await.text(), "after", "they go on");
    }
    let all = |before: &[&str], after: &[&str]| {
        let notices = notices.iter().map(String::as_str);
        let before = before.iter().copied().chain(notices);
        let all = before.chain(after.iter().copied()).chain(["caught-up"]);
        all.map(str::to_owned).collect::<Vec<_>>()
    };
    for server in [&old, &other, &server(&redis.url()).await] {
        assert_eq!(
            resumed(server, &lost.to_string()).await,
            all(&[], &["after"])
        );
        // What is retained below the mark comes before the notice.
        let everything = all(&["kept", "kept too"], &["after"]);
        assert_eq!(resumed(server, "0-0").await, everything);
        // Whoever was told is not told again.
        assert_eq!(
            resumed(server, &mark.to_string()).await,
            ["after", "caught-up"]
        );
        for (after, missed) in [(lost, true), (mark, false)] {
            let path = format!("/chat/lobby/messages?after={after}");
            let page = get(server.address(), &path).await.expect(200, "").json();
            assert_eq!(page["missed"], missed, "{page}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_that_are_forgotten_leave_redis_and_their_positions_are_expired() {
    let redis = Redis::start().await;
    let url = redis.url();
    let arguments = [&OPTIONS[..], &["--redis", &url, "--room-ttl=1"]].concat();
    let old = Process::start(&arguments).await;
    let first = say(&old, "short", "one").await;
    say(&old, "short", "two").await;
    eventually("the room is forgotten", async || {
        let room = ["EXISTS", "{chatroom}:room:short"];
        redis.command(&room).await == "0"
    })
    .await;
    let new = Process::start(&arguments).await;
    for server in [&old, &new] {
        let path = format!("/chat/short/messages?after={first}");
        // The old one forgets the room at its next tick.
        eventually("it is told", async || {
            let page = get(server.address(), &path).await.expect(200, "").json();
            page["missed"] == true
        })
        .await;
    }
    // Made anew, the room begins behind what it had, at a server that starts too.
    say(&new, "short", "three").await;
    let third = Process::start(&arguments).await;
    let path = format!("/chat/short/messages?after={first}");
    let page = get(third.address(), &path).await.expect(200, "").json();
    assert_eq!(page["missed"], true, "{page}");
    // Rooms that have expired are listed no longer than until the next entry.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    say(&new, "other", "four").await;
    let rooms = redis
        .command(&["ZRANGE", "{chatroom}:rooms", "0", "-1"])
        .await;
    assert_eq!(rooms, "other");
}

/// Of a room that has expired, a server that starts knows only until when it may have had entries: it
/// gives out positions that are no entry's.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_gives_out_is_known_at_one_that_runs_longer() {
    let redis = Redis::start().await;
    let url = redis.url();
    let arguments = [&OPTIONS[..], &["--redis", &url, "--room-ttl=1"]].concat();
    let old = Process::start(&arguments).await;
    let only = say(&old, "lobby", "one").await;
    eventually("the room is forgotten", async || {
        let room = ["EXISTS", "{chatroom}:room:lobby"];
        redis.command(&room).await == "0"
    })
    .await;
    redis
        .command(&["XADD", "{chatroom}:feed", "*", "kind", "later"])
        .await;
    let new = Process::start(&arguments).await;
    let mut stream = EventStream::open(new.address(), "/chat").await;
    let events = stream.caught_up().await;
    let position = events
        .last()
        .and_then(|last| last.id.clone())
        .expect("a position");
    assert!(
        position.parse::<EventId>().expect("an id") > only,
        "{position}"
    );
    for server in [&old, &new] {
        assert_eq!(resumed(server, &position).await, ["caught-up"]);
        let path = format!("/chat/lobby/messages?after={position}");
        let page = get(server.address(), &path).await.expect(200, "").json();
        assert_eq!(page["missed"], false, "{page}");
    }
}

/// The one server has evicted what stands at the other below the client's position, and has not told it
/// yet: the notice has its place above.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lags_does_not_take_for_given_what_another_has_evicted() {
    let redis = Redis::start().await;
    let relay = Relay::to(redis.address()).await;
    let (url, through) = (redis.url(), relay.url());
    let start = async |url| {
        let arguments = [&OPTIONS[..], &["--redis", url, "--history=2"]].concat();
        Process::start(&arguments).await
    };
    let (ahead, late) = (start(&url).await, start(&through).await);
    let evicted = say(&ahead, "quiet", "evicted").await;
    let position = say(&ahead, "lobby", "the last that is seen").await;
    let delay = Duration::from_millis(500);
    relay.set(Line::Late(redis.address(), delay));
    eventually(
        "it reaches Redis again, and has read that far",
        async || {
            let post = Request::post_text("/chat/lobby?name=bot", "followed");
            ask(late.address(), post).await.status == 201
        },
    )
    .await;
    for text in ["one", "two", "three"] {
        say(&ahead, "quiet", text).await;
    }
    let resumed = resumed(&late, &position.to_string()).await;
    let notice = resumed
        .iter()
        .position(|line| line.starts_with("missed in \"quiet\""));
    let notice = notice.unwrap_or_else(|| panic!("{evicted} is gone without a word: {resumed:?}"));
    assert_eq!(resumed[notice + 1..], ["two", "three", "caught-up"]);
}
