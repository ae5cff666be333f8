//! Many at once: nobody is disconnected, everyone has all, and nothing is left behind.

use crate::common::Change as _;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::common::{
    Follower, Process, Random, Seen, Server, figure, finished, in_order, post_all, within,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_posts_from_many_reaches_every_healthy_client() {
    const CLIENTS: usize = 500;
    const POSTERS: usize = 64;
    const MESSAGES: usize = 2_000;
    let server = Server::with(|chat| chat.history(MESSAGES).history_bytes(0)).await;
    let address = server.address();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (mut follower, mut seen) = Follower::join(address, "/chat").await;
        clients.push(tokio::spawn(async move {
            follower.follow(MESSAGES, &mut seen).await;
            (follower, seen)
        }));
    }
    let posters: Vec<_> = (0..POSTERS)
        .map(|poster| {
            let count = MESSAGES / POSTERS + usize::from(poster < MESSAGES % POSTERS);
            tokio::spawn(async move {
                let target = format!("/chat?name=poster{poster}");
                post_all(
                    address,
                    &target,
                    std::iter::repeat_n("a word".to_owned(), count),
                )
                .await
            })
        })
        .collect();
    let mut posted = Vec::new();
    for poster in posters {
        posted.push(finished("the poster", poster).await);
    }
    let truth = in_order(posted);
    let mut streams = Vec::new();
    for client in clients {
        let (follower, seen) = finished("the client", client).await;
        assert!(seen.gaps.is_empty() && seen.greetings == 1);
        assert_eq!(seen.messages, truth);
        streams.push(follower);
    }
    assert_eq!(figure(address, "chatroom_streams").await, CLIENTS as u64);
}

/// What the server may keep of 5,000 clients that came and went, in bytes. The queue of one alone
/// takes twice its share of that; the rest is what an allocator's fragments differ by.
const LEFT_BEHIND: u64 = 640 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connects_and_disconnects_leave_nothing_behind() {
    // The C library's memory is divided among threads, and how, changes from run to run.
    let server =
        Process::start_with(&["--max-streams-per-ip=0"], &[("MALLOC_ARENA_MAX", "1")]).await;
    let address = server.address();
    let files = server.open_files();
    // Those who come then need no more than these did, who reserved more names than the server
    // remembers where it has seen.
    come_and_go(address, 10_000).await;
    empty(&server, files).await;
    let resident = server.resident_bytes();
    come_and_go(address, 5_000).await;
    empty(&server, files).await;
    let left = server.resident_bytes().saturating_sub(resident);
    assert!(left < LEFT_BEHIND, "{left} bytes are left behind");
}

/// Opens streams in many rooms, half of them under a name, and drops them in both ways there are:
/// some at once, some after the greeting.
async fn come_and_go(address: SocketAddr, count: u64) {
    const AT_ONCE: u64 = 40;
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|task| {
            tokio::spawn(async move {
                let mut chance = Random::seeded(task);
                for n in 0..count / AT_ONCE {
                    let room = chance.below(200);
                    let target = match chance.below(2) {
                        0 => format!("/chat/r{room}"),
                        _ => format!("/chat/r{room}?name=n{task}x{n}"),
                    };
                    let follower = Follower::open(address, &target, &Seen::default()).await;
                    let mut socket = follower.expect("the server accepts").into_socket();
                    if chance.below(4) > 0 {
                        let mut some = [0; 512];
                        within("a greeting", socket.read(&mut some))
                            .await
                            .expect("bytes");
                    }
                    if chance.below(2) == 0 {
                        socket.set_zero_linger().expect("a socket can be reset");
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        finished("the client", task).await;
    }
}

/// Waits until nobody is there any more: names stay reserved for ten seconds.
async fn empty(server: &Process, files: usize) {
    let address = server.address();
    within("an empty server", async {
        loop {
            let mut there = 0;
            for gauge in ["streams", "listeners", "members", "rooms", "history_bytes"] {
                there += figure(address, &format!("chatroom_{gauge}")).await;
            }
            if there == 0 && server.open_files() <= files + 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}
