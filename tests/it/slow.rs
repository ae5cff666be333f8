//! No client, however slow or dead, costs the others anything; and a slow one that still reads
//! keeps its connection.

use crate::common::Change as _;
use std::net::SocketAddr;
use std::time::Duration;

use chatroom::EventId;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use crate::common::{
    Client, Follower, Process, Progress, Request, Seen, Server, eventually, figure, finished,
    in_order, post_all, until_streams, within,
};

const HEALTHY: usize = 50;
const MESSAGES: usize = 10_000;
const ROUND: usize = 250;
/// Bytes of the texts: so many of them pass that any that were kept for the stalled client show.
const TEXT_BYTES: usize = 800;
/// What the server's memory may grow by while they pass, in bytes: an eighth of what passes.
const GROWTH: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_cut_and_the_others_have_everything() {
    let server = Process::start(&[
        "--write-timeout=2",
        "--message-rate=0",
        "--max-streams-per-ip=0",
    ])
    .await;
    let address = server.address();
    let mut stalled = Client::connect_narrow(address, 4 * 1024).await;
    stalled.send(&Request::get("/chat").to_bytes()).await;
    stalled.head().await.expect("the stream begins");

    let (progress, mut followers) = healthy(address).await;
    assert_eq!(
        figure(address, "chatroom_streams").await,
        HEALTHY as u64 + 1
    );
    let mut truth = Vec::new();
    let (mut at_first, mut most) = (0, 0);
    for round in 1..=MESSAGES / ROUND {
        let texts = std::iter::repeat_n("x".repeat(TEXT_BYTES), ROUND);
        truth.push(post_all(address, "/chat?name=a", texts).await);
        // So that none falls behind, and what memory is used is the stalled client's.
        for follower in &progress {
            let has = |seen: &usize| *seen >= round * ROUND;
            let mut follower = follower.clone();
            within("a round", follower.wait_for(has))
                .await
                .expect("it follows");
        }
        // After some rounds the history is full, and all has been used that will be used again.
        match round {
            0..=4 => at_first = server.resident_bytes(),
            _ => most = most.max(server.resident_bytes()),
        }
    }
    let truth = in_order(truth);
    let mut streams = Vec::new();
    for follower in followers.drain(..) {
        let (stream, seen) = finished("the follower", follower).await;
        assert!(seen.gaps.is_empty() && seen.greetings == 1);
        assert_eq!(seen.messages, truth);
        streams.push(stream);
    }
    assert!(most < at_first + GROWTH, "{most} bytes from {at_first}");
    eventually("the cut", async || {
        figure(address, "chatroom_stalled_writes_cut_total").await == 1
            && figure(address, "chatroom_streams").await == HEALTHY as u64
    })
    .await;
    assert!(server.resident_bytes() < at_first + GROWTH);
    server.said("took nothing").await;
}

/// What is kept for one client that never reads, in bytes: its queue of frames, what the server's
/// buffers hold for it, and as much again.
const PINNED: u64 = 128 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_read_pin_little_even_if_they_are_never_cut() {
    const STALLED: usize = 20;
    let server = Process::start(&[
        "--write-timeout=0",
        "--message-rate=0",
        "--max-streams-per-ip=0",
    ])
    .await;
    let address = server.address();
    let post = async |count| {
        let texts = std::iter::repeat_n("x".repeat(TEXT_BYTES), count);
        post_all(address, "/chat?name=a", texts).await
    };
    // Fills the history, which is no stalled client's.
    post(500).await;
    let before = server.resident_bytes();
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let mut client = Client::connect_narrow(address, 4 * 1024).await;
        let request = Request::get("/chat?history=0");
        client.send(&request.to_bytes()).await;
        client.head().await.expect("the stream begins");
        stalled.push(client);
    }
    post(5_000).await;
    let pinned = server.resident_bytes().saturating_sub(before) / STALLED as u64;
    assert!(pinned < PINNED, "{pinned} bytes for each");
    assert_eq!(figure(address, "chatroom_streams").await, STALLED as u64);
    drop(stalled);
    until_streams(address, 0).await;
}

/// Opens the streams of those who read, and tells how many messages each has.
async fn healthy(
    address: SocketAddr,
) -> (
    Vec<watch::Receiver<usize>>,
    Vec<JoinHandle<(Follower, Seen)>>,
) {
    let mut progress = Vec::new();
    let mut followers = Vec::new();
    for _ in 0..HEALTHY {
        let (mut follower, mut seen) = Follower::join(address, "/chat").await;
        let (sender, receiver) = watch::channel(0);
        progress.push(receiver);
        followers.push(tokio::spawn(async move {
            while seen.messages.len() < MESSAGES {
                follower.follow(seen.messages.len() + 1, &mut seen).await;
                sender.send_replace(seen.messages.len());
            }
            (follower, seen)
        }));
    }
    (progress, followers)
}

/// Longer than the slow client takes to make the kernel's buffers move, shorter than it is slow.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
const SLOW_FOR: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_loses_nothing_or_is_told_and_is_never_cut() {
    let held = async {
        let (seen, truth) = read_slowly(0).await;
        assert!(seen.gaps.is_empty());
        assert_eq!(seen.messages, truth);
    };
    let gone = async {
        let (seen, truth) = read_slowly(100).await;
        assert!(!seen.gaps.is_empty(), "it must have missed some");
        // Between two gaps it has a piece of the truth without a hole.
        let mut bounds = vec![0];
        bounds.extend(&seen.gaps);
        bounds.push(seen.messages.len());
        for piece in bounds
            .windows(2)
            .map(|pair| &seen.messages[pair[0]..pair[1]])
        {
            let Some(first) = piece.first() else { continue };
            let at = truth.binary_search(first).expect("a message of the room");
            assert_eq!(piece, &truth[at..at + piece.len()]);
        }
        assert!(seen.messages.is_sorted());
        assert_eq!(seen.messages.last(), truth.last());
    };
    tokio::join!(held, gone);
}

/// Reads 10 KB a second while 4,000 messages pass, then as fast as it can.
async fn read_slowly(history: usize) -> (Seen, Vec<EventId>) {
    let server = Server::with(|chat| {
        chat.history(history)
            .history_bytes(0)
            .write_timeout(WRITE_TIMEOUT)
    })
    .await;
    let mut seen = Seen::default();
    let mut client = Client::connect_narrow(server.address(), 16 * 1024).await;
    client
        .send(&Request::get("/chat?name=slow").to_bytes())
        .await;
    let mut follower = Follower::of(client);
    follower.catch_up(&mut seen).await;
    let chat = server.chat().clone();
    let poster = tokio::spawn(async move {
        let mut truth = Vec::new();
        for _ in 0..4_000 {
            let posted = chat.post("lobby", "a", &"x".repeat(500)).await;
            truth.push(posted.expect("it is taken").id);
        }
        truth
    });
    let mut ticks = interval(Duration::from_millis(100));
    let began = Instant::now();
    while began.elapsed() < SLOW_FOR {
        ticks.tick().await;
        let progress = within("the next bytes", follower.read(1_000, &mut seen)).await;
        assert_eq!(progress, Progress::More);
    }
    assert!(seen.messages.len() < 1_000, "it was to be slow");
    let truth = within("the posts", poster).await.expect("all are taken");
    within("the rest, and the roster", async {
        // The first roster and the first `caught-up` came at the start.
        while seen.messages.last() != truth.last() || seen.rosters < 2 || seen.catch_ups < 2 {
            let progress = follower.read(64 * 1024, &mut seen).await;
            assert_eq!(progress, Progress::More);
        }
    })
    .await;
    let address = server.address();
    assert_eq!(seen.greetings, 1, "it was never disconnected");
    assert_eq!(
        figure(address, "chatroom_stalled_writes_cut_total").await,
        0
    );
    assert!(figure(address, "chatroom_catch_ups_total").await >= 1);
    assert_eq!(figure(address, "chatroom_members").await, 1);
    (seen, truth)
}
