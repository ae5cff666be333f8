//! A removed text leaves the journal for good, whenever the server is killed; its removal stays.

use crate::common::Change as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use chatroom::{Fsync, ManualClock, PageAt};
use tokio::time::sleep;

use super::{entries, held, kept, lines, texts};
use crate::common::http::find;
use crate::common::{
    EventStream, Folder, Request, Response, Server, ask, eventually, get, id_of, say,
};

/// How soon a removed text is in no file.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn keyed(key: &str, text: &str) -> Request {
    Request::post_text("/chat?name=a", text).header("Idempotency-Key", key)
}

pub(super) fn removal(id: &str) -> Request {
    Request::new("DELETE", &format!("/chat/lobby/messages/{id}"))
}

/// A session of its own.
pub(super) async fn session(address: SocketAddr) -> String {
    EventStream::open(address, "/chat").await.session()
}

pub(super) fn id(message: &Response) -> String {
    id_of(&message.json()).to_string()
}

/// Whether a text is in any file of a folder.
fn is_on_disk(folder: &Path, text: &str) -> bool {
    let entries = fs::read_dir(folder).expect("it can be listed");
    entries.into_iter().any(|entry| {
        let path = entry.expect("it can be listed").path();
        // A file may be renamed or removed meanwhile.
        let content = fs::read(&path).unwrap_or_default();
        let inside = path.is_dir() && is_on_disk(&path, text);
        inside || find(&content, text.as_bytes()).is_some()
    })
}

/// Waits until none of the texts is in any file, within the limit counted from `began`.
pub(super) async fn until_gone(folder: &Path, texts: &[&str], began: Instant) {
    while texts.iter().any(|text| is_on_disk(folder, text)) {
        assert!(began.elapsed() < LIMIT, "a removed text is still on disk");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_removed_text_is_in_no_file_within_the_limit() {
    let folder = Folder::new();
    let server = Server::with(|_| kept(folder.path()).fsync(Fsync::Always)).await;
    let mut ids = Vec::new();
    for n in 0..4 {
        let posted = say(server.address(), "lobby", "a", &format!("secret {n}")).await;
        ids.push(id_of(&posted));
    }
    // The second one has to wait until another rewrite may be forced.
    for n in [0, 2] {
        let began = Instant::now();
        let removed = server.chat().remove("lobby", ids[n]).await;
        removed.expect("it is retained");
        until_gone(folder.path(), &[&format!("secret {n}")], began).await;
    }
    assert_eq!(
        texts(&held(server.address()).await),
        ["secret 1", "secret 3"]
    );
    assert_eq!(
        entries(folder.path()).len(),
        4,
        "two messages and two removals"
    );
}

/// One that the server has no time for is done at the end.
#[tokio::test]
async fn an_end_in_good_order_leaves_no_removed_text() {
    let folder = Folder::new();
    let chat = kept(folder.path()).build().expect("an empty folder");
    for text in ["secret 1", "secret 2", "secret 3"] {
        let posted = chat.post("lobby", "a", text).await.expect("it is taken");
        chat.remove("lobby", posted.id)
            .await
            .expect("it is retained");
    }
    chat.close().await;
    assert!(!is_on_disk(folder.path(), "secret"));
    assert_eq!(entries(folder.path()).len(), 3);
}

#[tokio::test]
async fn a_removal_survives_restarts_and_resumes() {
    let folder = Folder::new();
    let builder = || kept(folder.path());
    let mut server = Server::with(|_| builder()).await;
    let author = session(server.address()).await;
    say(server.address(), "lobby", "b", "before").await;
    let request = keyed("k", "secret").session(&author);
    let posted = ask(server.address(), request.clone()).await;
    let id = id(&posted.expect(201, ""));
    say(server.address(), "lobby", "b", "after").await;
    let stranger = session(server.address()).await;
    let mut removed: Option<Response> = None;
    for _ in 0..3 {
        let address = server.address();
        let again = ask(address, removal(&id).session(&author))
            .await
            .expect(200, "");
        if let Some(removed) = &removed {
            assert_eq!(again.body, removed.body);
        } else {
            // Somebody else may say so only now.
            ask(address, removal(&id).session(&stranger))
                .await
                .expect(200, "");
        }
        assert_eq!(texts(&held(address).await), ["before", "after"]);
        let page = get(address, &format!("/chat/lobby/messages?after={id}"))
            .await
            .json();
        assert_eq!(page["removed"], serde_json::json!([id]));
        assert_eq!(page["messages"].as_array().map(Vec::len), Some(1));
        ask(address, request.clone()).await.expect(410, "removed");
        let resume = Request::get("/chat").header("Last-Event-ID", &id);
        let mut stream = EventStream::request(address, resume).await;
        stream.telling().await;
        assert_eq!(stream.telling().await.text(), "after");
        let told = stream.telling().await;
        assert!(told.is("message-removed"));
        assert_eq!(told.json(), again.json());
        assert_eq!(told.json()["by"], "author");
        removed = Some(again);
        server.stop().await;
        server = Server::with(|_| builder()).await;
    }
    server.stop().await;
    // With smaller bounds only the removal comes back, and with it the key.
    let server = Server::with(|_| builder().history(1)).await;
    ask(server.address(), request).await.expect(410, "removed");
    assert!(held(server.address()).await.is_empty());
}

/// The journal as the first version wrote it.
#[tokio::test]
async fn a_journal_without_authors_loads() {
    const OLD: &str = concat!(
        r#"{"v":1,"eventId":"1795546683744-0","after":"0-0","room":"lobby","name":"ann","member":false,"text":"first words","sentAt":1795546683744,"crc":"4f5bfc20"}"#,
        "\n",
        r#"{"v":1,"eventId":"1795546683751-0","after":"1795546683744-0","room":"lobby","name":"ben","member":false,"text":"and \"more\"","sentAt":1795546683751,"key":"k-1","crc":"ef799aaf"}"#,
        "\n",
    );
    let folder = Folder::new();
    folder.file("messages.jsonl", OLD);
    let server = Server::with(|_| kept(folder.path())).await;
    let address = server.address();
    let messages = held(address).await;
    assert_eq!(texts(&messages), ["first words", "and \"more\""]);
    assert!(messages.iter().all(|message| message["author"].is_null()));
    let repeat = Request::post_text("/chat?name=ben", "and \"more\"");
    let repeat = repeat.header("Idempotency-Key", "k-1");
    ask(address, repeat).await.expect(200, "");
    // Nobody is their author.
    let stranger = session(address).await;
    let id = id_of(&messages[0]);
    ask(address, removal(&id.to_string()).session(&stranger))
        .await
        .expect(403, "not-yours");
    server
        .chat()
        .remove("lobby", id)
        .await
        .expect("a moderator may");
    server.stop().await;
    assert!(!is_on_disk(folder.path(), "first words"));
    let server = Server::with(|_| kept(folder.path())).await;
    assert_eq!(texts(&held(server.address()).await), ["and \"more\""]);
}

/// Where the number of messages had evicted one before its age did, its text has an age all the same.
#[tokio::test]
async fn what_has_expired_leaves_the_file_even_if_it_was_evicted_before() {
    let folder = Folder::new();
    let clock = ManualClock::at(1_000_000_000);
    let age = Duration::from_secs(3_600);
    let server = Server::with(|_| {
        let chat = kept(folder.path()).history(2).history_age(age);
        chat.clock(clock.clone())
    })
    .await;
    let address = server.address();
    say(address, "lobby", "a", "the first").await;
    clock.advance(age / 2);
    for n in 0..2 {
        say(address, "lobby", "a", &format!("later {n}")).await;
    }
    assert!(is_on_disk(folder.path(), "the first"));
    clock.advance(age / 2 + Duration::from_secs(1));
    until_gone(folder.path(), &["the first"], Instant::now()).await;
    assert_eq!(texts(&held(address).await), ["later 0", "later 1"]);
    assert_eq!(
        lines(folder.path()).len(),
        4,
        "the low-water mark of the room, both, and the mark of all others"
    );
}

/// Streams come back as soon as a server listens.
#[tokio::test]
async fn what_has_expired_while_nobody_was_there_is_gone_at_the_start() {
    let folder = Folder::new();
    let clock = ManualClock::at(1_000_000_000);
    let age = Duration::from_secs(3_600);
    let options = || kept(folder.path()).history_age(age).clock(clock.clone());
    let server = Server::with(|_| options()).await;
    say(server.address(), "lobby", "a", "old").await;
    server.stop().await;
    clock.advance(age * 2);
    let chat = chatroom::Chat::open(options()).expect("the folder is free");
    let page = chat.history("lobby", PageAt::End, 9).await;
    assert!(page.expect("the lobby").messages.is_empty());
    until_gone(folder.path(), &["old"], Instant::now()).await;
}

/// Ids never go back, so all that follows has the year that was to come: expiry goes by the time of each
/// message.
#[tokio::test]
async fn one_message_while_the_clock_is_a_year_ahead_keeps_nothing_from_expiring() {
    let folder = Folder::new();
    let (now, year) = (1_800_000_000_000, Duration::from_secs(365 * 24 * 3_600));
    let (clock, age) = (ManualClock::at(now), Duration::from_secs(3_600));
    let server = Server::with(|_| {
        let chat = kept(folder.path()).history_age(age);
        chat.clock(clock.clone())
    })
    .await;
    let address = server.address();
    clock.advance(year);
    say(address, "lobby", "a", "from the future").await;
    clock.set_date(now);
    say(address, "lobby", "a", "old").await;
    clock.advance(age - Duration::from_secs(1));
    say(address, "lobby", "a", "young").await;
    clock.advance(Duration::from_secs(2));
    let old = ["from the future", "old"];
    until_gone(folder.path(), &old, Instant::now()).await;
    assert_eq!(texts(&held(address).await), ["young"]);
}

/// A rewrite that cannot be made does not keep the removal from being stored and seen.
#[tokio::test]
async fn a_removal_is_tried_again_when_its_rewrite_fails() {
    let folder = Folder::new();
    let server = Server::with(|_| kept(folder.path())).await;
    let posted = server.chat().post("lobby", "a", "secret").await;
    let obstacle = folder.path().join("messages.jsonl.new");
    fs::create_dir_all(obstacle.join("in the way")).expect("the folder can be written");
    let began = Instant::now();
    let removed = server
        .chat()
        .remove("lobby", posted.expect("it is taken").id);
    removed.await.expect("it is retained");
    assert!(held(server.address()).await.is_empty());
    eventually("the removal is on record", async || {
        entries(folder.path()).len() == 2
    })
    .await;
    sleep(Duration::from_millis(700)).await;
    assert!(is_on_disk(folder.path(), "secret"));
    fs::remove_dir_all(&obstacle).expect("it can be removed");
    until_gone(folder.path(), &["secret"], began).await;
}
