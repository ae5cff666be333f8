//! How long a post of somebody else takes while one address reads as fast as it can. It measures and is
//! not run by default: `cargo test --release --test it flood:: -- --ignored --nocapture`.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::common::{Client, EventStream, Process, Request, within};

/// Connections of the address that reads.
const READERS: usize = 128;
const ROOMS: usize = 256;
/// How often somebody else posts during each flood.
const POSTS: usize = 200;
/// The time between two of those posts.
const PAUSE: Duration = Duration::from_millis(25);
/// What such a post may take in the middle: nobody notices that.
const GOAL: Duration = Duration::from_millis(5);

/// Fills all rooms with messages of which the newest were removed.
async fn fill(address: SocketAddr) {
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        tasks.spawn(async move {
            let mut client = Client::connect(address).await;
            for room in (task..ROOMS).step_by(8) {
                for n in 0..60 {
                    let post =
                        Request::post_text(&format!("/chat/r{room}?name=a"), "x".repeat(200));
                    let posted = client
                        .ask(&post.session(SESSION))
                        .await
                        .expect(201, "")
                        .json();
                    if n >= 50 {
                        let id = posted["eventId"].as_str().expect("an id");
                        let target = format!("/chat/r{room}/messages/{id}");
                        let remove = Request::new("DELETE", &target).session(SESSION);
                        client.ask(&remove).await.expect(200, "");
                    }
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no panic");
    }
}

const SESSION: &str = "0123456789abcdef0123456789abcdef";

/// Asks for ever, and reads whatever comes.
async fn read(address: SocketAddr, target: String) {
    let request = Request::get(&target);
    loop {
        if target.starts_with("/chat?") {
            // Whoever is refused asks again, like those who are not.
            let _ = EventStream::attempt(address, request.clone()).await;
            continue;
        }
        let mut client = Client::connect(address).await;
        while client.try_ask(&request).await.is_some() {}
    }
}

/// A connection from another address of loopback.
async fn stranger(server: SocketAddr) -> Client {
    let socket = TcpSocket::new_v4().expect("a socket");
    let other: IpAddr = [127, 0, 0, 2].into();
    socket
        .bind((other, 0).into())
        .expect("all of 127.0.0.0/8 is this machine");
    let socket = within("connecting", socket.connect(server)).await;
    Client::from(socket.expect("the server accepts"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures"]
async fn posts_of_others_while_one_address_reads_as_fast_as_it_can() {
    let rooms: Vec<String> = (0..32).map(|n| format!("room=r{}", n * 8)).collect();
    let streams = format!("/chat?{}", rooms.join("&"));
    let from_the_start = format!("{streams}&lastEventId=0-0");
    let mut slow = Vec::new();
    for target in [
        "",
        "/",
        "/rooms",
        "/chat/r1/messages?limit=500",
        &streams,
        &from_the_start,
        "/metrics",
        "/nothing",
    ] {
        let server = Process::start(&["--message-rate=0", "--log=error"]).await;
        let address = server.address();
        fill(address).await;
        let mut readers = JoinSet::new();
        for _ in 0..READERS {
            if !target.is_empty() {
                readers.spawn(read(address, target.to_owned()));
            }
        }
        let mut poster = stranger(address).await;
        let mut ticks = interval(PAUSE);
        let mut took = Vec::new();
        for _ in 0..POSTS {
            ticks.tick().await;
            let began = Instant::now();
            let post = Request::post_text("/chat/r0?name=b", "hello");
            poster.ask(&post).await.expect(201, "");
            took.push(began.elapsed());
        }
        took.sort_unstable();
        let (p50, p99) = (took[POSTS / 2], took[POSTS * 99 / 100]);
        let what = target.get(..20).unwrap_or(target);
        println!("{what:20} p50 {p50:.2?}, p99 {p99:.2?}");
        if p50 > GOAL {
            slow.push(what.to_owned());
        }
    }
    assert!(
        slow.is_empty(),
        "more than {GOAL:?} in the middle: {slow:?}"
    );
}
