//! Step 3: a client that comes late, or comes back.

use crate::common::{Client, EventStream, Request};
use crate::{id, ids_up_to, resume, say, say_over, start};

/// One more than step 3 retains.
const MORE_THAN_RETAINED: usize = 501;
/// Who posts at once, and how often: together fewer than it retains.
const POSTERS: usize = 4;
const POSTS: usize = 100;

#[tokio::test]
async fn step3_resumes_where_the_client_was() {
    let forgetful = start(2).await;
    say(forgetful.address(), "before").await;
    let mut stream = resume(forgetful.address(), 0).await;
    stream.until("chat-room-connected").await;
    say(forgetful.address(), "after").await;
    assert_eq!(stream.message().await.text(), "after");

    let server = start(3).await;
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        ids.push(say(server.address(), text).await);
    }
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let mut newcomer = EventStream::open(server.address(), "/chat").await;
    assert_eq!(ids_up_to(&mut newcomer, ids[2]).await, ids);
    for seen in 0..2 {
        let mut stream = resume(server.address(), ids[seen]).await;
        assert!(stream.event().await.is("chat-room-connected"));
        assert_eq!(ids_up_to(&mut stream, ids[2]).await, ids[seen + 1..]);
        let now = stream.event().await;
        assert!(now.is("caught-up") && id(&now) == ids[2], "{}", now.raw);
    }
    let mut stream = resume(server.address(), ids[2]).await;
    assert!(stream.event().await.is("chat-room-connected"));
    assert!(stream.event().await.is("caught-up"), "nothing is the past");
    let live = say(server.address(), "four").await;
    assert_eq!(ids_up_to(&mut stream, live).await, [live]);
}

#[tokio::test]
async fn step3_tells_a_gap() {
    let server = start(3).await;
    let mut client = Client::connect(server.address()).await;
    let mut ids = Vec::new();
    for _ in 0..MORE_THAN_RETAINED {
        ids.push(say_over(&mut client, "x").await);
    }
    let last = *ids.last().expect("some were posted");
    let mut whole = resume(server.address(), ids[0]).await;
    assert!(whole.event().await.is("chat-room-connected"));
    assert_eq!(ids_up_to(&mut whole, last).await, ids[1..]);
    let mut fresh = EventStream::open(server.address(), "/chat")
        .await
        .caught_up()
        .await;
    fresh.retain(|event| event.is("messages-missed"));
    assert!(fresh.is_empty(), "whoever comes first has missed nothing");
    for unknown in [0, ids[0] - 1, last + 1] {
        let mut stream = resume(server.address(), unknown).await;
        assert!(stream.event().await.is("chat-room-connected"));
        let missed = stream.event().await;
        assert!(missed.is("messages-missed"), "{}", missed.raw);
        assert_eq!(id(&missed), ids[0], "the last that is gone");
        assert_eq!(ids_up_to(&mut stream, last).await, ids[1..]);
    }
    let request = Request::get("/chat").header("Last-Event-ID", "é");
    let mut stream = EventStream::request(server.address(), request).await;
    assert!(stream.event().await.is("chat-room-connected"));
    assert!(stream.event().await.is("messages-missed"));
}

/// A message that falls between backlog and registration would be missing; one that is in both
/// would come twice.
#[tokio::test(flavor = "multi_thread")]
async fn step3_joins_without_a_gap_while_others_post() {
    let server = start(3).await;
    let address = server.address();
    let posters: Vec<_> = (0..POSTERS)
        .map(|_| {
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                let mut ids = Vec::new();
                for _ in 0..POSTS {
                    ids.push(say_over(&mut client, "x").await);
                }
                ids
            })
        })
        .collect();
    let mut streams = Vec::new();
    while !posters.iter().all(|poster| poster.is_finished()) {
        streams.push(EventStream::open(address, "/chat").await);
    }
    let mut posted = Vec::new();
    for poster in posters {
        posted.extend(poster.await.expect("the poster does not panic"));
    }
    posted.sort_unstable();
    for stream in &mut streams {
        let seen = ids_up_to(stream, posted[posted.len() - 1]).await;
        assert_eq!(seen, posted);
    }
}
