//! The guard, threat by threat: each test is named after what an attacker tries, and says what the
//! attacker would gain.

use crate::common::Change as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::common::{Client, EventStream, Process, Request, Server, ask, get, say, unlimited};
use chatroom::ManualClock;
use hyper::service::Service;

/// Gain: a page from the open web gives its own name the address 127.0.0.1, counts as same-origin
/// with a server on the visitor's machine, and reads and writes there.
#[tokio::test(flavor = "multi_thread")]
async fn dns_rebinding() {
    let server = Process::start(&[]).await;
    let address = server.address();
    for host in [
        "evil.test",
        "evil.test:8080",
        "localhost.evil.test",
        "127.0.0.1.evil.test",
        "evil-localhost",
        "127.0.0.2",
        "0.0.0.0",
        "[::2]",
        "",
        "localhost@evil.test",
        "localhost:1@evil.test",
        "evil.test.",
    ] {
        for target in ["/", "/chat", "/chat/lobby/messages", "/rooms", "/metrics"] {
            let request = Request::get(target).host(host);
            ask(address, request).await.expect(403, "unknown-host");
        }
        let post = Request::post_text("/chat?name=ann", "x").host(host);
        ask(address, post).await.expect(403, "unknown-host");
        // Whoever looks after the server may ask by whatever address it has.
        ask(address, Request::get("/healthz").host(host))
            .await
            .expect(200, "");
    }
    // A target in absolute form outranks the Host header.
    let absolute = Request::get("http://evil.test/rooms").host("localhost");
    ask(address, absolute).await.expect(403, "unknown-host");
    for host in [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1:9",
        "[::1]",
        "[::1]:80",
        "localhost.",
    ] {
        ask(address, Request::get("/rooms").host(host))
            .await
            .expect(200, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_may_be_allowed_beside_the_local_names() {
    let named = Process::start(&["--allow-host", "chat.test", "--allow-host=b.test"]).await;
    for (host, status) in [
        ("chat.test", 200),
        ("CHAT.TEST:443", 200),
        ("b.test", 200),
        ("localhost", 200),
        ("[::1]:80", 200),
        ("evil.test", 403),
    ] {
        let answer = ask(named.address(), Request::get("/rooms").host(host)).await;
        assert_eq!(answer.status, status, "{host}");
    }
}

/// Gain: the same on a server that listens everywhere, and so on the visitor's own loopback address too.
#[tokio::test(flavor = "multi_thread")]
async fn dns_rebinding_where_the_server_listens_everywhere() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let server = Process::start(&["--listen", listen, "--allow-host", "chat.test"]).await;
        let open = Process::start(&["--listen", listen]).await;
        for (server, host, status) in [
            (&server, "evil.test", 403),
            (&server, "chat.test", 200),
            (&server, "127.0.0.1", 200),
            (&open, "evil.test", 403),
            (&open, "localhost", 200),
        ] {
            let address = (Ipv4Addr::LOCALHOST, server.address().port()).into();
            let answer = ask(address, Request::get("/rooms").host(host)).await;
            assert_eq!(answer.status, status, "{listen} {host}");
        }
    }
    // Elsewhere any name will do: this request comes in at no loopback address.
    let chat = unlimited().with(|options| options.loopback_names = true);
    let request = hyper::Request::get("/rooms").header("Host", "anything.test");
    let request = request.body(String::new()).expect("a request");
    let Ok(answer) = chat.build().expect("a chat").call(request).await;
    assert_eq!(answer.status(), 200);
}

/// Gain: two parsers (a proxy's and ours) that take different hosts for the true one.
#[tokio::test(flavor = "multi_thread")]
async fn host_header_confusion() {
    let server = Server::with(|chat| chat.allow_host("localhost")).await;
    let none = Request::get("/rooms").without_host();
    ask(server.address(), none).await.expect(400, "bad-request");
    let two = Request::get("/rooms").header("Host", "evil.test");
    ask(server.address(), two).await.expect(400, "bad-request");
    let same_twice = Request::get("/rooms").header("Host", "localhost");
    ask(server.address(), same_twice)
        .await
        .expect(400, "bad-request");
}

/// Gain: an attacker's frame around the page takes the visitor's clicks; an answer taken for a
/// script or a page runs as one; an address with a room in it leaks to other sites.
#[tokio::test(flavor = "multi_thread")]
async fn clickjacking_and_content_sniffing() {
    let server = Server::start().await;
    let address = server.address();
    let mut answers = Vec::new();
    for target in [
        "/",
        "/js/main.js",
        "/chat.css",
        "/favicon.svg",
        "/rooms",
        "/healthz",
        "/metrics",
        "/nowhere",
        "/chat/.bad",
        "/chat/lobby/messages",
        "/chat/lobby/members",
    ] {
        answers.push(get(address, target).await);
        answers.push(ask(address, Request::new("DELETE", target)).await);
    }
    answers.push(ask(address, Request::post_text("/chat?name=ann", "hi")).await);
    answers.push(ask(address, Request::post_text("/chat?name=ann", "")).await);
    for answer in &answers {
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'"), "{}", answer.head);
        assert!(policy.contains("frame-ancestors 'none'"), "{}", answer.head);
        assert!(!policy.contains("unsafe"), "{}", answer.head);
        assert_eq!(
            answer.header("referrer-policy"),
            Some("no-referrer"),
            "{}",
            answer.head
        );
    }
    // An event stream is no document: what only documents heed is not said on it.
    answers.push(EventStream::open(address, "/chat").await.head);
    for answer in answers {
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{}",
            answer.head
        );
        let sharing = answer.header("cross-origin-resource-policy");
        assert_eq!(sharing, Some("same-origin"), "{}", answer.head);
        assert!(answer.header("content-type").is_some(), "{}", answer.head);
        for banner in ["server", "x-powered-by", "via"] {
            assert_eq!(answer.header(banner), None, "{}", answer.head);
        }
    }
}

/// Gain: to pass for a new client with every request, under all limits by address.
#[tokio::test(flavor = "multi_thread")]
async fn forwarded_address_spoofing() {
    let wary = Server::with(|chat| chat.max_streams_per_ip(1)).await;
    let trusting = Server::with(|chat| {
        chat.max_streams_per_ip(1)
            .trusted_proxy(Ipv4Addr::LOCALHOST.into())
    })
    .await;
    let from = |hops: &[u8]| Request::get("/chat").header("X-Forwarded-For", hops);
    let _first = EventStream::request(wary.address(), from(b"192.0.2.1")).await;
    for spoofed in ["192.0.2.2", "192.0.2.3, 192.0.2.4", "::1"] {
        ask(wary.address(), from(spoofed.as_bytes()))
            .await
            .expect(429, "too-many-streams");
    }
    let _client = EventStream::request(trusting.address(), from(b"192.0.2.1")).await;
    // What stands before the hop that the proxy has added is the client's own invention.
    for spoofed in [
        b"192.0.2.7, 192.0.2.1".as_slice(),
        b"garbage, 192.0.2.1",
        b"\xff, 192.0.2.1",
        b"127.0.0.1, 192.0.2.1",
        b"192.0.2.1:4711",
    ] {
        ask(trusting.address(), from(spoofed))
            .await
            .expect(429, "too-many-streams");
    }
    let split = Request::get("/chat")
        .header("X-Forwarded-For", "192.0.2.9")
        .header("X-Forwarded-For", "192.0.2.1");
    ask(trusting.address(), split)
        .await
        .expect(429, "too-many-streams");
    let _other = EventStream::request(trusting.address(), from(b"192.0.2.2")).await;
}

/// Gain: whoever has a common IPv6 connection has 2^64 addresses, each with its own limits.
#[tokio::test(flavor = "multi_thread")]
async fn ipv6_address_hopping() {
    let server = Server::with(|chat| {
        chat.max_streams_per_ip(1)
            .trusted_proxy(Ipv4Addr::LOCALHOST.into())
    })
    .await;
    let from = |address: &str| Request::get("/chat").header("X-Forwarded-For", address);
    let _first = EventStream::request(server.address(), from("2001:db8:1:2::1")).await;
    for same in [
        "2001:db8:1:2::2",
        "2001:db8:1:2:ffff:ffff:ffff:ffff",
        "[2001:db8:1:2::3]:443",
    ] {
        ask(server.address(), from(same))
            .await
            .expect(429, "too-many-streams");
    }
    let _neighbour = EventStream::request(server.address(), from("2001:db8:1:3::1")).await;
    // An IPv4 address in IPv6's clothes is that address, not one network with all others.
    let _mapped = EventStream::request(server.address(), from("::ffff:192.0.2.1")).await;
    let _other = EventStream::request(server.address(), from("::ffff:192.0.2.2")).await;
    ask(server.address(), from("192.0.2.1"))
        .await
        .expect(429, "too-many-streams");
}

/// Gain: the limits and the proxy settings would not hold on an IPv6 socket.
#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_socket_has_the_same_guard() {
    let server = Server::on("[::1]:0", |chat| {
        chat.max_streams_per_ip(1)
            .trusted_proxy(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]))
    })
    .await;
    let _one = EventStream::open(server.address(), "/chat").await;
    get(server.address(), "/chat")
        .await
        .expect(429, "too-many-streams");
    let forwarded = Request::get("/chat").header("X-Forwarded-For", "192.0.2.1");
    EventStream::request(server.address(), forwarded).await;
}

/// Gain: one who makes up a new cookie for every message would never meet a limit.
#[tokio::test(flavor = "multi_thread")]
async fn message_flood_under_changing_sessions() {
    let clock = ManualClock::at(1_700_000_000_000);
    let server = Server::with(|_| unlimited().clock(clock.clone()).message_rate(1.0)).await;
    let post = |n: u32| {
        Request::post_text(&format!("/chat?name=flood{n}"), "x").session(&format!("{n:032x}"))
    };
    for n in 0..10 {
        ask(server.address(), post(n)).await.expect(201, "");
    }
    for n in 10..20 {
        ask(server.address(), post(n))
            .await
            .expect(429, "too-many-messages");
    }
    clock.advance(Duration::from_secs(1));
    ask(server.address(), post(20)).await.expect(201, "");
}

/// Gain: a second request, hidden in the first one's body, that a proxy in front has not seen.
#[tokio::test(flavor = "multi_thread")]
async fn request_smuggling() {
    let server = Server::start().await;
    let hidden = "POST /chat?name=eve HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\nsmuggled";
    for framing in [
        "Content-Length: 1\r\nContent-Length: 200\r\n",
        "Content-Length: 1, 200\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length : 1\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
    ] {
        let head =
            "POST /chat?name=bob HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n";
        let mut client = Client::connect(server.address()).await;
        client
            .send(format!("{head}{framing}\r\n1{hidden}").as_bytes())
            .await;
        assert_eq!(client.response("POST").await.status, 400, "{framing}");
        assert_eq!(
            client.rest().await,
            b"",
            "{framing}: the connection goes on"
        );
    }
    // Nothing came through: this is the first message.
    say(server.address(), "lobby", "ann", "hi").await;
    let page = get(server.address(), "/chat/lobby/messages").await.json();
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(1), "{page}");
}
