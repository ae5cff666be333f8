//! A client that falls behind catches up by the same rule as one that resumes: from the position that
//! it has reached, once and in order, and at last it is told that it has caught up.

use crate::common::Change as _;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use super::{posted, rooms};
use crate::common::{Client, Event, EventStream, Request, Server, post_all, within};

/// Messages of 1 KB that overflow the queue and the socket of a client that does not read.
const BURST: usize = 400;

/// Opens a stream whose socket takes little, and reads what it begins with.
async fn narrow(address: SocketAddr, target: &str) -> EventStream {
    let client = Client::connect_narrow(address, 4 * 1024).await;
    let stream = EventStream::over(client, Request::get(target)).await;
    let mut stream = stream.unwrap_or_else(|refused| panic!("{}", refused.text()));
    stream.caught_up().await;
    stream
}

async fn burst(address: SocketAddr, target: &str) -> Vec<String> {
    let texts = (0..BURST).map(|n| format!("{n} {}", "x".repeat(1_000)));
    let ids = post_all(address, target, texts).await;
    ids.iter().map(ToString::to_string).collect()
}

fn ids_of(events: &[Event], name: &str) -> Vec<String> {
    let events = events.iter().filter(|event| event.is(name));
    events.filter_map(|event| event.id.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gets_all_that_is_retained_after_its_position_and_is_told_of_the_rest_in_its_place() {
    for history in [BURST, BURST / 8] {
        let server = Server::with(|chat| chat.history(history).history_bytes(0)).await;
        let address = server.address();
        let mut stream = narrow(address, "/chat/a").await;
        let ids = burst(address, "/chat/a?name=bot").await;
        let past = stream.caught_up().await;
        assert_eq!(
            ids_of(&past, "caught-up"),
            ids[BURST - 1..],
            "the newest id"
        );
        let got = ids_of(&past, "new-message");
        let missed = ids_of(&past, "messages-missed");
        if history == BURST {
            assert_eq!((got, missed), (ids, vec![]));
        } else {
            // What its queue and its socket had, the notice at the mark, and all that is above it.
            let queued = got.len() - history;
            assert!(queued > 0 && queued < BURST - history, "{queued}");
            assert_eq!(got[..queued], ids[..queued]);
            assert_eq!(got[queued..], ids[BURST - history..]);
            assert_eq!(missed, ids[BURST - history - 1..BURST - history]);
            let notice = past.iter().filter(|event| event.id.is_some()).nth(queued);
            assert!(notice.is_some_and(|event| event.is("messages-missed")));
        }
        // It was greeted once, and from now on everything is new.
        assert!(!past.iter().any(|event| event.is("chat-room-connected")));
        let next = posted(address, "a", "next").await;
        assert_eq!(stream.message().await.id, Some(next.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gets_the_rosters_that_may_have_changed_unseen_and_no_others() {
    let server = Server::with(|chat| chat.history(BURST).history_bytes(0)).await;
    let address = server.address();
    let mut stream = narrow(address, &rooms(&["a", "b", "c"])).await;
    // Once each room has told of its new listeners, only bob changes anything.
    let mut watchers = Vec::new();
    for room in ["a", "b", "c"] {
        watchers.push(EventStream::open(address, &format!("/chat/{room}")).await);
    }
    for watcher in &mut watchers {
        watcher.caught_up().await;
        watcher.until("members-changed").await;
    }
    burst(address, "/chat/a?name=bot").await;
    stream.caught_up().await;
    burst(address, "/chat/a?name=bot").await;
    let _bob = EventStream::open(address, "/chat/b?name=bob").await;
    within("bob", async {
        while watchers[1].until("members-changed").await.json()["joined"] != json!(["bob"]) {}
    })
    .await;
    let past = stream.caught_up().await;
    let rosters: Vec<_> = past
        .iter()
        .filter(|event| event.is("members-changed"))
        .collect();
    let [roster] = rosters[..] else {
        panic!("one roster: {rosters:?}");
    };
    let roster = roster.json();
    assert_eq!(
        (&roster["room"], &roster["members"]),
        (&json!("b"), &json!(["bob"]))
    );
    assert!(
        past[past.len() - 2].is("members-changed"),
        "right before the end"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn at_shutdown_it_gets_all_that_is_retained_and_then_the_goodbye() {
    let mut server = Server::with(|chat| {
        let chat = chat.history(BURST).history_bytes(0);
        chat.drain(Duration::from_secs(60))
    })
    .await;
    let address = server.address();
    let mut stream = narrow(address, "/chat/a").await;
    let ids = burst(address, "/chat/a?name=bot").await;
    server.begin_stop();
    let mut past = Vec::new();
    while let Some(event) = stream.next().await {
        past.push(event);
    }
    assert!(stream.ended_cleanly());
    assert_eq!(ids_of(&past, "new-message"), ids);
    let goodbye = past.pop().expect("a goodbye");
    assert_eq!(goodbye.json(), json!({"reason": "shutdown"}));
    assert!(goodbye.is("server-closing") && goodbye.id.is_none() && goodbye.retry.is_some());
    assert!(!past.iter().any(|event| event.is("server-closing")), "once");
    server.stop().await;
}
