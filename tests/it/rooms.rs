//! Rooms end: empty ones with their last client, others when nobody has used them for long. None
//! ever goes to make place for another.

use crate::common::Change as _;
use std::net::SocketAddr;
use std::time::Duration;

use chatroom::ManualClock;
use serde_json::json;

use crate::common::{
    Client, EventStream, Request, Server, ask, eventually, figure, get, say, until_streams,
};

const TTL: Duration = Duration::from_secs(3_600);

async fn rooms(address: SocketAddr) -> Vec<String> {
    let rooms = get(address, "/rooms").await.json();
    let rooms = rooms["rooms"].as_array().expect("a list").iter();
    rooms
        .map(|room| room["room"].as_str().expect("a name").to_owned())
        .collect()
}

#[tokio::test]
async fn an_empty_room_goes_with_its_last_client() {
    let server = Server::start().await;
    let address = server.address();
    let mut first = EventStream::open(address, "/chat/quiet").await;
    first.telling().await;
    let mut second = EventStream::open(address, "/chat/quiet").await;
    second.telling().await;
    assert_eq!(rooms(address).await, ["quiet"]);
    drop(first);
    eventually("one has left", async || {
        figure(address, "chatroom_listeners").await == 1
    })
    .await;
    assert_eq!(rooms(address).await, ["quiet"]);
    drop(second);
    eventually("the room is gone", async || rooms(address).await.is_empty()).await;
}

#[tokio::test]
async fn looking_at_a_room_makes_none() {
    let server = Server::start().await;
    let address = server.address();
    for path in ["/chat/nothing/messages", "/chat/nothing/members"] {
        get(address, path).await.expect(200, "");
        assert_eq!(rooms(address).await, Vec::<String>::new());
    }
    let mut waiting = Client::connect(address).await;
    let request = Request::get("/chat/nothing/messages?wait=60");
    waiting.send(&request.to_bytes()).await;
    until_streams(address, 1).await;
    assert_eq!(rooms(address).await, Vec::<String>::new());
    // The room that somebody else makes is the one that was waited for.
    say(address, "another", "a", "not here").await;
    let said = say(address, "nothing", "a", "here").await;
    let answer = waiting.response("GET").await.expect(200, "").json();
    assert_eq!(answer["messages"], json!([said]));
}

#[tokio::test]
async fn a_room_with_messages_goes_when_nobody_used_it_for_long() {
    let clock = ManualClock::at(1_000_000);
    let server = Server::with(|chat| chat.clock(clock.clone()).room_ttl(TTL)).await;
    let address = server.address();
    let last = say(address, "idle", "a", "hello").await["eventId"].clone();
    say(address, "in-use", "a", "hello").await;
    let mut stream = EventStream::open(address, "/chat/in-use").await;
    stream.telling().await;
    clock.advance(TTL - Duration::from_secs(1));
    say(address, "young", "a", "hello").await;
    assert_eq!(rooms(address).await.len(), 3);
    clock.advance(Duration::from_secs(1));
    eventually("it is gone", async || {
        rooms(address).await == ["in-use", "young"]
    })
    .await;

    // Who was there is told, and what is said there now comes after what it had seen.
    let position = last.as_str().expect("an id").to_owned();
    let request = Request::get("/chat/idle").header("Last-Event-ID", &position);
    let mut back = EventStream::request(address, request).await;
    let past = back.caught_up().await;
    let missed = past.iter().any(|event| event.is("messages-missed"));
    assert!(!missed, "what is gone, it had: {past:?}");
    clock.set_date(5);
    let later = say(address, "idle", "a", "again").await;
    let later = crate::common::id_of(&later);
    assert!(later > position.parse().expect("an id"));
    assert_eq!(back.telling().await.text(), "again");
}

#[tokio::test]
async fn a_new_room_takes_nothing_from_those_that_are_there() {
    let server = Server::with(|chat| chat.max_rooms(2)).await;
    let address = server.address();
    say(address, "spoken", "a", "hello").await;
    let mut listener = EventStream::open(address, "/chat/heard").await;
    listener.telling().await;
    for request in [
        Request::get("/chat/third"),
        Request::post_text("/chat/third?name=a", "hello"),
    ] {
        ask(address, request).await.expect(503, "too-many-rooms");
    }
    // Asking for history opens no room, however long it waits.
    let waiting = Request::get("/chat/third/messages?wait=1");
    ask(address, waiting).await.expect(200, "");
    assert_eq!(rooms(address).await, ["heard", "spoken"]);
    assert_eq!(
        get(address, "/chat/spoken/messages").await.json()["messages"][0]["text"],
        "hello"
    );
    say(address, "heard", "a", "still here").await;
    assert_eq!(listener.message().await.text(), "still here");
    drop(listener);
    // With a message in it, that room stays, and the third finds no place still.
    eventually("it has left", async || {
        figure(address, "chatroom_listeners").await == 0
    })
    .await;
    ask(address, Request::get("/chat/third"))
        .await
        .expect(503, "too-many-rooms");
}

#[tokio::test]
async fn a_room_that_went_makes_place() {
    let server = Server::with(|chat| chat.max_rooms(1)).await;
    let address = server.address();
    let mut listener = EventStream::open(address, "/chat/first").await;
    listener.telling().await;
    ask(address, Request::get("/chat/second"))
        .await
        .expect(503, "too-many-rooms");
    drop(listener);
    eventually("the first is gone", async || {
        rooms(address).await.is_empty()
    })
    .await;
    EventStream::open(address, "/chat/second")
        .await
        .telling()
        .await;
}
