//! Users whom a proxy or the embedding program names: each test is named after what must hold, or what
//! somebody tries.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use chatroom::{Chat, LogLevel, ManualClock, Options, PageAt, User};
use hyper::service::Service;
use serde_json::{Value, json};

use crate::common::Change as _;
use crate::common::{EventStream, Process, Request, Response, Server, ask, get, unlimited};
use crate::moderation::{BASIC, PASSWORD, banning, ended, removal};

const HEADER: &str = "Remote-User";

fn proxied(chat: Options) -> Options {
    chat.trusted_proxy(Ipv4Addr::LOCALHOST.into())
        .with(|options| options.user_header = Some(HEADER.to_owned()))
}

async fn server() -> Server {
    Server::with(proxied).await
}

fn by(user: impl AsRef<[u8]>, request: Request) -> Request {
    request.header(HEADER, user)
}

/// One of every kind of request.
fn requests() -> Vec<Request> {
    vec![
        Request::get("/"),
        Request::get("/js/main.js"),
        Request::get("/chat"),
        Request::get("/chat/dev?name=ann"),
        Request::post_text("/chat?name=ann", "hi"),
        Request::post_json("/chat/lobby/hook", &json!({"text": "hi"})),
        Request::get("/chat/lobby/messages"),
        Request::new("DELETE", "/chat/lobby/messages/1-1"),
        Request::get("/chat/lobby/members"),
        Request::get("/rooms"),
        Request::get("/me"),
        Request::post_json("/me/code", &json!({})),
        Request::get("/bans"),
        Request::get("/metrics"),
        Request::get("/nowhere"),
        Request::get("/chat/.bad"),
        Request::new("PUT", "/rooms"),
        Request::new("OPTIONS", "/chat")
            .header("Origin", "http://localhost")
            .header("Access-Control-Request-Method", "POST"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_from_an_untrusted_peer() {
    let elsewhere = Server::with(|chat| {
        let chat = chat.trusted_proxy(Ipv4Addr::new(10, 0, 0, 1).into());
        chat.with(|options| options.user_header = Some(HEADER.to_owned()))
    })
    .await;
    let address = elsewhere.address();
    for request in requests() {
        let claims = by("ann", request).header("X-Forwarded-For", "10.0.0.1");
        ask(address, claims).await.expect(403, "user-required");
    }
    let browser = Request::get("/").header("Accept", "text/html");
    let page = ask(address, browser).await;
    assert_eq!(page.status, 403);
    assert!(
        page.text().contains("<h1>"),
        "a page for people: {}",
        page.text()
    );
    get(address, "/healthz").await.expect(200, "");
    // Without the option the header is any header.
    let plain = Server::with(|chat| chat.trusted_proxy(Ipv4Addr::LOCALHOST.into())).await;
    let me = ask(plain.address(), by("ann", Request::get("/me"))).await;
    assert_eq!(me.json()["user"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_missing_twice_empty_invalid_or_spelt_otherwise() {
    let server = server().await;
    let address = server.address();
    for request in requests() {
        ask(address, request.clone())
            .await
            .expect(403, "user-required");
        let twice = by("ann", by("ann", request));
        ask(address, twice).await.expect(403, "user-required");
    }
    let long = "x".repeat(513);
    let unseen = "ann\u{200b}";
    let long_and_blank = format!("{}\u{a0}", "x".repeat(40));
    for bad in [
        b"".as_slice(),
        b" ",
        b"\t",
        b"\xff",
        b"\xc3",
        long.as_bytes(),
        unseen.as_bytes(),
        "ann\u{a0}".as_bytes(),
        "\u{3000}ann".as_bytes(),
        "ann\u{2003} ".as_bytes(),
        long_and_blank.as_bytes(),
        "\u{202e}ann".as_bytes(),
        "\u{fe0f}".as_bytes(),
    ] {
        let refused = ask(address, by(bad, Request::get("/rooms"))).await;
        refused.expect(403, "user-required");
    }
    for other in ["Remote_User", "Remote-Users", "X-Remote-User"] {
        let request = Request::get("/rooms").header(other, "ann");
        ask(address, request).await.expect(403, "user-required");
        let beside = by("ann", Request::get("/me")).header(other, "eve");
        assert_eq!(ask(address, beside).await.json()["user"], "ann", "{other}");
    }
    let name = "é".repeat(32);
    for (good, name) in [
        ("ann".to_owned(), "ann"),
        (" Ann Lee\t".to_owned(), "Ann Lee"),
        ("ann@example.org".to_owned(), "ann@example.org"),
        ("é".repeat(256), &name),
        (format!("{} tail", "x".repeat(31)), &"x".repeat(31)),
    ] {
        let request = Request::get("/me").header("rEMOTE-uSER", &good);
        let me = ask(address, request).await.expect(200, "").json();
        assert_eq!(me["user"], name, "{good}");
    }
}

/// It is the neighbour that counts, for each request anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_through_a_second_proxy() {
    let server = server().await;
    let request = by("ann", Request::get("/me"));
    let me = ask(
        server.address(),
        request.header("X-Forwarded-For", "203.0.113.9, 10.0.0.7"),
    )
    .await;
    assert_eq!(me.json()["user"], "ann");
    let mut client = crate::common::Client::connect(server.address()).await;
    for user in ["ann", "bob"] {
        let me = client.ask(&by(user, Request::get("/me"))).await;
        assert_eq!(me.json()["user"], user);
    }
    client
        .ask(&Request::get("/me"))
        .await
        .expect(403, "user-required");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_cause_is_told_once_with_the_first_address() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let server = {
        let sink = lines.clone();
        let log =
            move |_: LogLevel, line: &str| sink.lock().expect("no panic").push(line.to_owned());
        Server::with(|chat| proxied(chat).log(LogLevel::Info).log_to(log)).await
    };
    for n in 1..4 {
        let from = |request: Request| request.header("X-Forwarded-For", format!("192.0.2.{n}"));
        for request in [
            Request::get("/rooms"),
            by("ann", by("bob", Request::get("/rooms"))),
            by([0xff], Request::get("/rooms")),
        ] {
            ask(server.address(), from(request))
                .await
                .expect(403, "user-required");
        }
    }
    let told: Vec<String> = lines.lock().expect("no panic").split_off(1);
    assert_eq!(
        told,
        [
            "refused a request from 192.0.2.1: Remote-User is missing",
            "refused a request from 192.0.2.1: Remote-User is there more than once",
            "refused a request from 192.0.2.1: Remote-User is not UTF-8 that a name may hold, of 1 to 512 bytes",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn host_comes_before_user_before_origin_before_route() {
    let server = Server::with(|chat| proxied(chat).allow_host("localhost")).await;
    let forged = || Request::post_text("/nowhere", "x").header("Origin", "http://evil.test");
    for (request, status, code) in [
        (forged().host("evil.test"), 403, "unknown-host"),
        (forged(), 403, "user-required"),
        (by("ann", forged()), 403, "cross-origin"),
        (
            by("ann", Request::post_text("/nowhere", "x")),
            404,
            "not-found",
        ),
    ] {
        ask(server.address(), request).await.expect(status, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_the_same_on_every_device_with_one_name() {
    let server = server().await;
    let address = server.address();
    let laptop = by("ann", Request::get("/chat?name=ann"));
    // Of a name it matters only that there is one.
    let phone = by("ann", Request::get("/chat?name=%ff")).session(&"e".repeat(32));
    let mut streams = Vec::new();
    for request in [laptop, phone] {
        let mut stream = EventStream::request(address, request).await;
        assert_eq!(stream.head.header("set-cookie"), None);
        let greeting = stream.event().await.json();
        assert_eq!(
            (&greeting["name"], &greeting["memberCount"]),
            (&json!("ann"), &json!(1))
        );
        streams.push((stream, greeting["author"].clone()));
    }
    assert_eq!(streams[0].1, streams[1].1);
    let hook = json!({"text": "by a hook", "username": "eve"});
    for post in [
        Request::post_text("/chat", "no name"),
        Request::post_text("/chat?name=eve", "another's"),
        Request::post_text("/chat?name=%ff", "none at all"),
        Request::post_json("/chat", &json!({"text": "a number", "name": 1})),
        Request::post_json("/chat/lobby/hook?name=eve", &hook),
    ] {
        let answer = ask(address, by("ann", post)).await;
        assert!(answer.status < 300, "{}", answer.head);
        assert_eq!(answer.header("set-cookie"), None);
    }
    let said = ask(address, by("bob", Request::get("/chat/lobby/messages"))).await;
    let said = said.json()["messages"].clone();
    let said = said.as_array().expect("a list");
    assert_eq!(said.len(), 5);
    for message in said {
        assert_eq!(
            (&message["name"], &message["author"]),
            (&json!("ann"), &streams[0].1)
        );
    }
    assert_eq!(said[0]["member"], true);
    // What was written here is removed there, and by nobody else.
    ask(address, by("bob", removal(&said[0])))
        .await
        .expect(403, "not-yours");
    ask(address, by("ann", removal(&said[0])))
        .await
        .expect(200, "");
    let me = ask(
        address,
        by("ann", Request::get("/me")).session(&"f".repeat(32)),
    )
    .await;
    assert_eq!(me.header("cache-control"), Some("no-store"));
    let expected =
        json!({"author": streams[0].1, "user": "ann", "moderator": false, "moderators": false});
    assert_eq!(me.json(), expected);
    assert_eq!(me.header("set-cookie"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_users_whose_names_fold_alike() {
    let server = server().await;
    let address = server.address();
    let long = |tail: &str| format!("{}{tail}", "x".repeat(32));
    for (one, other) in [("Ann", "aNN"), (&*long("1"), &*long("2"))] {
        let join = |user: &str| by(user, Request::get("/chat?name=x"));
        let _first = EventStream::request(address, join(one)).await;
        ask(address, join(other)).await.expect(409, "name-taken");
        let post = by(other, Request::post_text("/chat", "hi"));
        ask(address, post).await.expect(409, "name-taken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authorization_header_of_a_user_is_not_read() {
    let server = Server::with(|chat| {
        let chat = proxied(chat).clock(ManualClock::at(1_700_000_000_000));
        chat.moderator_password(PASSWORD).expect("not empty")
    })
    .await;
    let address = server.address();
    for _ in 0..12 {
        for authorization in [BASIC, "Basic Ondyb25n", "Bearer x"] {
            let as_moderator =
                by("ann", Request::get("/bans")).header("Authorization", authorization);
            ask(address, as_moderator)
                .await
                .expect(403, "not-moderator");
            let me = by("ann", Request::get("/me")).header("Authorization", authorization);
            assert_eq!(ask(address, me).await.json()["moderator"], false);
        }
    }
    let right = by(
        "ann",
        Request::post_json("/moderator", &json!({"password": PASSWORD})),
    );
    ask(address, right).await.expect(204, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn moderators_are_named_by_their_whole_ids() {
    let named = |chat: Options| {
        proxied(chat)
            .with(|options| options.moderators = vec!["ann".to_owned(), "Bob B".to_owned()])
    };
    let server = Server::with(named).await;
    let address = server.address();
    for (user, status) in [
        ("ann", 200),
        ("Bob B", 200),
        ("Ann", 403),
        ("bob b", 403),
        ("ann2", 403),
        ("an", 403),
    ] {
        let answer = ask(address, by(user, Request::get("/bans"))).await;
        assert_eq!(answer.status, status, "{user}");
        let me = ask(address, by(user, Request::get("/me"))).await.json();
        assert_eq!(
            (&me["moderator"], &me["moderators"]),
            (&json!(status == 200), &json!(true))
        );
    }
    let log_in = |user: &str| {
        by(
            user,
            Request::post_json("/moderator", &json!({"password": PASSWORD})),
        )
    };
    let log_out = |user: &str| by(user, Request::new("DELETE", "/moderator"));
    // No password makes a moderator here.
    ask(address, log_in("eve")).await.expect(404, "not-found");
    ask(address, log_out("ann")).await.expect(404, "not-found");
    let both =
        Server::with(|chat| named(chat).moderator_password(PASSWORD).expect("not empty")).await;
    let address = both.address();
    let is_moderator = async |user: &str| {
        let request = by(user, Request::get("/bans")).session(&"a".repeat(32));
        ask(address, request).await.status == 200
    };
    let answer = ask(address, log_in("eve")).await.expect(204, "");
    assert_eq!(answer.header("set-cookie"), None);
    assert!(is_moderator("eve").await && !is_moderator("zoe").await);
    for user in ["eve", "ann"] {
        ask(address, log_out(user)).await.expect(204, "");
    }
    assert!(!is_moderator("eve").await && is_moderator("ann").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_banned_is_banned_on_every_device() {
    let server = Server::with(|chat| {
        proxied(chat).with(|options| options.moderators = vec!["ann".to_owned()])
    })
    .await;
    let address = server.address();
    let from = |at: &str, request: Request| by("eve", request).header("X-Forwarded-For", at);
    let stream =
        EventStream::request(address, from("192.0.2.1", Request::get("/chat?name=x"))).await;
    let said = ask(
        address,
        from("192.0.2.2", Request::post_text("/chat", "hi")),
    )
    .await;
    let author = said.expect(201, "").json()["author"].clone();
    let author = author.as_str().expect("an author");
    let ban = ask(address, by("ann", banning(author, true)))
        .await
        .expect(201, "");
    assert_eq!(ban.json()["name"], "eve");
    ended(stream).await;
    for at in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        for request in [
            Request::post_text("/chat", "hi"),
            Request::get("/chat?name=x"),
            Request::post_json("/chat/lobby/hook", &json!({"text": "hi"})),
        ] {
            ask(address, from(at, request)).await.expect(403, "banned");
        }
    }
    // Where the proxy tells no addresses, all have that of the proxy.
    let zoe = ask(address, by("zoe", Request::post_text("/chat", "hi"))).await;
    let zoe = zoe.expect(201, "").json()["author"].clone();
    let zoe = zoe.as_str().expect("an author");
    for order in [
        banning(zoe, true),
        Request::post_json("/bans", &json!({"author": zoe})),
    ] {
        ask(address, by("ann", order))
            .await
            .expect(400, "bad-request");
    }
    ask(address, by("ann", banning(zoe, false)))
        .await
        .expect(201, "");
}

/// Answers a request whose sender the embedding program names.
async fn call(chat: &Chat, user: Option<&User>, request: &Request) -> (u16, Value) {
    let text = String::from_utf8(request.to_bytes()).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.split("\r\n");
    let mut first = lines.next().expect("a request line").split(' ');
    let mut builder = hyper::Request::builder().method(first.next().expect("a method"));
    builder = builder.uri(first.next().expect("a target"));
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header");
        builder = builder.header(name, value);
    }
    let mut request = builder.body(body.to_owned()).expect("a request");
    if let Some(user) = user {
        request.extensions_mut().insert(user.clone());
    }
    let Ok(answer) = chat.call(request).await;
    let status = answer.status().as_u16();
    if answer.headers()["content-type"] == "text/event-stream" {
        return (status, Value::Null);
    }
    let body = http_body_util::BodyExt::collect(answer.into_body()).await;
    let body = body.expect("a whole body").to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn rooms_that_a_user_does_not_have() {
    let chat = unlimited().build().expect("a chat");
    for room in ["lobby", "sales", "secret"] {
        chat.post(room, "bot", "hi").await.expect("posted");
    }
    let secret = chat.history("secret", PageAt::End, 1).await;
    let secret = secret.expect("a room").messages[0].id;
    let mut ann = User::new("u-1", "Ann").expect("a name");
    ann.rooms = Some(
        ["sales", "new"]
            .map(|room| room.parse().expect("a room"))
            .into(),
    );
    let refused = [
        Request::get("/chat/secret"),
        Request::get("/chat/secret?name=x"),
        Request::get("/chat?room=secret"),
        Request::get("/chat?room=sales&room=secret"),
        Request::get("/chat/secret/messages"),
        Request::get("/chat/secret/messages?wait=1"),
        Request::get("/chat/secret/members"),
        Request::post_text("/chat/secret", "hi"),
        Request::post_text("/chat?room=secret", "hi"),
        Request::post_json("/chat/secret/hook", &json!({"text": "hi"})),
        Request::new("DELETE", &format!("/chat/secret/messages/{secret}")),
        Request::new("DELETE", "/chat/secret/messages/1-1"),
        Request::get("/chat/lobby"),
    ];
    for request in &refused {
        let (status, answer) = call(&chat, Some(&ann), request).await;
        assert_eq!(
            (status, &answer["error"]),
            (403, &json!("room-not-offered")),
            "{request:?}"
        );
    }
    let (_, rooms) = call(&chat, Some(&ann), &Request::get("/rooms")).await;
    let names: Vec<&Value> = rooms["rooms"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|room| &room["room"])
        .collect();
    assert_eq!(names, ["new", "sales"]);
    // `/chat` is the first of them.
    let (status, said) = call(&chat, Some(&ann), &Request::post_text("/chat", "hi")).await;
    assert_eq!(
        (status, &said["room"], &said["name"]),
        (201, &json!("sales"), &json!("Ann"))
    );
    // Without a list of rooms a user has all; with an empty list, no room.
    let bob = User::new("u-2", "Bob").expect("a name");
    assert_eq!(call(&chat, Some(&bob), &refused[0]).await.0, 200);
    assert_eq!(call(&chat, None, &refused[4]).await.0, 200);
    ann.rooms = Some(Vec::new());
    assert_eq!(call(&chat, Some(&ann), &Request::get("/chat")).await.0, 403);
    assert_eq!(
        call(&chat, Some(&ann), &Request::get("/rooms")).await.1,
        json!({"rooms": []})
    );
    // What the server does not offer, no user has.
    let offering = unlimited()
        .room("lobby".parse().expect("a room"))
        .build()
        .expect("a chat");
    ann.rooms = Some(vec!["sales".parse().expect("a room")]);
    assert_eq!(
        call(&offering, Some(&ann), &Request::get("/chat/sales/messages"))
            .await
            .0,
        403
    );
    assert_eq!(
        call(&offering, Some(&ann), &Request::get("/chat/lobby/messages"))
            .await
            .0,
        403
    );
    assert!(User::new("u-3", "").is_err());
}

#[tokio::test]
async fn a_user_against_a_session_that_has_the_name_already() {
    let chat = unlimited().build().expect("a chat");
    let _ann = chat.join(["lobby"], "Ann", None).await.expect("free");
    let ann = User::new("u-1", "ANN").expect("a name");
    let join = Request::get("/chat?name=x");
    assert_eq!(
        call(&chat, Some(&ann), &join).await.1["error"],
        "name-taken"
    );
    let post = Request::post_text("/chat", "hi");
    assert_eq!(
        call(&chat, Some(&ann), &post).await.1["error"],
        "name-taken"
    );
}

/// Gain otherwise: anybody can choose what the session cookie holds, and would be that user.
#[tokio::test]
async fn a_session_that_is_spelt_like_a_user_s_id() {
    let chat = unlimited().build().expect("a chat");
    let author = async |user: Option<&User>, session: &str| {
        let request = Request::get("/me").session(session);
        call(&chat, user, &request).await.1["author"].clone()
    };
    for id in ["0123456789abcdef", "user id:chatroom", "a"] {
        let hex: String = id
            .bytes()
            .chain(std::iter::repeat(0))
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let user = User::new(id, "Ann").expect("a name");
        assert_ne!(author(Some(&user), "").await, author(None, &hex).await);
        assert_eq!(
            author(Some(&user), &hex).await,
            author(Some(&user), "").await
        );
    }
}

#[tokio::test]
async fn authors_of_users_last() {
    let folder = crate::common::Folder::new();
    let mut authors = Vec::new();
    for _ in 0..2 {
        let server = Server::with(|chat| proxied(chat).data(folder.path())).await;
        let me = ask(server.address(), by("ann", Request::get("/me"))).await;
        authors.push(me.json()["author"].clone());
        server.stop().await;
    }
    assert_eq!(authors[0], authors[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_users_one_is_ones_session() {
    let server = Server::start().await;
    let address = server.address();
    let nobody = json!({"author": null, "user": null, "moderator": false, "moderators": false});
    let me = get(address, "/me").await.expect(200, "");
    assert_eq!((me.json(), me.header("set-cookie")), (nobody, None));
    let mut stream = EventStream::open(address, "/chat?name=ann").await;
    let author = stream.event().await.json()["author"].clone();
    let me = Request::get("/me").session(&stream.session());
    let me = ask(address, me).await.expect(200, "").json();
    assert_eq!((&me["author"], &me["user"]), (&author, &Value::Null));
    let wrong: Response = get(address, "/moderator").await;
    assert_eq!(
        wrong.expect(405, "method-not-allowed").header("allow"),
        Some("POST, DELETE")
    );
}

#[tokio::test]
async fn the_program_refuses_what_would_let_in_the_wrong_people() {
    let folder = crate::common::Folder::new();
    let password = folder.file("password", "secret\n");
    let password = password.as_str();
    let proxy = ["--trusted-proxy", "127.0.0.1"];
    for (arguments, begins) in [
        (
            vec!["--user-header", "Remote-User"],
            "--user-header: needs --trusted-proxy",
        ),
        (
            [
                &["--user-header", "Remote-User", "--password-file", password],
                &proxy[..],
            ]
            .concat(),
            "--user-header: excludes --password-file",
        ),
        (
            [&["--moderator", "ann"], &proxy[..]].concat(),
            "--moderator: needs --user-header",
        ),
        (
            [
                &["--user-header", "Remote-User", "--moderator", ""],
                &proxy[..],
            ]
            .concat(),
            "--moderator : expected a user",
        ),
        (
            [&["--user-header", "Remote User"], &proxy[..]].concat(),
            "--user-header Remote User: expected",
        ),
    ] {
        let ended = Process::run(&arguments, &[]).await;
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
        assert!(
            ended.stderr.starts_with(&format!("chatroom: {begins}")),
            "{}",
            ended.stderr
        );
    }
    for other in [
        "Cookie",
        "host",
        "Authorization",
        "Origin",
        "Forwarded",
        "X-Forwarded-For",
        "x-forwarded-proto",
        "Accept",
        "Content-Type",
        "Sec-Fetch-Site",
        "Idempotency-Key",
        "Last-Event-ID",
    ] {
        let ended = Process::run(&[&["--user-header", other], &proxy[..]].concat(), &[]).await;
        assert_eq!(ended.status.code(), Some(2), "{other}");
        assert!(ended.stderr.contains("another meaning"), "{}", ended.stderr);
    }
    for usual in [
        "Remote-User",
        "X-Forwarded-User",
        "Tailscale-User-Login",
        "X-Auth-Request-User",
        "Cf-Access-Authenticated-User-Email",
    ] {
        let server =
            Process::start(&[&["--user-header", usual, "--moderator", "ann"], &proxy[..]].concat())
                .await;
        let me = ask(server.address(), Request::get("/me").header(usual, "ann")).await;
        assert_eq!(me.json()["moderator"], true, "{usual}");
        let said = server.last_words().await;
        assert!(!said.contains("without a password"), "{said}");
    }
    let options = proxied(Options::default())
        .password("secret")
        .expect("not empty");
    assert!(Chat::open(options).is_err());
}
