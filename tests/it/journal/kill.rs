//! A server that is killed at random moments, again and again, loses nothing that it answered.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use chatroom::EventId;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::{entries, held};
use crate::common::{
    Client, Folder, Follower, Process, Progress, Random, Request, Seen, finished, id_of, longer,
    within,
};

const POSTERS: u64 = 4;
const FOLLOWERS: usize = 3;
/// How often the server is killed.
const KILLS: u64 = 6;
/// A server answers so many posts at most before it is killed.
const MOST_POSTS: usize = 120;

/// Which server it is, counted from the first, and where.
type Whereabouts = watch::Receiver<(u64, SocketAddr)>;

#[tokio::test(flavor = "multi_thread")]
async fn every_answered_message_survives_kills_at_random_moments_once_and_in_order() {
    let kills = KILLS * longer();
    let folder = Folder::new();
    let arguments = [
        "--data",
        folder.as_str(),
        "--fsync=always",
        "--history=0",
        "--history-bytes=0",
        "--message-rate=0",
        "--max-streams-per-ip=0",
    ];
    let mut server = Process::start(&arguments).await;
    let (place, whereabouts) = watch::channel((0, server.address()));
    let (over, is_over) = watch::channel(false);
    let (answered, mut answers) = mpsc::unbounded_channel();
    let posters: Vec<_> = (0..POSTERS)
        .map(|n| {
            tokio::spawn(post(
                n,
                whereabouts.clone(),
                is_over.clone(),
                answered.clone(),
            ))
        })
        .collect();
    let (finish, in_all) = watch::channel(usize::MAX);
    let followers: Vec<_> = (0..FOLLOWERS)
        .map(|_| tokio::spawn(follow(whereabouts.clone(), in_all.clone())))
        .collect();

    let mut chance = Random::seeded(kills);
    let mut promised: BTreeMap<EventId, String> = BTreeMap::new();
    for kill in 1..=kills {
        for _ in 0..1 + chance.below(MOST_POSTS) {
            let (id, text) = within("an answer", answers.recv())
                .await
                .expect("they post");
            assert_eq!(promised.insert(id, text), None, "an id twice");
        }
        server.kill().await;
        server = Process::start(&arguments).await;
        place.send_replace((kill, server.address()));
    }
    over.send_replace(true);
    for poster in posters {
        finished("the poster", poster).await;
    }
    drop(answered);
    while let Some((id, text)) = answers.recv().await {
        assert_eq!(promised.insert(id, text), None, "an id twice");
    }

    let stored: Vec<(EventId, String)> = held(server.address())
        .await
        .iter()
        .map(|message| {
            (
                id_of(message),
                message["text"].as_str().expect("a text").to_owned(),
            )
        })
        .collect();
    let ids: Vec<EventId> = stored.iter().map(|(id, _)| *id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "out of order");
    let texts: HashSet<&str> = stored.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts.len(), stored.len(), "a message twice");
    let by_id: BTreeMap<&EventId, &String> = stored.iter().map(|(id, text)| (id, text)).collect();
    for (id, text) in &promised {
        assert_eq!(by_id.get(id), Some(&text), "a promise was broken");
    }
    assert_eq!(entries(folder.path()).len(), stored.len());
    finish.send_replace(stored.len());
    for follower in followers {
        let seen = finished("the follower", follower).await;
        assert!(seen.gaps.is_empty());
        assert_eq!(seen.messages, ids);
    }
}

/// Posts texts of its own, and each again under its key until it is answered.
async fn post(
    n: u64,
    server: Whereabouts,
    is_over: watch::Receiver<bool>,
    answered: mpsc::UnboundedSender<(EventId, String)>,
) {
    let mut count = 0;
    while !*is_over.borrow() {
        let (number, address) = *server.borrow();
        let Ok(socket) = TcpStream::connect(address).await else {
            moved(&server, number).await;
            continue;
        };
        let mut client = Client::from(socket);
        while !*is_over.borrow() {
            let text = format!("{count} of poster {n}");
            let request = Request::post_text(&format!("/chat?name=poster{n}"), &text)
                .header("Idempotency-Key", format!("{n}-{count}"));
            let Some(answer) = client.try_ask(&request).await else {
                break;
            };
            assert!(matches!(answer.status, 200 | 201), "{}", answer.head);
            let id = id_of(&answer.json());
            count += 1;
            answered.send((id, text)).expect("the test listens");
        }
    }
}

/// Follows the lobby through all restarts, until it has as many messages as there are.
async fn follow(server: Whereabouts, in_all: watch::Receiver<usize>) -> Seen {
    let mut seen = Seen::default();
    loop {
        let (number, address) = *server.borrow();
        let Ok(mut follower) = Follower::open(address, "/chat", &seen).await else {
            moved(&server, number).await;
            continue;
        };
        loop {
            if seen.messages.len() >= *in_all.borrow() {
                return seen;
            }
            let read = timeout(Duration::from_millis(200), follower.read(4_096, &mut seen));
            if read.await == Ok(Progress::Broken) {
                break;
            }
        }
    }
}

/// Waits until there is another server.
async fn moved(server: &Whereabouts, from: u64) {
    within("a new server", async {
        while server.borrow().0 == from {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
