//! A random walk over two servers, of which one hears from Redis late, against a plain model: posts,
//! removals, streams that go from one server to the other, and a Redis that loses what it had since its
//! last snapshot.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chatroom::EventId;
use tokio::time::sleep;

use crate::common::redis::Redis;
use crate::common::{
    Event, EventStream, Process, Random, Request, ask, finished, id_of, longer, within,
};
use crate::ordeal::OPTIONS;
use crate::relay::{Line, Relay};

const ROOMS: [&str; 3] = ["a", "b", "c"];
/// Entries that a room retains.
const HISTORY: usize = 30;
const CLIENTS: usize = 5;
const STEPS: usize = 120;
const SEEDS: u64 = 3;
/// How late the second server hears from Redis.
const LATE: Duration = Duration::from_millis(60);
/// Whoever posts, so that it may remove.
const SESSION: &str = "a0000000000000000000000000000001";

/// A room as it should be.
#[derive(Clone, Default)]
struct Log {
    /// Every entry that there ever was, in order, without those that were removed or lost.
    entries: Vec<EventId>,
    messages: HashSet<EventId>,
}

/// What must not be forgotten when Redis forgets.
#[derive(Default)]
struct Past {
    /// Entries that were removed or lost. One may be given to a client nevertheless, if it was on its
    /// way; or not, if a lost removal brings it back.
    gone: HashSet<EventId>,
    evicted: HashSet<EventId>,
    first: Option<EventId>,
    /// For each new epoch the newest id before it, and the first one in it.
    epochs: Vec<(EventId, EventId)>,
    newest: EventId,
}

struct Walker {
    stream: EventStream,
    rooms: Vec<usize>,
    position: Option<EventId>,
    /// Up to where it has each room, or was told that it lacks it; `None` until it begins.
    has: HashMap<usize, Option<EventId>>,
    gaps: usize,
}

struct World {
    redis: Redis,
    servers: [Process; 2],
    logs: [Log; ROOMS.len()],
    saved: [Log; ROOMS.len()],
    past: Past,
    posts: usize,
    random: Random,
    _relay: Relay,
}

impl World {
    async fn new(seed: u64) -> World {
        let redis = Redis::start().await;
        let relay = Relay::to(redis.address()).await;
        relay.set(Line::Late(redis.address(), LATE));
        let history = format!("--history={HISTORY}");
        let start = async |url: &str| {
            Process::start(&[&OPTIONS[..], &["--redis", url, &history]].concat()).await
        };
        World {
            servers: [start(&redis.url()).await, start(&relay.url()).await],
            redis,
            logs: Default::default(),
            saved: Default::default(),
            past: Past::default(),
            posts: 0,
            random: Random::seeded(seed),
            _relay: relay,
        }
    }

    fn note(&mut self, room: usize, id: EventId) {
        assert!(id > self.past.newest, "ids rise");
        self.past.newest = id;
        self.past.first.get_or_insert(id);
        let log = &mut self.logs[room];
        log.entries.push(id);
        let kept = log.entries.len().saturating_sub(HISTORY);
        self.past.evicted.extend(&log.entries[..kept]);
    }

    /// Posts at a server, however often that takes.
    async fn post(&mut self, at: usize) -> EventId {
        let room = self.random.below(ROOMS.len());
        self.posts += 1;
        let request = Request::post_text(&format!("/chat/{}?name=bot", ROOMS[room]), "hello");
        let key = self.posts.to_string();
        let request = request.session(SESSION).header("Idempotency-Key", key);
        let id = within("an answer", async {
            loop {
                let answer = ask(self.servers[at].address(), request.clone()).await;
                match answer.status {
                    200 | 201 => return id_of(&answer.json()),
                    503 => sleep(Duration::from_millis(50)).await,
                    _ => panic!("{}", answer.text()),
                }
            }
        })
        .await;
        self.note(room, id);
        self.logs[room].messages.insert(id);
        id
    }

    async fn remove(&mut self) {
        let room = self.random.below(ROOMS.len());
        let log = &self.logs[room];
        let kept = &log.entries[log.entries.len().saturating_sub(HISTORY)..];
        let kept: Vec<EventId> = kept
            .iter()
            .filter(|id| log.messages.contains(id))
            .copied()
            .collect();
        if kept.is_empty() {
            return;
        }
        let message = *self.random.pick(&kept);
        let target = format!("/chat/{}/messages/{message}", ROOMS[room]);
        let request = Request::new("DELETE", &target).session(SESSION);
        let removal = ask(self.servers[0].address(), request).await;
        let log = &mut self.logs[room];
        log.entries.retain(|id| *id != message);
        self.past.gone.insert(message);
        self.note(room, id_of(&removal.expect(200, "").json()));
    }

    async fn save(&mut self) {
        self.redis.command(&["SAVE"]).await;
        self.saved = self.logs.clone();
    }

    /// Redis loses what it had since it was saved.
    async fn lose(&mut self) {
        self.redis.kill().await;
        let before = self.past.newest;
        for (log, saved) in self.logs.iter_mut().zip(&self.saved) {
            let lost = log.entries.iter().filter(|id| !saved.entries.contains(id));
            self.past.gone.extend(lost);
            log.clone_from(saved);
        }
        self.redis.restart().await;
        // The first may come before any server has noticed, and is retained.
        self.post(0).await;
        let first = self.post(0).await;
        self.past.epochs.push((before, first));
        self.save().await;
    }

    async fn open(&mut self, before: Option<Walker>) -> Walker {
        let mut rooms: Vec<usize> = (0..ROOMS.len()).collect();
        while rooms.len() > 1 && self.random.below(2) == 0 {
            rooms.remove(self.random.below(rooms.len()));
        }
        let position = before.as_ref().and_then(|before| before.position);
        let mut target = format!("/chat?history={}", self.random.below(HISTORY));
        rooms
            .iter()
            .for_each(|room| target += &format!("&room={}", ROOMS[*room]));
        let mut at = self.random.below(2);
        let stream = loop {
            let mut request = Request::get(&target);
            if let Some(position) = position {
                request = request.header("Last-Event-ID", position.to_string());
            }
            let stream = EventStream::request(self.servers[at].address(), request).await;
            // One that has not heard from Redis yet answers with a goodbye, and nothing else.
            if stream.head.header("content-length").is_none() {
                break stream;
            }
            at = 1 - at;
            sleep(Duration::from_millis(50)).await;
        };
        Walker {
            stream,
            has: rooms.iter().map(|room| (*room, position)).collect(),
            rooms,
            position,
            gaps: before.map_or(0, |before| before.gaps),
        }
    }

    fn owes(&self, walker: &Walker) -> bool {
        let lacks = |room: &usize| {
            walker.has[room].is_none_or(|has| self.logs[*room].entries.last() > Some(&has))
        };
        walker.rooms.iter().any(lacks)
    }

    async fn read(&self, walker: &mut Walker, at_most: usize) {
        for _ in 0..at_most {
            if !self.owes(walker) {
                return;
            }
            let event = within("an event", walker.stream.event()).await;
            self.check(walker, &event);
        }
    }

    /// Holds an event against the model.
    fn check(&self, walker: &mut Walker, event: &Event) {
        if matches!(
            &*event.event,
            "members-changed" | "heartbeat" | "chat-room-connected"
        ) {
            return;
        }
        let json = event.json();
        let id = id_of(&json);
        if event.id.is_some() {
            let again = walker.position == Some(id) && !event.is("caught-up");
            assert!(
                Some(id) >= walker.position && !again,
                "{:?}: {event:?}",
                walker.position
            );
            walker.position = Some(id);
        }
        let past = &self.past;
        // A room has one mark: that of a later epoch tells of all earlier losses.
        let is_old = past.epochs.iter().any(|(before, _)| id <= *before);
        let crossed = |has: EventId| {
            let mut epochs = past.epochs.iter();
            !is_old && epochs.any(|(before, first)| has <= *before && id >= *first)
        };
        let room = ROOMS.iter().position(|room| json["room"] == **room);
        match (&*event.event, room) {
            ("messages-missed", Some(room)) => {
                let is_mark = past.evicted.contains(&id)
                    || past.first.is_none_or(|first| id < first)
                    || past
                        .epochs
                        .iter()
                        .any(|(before, first)| id > *before && id < *first);
                let has = walker.has.get_mut(&room).expect("one of its rooms");
                assert!(
                    is_mark && has.is_none_or(|has| id > has),
                    "without need: {event:?}"
                );
                *has = Some(id);
                walker.gaps += 1;
            }
            ("new-message" | "message-removed", Some(room)) => {
                let has = walker.has.get_mut(&room).expect("one of its rooms");
                if let Some(has) = *has {
                    // And of what was evicted.
                    let may_lack =
                        |left| past.gone.contains(left) || is_old && past.evicted.contains(left);
                    let mut left = self.logs[room].entries.iter();
                    let next = left.find(|left| **left > has && !may_lack(left));
                    let is_entry = self.logs[room].entries.contains(&id) || past.gone.contains(&id);
                    assert!(
                        id > has && is_entry && next.is_none_or(|next| *next >= id),
                        "{has}, {next:?}: {event:?}"
                    );
                    assert!(!crossed(has), "a loss that was not told: {has}, {event:?}");
                }
                *has = Some(id);
            }
            ("caught-up", None) => {
                for (room, has) in &mut walker.has {
                    if let Some(has) = *has {
                        let mut left = self.logs[*room].entries.iter();
                        let left = left
                            .find(|left| **left > has && **left <= id && !past.gone.contains(left));
                        assert!(left.is_none(), "{has}, {left:?}: {event:?}");
                        assert!(!crossed(has), "a loss that was not told: {has}, {event:?}");
                    }
                    *has = Some(id).max(*has);
                }
            }
            _ => panic!("{event:?}"),
        }
    }
}

async fn walk(seed: u64) {
    let mut world = World::new(seed).await;
    let mut walkers: Vec<Walker> = Vec::new();
    for step in 0..STEPS {
        let who = world.random.below(CLIENTS);
        match world.random.below(16) {
            0..4 => {
                let at = world.random.below(2);
                world.post(at).await;
            }
            4 => {
                for _ in 0..HISTORY {
                    world.post(0).await;
                }
            }
            5..7 => world.remove().await,
            7 => world.save().await,
            8..10 if walkers.len() < CLIENTS => walkers.push(world.open(None).await),
            10..13 if who < walkers.len() => {
                let before = walkers.swap_remove(who);
                walkers.push(world.open(Some(before)).await);
            }
            13..16 if who < walkers.len() => {
                let count = world.random.below(40);
                world.read(&mut walkers[who], count).await;
            }
            _ => {}
        }
        if step % 40 == 39 {
            world.lose().await;
        }
    }
    world.post(1).await;
    for walker in &mut walkers {
        world.read(walker, usize::MAX).await;
    }
    let gaps: usize = walkers.iter().map(|walker| walker.gaps).sum();
    eprintln!("seed {seed}: {} posts, {gaps} gaps told", world.posts);
    assert!(gaps > 0, "nobody was told of a loss");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_whatever_server_each_client_has_all_that_redis_kept_in_one_order_or_is_told() {
    for seed in 1..=SEEDS * longer() {
        let walk = tokio::spawn(walk(seed));
        finished(&format!("the walk with seed {seed}"), walk).await;
    }
}
