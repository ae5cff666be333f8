//! Bans: whom they end, whom they spare, how long they last.

use crate::common::Change as _;
use std::time::Duration;

use chatroom::{Fsync, ManualClock, PageAt, Refusal};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{
    ANN, BASIC, BOB, EVE, MODERATOR, author_of, ban, banning, ended, join, joining, moderated,
    posting, say_as,
};
use crate::common::{
    Client, EventStream, Folder, PAIRS, Process, Request, Server, ask, eventually, figure, get,
    retained, texts,
};

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_the_banned_end_and_their_names_are_free_at_once() {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    let two_rooms = Request::get("/chat?room=lobby&room=dev&name=eve").session(EVE);
    let streams = [
        EventStream::request(address, two_rooms).await,
        join(address, EVE, "eve").await,
    ];
    let mut listening = EventStream::request(address, Request::get("/chat").session(EVE)).await;
    let mut other = join(address, ANN, "ann").await;
    let eve = author_of(address, EVE, "eve").await;
    let answer = ban(address, &eve, false).await.expect(201, "").json();
    assert_eq!(
        (&answer["author"], &answer["name"], &answer["address"]),
        (&json!(eve), &json!("eve"), &json!(false))
    );
    // Nobody waits for a grace here.
    let mut taken = join(address, BOB, "EVE").await;
    assert_eq!(taken.event().await.json()["name"], "EVE");
    let dev = get(address, "/chat/dev/members").await.json();
    assert_eq!(dev["memberCount"], 0);
    for stream in streams {
        ended(stream).await;
    }
    let name = get(address, "/chat/lobby/members").await.json();
    assert_eq!(
        name["members"],
        json!(["ann", "EVE"]),
        "the new owner stays"
    );
    say_as(address, ANN, "ann", "still here").await;
    for stream in [&mut listening, &mut other, &mut taken] {
        while stream.message().await.text() != "still here" {}
    }
    for request in [joining(EVE, "eve"), joining(EVE, "other"), posting(EVE)] {
        let refused = ask(address, request).await.expect(403, "banned");
        let seconds: u64 = refused
            .header("retry-after")
            .and_then(|seconds| seconds.parse().ok())
            .expect("seconds");
        assert!((86_300..=86_400).contains(&seconds), "{seconds}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_frees_a_name_in_its_grace() {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    let stream = join(address, EVE, "eve").await;
    let eve = author_of(address, EVE, "eve").await;
    drop(stream);
    eventually("she has left", async || {
        figure(address, "chatroom_streams").await == 0
    })
    .await;
    ask(address, joining(BOB, "eve"))
        .await
        .expect(409, "name-taken");
    ban(address, &eve, false).await.expect(201, "");
    join(address, BOB, "eve").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_lasts_as_long_as_it_says() {
    let clock = ManualClock::at(1_700_000_000_000);
    let server = moderated(|chat| chat.clock(clock.clone())).await;
    let address = server.address();
    let eve = author_of(address, EVE, "eve").await;
    let request = |minutes: u64| {
        let order = json!({"author": eve, "minutes": minutes, "address": false});
        Request::post_json("/bans", &order).session(MODERATOR)
    };
    let ban = ask(address, request(5)).await.expect(201, "").json();
    assert_eq!(ban["until"], 1_700_000_300_000_u64);
    let ban = ask(address, request(525_600)).await.expect(201, "").json();
    assert_eq!(ban["until"], 1_731_536_000_000_u64);
    // Another ban of the same author replaces the earlier ones.
    ask(address, request(1)).await.expect(201, "");
    ask(address, request(2)).await.expect(201, "");
    let list = || async {
        ask(address, Request::get("/bans").session(MODERATOR))
            .await
            .json()
    };
    let bans = list().await["bans"].clone();
    let until = 1_700_000_120_000_u64;
    assert_eq!(
        bans,
        json!([{"author": eve, "name": "eve", "until": until, "address": false}])
    );
    clock.advance(Duration::from_millis(119_001));
    let refused = ask(address, posting(EVE)).await.expect(403, "banned");
    assert_eq!(refused.header("retry-after"), Some("1"));
    clock.advance(Duration::from_secs(1));
    ask(address, posting(EVE)).await.expect(201, "");
    assert_eq!(list().await["bans"], json!([]));
    let lift = Request::new("DELETE", &format!("/bans/{eve}")).session(MODERATOR);
    ask(address, lift).await.expect(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_ban_all_messages_may_go() {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    let eve = author_of(address, EVE, "eve").await;
    let elsewhere = Request::post_text("/chat/dev?name=eve", "spam").session(EVE);
    ask(address, elsewhere).await.expect(201, "");
    say_as(address, ANN, "ann", "good").await;
    say_as(address, EVE, "zoe", "spam").await;
    let mut stream = EventStream::open(address, "/chat?room=lobby&room=dev&history=0").await;
    let order = json!({"author": eve, "removeMessages": true, "address": null, "minutes": null});
    let request = Request::post_json("/bans", &order).session(MODERATOR);
    ask(address, request).await.expect(201, "");
    for _ in 0..3 {
        assert_eq!(
            stream.until("message-removed").await.json()["by"],
            "moderator"
        );
    }
    assert_eq!(texts(&retained(address, "lobby").await), ["good"]);
    assert_eq!(retained(address, "dev").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn bans_that_would_hit_the_wrong_are_refused_with_an_explanation() {
    let server = moderated(|chat| chat.trusted_proxy([127, 0, 0, 1].into())).await;
    let address = server.address();
    let behind = author_of(address, EVE, "eve").await;
    let refused = ban(address, &behind, true).await.expect(400, "bad-request");
    assert!(
        refused.text().contains("trusted proxy"),
        "{}",
        refused.text()
    );
    ban(address, &behind, false).await.expect(201, "");
    // Behind a chain of proxies of which the last ones tell no other address.
    let proxies = ["::ffff:10.0.0.1", "2001:db8:9::1", "::1"];
    let chain = moderated(|chat| {
        let proxies = proxies.iter().chain(&["127.0.0.1"]);
        proxies.fold(chat, |chat, proxy| {
            chat.trusted_proxy(proxy.parse().expect("an address"))
        })
    })
    .await;
    for from in [
        "10.0.0.1",
        "::ffff:a00:1",
        "2001:db8:9::1",
        "::1",
        "unknown",
    ] {
        let post = posting(EVE).header("X-Forwarded-For", from);
        let eve = ask(chain.address(), post).await.expect(201, "").json();
        let eve = eve["author"].as_str().expect("an author");
        let refused = ban(chain.address(), eve, true).await;
        let refused = refused.expect(400, "bad-request");
        assert!(refused.text().contains("trusted proxy"), "{from}");
    }
    let myself = author_of(address, MODERATOR, "mod").await;
    let request = banning(&myself, false).session(MODERATOR);
    let refused = ask(address, request).await.expect(400, "bad-request");
    assert!(refused.text().contains("you"), "{}", refused.text());
    // One that was never seen has no address.
    let unseen = ban(address, "0123456789abcdef", true).await.expect(201, "");
    assert_eq!(unseen.json()["name"], Value::Null);
    assert_eq!(unseen.json()["address"], false);
    let author = "0123456789abcdef";
    for bad in [
        json!({}),
        json!([]),
        json!({"author": 1}),
        json!({"author": "0123456789ABCDEF"}),
        json!({"author": author, "minutes": 0}),
        json!({"author": author, "minutes": 525_601}),
        json!({"author": author, "minutes": -1}),
        json!({"author": author, "minutes": 1.5}),
        json!({"author": author, "minutes": "5"}),
        json!({"author": author, "address": 1}),
        json!({"author": author, "removeMessages": "no"}),
    ] {
        let request = Request::post_json("/bans", &bad).session(MODERATOR);
        ask(address, request).await.expect(400, "bad-request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bans_are_bounded() {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    let hour = Duration::from_secs(3_600);
    let chat = server.chat();
    for n in 0..1_000 {
        let author = format!("{n:016x}").parse().expect("an author");
        chat.ban(author, hour, true).await.expect("banned");
    }
    let one_more = "ffffffffffffffff";
    let refused = chat
        .ban(one_more.parse().expect("an author"), hour, true)
        .await;
    assert_eq!(refused, Err(Refusal::TooManyBans));
    ban(address, one_more, true)
        .await
        .expect(409, "too-many-bans");
    let first = format!("{:016x}", 0);
    ban(address, &first, true).await.expect(201, "");
    let lift = Request::new("DELETE", &format!("/bans/{first}")).session(MODERATOR);
    ask(address, lift).await.expect(204, "");
    ban(address, one_more, true).await.expect(201, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn bans_and_authors_last_across_restarts_and_damage_is_told() {
    let folder = Folder::new();
    let start = || async { moderated(|chat| chat.data(folder.path())).await };
    let server = start().await;
    let eve = author_of(server.address(), EVE, "eve").await;
    ban(server.address(), &eve, true).await.expect(201, "");
    server.stop().await;
    let server = start().await;
    let refused = ask(server.address(), posting(ANN)).await;
    refused.expect(403, "banned");
    let list = Request::get("/bans").session(MODERATOR);
    let list = ask(server.address(), list).await.json();
    assert_eq!(
        (&list["bans"][0]["author"], &list["bans"][0]["name"]),
        (&json!(eve), &json!("eve"))
    );
    let lift = Request::new("DELETE", &format!("/bans/{eve}")).session(MODERATOR);
    ask(server.address(), lift).await.expect(204, "");
    server.stop().await;
    let server = start().await;
    assert_eq!(author_of(server.address(), EVE, "eve").await, eve);
    server.stop().await;
    folder.file("bans.json", "{\"v\":1,\"bans\":[]}");
    let ended = Process::run(&["--data", folder.as_str(), "--listen", "127.0.0.1:0"], &[]).await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("bans.json: is damaged"), "{ended:?}");
    assert_eq!(ended.stdout, "");
}

/// Who prepares a post slowly is not ahead of the ban.
#[tokio::test(flavor = "multi_thread")]
async fn a_post_whose_body_comes_after_the_ban_is_refused() {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    let eve = author_of(address, EVE, "eve").await;
    for target in ["/chat/lobby?name=eve", "/chat/lobby/hook"] {
        // The server asks for the body once it has looked at the head.
        let body = r#"{"text":"spam"}"#;
        let request = Request::post_json(target, &json!({"text": "spam"})).session(EVE);
        let request = request.header("Expect", "100-continue");
        let mut client = Client::connect(address).await;
        let bytes = request.to_bytes();
        client.send(&bytes[..bytes.len() - body.len()]).await;
        let goes_on = client.head().await.expect("the server responds");
        assert_eq!(goes_on.status, 100);
        let order = json!({"author": eve, "removeMessages": true});
        let order = Request::post_json("/bans", &order).header("Authorization", BASIC);
        ask(address, order).await.expect(201, "");
        client.send(body.as_bytes()).await;
        client.response("POST").await.expect(403, "banned");
        assert_eq!(retained(address, "lobby").await, Vec::<Value>::new());
        let lift = Request::new("DELETE", &format!("/bans/{eve}")).session(MODERATOR);
        ask(address, lift).await.expect(204, "");
    }
}

/// The disk fails, for another reason than room: nobody is banned in memory alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_ban_that_cannot_be_stored_is_none() {
    let folder = Folder::new();
    let server = moderated(|chat| chat.data(folder.path())).await;
    let address = server.address();
    let eve = author_of(address, EVE, "eve").await;
    // A folder in the place of the new file cannot be removed as a file.
    std::fs::create_dir(folder.path().join("bans.json.new")).expect("it can be made");
    ban(address, &eve, false)
        .await
        .expect(503, "storage-failed");
    ask(address, posting(EVE)).await.expect(201, "");
    std::fs::remove_dir(folder.path().join("bans.json.new")).expect("it can be removed");
    ban(address, &eve, false).await.expect(201, "");
    ask(address, posting(EVE)).await.expect(403, "banned");
}

/// Streams that open while the ban is set end too.
#[tokio::test(flavor = "multi_thread")]
async fn no_stream_slips_past_a_ban() {
    for _ in 0..20 {
        let server = Server::start().await;
        let address = server.address();
        let eve = author_of(address, EVE, "eve").await;
        let opening: Vec<_> = (0..8)
            .map(|_| tokio::spawn(EventStream::attempt(address, joining(EVE, "eve"))))
            .collect();
        let author = eve.parse().expect("an author");
        let hour = Duration::from_secs(3_600);
        server
            .chat()
            .ban(author, hour, false)
            .await
            .expect("banned");
        for task in opening {
            match task.await.expect("no panic") {
                Ok(stream) => ended(stream).await,
                Err(refused) => assert_eq!(refused.code(), "banned"),
            }
        }
        eventually("the end of all streams", || async {
            crate::common::figure(address, "chatroom_streams").await == 0
        })
        .await;
        // Of a pair, each hears of the other's members once a second.
        let members = get(address, "/chat/lobby/members").await.json();
        assert!(members["memberCount"] == 0 || PAIRS, "the name is not free");
    }
}

/// Gain: somebody who is banned goes on as a program, with the same cookie.
#[tokio::test(flavor = "multi_thread")]
async fn the_hook_of_a_banned_session_is_refused() {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    let eve = author_of(address, EVE, "eve").await;
    ban(address, &eve, false).await.expect(201, "");
    let hook = || Request::post_json("/chat/lobby/hook", &json!({"text": "still here"}));
    ask(address, hook().session(EVE))
        .await
        .expect(403, "banned");
    ask(address, hook().session(ANN)).await.expect(200, "");
    ask(address, hook()).await.expect(200, "");
}

/// What was on its way when a ban was set that removes messages is removed too, or refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_post_in_flight_does_not_outlive_the_ban() {
    let folder = Folder::new();
    let server = moderated(|chat| chat.data(folder.path()).fsync(Fsync::Always)).await;
    let address = server.address();
    for n in 0..100 {
        let eve = format!("{n:032x}");
        // Learns who that is without a message.
        let stream = join(address, &eve, &format!("eve{n}")).await;
        let author = author_here(stream).await;
        // At every moment of the ban one is under way.
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(Client::connect(address).await);
        }
        let began = Instant::now();
        let mut posts = JoinSet::new();
        for (client, at) in clients.into_iter().zip(0..) {
            let post = Request::post_text("/chat/lobby", "hi").session(&eve);
            posts.spawn(async move {
                let mut client = client;
                sleep_until(began + Duration::from_micros(at * 150)).await;
                client.ask(&post).await
            });
        }
        let order = json!({"author": author, "address": false, "removeMessages": true});
        let order = Request::post_json("/bans", &order).session(MODERATOR);
        ask(address, order).await.expect(201, "");
        posts.join_all().await;
        let kept = server.chat().history("lobby", PageAt::End, 500).await;
        assert_eq!(kept.expect("a room").messages, [], "round {n}");
        let lift = Request::new("DELETE", &format!("/bans/{author}")).session(MODERATOR);
        ask(address, lift).await.expect(204, "");
    }
}

/// The author that a stream tells to its own client.
async fn author_here(mut stream: EventStream) -> String {
    let greeting = stream.event().await.json();
    greeting["author"].as_str().expect("an author").to_owned()
}
