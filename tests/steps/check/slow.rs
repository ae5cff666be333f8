//! Step 4: a client that does not read, and a room in which nothing happens.

use std::net::SocketAddr;

use crate::common::{Client, EventStream, Request, within};
use crate::{ids_up_to, resume, say_over, start};

/// The longest text that the steps accept.
const TEXT_BYTES: usize = 4096;
/// Messages between two looks at who is there: fewer than the room retains.
const ROUND: usize = 50;
/// Enough for the largest buffers that a kernel gives to a loopback connection.
const ROUNDS: usize = 200;

/// A client that opens a stream and then does not read.
async fn stalled(address: SocketAddr) -> EventStream {
    let client = Client::connect_narrow(address, 4096).await;
    let stream = EventStream::over(client, Request::get("/chat")).await;
    stream.unwrap_or_else(|refused| panic!("{}", refused.head))
}

async fn listeners(address: SocketAddr) -> u64 {
    let greeting = EventStream::open(address, "/chat").await.event().await;
    greeting.json()["listenerCount"].as_u64().expect("a number") - 1
}

/// Posts until no client is left that does not read. Returns the ids; fails where it stays.
async fn post_until_alone(address: SocketAddr, rounds: usize) -> Result<Vec<u64>, Vec<u64>> {
    let text = "x".repeat(TEXT_BYTES);
    let mut client = Client::connect(address).await;
    let mut ids = Vec::new();
    for _ in 0..rounds {
        for _ in 0..ROUND {
            ids.push(say_over(&mut client, &text).await);
        }
        if listeners(address).await == 0 {
            return Ok(ids);
        }
    }
    Err(ids)
}

#[tokio::test(flavor = "multi_thread")]
async fn step4_lets_a_slow_client_go_and_it_loses_nothing() {
    let server = start(4).await;
    let address = server.address();
    let mut slow = stalled(address).await;
    let posted = post_until_alone(address, ROUNDS).await;
    let posted = posted.expect("the room drops a client that does not read");
    let mut seen = Vec::new();
    while let Some(event) = slow.next().await {
        if event.is("new-message") {
            seen.push(crate::id(&event));
        }
    }
    assert!(slow.ended_cleanly());
    assert!(seen.len() < posted.len());
    let mut again = resume(address, seen[seen.len() - 1]).await;
    seen.extend(ids_up_to(&mut again, posted[posted.len() - 1]).await);
    assert_eq!(seen, posted);
}

#[tokio::test(flavor = "multi_thread")]
async fn step3_queues_without_end_for_a_slow_client() {
    let server = start(3).await;
    let mut slow = stalled(server.address()).await;
    // Several times the history of step 4.
    let posted = post_until_alone(server.address(), 40).await;
    let posted = posted.expect_err("the room keeps the client");
    let seen = ids_up_to(&mut slow, posted[posted.len() - 1]).await;
    assert_eq!(seen, posted);
}

#[tokio::test(flavor = "multi_thread")]
async fn step4_serves_the_others_meanwhile() {
    let server = start(4).await;
    let address = server.address();
    let _slow = stalled(address).await;
    let mut fast = EventStream::open(address, "/chat").await;
    let mut client = Client::connect(address).await;
    let text = "x".repeat(TEXT_BYTES);
    for _ in 0..1_000 {
        let id = say_over(&mut client, &text).await;
        assert_eq!(ids_up_to(&mut fast, id).await, [id]);
    }
}

#[tokio::test]
async fn step4_sends_heartbeats() {
    let server = start(4).await;
    let mut stream = EventStream::open(server.address(), "/chat").await;
    stream.caught_up().await;
    let beat = within("a heartbeat", stream.event()).await;
    assert!(beat.is("heartbeat"), "{}", beat.raw);
    assert!(beat.json()["sentAt"].is_u64());
}
