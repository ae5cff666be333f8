//! A random walk over several rooms against a plain model: posts, bursts that overflow queues,
//! removals, joins, cuts, rooms that are added and left, positions from nowhere, and restarts, over
//! real sockets.

use crate::common::Change as _;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use chatroom::{EventId, Fsync};

use super::super::moderation::{BASIC, PASSWORD};
use crate::common::{
    Client, Event, EventStream, Folder, PATIENCE, Random, Request, Server, ask, finished, id_of,
    longer, post_all,
};

const ROOMS: [&str; 4] = ["a", "b", "c", "d"];
/// Entries that a room retains.
const HISTORY: usize = 60;
/// Bytes of a text: a burst of a hundred overflows queue and socket of a client that does not read.
const TEXT: usize = 1_000;
const CLIENTS: usize = 6;
const STEPS: usize = 150;
const SEEDS: u64 = 8;

type Room = usize;

/// A room as it should be.
#[derive(Default)]
struct Log {
    /// Every entry that there ever was, in order, without messages that were removed.
    entries: Vec<EventId>,
    /// Those of them that are messages.
    messages: HashSet<EventId>,
    /// Every removed message: whoever did not get it in time gets its removal alone.
    removed: HashSet<EventId>,
}

impl Log {
    fn push(&mut self, id: EventId) {
        self.entries.push(id);
    }

    fn retained(&self) -> &[EventId] {
        &self.entries[self.entries.len().saturating_sub(HISTORY)..]
    }

    /// The entries after a position, retained or not.
    fn after(&self, position: EventId) -> &[EventId] {
        &self.entries[self.entries.partition_point(|id| *id <= position)..]
    }

    /// Where whoever asks for so many messages begins.
    fn begin(&self, history: usize) -> EventId {
        let messages = self.retained().iter().rev();
        let messages = messages.filter(|id| self.messages.contains(id));
        let first = messages.take(history).last();
        let before = |first: &EventId| self.entries.iter().rfind(|id| *id < first);
        let newest = self.entries.last();
        let begin = first.map_or(newest, before);
        begin.copied().unwrap_or(FIRST)
    }
}

/// Before everything, as a position that cannot be read is understood.
const ZERO: EventId = EventId {
    milliseconds: 0,
    sequence: 0,
};
/// Before every entry, for a client that has no position.
const FIRST: EventId = EventId {
    milliseconds: 0,
    sequence: 1,
};

struct Walker {
    /// `None` while it is cut.
    stream: Option<EventStream>,
    rooms: Vec<Room>,
    history: usize,
    /// The query that the stream was opened with, as a browser repeats it.
    target: String,
    /// The last id that an `id:` line has set, or a position that the client made up.
    position: Option<String>,
    /// The same as the server understands it. `None` on a fresh stream.
    at: Option<EventId>,
    /// What the client has of each room, or was told that it is gone, or has not asked for.
    has: HashMap<Room, EventId>,
    /// How often it was told that it missed something, and that it has caught up.
    gaps: usize,
    catch_ups: usize,
}

impl Walker {
    async fn event(&mut self) -> Event {
        let stream = self.stream.as_mut().expect("it is connected");
        stream.event().await
    }
}

struct World {
    folder: Folder,
    /// `None` while it restarts.
    server: Option<Server>,
    logs: [Log; ROOMS.len()],
    /// The newest id of all rooms, once there is one.
    newest: Option<EventId>,
    random: Random,
}

async fn server_on(folder: &Folder) -> Server {
    Server::with(|chat| {
        let chat = chat.data(folder.path()).fsync(Fsync::No);
        let chat = chat.history(HISTORY).history_bytes(0);
        let chat = chat.moderator_password(PASSWORD).expect("not empty");
        chat.drain(PATIENCE)
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

    fn note(&mut self, room: Room, id: EventId) {
        assert!(Some(id) > self.newest, "ids rise");
        self.newest = Some(id);
        self.logs[room].push(id);
    }

    async fn post(&mut self, count: usize) {
        let room = self.random.below(ROOMS.len());
        let target = format!("/chat/{}?name=bot", ROOMS[room]);
        let texts = std::iter::repeat_n("x".repeat(TEXT), count);
        for id in post_all(self.address(), &target, texts).await {
            self.note(room, id);
            self.logs[room].messages.insert(id);
        }
    }

    async fn remove(&mut self) {
        let room = self.random.below(ROOMS.len());
        let log = &self.logs[room];
        let messages = log.retained().iter();
        let messages = messages.filter(|id| log.messages.contains(id)).copied();
        let messages: Vec<EventId> = messages.collect();
        if messages.is_empty() {
            return;
        }
        let message = *self.random.pick(&messages);
        let target = format!("/chat/{}/messages/{message}", ROOMS[room]);
        let request = Request::new("DELETE", &target).header("Authorization", BASIC);
        let removal = ask(self.address(), request).await.expect(200, "").json();
        let log = &mut self.logs[room];
        // It makes room for its removal, so nothing is evicted, and what was evicted stays so.
        log.entries.retain(|id| *id != message);
        log.removed.insert(message);
        self.note(room, id_of(&removal));
    }

    /// A new query: of a client that comes for the first time, or that changes its rooms.
    async fn open(&mut self, before: Option<Walker>) -> Walker {
        let rooms = self.some_rooms();
        let history = self.random.below(30);
        let mut target = format!("/chat?history={history}");
        for room in &rooms {
            target += &format!("&room={}", ROOMS[*room]);
        }
        let (mut position, mut at) = before.map_or((None, None), |b| (b.position, b.at));
        if self.random.below(8) == 0 {
            (position, at) = (Some("from-nowhere".to_owned()), Some(ZERO));
        }
        if let Some(position) = &position {
            target += &format!("&lastEventId={position}");
        }
        let mut walker = Walker {
            stream: Some(connect(self.address(), &target, None).await),
            rooms,
            history,
            target,
            position,
            at,
            has: HashMap::new(),
            gaps: 0,
            catch_ups: 0,
        };
        self.begin(&mut walker).await;
        walker
    }

    /// The same query again, as an EventSource repeats it.
    async fn reconnect(&mut self, walker: &mut Walker) {
        let position = walker.position.as_deref();
        walker.stream = Some(connect(self.address(), &walker.target, position).await);
        self.begin(walker).await;
    }

    /// Reads the greetings of a new stream.
    async fn begin(&self, walker: &mut Walker) {
        let begin = |room: &Room| walker.at.unwrap_or(self.logs[*room].begin(walker.history));
        walker.has = walker
            .rooms
            .iter()
            .map(|room| (*room, begin(room)))
            .collect();
        for room in walker.rooms.clone() {
            let event = walker.event().await;
            assert!(
                event.is("chat-room-connected") && event.id.is_none(),
                "{event:?}"
            );
            let greeting = event.json();
            assert_eq!(greeting["room"], ROOMS[room]);
            if let Some(newest) = self.newest {
                assert_eq!(id_of(&greeting), newest);
            }
        }
    }

    /// Whether something is sure to come that the client does not have.
    fn owes(&self, walker: &Walker) -> bool {
        let mut rooms = walker.has.iter();
        rooms.any(|(room, has)| self.logs[*room].entries.last() > Some(has))
    }

    async fn read(&self, walker: &mut Walker, at_most: usize) -> usize {
        let mut read = 0;
        while read < at_most && self.owes(walker) {
            let event = walker.event().await;
            self.check(walker, &event);
            read += 1;
        }
        read
    }

    /// Holds an event against the model.
    fn check(&self, walker: &mut Walker, event: &Event) {
        let json = event.json();
        let room = ROOMS.iter().position(|room| json["room"] == **room);
        if matches!(&*event.event, "members-changed" | "heartbeat") {
            assert_eq!(event.id, None);
            return;
        }
        let id = id_of(&json);
        if event.is("messages-missed") && event.id.is_none() {
            // Another room's notice at the same mark follows, with the id.
            assert!(Some(id) > walker.at, "{event:?}");
        } else {
            assert_eq!(event.id, Some(id.to_string()), "{event:?}");
            let again = walker.at == Some(id) && !event.is("caught-up");
            assert!(
                Some(id) >= walker.at && !again,
                "{:?}: {event:?}",
                walker.at
            );
            (walker.position, walker.at) = (event.id.clone(), Some(id));
        }
        match (&*event.event, room) {
            ("messages-missed", Some(room)) => {
                let has = walker.has.get_mut(&room).expect("one of its rooms");
                let log = &self.logs[room];
                let gone = log.entries.contains(&id) && !log.retained().contains(&id);
                let is_begin = *has == ZERO && log.entries.first().is_none_or(|first| id < *first);
                assert!(
                    id > *has && (gone || is_begin),
                    "told without need: {event:?}"
                );
                *has = id;
                walker.gaps += 1;
            }
            ("new-message" | "message-removed", Some(room)) => {
                let has = walker.has.get_mut(&room).expect("one of its rooms");
                let log = &self.logs[room];
                let next = log.after(*has).first();
                let was_removed = log.removed.contains(&id);
                assert!(
                    next == Some(&id) || was_removed && next > Some(&id),
                    "{next:?}: {event:?}"
                );
                *has = id;
            }
            ("caught-up", None) => {
                for (room, has) in &mut walker.has {
                    let left = self.logs[*room].after(*has).first();
                    assert!(left.is_none_or(|left| *left > id), "{left:?}: {event:?}");
                    *has = id.max(*has);
                }
                walker.catch_ups += 1;
            }
            _ => panic!("{event:?}"),
        }
    }

    /// Restarts the server. Of its clients one reads on: it gets all that is retained, and then the
    /// goodbye. The others are cut, for the end would wait for them.
    async fn restart(&mut self, walkers: &mut [Walker], reader: usize) {
        for (n, walker) in walkers.iter_mut().enumerate() {
            walker.stream.take_if(|_| n != reader);
        }
        let mut server = self.server.take().expect("it runs");
        server.begin_stop();
        if let Some(reader) = walkers.get_mut(reader) {
            loop {
                let event = reader.event().await;
                if event.is("server-closing") {
                    break;
                }
                self.check(reader, &event);
            }
            assert!(!self.owes(reader), "a goodbye before the end");
        }
        server.stop().await;
        self.server = Some(server_on(&self.folder).await);
        for walker in walkers {
            self.reconnect(walker).await;
        }
    }
}

/// Walks, and returns how many gaps were told to those who were there at the end, and how often they
/// had caught up.
async fn walk(seed: u64) -> (usize, usize) {
    let folder = Folder::new();
    let mut world = World {
        server: Some(server_on(&folder).await),
        folder,
        logs: Default::default(),
        newest: None,
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
                world.restart(&mut walkers, who).await;
                restarts += 1;
            }
            _ => {}
        }
    }
    for walker in &mut walkers {
        reads += world.read(walker, usize::MAX).await;
    }
    let [gaps, catch_ups] = [|w: &Walker| w.gaps, |w: &Walker| w.catch_ups]
        .map(|count| walkers.iter().map(count).sum());
    eprintln!(
        "seed {seed}: {reads} events, {gaps} gaps, {catch_ups} times caught up, {restarts} restarts"
    );
    assert!(reads > 0, "nothing was read");
    drop(walkers);
    // Before its folder goes.
    world.server.expect("it runs").stop().await;
    (gaps, catch_ups)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_each_client_has_all_of_its_rooms_in_one_order_or_is_told() {
    let (mut gaps, mut catch_ups) = (0, 0);
    for seed in 1..=SEEDS * longer() {
        let walk = tokio::spawn(walk(seed));
        let told = finished(&format!("the walk with seed {seed}"), walk).await;
        (gaps, catch_ups) = (gaps + told.0, catch_ups + told.1);
    }
    assert!(gaps > 0, "nobody ever missed anything");
    assert!(catch_ups > 0, "nobody ever caught up");
}
