//! Bytes that nobody would send but an attacker or a broken program: whole requests made of random
//! and mutated bytes against the real server, and arbitrary values in every place that a request has.

use crate::common::Change as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chatroom::Chat;
use http_body_util::Full;
use hyper::Request as HyperRequest;
use hyper::body::{Body as _, Bytes};
use hyper::service::Service;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::io::AsyncWriteExt;

use crate::common::{
    Client, EventStream, Process, Random, Request, eventually, get, longer, unlimited, within,
};

/// Attackers at once.
const ATTACKERS: u64 = 4;
/// Memory that the server may take more under fire, in bytes: what its rooms may hold, its tables,
/// and some for the allocator.
const MORE_MEMORY: u64 = 48 * 1024 * 1024;

/// How long an attacker listens to an answer without end, such as a stream.
const LISTENING: Duration = Duration::from_millis(100);

/// How long the server is under fire.
fn duration() -> Duration {
    let seconds = std::env::var("TEST_FUZZ_SECONDS").ok();
    Duration::from_secs(
        seconds
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or(5),
    )
}

/// Good requests, to be made bad.
fn corpus() -> Vec<Vec<u8>> {
    let chunked = Request::new("POST", "/chat/dev?name=ann")
        .header("Content-Type", "text/plain")
        .header("Transfer-Encoding", "chunked")
        .body(b"5\r\nhello\r\n3; x=y\r\n\xf0\x9f\r\n0\r\nTrailer: x\r\n\r\n");
    let json = serde_json::json!({"text": "hi \u{2028}\n👾", "name": "ann"});
    [
        Request::get("/"),
        Request::get("/chat?name=ann&history=5&lastEventId=1-1"),
        Request::get("/chat/caf%C3%A9")
            .header("Accept", "text/event-stream, */*;q=0.1")
            .header("Last-Event-ID", "1700000000000-3"),
        Request::post_json("/chat/dev", &json)
            .header("Idempotency-Key", "key-1")
            .session("0123456789abcdef0123456789abcdef"),
        Request::post_text("/chat/dev?name=b%20b", "hello\r\n\r\n")
            .header("Origin", "http://localhost")
            .header("Sec-Fetch-Site", "same-origin")
            .header("X-Forwarded-For", "192.0.2.1, 127.0.0.1"),
        chunked,
        Request::get("/chat/dev/messages?after=1-0&before=9-9&limit=5")
            .header("If-None-Match", "W/\"x\", *"),
        Request::new("HEAD", "/chat/dev/members").header("Authorization", "Basic YTpi"),
        Request::new("OPTIONS", "/chat")
            .header("Origin", "https://app.test")
            .header("Access-Control-Request-Method", "POST"),
        Request::get("/rooms").header(
            "Cookie",
            "a=b; chatroom-session=00000000000000000000000000000000",
        ),
        Request::new("POST", "/chat")
            .header("Expect", "100-continue")
            .body("x"),
        Request::get("/metrics").header("Connection", "close"),
    ]
    .iter()
    .map(Request::to_bytes)
    .collect()
}

/// One of the good requests with some damage, two of them spliced, or mere noise.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    const TOKENS: &[&[u8]] = &[
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\0",
        b":",
        b" ",
        b"%",
        b"%00",
        b"%ff",
        b"chunked",
        b"Content-Length: 9\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"-1",
        b"18446744073709551616",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\"",
        b"{",
        b"/..",
        b"HTTP/1.0",
        b"&",
        b"=",
        b";q=",
        b",",
        b"99999999999999999999999999",
    ];
    if random.below(12) == 0 {
        let length = random.below(600);
        return random.bytes(length);
    }
    let mut bytes = random.pick(corpus).clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let length = random.below(24).min(bytes.len() - at);
        match random.below(7) {
            0 if length > 0 => bytes[at] ^= 1 << random.below(8),
            1 => drop(bytes.drain(at..at + length)),
            2 => bytes.truncate(at),
            3 => {
                let copy = bytes[at..at + length].repeat(1 + random.below(40));
                bytes.splice(at..at, copy);
            }
            4 => {
                let noise = random.bytes(length);
                bytes.splice(at..at + length, noise);
            }
            5 => {
                let other = random.pick(corpus);
                let from = random.below(other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
            _ => drop(bytes.splice(at..at, random.pick(TOKENS).iter().copied())),
        }
    }
    bytes
}

/// Sends bad bytes until time is up, and looks at what comes back. Says how much it has sent.
async fn attack(address: SocketAddr, seed: u64, until: Instant) -> usize {
    let corpus = corpus();
    let mut random = Random::seeded(seed);
    let mut sent = 0;
    while Instant::now() < until {
        let bytes = mutated(&corpus, &mut random);
        let mut client = Client::connect(address).await;
        let (_, mut half) = client.socket().split();
        // The server may hang up before it has read everything.
        let _ = within("sending", half.write_all(&bytes)).await;
        let _ = half.shutdown().await;
        let answer = client.rest_within(LISTENING).await;
        let shown = || {
            format!(
                "seed {seed}: {}\n→ {}",
                bytes.escape_ascii(),
                answer.escape_ascii()
            )
        };
        if !answer.is_empty() {
            assert!(answer.starts_with(b"HTTP/1."), "{}", shown());
        }
        let failed = answer
            .windows(12)
            .any(|window| matches!(window, b"HTTP/1.1 500" | b"HTTP/1.0 500"));
        assert!(!failed, "{}", shown());
        sent += 1;
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_under_fire_of_random_bytes_stays_alive_and_well() {
    // Of a client that is gone while something that it sent still waits to be read, only a failing
    // write tells: hence the heartbeat.
    let server = Process::start(&[
        "--trusted-proxy",
        "127.0.0.1",
        "--max-rooms",
        "32",
        "--heartbeat",
        "1",
        "--log",
        "error",
    ])
    .await;
    let address = server.address();
    let mut honest = EventStream::open(address, "/chat/honest?name=honest").await;
    let session = honest.session();
    honest.until("chat-room-connected").await;
    let (memory, files) = (server.resident_bytes(), server.open_files());
    let until = Instant::now() + duration();
    let attackers: Vec<_> = (1..=ATTACKERS)
        .map(|seed| tokio::spawn(attack(address, seed, until)))
        .collect();
    let mut sent = 0;
    for attacker in attackers {
        sent += attacker
            .await
            .expect("the server answers as HTTP does, and never with 500");
    }
    assert!(sent > 100, "only {sent} requests");
    // Whoever was there is there still, and the next is served.
    let post = Request::post_text("/chat/honest", "unharmed").session(&session);
    Client::connect(address)
        .await
        .ask(&post)
        .await
        .expect(201, "");
    assert_eq!(honest.message().await.text(), "unharmed");
    get(address, "/healthz").await.expect(200, "");
    eventually("the end of all other connections", || async {
        server.open_files() <= files + 1
    })
    .await;
    let more = server.resident_bytes().saturating_sub(memory);
    assert!(
        more < MORE_MEMORY,
        "{more} bytes more after {sent} requests"
    );
    // That there is no password is told at the start.
    let stderr = server.stderr();
    let told: Vec<&str> = stderr
        .lines()
        .filter(|line| !line.contains(" warning: "))
        .collect();
    assert_eq!(told, [""; 0]);
}

/// A value for some place in a request: anything, and more often something that looks right.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..80),
        "[ -~]{0,40}".prop_map(String::into_bytes),
        "\\PC{0,20}".prop_map(String::into_bytes),
        "(%[0-9a-fA-F]{2}|[a-z.&=+;,-]){0,20}".prop_map(String::into_bytes),
        "[0-9]{1,20}-[0-9]{1,20}".prop_map(String::into_bytes),
        "Basic [A-Za-z0-9+/]{0,20}={0,2}".prop_map(String::into_bytes),
        "chatroom-session=[0-9a-f]{31,33}(; ?chatroom-session=[0-9a-f]{32})?"
            .prop_map(String::into_bytes),
        "\\{\"text\":\"\\PC{0,10}\",\"name\":\"[a-z\\\\u0-9]{0,8}\"\\}"
            .prop_map(String::into_bytes),
        "([0-9]{1,3}\\.){3}[0-9]{1,3}(:[0-9]{1,5})?(, ?[0-9a-f:.\\[\\]]{0,20}){0,3}"
            .prop_map(String::into_bytes),
        "(text|application|\\*)/(plain|json|event-stream|\\*)(; ?(q|charset)=[a-z0-9.-]{0,8}){0,2}"
            .prop_map(String::into_bytes),
    ]
}

/// Every header that some parser of the server reads.
const HEADERS: &[&str] = &[
    "host",
    "origin",
    "sec-fetch-site",
    "authorization",
    "cookie",
    "x-forwarded-for",
    "x-forwarded-proto",
    "accept",
    "content-type",
    "idempotency-key",
    "last-event-id",
    "if-none-match",
    "expect",
];

fn any_request() -> impl Strategy<Value = HyperRequest<Full<Bytes>>> {
    let method = prop_oneof![
        Just("GET"),
        Just("POST"),
        Just("HEAD"),
        Just("OPTIONS"),
        Just("X")
    ];
    let path = prop_oneof![
        Just("/chat"),
        Just("/chat/dev"),
        Just("/chat/dev/messages"),
        Just("/chat/dev/members"),
        Just("/rooms"),
    ];
    let segment = value();
    let keys = prop_oneof![
        Just("name"),
        Just("history"),
        Just("lastEventId"),
        Just("after"),
        Just("before"),
        Just("limit"),
    ];
    let query = proptest::collection::vec((keys, value()), 0..3);
    let headers = proptest::collection::vec((proptest::sample::select(HEADERS), value()), 0..5);
    (
        method,
        path,
        proptest::option::of(segment),
        query,
        headers,
        value(),
    )
        .prop_map(|(method, path, segment, query, headers, body)| {
            // What cannot stand in a target or a header never comes past hyper.
            let clean = |bytes: &[u8]| -> String {
                let allowed = |byte: &u8| {
                    byte.is_ascii_graphic()
                        && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'?' | b'/')
                };
                bytes
                    .iter()
                    .filter(|byte| allowed(byte))
                    .map(|byte| char::from(*byte))
                    .collect()
            };
            let mut target = path.to_owned();
            if let Some(segment) = segment {
                target = format!("/chat/{}", clean(&segment));
            }
            let query: Vec<String> = query
                .iter()
                .map(|(key, value)| format!("{key}={}", clean(value)))
                .collect();
            let uri = format!("{target}?{}", query.join("&"));
            let mut request = HyperRequest::new(Full::new(Bytes::from(body)));
            *request.method_mut() = method.parse().expect("a method");
            *request.uri_mut() = uri.parse().unwrap_or_default();
            request
                .headers_mut()
                .insert("host", "localhost".parse().expect("a value"));
            for (name, value) in headers {
                if let Ok(value) = value.as_slice().try_into() {
                    request.headers_mut().append(name, value);
                }
            }
            request
        })
}

/// A chat that reads every header there is to read.
fn curious_chat() -> Chat {
    let proxy = std::net::Ipv4Addr::UNSPECIFIED.into();
    let chat = unlimited().trusted_proxy(proxy).max_rooms(16);
    chat.allow_origin("https://app.test")
        .expect("an origin")
        .build()
        .expect("a chat")
}

#[test]
fn any_value_in_any_place_of_a_request_gets_an_answer() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let (open, locked) = runtime.block_on(async {
        let locked = unlimited().password("b").expect("a password").build();
        (curious_chat(), locked.expect("a chat"))
    });
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 1_500 * longer() as u32,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let result = runner.run(&any_request(), |request| {
        for chat in [&open, &locked] {
            let answer = runtime.block_on(within("an answer", chat.call(request.clone())));
            let answer = answer.unwrap_or_else(|never| match never {});
            let status = answer.status().as_u16();
            prop_assert!(status < 500 || status == 503, "{status} for {request:?}");
            if status >= 400 {
                prop_assert!(
                    answer
                        .body()
                        .size_hint()
                        .exact()
                        .is_some_and(|bytes| bytes > 0)
                );
            }
        }
        Ok(())
    });
    if let Err(failed) = result {
        panic!("{failed}");
    }
    let kept = runtime.block_on(open.post("lobby", "ann", "alive"));
    assert_eq!(kept.expect("posted").text.as_str(), "alive");
}
