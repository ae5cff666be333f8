//! Connections: how many one address may hold, and what their ends mean.

use crate::common::Change as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use chatroom::Options;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::time::Instant;

use crate::common::figure;
use crate::common::{Client, EventStream, Request, Response, Server, ask, eventually, get, within};

/// Streams that one address may hold in these tests, and the connections beside them.
const STREAMS: usize = 8;
const CONNECTIONS: usize = STREAMS + 32;

async fn bounded(change: impl FnOnce(Options) -> Options) -> Server {
    Server::with(|chat| change(chat.max_streams(10).max_streams_per_ip(STREAMS))).await
}

async fn idle(server: &Server, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(Client::connect(server.address()).await);
    }
    clients
}

/// Connects from another address of loopback, and asks for the server's health.
async fn health_from(local: [u8; 4], server: SocketAddr) -> Response {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind((IpAddr::from(local), 0).into())
        .expect("all of 127.0.0.0/8 is this machine");
    let socket = within("connecting", socket.connect(server)).await;
    let mut client = Client::from(socket.expect("the server accepts"));
    client.ask(&Request::get("/healthz")).await
}

#[tokio::test]
async fn one_address_cannot_keep_the_others_waiting() {
    let server = bounded(|chat| chat).await;
    // As many as there may be in all.
    let _idle = idle(&server, 10 + 1_024).await;
    let began = Instant::now();
    health_from([127, 0, 0, 2], server.address())
        .await
        .expect(200, "");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "before they time out"
    );
}

#[tokio::test]
async fn a_connection_too_many_is_answered_and_closed() {
    let server = bounded(|chat| chat).await;
    let mut idle = idle(&server, CONNECTIONS).await;
    for asks in [false, true] {
        let mut client = Client::connect(server.address()).await;
        if asks {
            client.send(&Request::get("/healthz").to_bytes()).await;
        }
        let refused = client.response("GET").await;
        assert_eq!(refused.header("retry-after"), Some("10"));
        refused.expect(429, "too-many-streams");
    }
    // Those that were there are served, and a place that is given up can be taken.
    let mut last = idle.pop().expect("there are many");
    last.ask(&Request::get("/healthz")).await.expect(200, "");
    drop(last);
    eventually("a place", async || {
        get(server.address(), "/healthz").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn trusted_proxies_and_servers_without_the_limit_count_no_connections() {
    for server in [
        bounded(|chat| chat.trusted_proxy(Ipv4Addr::LOCALHOST.into())).await,
        bounded(|chat| chat.max_streams_per_ip(0)).await,
    ] {
        let _idle = idle(&server, CONNECTIONS + 1).await;
        get(server.address(), "/healthz").await.expect(200, "");
    }
}

/// A request whose body does not come.
fn slow_body(target: &str, forwarded_for: &str) -> Vec<u8> {
    let request = Request::new("POST", target)
        .header("Content-Type", "application/json")
        .header("X-Forwarded-For", forwarded_for)
        .header("Content-Length", "30");
    request.to_bytes()
}

/// Behind a proxy, whose connections are not counted, nobody could get in otherwise.
#[tokio::test]
async fn an_address_behind_a_proxy_has_no_more_under_way_than_it_could_have_connections() {
    let server = bounded(|chat| {
        let chat = chat.trusted_proxy(Ipv4Addr::LOCALHOST.into());
        let chat = chat.moderator_password("between us").expect("a password");
        chat.message_rate(1_000.0)
    })
    .await;
    let address = server.address();
    let ask_for = async |forwarded_for: &str| {
        let request = Request::get("/chat/lobby/messages");
        ask(address, request.header("X-Forwarded-For", forwarded_for)).await
    };
    for target in ["/moderator", "/chat?name=a", "/chat/lobby/hook"] {
        let mut held = idle(&server, CONNECTIONS).await;
        for client in &mut held {
            client.send(&slow_body(target, "192.0.2.1")).await;
        }
        // The others have what they always have, when the last head was read too.
        eventually("all are under way", async || {
            ask_for("192.0.2.2").await.expect(200, "");
            ask_for("192.0.2.1").await.status == 429
        })
        .await;
        let refused = ask_for("192.0.2.1").await;
        assert!(refused.header("retry-after").is_some());
        refused.expect(429, "too-many-streams");
        let health = Request::get("/healthz").header("X-Forwarded-For", "192.0.2.1");
        ask(address, health).await.expect(200, "");
        drop(held);
        eventually("their end", async || {
            ask_for("192.0.2.1").await.status == 200
        })
        .await;
    }
}

/// The heartbeat of this server is too far away for a failing write to show who left.
#[tokio::test]
async fn who_leaves_a_stream_or_a_wait_gives_its_place_up_at_once() {
    let server = Server::with(|chat| chat.heartbeat(Duration::from_secs(60))).await;
    let address = server.address();
    let streams = async |count| {
        eventually("the streams", async || {
            figure(address, "chatroom_streams").await == count
        })
        .await;
    };
    for half in [true, false] {
        let mut stream = EventStream::open(address, &format!("/chat?name=a{half}")).await;
        stream.telling().await;
        // A message is written before the client leaves, and one connection has had two requests.
        ask(address, Request::post_text("/chat?name=b", "hello"))
            .await
            .expect(201, "");
        stream.message().await;
        let mut waiting = Client::connect(address).await;
        waiting.ask(&Request::get("/healthz")).await.expect(200, "");
        let after = get(address, "/chat/lobby/messages").await.json()["next"].clone();
        let after = after.as_str().expect("an id").to_owned();
        let wait = Request::get(&format!("/chat/lobby/messages?wait=50&after={after}"));
        waiting.send(&wait.to_bytes()).await;
        streams(2).await;
        let mut silent = Client::connect(address).await;
        silent.send(&Request::get("/chat").to_bytes()).await;
        silent.head().await.expect("a stream begins");
        streams(3).await;
        if half {
            silent.socket().shutdown().await.expect("a socket");
            waiting.socket().shutdown().await.expect("a socket");
            streams(1).await;
        }
        drop((stream, silent, waiting));
        streams(0).await;
    }
}
