//! What a program does in its chat beside posting: it resumes, turns pages, knows who is there, sends
//! things once, bans and removes, and reads why it was refused.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chatroom::{
    Chat, EventId, Heard, LogLevel, ManualClock, Member, Options, PageAt, PeerAddr, Refusal,
    RoomName,
};
use hyper::service::Service;

use crate::common::{
    Change as _, EventStream, Folder, Request, Server, ask, encode, unlimited, within,
};

/// Everything that a listener after this position hears until it has caught up, in words.
async fn heard_after(chat: &Chat, rooms: &[&str], after: EventId) -> Vec<String> {
    let mut listener = chat.listen(rooms, Some(after)).await.expect("rooms");
    let (mut told, mut last) = (Vec::new(), EventId::default());
    loop {
        let heard = within("something", listener.next()).await.expect("open");
        let position = heard.position().expect("nobody is here");
        assert!(position >= last, "{heard:?} after {last}");
        last = position;
        told.push(match heard {
            Heard::Message(message) => message.text.to_string(),
            Heard::Removed { room, message, .. } => format!("{message} removed from {room}"),
            Heard::Missed { rooms, .. } => {
                let rooms: Vec<&str> = rooms.iter().map(RoomName::as_str).collect();
                format!("missed in {}", rooms.join(" and "))
            }
            Heard::CaughtUp { .. } => return told,
            other => panic!("{other:?}"),
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_begins_after_a_position_and_is_told_what_a_client_is() {
    let chat = unlimited().history(3).build().expect("a chat");
    let mut ids = Vec::new();
    for (room, text) in [("a", "one"), ("b", "two"), ("a", "three"), ("b", "four")] {
        let said = chat.post(room, "bot", text).await.expect("posted");
        ids.push(said.id);
    }
    let all = ["a", "b"];
    let first = ids[0];
    assert_eq!(
        heard_after(&chat, &all, first).await,
        ["two", "three", "four"]
    );
    assert_eq!(heard_after(&chat, &["b"], ids[1]).await, ["four"]);
    assert!(heard_after(&chat, &all, ids[3]).await.is_empty());
    // A position of another run, or none that was ever given.
    let missed = "missed in a and b";
    let everything = [missed, "one", "two", "three", "four"];
    assert_eq!(
        heard_after(&chat, &all, EventId::default()).await,
        everything
    );
    let later: EventId = "9999999999999-0".parse().expect("an id");
    assert_eq!(heard_after(&chat, &all, later).await, everything);
    chat.remove("a", ids[2]).await.expect("removed");
    let removed = format!("{} removed from a", ids[2]);
    assert_eq!(
        heard_after(&chat, &all, first).await,
        ["two", "four", &removed]
    );
    // Two more than the room retains.
    for text in ["five", "six", "seven"] {
        chat.post("a", "bot", text).await.expect("posted");
    }
    let told = heard_after(&chat, &all, first).await;
    assert_eq!(told, ["two", "four", "missed in a", "five", "six", "seven"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_tell_what_was_removed_and_what_is_missing() {
    let chat = unlimited().history(4).build().expect("a chat");
    let mut ids = Vec::new();
    for n in 0..4 {
        let said = chat.post("lobby", "bot", n.to_string()).await;
        ids.push(said.expect("posted").id);
    }
    chat.remove("lobby", ids[1]).await.expect("removed");
    let page = async |at, limit| chat.history("lobby", at, limit).await.expect("a page");
    let first = page(PageAt::After(ids[0]), 1).await;
    assert_eq!((first.messages.len(), first.next), (1, ids[2]));
    let second = page(PageAt::After(first.next), 9).await;
    assert_eq!((second.messages.len(), second.removed), (1, vec![ids[1]]));
    assert!(!second.missed && page(PageAt::After(EventId::default()), 9).await.missed);
    assert!(
        page(PageAt::After(second.next), 9)
            .await
            .messages
            .is_empty()
    );
    // Nothing is passed over where nothing is asked for.
    assert_eq!(page(PageAt::After(ids[0]), 0).await.next, ids[0]);
    let rooms = chat.rooms();
    assert!(chat.history("other", PageAt::End, 9).await.is_ok());
    assert_eq!(chat.rooms(), rooms, "asking makes no room");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_knows_who_is_there_and_who_comes_and_goes() {
    let clock = ManualClock::at(1_700_000_000_000);
    let chat = unlimited().clock(clock.clone()).build().expect("a chat");
    // More than an event of a stream names.
    let mut crowd = Vec::new();
    for n in 0..600 {
        let joined = chat.join(["a"], format!("n{n}"), None).await;
        crowd.push(joined.expect("a free name"));
    }
    let mut bot = chat.join(["a", "b"], "bot", None).await.expect("rooms");
    let mut present = BTreeSet::new();
    loop {
        match within("who is there", bot.next()).await.expect("open") {
            Heard::Joined { room, member, .. } => assert!(present.insert((room, member))),
            Heard::CaughtUp { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(present.len(), 602);
    let mut members = BTreeSet::new();
    for room in ["a", "b"] {
        let room: RoomName = room.parse().expect("a room");
        for member in chat.members(&room).expect("a room") {
            members.insert((room.clone(), member));
        }
    }
    assert_eq!((present.len(), &present), (602, &members));
    let ann = chat.join(["b"], "ann", None).await.expect("a free name");
    let author = ann.author();
    let is_ann = |room: &RoomName, member: &Member| {
        *room == "b" && member.name == "ann" && Some(member.author) == author
    };
    let joined = within("ann", bot.next()).await.expect("open");
    assert!(
        matches!(&joined, Heard::Joined { room, member, .. } if is_ann(room, member)),
        "{joined:?}"
    );
    drop(ann);
    clock.advance(Duration::from_secs(11));
    let left = within("ann", bot.next()).await.expect("open");
    assert!(
        matches!(&left, Heard::Left { room, member, .. } if is_ann(room, member)),
        "{left:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_under_a_key_is_sent_once_in_later_runs_too() {
    let folder = Folder::new();
    let open = || async { Server::with(|chat| chat.data(folder.path())).await };
    let server = open().await;
    // A visitor's key of the same text is another.
    let post = Request::post_text("/chat?name=ann", "hers").header("Idempotency-Key", "k");
    ask(server.address(), post).await.expect(201, "");
    let bot = server.chat().join(["lobby"], "bot", None).await;
    let bot = bot.expect("a free name");
    let first = bot.post_once("lobby", "hello", "k").await.expect("posted");
    let (name, author) = (bot.name().cloned(), bot.author());
    assert_eq!((first.author, first.member), (author, true));
    drop(bot);
    server.stop().await;

    let server = open().await;
    let chat = server.chat();
    let again = chat.post_once("lobby", "bot", "hello", "k").await;
    assert_eq!(again, Ok(first.clone()));
    let code = |sent: Result<_, Refusal>| sent.err().map(|refused| refused.code());
    let other = chat.post_once("lobby", "bot", "bye", "k").await;
    assert_eq!(code(other), Some("key-reused"));
    let bad = chat.post_once("lobby", "bot", "hello", "a key").await;
    assert_eq!(code(bad), Some("bad-request"));
    chat.remove("lobby", first.id).await.expect("removed");
    let gone = chat.post_once("lobby", "bot", "hello", "k").await;
    assert_eq!(code(gone), Some("removed"));
    // Who joins under that name is the author of then.
    let bot = chat.join(["lobby"], "bot", None).await.expect("free");
    assert_eq!((bot.name(), bot.author()), (name.as_ref(), author));
    let page = chat.history("lobby", PageAt::End, 9).await.expect("a page");
    assert_eq!(page.messages.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_bans_removes_what_was_said_and_lifts_the_ban() {
    let server = Server::start().await;
    let (address, chat) = (server.address(), server.chat());
    let mut stream = EventStream::open(address, "/chat/dev?name=eve").await;
    let session = stream.session();
    let say = async |room: &str| {
        let post = Request::post_text(&format!("/chat/{room}?name=eve"), "spam");
        ask(address, post.session(&session)).await
    };
    say("dev").await.expect(201, "");
    say("ops").await.expect(201, "");
    let eve = chat.members("dev").expect("a room").remove(0);
    let hour = Duration::from_secs(3_600);
    let ban = chat.ban(eve.author, hour, false).await.expect("banned");
    assert_eq!((ban.author, ban.name.as_deref()), (eve.author, Some("eve")));
    assert_eq!(chat.bans(), [ban]);
    while stream.next().await.is_some() {}
    chat.remove_all_of(eve.author).await.expect("removed");
    for room in ["dev", "ops"] {
        let page = chat.history(room, PageAt::End, 9).await.expect("a page");
        assert!(page.messages.is_empty(), "{page:?}");
    }
    say("dev").await.expect(403, "banned");
    chat.unban(eve.author).await.expect("lifted");
    assert_eq!(chat.bans(), []);
    let unknown = chat.unban(eve.author).await;
    assert_eq!(unknown, Err(Refusal::NotFound));
    say("dev").await.expect(201, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_bot_is_silent() {
    let server = Server::start().await;
    let mut bot = server
        .chat()
        .join(["lobby"], "bot", None)
        .await
        .expect("free");
    let author = bot.author().expect("it has a name");
    let day = Duration::from_secs(86_400);
    server.chat().ban(author, day, true).await.expect("banned");
    while let Some(heard) = within("the end", bot.next()).await {
        assert!(!matches!(heard, Heard::Message(_)), "{heard:?}");
    }
    // Its name is free, and it may not use it.
    ask(
        server.address(),
        Request::post_text("/chat?name=bot", "I am free"),
    )
    .await
    .expect(201, "");
    let refused = bot.post("lobby", "still here").await.expect_err("banned");
    assert_eq!((refused.status().as_u16(), refused.code()), (403, "banned"));
    let wait = refused.retry_after().expect("it ends");
    assert!(wait <= day && wait > day / 2, "{wait:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_has_the_status_the_code_and_the_wait_of_an_answer() {
    let server = Server::with(|chat| chat.max_rooms(1).max_message(9)).await;
    let (address, chat) = (server.address(), server.chat());
    let _bot = chat.join(["full"], "bot", None).await.expect("free");
    let _ = chat.history("lobby", PageAt::End, 1).await;
    let mut seen = BTreeSet::new();
    for (room, name, text) in [
        ("other", "ann", "hi"),
        ("full", "bot", "hi"),
        (".", "ann", "hi"),
        ("lobby", "\u{7}", "hi"),
        ("lobby", "ann", " "),
        ("lobby", "ann", "more than nine"),
    ] {
        let refused = chat.post(room, name, text).await.expect_err("refused");
        let target = format!("/chat/{room}?name={}", encode(name));
        let answer = ask(address, Request::post_text(&target, text)).await;
        let wait = answer
            .header("retry-after")
            .and_then(|wait| wait.parse().ok());
        assert_eq!(
            (
                refused.status().as_u16(),
                refused.code(),
                refused.retry_after()
            ),
            (
                answer.status,
                &*answer.code(),
                wait.map(Duration::from_secs)
            )
        );
        seen.insert((refused.code(), refused.retry_after().is_some()));
    }
    assert_eq!(seen.len(), 6);
    assert!(seen.contains(&("too-many-rooms", true)));
}

#[tokio::test]
async fn the_log_says_once_that_requests_come_without_an_address() {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let log = lines.clone();
    let options = Options::default().log_to(move |_: LogLevel, line: &str| {
        log.lock().expect("no panic").push(line.to_owned());
    });
    let chat = options.build().expect("a chat");
    let ask = async |address: Option<PeerAddr>| {
        let request = hyper::Request::get("/rooms").header("Host", "x");
        let mut request = request.body(String::new()).expect("a request");
        address.map(|address| request.extensions_mut().insert(address));
        let Ok(answer) = chat.call(request).await;
        assert_eq!(answer.status(), 200);
        let lines = lines.lock().expect("no panic");
        lines
            .iter()
            .filter(|line| line.contains("PeerAddr"))
            .count()
    };
    assert_eq!(ask(Some(PeerAddr(([192, 0, 2, 1], 9).into()))).await, 0);
    assert_eq!(ask(None).await, 1);
    assert_eq!(ask(None).await, 1);
}

/// Whatever holds names is taken for them.
#[tokio::test]
async fn names_of_all_types_are_taken() {
    let chat = unlimited().build().expect("a chat");
    let room: RoomName = "dev".parse().expect("a room");
    let names = vec!["lobby".to_owned(), "dev".to_owned()];
    let set = BTreeSet::from([room.clone()]);
    chat.listen(&names, None).await.expect("a reference");
    chat.listen(&names[..1], None).await.expect("a slice");
    chat.listen(names, None).await.expect("a vector");
    chat.listen(&set, None).await.expect("a set");
    let bot = chat.join([&room], "bot", None).await.expect("a room");
    let name = bot.name().expect("it has one").clone();
    let said = bot
        .post(&room, String::from("hello"))
        .await
        .expect("posted");
    assert!(said.room == "dev" && said.name == name && said.text == *"hello");
    let again = bot.post(&said.room, &said.text).await.expect("posted");
    assert_eq!(again.text, said.text);
}
