//! What comes back after a restart, from a whole journal, a torn one and a damaged one.

use crate::common::Change as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chatroom::{EventId, Fsync, ManualClock};

use super::{content, entries, file, held, kept, reopened, texts};
use crate::common::{EventStream, Folder, Process, Request, Server, get, id_of};

const TEXTS: [&str; 4] = [
    "first",
    "second\nline \u{2028} and \u{0}",
    "\"third\" \\ \u{1f980}",
    "fourth",
];

/// Posts [`TEXTS`] into a folder.
async fn build(folder: &Path) {
    let chat = kept(folder).build().expect("an empty folder");
    for text in TEXTS {
        chat.post("lobby", "a", text).await.expect("it is taken");
    }
    chat.close().await;
}

#[tokio::test]
async fn rooms_messages_and_positions_come_back_as_they_were() {
    let folder = Folder::new();
    let first = Server::with(|_| kept(folder.path())).await;
    for n in 0..20 {
        let room = ["lobby", "käse"][n % 2];
        let posted = first.chat().post(room, "a", &format!("{n}")).await;
        posted.expect("it is taken");
    }
    let address = first.address();
    let pages = ["/chat/lobby/messages", "/chat/k%C3%A4se/messages", "/rooms"];
    let mut before = Vec::new();
    for page in pages {
        before.push(get(address, page).await.body);
    }
    let middle = held(address).await[5]["eventId"].clone();
    first.stop().await;

    let second = Server::with(|_| kept(folder.path())).await;
    for (page, before) in pages.iter().zip(before) {
        assert_eq!(get(second.address(), page).await.body, before, "{page}");
    }
    let request = Request::get("/chat").header("Last-Event-ID", middle.as_str().expect("an id"));
    let mut stream = EventStream::request(second.address(), request).await;
    assert!(stream.telling().await.is("chat-room-connected"));
    for text in ["12", "14", "16", "18"] {
        let event = stream.telling().await;
        assert_eq!(
            (event.event.as_str(), event.text().as_str()),
            ("new-message", text)
        );
    }
    assert!(stream.telling().await.is("caught-up"));
}

/// The history's bounds hold for what comes back too, and who stood before them is told.
#[tokio::test]
async fn no_more_comes_back_than_a_room_may_hold() {
    let folder = Folder::new();
    build(folder.path()).await;
    let ids: Vec<EventId> = entries(folder.path()).iter().map(id_of).collect();
    let server = Server::with(|_| kept(folder.path()).history(2)).await;
    assert_eq!(texts(&held(server.address()).await), TEXTS[2..]);
    let request = Request::get("/chat").header("Last-Event-ID", ids[0].to_string());
    let mut stream = EventStream::request(server.address(), request).await;
    stream.telling().await;
    let missed = stream.telling().await;
    assert!(missed.is("messages-missed"), "{missed:?}");
    assert_eq!(missed.id, Some(ids[1].to_string()), "the last that is gone");
    assert_eq!(stream.telling().await.text(), TEXTS[2]);
}

#[tokio::test]
async fn folder_and_files_are_for_the_owner_alone() {
    let folder = Folder::new();
    let data = folder.path().join("made").join("for it");
    build(&data).await;
    let mode = |path: &Path| {
        let metadata = std::fs::metadata(path).expect("it was made");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&file(&data)), 0o600);
    assert_eq!(mode(&data.join("lock")), 0o600);
}

#[tokio::test]
async fn a_journal_torn_at_any_byte_of_its_last_two_lines_opens_and_goes_on() {
    let built = Folder::new();
    build(built.path()).await;
    let whole = content(built.path());
    let ends: Vec<usize> = (0..whole.len())
        .filter(|at| whole[*at] == b'\n')
        .map(|at| at + 1)
        .collect();
    let folder = Folder::new();
    for cut in ends[2]..=whole.len() {
        std::fs::write(file(folder.path()), &whole[..cut]).expect("the folder can be written");
        // A line that lacks only its line break is complete; the first is where the chat began.
        let kept_lines = ends.iter().filter(|end| **end <= cut + 1).count();
        let mut expected = TEXTS[..kept_lines - 1].to_vec();
        let server = Server::with(|_| kept(folder.path())).await;
        assert_eq!(
            content(folder.path()),
            whole[..ends[kept_lines - 1]],
            "cut at {cut}"
        );
        server
            .chat()
            .post("lobby", "a", "next")
            .await
            .expect("posting goes on");
        server.stop().await;
        expected.push("next");
        assert_eq!(texts(&entries(folder.path())), expected, "cut at {cut}");
        // Whether the new line is whole too shows when all is read again.
        if cut % 16 == 0 {
            expected.push("last");
            assert_eq!(
                texts(&reopened(folder.path(), "last").await),
                expected,
                "cut at {cut}"
            );
        }
    }
}

/// A power cut can leave the end of the last block unwritten.
#[tokio::test]
async fn a_torn_line_may_be_followed_by_nuls() {
    let built = Folder::new();
    build(built.path()).await;
    let whole = content(built.path());
    let last = whole[..whole.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .expect("a line")
        + 1;
    let folder = Folder::new();
    for cut in (last..last + 9).chain([whole.len() - 2, whole.len() - 1]) {
        let torn = [&whole[..cut], &[0; 100]].concat();
        std::fs::write(file(folder.path()), torn).expect("the folder can be written");
        let complete = cut == whole.len() - 1;
        let expected = &TEXTS[..TEXTS.len() - usize::from(!complete)];
        let held = reopened(folder.path(), "next").await;
        assert_eq!(texts(&held), [expected, &["next"]].concat(), "cut at {cut}");
    }
    for nuls in [1, 100] {
        std::fs::write(file(folder.path()), vec![0; nuls]).expect("the folder can be written");
        assert_eq!(texts(&reopened(folder.path(), "next").await), ["next"]);
    }
}

/// NULs before whole lines are damage, for those lines were stored.
#[tokio::test]
async fn nuls_before_whole_lines_are_damage() {
    let folder = Folder::new();
    build(folder.path()).await;
    let mut damaged = content(folder.path());
    damaged[..10].fill(0);
    let refused = refused(folder.path(), &damaged);
    assert!(
        refused.contains("line 1, byte offset 0, is damaged"),
        "{refused}"
    );
}

/// Writes a journal that is refused, and returns the refusal.
fn refused(folder: &Path, damaged: &[u8]) -> String {
    std::fs::write(file(folder), damaged).expect("the folder can be written");
    let refused = kept(folder).build().expect_err("damage is refused");
    assert!(content(folder) == damaged, "the journal was changed");
    refused.to_string()
}

#[tokio::test]
async fn garbage_beside_good_lines_is_damage() {
    let folder = Folder::new();
    build(folder.path()).await;
    let whole = content(folder.path());
    let after = [&whole[..], b"SQLite format 3\n"].concat();
    let at_the_end = [&whole[..], b"garbage"].concat();
    for (damaged, line) in [
        (after, 6),
        (at_the_end, 6),
        ([b"x\n", &whole[..]].concat(), 1),
    ] {
        let refused = refused(folder.path(), &damaged);
        let advice = format!("delete that line (sed -i '{line}d' ");
        assert!(refused.contains("is damaged"), "{refused}");
        assert!(refused.contains(&advice), "{refused}");
    }
    let newer = [&whole[..], b"{\"v\":2,\"eventId\":\"1-0\"}\n"].concat();
    let refused = refused(folder.path(), &newer);
    assert!(refused.contains("not of this version"), "{refused}");
}

#[tokio::test]
async fn damaged_lines_are_told_one_after_the_other_and_the_repairs_work() {
    let folder = Folder::new();
    let path = folder.path().join("it's here");
    build(&path).await;
    let mut damaged = content(&path);
    let ends: Vec<usize> = (0..damaged.len())
        .filter(|at| damaged[*at] == b'\n')
        .collect();
    for at in [ends[1] + 1, ends[2] + 20] {
        damaged[at] ^= 1;
    }
    for _ in 0..2 {
        let refused = refused(&path, &damaged);
        let place = format!("line 3, byte offset {}, is damaged", ends[1] + 1);
        assert!(refused.contains(&place), "{refused}");
        let (_, advice) = refused.split_once("delete that line (").expect("advice");
        let (command, _) = advice.split_once(") and with it").expect("a command");
        let repaired = std::process::Command::new("sh")
            .args(["-c", command])
            .status();
        assert!(repaired.expect("sh is needed").success(), "{command}");
        damaged = content(&path);
    }
    let held = reopened(&path, "next").await;
    assert_eq!(texts(&held), [TEXTS[0], TEXTS[3], "next"]);
}

#[tokio::test]
async fn a_torn_line_is_spoken_of() {
    let folder = Folder::new();
    build(folder.path()).await;
    let whole = content(folder.path());
    std::fs::write(file(folder.path()), &whole[..whole.len() - 7]).expect("it can be written");
    let server = Process::start(&["--data", folder.as_str()]).await;
    let torn = whole.len() - 7 - content(folder.path()).len();
    let said = format!("torn last line of {torn} bytes");
    server.said(&said).await;
}

#[tokio::test]
async fn a_flipped_byte_is_refused_with_its_place_and_nothing_is_changed() {
    let folder = Folder::new();
    build(folder.path()).await;
    let whole = content(folder.path());
    let first = whole
        .iter()
        .position(|byte| *byte == b'\n')
        .expect("a line")
        + 1;
    let second = first
        + whole[first..]
            .iter()
            .position(|byte| *byte == b'\n')
            .expect("a line");
    for at in first..=second {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(file(folder.path()), &damaged).expect("the folder can be written");
        let refused = kept(folder.path())
            .build()
            .expect_err("damage is refused")
            .to_string();
        let place = format!(
            "{}: line 2, byte offset {first}",
            file(folder.path()).display()
        );
        assert!(refused.contains(&place), "byte {at}: {refused}");
        assert!(refused.contains("nothing was changed"), "{refused}");
        assert!(
            content(folder.path()) == damaged,
            "byte {at}: the journal was changed"
        );
    }
    std::fs::write(file(folder.path()), &whole).expect("the folder can be written");
    assert_eq!(reopened(folder.path(), "next").await.len(), TEXTS.len() + 1);
}

/// What the refusal advises works.
#[tokio::test]
async fn the_advised_repair_of_a_damaged_line_costs_one_message() {
    let folder = Folder::new();
    build(folder.path()).await;
    let text = String::from_utf8(content(folder.path())).expect("UTF-8");
    let damaged = text.replace("third", "thirf");
    std::fs::write(file(folder.path()), damaged).expect("the folder can be written");
    let ended = Process::run(&["--listen=127.0.0.1:0", "--data", folder.as_str()], &[]).await;
    assert_eq!(ended.status.code(), Some(1));
    let (_, advice) = ended.stderr.split_once("sed -i '4d' ").expect("the advice");
    let path = format!("'{}'", file(folder.path()).display());
    assert!(advice.starts_with(&path), "{advice}");
    let repaired: String = text
        .split_inclusive('\n')
        .filter(|line| !line.contains("third"))
        .collect();
    std::fs::write(file(folder.path()), repaired).expect("the folder can be written");
    let held = reopened(folder.path(), "next").await;
    assert_eq!(texts(&held), [TEXTS[0], TEXTS[1], TEXTS[3], "next"]);
}

#[tokio::test]
async fn a_journal_of_another_program_or_version_is_refused_and_untouched() {
    for foreign in [
        "{\"v\":2,\"eventId\":\"1-0\"}\n",
        "{\"v\":2,\"eventId\":\"1-0\"}",
        "{\"level\":\"info\"}\n",
        "SQLite format 3\0\u{10}\0",
        "Dear diary,\n",
    ] {
        let folder = Folder::new();
        folder.file("messages.jsonl", foreign);
        let ended = Process::run(&["--listen=127.0.0.1:0", "--data", folder.as_str()], &[]).await;
        assert_eq!(ended.status.code(), Some(1), "{foreign}");
        assert!(
            ended.stderr.contains("line 1, byte offset 0"),
            "{}",
            ended.stderr
        );
        assert!(ended.stdout.is_empty(), "it never listened");
        assert_eq!(content(folder.path()), foreign.as_bytes());
    }
}

#[tokio::test]
async fn ids_rise_across_restarts_even_if_the_clock_goes_back() {
    let folder = Folder::new();
    let mut ids: Vec<EventId> = Vec::new();
    for unix_ms in [5_000_000, 4_000_000, 0, 4_999_999, 5_000_001] {
        let clock = ManualClock::at(unix_ms);
        let chat = kept(folder.path())
            .clock(clock.clone())
            .build()
            .expect("a good folder");
        for (room, date) in [("one", unix_ms), ("two", unix_ms / 2)] {
            clock.set_date(date);
            ids.push(chat.post(room, "a", "hello").await.expect("it is taken").id);
        }
        chat.close().await;
    }
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
}

/// Nothing is left to the system's own time: what was taken is synced when the server has ended.
#[tokio::test]
async fn messages_of_every_policy_are_there_after_an_end_in_good_order() {
    for fsync in [Fsync::Always, Fsync::EverySecond, Fsync::No] {
        let folder = Folder::new();
        let server = Server::with(|_| kept(folder.path()).fsync(fsync)).await;
        let posted = server
            .chat()
            .post("lobby", "a", "hello")
            .await
            .expect("it is taken");
        server.stop().await;
        let ids: Vec<EventId> = entries(folder.path()).iter().map(id_of).collect();
        assert_eq!(ids, [posted.id]);
    }
}
