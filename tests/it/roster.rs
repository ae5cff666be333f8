//! The roster as a client computes it from events, against the one that the server tells; and what
//! a crowd that comes at once costs each of those who are there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chatroom::ManualClock;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::common::{
    Event, EventStream, Random, Request, Server, get, longer, proc, say, until_streams, within,
};

/// The names in a list of an event.
fn names(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().expect("a list of names");
    list.iter()
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect()
}

/// Applies an event as any client would, blindly.
fn apply(roster: &mut BTreeSet<String>, event: &Event) {
    let json = event.json();
    match event.event.as_str() {
        "members-changed" => {
            if let Some(whole) = json.get("members") {
                *roster = names(whole);
            }
            roster.retain(|name| !names(&json["left"]).contains(name));
            roster.extend(names(&json["joined"]));
        }
        _ => return,
    }
    assert_eq!(
        json["memberCount"],
        roster.len(),
        "the count is not that of the names: {json}"
    );
}

/// Follows the room until the sentinel is in the roster, and tells the roster then.
fn follow(mut stream: EventStream) -> JoinHandle<BTreeSet<String>> {
    tokio::spawn(async move {
        let mut roster = BTreeSet::new();
        while !roster.contains("sentinel") {
            apply(&mut roster, &stream.event().await);
        }
        roster
    })
}

/// People who come and go at random, a few of them with several names or tabs.
struct Visitors {
    address: SocketAddr,
    clock: ManualClock,
    random: Random,
    sessions: Vec<String>,
    open: Vec<EventStream>,
}

impl Visitors {
    async fn step(&mut self) {
        match self.random.below(10) {
            0..5 => self.join().await,
            5..8 if !self.open.is_empty() => {
                let leaving = self.random.below(self.open.len());
                let mut stream = self.open.swap_remove(leaving);
                if self.random.below(2) == 0 {
                    // Gone with a reset, as a process that is killed.
                    let socket = stream.client().socket();
                    socket.set_zero_linger().expect("a socket can be told so");
                }
            }
            8 => {
                let wait = Duration::from_secs(self.random.next() % 7);
                self.clock.advance(wait);
            }
            _ => tokio::task::yield_now().await,
        }
    }

    async fn join(&mut self) {
        let name = format!(
            "{} {}",
            self.random.pick(&["Ann", "ann", "Bob"]),
            self.random.below(8)
        );
        let session = self.random.pick(&self.sessions);
        let target = format!("/chat?history=0&name={}", name.replace(' ', "+"));
        let request = Request::get(&target).session(session);
        match EventStream::attempt(self.address, request).await {
            Ok(stream) => self.open.push(stream),
            Err(refused) => drop(refused.expect(409, "name-taken")),
        }
    }
}

/// A room after a thousand random steps, as all who were there see it, and as the server does.
async fn walk(seed: u64) {
    let (server, clock) = Server::in_still_time().await;
    let address = server.address();
    let mut visitors = Visitors {
        address,
        clock,
        random: Random::seeded(seed),
        sessions: (1..=12).map(|n| format!("{n:032x}")).collect(),
        open: Vec::new(),
    };
    let mut pulse = EventStream::open(address, "/chat?history=0").await;
    pulse.caught_up().await;
    let mut followers = Vec::new();
    for step in 0..1_000 {
        // Some come in the middle; and the walk goes on when the room was told what changed, so that
        // it spans many tellings. All in one would be right even if nobody were told who left.
        if step % 150 == 0 {
            followers.push(follow(EventStream::open(address, "/chat?history=0").await));
            pulse.until("members-changed").await;
        }
        visitors.step().await;
    }
    // What has been closed is gone when the server has noticed; then nothing moves any more.
    until_streams(address, followers.len() + visitors.open.len() + 1).await;
    let _sentinel = EventStream::open(address, "/chat?name=sentinel").await;
    let told = names(&get(address, "/chat/lobby/members").await.json()["members"]);
    for follower in followers {
        let roster = within("the sentinel", follower)
            .await
            .expect("a follower does not panic");
        assert_eq!(roster, told, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roster_computed_from_events_is_the_true_one() {
    for round in 0..longer() {
        let seeds = 1 + 3 * round..=3 + 3 * round;
        let walks: Vec<_> = seeds.map(|seed| tokio::spawn(walk(seed))).collect();
        for walk in walks {
            walk.await.expect("a walk ends at the true roster");
        }
    }
}

/// How many listeners can come at once: as many as wanted, or as this machine has files for. Each
/// takes two, for both of its ends are in this process, and other tests run beside this one.
fn crowd() -> usize {
    const WANTED: usize = 5_000;
    WANTED.min(proc::open_files_limit() / 3)
}

/// What the members' changes cost one listener.
struct Cost {
    events: usize,
    longest: usize,
}

/// Reads a stream up to the message that ends the test.
async fn cost_of(mut stream: EventStream) -> Cost {
    stream.caught_up().await;
    let mut cost = Cost {
        events: 0,
        longest: 0,
    };
    loop {
        let event = stream.event().await;
        match event.event.as_str() {
            "members-changed" => {
                cost.events += 1;
                cost.longest = cost.longest.max(event.raw.len());
            }
            "new-message" => return cost,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_joins_at_once_costs_each_a_small_event_a_second() {
    const AT_ONCE: usize = 50;
    let count = crowd();
    let server = Server::start().await;
    let address = server.address();
    let mut first = EventStream::open(address, "/chat").await;
    first.caught_up().await;
    let started = Instant::now();
    let mut readers = Vec::new();
    for _ in 0..count / AT_ONCE {
        let joining: Vec<_> = (0..AT_ONCE)
            .map(|_| tokio::spawn(EventStream::open(address, "/chat?history=0")))
            .collect();
        for stream in joining {
            let stream = stream.await.expect("a listener is let in");
            readers.push(tokio::spawn(cost_of(stream)));
        }
    }
    let all = readers.len() + 1;
    let mut told = 0;
    loop {
        let event = first.until("members-changed").await;
        told += 1;
        if event.json()["listenerCount"] == all {
            break;
        }
    }
    // One when they begin, one when they end, and one for each second between.
    let bound = usize::try_from(started.elapsed().as_secs()).expect("a short test") + 2;
    assert!(
        told <= bound,
        "{told} events for one who was there, at most {bound}"
    );
    say(address, "lobby", "bot", "the end").await;
    for reader in readers {
        let cost = within("the end", reader)
            .await
            .expect("a listener does not panic");
        assert!(
            cost.events <= bound,
            "{} events, at most {bound}",
            cost.events
        );
        assert!(cost.longest <= 200, "{} bytes", cost.longest);
    }
}
