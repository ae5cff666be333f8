//! One position resumes a stream in all its rooms.

use crate::common::Change as _;
use serde_json::json;

use super::{pairs, posted, rooms, told};
use crate::common::{EventStream, Request, Server, get, id_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_resumes_in_all_its_rooms_from_one_position() {
    let server = Server::start().await;
    let address = server.address();
    for (room, text) in [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4"), ("c", "5")] {
        posted(address, room, text).await;
    }
    // One message of each room: the position is before the oldest of these.
    let target = format!("{}&history=1", rooms(&["a", "b"]));
    let mut stream = EventStream::open(address, &target).await;
    let position = stream.event().await.id.expect("a position");
    assert_eq!(told(&mut stream, 2).await, pairs(&[("a", "3"), ("b", "4")]));
    let everything = [("b", "2"), ("a", "3"), ("b", "4"), ("a", "6")];
    posted(address, "a", "6").await;
    let reached = stream.message().await.id.expect("a position");
    // Cut before its first message, it has the same again, and whatever else is after that position.
    let again = Request::get(&target).header("Last-Event-ID", &position);
    let mut stream = EventStream::request(address, again).await;
    assert_eq!(told(&mut stream, 4).await, pairs(&everything));
    // What happens meanwhile, in whatever room, comes once and in order.
    let expected = [("b", "7"), ("a", "8"), ("b", "9")];
    for (room, text) in expected {
        posted(address, room, text).await;
        posted(address, "c", "not in this stream").await;
    }
    for request in [
        Request::get(&target).header("Last-Event-ID", &reached),
        Request::get(&format!("{target}&lastEventId={reached}")),
    ] {
        let mut stream = EventStream::request(address, request).await;
        assert_eq!(stream.event().await.id.as_deref(), Some(&*reached));
        assert_eq!(told(&mut stream, 3).await, pairs(&expected));
    }
    // A room in which nothing was ever said has missed nothing.
    let target = rooms(&["b", "empty"]);
    let request = Request::get(&target).header("Last-Event-ID", &reached);
    let mut stream = EventStream::request(address, request).await;
    for _ in 0..2 {
        assert!(stream.telling().await.is("chat-room-connected"));
    }
    assert_eq!(told(&mut stream, 2).await, pairs(&[("b", "7"), ("b", "9")]));
    // Without history, a stream begins at the newest id of all rooms.
    let newest = posted(address, "elsewhere", "x").await;
    let mut stream = EventStream::open(address, "/chat?room=a&room=b&history=0").await;
    assert_eq!(stream.event().await.id, Some(newest.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_is_added_has_its_past_in_the_history_and_the_rest_in_the_stream() {
    let server = Server::start().await;
    let address = server.address();
    for (room, text) in [("b", "1"), ("b", "2"), ("a", "3")] {
        posted(address, room, text).await;
    }
    let position = posted(address, "b", "4").await;
    posted(address, "a", "5").await;
    posted(address, "b", "6").await;
    let target = format!("{}&lastEventId={position}", rooms(&["a", "b"]));
    let mut stream = EventStream::open(address, &target).await;
    for room in ["a", "b"] {
        let greeting = stream.telling().await;
        assert_eq!(greeting.id, Some(position.to_string()));
        let json = greeting.json();
        assert_eq!(json["room"], room);
        assert_eq!(id_of(&json), position);
    }
    posted(address, "b", "7").await;
    let expected = [("a", "5"), ("b", "6"), ("b", "7")];
    assert_eq!(told(&mut stream, 3).await, pairs(&expected));
    // Up to the position of the greeting: what follows is in the stream.
    let above = format!("{}-{}", position.milliseconds, position.sequence + 1);
    let past = get(address, &format!("/chat/b/messages?before={above}")).await;
    let past = past.json();
    let texts = past["messages"].as_array().expect("messages").iter();
    let texts: Vec<_> = texts.map(|message| message["text"].clone()).collect();
    assert_eq!(texts, ["1", "2", "4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_told_in_its_room_alone() {
    let server = Server::with(|chat| chat.history(3)).await;
    let address = server.address();
    posted(address, "a", "old").await;
    let position = posted(address, "b", "old").await;
    for n in 0..5 {
        posted(address, "a", &n.to_string()).await;
    }
    posted(address, "b", "new").await;
    let request = Request::get(&rooms(&["a", "b"]));
    let request = request.header("Last-Event-ID", position.to_string());
    let mut stream = EventStream::request(address, request).await;
    let mut missed = Vec::new();
    let mut all = Vec::new();
    while all.len() < 4 {
        let event = stream.telling().await;
        match event.event.as_str() {
            "messages-missed" => missed.push(event.json()),
            "new-message" => all.push(event.text()),
            _ => {}
        }
    }
    assert_eq!(missed.len(), 1, "{missed:?}");
    assert_eq!(
        (&missed[0]["room"], &missed[0]["reason"]),
        (&json!("a"), &json!("expired"))
    );
    assert_eq!(all, ["2", "3", "4", "new"]);
    let request = Request::get(&rooms(&["a", "b"])).header("Last-Event-ID", "nonsense");
    let mut stream = EventStream::request(address, request).await;
    for room in ["a", "b"] {
        let event = stream.until("messages-missed").await.json();
        assert_eq!(
            (&event["room"], &event["reason"]),
            (&json!(room), &json!("unknown"))
        );
    }
}
