//! One position resumes a stream in all its rooms.

use crate::common::Change as _;
use serde_json::json;

use super::{pairs, posted, rooms, told};
use crate::common::{EventStream, Request, Server, id_of};

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
    let everything = [("a", "3"), ("b", "4"), ("a", "6")];
    posted(address, "a", "6").await;
    let reached = stream.message().await.id.expect("a position");
    // Cut before its first message, it has the same again.
    let again = Request::get(&target).header("Last-Event-ID", &position);
    let mut stream = EventStream::request(address, again).await;
    assert_eq!(told(&mut stream, 3).await, pairs(&everything));
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
async fn rooms_that_are_new_begin_with_their_history_and_move_nothing() {
    let server = Server::start().await;
    let address = server.address();
    for (room, text) in [("b", "1"), ("b", "2"), ("a", "3")] {
        posted(address, room, text).await;
    }
    let position = posted(address, "b", "4").await;
    posted(address, "a", "5").await;
    posted(address, "b", "6").await;
    let target = format!(
        "{}&new=b&history=2&lastEventId={position}",
        rooms(&["a", "b"])
    );
    for _ in 0..2 {
        // A client that is cut before the first id opens again as it did.
        let mut stream = EventStream::open(address, &target).await;
        for room in ["a", "b"] {
            let greeting = stream.telling().await;
            assert_eq!(greeting.id, None);
            let json = greeting.json();
            assert_eq!(json["room"], room);
            assert_eq!(id_of(&json), position);
        }
        let mut ids = Vec::new();
        for expected in ["4", "5", "6"] {
            let event = stream.telling().await;
            assert_eq!(event.text(), expected);
            ids.push(event.id);
        }
        assert_eq!(ids[0], None, "it was before the position");
        assert!(ids[1].is_some() && ids[2].is_some());
    }
    // A browser reconnects by itself, to the same address: nothing is new.
    let reached = posted(address, "a", "7").await;
    posted(address, "b", "8").await;
    let request = Request::get(&target).header("Last-Event-ID", reached.to_string());
    let mut stream = EventStream::request(address, request).await;
    assert_eq!(stream.event().await.id, Some(reached.to_string()));
    assert_eq!(told(&mut stream, 1).await, pairs(&[("b", "8")]));
    // Where all rooms are new, there is nothing to resume.
    let target = format!("/chat?room=a&new=a&history=1&lastEventId={reached}");
    let mut stream = EventStream::open(address, &target).await;
    assert_eq!(told(&mut stream, 1).await, pairs(&[("a", "7")]));
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
        (
            &missed[0]["room"],
            &missed[0]["reason"],
            &missed[0]["after"]
        ),
        (&json!("a"), &json!("expired"), &json!(position.to_string()))
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
