//! Whoever comes back has every message exactly once and in order, or is told that it has not.

use crate::common::Change as _;
use std::net::SocketAddr;

use chatroom::EventId;

use crate::common::{
    Client, EventStream, Follower, Progress, Random, Request, Seen, Server, figure, finished, get,
    id_of, in_order, longer, post_all, within,
};

const CLIENTS: u64 = 50;
const POSTERS: usize = 4;
/// Each client has all of them some dozens of connections later.
const MESSAGES: usize = 4_000;
/// Messages that are followed by asking: each client asks anew for almost every one.
const POLLED: usize = 1_000;
const POLLING: u64 = 20;

/// Starts the posters, and collects what was posted.
async fn posters(address: SocketAddr, messages: usize) -> Vec<EventId> {
    let posters: Vec<_> = (0..POSTERS)
        .map(|poster| {
            let texts = (0..messages / POSTERS).map(move |n| format!("message {n} of {poster}"));
            tokio::spawn(post_all(
                address,
                [
                    "/chat?name=a",
                    "/chat?name=b",
                    "/chat?name=c",
                    "/chat?name=d",
                ][poster],
                texts,
            ))
        })
        .collect();
    let mut posted = Vec::new();
    for poster in posters {
        posted.push(finished("the poster", poster).await);
    }
    in_order(posted)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_drop_and_resume_at_random_moments_have_everything_once_and_in_order() {
    for round in 0..longer() {
        drop_and_resume_all(round * CLIENTS).await;
    }
}

async fn drop_and_resume_all(first_seed: u64) {
    let server = Server::with(|chat| chat.history(0).history_bytes(0)).await;
    let address = server.address();
    let mut clients = Vec::new();
    for seed in first_seed..first_seed + CLIENTS {
        let (follower, seen) = Follower::join(address, "/chat?history=0").await;
        clients.push(tokio::spawn(drop_and_resume(address, seed, follower, seen)));
    }
    let truth = posters(address, MESSAGES).await;
    for client in clients {
        let seen = finished("the client", client).await;
        assert!(seen.greetings > 10, "{} connections", seen.greetings);
        assert!(seen.gaps.is_empty(), "told of gaps: {:?}", seen.gaps);
        assert_eq!(seen.messages, truth);
    }
    assert_eq!(figure(address, "chatroom_gaps_told_total").await, 0);
    assert!(figure(address, "chatroom_resumes_total").await > 10 * CLIENTS);
}

/// Reads some bytes, which end in the middle of an event as a rule, drops the connection in one of
/// the two ways there are, and comes back; until it has seen as many messages as there are.
async fn drop_and_resume(
    address: SocketAddr,
    seed: u64,
    mut follower: Follower,
    mut seen: Seen,
) -> Seen {
    let mut chance = Random::seeded(seed);
    loop {
        let mut bytes = 1 + chance.below(60_000);
        while bytes > 0 && seen.messages.len() < MESSAGES {
            let most = bytes.min(1 + chance.below(8_000));
            let progress = within("the next bytes", follower.read(most, &mut seen)).await;
            assert_eq!(progress, Progress::More);
            bytes -= most;
        }
        if seen.messages.len() >= MESSAGES {
            return seen;
        }
        let socket = follower.into_socket();
        if chance.below(2) == 0 {
            socket.set_zero_linger().expect("a socket can be reset");
        }
        drop(socket);
        follower = within("coming back", Follower::open(address, "/chat", &seen))
            .await
            .expect("the server accepts");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_polling_clients_that_drop_answers_have_everything_once_and_in_order() {
    for round in 0..longer() {
        poll_all(round * POLLING).await;
    }
}

async fn poll_all(first_seed: u64) {
    let server = Server::with(|chat| chat.history(0).history_bytes(0)).await;
    let address = server.address();
    let next = get(address, "/chat/lobby/messages").await.json()["next"].clone();
    let clients: Vec<_> = (first_seed..first_seed + POLLING)
        .map(|seed| {
            tokio::spawn(poll(
                address,
                seed,
                next.as_str().expect("an id").to_owned(),
            ))
        })
        .collect();
    let truth = posters(address, POLLED).await;
    for client in clients {
        assert_eq!(finished("the client", client).await, truth);
    }
}

async fn poll(address: SocketAddr, seed: u64, mut next: String) -> Vec<EventId> {
    let mut chance = Random::seeded(seed);
    let mut seen: Vec<EventId> = Vec::new();
    let mut client = Client::connect(address).await;
    while seen.len() < POLLED {
        let limit = 1 + chance.below(500);
        let request = Request::get(&format!(
            "/chat/lobby/messages?after={next}&limit={limit}&wait=20"
        ));
        if chance.below(4) == 0 {
            // The answer is lost in whole or in part, and asked for again.
            client.send(&request.to_bytes()).await;
            if chance.below(2) == 0 {
                client.head().await.expect("an answer comes");
            }
            client = Client::connect(address).await;
            continue;
        }
        let page = client.ask(&request).await.expect(200, "");
        let text = page.text();
        assert!(text.ends_with("\"missed\":false}"), "{text}");
        let ids = text.split("{\"eventId\":\"").skip(1);
        seen.extend(ids.map(|rest| {
            let (id, _) = rest.split_once('"').expect("an id ends");
            id.parse::<EventId>().expect("an id")
        }));
        let (_, rest) = text.rsplit_once("\"next\":\"").expect("a next");
        next = rest.split_once('"').expect("an id ends").0.to_owned();
    }
    seen
}

#[tokio::test]
async fn a_client_that_is_up_to_date_is_told_so_at_once_and_gets_what_follows() {
    let server = Server::start().await;
    let newest = server
        .chat()
        .post("lobby", "a", "newest")
        .await
        .expect("taken")
        .id;
    let request = Request::get("/chat").header("Last-Event-ID", newest.to_string());
    let mut stream = EventStream::request(server.address(), request).await;
    assert_eq!(id_of(&stream.telling().await.json()), newest);
    let caught_up = stream.telling().await;
    assert!(caught_up.is("caught-up"), "{caught_up:?}");
    assert_eq!(caught_up.id, Some(newest.to_string()));
    server
        .chat()
        .post("lobby", "a", "next")
        .await
        .expect("taken");
    assert_eq!(stream.telling().await.text(), "next");
    assert_eq!(figure(server.address(), "chatroom_resumes_total").await, 1);
}

#[tokio::test]
async fn a_position_of_a_megabyte_is_refused_and_costs_nobody_else_anything() {
    let server = Server::start().await;
    let mut healthy = EventStream::open(server.address(), "/chat").await;
    healthy.telling().await;
    let huge = "9".repeat(1024 * 1024);
    let mut client = Client::connect(server.address()).await;
    let request = Request::get("/chat").header("Last-Event-ID", &huge);
    // The server may close while the rest is on its way.
    let _ = tokio::io::AsyncWriteExt::write_all(client.socket(), &request.to_bytes()).await;
    let head = client.head().await.expect("an answer comes");
    assert_eq!(head.status, 431, "{}", head.head);
    server
        .chat()
        .post("lobby", "a", "hello")
        .await
        .expect("taken");
    assert_eq!(healthy.message().await.text(), "hello");
}

#[tokio::test]
async fn a_question_for_history_says_that_something_was_missed() {
    let server = Server::with(|chat| chat.history(2)).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let posted = server.chat().post("lobby", "a", &format!("m{n}")).await;
        ids.push(posted.expect("taken").id.to_string());
    }
    let future = format!("{}-0", u64::MAX);
    for (after, missed, count) in [
        (ids[4].as_str(), false, 0),
        (&ids[3], false, 1),
        (&ids[2], false, 2),
        (&ids[1], true, 2),
        ("1-0", true, 2),
        (&future, true, 2),
    ] {
        let page = get(
            server.address(),
            &format!("/chat/lobby/messages?after={after}"),
        )
        .await
        .json();
        let messages = page["messages"].as_array().expect("a list").len();
        assert_eq!(
            (page["missed"].as_bool(), messages),
            (Some(missed), count),
            "{after}"
        );
        assert_eq!(page["next"], ids[4].as_str(), "{after}");
    }
}
