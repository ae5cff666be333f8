//! Redis that answers late, or not at all, and loses nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chatroom::EventId;
use serde_json::json;

use crate::common::redis::Redis;
use crate::common::{EventStream, Request, ask, eventually, figure, get, id_of};
use crate::ordeal::{Ordeal, Outcome, server};
use crate::relay::{Line, Relay};

/// Nothing was lost, so nobody may be told that anything was.
fn nothing_was_lost(outcome: &Outcome) {
    assert!(outcome.acknowledged > 50, "{outcome:?}");
    assert_eq!((outcome.lost, outcome.told), (0, 0), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_pauses_and_sleeps() {
    let redis = Redis::start().await;
    let (a, b) = (server(&redis.url()).await, server(&redis.url()).await);
    let ordeal = Ordeal::begin(&[a.address(), b.address()]).await;
    for fault in [
        &["CLIENT", "PAUSE", "3000", "WRITE"][..],
        &["CLIENT", "PAUSE", "3000", "ALL"],
        &["DEBUG", "SLEEP", "3"],
        &["DEBUG", "SLEEP", "8"],
    ] {
        ordeal.go_on(Duration::from_secs(1)).await;
        redis.command(fault).await;
        ordeal.go_on(Duration::from_secs(4)).await;
    }
    let outcome = ordeal.end().await;
    outcome.row("Redis paused twice for 3 s, and asleep for 3 s and 8 s");
    nothing_was_lost(&outcome);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_cut_and_go_silent() {
    let redis = Redis::start().await;
    let relay = Relay::to(redis.address()).await;
    let (a, b) = (server(&relay.url()).await, server(&redis.url()).await);
    let ordeal = Ordeal::begin(&[a.address(), b.address()]).await;
    let good = Line::Leads(redis.address());
    for _ in 0..5 {
        ordeal.go_on(Duration::from_millis(500)).await;
        relay.set(good);
    }
    for _ in 0..2 {
        ordeal.go_on(Duration::from_secs(1)).await;
        relay.set(Line::Silent);
        ordeal.go_on(Duration::from_secs(6)).await;
        relay.set(good);
    }
    let outcome = ordeal.end().await;
    outcome.row("a server's connections to Redis cut five times, and silent twice for 6 s");
    nothing_was_lost(&outcome);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_sleeps_longer_than_the_feed_reaches_back() {
    let redis = Redis::start().await;
    let (a, b) = (server(&redis.url()).await, server(&redis.url()).await);
    let ordeal = Ordeal::begin(&[a.address(), b.address()]).await;
    ordeal.go_on(Duration::from_secs(1)).await;
    b.signal("STOP").await;
    let noise = [
        "-r",
        "10100",
        "XADD",
        "{chatroom}:feed",
        "MAXLEN",
        "10000",
        "*",
        "kind",
        "later",
    ];
    redis.command(&noise).await;
    ordeal.go_on(Duration::from_secs(1)).await;
    b.signal("CONT").await;
    let outcome = ordeal.end().await;
    outcome.row("a server asleep until the feed no longer reached back to it");
    nothing_was_lost(&outcome);
    assert!(
        b.stderr().contains("fell behind the feed"),
        "{}",
        b.stderr()
    );
    assert!(
        !a.stderr().contains("fell behind the feed"),
        "{}",
        a.stderr()
    );
}

async fn is_up(address: SocketAddr) -> bool {
    figure(address, "chatroom_store_up").await == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_one_reads_on_and_is_told_when_one_cannot_write() {
    let mut redis = Redis::start().await;
    let server = server(&redis.url()).await;
    let address = server.address();
    let post = Request::post_text("/chat?name=bot", "before");
    ask(address, post.clone()).await.expect(201, "");
    let ann = Request::get("/chat?name=ann").header("Accept", "text/event-stream");
    let first = EventStream::request(address, ann.clone()).await;
    redis.kill().await;
    eventually("the metric", async || !is_up(address).await).await;
    // Servers write to the feed every five seconds.
    let age = async || figure(address, "chatroom_feed_age_seconds").await;
    eventually("the feed's age", async || age().await > 6).await;
    let refused = ask(address, post.clone()).await;
    assert!(refused.header("retry-after").is_some(), "{}", refused.head);
    refused.expect(503, "store-unreachable");
    get(address, "/healthz").await.expect(200, "");
    let history = get(address, "/chat/lobby/messages").await.expect(200, "");
    assert!(history.text().contains("before"), "{}", history.text());
    let mut listener = EventStream::open(address, "/chat").await;
    assert!(listener.event().await.is("chat-room-connected"));
    assert_eq!(listener.until("new-message").await.text(), "before");
    listener.until("heartbeat").await;
    // The session has its name here already; another one would be new.
    let again = EventStream::request(address, ann.clone().session(&first.session())).await;
    let bob = Request::get("/chat?name=bob").header("Accept", "text/event-stream");
    ask(address, bob).await.expect(503, "store-unreachable");
    redis.restart().await;
    eventually("the metric", async || is_up(address).await).await;
    eventually("the feed's age", async || age().await < 6).await;
    ask(address, post).await.expect(201, "");
    drop(again);
}

/// Another server gave it out, and this one hears from Redis half a second late.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_a_server_has_yet_to_read_is_waited_for() {
    let redis = Redis::start().await;
    let relay = Relay::to(redis.address()).await;
    let (a, b) = (server(&redis.url()).await, server(&relay.url()).await);
    relay.set(Line::Late(redis.address(), Duration::from_millis(500)));
    // A post finds the line cut if nothing else does.
    eventually("the late line", async || {
        let post = Request::post_text("/chat?name=bot", "late");
        ask(b.address(), post).await.status == 201 && is_up(b.address()).await
    })
    .await;
    let path = |query: &str, id: EventId| format!("/chat/lobby/messages?{query}={id}");
    for n in 0..3 {
        let text = n.to_string();
        let post = Request::post_text("/chat?name=bot", &text);
        let ahead = id_of(&ask(a.address(), post).await.expect(201, "").json());
        let resume = Request::get("/chat").header("Last-Event-ID", ahead.to_string());
        let (after, before) = (
            path("after", ahead),
            path(
                "before",
                EventId {
                    sequence: ahead.sequence + 1,
                    ..ahead
                },
            ),
        );
        let (mut stream, after, before) = tokio::join!(
            EventStream::request(b.address(), resume),
            get(b.address(), &after),
            get(b.address(), &before)
        );
        let events = stream.caught_up().await;
        let told: Vec<&str> = events.iter().map(|event| event.event.as_str()).collect();
        assert_eq!(
            told,
            ["chat-room-connected", "members-changed", "caught-up"]
        );
        let position = events.last().and_then(|last| last.id.clone());
        let position: Option<EventId> = position.and_then(|id| id.parse().ok());
        assert!(position >= Some(ahead), "{position:?}");
        let (after, before) = (after.expect(200, "").json(), before.expect(200, "").json());
        assert_eq!(
            (&after["missed"], &after["messages"]),
            (&json!(false), &json!([]))
        );
        let past = before["messages"].as_array().expect("messages");
        assert_eq!(past.last().map(id_of), Some(ahead));
    }
    // No server has given this out: it counts as a position before everything.
    let future = Request::get("/chat").header("Last-Event-ID", format!("{}-0", u64::MAX));
    let mut stream = EventStream::request(b.address(), future).await;
    assert!(stream.telling().await.is("chat-room-connected"));
    assert!(stream.telling().await.is("messages-missed"));
    assert_eq!(stream.texts(4).await[1..], ["0", "1", "2"]);
}

/// Another server gave it out, and this one does not hear from Redis.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_a_server_cannot_read_is_sent_on() {
    let redis = Redis::start().await;
    let relay = Relay::to(redis.address()).await;
    let (a, b) = (server(&redis.url()).await, server(&relay.url()).await);
    relay.set(Line::Silent);
    let post = Request::post_text("/chat?name=bot", "ahead");
    let ahead = id_of(&ask(a.address(), post).await.expect(201, "").json());
    let resume = Request::get("/chat").header("Last-Event-ID", ahead.to_string());
    let after = format!("/chat/lobby/messages?after={ahead}");
    let before = format!("/chat/lobby/messages?before={}-0", ahead.milliseconds + 1);
    // At first the server does not know that Redis is away.
    for limit in [Duration::from_secs(8), Duration::from_secs(1)] {
        let begun = Instant::now();
        let sent_on = ask(b.address(), resume.clone()).await.expect(200, "");
        let (head, end) = sent_on.text().split_once('\n').expect("lines");
        assert!(head.starts_with("retry: "), "{head}");
        assert_eq!(
            end,
            "event: server-closing\ndata: {\"reason\":\"behind\"}\n\n"
        );
        eventually("the outage is noticed", async || !is_up(b.address()).await).await;
        for page in [&after, &before] {
            get(b.address(), page)
                .await
                .expect(503, "store-unreachable");
        }
        assert!(begun.elapsed() < limit, "after {:?}", begun.elapsed());
    }
    // What it has, it gives.
    get(b.address(), "/chat/lobby/messages?after=0-0")
        .await
        .expect(200, "");
    relay.set(Line::Leads(redis.address()));
    eventually("the position", async || {
        get(b.address(), &after).await.status == 200
    })
    .await;
    let mut stream = EventStream::request(b.address(), resume).await;
    let events = stream.caught_up().await;
    assert!(
        !events.iter().any(|event| event.is("messages-missed")),
        "{events:?}"
    );
}
