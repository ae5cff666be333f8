//! A disk that is full or fails: a message is kept or refused, never half of it, and streams stay.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::{entries, held, texts, with_mounts};
use crate::common::{
    Client, EventStream, Folder, Process, Request, Response, ask, eventually, figure, get, within,
};
use crate::moderation::{ANN, BASIC, EVE, PASSWORD, ban, posting, removal, say_as};

/// A text longer than a page of memory, so that a write may end in the middle of it.
const LONG: usize = 4_000;

async fn post(client: &mut Client, text: &str) -> Response {
    client.ask(&Request::post_text("/chat?name=a", text)).await
}

async fn health(address: SocketAddr) -> (u16, String) {
    let answer = get(address, "/healthz").await;
    let status = answer.json()["status"].as_str().map(str::to_owned);
    (answer.status, status.expect("a status"))
}

/// Posts until there is no room, `make_room`s, and posts on. `folder` is the server's data folder.
async fn fill_up(server: &Process, folder: &Path, make_room: impl AsyncFnOnce()) {
    let address = server.address();
    let mut stream = EventStream::open(address, "/chat").await;
    stream.telling().await;
    let mut client = Client::connect(address).await;
    let mut taken: Vec<String> = Vec::new();
    loop {
        let text = format!("{} {}", taken.len(), "x".repeat(LONG));
        let answer = post(&mut client, &text).await;
        if answer.status != 201 {
            answer.expect(507, "storage-full");
            break;
        }
        taken.push(text);
        assert!(taken.len() < 1_000, "it was to be full");
    }
    for _ in 0..3 {
        post(&mut client, &"y".repeat(LONG))
            .await
            .expect(507, "storage-full");
    }
    assert_eq!(
        texts(&entries(folder)),
        taken,
        "whole lines, of what was taken"
    );
    let said = server.said("no room").await;
    assert_eq!(said.matches("no room").count(), 1, "said once");
    assert_eq!(health(address).await, (503, "storage-full".into()));
    assert_eq!(figure(address, "chatroom_store_up").await, 0);

    make_room().await;
    post(&mut client, "there is room").await.expect(201, "");
    assert_eq!(health(address).await, (200, "ok".into()));
    assert_eq!(figure(address, "chatroom_store_up").await, 1);
    taken.push("there is room".to_owned());
    // The stream stood all the time, and what was refused was seen by nobody.
    for text in &taken {
        assert_eq!(stream.message().await.text(), *text);
    }
    assert_eq!(texts(&entries(folder)), taken);
    assert_eq!(texts(&held(address).await), taken);
    server.said("there is room again").await;
}

const QUIET: [&str; 3] = ["--message-rate=0", "--history=0", "--history-bytes=0"];

#[tokio::test]
async fn a_full_disk_refuses_messages_until_there_is_room() {
    let folder = Folder::new();
    let data = folder.as_str();
    // The mount is seen by the server alone, and goes with it.
    let mounted = format!("mount -t tmpfs -o size=128k tmpfs {data} && exec \"$0\" \"$@\"");
    let server = Process::start_under(
        &with_mounts(&mounted),
        &[&QUIET[..], &["--fsync=always", "--data", data]].concat(),
    )
    .await;
    let inside = PathBuf::from(format!("/proc/{}/root{data}", server.pid()));
    let ballast = inside.join("ballast");
    std::fs::write(&ballast, vec![0; 80 * 1024]).expect("the mount can be written");
    fill_up(&server, &inside, async || {
        std::fs::remove_file(&ballast).expect("the ballast can go");
    })
    .await;
}

/// A limit on the size of files ends a write at any byte, where a disk ends it at a block.
#[tokio::test]
async fn a_file_that_may_not_grow_refuses_messages_until_it_may() {
    let folder = Folder::new();
    let server = Process::start_under(
        &[
            "sh",
            "-c",
            "trap '' XFSZ; exec prlimit --fsize=30001:unlimited \"$0\" \"$@\"",
        ],
        &[&QUIET[..], &["--data", folder.as_str()]].concat(),
    )
    .await;
    let pid = server.pid().to_string();
    fill_up(&server, folder.path(), async || {
        let raised = Command::new("prlimit")
            .args(["--pid", &pid, "--fsize=unlimited"])
            .status();
        assert!(raised.await.expect("prlimit is needed").success());
    })
    .await;
}

/// Messages that still fit say nothing about those that do not: the log is not filled with both.
#[tokio::test]
async fn a_disk_that_is_nearly_full_is_told_of_once_a_minute() {
    let folder = Folder::new();
    let limited = "trap '' XFSZ; exec prlimit --fsize=30001:unlimited \"$0\" \"$@\"";
    let arguments = [&QUIET[..], &["--data", folder.as_str()]].concat();
    let server = Process::start_under(&["sh", "-c", limited], &arguments).await;
    let mut client = Client::connect(server.address()).await;
    let long = "x".repeat(LONG);
    while post(&mut client, &long).await.status == 201 {}
    for _ in 0..5 {
        post(&mut client, "short").await.expect(201, "");
        assert_eq!(health(server.address()).await, (200, "ok".into()));
        let refused = post(&mut client, &long).await;
        refused.expect(507, "storage-full");
        let unwell = (503, "storage-full".into());
        assert_eq!(health(server.address()).await, unwell);
    }
    for line in ["no room, messages are refused", "there is room again"] {
        let said = server.said(line).await;
        assert_eq!(said.matches(line).count(), 1, "{said}");
    }
}

/// Limits the size of files, of which even one byte is too much; or no longer.
async fn make_full(server: &Process, is_full: bool) {
    let most = if is_full { "0" } else { "unlimited" };
    let limit = [
        "--pid",
        &server.pid().to_string(),
        &format!("--fsize={most}:unlimited"),
    ]
    .map(str::to_owned);
    let status = Command::new("prlimit").args(limit).status();
    assert!(status.await.expect("prlimit is needed").success());
}

/// What moderators do takes no room worth speaking of, and must not wait for it.
#[tokio::test]
async fn removals_and_bans_hold_on_a_full_disk_and_are_stored_once_there_is_room() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let password = folder.file("password", PASSWORD);
    let arguments = [
        "--moderator-password-file",
        &password,
        "--data",
        data.to_str().expect("UTF-8"),
    ];
    let ignoring = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
    let mut server = Process::start_under(&ignoring, &arguments).await;
    let address = server.address();
    let wrong = say_as(address, EVE, "eve", "wrong").await;
    say_as(address, ANN, "ann", "right").await;
    make_full(&server, true).await;
    ask(address, posting(ANN)).await.expect(507, "storage-full");
    let by_moderator = removal(&wrong).header("Authorization", BASIC);
    ask(address, by_moderator).await.expect(200, "");
    let author = wrong["author"].as_str().expect("an author");
    ban(address, author, false).await.expect(201, "");
    assert_eq!(texts(&held(address).await), ["right"]);
    ask(address, posting(EVE)).await.expect(403, "banned");
    for said in ["no room for the removal", "bans: no room"] {
        server.said(said).await;
    }
    make_full(&server, false).await;
    let said = "bans: there is room again";
    server.said(said).await;
    server.signal("TERM").await;
    within("the exit", server.exited()).await;
    let server = Process::start(&arguments).await;
    assert_eq!(texts(&held(server.address()).await), ["right"]);
    ask(server.address(), posting(EVE))
        .await
        .expect(403, "banned");
}

/// A disk that takes its time holds up nobody who wants the server to end.
#[tokio::test]
async fn the_drain_time_is_over_whatever_waits_for_the_disk() {
    let folder = Folder::new();
    let log = folder.path().join("strace.log");
    let data = format!("--data={}/data", folder.as_str());
    let slow = "inject=fdatasync:delay_enter=45000000";
    let traced = log.to_str().expect("UTF-8");
    let strace = ["strace", "-D", "-f", "-o", traced, "-e", slow];
    let arguments = [&data, "--fsync=everysec", "--drain=1"];
    let server = Process::start_under(&strace, &arguments).await;
    let post = Request::post_text("/chat?name=a", "slow");
    ask(server.address(), post).await.expect(201, "");
    server.signal("TERM").await;
    // Its parent is told when strace lets go of the thread that syncs.
    eventually("the exit", async || server.has_exited()).await;
}

/// A server under strace that lets the syncs of its journal fail, from the `when`th on.
async fn failing_sync(folder: &Folder, fsync: &str, when: usize) -> (Process, PathBuf) {
    let log = folder.path().join("strace.log");
    let inject = format!("inject=fdatasync:error=EIO:when={when}+");
    let traced = log.to_str().expect("UTF-8");
    let data = format!("--data={}/data", folder.as_str());
    let server = Process::start_under(
        &[
            "strace",
            "-D",
            "-f",
            "-o",
            traced,
            "-e",
            "trace=fdatasync,fsync",
            "-e",
            &inject,
        ],
        &[data.as_str(), fsync, "--message-rate=0"],
    )
    .await;
    (server, log)
}

/// Syncs of the journal that were tried, by what strace noted.
fn syncs(log: &Path) -> usize {
    let noted = std::fs::read_to_string(log).expect("strace notes calls");
    noted
        .lines()
        .filter(|line| line.contains("fdatasync("))
        .count()
}

#[tokio::test]
async fn a_failed_sync_refuses_every_message_from_then_on_and_is_not_tried_again() {
    let folder = Folder::new();
    let (mut server, log) = failing_sync(&folder, "--fsync=always", 2).await;
    let address = server.address();
    let mut stream = EventStream::open(address, "/chat").await;
    stream.caught_up().await;
    let mut client = Client::connect(address).await;
    post(&mut client, "kept").await.expect(201, "");
    assert_eq!(figure(address, "chatroom_store_up").await, 1);
    for _ in 0..3 {
        post(&mut client, "lost")
            .await
            .expect(503, "storage-failed");
    }
    let refused = "every message is refused from now on";
    let said = server.said(refused).await;
    assert_eq!(said.matches(refused).count(), 1, "{said}");
    assert_eq!(stream.message().await.text(), "kept");
    assert_eq!(health(address).await, (503, "storage-failed".into()));
    assert_eq!(figure(address, "chatroom_store_up").await, 0);
    server.signal("TERM").await;
    // Between what was kept and the goodbye, nothing came.
    assert_eq!(stream.telling().await.event, "server-closing");
    within("the exit", server.exited()).await;
    assert_eq!(syncs(&log), 2, "no sync after the one that failed");

    let data = folder.path().join("data");
    assert_eq!(texts(&entries(&data)), ["kept"]);
    let again = Process::start(&["--data", data.to_str().expect("UTF-8")]).await;
    assert_eq!(texts(&held(again.address()).await), ["kept"]);
}

#[tokio::test]
async fn a_sync_that_fails_later_refuses_what_comes_after() {
    let folder = Folder::new();
    let (mut server, log) = failing_sync(&folder, "--fsync=everysec", 1).await;
    let mut client = Client::connect(server.address()).await;
    post(&mut client, "taken").await.expect(201, "");
    server.said("cannot sync").await;
    for _ in 0..3 {
        post(&mut client, "refused")
            .await
            .expect(503, "storage-failed");
    }
    server.signal("TERM").await;
    within("the exit", server.exited()).await;
    assert_eq!(syncs(&log), 1, "no sync after the one that failed");
    assert_eq!(texts(&entries(&folder.path().join("data"))), ["taken"]);
}

/// What an operator may do to a journal while its server runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_deleted_truncated_or_replaced_is_noticed_within_a_second() {
    type Deed = fn(&Path);
    let deeds: [(&str, Deed); 4] = [
        ("deleted", |path| {
            std::fs::remove_file(path).expect("it is there")
        }),
        ("truncated", |path| {
            let open = std::fs::OpenOptions::new().write(true).open(path);
            open.and_then(|file| file.set_len(0)).expect("it is there");
        }),
        ("replaced", |path| {
            let copy = path.with_extension("copy");
            std::fs::copy(path, &copy).expect("it can be read");
            std::fs::rename(copy, path).expect("it can be replaced");
        }),
        ("deleted with its folder", |path| {
            let folder = path.parent().expect("a folder");
            std::fs::remove_dir_all(folder).expect("it is there");
        }),
    ];
    for (what, deed) in deeds {
        // A busy machine may be late, but not each time.
        let mut quickest = Duration::MAX;
        for _ in 0..5 {
            if quickest >= SOON {
                quickest = quickest.min(noticed(what, deed, true).await);
            }
        }
        assert!(quickest < SOON, "{what}: {quickest:?}");
        noticed(what, deed, false).await;
    }
}

/// A second, and as much again as a test may be late.
const SOON: Duration = Duration::from_millis(1_500);

/// Does this to a journal, and returns how long it takes until the server says so: by itself where it is
/// `idle`, or with a post. From then on it refuses posts.
async fn noticed(what: &str, deed: fn(&Path), idle: bool) -> Duration {
    let folder = Folder::new();
    let data = folder.path().join("data");
    let server = Process::start(&["--data", data.to_str().expect("UTF-8")]).await;
    let mut client = Client::connect(server.address()).await;
    post(&mut client, "kept").await.expect(201, "");
    let journal = data.join("messages.jsonl");
    deed(&journal);
    let said = "was deleted, truncated or replaced";
    let began = std::time::Instant::now();
    if idle {
        server.said(said).await;
    }
    let took = began.elapsed();
    for _ in 0..2 {
        post(&mut client, "refused")
            .await
            .expect(503, "storage-failed");
    }
    server.said(said).await;
    assert_eq!(server.stderr().matches(said).count(), 1, "{what}");
    if let Ok(left) = std::fs::read(&journal) {
        assert!(!left.windows(7).any(|text| text == b"refused"), "{what}");
    }
    took
}
