//! Positions that can be resumed after something is gone: lost by Redis, or forgotten on purpose.

use crate::common::redis::Redis;
use crate::common::{Event, EventStream, Process, Request, ask, eventually, get};
use crate::ordeal::{OPTIONS, server};

async fn say(server: &Process, room: &str, text: &str) -> String {
    let post = Request::post_text(&format!("/chat/{room}?name=bot"), text);
    let stored = ask(server.address(), post).await.expect(201, "").json();
    stored["eventId"].as_str().expect("an id").to_owned()
}

/// What a stream from a position begins with.
async fn resumed(server: &Process, after: &str) -> Vec<Event> {
    let request = Request::get("/chat").header("Last-Event-ID", after);
    let mut stream = EventStream::request(server.address(), request).await;
    let mut events = Vec::new();
    while events
        .last()
        .is_none_or(|event: &Event| !event.is("heartbeat"))
    {
        events.push(stream.event().await);
    }
    events
}

fn texts(events: &[Event]) -> Vec<String> {
    let messages = events.iter().filter(|event| event.is("new-message"));
    messages.map(Event::text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_told_of_a_loss_is_not_told_again() {
    let mut redis = Redis::start().await;
    let (old, other) = (server(&redis.url()).await, server(&redis.url()).await);
    say(&old, "lobby", "kept").await;
    redis.command(&["SAVE"]).await;
    let lost = say(&old, "lobby", "lost").await;
    redis.kill().await;
    redis.restart().await;
    for server in [&old, &other, &server(&redis.url()).await] {
        eventually("the new epoch", async || {
            let history = get(server.address(), "/chat/lobby/messages").await;
            !history.text().contains("lost")
        })
        .await;
        let first = resumed(server, &lost).await;
        let told = first.iter().filter(|event| event.is("messages-missed"));
        let reasons: Vec<_> = told.map(|event| event.json()["reason"].clone()).collect();
        assert_eq!(reasons, ["unknown"]);
        assert!(texts(&first).is_empty(), "what is kept was before");
        let last = first.iter().rev().find_map(|event| event.id.clone());
        // At another server, too.
        for server in [&old, &other] {
            let again = resumed(server, last.as_deref().expect("an id")).await;
            let quiet = again.iter().all(|event| !event.is("messages-missed"));
            assert!(quiet && texts(&again).is_empty(), "{again:?}");
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
