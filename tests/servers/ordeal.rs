//! Posters and followers that live through a fault, and what they may expect.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chatroom::EventId;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::common::{
    Client, Follower, Process, Progress, Request, Seen, eventually, finished, id_of, retained,
    within,
};

const POSTERS: usize = 4;
/// Followers of each address.
const FOLLOWERS: usize = 10;
/// Messages without which an ordeal shows nothing.
const ENOUGH: usize = 50;
/// How long a poster waits for an answer before it asks again.
const ANSWER: Duration = Duration::from_secs(7);

/// The options of every server: nothing is evicted but by a fault.
pub(crate) const OPTIONS: [&str; 8] = [
    "--history=20000",
    "--history-bytes=0",
    "--message-rate=0",
    "--max-streams-per-ip=0",
    "--write-timeout=60",
    "--drain=5",
    "--log=info",
    "--heartbeat=1",
];

/// Starts a server.
pub(crate) async fn server(url: &str) -> Process {
    Process::start(&[&OPTIONS[..], &["--redis", url]].concat()).await
}

/// What became of the messages.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Messages that were acknowledged.
    pub(crate) acknowledged: usize,
    /// Those of them that are no longer retained.
    pub(crate) lost: usize,
    /// Followers that were told of a gap, of all.
    pub(crate) told: usize,
    pub(crate) followers: usize,
    /// The longest time that a follower was without a stream.
    pub(crate) longest_away: Duration,
}

impl Outcome {
    /// Prints a row of the guide's table of faults.
    pub(crate) fn row(&self, fault: &str) {
        let Outcome {
            acknowledged,
            lost,
            told,
            followers,
            longest_away,
        } = self;
        let away = longest_away.as_secs_f64();
        println!("| {fault} | {acknowledged} | {lost} | {told} of {followers} | {away:.1} s |");
    }
}

/// Posters and followers under way.
pub(crate) struct Ordeal {
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    /// Messages that were acknowledged so far.
    count: Arc<AtomicUsize>,
    posters: Vec<JoinHandle<Vec<EventId>>>,
    followers: Vec<JoinHandle<(Seen, Duration)>>,
    last: tokio::sync::watch::Sender<Option<EventId>>,
}

impl Ordeal {
    /// Begins with ten followers of each address; whoever loses a server goes on at the next one.
    pub(crate) async fn begin(addresses: &[SocketAddr]) -> Ordeal {
        Ordeal::with_followers(addresses, FOLLOWERS).await
    }

    pub(crate) async fn with_followers(addresses: &[SocketAddr], followers: usize) -> Ordeal {
        let addresses = addresses.to_vec();
        let (last, _) = tokio::sync::watch::channel(None);
        let stop = Arc::new(AtomicBool::new(false));
        let mut following = Vec::new();
        for at in 0..addresses.len() * followers {
            let (follower, seen) = Follower::join(addresses[at % addresses.len()], "/chat").await;
            let end = last.subscribe();
            let task = follow(addresses.clone(), at, follower, seen, end);
            following.push(tokio::spawn(task));
        }
        let count = Arc::new(AtomicUsize::new(0));
        let poster = |n| tokio::spawn(post(addresses.clone(), n, stop.clone(), count.clone()));
        Ordeal {
            posters: (0..POSTERS).map(poster).collect(),
            addresses,
            stop,
            count,
            followers: following,
            last,
        }
    }

    /// Lets the posters go on for a while: how long is not what the test is about.
    pub(crate) async fn go_on(&self, time: Duration) {
        sleep(time).await;
    }

    /// Ends the ordeal, and checks that nobody missed anything without being told.
    pub(crate) async fn end(self) -> Outcome {
        // On a busy machine that takes longer than the ordeal.
        eventually("some messages", async || {
            self.count.load(Ordering::Relaxed) > ENOUGH
        })
        .await;
        self.stop.store(true, Ordering::Relaxed);
        let mut acknowledged = BTreeSet::new();
        for poster in self.posters {
            for id in finished("a poster", poster).await {
                assert!(acknowledged.insert(id), "two messages under {id}");
            }
        }
        let end = deliver(&self.addresses, 0, "end", "the end").await;
        acknowledged.insert(end);
        self.last.send_replace(Some(end));
        // Behind a proxy, it may be the history of a server that is a moment late.
        let kept = within("the last message", async {
            loop {
                let kept = retained(self.addresses[0], "lobby").await;
                let kept: BTreeSet<EventId> = kept.iter().map(id_of).collect();
                if kept.contains(&end) {
                    return kept;
                }
            }
        })
        .await;
        let lost = acknowledged.difference(&kept).count();
        let (mut told, followers) = (0, self.followers.len());
        let mut longest_away = Duration::ZERO;
        for follower in self.followers {
            let (seen, away) = finished("a follower", follower).await;
            longest_away = longest_away.max(away);
            told += usize::from(!seen.gaps.is_empty());
            check(&seen, &acknowledged, &kept);
        }
        let acknowledged = acknowledged.len();
        Outcome {
            acknowledged,
            lost,
            told,
            followers,
            longest_away,
        }
    }
}

fn check(seen: &Seen, acknowledged: &BTreeSet<EventId>, kept: &BTreeSet<EventId>) {
    let ends = seen.gaps.iter().copied().chain([seen.messages.len()]);
    let mut begin = 0;
    for end in ends {
        let part = &seen.messages[begin..end];
        let rises = part.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(rises, "out of order between two gaps");
        begin = end;
    }
    let all: BTreeSet<EventId> = seen.messages.iter().copied().collect();
    if seen.gaps.is_empty() {
        let missed: Vec<_> = acknowledged.difference(&all).collect();
        assert!(missed.is_empty(), "not seen and not told: {missed:?}");
    }
    let missed: Vec<_> = kept.difference(&all).collect();
    assert!(missed.is_empty(), "retained and not seen: {missed:?}");
}

/// Posts until it is told to stop. Returns the ids of what was acknowledged.
async fn post(
    addresses: Vec<SocketAddr>,
    poster: usize,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
) -> Vec<EventId> {
    let mut ids = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let text = format!("{poster}-{}", ids.len());
        ids.push(deliver(&addresses, poster + ids.len(), &text, &text).await);
        count.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(5)).await;
    }
    ids
}

/// Sends a message under its key, at one server after the other, until it is acknowledged.
async fn deliver(addresses: &[SocketAddr], first: usize, key: &str, text: &str) -> EventId {
    let request = Request::post_text("/chat?name=bot", text).header("Idempotency-Key", key);
    for attempt in first.. {
        let address = addresses[attempt % addresses.len()];
        let answered = timeout(ANSWER, async {
            let socket = tokio::net::TcpStream::connect(address).await.ok()?;
            Client::from(socket).try_ask(&request).await
        });
        match answered.await {
            Ok(Some(answer)) if matches!(answer.status, 200 | 201) => {
                return id_of(&answer.json());
            }
            Ok(Some(answer)) => assert!(
                matches!(answer.status, 502..=504),
                "{} {}",
                answer.head,
                answer.text()
            ),
            Ok(None) | Err(_) => {}
        }
        sleep(Duration::from_millis(50)).await;
    }
    unreachable!("attempts do not end")
}

async fn follow(
    addresses: Vec<SocketAddr>,
    mut at: usize,
    mut follower: Follower,
    mut seen: Seen,
    end: tokio::sync::watch::Receiver<Option<EventId>>,
) -> (Seen, Duration) {
    let mut longest_away = Duration::ZERO;
    let mut away_since: Option<Instant> = None;
    loop {
        let greetings = seen.greetings;
        // Heartbeats wake it each second, so the end is noticed.
        let progress = timeout(ANSWER, follower.read(64 * 1024, &mut seen)).await;
        let end = *end.borrow();
        if end.is_some() && seen.messages.last().copied() >= end {
            return (seen, longest_away);
        }
        if seen.greetings > greetings
            && let Some(since) = away_since.take()
        {
            longest_away = longest_away.max(since.elapsed());
        }
        if progress == Ok(Progress::More) {
            continue;
        }
        away_since = away_since.or(Some(Instant::now()));
        loop {
            at += 1;
            sleep(Duration::from_millis(100)).await;
            let address = addresses[at % addresses.len()];
            if let Ok(next) = Follower::open(address, "/chat", &seen).await {
                follower = next.patient();
                break;
            }
        }
    }
}
