//! Rooms by link: nobody is told their names but those who say them.

use std::sync::{Arc, Mutex};

use chatroom::LogLevel;
use serde_json::{Value, json};

use crate::common::{Change as _, EventStream, Folder, Request, Server, ask, encode, get};
use crate::moderation::{ANN, EVE, MODERATOR, log_in};

const KEY: &str = "k3y0f22characters00000";
const LABEL: &str = "zebra";

fn room() -> String {
    format!("{LABEL}~{KEY}")
}

/// Whether a text has any part of the room's name.
fn tells(text: &str) -> bool {
    text.contains(KEY) || text.contains(LABEL)
}

#[tokio::test]
async fn a_key_is_told_to_nobody_who_does_not_say_it() {
    let folder = Folder::new();
    let log = Arc::new(Mutex::new(String::new()));
    let start = async || {
        let (log, data) = (log.clone(), folder.path().to_owned());
        Server::with(move |chat| {
            let chat = chat.moderator_password("sesame").expect("a password");
            let chat = chat.data(data).max_rooms(2).log(LogLevel::Debug);
            chat.log_to(move |_, line| {
                let log = &mut *log.lock().expect("no panic");
                *log += line;
                log.push('\n');
            })
        })
        .await
    };
    let server = start().await;
    let address = server.address();
    let secret = format!("/chat/{}", encode(&room()));
    log_in(address, MODERATOR).await;

    // Somebody is there, and somebody listens elsewhere.
    let join = Request::get(&format!("{secret}?name=ann")).session(ANN);
    let mut ann = EventStream::request(address, join).await;
    ann.caught_up().await;
    let mut outsider = EventStream::open(address, "/chat?room=lobby&room=dev&name=out").await;
    outsider.caught_up().await;
    let post = |text: &str| Request::post_text(&format!("{secret}?name=eve"), text).session(EVE);
    let said = ask(address, post("only here")).await.expect(201, "").json();
    let other = ask(address, post("spam")).await.expect(201, "").json();
    assert_eq!(said["room"], room());
    assert_eq!(ann.message().await.text(), "only here");

    // What others may ask, and every way to fail without saying the name.
    let mut told = Vec::new();
    let remove = |room: &str, message: &Value| {
        let id = message["eventId"].as_str().expect("an id");
        let target = format!("/chat/{room}/messages/{id}");
        Request::new("DELETE", &target).session(MODERATOR)
    };
    for request in [
        Request::get("/rooms"),
        Request::get("/rooms").session(ANN),
        Request::get("/metrics"),
        Request::get("/healthz"),
        Request::get("/chat/lobby/messages"),
        Request::get("/chat/lobby/members"),
        Request::get("/chat/third?name=ann").session(EVE),
        Request::post_text("/chat/lobby?name=out", "mine").session(ANN),
        remove("lobby", &said),
        Request::post_json(
            "/bans",
            &json!({"author": said["author"], "removeMessages": true, "address": false}),
        )
        .session(MODERATOR),
        Request::get("/bans").session(MODERATOR),
        Request::get(&format!("/chat/{LABEL}~short")),
    ] {
        let target = String::from_utf8_lossy(&request.to_bytes()).into_owned();
        let answer = ask(address, request).await;
        told.push((target, answer.text().to_owned()));
    }
    for (target, answer) in &told {
        assert!(!tells(answer), "{target}: {answer}");
    }
    // They were removed all the same, and those who are there know.
    let mut removed = Vec::new();
    while removed.len() < 2 {
        let event = ann.next().await.expect("the stream is open");
        if event.is("message-removed") {
            removed.push(event.json()["removed"].clone());
        }
    }
    assert_eq!(removed, [said["eventId"].clone(), other["eventId"].clone()]);

    // Whoever says the name is told.
    let members = get(address, &format!("{secret}/members")).await;
    assert_eq!(members.json()["members"], json!(["ann"]));
    let rooms = get(address, "/rooms").await.json();
    let rooms: Vec<&str> = rooms["rooms"]
        .as_array()
        .expect("rooms")
        .iter()
        .filter_map(|room| room["room"].as_str())
        .collect();
    assert_eq!(rooms, ["dev", "lobby"]);
    // It counts as a room.
    ask(address, Request::get("/chat/third"))
        .await
        .expect(503, "too-many-rooms");
    let metrics = get(address, "/metrics").await;
    assert!(
        metrics.text().contains("\nchatroom_rooms 3\n"),
        "{}",
        metrics.text()
    );

    drop((ann, outsider));
    server.stop().await;
    let journal = std::fs::read_to_string(folder.path().join("messages.jsonl")).expect("a journal");
    assert!(tells(&journal), "it is kept");
    let server = start().await;
    let address = server.address();
    let answer = get(address, "/rooms").await;
    assert!(!tells(answer.text()), "{}", answer.text());
    let page = get(address, &format!("{secret}/messages?after=0-0"))
        .await
        .json();
    assert_eq!(page["removed"].as_array().map(Vec::len), Some(2));
    server.stop().await;
    let log = log.lock().expect("no panic");
    assert!(log.lines().count() > 20 && !tells(&log), "{log}");
}

#[tokio::test]
async fn a_room_by_link_may_be_offered_but_not_first() {
    let name = room();
    let offered = |rooms: [&str; 2]| {
        let rooms = rooms.map(|room| room.parse().expect("a room"));
        rooms
            .into_iter()
            .fold(crate::common::unlimited(), |chat, room| chat.room(room))
    };
    let server = Server::with(|_| offered(["lobby", &name])).await;
    let secret = format!("/chat/{}", encode(&name));
    ask(
        server.address(),
        Request::post_text(&format!("{secret}?name=a"), "hello"),
    )
    .await
    .expect(201, "");
    let rooms = get(server.address(), "/rooms").await;
    assert!(!tells(rooms.text()), "{}", rooms.text());
    assert!(offered([&name, "lobby"]).build().is_err());
}
