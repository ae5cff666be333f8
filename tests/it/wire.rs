//! The interface as it stands on the wire: the promised lines, headers and events, byte for byte.

use crate::common::Change as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Client, EventStream, Request, Server, ask, encode, get, say, within};

/// Texts that would break out of their event, or be changed on the way, if anything could.
const HOSTILE_TEXTS: &[&str] = &[
    "one\ntwo",
    "one\r\ntwo\rthree",
    "hello\n\nid: 9\nevent: new-message\ndata: {\"text\":\"forged\"}",
    "hello\r\rid: 9\revent: server-closing\rdata: {}",
    "\u{2028}line\u{2029}separators\u{85}too",
    "\0 a NUL, \u{1}, \u{1b}[31m and \u{7f}\u{9b}31m too",
    "👩‍👩‍👧‍👦 e\u{301} \u{1f3f4}\u{e0067}\u{e0062}",
    "\u{202e}backwards\u{202c} \u{200b}unseen",
    "\u{feff}a byte order mark first",
    "   leading white space stays",
    "data: x",
    ": a comment",
    "\"quoted\\ and \\u0022 \\n escaped",
    "<script>alert(1)</script>&amp;",
    "\u{fffd}\u{ffff}\u{10ffff}",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_three_promised_lines_work_as_they_stand() {
    let server = Server::start().await;
    let as_curl = |request: Request| {
        request
            .host(&server.address().to_string())
            .header("User-Agent", "curl/8.14.1")
            .header("Accept", "*/*")
    };
    let mut stream = EventStream::request(server.address(), as_curl(Request::get("/chat"))).await;
    let post = as_curl(Request::post_text("/chat?name=bot", "hello"));
    let posted = ask(server.address(), post).await.expect(201, "").json();
    let heard = stream.message().await.json();
    assert_eq!(heard, posted);
    let page = ask(
        server.address(),
        as_curl(Request::get("/chat/lobby/messages?limit=5")),
    )
    .await
    .expect(200, "");
    assert_eq!(page.header("content-type"), Some("application/json"));
    assert_eq!(page.json()["messages"], json!([posted]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_the_promised_headers_and_no_banner() {
    let server = Server::start().await;
    let stream = EventStream::open(server.address(), "/chat/dev").await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-store, no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        let all: Vec<_> = stream
            .head
            .headers
            .iter()
            .filter(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(all, [value], "{name}");
    }
    assert_eq!(stream.head.header("server"), None);
    assert_eq!(stream.head.header("content-length"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_an_empty_room_begins_with_a_greeting_at_once() {
    // Nothing else may bring the first bytes on their way: no heartbeat, no message.
    let server = Server::with(|chat| chat.heartbeat(Duration::ZERO)).await;
    let mut stream = EventStream::open(server.address(), "/chat").await;
    let greeting = stream.event().await;
    let json = greeting.json();
    let id = json["eventId"].as_str().expect("the newest id");
    let retry = greeting.retry.expect("the greeting has a retry time");
    assert!((1_000..=3_000).contains(&retry), "{retry}");
    let author = &json["author"];
    assert!(
        author.as_str().is_some_and(|author| author.len() == 16),
        "{author}"
    );
    assert_eq!(
        greeting.raw,
        format!(
            "retry: {retry}\nevent: chat-room-connected\ndata: {{\"eventId\":\"{id}\",\"room\":\"lobby\",\
             \"name\":null,\"author\":{author},\"memberCount\":0,\"listenerCount\":1,\"heartbeatSeconds\":0}}\n\n"
        )
    );
    let roster = stream.event().await;
    assert_eq!(
        roster.raw,
        "event: members-changed\ndata: {\"room\":\"lobby\",\"joined\":[],\"left\":[],\
         \"memberCount\":0,\"listenerCount\":1,\"members\":[]}\n\n"
    );
    let caught_up = stream.event().await;
    assert_eq!(
        caught_up.raw,
        format!("id: {id}\nevent: caught-up\ndata: {{\"eventId\":\"{id}\"}}\n\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_times_differ_from_client_to_client() {
    let server = Server::start().await;
    let mut times = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let greeting = EventStream::open(server.address(), "/chat")
            .await
            .event()
            .await;
        times.insert(greeting.retry.expect("the greeting has a retry time"));
    }
    assert!(times.len() > 5, "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_one_event_of_four_lines() {
    let (server, _clock) = Server::in_still_time().await;
    let mut stream = EventStream::open(server.address(), "/chat/dev").await;
    say(server.address(), "dev", "Zoë", "a \"b\"\n☃").await;
    let event = stream.message().await;
    let id = event.id.clone().expect("a message has an id");
    assert!(id.starts_with("1700000000000-"), "{id}");
    assert_eq!(
        event.raw,
        format!(
            "id: {id}\nevent: new-message\ndata: {{\"eventId\":\"{id}\",\"room\":\"dev\",\"name\":\"Zoë\",\
             \"author\":null,\"member\":false,\"text\":\"a \\\"b\\\"\\n☃\",\"sentAt\":1700000000000}}\n\n"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn any_text_comes_back_equal_in_exactly_one_event() {
    let server = Server::start().await;
    let mut live = EventStream::open(server.address(), "/chat").await;
    let mut ids = Vec::new();
    for text in HOSTILE_TEXTS {
        let request = Request::post_json("/chat", &json!({"text": text, "name": "bot"}));
        let posted = ask(server.address(), request).await.expect(201, "").json();
        assert_eq!(posted["text"], *text);
        ids.push(posted["eventId"].clone());
    }
    let mut backlog = EventStream::open(server.address(), "/chat").await;
    for stream in [&mut live, &mut backlog] {
        let mut heard = Vec::new();
        while heard.len() < HOSTILE_TEXTS.len() {
            let event = stream.event().await;
            match event.event.as_str() {
                "new-message" => {
                    // A terminal that shows the bytes as they come obeys none of them.
                    let controls = event.raw.chars().filter(|c| c.is_control());
                    assert_eq!(controls.collect::<String>(), "\n\n\n\n", "{:?}", event.raw);
                    assert_eq!(event.id.as_deref(), event.json()["eventId"].as_str());
                    heard.push(event);
                }
                "chat-room-connected" | "members-changed" | "caught-up" | "heartbeat" => {}
                other => panic!("an event that nobody sent: {other}"),
            }
        }
        let texts: Vec<String> = heard.iter().map(|event| event.text()).collect();
        assert_eq!(texts, HOSTILE_TEXTS);
        let told: Vec<Value> = heard
            .iter()
            .map(|event| event.json()["eventId"].clone())
            .collect();
        assert_eq!(told, ids);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_may_be_called_anything_that_fits_in_an_event() {
    let server = Server::start().await;
    let mut watcher = EventStream::open(server.address(), "/chat").await;
    for name in ["data: x", "id: 9", "a\"b\\c", "<b>", "{}", "👾", "％"] {
        let target = format!("/chat?name={}", encode(name));
        let mut stream = EventStream::open(server.address(), &target).await;
        let greeting = stream.event().await.json();
        assert_eq!(greeting["name"], name);
        let own = ask(
            server.address(),
            Request::post_text("/chat", "x").session(&stream.session()),
        );
        assert_eq!(own.await.expect(201, "").json()["name"], name);
        assert_eq!(watcher.message().await.json()["name"], name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_rise_when_the_clock_goes_back() {
    let (server, clock) = Server::in_still_time().await;
    let mut stream = EventStream::open(server.address(), "/chat").await;
    let caught_up = stream.until("caught-up").await;
    let mut last = position(&caught_up.id.expect("a position"));
    for date in [
        1_700_000_000_000,
        1_700_000_000_000,
        1_600_000_000_000,
        0,
        1_700_000_000_001,
        1_699_999_999_999,
        1_700_000_050_000,
    ] {
        clock.set_date(date);
        let sent = say(server.address(), "lobby", "bot", "tick").await;
        let event = stream.message().await;
        let id = event.id.expect("a message has an id");
        assert_eq!(sent["eventId"], *id);
        assert_eq!(sent["sentAt"], date);
        let next = position(&id);
        assert!(next > last, "{next:?} after {last:?}");
        assert!(
            next.0 >= last.0 && next.0 >= date,
            "milliseconds never go back"
        );
        last = next;
    }
}

fn position(id: &str) -> (u64, u64) {
    let (milliseconds, sequence) = id.split_once('-').expect("an id is a pair");
    let number = |text: &str| text.parse().expect("an id is a pair of numbers");
    (number(milliseconds), number(sequence))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_clients_see_one_order_and_rooms_never_mix() {
    const EACH: usize = 25;
    let server = Server::start().await;
    let address = server.address();
    let mut streams = Vec::new();
    for room in ["red", "red", "red", "green", "green"] {
        let mut stream = EventStream::open(address, &format!("/chat/{room}")).await;
        stream.until("chat-room-connected").await;
        streams.push((room, stream));
    }
    let posters: Vec<_> = (0..8)
        .map(|poster| {
            tokio::spawn(async move {
                let room = if poster % 2 == 0 { "red" } else { "green" };
                for n in 0..EACH {
                    say(address, room, "bot", &format!("{room} {poster} {n}")).await;
                }
            })
        })
        .collect();
    for poster in posters {
        within("posting", poster)
            .await
            .expect("every post is accepted");
    }
    let mut orders = std::collections::HashMap::new();
    for (room, mut stream) in streams {
        let texts = stream.texts(4 * EACH).await;
        assert!(texts.iter().all(|text| text.starts_with(room)), "{texts:?}");
        let first = orders.entry(room).or_insert_with(|| texts.clone());
        assert_eq!(*first, texts, "{room}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_begins_with_as_much_history_as_it_asks_for() {
    let server = Server::start().await;
    for n in 0..60 {
        server
            .chat()
            .post("lobby", "bot", &n.to_string())
            .await
            .expect("posted");
    }
    for (target, expected) in [
        ("/chat", 10..60),
        ("/chat?history=3", 57..60),
        ("/chat?history=0", 60..60),
        ("/chat?history=60", 0..60),
        ("/chat?history=18446744073709551615", 0..60),
    ] {
        let mut stream = EventStream::open(server.address(), target).await;
        let past = stream.caught_up().await;
        let messages = past.iter().filter(|event| event.is("new-message"));
        let texts: Vec<String> = messages.map(|event| event.text()).collect();
        let expected: Vec<String> = expected.map(|n| n.to_string()).collect();
        assert_eq!(texts, expected, "{target}");
        let others = past.iter().filter(|event| !event.is("new-message"));
        let others: Vec<&str> = others.map(|event| &*event.event).collect();
        let others_expected = ["chat-room-connected", "members-changed", "caught-up"];
        assert_eq!(others, others_expected, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_has_heartbeats_that_are_no_positions() {
    let server = Server::with(|chat| chat.heartbeat(Duration::from_millis(100))).await;
    let mut stream = EventStream::open(server.address(), "/chat").await;
    let greeting = stream.event().await;
    assert_eq!(greeting.json()["heartbeatSeconds"], 0.1);
    stream.caught_up().await;
    for _ in 0..3 {
        let beat = stream.until("heartbeat").await;
        assert_eq!((&beat.id, beat.retry), (&None, None));
        assert!(beat.json()["sentAt"].is_u64(), "{beat:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_to_whoever_accepts_event_streams() {
    let server = Server::start().await;
    for accept in [
        "text/event-stream",
        "*/*",
        "text/*",
        "text/html, text/event-stream;q=0.1",
        "TEXT/Event-Stream",
    ] {
        EventStream::request(
            server.address(),
            Request::get("/chat").header("Accept", accept),
        )
        .await;
    }
    for accept in [
        "text/html",
        "application/json, text/plain",
        "text/event-stream;q=0",
        "text/event-stream;q=0, */*",
    ] {
        let request = Request::get("/chat").header("Accept", accept);
        ask(server.address(), request)
            .await
            .expect(406, "not-acceptable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_1_0_gets_a_stream_without_chunks() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address()).await;
    client.send(b"GET /chat HTTP/1.0\r\n\r\n").await;
    let head = client.head().await.expect("an answer");
    assert_eq!(head.status, 200, "{}", head.head);
    assert_eq!(head.header("transfer-encoding"), None);
    say(server.address(), "lobby", "bot", "the end").await;
    let mut body = Vec::new();
    while !body.ends_with(b"\"text\":\"the end\"") {
        body.extend(client.take(1).await);
    }
    server.stop().await;
    body.extend(client.rest().await);
    let body = String::from_utf8(body).expect("a stream is UTF-8");
    assert!(body.starts_with("retry: "), "{body}");
    assert!(body.ends_with("\n\n"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_not_cut_where_a_burst_is() {
    const MESSAGES: usize = 100;
    let server = Server::start().await;
    for _ in 0..MESSAGES {
        say(server.address(), "lobby", "bot", &"x".repeat(100)).await;
    }
    let mut client = Client::connect(server.address()).await;
    let request = Request::get(&format!("/chat?history={MESSAGES}"));
    client.send(&request.to_bytes()).await;
    let head = client.head().await.expect("an answer");
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    server.stop().await;
    let body = String::from_utf8(client.rest().await).expect("a stream is UTF-8");
    // Nothing in an event is a CR, so these are the ends of chunks and of their sizes.
    let mut whole = 0;
    for part in body.split("\r\n").filter(|part| part.contains("xxx")) {
        let begins = part.starts_with("id: ") || part.starts_with("retry: ");
        assert!(begins && part.ends_with("\n\n"), "{part:?}");
        whole += part.matches("event: new-message").count();
    }
    assert_eq!(whole, MESSAGES);
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_listed_with_who_is_in_them() {
    let (server, _clock) = Server::in_still_time().await;
    assert_eq!(
        get(server.address(), "/rooms").await.json(),
        json!({"rooms": []})
    );
    let _listener = EventStream::open(server.address(), "/chat/caf%C3%A9").await;
    let _member = EventStream::open(server.address(), "/chat/caf%C3%A9?name=ann").await;
    say(server.address(), "other", "bot", "x").await;
    assert_eq!(
        get(server.address(), "/rooms").await.json(),
        json!({"rooms": [
            {"room": "café", "memberCount": 1, "listenerCount": 1, "lastMessageAt": null},
            {"room": "other", "memberCount": 0, "listenerCount": 0, "lastMessageAt": 1_700_000_000_000_u64},
        ]})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_to_anyone() {
    let server = Server::start().await;
    let answer = get(server.address(), "/healthz").await.expect(200, "");
    assert_eq!(answer.text(), r#"{"status":"ok"}"#);
}
