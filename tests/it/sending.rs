//! Posting: the two ways to send, what is kept of a text, idempotency, and when a post is answered.

use crate::common::Change as _;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use chatroom::Heard;
use serde_json::json;

use crate::common::{Client, EventStream, Request, Server, ask, retained, say, texts, within};

/// The texts of all messages that a room retains.
async fn held(server: &Server, room: &str) -> Vec<String> {
    let messages = retained(server.address(), room).await;
    texts(&messages).into_iter().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn json_and_plain_text_make_the_same_message() {
    let server = Server::start().await;
    let ways = [
        Request::post_json("/chat/dev", &json!({"text": "hi", "name": "ann"})),
        Request::post_json(
            "/chat/dev",
            &json!({"name": "ann", "text": "hi", "extra": [1]}),
        ),
        // A name in the body wins over one in the query.
        Request::post_json("/chat/dev?name=ann", &json!({"text": "hi"})),
        Request::post_json("/chat/dev?name=bob", &json!({"text": "hi", "name": "ann"})),
        Request::post_text("/chat/dev?name=ann", "hi"),
        Request::new("POST", "/chat/dev?name=ann")
            .header("Content-Type", "Text/Plain; charset=UTF-8")
            .body("hi"),
        Request::new("POST", "/chat/dev")
            .header("Content-Type", "application/json;charset=utf-8")
            .body(r#" {"text":"hi","name":"ann"} "#),
    ];
    for request in ways {
        let message = ask(server.address(), request).await.expect(201, "").json();
        assert_eq!(
            [
                &message["room"],
                &message["name"],
                &message["member"],
                &message["text"]
            ],
            [&json!("dev"), &json!("ann"), &json!(false), &json!("hi")]
        );
        assert_eq!(
            message.as_object().map(|object| object.len()),
            Some(7),
            "{message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_trimmed_at_its_end_alone() {
    let server = Server::start().await;
    for (sent, kept) in [
        ("hi\n", "hi"),
        ("  hi \t\r\n\n", "  hi"),
        ("\n\nhi", "\n\nhi"),
    ] {
        let message = say(server.address(), "lobby", "ann", sent).await;
        assert_eq!(message["text"], kept);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_may_be_as_long_as_the_limit_and_no_longer() {
    let server = Server::with(|chat| chat.max_message(100)).await;
    let longest = "é".repeat(50);
    // White space at the end is cut before the bytes are counted.
    say(server.address(), "lobby", "ann", &format!("{longest}\n")).await;
    for too_long in [format!("{longest}x"), "\0".repeat(101)] {
        let plain = Request::post_text("/chat?name=ann", &too_long);
        ask(server.address(), plain).await.expect(413, "too-large");
        let json = Request::post_json("/chat", &json!({"text": too_long, "name": "ann"}));
        ask(server.address(), json).await.expect(413, "too-large");
    }
    // As JSON, each of these characters takes six bytes on the way.
    let json = Request::post_json(
        "/chat",
        &json!({"text": "\u{1}".repeat(100), "name": "ann"}),
    );
    ask(server.address(), json).await.expect(201, "");
    assert_eq!(held(&server, "lobby").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_far_too_long_is_answered_and_not_reset() {
    let server = Server::start().await;
    let huge = "x".repeat(200 * 1024);
    let announced = Request::post_text("/chat?name=ann", &huge);
    ask(server.address(), announced)
        .await
        .expect(413, "too-large");
    let mut client = Client::connect(server.address()).await;
    client
        .send(b"POST /chat?name=ann HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    for _ in 0..20 {
        client
            .send(format!("2800\r\n{}\r\n", "x".repeat(0x2800)).as_bytes())
            .await;
    }
    client.send(b"0\r\n\r\n").await;
    client.response("POST").await.expect(413, "too-large");
    assert_eq!(held(&server, "lobby").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_and_an_expected_continue_work() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address()).await;
    client
        .send(b"POST /chat?name=ann HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n4\r\n two\r\n0\r\n\r\n")
        .await;
    assert_eq!(
        client.response("POST").await.expect(201, "").json()["text"],
        "one two"
    );
    client
        .send(b"POST /chat?name=ann HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    assert_eq!(client.head().await.expect("a go-ahead").status, 100);
    client.send(b"three").await;
    client.response("POST").await.expect(201, "");
    // Nobody is told to go ahead with what would be refused.
    client
        .send(b"POST /chat?name=ann HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\nContent-Length: 5000000\r\n\r\n")
        .await;
    client.response("POST").await.expect(413, "too-large");
    assert_eq!(held(&server, "lobby").await, ["one two", "three"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_answered_when_every_queue_has_the_message() {
    let server = Server::start().await;
    let mut listeners = Vec::new();
    for _ in 0..20 {
        let mut listener = server.chat().listen(["lobby"], None).await.expect("open");
        let first = within("the start", listener.next()).await;
        assert!(matches!(first, Some(Heard::CaughtUp { .. })), "{first:?}");
        listeners.push(listener);
    }
    for n in 0..50 {
        let text = format!("message {n}");
        say(server.address(), "lobby", "ann", &text).await;
        for listener in &mut listeners {
            // Polled once, without waiting: it is there by now, or it never was in time.
            let polled = pin!(listener.next()).poll(&mut Context::from_waker(Waker::noop()));
            match polled {
                Poll::Ready(Some(Heard::Message(message))) => {
                    assert_eq!(message.text.as_str(), text);
                }
                other => panic!("the answer came before the message: {other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_key_stores_nothing_and_tells_what_is_stored() {
    let server = Server::start().await;
    let mut stream = EventStream::open(server.address(), "/chat").await;
    let with_key = |room: &str, name: &str, text: &str, key: &str| {
        Request::post_text(&format!("/chat/{room}?name={name}"), text)
            .header("Idempotency-Key", key)
    };
    let longest = "k".repeat(64);
    let first = ask(server.address(), with_key("lobby", "ann", "once", &longest)).await;
    let first = first.expect(201, "").json();
    for _ in 0..3 {
        let again = ask(
            server.address(),
            with_key("lobby", "ann", "once\n", &longest),
        )
        .await;
        assert_eq!(again.expect(200, "").json(), first);
    }
    for (name, text) in [("ann", "twice"), ("bob", "once")] {
        ask(server.address(), with_key("lobby", name, text, &longest))
            .await
            .expect(409, "key-reused");
    }
    // Another room, and another key, are another message.
    ask(server.address(), with_key("dev", "ann", "once", &longest))
        .await
        .expect(201, "");
    let other = ask(server.address(), with_key("lobby", "ann", "once", "K!~")).await;
    let other = other.expect(201, "");
    assert!(
        !other.text().contains("K!~"),
        "the key is shown: {}",
        other.text()
    );
    assert_eq!(stream.texts(2).await, ["once", "once"]);
    assert_eq!(held(&server, "lobby").await, ["once", "once"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_posts_with_one_key_at_once_one_is_stored() {
    let server = Server::start().await;
    let address = server.address();
    let posts: Vec<_> = (0..16)
        .map(|_| {
            tokio::spawn(async move {
                let request =
                    Request::post_text("/chat?name=ann", "x").header("Idempotency-Key", "one");
                ask(address, request).await
            })
        })
        .collect();
    let mut statuses = Vec::new();
    let mut bodies = std::collections::BTreeSet::new();
    for post in posts {
        let answer = post.await.expect("a post does not panic");
        statuses.push(answer.status);
        bodies.insert(answer.body);
    }
    statuses.sort_unstable();
    assert_eq!(statuses[14..], [200, 201]);
    assert_eq!(statuses[0], 200);
    assert_eq!(bodies.len(), 1);
    assert_eq!(held(&server, "lobby").await, ["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_many_requests() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address()).await;
    for n in 0..20 {
        let request = Request::post_text("/chat?name=ann", n.to_string());
        client.ask(&request).await.expect(201, "");
    }
    let page = client.ask(&Request::get("/chat/lobby/messages")).await;
    assert_eq!(page.json()["messages"].as_array().map(Vec::len), Some(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address()).await;
    let requests: Vec<u8> = (0..10)
        .flat_map(|n| Request::post_text("/chat?name=ann", n.to_string()).to_bytes())
        .collect();
    client.send(&requests).await;
    for n in 0..10 {
        let message = client.response("POST").await.expect(201, "").json();
        assert_eq!(message["text"], n.to_string());
    }
}
