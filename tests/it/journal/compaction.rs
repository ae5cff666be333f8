//! A journal that has outgrown its rooms is written anew, and a crash at any moment of it loses
//! nothing.

use crate::common::Change as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chatroom::{Fsync, LogLevel, ManualClock};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{content, entries, file, held, kept, lines, texts};
use crate::common::{
    Client, EventStream, Folder, Process, Request, Server, eventually, figure, get, id_of, say,
    under,
};

/// More than the size from which on a rewrite is worth it: 1 MiB.
const MESSAGES: usize = 300;
const LONG: usize = 4_000;
/// What the rooms hold of it when the server starts again, which makes it rewrite.
const HISTORY: usize = 20;

/// Builds a journal that the next server with a short history will want to rewrite, and returns
/// the texts.
async fn outgrown(folder: &Path) -> Vec<String> {
    let chat = kept(folder).build().expect("an empty folder");
    let mut all = Vec::new();
    for n in 0..MESSAGES {
        all.push(format!("{n} {}", "x".repeat(LONG)));
        let posted = chat.post("lobby", "a", &all[n]).await;
        posted.expect("it is taken");
    }
    chat.close().await;
    all
}

/// A server on a copy of a journal that it wants to rewrite, under strace where a step is to be
/// disturbed.
async fn rewriting(folder: &Folder, built: &Path, disturb: Option<&str>) -> Process {
    std::fs::create_dir(data(folder)).expect("the folder can be written");
    std::fs::copy(file(built), file(&data(folder))).expect("a copy");
    let next = successor(folder);
    let log = folder.path().join("strace.log");
    let inject = format!("inject={}", disturb.unwrap_or_default());
    let strace = [
        "strace",
        "-D",
        "-f",
        "-o",
        log.to_str().expect("UTF-8"),
        // Only what touches the new file counts.
        "-P",
        next.to_str().expect("UTF-8"),
        "-e",
        "trace=openat,write,fsync,rename",
        "-e",
        &inject,
    ];
    let wrapper = if disturb.is_some() { &strace[..] } else { &[] };
    let options = [
        &format!("--data={}", data(folder).display()),
        &format!("--history={HISTORY}"),
        "--fsync=always",
        "--message-rate=0",
        "--listen=127.0.0.1:0",
    ];
    Process::launch(under(wrapper, &options, &[])).await
}

fn data(folder: &Folder) -> PathBuf {
    folder.path().join("data")
}

fn successor(folder: &Folder) -> PathBuf {
    data(folder).join("messages.jsonl.new")
}

/// Posts until the server is gone, and returns what was answered.
async fn post_read_to_the_end(server: &mut Process) -> Vec<String> {
    let mut client = Client::connect(server.address()).await;
    let mut answered = Vec::new();
    loop {
        assert!(answered.len() < 5_000, "the server was to be killed");
        let text = format!("more {}", answered.len());
        let request = Request::post_text("/chat?name=a", &text);
        match client.try_ask(&request).await {
            Some(answer) => drop(answer.expect(201, "")),
            None => break,
        }
        answered.push(text);
    }
    server.exited().await;
    answered
}

/// Starts again where a server was killed: all that was answered is there, and it goes on.
async fn all_is_there(folder: &Folder, step: &str, mut expected: Vec<String>, more: usize) {
    let again = Process::start(&[
        &format!("--data={}", data(folder).display()),
        &format!("--history={HISTORY}"),
    ])
    .await;
    assert!(
        !successor(folder).exists(),
        "{step}: the piece is cleared away"
    );
    let held = held(again.address()).await;
    let held = texts(&held);
    // What was kept and not answered may follow.
    let unanswered = format!("more {more}");
    if held.last() == Some(&&*unanswered) {
        expected.push(unanswered);
    }
    assert_eq!(held, expected[expected.len() - HISTORY..], "{step}");
    say(again.address(), "lobby", "a", "and on").await;
    eventually("it is rewritten after all", async || {
        figure(again.address(), "chatroom_journal_bytes").await < 1024 * 1024
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_killed_at_any_of_its_steps_loses_nothing() {
    let built = Folder::new();
    let all = outgrown(built.path()).await;
    for step in [
        // The new file: made, written, synced; and put in place of the old one.
        "openat:signal=KILL",
        "write:signal=KILL:when=1",
        "write:signal=KILL:when=5",
        "fsync:signal=KILL",
        "rename:signal=KILL",
    ] {
        let folder = Folder::new();
        let mut server = rewriting(&folder, built.path(), Some(step)).await;
        let answered = post_read_to_the_end(&mut server).await;
        let more = answered.len();
        all_is_there(&folder, step, [all.clone(), answered].concat(), more).await;
    }
}

/// The name means the new file already, and the folder is not synced yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_killed_between_its_last_two_steps_loses_nothing() {
    let built = Folder::new();
    let all = outgrown(built.path()).await;
    let folder = Folder::new();
    let late = "rename:delay_exit=15000000";
    let mut server = rewriting(&folder, built.path(), Some(late)).await;
    let address = server.address();
    // The first post makes it look at the journal, and the others wait for what it does then.
    let poster = tokio::spawn(async move {
        let mut client = Client::connect(address).await;
        let request = Request::post_text("/chat?name=a", "more 0");
        client.try_ask(&request).await
    });
    eventually("the new file has the name", async || {
        file(&data(&folder))
            .metadata()
            .is_ok_and(|file| file.len() < 1024 * 1024)
    })
    .await;
    let tracer = tracer(&server);
    server.signal("KILL").await;
    // It is gone only when its tracer, which holds it in that step, has let go of it.
    kill(&tracer).await;
    server.exited().await;
    let answered = poster.await.expect("no panic").is_some();
    let more: Vec<String> = answered.then(|| "more 0".to_owned()).into_iter().collect();
    all_is_there(&folder, late, [all, more].concat(), usize::from(answered)).await;
}

/// The process that traces a server.
fn tracer(server: &Process) -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()));
    let status = status.expect("it lives");
    let mut lines = status.lines();
    let tracer = lines.find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.expect("a line of that name").trim().to_owned()
}

async fn kill(pid: &str) {
    let killed = Command::new("kill").args(["-KILL", pid]).status().await;
    assert!(killed.expect("kill is needed").success());
}

/// Waits for the journal to have become small.
async fn rewritten(server: &Server) {
    eventually("the journal is rewritten", async || {
        figure(server.address(), "chatroom_journal_bytes").await < 200 * 1024
    })
    .await;
}

#[tokio::test]
async fn posts_go_on_while_the_journal_is_rewritten_again_and_again() {
    let folder = Folder::new();
    let server = Server::with(|_| kept(folder.path()).history(HISTORY)).await;
    let mut stream = EventStream::open(server.address(), "/chat").await;
    stream.telling().await;
    let mut posted = Vec::new();
    for n in 0..MESSAGES * 4 {
        let text = format!("{n} {}", "x".repeat(LONG));
        posted.push(
            server
                .chat()
                .post("lobby", "a", &text)
                .await
                .expect("it is taken")
                .id,
        );
        assert_eq!(id_of(&stream.message().await.json()), posted[n]);
    }
    // Four times the size from which on it is rewritten has gone in.
    assert!(content(folder.path()).len() < 3 * 1024 * 1024);
    server.stop().await;
    let ids: Vec<_> = entries(folder.path()).iter().map(id_of).collect();
    assert!(
        ids.len() >= HISTORY && posted.ends_with(&ids),
        "the newest, whole and in order"
    );
}

#[tokio::test]
async fn a_position_from_before_a_rewrite_and_a_restart_resumes_or_is_told() {
    let folder = Folder::new();
    let all = outgrown(folder.path()).await;
    let ids: Vec<String> = entries(folder.path())
        .iter()
        .map(|line| id_of(line).to_string())
        .collect();
    let short = || kept(folder.path()).history(HISTORY);
    let server = Server::with(|_| short()).await;
    say(server.address(), "lobby", "a", "last").await;
    rewritten(&server).await;
    server.stop().await;
    let server = Server::with(|_| short()).await;
    // One has gone for the last that came.
    let oldest = MESSAGES - HISTORY + 1;
    for (at, told) in [
        (0, true),
        (oldest - 2, true),
        (oldest - 1, false),
        (MESSAGES - 1, false),
    ] {
        let request = Request::get("/chat").header("Last-Event-ID", &ids[at]);
        let mut stream = EventStream::request(server.address(), request).await;
        stream.telling().await;
        let mut event = stream.telling().await;
        assert_eq!(event.is("messages-missed"), told, "position {at}");
        let mut next = at + 1;
        if told {
            assert_eq!(
                event.id.as_ref(),
                Some(&ids[oldest - 1]),
                "the last that is gone"
            );
            event = stream.telling().await;
            next = oldest;
        }
        assert_eq!(event.text(), all.get(next).map_or("last", String::as_str));
    }
}

#[tokio::test]
async fn forgotten_rooms_do_not_return() {
    let folder = Folder::new();
    let ttl = Duration::from_secs(100);
    let clock = ManualClock::at(10_000_000);
    let chat = || {
        kept(folder.path())
            .fsync(Fsync::Always)
            .room_ttl(ttl)
            .clock(clock.clone())
    };
    let server = Server::with(|_| chat()).await;
    say(server.address(), "stays", "a", "hello").await;
    let gone = say(server.address(), "goes", "a", "hello").await;
    let mut stream = EventStream::open(server.address(), "/chat/stays").await;
    stream.telling().await;
    clock.advance(ttl);
    eventually("the journal has let go of it", async || {
        rooms_in(folder.path()) == ["stays", "stays", ""]
    })
    .await;
    drop(stream);
    server.stop().await;

    clock.set_date(5);
    let server = Server::with(|_| chat()).await;
    let rooms = get(server.address(), "/rooms").await.json();
    assert_eq!(rooms["rooms"].as_array().map(Vec::len), Some(1), "{rooms}");
    assert_eq!(rooms["rooms"][0]["room"], "stays");
    // A position in it is understood, and what is said there now comes after it.
    let position = id_of(&gone);
    let request = Request::get("/chat/goes").header("Last-Event-ID", position.to_string());
    let mut back = EventStream::request(server.address(), request).await;
    back.telling().await;
    assert!(id_of(&say(server.address(), "goes", "a", "again").await) > position);
    assert_eq!(back.message().await.text(), "again");
}

/// Makes the name of the new file unusable: a folder that is not empty cannot be removed as a file.
fn obstruct(folder: &Path) -> PathBuf {
    let obstacle = folder.join("messages.jsonl.new");
    std::fs::create_dir_all(obstacle.join("in the way")).expect("the folder can be written");
    obstacle
}

#[tokio::test]
async fn a_rewrite_that_cannot_begin_is_not_tried_with_every_post() {
    let folder = Folder::new();
    outgrown(folder.path()).await;
    let history = format!("--history={HISTORY}");
    let server = Process::start(&["--data", folder.as_str(), &history, "--message-rate=0"]).await;
    obstruct(folder.path());
    for n in 0..150 {
        say(server.address(), "lobby", "a", &format!("more {n}")).await;
    }
    let said = server.said("cannot rewrite").await;
    let told = said.matches("cannot rewrite").count();
    assert!(told <= 2, "{told} times");
}

/// What must leave the file leaves it with a later rewrite, whatever kept the first from it.
#[tokio::test]
async fn a_forgotten_room_leaves_the_file_after_a_rewrite_that_cannot_begin() {
    let folder = Folder::new();
    let ttl = Duration::from_secs(100);
    let clock = ManualClock::at(10_000_000);
    let log = Arc::new(Mutex::new(Vec::new()));
    let sink = log.clone();
    let chat = || kept(folder.path()).room_ttl(ttl).clock(clock.clone());
    let server = Server::with(|_| {
        chat().log(LogLevel::Error).log_to(move |_, line| {
            sink.lock().expect("no panic").push(line.to_owned());
        })
    })
    .await;
    let gone = id_of(&say(server.address(), "goes", "a", "hello").await);
    let obstacle = obstruct(folder.path());
    clock.advance(ttl);
    eventually("it is said", async || {
        let said = log.lock().expect("no panic").join("\n");
        said.contains("cannot rewrite")
    })
    .await;
    // Here it is forgotten all the same, and what is said later is stored behind it.
    let rooms = get(server.address(), "/rooms").await.json();
    assert_eq!(rooms["rooms"], json!([]));
    assert!(id_of(&say(server.address(), "stays", "a", "hello").await) > gone);
    assert_eq!(rooms_in(folder.path()), ["", "goes", "stays"]);
    std::fs::remove_dir_all(obstacle).expect("it can be removed");
    server.stop().await;
    // The low-water mark of the room, what is retained, and the low-water mark of all other rooms.
    assert_eq!(rooms_in(folder.path()), ["stays", "stays", ""]);
}

/// The room of each line of the journal; empty where a line has none.
fn rooms_in(folder: &Path) -> Vec<String> {
    let room = |line: &Value| line["room"].as_str().unwrap_or_default().to_owned();
    lines(folder).iter().map(room).collect()
}

/// A room's low-water mark outlives its messages, so nobody takes an old position for the present.
#[tokio::test]
async fn the_low_water_mark_of_a_room_without_messages_survives_a_rewrite() {
    let folder = Folder::new();
    outgrown(folder.path()).await;
    let last = id_of(lines(folder.path()).last().expect("messages"));
    let tiny = || kept(folder.path()).history_bytes(2_000);
    let server = Server::with(|_| tiny()).await;
    rewritten(&server).await;
    server.stop().await;
    assert!(content(folder.path()).len() < LONG, "nothing is retained");

    let clock = ManualClock::at(5);
    let server = Server::with(|_| tiny().clock(clock.clone())).await;
    let posted = id_of(&say(server.address(), "lobby", "a", "next").await);
    assert!(posted > last, "{posted} was given again after {last}");
    for (position, missed) in [(last, false), ("7-0".parse().expect("an id"), true)] {
        let request = Request::get("/chat").header("Last-Event-ID", position.to_string());
        let mut stream = EventStream::request(server.address(), request).await;
        stream.telling().await;
        let mut event = stream.telling().await;
        assert_eq!(event.is("messages-missed"), missed, "position {position}");
        if missed {
            assert_eq!(event.id, Some(last.to_string()), "the last that is gone");
            event = stream.telling().await;
        }
        assert_eq!(event.text(), "next");
    }
}
