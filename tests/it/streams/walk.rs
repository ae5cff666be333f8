//! A random walk over several rooms against a plain model: posts, bursts that overflow queues,
//! removals, joins, cuts, rooms that are added, and restarts, over real sockets.

use crate::common::Change as _;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use chatroom::{EventId, Fsync};

use super::super::moderation::{BASIC, PASSWORD};
use crate::common::{
    Client, Event, EventStream, Folder, Random, Request, Server, ask, finished, id_of, longer,
    post_all,
};

const ROOMS: [&str; 4] = ["a", "b", "c", "d"];
/// Entries that a room retains.
const HISTORY: usize = 60;
/// Bytes of a text: a burst of a hundred overflows queue and socket of a client that does not read.
const TEXT: usize = 1_000;
const CLIENTS: usize = 6;
const STEPS: usize = 150;

type Room = usize;

#[derive(Clone, Copy)]
struct Entry {
    id: EventId,
    is_removal: bool,
}

/// A room as it should be.
#[derive(Default)]
struct Log {
    retained: Vec<Entry>,
    /// Everything that was ever evicted has an id up to here.
    floor: Option<EventId>,
}

impl Log {
    fn push(&mut self, entry: Entry) {
        self.retained.push(entry);
        if self.retained.len() > HISTORY {
            self.floor = Some(self.retained.remove(0).id);
        }
    }
}

/// Where a client may begin in a room.
#[derive(Clone, Copy, Default)]
struct Place {
    /// The client has everything up to here.
    at: Option<EventId>,
    /// It was told that it does not get what is below this.
    excused: Option<EventId>,
}

struct Walker {
    stream: EventStream,
    rooms: Vec<Room>,
    /// The query that the stream was opened with, as a browser repeats it.
    target: String,
    /// The last id that an `id:` line of this query's streams has set.
    header: Option<String>,
    /// The position to hand over to a new query.
    position: Option<String>,
    places: HashMap<Room, Place>,
    /// How often it was told that it missed something.
    gaps: usize,
}

struct World {
    folder: Folder,
    /// `None` while it restarts.
    server: Option<Server>,
    logs: [Log; ROOMS.len()],
    random: Random,
}

async fn server(folder: &Folder) -> Server {
    Server::with(|chat| {
        let chat = chat.data(folder.path()).fsync(Fsync::No);
        let chat = chat.history(HISTORY).history_bytes(0);
        let chat = chat.moderator_password(PASSWORD).expect("not empty");
        // Those that do not read are not waited for.
        chat.drain(Duration::from_secs(1))
    })
    .await
}

async fn connect(address: SocketAddr, target: &str, header: Option<&str>) -> EventStream {
    let client = Client::connect_narrow(address, 4 * 1024).await;
    let mut request = Request::get(target);
    if let Some(id) = header {
        request = request.header("Last-Event-ID", id);
    }
    let stream = EventStream::over(client, request).await;
    stream.unwrap_or_else(|refused| panic!("{}", refused.text()))
}

impl World {
    fn address(&self) -> SocketAddr {
        let server = self.server.as_ref();
        server.expect("it runs").address()
    }

    /// Where a room begins for whoever asks for so many messages of it.
    fn begin(&self, room: Room, history: usize) -> Place {
        let log = &self.logs[room].retained;
        let messages = log.iter().rev().filter(|entry| !entry.is_removal);
        let mut first = messages.take(history).last().map(|entry| entry.id);
        if history == 0 {
            // Of another room the client may reach an earlier position, and resume there.
            first = log.last().map(|entry| EventId {
                sequence: entry.id.sequence + 1,
                ..entry.id
            });
        }
        Place {
            at: None,
            excused: first,
        }
    }

    fn some_rooms(&mut self) -> Vec<Room> {
        let mut rooms: Vec<Room> = (0..ROOMS.len()).collect();
        let count = 1 + self.random.below(ROOMS.len());
        while rooms.len() > count {
            rooms.remove(self.random.below(rooms.len()));
        }
        let turn = self.random.below(rooms.len());
        rooms.rotate_left(turn);
        rooms
    }

    async fn post(&mut self, count: usize) {
        let room = self.random.below(ROOMS.len());
        let target = format!("/chat/{}?name=bot", ROOMS[room]);
        let texts = std::iter::repeat_n("x".repeat(TEXT), count);
        for id in post_all(self.address(), &target, texts).await {
            self.logs[room].push(Entry {
                id,
                is_removal: false,
            });
        }
    }

    async fn remove(&mut self) {
        let room = self.random.below(ROOMS.len());
        let log = &self.logs[room].retained;
        let messages: Vec<EventId> = log
            .iter()
            .filter(|entry| !entry.is_removal)
            .map(|entry| entry.id)
            .collect();
        if messages.is_empty() {
            return;
        }
        let message = *self.random.pick(&messages);
        let target = format!("/chat/{}/messages/{message}", ROOMS[room]);
        let request = Request::new("DELETE", &target).header("Authorization", BASIC);
        let removal = ask(self.address(), request).await.expect(200, "").json();
        let log = &mut self.logs[room];
        log.retained.retain(|entry| entry.id != message);
        log.push(Entry {
            id: id_of(&removal),
            is_removal: true,
        });
    }

    /// A new query: of a client that comes for the first time, or that changes its rooms.
    async fn open(&mut self, before: Option<Walker>) -> Walker {
        let rooms = self.some_rooms();
        let history = self.random.below(30);
        let mut target = format!("/chat?history={history}");
        for room in &rooms {
            target += &format!("&room={}", ROOMS[*room]);
        }
        let position = before.as_ref().and_then(|before| before.position.clone());
        if let Some(position) = &position {
            target += &format!("&lastEventId={position}");
        }
        let at = position.as_ref().map(|id| id.parse().expect("an id"));
        let known = before.map(|before| before.places).unwrap_or_default();
        let added: Vec<Room> = rooms.clone();
        let added = added.into_iter().filter(|room| !known.contains_key(room));
        let added: Vec<Room> = added.filter(|_| at.is_some()).collect();
        let begin = |room: &Room| match (known.get(room), at) {
            (Some(place), _) => *place,
            (None, Some(_)) => Place { at, excused: None },
            (None, None) => self.begin(*room, history),
        };
        let places = rooms.iter().map(|room| (*room, begin(room))).collect();
        let mut walker = Walker {
            places,
            stream: connect(self.address(), &target, None).await,
            rooms,
            target,
            header: None,
            position,
            gaps: 0,
        };
        self.greeted(&mut walker).await;
        if let Some(at) = at {
            for room in added {
                self.read_past(room, at).await;
            }
        }
        walker
    }

    /// The past of a room that was added to a stream, which is what the stream does not give.
    async fn read_past(&self, room: Room, position: EventId) {
        let EventId {
            milliseconds,
            sequence,
            ..
        } = position;
        let above = format!("{milliseconds}-{}", sequence + 1);
        let target = format!("/chat/{}/messages?before={above}&limit=500", ROOMS[room]);
        let page = ask(self.address(), Request::get(&target)).await;
        let page = page.expect(200, "").json();
        let messages = page["messages"].as_array().expect("messages").iter();
        let given: Vec<EventId> = messages.map(id_of).collect();
        let log = self.logs[room].retained.iter();
        let past = log.filter(|entry| !entry.is_removal && entry.id <= position);
        let past: Vec<EventId> = past.map(|entry| entry.id).collect();
        assert_eq!(given, past, "the past of {}", ROOMS[room]);
    }

    /// The same query again, as an EventSource repeats it.
    async fn reconnect(&mut self, walker: &mut Walker) {
        walker.stream = connect(self.address(), &walker.target, walker.header.as_deref()).await;
        self.greeted(walker).await;
    }

    async fn greeted(&self, walker: &mut Walker) {
        for n in 0..walker.rooms.len() {
            loop {
                let event = walker.stream.event().await;
                let greeting = event.is("chat-room-connected");
                if greeting {
                    assert_eq!(event.json()["room"], ROOMS[walker.rooms[n]]);
                }
                self.check(walker, &event);
                if greeting {
                    break;
                }
            }
        }
    }

    /// Whether something is sure to come that the client does not have.
    fn owes(&self, walker: &Walker) -> bool {
        walker.places.iter().any(|(room, place)| {
            let mut log = self.logs[*room].retained.iter();
            log.any(|entry| Some(entry.id) > place.at && Some(entry.id) >= place.excused)
        })
    }

    async fn read(&self, walker: &mut Walker, at_most: usize) -> usize {
        let mut read = 0;
        while read < at_most && self.owes(walker) {
            let event = walker.stream.event().await;
            self.check(walker, &event);
            read += 1;
        }
        read
    }

    /// Holds an event against the model.
    fn check(&self, walker: &mut Walker, event: &Event) {
        let json = event.json();
        if let Some(id) = &event.id {
            walker.header = Some(id.clone());
            walker.position = Some(id.clone());
        }
        if event.is("heartbeat") {
            let id = event.id.as_ref().expect("a heartbeat is a position");
            let id: EventId = id.parse().expect("an id");
            for (room, place) in &mut walker.places {
                let skipped = self.logs[*room].retained.iter().find(|entry| {
                    Some(entry.id) > place.at && Some(entry.id) >= place.excused && entry.id <= id
                });
                assert!(skipped.is_none(), "skipped before {event:?}");
                place.at = place.at.max(Some(id));
            }
            return;
        }
        let room = ROOMS.iter().position(|room| json["room"] == **room);
        let room = room.unwrap_or_else(|| panic!("no room: {event:?}"));
        match event.event.as_str() {
            "chat-room-connected" | "members-changed" => {}
            "messages-missed" => {
                let place = walker.places.get_mut(&room).expect("one of its rooms");
                assert!(
                    place.at < self.logs[room].floor,
                    "told without need: {event:?}"
                );
                let oldest = json["oldest"].as_str().map(|id| id.parse().expect("an id"));
                place.excused = place.excused.max(oldest);
                walker.gaps += 1;
            }
            "new-message" | "message-removed" => {
                let id = id_of(&json);
                assert!(
                    Some(id) > walker.places[&room].at,
                    "again or in disorder: {event:?}"
                );
                for (room, place) in &mut walker.places {
                    let skipped = self.logs[*room].retained.iter().find(|entry| {
                        Some(entry.id) > place.at
                            && Some(entry.id) >= place.excused
                            && entry.id < id
                    });
                    let skipped = skipped.map(|entry| entry.id);
                    assert_eq!(skipped, None, "{} skipped before {event:?}", ROOMS[*room]);
                    place.at = place.at.max(Some(id));
                }
            }
            other => panic!("{other}"),
        }
    }

    async fn restart(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        self.server = Some(server(&self.folder).await);
    }
}

/// Walks, and returns how many gaps were told to those who were there at the end.
async fn walk(seed: u64) -> usize {
    let folder = Folder::new();
    let mut world = World {
        server: Some(server(&folder).await),
        folder,
        logs: Default::default(),
        random: Random::seeded(seed),
    };
    let mut walkers: Vec<Walker> = Vec::new();
    let (mut reads, mut restarts) = (0, 0);
    for _ in 0..STEPS {
        let who = world.random.below(CLIENTS);
        match world.random.below(20) {
            0..6 => world.post(1).await,
            6 => {
                let count = 20 + world.random.below(200);
                world.post(count).await;
            }
            7..9 => world.remove().await,
            9..11 if walkers.len() < CLIENTS => walkers.push(world.open(None).await),
            11..13 if who < walkers.len() => {
                let before = walkers.swap_remove(who);
                walkers.push(world.open(Some(before)).await);
            }
            13..15 if who < walkers.len() => world.reconnect(&mut walkers[who]).await,
            15..19 if who < walkers.len() => {
                let count = world.random.below(100);
                reads += world.read(&mut walkers[who], count).await;
            }
            19 if world.random.below(4) == 0 => {
                world.restart().await;
                restarts += 1;
                for walker in &mut walkers {
                    world.reconnect(walker).await;
                }
            }
            _ => {}
        }
    }
    for walker in &mut walkers {
        reads += world.read(walker, usize::MAX).await;
        assert!(!world.owes(walker));
    }
    eprintln!(
        "seed {seed}: {} clients, {reads} events, {restarts} restarts",
        walkers.len()
    );
    assert!(reads > 0, "nothing was read");
    let gaps = walkers.iter().map(|walker| walker.gaps).sum();
    drop(walkers);
    // Before its folder goes.
    world.server.expect("it runs").stop().await;
    gaps
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_each_client_has_all_of_its_rooms_in_one_order_or_is_told() {
    let mut gaps = 0;
    for seed in 1..=8 * longer() {
        let walk = tokio::spawn(walk(seed));
        gaps += finished(&format!("the walk with seed {seed}"), walk).await;
    }
    assert!(gaps > 0, "no queue was ever full");
}
