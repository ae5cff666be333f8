//! Messages in the format of Slack's incoming webhooks.

mod services;

use crate::common::Change as _;
use chatroom::ManualClock;
use serde_json::{Value, json};

use crate::common::{EventStream, Request, Response, Server, ask, encode, get, retained, texts};

fn hook(target: &str, payload: &Value) -> Request {
    Request::post_json(target, payload)
}

fn form(target: &str, body: &str) -> Request {
    Request::new("POST", target)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body)
}

/// The senders compare the type and every byte.
#[track_caller]
fn assert_ok(answer: &Response) {
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_is_a_message_without_a_session() {
    let server = Server::start().await;
    let address = server.address();
    let mut stream = EventStream::open(address, "/chat/dev?name=ann").await;
    let payload =
        json!({"text": "deployed", "username": "CI", "channel": "#x", "icon_emoji": ":x:"});
    let request = hook("/chat/dev/hook", &payload).session(&stream.session());
    assert_ok(&ask(address, request).await);
    let message = stream.message().await.json();
    assert_eq!(
        [
            &message["name"],
            &message["text"],
            &message["author"],
            &message["member"]
        ],
        [
            &json!("CI"),
            &json!("deployed"),
            &json!(null),
            &json!(false)
        ]
    );
    // The session of the request does not make the hook a member.
    let forged = hook("/chat/dev/hook", &json!({"text": "x", "username": "ann"}));
    assert_ok(&ask(address, forged.session(&stream.session())).await);
    let message = stream.message().await.json();
    assert_eq!(message["author"], json!(null));
    assert_eq!(message["member"], json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_and_forms_say_the_same() {
    let server = Server::start().await;
    let address = server.address();
    let payload = json!({"text": "50% & more + 🦀", "username": "a b"});
    let encoded = encode(&payload.to_string());
    for request in [
        hook("/chat/lobby/hook", &payload),
        form("/chat/lobby/hook", &format!("payload={encoded}")),
        form(
            "/chat/lobby/hook",
            &format!("token=x&payload={}&y", encoded.replace("%20", "+")),
        ),
    ] {
        assert_ok(&ask(address, request).await);
    }
    for message in retained(address, "lobby").await {
        assert_eq!(
            (&message["name"], &message["text"]),
            (&json!("a b"), &payload["text"])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_is_that_of_the_body_or_of_the_query_or_hook() {
    let server = Server::start().await;
    let address = server.address();
    for (query, username, name) in [
        ("", json!("bot"), "bot"),
        ("?name=q", json!("bot"), "bot"),
        ("?name=q", json!(null), "q"),
        ("?name=q", json!(""), "q"),
        ("?name=q", json!("x".repeat(33)), "q"),
        ("", json!("a\nb"), "hook"),
        ("", json!(7), "hook"),
    ] {
        let target = format!("/chat/lobby/hook{query}");
        let request = hook(&target, &json!({"text": "hi", "username": username}));
        assert_ok(&ask(address, request).await);
        let all = retained(address, "lobby").await;
        assert_eq!(
            all.last().expect("a message")["name"],
            name,
            "{query} {username}"
        );
    }
    let bad = hook("/chat/lobby/hook?name=%0A", &json!({"text": "hi"}));
    ask(address, bad).await.expect(400, "bad-name");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_attachments_follow_one_per_line_and_the_whole_is_cut() {
    let server = Server::with(|chat| chat.max_message(40)).await;
    let address = server.address();
    let long = "é".repeat(30_000);
    for payload in [
        json!({"text": "a", "attachments": [{"pretext": "b", "title": "c", "text": "d"}, {"fallback": "e"}]}),
        json!({"text": long}),
        json!({"attachments": [{"title": "x".repeat(40)}]}),
    ] {
        assert_ok(&ask(address, hook("/chat/lobby/hook", &payload)).await);
    }
    let all = retained(address, "lobby").await;
    let cut = format!("{}…", "é".repeat(18));
    assert_eq!(texts(&all), ["a\nb\nc\nd\ne", &cut, &"x".repeat(40)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_silences_a_hook_by_taking_its_name() {
    let server = Server::start().await;
    let address = server.address();
    let mut alerts = EventStream::open(address, "/chat/ops?name=Alerts").await;
    let taken = Request::post_text("/chat/ops?name=alerts", "x");
    ask(address, taken).await.expect(409, "name-taken");
    for payload in [
        json!({"text": "disk full", "username": "alerts"}),
        json!({"text": "disk full"}),
    ] {
        let request = hook("/chat/ops/hook?name=alerts", &payload);
        assert_ok(&ask(address, request).await);
        let message = alerts.message().await.json();
        assert_eq!(
            [&message["name"], &message["text"], &message["member"]],
            [&json!("alerts"), &json!("disk full"), &json!(false)]
        );
        assert_eq!(message["author"], json!(null));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_nested_too_deep_is_refused() {
    let server = Server::start().await;
    let address = server.address();
    let nested = |depth: usize| {
        let (open, close) = (r#"{"elements":["#.repeat(depth), "]}".repeat(depth));
        let body = format!(r#"{{"text":"a","blocks":[{open}{{"text":"b"}}{close}]}}"#);
        Request::new("POST", "/chat/lobby/hook")
            .header("Content-Type", "application/json")
            .body(body)
    };
    assert_ok(&ask(address, nested(60)).await);
    let too_deep = ask(address, nested(4_000)).await;
    too_deep.expect(400, "bad-request");
    assert_eq!(texts(&retained(address, "lobby").await), ["a\nb"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_meets_the_same_guard_and_limits_as_every_message() {
    let clock = ManualClock::at(1_700_000_000_000);
    let server = Server::with(|chat| {
        let chat = chat.message_rate(1.0).clock(clock.clone());
        chat.allow_host("localhost")
            .room("ops".parse().expect("a room"))
    })
    .await;
    let address = server.address();
    let target = "/chat/ops/hook";
    let good = || hook(target, &json!({"text": "hi"}));
    for (request, status, code) in [
        (good().host("evil.example"), 403, "unknown-host"),
        (
            good().header("Origin", "http://evil.example"),
            403,
            "cross-origin",
        ),
        (
            form(target, "payload={}").header("Sec-Fetch-Site", "cross-site"),
            403,
            "cross-origin",
        ),
        (
            hook("/chat/dev/hook", &json!({"text": "hi"})),
            403,
            "room-not-offered",
        ),
        (
            hook("/chat/.x/hook", &json!({"text": "hi"})),
            400,
            "bad-room",
        ),
        (hook(target, &json!({})), 400, "bad-text"),
        (
            hook(target, &json!({"attachments": [{"color": "red"}]})),
            400,
            "bad-text",
        ),
        (hook(target, &json!(["text"])), 400, "bad-request"),
        (form(target, "text=hi"), 400, "bad-request"),
        (form(target, "payload=%ff"), 400, "bad-request"),
        (
            Request::post_text(target, "hi"),
            415,
            "unsupported-media-type",
        ),
        (
            hook(target, &json!({"text": "x".repeat(70_000)})),
            413,
            "too-large",
        ),
    ] {
        ask(address, request).await.expect(status, code);
    }
    let plain = ask(address, Request::post_text(target, "hi")).await.json();
    let advice = plain["message"].as_str().expect("a text");
    assert!(advice.contains("application/json") && !advice.contains("text/plain"));
    let wrong = get(address, target).await;
    let wrong = wrong.expect(405, "method-not-allowed");
    assert_eq!(wrong.header("allow"), Some("POST"));
    assert_ok(&ask(address, good()).await);
    let refused = loop {
        let answer = ask(address, good()).await;
        if answer.status != 200 {
            break answer;
        }
    };
    let refused = refused.expect(429, "too-many-messages");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let metrics = get(address, "/metrics").await;
    for line in [
        "chatroom_http_requests_total{route=\"hook\",status=\"415\"} 2\n",
        "chatroom_messages_refused_total{code=\"unsupported-media-type\"} 2\n",
    ] {
        assert!(metrics.text().contains(line), "{line}{}", metrics.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_end_with_the_chat_and_work_below_a_prefix() {
    let server = Server::with(|chat| chat.prefix("/team")).await;
    let request = || hook("/team/chat/lobby/hook", &json!({"text": "hi"}));
    assert_ok(&ask(server.address(), request()).await);
    server.chat().close().await;
    let refused = ask(server.address(), request()).await;
    refused.expect(503, "draining");
}
