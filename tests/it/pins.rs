//! How much memory one address can pin at the default limits, whatever it does, the server's and the
//! kernel's together, besides what rooms retain: at most 16 MiB. Each way is tried alone, then all of
//! them together.

use std::net::SocketAddr;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use crate::common::{
    Client, EventStream, Process, Request, ask, encode, eventually, get, until_streams, within,
};

const MIB: u64 = 1024 * 1024;
/// What one address may pin.
const BOUND: u64 = 16 * MIB;
/// What one room retains.
const ROOM: u64 = 262_144;
/// Streams of one address, and its connections beside those.
const STREAMS: usize = 100;
const SPARE: usize = 32;
/// A text of 4,096 bytes that takes 24 KB as JSON.
const LARGE: [u8; 4_096] = [1; 4_096];

/// A server at its default limits, and what it takes before anything happens.
struct Target {
    server: Process,
    before: u64,
}

impl Target {
    async fn start() -> Target {
        let server = Process::start(&["--log", "error"]).await;
        let address = server.address();
        get(address, "/").await.expect(200, "");
        let stream = EventStream::open(address, "/chat?name=first").await;
        get(address, "/chat/lobby/messages").await.expect(200, "");
        drop(stream);
        until_streams(address, 0).await;
        let before = server.resident_bytes();
        Target { server, before }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Checks the highest that the server's memory ever was, and what its sockets hold now.
    fn check(&self, what: &str, rooms: u64) {
        let grown = self.server.peak_bytes().saturating_sub(self.before);
        let pinned = grown.saturating_sub(rooms * ROOM);
        let sockets = self.server.socket_bytes();
        eprintln!("{what}: {} + {} KiB", pinned / 1024, sockets / 1024);
        assert!(
            pinned + sockets <= BOUND,
            "{what}: {pinned} + {sockets} bytes"
        );
    }
}

fn session(n: usize) -> String {
    format!("{n:032x}")
}

/// A client that asks and never reads.
async fn unread(address: SocketAddr, request: &Request) -> Client {
    let mut client = Client::connect_narrow(address, 4 * 1024).await;
    client.send(&request.to_bytes()).await;
    client
}

/// Streams under names of their own that are never read, while large messages go by: each stream
/// holds others.
async fn unread_streams(address: SocketAddr) -> Vec<Client> {
    let mut streams = Vec::new();
    let mut poster = Client::connect(address).await;
    for n in 0..STREAMS {
        let target = format!("/chat?name=n{n}");
        let request = Request::get(&target).header("Accept", "text/event-stream");
        streams.push(unread(address, &request.session(&session(n))).await);
        for _ in 0..2 {
            let post = Request::post_text(&format!("/chat?name=n{n}"), LARGE);
            let answer = poster.ask(&post.session(&session(n))).await;
            // The stream may not have joined yet: then the post is charged to the address.
            assert!(matches!(answer.status, 201 | 429), "{}", answer.head);
        }
    }
    streams
}

/// Bodies in chunks of one byte that never end.
async fn unfinished_bodies(address: SocketAddr, count: usize) -> Vec<Client> {
    let chunks = b"1\r\n \r\n".repeat(24_000);
    let mut clients = Vec::new();
    for n in 0..count {
        let head = Request::new("POST", "/chat/lobby")
            .header("Content-Type", "application/json")
            .header("Transfer-Encoding", "chunked")
            .session(&session(n % STREAMS));
        let bytes = [head.to_bytes(), chunks.clone()].concat();
        let mut client = Client::connect(address).await;
        // One that is refused is closed.
        let _ = client.try_send(&bytes).await;
        clients.push(client);
    }
    clients
}

/// Fills the history of a room with large messages.
async fn post_large(address: SocketAddr) {
    for _ in 0..12 {
        let post = Request::post_text("/chat?name=a", LARGE);
        ask(address, post).await.expect(201, "");
    }
}

async fn unread_histories(address: SocketAddr, count: usize) -> Vec<Client> {
    let request = Request::get("/chat/lobby/messages?limit=500");
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(unread(address, &request).await);
    }
    clients
}

/// Sends the same bytes over and over on each connection, until no more is taken.
async fn stuff(clients: &mut [Client], bytes: &'static [u8]) {
    let full = clients.iter_mut().map(|client| async move {
        let sent = async { while client.socket().write_all(bytes).await.is_ok() {} };
        // What the server takes, it takes at once.
        let _ = tokio::time::timeout(Duration::from_secs(3), sent).await;
    });
    let mut full: Vec<_> = full.map(Box::pin).collect();
    within("full sockets", async {
        std::future::poll_fn(|cx| {
            full.retain_mut(|one| one.as_mut().poll(cx).is_pending());
            if full.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    })
    .await;
}

async fn unfinished_heads(address: SocketAddr, count: usize) -> Vec<Client> {
    let head = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}",
        "x".repeat(15_000)
    );
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(address).await;
        let _ = client.try_send(head.as_bytes()).await;
        clients.push(client);
    }
    clients
}

/// Opens and closes streams of many rooms under ever new names, as fast as it is let, for some time and
/// until it has joined so often.
async fn come_and_go(address: SocketAddr, time: Duration, least: usize) -> usize {
    let begin = Instant::now();
    let mut joined = 0;
    for n in 0.. {
        if begin.elapsed() > time && joined >= least {
            break;
        }
        let name = encode(&format!("{n:08}{}", "🦀".repeat(24)));
        let rooms: Vec<String> = (0..32)
            .map(|room| format!("room={}{:02}", "r".repeat(60), (n % 7) * 32 + room))
            .collect();
        let target = format!("/chat?name={name}&history=0&{}", rooms.join("&"));
        match EventStream::attempt(address, Request::get(&target)).await {
            Ok(_) => joined += 1,
            Err(refused) => assert!(matches!(refused.status, 429 | 503), "{}", refused.text()),
        }
    }
    joined
}

/// Waits until the server has taken in what was sent: it answers somebody else.
async fn settled(target: &Target) {
    within("an answer", async {
        let mut before = 0;
        // The peak stands still once all is read.
        while before != target.server.peak_bytes() {
            before = target.server.peak_bytes();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
}

/// What a stream takes over a connection that has fetched something before.
async fn bytes_per_stream(before: &[&str]) -> u64 {
    const CLIENTS: usize = 900;
    let server = Process::start(&["--max-streams-per-ip=0", "--message-rate=0"]).await;
    let address = server.address();
    for _ in 0..500 {
        let post = Request::post_text("/chat?name=a", "x".repeat(350));
        ask(address, post).await.expect(201, "");
    }
    let begin = server.resident_bytes();
    let mut streams = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Client::connect(address).await;
        for target in before {
            client.ask(&Request::get(target)).await.expect(200, "");
        }
        let request = Request::get("/chat?history=0");
        let stream = EventStream::over(client, request).await;
        streams.push(stream.expect("a stream"));
    }
    let grown = server.resident_bytes().saturating_sub(begin);
    grown / CLIENTS as u64
}

/// What a stream may take, in bytes: a page of each of hyper's buffers, and a little more than one for the rest.
const STREAM: u64 = 13_500;

/// hyper keeps the room of its longest list of pieces as long as a connection lives, and its buffers may
/// lie where earlier requests have used all memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_takes_little_whatever_its_connection_has_fetched_before() {
    let page = ["/", "/chat.css"];
    let history = ["/chat/lobby/messages?limit=500"];
    for (what, before) in [
        ("nothing", &[][..]),
        ("the page", &page),
        ("a history", &history),
        ("both", &["/", "/chat/lobby/messages?limit=500"]),
    ] {
        let bytes = bytes_per_stream(before).await;
        eprintln!("a stream after {what}: {bytes} bytes");
        assert!(bytes < STREAM, "after {what}: {bytes} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_never_read() {
    let target = Target::start().await;
    let _streams = unread_streams(target.address()).await;
    settled(&target).await;
    target.check("unread streams with messages of 24 KB", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_that_are_never_read() {
    let target = Target::start().await;
    post_large(target.address()).await;
    // As many again as its connections: those beyond are closed.
    let _clients = unread_histories(target.address(), 300).await;
    settled(&target).await;
    target.check("300 unread histories", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_never_end() {
    let target = Target::start().await;
    let _clients = unfinished_heads(target.address(), 1_000).await;
    settled(&target).await;
    target.check("1,000 unfinished heads", 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_never_end() {
    let target = Target::start().await;
    let _clients = unfinished_bodies(target.address(), STREAMS + SPARE).await;
    settled(&target).await;
    target.check("unfinished bodies in chunks of one byte", 0);
}

/// hyper reads no further behind a stream, so all this stays in the kernel.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_behind_streams() {
    let target = Target::start().await;
    let mut streams = unread_streams(target.address()).await;
    stuff(&mut streams, &[b'x'; 16 * 1024]).await;
    settled(&target).await;
    target.check("bytes behind streams", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_answers_that_pile_up() {
    let target = Target::start().await;
    for (what, request) in [
        (
            "the page",
            "GET /js/main.js HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        ("nothing", "GET /no HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ] {
        let mut clients = Vec::new();
        for _ in 0..STREAMS + SPARE {
            clients.push(Client::connect_narrow(target.address(), 4 * 1024).await);
        }
        stuff(&mut clients, request.as_bytes()).await;
        settled(&target).await;
        target.check(&format!("requests for {what} and unread answers"), 0);
    }
}

/// What a client that is cut has not taken goes with it. The kernel would keep it for minutes.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_were_cut() {
    let target = Target::start().await;
    let _streams = unread_streams(target.address()).await;
    settled(&target).await;
    assert!(target.server.socket_bytes() > MIB);
    // What the kernel kept for a client that was cut would stay for longer.
    let are_cut = async || target.server.socket_bytes() < MIB / 8;
    eventually("they are cut", are_cut).await;
}

/// What the kernel still has for a client when its connection ends counts as long as it is there.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_end_with_an_unread_answer() {
    let target = Target::start().await;
    post_large(target.address()).await;
    let request = Request::get("/chat/lobby/messages?limit=1").to_bytes();
    let mut all = Vec::new();
    for _ in 0..3 {
        for n in 0..STREAMS + SPARE {
            let mut client = Client::connect_narrow(target.address(), 4 * 1024).await;
            // Ended by the client's side, or by what is no request.
            let end = if n % 2 == 0 { &b""[..] } else { b"\r\rx" };
            let _ = client.try_send(&[&request, end].concat()).await;
            let _ = client.socket().shutdown().await;
            all.push(client);
        }
        settled(&target).await;
        target.check("connections that ended with an unread answer", 1);
    }
    let is_gone = async || target.server.socket_bytes() < MIB / 8;
    eventually("their end", is_gone).await;
}

/// Each takes a thread for a while, and threads are kept.
#[tokio::test(flavor = "multi_thread")]
async fn figures_that_all_ask_for() {
    let target = Target::start().await;
    let before = target.server.threads();
    let mut clients = Vec::new();
    for _ in 0..STREAMS + SPARE {
        clients.push(Client::connect(target.address()).await);
    }
    for _ in 0..5 {
        for client in &mut clients {
            client.send(&Request::get("/metrics").to_bytes()).await;
        }
        for client in &mut clients {
            client.response("GET").await.expect(200, "");
        }
    }
    let threads = target.server.threads() - before;
    assert!(threads <= 8, "{threads} more threads");
    target.check("figures", 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_come_and_go() {
    let target = Target::start().await;
    let joined = come_and_go(target.address(), Duration::from_secs(8), 25).await;
    // Each counts as four towards the rate.
    assert!(joined <= 50, "{joined} streams");
    target.check("streams of 32 rooms under new names", 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_together() {
    let target = Target::start().await;
    let address = target.address();
    come_and_go(address, Duration::from_secs(2), 25).await;
    let mut streams = unread_streams(address).await;
    stuff(&mut streams, &[b'x'; 16 * 1024]).await;
    let histories = unread_histories(address, 10).await;
    let bodies = unfinished_bodies(address, SPARE).await;
    let heads = unfinished_heads(address, SPARE).await;
    settled(&target).await;
    target.check("all of it", 1);
    drop((streams, histories, bodies, heads));
}
