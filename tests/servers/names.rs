//! Names, counts, bans and moderators across servers.

use std::time::UNIX_EPOCH;

use chatroom::{Heard, ManualClock, PageAt};
use serde_json::json;

use crate::common::redis::Redis;
use crate::common::{
    Change as _, EventStream, Folder, Process, Request, ask, eventually, get, retained, unlimited,
    within,
};
use crate::ordeal::{OPTIONS, server};
use crate::relay::{Line, Relay};

fn stream(name: &str) -> Request {
    Request::get(&format!("/chat?name={name}")).header("Accept", "text/event-stream")
}

async fn names(server: &Process) -> serde_json::Value {
    get(server.address(), "/chat/lobby/members").await.json()["members"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_taken_everywhere_at_once_and_its_owners_everywhere() {
    let redis = Redis::start().await;
    let (a, b) = (server(&redis.url()).await, server(&redis.url()).await);
    let ann = EventStream::request(a.address(), stream("ann")).await;
    ask(b.address(), stream("ANN"))
        .await
        .expect(409, "name-taken");
    let post = Request::post_text("/chat?name=Ann", "hi");
    ask(b.address(), post.clone())
        .await
        .expect(409, "name-taken");
    let hook = Request::post_json(
        "/chat/lobby/hook",
        &json!({"text": "hi", "username": "Ann"}),
    );
    ask(b.address(), hook).await.expect(200, "");
    assert_eq!(retained(b.address(), "lobby").await[0]["member"], false);
    let own = ask(b.address(), post.session(&ann.session()))
        .await
        .expect(201, "");
    assert_eq!(own.json()["member"], true);
    eventually("the roster", async || names(&b).await == json!(["ann"])).await;
    let nameless = Request::post_text("/chat", "hi").session(&ann.session());
    ask(b.address(), nameless).await.expect(201, "");
}

/// Everybody has a session of their own.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_want_a_name_at_once_at_two_servers_one_gets_it() {
    let redis = Redis::start().await;
    let (a, b) = (server(&redis.url()).await, server(&redis.url()).await);
    for n in 0..5 {
        let want = |place: usize| {
            let address = [a.address(), b.address()][place % 2];
            let request = stream(&format!("name{n}"));
            tokio::spawn(async move { EventStream::attempt(address, request).await })
        };
        let all: Vec<_> = (0..20).map(want).collect();
        let mut owners = Vec::new();
        for one in all {
            match one.await.expect("no panic") {
                Ok(stream) => owners.push(stream),
                Err(refused) => drop(refused.expect(409, "name-taken")),
            }
        }
        assert_eq!(owners.len(), 1, "round {n}");
        let name = json!(format!("name{n}"));
        for server in [&a, &b] {
            eventually("the roster", async || {
                names(server)
                    .await
                    .as_array()
                    .is_some_and(|all| all.contains(&name))
            })
            .await;
        }
        // Whoever has it keeps it.
        let mut owner = owners.remove(0);
        owner.until("heartbeat").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_takes_its_members_along() {
    let redis = Redis::start().await;
    let (a, b) = (server(&redis.url()).await, server(&redis.url()).await);
    let _ann = EventStream::request(a.address(), stream("ann")).await;
    let _listener = EventStream::open(a.address(), "/chat").await;
    eventually("the roster", async || names(&b).await == json!(["ann"])).await;
    a.kill().await;
    let killed = std::time::Instant::now();
    let rest = std::time::Duration::from_secs(40);
    let gone = tokio::time::timeout(rest, async {
        while names(&b).await != json!([]) {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    });
    gone.await.expect("the members of a dead server leave");
    let after = killed.elapsed().as_secs();
    assert!((15..30).contains(&after), "after {after} s");
    EventStream::request(b.address(), stream("ann")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_moves_to_another_server_never_left() {
    let redis = Redis::start().await;
    let (mut a, b) = (server(&redis.url()).await, server(&redis.url()).await);
    let ann = EventStream::request(a.address(), stream("ann")).await;
    let session = ann.session();
    let mut watcher = EventStream::open(b.address(), "/chat").await;
    eventually("the roster", async || names(&b).await == json!(["ann"])).await;
    a.signal("TERM").await;
    a.exited().await;
    ask(b.address(), stream("ann"))
        .await
        .expect(409, "name-taken");
    let _moved = EventStream::request(b.address(), stream("ann").session(&session)).await;
    // Longer than the grace of the server that has stopped.
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(12);
    while let Ok(event) = tokio::time::timeout_at(until, watcher.event()).await {
        let left = event.is("members-changed") && event.json()["left"] != json!([]);
        assert!(!left, "{event:?}");
    }
    assert_eq!(names(&b).await, json!(["ann"]));
}

/// A claim that the server refuses by itself changes nothing for anybody.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_try_a_name_do_not_disturb_its_owner_elsewhere() {
    let redis = Redis::start().await;
    let (a, b) = (server(&redis.url()).await, server(&redis.url()).await);
    let ann = EventStream::request(a.address(), stream("ann")).await;
    let session = ann.session();
    for n in 0..20 {
        ask(a.address(), stream("ann"))
            .await
            .expect(409, "name-taken");
        let own = stream("ann").session(&session);
        let also = EventStream::attempt(b.address(), own).await;
        assert!(also.is_ok(), "attempt {n}");
        let post = Request::post_text("/chat?name=ann", "hi").session(&session);
        let own = ask(b.address(), post).await.expect(201, "");
        assert_eq!(own.json()["member"], true);
    }
}

/// The server that claimed it last has no stream under it any more, but the other one has.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_given_up_at_one_server_is_kept_for_the_other() {
    let redis = Redis::start().await;
    let (a, b) = (server(&redis.url()).await, server(&redis.url()).await);
    let ann = EventStream::request(a.address(), stream("ann")).await;
    let session = ann.session();
    eventually("the roster", async || names(&b).await == json!(["ann"])).await;
    let also = EventStream::request(b.address(), stream("ann").session(&session)).await;
    let _bob = EventStream::request(b.address(), stream("bob").session(&session)).await;
    drop(also);
    // Longer than it takes to tell.
    let until = tokio::time::Instant::now() + std::time::Duration::from_secs(3);
    while tokio::time::Instant::now() < until {
        ask(b.address(), stream("ann"))
            .await
            .expect(409, "name-taken");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    eventually("the roster", async || {
        names(&b).await == json!(["ann", "bob"])
    })
    .await;
}

/// A server that cannot reach Redis for longer than its roster lasts.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_somebody_else_was_given_meanwhile_is_lost() {
    let redis = Redis::start().await;
    let relay = Relay::to(redis.address()).await;
    let (a, b) = (server(&relay.url()).await, server(&redis.url()).await);
    let mut lost = EventStream::request(a.address(), stream("ann")).await;
    let mut kept = EventStream::request(a.address(), stream("bob")).await;
    eventually("the roster", async || {
        names(&b).await == json!(["ann", "bob"])
    })
    .await;
    relay.set(Line::Silent);
    let rest = std::time::Duration::from_secs(40);
    let given = tokio::time::timeout(rest, async {
        loop {
            match EventStream::attempt(b.address(), stream("ann")).await {
                Ok(given) => return given,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(200)).await,
            }
        }
    });
    let _given = given
        .await
        .expect("the name of a server that is away is free");
    relay.set(Line::Leads(redis.address()));
    let ended = tokio::time::timeout(rest, async { while lost.next().await.is_some() {} });
    ended.await.expect("the stream under the lost name ends");
    for server in [&a, &b] {
        eventually("the roster", async || {
            names(server).await == json!(["ann", "bob"])
        })
        .await;
    }
    kept.until("heartbeat").await;
    ask(a.address(), stream("ann"))
        .await
        .expect(409, "name-taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_redis_lost_its_names_their_owners_keep_them() {
    let redis = Redis::start().await;
    let (a, b) = (server(&redis.url()).await, server(&redis.url()).await);
    let _ann = EventStream::request(a.address(), stream("ann")).await;
    eventually("the roster", async || names(&b).await == json!(["ann"])).await;
    redis.command(&["FLUSHALL"]).await;
    eventually("the name in Redis", async || {
        let rosters = redis.command(&["KEYS", "{chatroom}:roster:*"]).await;
        for roster in rosters.lines() {
            if redis.command(&["HEXISTS", roster, "lobby:ann"]).await == "1" {
                return true;
            }
        }
        false
    })
    .await;
    ask(b.address(), stream("ann"))
        .await
        .expect(409, "name-taken");
    assert_eq!(names(&b).await, json!(["ann"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_redis_lost_everything_an_author_is_the_same_at_a_server_that_starts() {
    let redis = Redis::start().await;
    let a = server(&redis.url()).await;
    let mut ann = EventStream::request(a.address(), stream("ann")).await;
    let author = ann.event().await.json()["author"].clone();
    redis.command(&["FLUSHALL"]).await;
    ann.until("messages-missed").await;
    let b = server(&redis.url()).await;
    let request = Request::get("/chat").session(&ann.session());
    let mut there = EventStream::request(b.address(), request).await;
    assert_eq!(there.event().await.json()["author"], author);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_with_the_address_knows_where_another_server_saw_the_author() {
    let (redis, folder) = (Redis::start().await, Folder::new());
    let (url, password) = (redis.url(), folder.file("password", "secret"));
    let options = ["--redis", &url, "--moderator-password-file", &password];
    let arguments = [&OPTIONS[..], &options].concat();
    let a = Process::start(&arguments).await;
    let b = Process::start(&arguments).await;
    let mut eve = EventStream::request(b.address(), stream("eve")).await;
    let author = eve.event().await.json()["author"].clone();
    let ban = Request::post_json("/bans", &json!({ "author": author }))
        .header("Authorization", "Basic OnNlY3JldA==");
    eventually("where the author was seen", async || {
        let answer = ask(a.address(), ban.clone()).await.expect(201, "").json();
        (&answer["name"], &answer["address"]) == (&json!("eve"), &json!(true))
    })
    .await;
    // Without a session there is only the address.
    let nobody = Request::post_text("/chat?name=mallory", "hi");
    eventually("the ban at the other server", async || {
        ask(b.address(), nobody.clone()).await.status == 403
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_in_flight_at_one_server_does_not_outlive_a_ban_at_the_other() {
    let (redis, folder) = (Redis::start().await, Folder::new());
    let (url, password) = (redis.url(), folder.file("password", "secret"));
    let options = ["--redis", &url, "--moderator-password-file", &password];
    let arguments = [&OPTIONS[..], &options].concat();
    let a = Process::start(&arguments).await;
    let b = Process::start(&arguments).await;
    let address = b.address();
    for n in 0..20 {
        let eve = format!("{n:032x}");
        let request = Request::get("/chat").session(&eve);
        let greeting = EventStream::request(address, request).await.event().await;
        let author = greeting.json()["author"].clone();
        let posting = tokio::spawn(async move {
            for _ in 0..100 {
                let post = Request::post_text("/chat?name=eve", "hi").session(&eve);
                if ask(address, post).await.status == 403 {
                    return;
                }
            }
            panic!("the ban is never heard of");
        });
        let ban = json!({ "author": author, "removeMessages": true, "address": false });
        let ban = Request::post_json("/bans", &ban).header("Authorization", "Basic OnNlY3JldA==");
        ask(a.address(), ban).await.expect(201, "");
        posting.await.expect("no panic");
        // Once the server has this, it has the removals too.
        let last = Request::post_text("/chat?name=bot", "last");
        ask(address, last).await.expect(201, "");
        let kept = retained(address, "lobby").await;
        let hers = kept.iter().filter(|message| message["author"] == author);
        assert_eq!(hers.count(), 0, "round {n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_one_server_takes_the_session_to_another_device_at_the_other() {
    let redis = Redis::start().await;
    let (a, b) = (server(&redis.url()).await, server(&redis.url()).await);
    let session = |n: u32| format!("{n:032x}");
    let wanting = |n: u32, carried: &str| {
        let request = Request::new("POST", "/me/code").session(&session(n));
        request.body(carried)
    };
    let using = |code: &str| Request::post_json("/me", &json!({"code": code}));
    let code = async |server: &Process, n: u32| {
        let answer = ask(server.address(), wanting(n, "{ }")).await;
        let answer = answer.expect(201, "").json();
        answer["code"].as_str().expect("a code").to_owned()
    };
    let carried = "{ \"name\":\"é\\u00e9\" }\n";
    let given = ask(a.address(), wanting(1, carried)).await.expect(201, "");
    let given = given.json()["code"].as_str().expect("a code").to_owned();
    let answer = ask(b.address(), using(&given)).await.expect(200, "");
    assert_eq!(
        (answer.text(), answer.session()),
        (carried, Some(session(1)))
    );
    for server in [&a, &b] {
        let again = ask(server.address(), using(&given)).await;
        again.expect(403, "wrong-code");
    }
    // One of a session, and 20 of an address, at whichever server.
    let (first, second) = (code(&a, 1).await, code(&b, 1).await);
    ask(a.address(), using(&first))
        .await
        .expect(403, "wrong-code");
    ask(a.address(), using(&second)).await.expect(200, "");
    let mut codes = Vec::new();
    for n in 0..21 {
        codes.push(code([&a, &b][n as usize % 2], n).await);
    }
    ask(b.address(), using(&codes[0]))
        .await
        .expect(403, "wrong-code");
    for good in &codes[1..] {
        ask(b.address(), using(good)).await.expect(200, "");
    }
}

/// Two programs that embed servers of one chat.
#[tokio::test(flavor = "multi_thread")]
async fn programs_at_two_servers_share_names_positions_and_keys() {
    let redis = Redis::start().await;
    let open = || {
        let options = unlimited().redis(&redis.url()).expect("a URL");
        options.build().expect("Redis is there")
    };
    let (a, b) = (open(), open());
    for n in 0..20 {
        let name = format!("bot {n}");
        let _bot = a.join(["lobby"], &name, None).await.expect("free");
        let taken = b.join(["lobby"], name.to_uppercase(), None).await;
        assert_eq!(taken.err().map(|e| e.code()), Some("name-taken"));
        let said = a.post_once("lobby", "door", &name, n.to_string()).await;
        let said = said.expect("posted");
        // The other server has yet to hear of it.
        let mut listener = b.listen(["lobby"], Some(said.id)).await.expect("a room");
        loop {
            match within("the present", listener.next()).await.expect("open") {
                Heard::Joined { .. } | Heard::Left { .. } => {}
                Heard::CaughtUp { .. } => break,
                other => panic!("{other:?} after {}", said.id),
            }
        }
        let again = b.post_once("lobby", "door", &name, n.to_string()).await;
        assert_eq!(again, Ok(said));
        let said = a.post("lobby", "door", "more").await.expect("posted");
        let page = b.history("lobby", PageAt::After(said.id), 9).await;
        let page = page.expect("a page");
        assert!(page.messages.is_empty() && !page.missed, "{page:?}");
    }
}

/// As after a server was cut off from Redis, until its names expired.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_a_name_unheard_does_not_post_under_it() {
    let redis = Redis::start().await;
    let a = server(&redis.url()).await;
    let ann = EventStream::request(a.address(), stream("ann")).await;
    let post = Request::post_text("/chat?name=ann", "hi").session(&ann.session());
    ask(a.address(), post.clone()).await.expect(201, "");
    let roster = "{chatroom}:roster:another";
    let other = "00000000000000ff ann";
    redis.command(&["HSET", roster, "lobby:ann", other]).await;
    redis
        .command(&["SADD", "{chatroom}:servers", "another"])
        .await;
    ask(a.address(), post).await.expect(409, "name-taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_clock_is_ahead_logs_no_moderator_out() {
    let (redis, folder) = (Redis::start().await, Folder::new());
    let (url, password) = (redis.url(), folder.file("password", "secret"));
    let options = ["--redis", &url, "--moderator-password-file", &password];
    let a = Process::start(&[&OPTIONS[..], &options].concat()).await;
    let login = Request::post_json("/moderator", &json!({ "password": "secret" }));
    ask(a.address(), login).await.expect(204, "");
    let mut ahead = unlimited().redis(&url).expect("a URL");
    let now = UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as u64;
    ahead.clock = ManualClock::at(now + 13 * 3_600_000).into();
    drop(ahead.build().expect("Redis is there"));
    let left = redis.command(&["ZCARD", "{chatroom}:moderators"]).await;
    assert_eq!(left.trim(), "1");
}
