//! The session: who gets one, what it looks like, what it proves, and that nobody else sees it.

use crate::common::Change as _;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;

use crate::common::{EventStream, Process, Request, Server, ask, say};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_comes_with_a_stream() {
    let server = Server::start().await;
    let stream = EventStream::open(server.address(), "/chat").await;
    let mut parts = stream
        .head
        .header("set-cookie")
        .expect("a cookie")
        .split("; ");
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

/// A browser that follows a link of another site sends no `SameSite=Strict` cookie, and would take a new
/// one for the old: the visitor would be no moderator any more, and no author of earlier messages.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_another_site_replaces_no_session() {
    let server = Server::start().await;
    let html = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for target in [
        "/",
        "/js/main.js",
        "/rooms",
        "/chat/lobby/messages",
        "/healthz",
        "/me",
    ] {
        for site in ["cross-site", "same-site", "none", "same-origin"] {
            let request = Request::get(target).header("Accept", html);
            let answer = ask(server.address(), request.header("Sec-Fetch-Site", site)).await;
            assert_eq!(answer.header("set-cookie"), None, "{site} {target}");
        }
    }
    let opened = |accept: &str| Request::get("/chat").header("Accept", accept);
    for site in ["cross-site", "same-site"] {
        let foreign = opened(html).header("Sec-Fetch-Site", site);
        let foreign = ask(server.address(), foreign).await;
        assert_eq!((foreign.status, foreign.header("set-cookie")), (403, None));
    }
    // Browsers do not say where a request comes from over plain HTTP.
    for accept in [html, "*/*", "text/*"] {
        let mut stream = EventStream::request(server.address(), opened(accept)).await;
        assert_eq!(stream.head.header("set-cookie"), None, "{accept}");
        assert_eq!(stream.event().await.json()["author"], json!(null));
    }
    let own = EventStream::request(server.address(), opened("text/event-stream, */*;q=0.1")).await;
    own.session();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_session_gets_no_other() {
    let server = Server::start().await;
    let session = EventStream::open(server.address(), "/chat").await.session();
    let request = Request::get("/chat").session(&session);
    let stream = EventStream::request(server.address(), request).await;
    assert_eq!(stream.head.header("set-cookie"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_never_repeat() {
    let server = Server::start().await;
    let mut sessions = BTreeSet::new();
    for _ in 0..200 {
        let stream = EventStream::open(server.address(), "/chat").await;
        assert!(sessions.insert(stream.session()));
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
        let request = Request::get("/chat").header("X-Forwarded-Proto", proto);
        let stream = EventStream::request(server.address(), request).await;
        let cookie = stream.head.header("set-cookie").expect("a cookie");
        assert_eq!(cookie.contains("; Secure"), secure, "{proto}: {cookie}");
    }
}

/// A browser sends the cookies of both to the one below.
#[tokio::test(flavor = "multi_thread")]
async fn two_chats_on_one_host_leave_each_other_their_sessions() {
    let (outer, team) = (
        Server::start().await,
        Server::with(|chat| chat.prefix("/team")).await,
    );
    let stream = EventStream::open(outer.address(), "/chat?name=ann").await;
    let team_stream = EventStream::open(team.address(), "/team/chat?name=ann").await;
    let cookie = stream.head.cookie().expect("a cookie");
    let team_cookie = team_stream.head.cookie().expect("a cookie");
    assert!(
        team_cookie.starts_with("chatroom-session--team="),
        "{team_cookie}"
    );
    for cookies in [
        format!("{cookie}; {team_cookie}"),
        format!("{team_cookie}; {cookie}"),
    ] {
        let post = |target: &str| Request::post_text(target, "hi").header("Cookie", &cookies);
        for (server, target) in [(&outer, "/chat?name=ann"), (&team, "/team/chat?name=ann")] {
            ask(server.address(), post(target)).await.expect(201, "");
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
        // The first counts, whatever it holds.
        as_ann().session(&other).session(&own),
        as_ann().session("").session(&own),
        as_ann().header(
            "Cookie",
            format!("chatroom-session={other}; chatroom-session={own}"),
        ),
    ];
    for request in foreign {
        ask(address, request).await.expect(409, "name-taken");
    }
    for own in [
        as_ann().session(&own),
        as_ann().header("Cookie", format!("a=b; chatroom-session={own}; c=\"d\"")),
        as_ann().header("Cookie", "a=b").session(&own),
        as_ann().session(&own).session(&other),
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
    seen.push(server.said("POST chat 201").await);
    let shown: Vec<_> = seen
        .iter()
        .filter(|text| text.to_lowercase().contains(&session))
        .collect();
    assert_eq!(shown, Vec::<&String>::new());
}
