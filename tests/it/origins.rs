//! Pages of other origins, threat by threat: what they may not do and read, what the own page and
//! those that the owner allows may.

use crate::common::Change as _;
use serde_json::json;

use crate::common::{EventStream, Request, Response, Server, ask, get};

/// What an answer says to scripts of other origins.
fn cors(answer: &Response) -> Vec<&str> {
    let headers = answer.headers.iter();
    headers
        .filter(|(name, _)| name.starts_with("access-control-"))
        .map(|(name, _)| name.as_str())
        .collect()
}

/// Gain: any page that a visitor has open posts in the visitor's name, or appears under it.
#[tokio::test(flavor = "multi_thread")]
async fn cross_site_request_forgery() {
    let server = Server::start().await;
    let address = server.address();
    let forgeries: &[&[(&str, &str)]] = &[
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "")],
        &[("Sec-Fetch-Site", "SAME-ORIGIN, cross-site")],
        &[
            ("Sec-Fetch-Site", "cross-site"),
            ("Origin", "http://chat.test"),
        ],
        &[("Origin", "http://evil.test")],
        &[("Origin", "null")],
        &[("Origin", "")],
        &[("Origin", "http://chat.test:8080")],
        &[("Origin", "http://chat.test.evil.test")],
        &[("Origin", "http://evil.test/http://chat.test")],
        &[("Origin", "chat.test")],
    ];
    for headers in forgeries {
        for request in [
            Request::post_text("/chat?name=ann", "forged"),
            Request::post_json("/chat", &json!({"text": "forged", "name": "ann"})),
            Request::get("/chat?name=ann"),
        ] {
            let forged = headers
                .iter()
                .fold(request.host("chat.test"), |r, (name, value)| {
                    r.header(name, value)
                });
            let refused = ask(address, forged).await.expect(403, "cross-origin");
            assert_eq!(cors(&refused), [""; 0], "{headers:?}");
        }
    }
    let room = get(address, "/chat/lobby/messages").await.json();
    assert_eq!(room["messages"], json!([]));
    assert_eq!(
        get(address, "/chat/lobby/members").await.json()["memberCount"],
        0
    );
}

/// The other side of the same check: the page itself, and programs, are let in.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_the_own_page_and_of_programs_are_no_forgeries() {
    let server = Server::start().await;
    let honest: &[&[(&str, &str)]] = &[
        &[],
        &[
            ("Sec-Fetch-Site", "same-origin"),
            ("Origin", "http://chat.test:8080"),
        ],
        &[("Sec-Fetch-Site", "same-origin")],
        &[("Sec-Fetch-Site", "none")],
        &[("Origin", "http://chat.test:8080")],
        &[("Origin", "https://CHAT.test:8080")],
    ];
    for (n, headers) in honest.iter().enumerate() {
        let add = |request: Request| {
            let request = request.host("chat.test:8080");
            headers
                .iter()
                .fold(request, |r, (name, value)| r.header(name, value))
        };
        let post = add(Request::post_text("/chat?name=bob", "hi"));
        ask(server.address(), post).await.expect(201, "");
        let join = add(Request::get(&format!("/chat?name=ann{n}")));
        EventStream::request(server.address(), join).await;
    }
}

/// Gain: frames, images and `no-cors` fetches of a page hold all connections of its visitor's address.
#[tokio::test(flavor = "multi_thread")]
async fn cross_site_holding_of_connections() {
    let server = Server::start().await;
    for (header, value) in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "https://evil.test"),
    ] {
        for target in [
            "/chat",
            "/chat/dev",
            "/chat?room=a&room=b",
            "/chat/dev/messages?wait=60",
        ] {
            for accept in ["*/*", "image/webp,*/*;q=0.8", "text/event-stream"] {
                let held = Request::get(target)
                    .header(header, value)
                    .header("Accept", accept);
                ask(server.address(), held)
                    .await
                    .expect(403, "cross-origin");
            }
        }
        // What is answered at once holds nothing.
        let read = Request::get("/chat/dev/messages").header(header, value);
        ask(server.address(), read).await.expect(200, "");
    }
    get(server.address(), "/chat/dev/messages?wait=1")
        .await
        .expect(200, "");
}

/// Gain: a page of any origin reads the room with its visitor's cookie or password.
#[tokio::test(flavor = "multi_thread")]
async fn cross_origin_reading() {
    let closed = Server::start().await;
    let open = Server::with(|chat| chat.allow_origin("https://app.test").expect("an origin")).await;
    for server in [&closed, &open] {
        for target in [
            "/rooms",
            "/chat/lobby/messages",
            "/chat/lobby/members",
            "/nowhere",
        ] {
            let request = Request::get(target).header("Origin", "https://evil.test");
            assert_eq!(
                cors(&ask(server.address(), request).await),
                [""; 0],
                "{target}"
            );
        }
        for origin in [
            "https://evil.test",
            "null",
            "http://app.test",
            "https://app.test:444",
            "*",
        ] {
            let preflight = Request::new("OPTIONS", "/chat")
                .header("Origin", origin)
                .header("Access-Control-Request-Method", "POST");
            let refused = ask(server.address(), preflight)
                .await
                .expect(403, "cross-origin");
            assert_eq!(cors(&refused), [""; 0], "{origin}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_origin_reads_and_posts_with_credentials() {
    let server =
        Server::with(|chat| chat.allow_origin("https://app.test").expect("an origin")).await;
    let address = server.address();
    let from_app = |request: Request| {
        request
            .header("Origin", "https://app.test")
            .header("Sec-Fetch-Site", "cross-site")
    };
    let preflight = from_app(Request::new("OPTIONS", "/chat/dev"))
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type");
    let allowed = ask(address, preflight).await;
    assert_eq!(allowed.status, 204);
    let says = |name: &str| {
        allowed
            .header(name)
            .unwrap_or_default()
            .to_ascii_lowercase()
    };
    assert_eq!(
        says("access-control-allow-methods"),
        "get, head, post, delete"
    );
    for header in [
        "content-type",
        "idempotency-key",
        "last-event-id",
        "authorization",
    ] {
        assert!(
            says("access-control-allow-headers").contains(header),
            "{header}"
        );
    }
    let stream = EventStream::request(address, from_app(Request::get("/chat?name=ann"))).await;
    let posted = ask(
        address,
        from_app(Request::post_text("/chat?name=bob", "hi")),
    )
    .await;
    let read = ask(address, from_app(Request::get("/chat/lobby/messages"))).await;
    let refused = ask(address, from_app(Request::get("/nowhere"))).await;
    let removing = from_app(Request::new("DELETE", "/chat/lobby/messages/1-1"));
    let removing = ask(address, removing).await;
    assert_eq!(
        (posted.status, read.status, refused.status, removing.status),
        (201, 200, 404, 404)
    );
    for answer in [&allowed, &stream.head, &posted, &read, &refused, &removing] {
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("https://app.test")
        );
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            Some("true")
        );
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
    // A cache in between must not give one origin's answer to another.
    assert_eq!(get(address, "/rooms").await.header("vary"), Some("Origin"));
}
