//! What Redis holds of the chat is bounded in bytes, and what was removed leaves it.

use serde_json::json;

use crate::common::redis::Redis;
use crate::common::{
    EventStream, Folder, Process, Request, ask, eventually, get, id_of, post_all, retained,
};
use crate::ordeal::{OPTIONS, server};

const ROOM_BYTES: usize = 65_536;
const FEED_BYTES: usize = 4 * 1024 * 1024;

/// The memory that Redis needs for a key.
async fn usage(redis: &Redis, key: &str) -> usize {
    let usage = [
        "MEMORY",
        "USAGE",
        &format!("{{chatroom}}:{key}"),
        "SAMPLES",
        "0",
    ];
    redis.command(&usage).await.parse().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_takes_no_more_of_redis_than_its_bytes_and_all_servers_retain_the_same() {
    let redis = Redis::start().await;
    let (url, bytes) = (redis.url(), format!("--history-bytes={ROOM_BYTES}"));
    let arguments = ["--redis", &url, &bytes, "--message-rate=0", "--history=0"];
    let old = Process::start(&arguments).await;
    for size in [1, 100, 1_000, 4_000] {
        let (room, text) = (format!("of-{size}"), "x".repeat(size));
        let target = format!("/chat/{room}?name=bot");
        for n in 0..2 * ROOM_BYTES / (size + 150) {
            let post =
                Request::post_text(&target, &text).header("Idempotency-Key", format!("{n:064}"));
            ask(old.address(), post).await.expect(201, "");
        }
        let held = usage(&redis, &format!("room:{room}")).await
            + usage(&redis, &format!("keys:{room}")).await;
        assert!(
            held < ROOM_BYTES * 21 / 20,
            "{held} bytes of texts of {size}"
        );
        // Each message a removal of the last: what is gone may still take memory.
        let mut client = EventStream::open(old.address(), &format!("/chat/{room}")).await;
        let session = client.session();
        client.caught_up().await;
        for _ in 0..300 {
            let post = Request::post_text(&target, &text).session(&session);
            let message = id_of(&ask(old.address(), post).await.expect(201, "").json());
            let removal = Request::new("DELETE", &format!("/chat/{room}/messages/{message}"));
            ask(old.address(), removal.session(&session))
                .await
                .expect(200, "");
        }
        let held = usage(&redis, &format!("room:{room}")).await;
        assert!(
            held < ROOM_BYTES * 21 / 20,
            "{held} bytes after removals of {size}"
        );
        post_all(old.address(), &target, (0..20).map(|_| text.clone())).await;
    }
    let new = Process::start(&arguments).await;
    for size in [1, 100, 1_000, 4_000] {
        let room = format!("of-{size}");
        let page = format!("/chat/{room}/messages?after=0-0&limit=500");
        let pages = [
            get(old.address(), &page).await,
            get(new.address(), &page).await,
        ];
        let [old, new] = pages.map(|page| page.expect(200, "").json());
        assert_eq!(old, new, "{room}");
        assert_ne!(old["messages"], json!([]), "{room}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_is_bounded_in_bytes_and_who_missed_some_of_it_loads_the_rooms() {
    let redis = Redis::start().await;
    let (a, b) = (server(&redis.url()).await, server(&redis.url()).await);
    let mut stream = EventStream::open(b.address(), "/chat/noise").await;
    stream.caught_up().await;
    b.signal("STOP").await;
    let texts = (0..1_200).map(|n| format!("{n} {}", "x".repeat(4_000)));
    let posted = post_all(a.address(), "/chat/noise?name=bot", texts).await;
    let held = usage(&redis, "feed").await;
    assert!(
        (FEED_BYTES / 2..FEED_BYTES * 21 / 20).contains(&held),
        "{held}"
    );
    b.signal("CONT").await;
    for id in posted {
        assert_eq!(id_of(&stream.message().await.json()), id);
    }
    eventually("it says so", async || {
        b.stderr().contains("fell behind the feed")
    })
    .await;
    assert_eq!(
        retained(a.address(), "noise").await,
        retained(b.address(), "noise").await
    );
}

/// The files of a Redis that hold a text.
fn files_with(redis: &Redis, text: &str) -> Vec<String> {
    let mut folders = vec![redis.folder().to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).expect("it can be read") {
            let path = file.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = std::fs::read(&path).expect("it can be read");
                let mut parts = content.windows(text.len());
                let has_it = parts.any(|part| part == text.as_bytes());
                found.extend(has_it.then(|| path.display().to_string()));
            }
        }
    }
    found
}

/// As the guide says: at once from its memory, and from its files when these are written anew.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_leaves_redis_with_the_setting_of_the_guide() {
    let setting = crate::proxies::block("redis-removals", &[]);
    let (name, value) = setting.trim().split_once(' ').expect("a setting");
    let name = format!("--{name}");
    let arguments = ["--save", "", "--appendonly", "yes", &name, value];
    let redis = Redis::with(&arguments).await;
    let a = server(&redis.url()).await;
    let session = EventStream::open(a.address(), "/chat").await.session();
    let mut messages = Vec::new();
    for text in ["before", "a secret of ann's", "after"] {
        let post = Request::post_text("/chat?name=ann", text).session(&session);
        messages.push(id_of(&ask(a.address(), post).await.expect(201, "").json()));
    }
    eventually("the text on the disk", async || {
        !files_with(&redis, "a secret of").is_empty()
    })
    .await;
    let removal = Request::new("DELETE", &format!("/chat/lobby/messages/{}", messages[1]));
    ask(a.address(), removal.session(&session))
        .await
        .expect(200, "");
    redis.command(&["SAVE"]).await;
    redis.command(&["BGREWRITEAOF"]).await;
    eventually("files without the text", async || {
        files_with(&redis, "a secret of").is_empty()
    })
    .await;
    assert!(
        !files_with(&redis, "before").is_empty(),
        "the others are there"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_ends_the_sessions_of_moderators() {
    let (redis, folder) = (Redis::start().await, Folder::new());
    let url = redis.url();
    let start = async |password: &str| {
        let file = folder.file(password, password);
        let options = ["--redis", &url, "--moderator-password-file", &file];
        Process::start(&[&OPTIONS[..], &options].concat()).await
    };
    let (old, other) = (start("first").await, start("first").await);
    let session = "d0000000000000000000000000000004";
    let log_in = Request::post_json("/moderator", &json!({"password": "first"}));
    ask(old.address(), log_in.session(session))
        .await
        .expect(204, "");
    let bans = Request::get("/bans").session(session);
    eventually("the moderator at the other server", async || {
        ask(other.address(), bans.clone()).await.status == 200
    })
    .await;
    // One server after the other gets the new password.
    let changed = start("second").await;
    ask(changed.address(), bans.clone())
        .await
        .expect(403, "not-moderator");
    ask(other.address(), bans.clone()).await.expect(200, "");
    let log_in = Request::post_json("/moderator", &json!({"password": "second"}));
    ask(changed.address(), log_in.session(session))
        .await
        .expect(204, "");
    ask(changed.address(), bans.clone()).await.expect(200, "");
    // A server with the same password is started again: the session lasts.
    ask(start("first").await.address(), bans)
        .await
        .expect(200, "");
}
