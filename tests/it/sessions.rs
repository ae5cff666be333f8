//! The session: who gets one, what it looks like, what it proves, and that nobody else sees it.

use crate::common::Change as _;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;

use crate::common::{EventStream, Process, Request, Server, ask, get, say};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_comes_with_the_page_and_with_a_stream() {
    let server = Server::start().await;
    let page = get(server.address(), "/").await;
    let stream = EventStream::open(server.address(), "/chat").await;
    for cookie in [page.header("set-cookie"), stream.head.header("set-cookie")] {
        let mut parts = cookie.expect("a cookie").split("; ");
        let session = parts
            .next()
            .and_then(|pair| pair.strip_prefix("chatroom-session="))
            .expect("the promised name");
        assert!(
            session.len() == 32 && session.bytes().all(|b| b.is_ascii_hexdigit()),
            "128 bits: {session}"
        );
        let attributes: BTreeSet<&str> = parts.collect();
        for wanted in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(attributes.contains(wanted), "{attributes:?}");
        }
        assert!(!attributes.contains("Secure"), "{attributes:?}");
        assert!(!attributes.iter().any(|one| one.starts_with("Domain")));
    }
    for target in ["/js/main.js", "/rooms", "/chat/lobby/messages", "/healthz"] {
        let answer = get(server.address(), target).await;
        assert_eq!(answer.header("set-cookie"), None, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_session_gets_no_other() {
    let server = Server::start().await;
    let session = get(server.address(), "/").await.session();
    let session = session.expect("the page brings a session");
    let page = ask(server.address(), Request::get("/").session(&session)).await;
    assert_eq!(page.header("set-cookie"), None);
    let request = Request::get("/chat").session(&session);
    let stream = EventStream::request(server.address(), request).await;
    assert_eq!(stream.head.header("set-cookie"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_never_repeat() {
    let server = Server::start().await;
    let mut sessions = BTreeSet::new();
    for _ in 0..200 {
        let session = get(server.address(), "/").await.session();
        assert!(sessions.insert(session.expect("a session")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_is_secure_behind_a_trusted_https_proxy() {
    let trusting = Server::with(|chat| chat.trusted_proxy(Ipv4Addr::LOCALHOST.into())).await;
    let wary = Server::with(|chat| chat.trusted_proxy(IpAddr::from([10, 0, 0, 1]))).await;
    for (server, proto, secure) in [
        (&trusting, "https", true),
        (&trusting, "http", false),
        (&trusting, "https, http", false),
        (&wary, "https", false),
    ] {
        for target in ["/", "/chat"] {
            let request = Request::get(target).header("X-Forwarded-Proto", proto);
            let cookie = if target == "/" {
                ask(server.address(), request).await
            } else {
                EventStream::request(server.address(), request).await.head
            };
            let cookie = cookie.header("set-cookie").expect("a cookie").to_owned();
            assert_eq!(
                cookie.contains("; Secure"),
                secure,
                "{proto} {target}: {cookie}"
            );
        }
    }
}

/// Attacker's gain otherwise: to say anything as anybody who is here.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_posts_under_the_name_of_another() {
    let server = Server::start().await;
    let address = server.address();
    let ann = EventStream::open(address, "/chat?name=ann").await;
    let bob = EventStream::open(address, "/chat?name=bob").await;
    let (own, other) = (ann.session(), bob.session());
    let as_ann = || Request::post_json("/chat", &json!({"text": "hi", "name": "ann"}));
    let foreign = [
        as_ann(),
        as_ann().session(&other),
        as_ann().session(&"0".repeat(32)),
        as_ann().session(""),
        as_ann().session(&own[..31]),
        as_ann().session(&format!("{own}0")),
        as_ann().session(&own.repeat(500)[..8_000]),
        as_ann().session(&own.to_uppercase().replace(char::is_numeric, "A")),
        as_ann().header("Cookie", format!("chatroom-sessio={own}")),
        as_ann().header("Cookie", format!("xchatroom-session={own}")),
        as_ann().header(
            "Cookie",
            [b"chatroom-session=".as_slice(), &[0xff; 32]].concat(),
        ),
        // Twice is ambiguous, whoever has set the second: neither counts.
        as_ann().session(&own).session(&other),
        as_ann().header(
            "Cookie",
            format!("chatroom-session={other}; chatroom-session={own}"),
        ),
        as_ann().header(
            "Cookie",
            format!("chatroom-session={own}; chatroom-session={own}"),
        ),
    ];
    for request in foreign {
        ask(address, request).await.expect(409, "name-taken");
    }
    for own in [
        as_ann().session(&own),
        as_ann().header("Cookie", format!("a=b; chatroom-session={own}; c=\"d\"")),
        as_ann().header("Cookie", "a=b").session(&own),
        Request::post_text("/chat", "hi").session(&own),
        Request::post_text("/chat?name=ANN", "hi").session(&own),
    ] {
        let message = ask(address, own).await.expect(201, "").json();
        assert_eq!(
            (&message["name"], &message["member"]),
            (&json!("ann"), &json!(true))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_connected_posts_under_a_free_name_as_no_member() {
    let server = Server::start().await;
    let address = server.address();
    let listener = EventStream::open(address, "/chat").await;
    let session = listener.session();
    for request in [
        Request::post_text("/chat?name=ann", "hi"),
        Request::post_text("/chat?name=ann", "hi").session(&session),
    ] {
        let message = ask(address, request).await.expect(201, "").json();
        assert_eq!(
            (&message["name"], &message["member"]),
            (&json!("ann"), &json!(false))
        );
    }
    for request in [
        Request::post_text("/chat", "hi"),
        Request::post_text("/chat", "hi").session(&session),
        Request::post_json("/chat", &json!({"text": "hi", "name": null})).session(&session),
    ] {
        ask(address, request).await.expect(400, "name-required");
    }
}

/// Attacker's gain otherwise: the secret that makes him somebody else, read off the wire, the log
/// or the screen.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_shown_in_no_body_event_header_or_log() {
    let server = Process::start(&["--log", "debug", "--message-rate", "0"]).await;
    let address = server.address();
    let mut watcher = EventStream::open(address, "/chat").await;
    let ann = EventStream::open(address, "/chat?name=ann").await;
    let session = ann.session();
    let mut seen = Vec::new();
    for request in [
        Request::post_text("/chat", "hi").session(&session),
        Request::post_text("/chat?name=watcher", "hi").session(&session),
        Request::post_text("/chat?name=", "hi").session(&session),
        Request::get("/chat?name=ann"),
        Request::get("/").session(&session),
        Request::get("/rooms").session(&session),
        Request::get("/metrics").session(&session),
        Request::get("/chat/lobby/members").session(&session),
        Request::get("/chat/lobby/messages").session(&session),
        Request::get("/nowhere").session(&session),
        Request::new("DELETE", "/chat").session(&session),
    ] {
        let answer = ask(address, request).await;
        seen.push(answer.head.clone() + answer.text());
    }
    let mut again =
        EventStream::request(address, Request::get("/chat?name=ann").session(&session)).await;
    seen.push(again.head.head.clone() + &again.event().await.raw);
    say(address, "lobby", "bot", "the end").await;
    loop {
        let event = watcher.event().await;
        let end = event.is("new-message") && event.text() == "the end";
        seen.push(event.raw);
        if end {
            break;
        }
    }
    seen.push(server.stderr());
    let shown: Vec<_> = seen
        .iter()
        .filter(|text| text.to_lowercase().contains(&session))
        .collect();
    assert_eq!(shown, Vec::<&String>::new());
    assert!(
        server.stderr().contains("POST chat 201"),
        "{}",
        server.stderr()
    );
}
