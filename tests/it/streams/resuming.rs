//! What follows a position, in the order of ids and over all rooms of a stream: what is retained, and
//! at each low-water mark above the position that something is not.

use crate::common::Change as _;
use std::net::SocketAddr;

use chatroom::{EventId, ManualClock};

use super::{posted, rooms};
use crate::common::{Event, EventStream, Folder, Request, Server, figure, get};

/// What a stream begins with, up to `caught-up`, as one line each: greetings and rosters by their room,
/// messages by their text, notices by room and id line.
async fn beginning(address: SocketAddr, rooms: &str, position: &str) -> Vec<String> {
    let request = Request::get(rooms).header("Last-Event-ID", position);
    let mut stream = EventStream::request(address, request).await;
    stream.caught_up().await.iter().map(line).collect()
}

fn line(event: &Event) -> String {
    let json = event.json();
    let id = event.id.as_deref().unwrap_or("no id");
    match event.event.as_str() {
        "chat-room-connected" => format!("welcome to {}", json["room"]),
        "members-changed" => format!("roster of {}", json["room"]),
        "new-message" => event.text(),
        "messages-missed" => format!("missed in {} up to {id}", json["room"]),
        "caught-up" => format!("now {id}"),
        other => panic!("{other}"),
    }
    .replace('"', "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_resumes_in_all_its_rooms_from_one_position() {
    let server = Server::start().await;
    let address = server.address();
    let mut ids = Vec::new();
    for (room, text) in [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4"), ("c", "5")] {
        ids.push(posted(address, room, text).await);
    }
    // Without a position, one message of each room. The newest id is that of any room.
    let target = format!("{}&history=1", rooms(&["a", "b"]));
    let now = format!("now {}", ids[4]);
    let with = |messages: &[&str]| -> Vec<String> {
        let messages = messages.join("|");
        let all = format!("welcome to a|welcome to b|{messages}|roster of a|roster of b|{now}");
        let lines = all.split('|').filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect()
    };
    assert_eq!(beginning(address, &target, "").await, with(&["3", "4"]));
    // With one, all that stands after it, wherever the position was given, and whatever `history` says.
    for (position, expected) in [
        (ids[0], &["2", "3", "4"][..]),
        (ids[1], &["3", "4"]),
        (ids[3], &[]),
        (ids[4], &[]),
    ] {
        let position = position.to_string();
        assert_eq!(beginning(address, &target, &position).await, with(expected));
        let query = format!("{target}&lastEventId={position}");
        assert_eq!(beginning(address, &query, "").await, with(expected));
    }
    // A room in which nothing was ever said has missed nothing.
    let position = ids[1].to_string();
    let past = beginning(address, &rooms(&["empty"]), &position).await;
    assert_eq!(past, ["welcome to empty", "roster of empty", &now]);
    // What happens meanwhile, in whatever room, comes once and in order.
    let request = Request::get(&target).header("Last-Event-ID", &position);
    let mut stream = EventStream::request(address, request).await;
    for (room, text) in [("b", "6"), ("c", "not in this stream"), ("a", "7")] {
        posted(address, room, text).await;
    }
    stream.caught_up().await;
    assert_eq!(stream.texts(2).await, ["6", "7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_stream_without_history_begins_at_the_newest_id_of_all_rooms() {
    let server = Server::start().await;
    let address = server.address();
    posted(address, "a", "before").await;
    let newest = posted(address, "elsewhere", "x").await.to_string();
    let target = format!("{}&history=0", rooms(&["a", "b"]));
    let mut stream = EventStream::open(address, &target).await;
    let greeting = stream.event().await;
    assert_eq!(greeting.json()["eventId"], *newest);
    assert_eq!(greeting.id, None);
    let past = stream.caught_up().await;
    assert_eq!(past.last().expect("caught-up").id.as_ref(), Some(&newest));
    assert!(
        !past.iter().any(|event| event.is("new-message")),
        "{past:?}"
    );
    // Cut there, it goes on there.
    drop(stream);
    posted(address, "b", "meanwhile").await;
    let past = beginning(address, &target, &newest).await;
    assert_eq!(past[2], "meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_added_and_left_at_a_position() {
    let server = Server::start().await;
    let address = server.address();
    let mut ids = Vec::new();
    for (room, text) in [
        ("b", "1"),
        ("b", "2"),
        ("a", "3"),
        ("b", "4"),
        ("a", "5"),
        ("b", "6"),
    ] {
        ids.push(posted(address, room, text).await);
    }
    // A stream of `a` has come to the third message, and adds `b`.
    let position = ids[2].to_string();
    let both = beginning(address, &rooms(&["a", "b"]), &position).await;
    assert_eq!(both[2..5], ["4", "5", "6"]);
    // What the new room said before is in its history, and ids tell it from what the stream gave.
    let past = get(address, &format!("/chat/b/messages?before={position}")).await;
    let past = past.json();
    let past = past["messages"].as_array().expect("messages");
    assert_eq!(crate::common::texts(past), ["1", "2"]);
    // It leaves `a`, and comes back to it.
    let position = ids[3].to_string();
    assert_eq!(beginning(address, &rooms(&["b"]), &position).await[1], "6");
    let both = beginning(address, &rooms(&["b", "a"]), &position).await;
    assert_eq!(both[..4], ["welcome to b", "welcome to a", "5", "6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_told_in_its_room_alone_and_in_its_place() {
    let server = Server::with(|chat| chat.history(3)).await;
    let address = server.address();
    let mut a = vec![posted(address, "a", "a0").await];
    let position = posted(address, "b", "b0").await.to_string();
    a.push(posted(address, "a", "a1").await);
    posted(address, "b", "b1").await;
    for n in 2..6 {
        a.push(posted(address, "a", &format!("a{n}")).await);
    }
    let b2 = posted(address, "b", "b2").await;
    let both = rooms(&["a", "b"]);
    let missed = format!("missed in a up to {}", a[2]);
    let rest = ["a3", "a4", "a5", "b2"];
    let expected = [&["b1", &*missed][..], &rest].concat();
    let told = beginning(address, &both, &position).await;
    assert_eq!(told[2..8], expected);
    assert_eq!(figure(address, "chatroom_gaps_told_total").await, 1);
    assert_eq!(figure(address, "chatroom_resumes_total").await, 1);
    // Cut behind the notice, it is not told again; nor at the mark itself, which is all that is gone.
    let told = beginning(address, &both, &a[2].to_string()).await;
    assert_eq!(told[2..6], rest);
    // A fresh stream is told nothing, however much more it asked for.
    let target = format!("{both}&history=500");
    let told = beginning(address, &target, "").await;
    assert_eq!(told[2..8], ["b0", "b1", "a3", "a4", "a5", "b2"]);
    assert_eq!(told.last(), Some(&format!("now {b2}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_of_rooms_that_share_a_mark_stand_together_and_only_the_last_has_the_id() {
    let server = Server::start().await;
    let address = server.address();
    let begin = get(address, "/chat/a/messages").await.json()["next"].clone();
    let begin: EventId = begin
        .as_str()
        .and_then(|id| id.parse().ok())
        .expect("an id");
    posted(address, "b", "1").await;
    let told = beginning(address, &rooms(&["a", "b", "c"]), "0-0").await;
    let expected = [
        "missed in a up to no id".to_owned(),
        "missed in b up to no id".to_owned(),
        format!("missed in c up to {begin}"),
        "1".to_owned(),
    ];
    assert_eq!(told[3..7], expected);
    let told = beginning(address, &rooms(&["a", "b", "c"]), &begin.to_string()).await;
    assert_eq!(told[3], "1", "from the chat's beginning nothing is missed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_this_chat_cannot_have_given_is_before_everything() {
    let before = Server::start().await;
    let other_run = posted(before.address(), "a", "of another run").await;
    before.stop().await;
    // No program is up again within the millisecond in which it went down; this one could be.
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;

    let server = Server::with(|chat| chat.history(3)).await;
    let address = server.address();
    let begin = get(address, "/chat/b/messages").await.json()["next"].clone();
    let begin = begin.as_str().expect("an id");
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(posted(address, "a", &format!("{n}")).await);
    }
    let everything = [
        "welcome to a".to_owned(),
        "welcome to b".to_owned(),
        format!("missed in b up to {begin}"),
        format!("missed in a up to {}", ids[1]),
        "2".to_owned(),
        "3".to_owned(),
        "4".to_owned(),
        "roster of a".to_owned(),
        "roster of b".to_owned(),
        format!("now {}", ids[4]),
    ];
    let future = EventId {
        sequence: ids[4].sequence + 1,
        ..ids[4]
    };
    for position in [
        "garbage",
        "\u{1f980}",
        "1-2-3",
        "0-0",
        "99999999999999999999999-0",
        &format!("{}-0", u64::MAX),
        &future.to_string(),
        &other_run.to_string(),
    ] {
        let told = beginning(address, &rooms(&["a", "b"]), position).await;
        assert_eq!(told, everything, "{position}");
        let query = format!(
            "{}&lastEventId={}",
            rooms(&["a", "b"]),
            crate::common::encode(position)
        );
        assert_eq!(
            beginning(address, &query, "").await,
            everything,
            "{position}"
        );
    }
}

/// The clock may go back between two runs, and a position of the first lie within the second.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_another_run_is_recognized_whatever_the_clock_says() {
    let clock = ManualClock::at(2_000_000);
    let before = Server::with(|chat| chat.clock(clock.clone())).await;
    let position = posted(before.address(), "a", "of another run").await;
    before.stop().await;
    clock.set_date(1_000_000);
    let server = Server::with(|chat| chat.clock(clock.clone())).await;
    posted(server.address(), "a", "early").await;
    clock.set_date(3_000_000);
    posted(server.address(), "a", "late").await;
    let told = beginning(server.address(), "/chat/a", &position.to_string()).await;
    assert!(
        told[1].starts_with("missed in a up to 1000000-"),
        "{told:?}"
    );
    assert_eq!(told[2..4], ["early", "late"]);
}

/// Without the marks of the new folder, its past would be taken for all that the old position lacks.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_another_data_folder_is_told_where_the_new_one_begins() {
    let old = Folder::new();
    let server = Server::with(|chat| chat.data(old.path())).await;
    let position = posted(server.address(), "a", "in the old folder").await;
    server.stop().await;
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    let new = Folder::new();
    let server = Server::with(|chat| chat.data(new.path())).await;
    let begin = get(server.address(), "/chat/a/messages").await.json()["next"].clone();
    let begin = begin.as_str().expect("an id").to_owned();
    posted(server.address(), "a", "in the new folder").await;
    server.stop().await;
    // The beginning is that of the folder, not of the run.
    let server = Server::with(|chat| chat.data(new.path())).await;
    let told = beginning(server.address(), "/chat/a", &position.to_string()).await;
    let missed = format!("missed in a up to {begin}");
    assert_eq!(told[1..3], [&*missed, "in the new folder"]);
    assert_eq!(
        beginning(server.address(), "/chat/a", &begin).await[1],
        "in the new folder"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_position_in_the_header_wins() {
    let server = Server::start().await;
    let address = server.address();
    let one = posted(address, "a", "one").await.to_string();
    let two = posted(address, "a", "two").await;
    let target = format!("/chat/a?lastEventId={two}");
    assert_eq!(beginning(address, &target, &one).await[1], "two");
}
