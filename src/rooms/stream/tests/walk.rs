//! The promise of streams, on random walks: whoever resumes at the last id that it has seen gets
//! everything after it that is retained, once and in order, and for whatever is not retained one
//! notice in its place.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::super::super::entries::Committed;
use super::super::super::message::RemovedBy;
use super::*;

const ROOMS: usize = 4;
const CLIENTS: usize = 3;
/// Few, so that entries are evicted between any two events.
const HISTORY: usize = 12;

#[derive(Clone, Debug)]
enum Step {
    Say(usize),
    Burst(usize),
    Remove(usize),
    /// Lets a client take some frames.
    Take(usize, usize),
    /// Cuts a client, which resumes at the last id that it has seen, with or without one room more or
    /// less, at this server or at the one that lags.
    Cut(usize, Option<usize>, bool),
    /// The other server reads so many entries.
    Follow(usize),
    /// The rooms are loaded anew, without a loss.
    Load,
    /// A new epoch: the newest so many entries of each room are lost.
    Lose(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    prop_oneof![
        6 => (0..ROOMS).prop_map(Step::Say),
        1 => (0..ROOMS).prop_map(Step::Burst),
        2 => (0_usize..99).prop_map(Step::Remove),
        5 => (client.clone(), 1_usize..60).prop_map(|(client, count)| Step::Take(client, count)),
        3 => (client, prop::option::of(0..ROOMS), any::<bool>())
            .prop_map(|(client, room, moves)| Step::Cut(client, room, moves)),
        2 => (0_usize..9).prop_map(Step::Follow),
        1 => Just(Step::Load),
        1 => (0_usize..5).prop_map(Step::Lose),
    ]
}

/// Two servers of one chat. The second follows the first.
struct World {
    hubs: [Arc<Hub>; 2],
    /// What the second has yet to read.
    feed: Vec<(RoomName, Entry)>,
    /// Everything that was ever committed.
    said: BTreeMap<EventId, RoomName>,
    removed: BTreeMap<EventId, EventId>,
}

impl World {
    fn new() -> World {
        let hub = || {
            hub_with(Options {
                history: HISTORY,
                data: Some("remembers".into()),
                ..options()
            })
        };
        World {
            hubs: [hub(), hub()],
            feed: Vec::new(),
            said: BTreeMap::new(),
            removed: BTreeMap::new(),
        }
    }

    fn commit(&mut self, room: &RoomName, draft: Draft) {
        let Ok(Committed::New(frame)) = self.hubs[0].commit(room, draft) else {
            return;
        };
        let id = frame.id().expect("an entry has one");
        self.said.insert(id, room.clone());
        let (_, rooms) = self.hubs[0].retained();
        let mut entries = rooms.into_iter().flat_map(|(.., entries)| entries);
        let entry = entries.find(|entry| entry.id == id);
        self.feed.extend(entry.map(|entry| (room.clone(), entry)));
    }

    fn follow(&mut self, count: usize) {
        for (room, entry) in self.feed.drain(..count.min(self.feed.len())) {
            self.hubs[1].publish(&room, entry);
        }
    }

    fn load(&mut self, lost: Option<usize>) {
        self.follow(usize::MAX);
        let (mark, rooms) = self.hubs[0].retained();
        let epoch = lost.map(|_| self.hubs[0].newest().next(0));
        for hub in &self.hubs {
            let mut loaded = Loaded::new(epoch.unwrap_or(EventId::FIRST));
            for (room, mark, entries) in rooms.clone() {
                let kept = entries.len().saturating_sub(lost.unwrap_or(0));
                let history = loaded.room(room, mark);
                entries
                    .into_iter()
                    .take(kept)
                    .for_each(|entry| history.push(entry, &hub.options));
            }
            loaded.mark = loaded.mark.max(mark);
            hub.load(loaded);
        }
    }
}

/// A client over several connections: what it has seen, as a page keeps it.
struct Reader {
    rooms: BTreeSet<usize>,
    server: usize,
    stream: Stream,
    /// The last id that it has seen, over all connections.
    position: EventId,
    /// Where it began to follow each room.
    begins: HashMap<RoomName, EventId>,
    seen: BTreeSet<EventId>,
    /// The marks that it was told, of each room.
    told: HashMap<RoomName, BTreeSet<EventId>>,
    is_live: bool,
}

impl Reader {
    fn new(world: &World, rooms: usize) -> Reader {
        let rooms: BTreeSet<usize> = (0..=rooms).collect();
        let position = EventId::FIRST;
        Reader {
            stream: Reader::open(world, &rooms, 0, position),
            begins: rooms.iter().map(|n| (room(*n), position)).collect(),
            rooms,
            server: 0,
            position,
            seen: BTreeSet::new(),
            told: HashMap::new(),
            is_live: false,
        }
    }

    fn open(world: &World, rooms: &BTreeSet<usize>, server: usize, after: EventId) -> Stream {
        let rooms: Vec<RoomName> = rooms.iter().copied().map(room).collect();
        listen(&world.hubs[server], &rooms, Start::After(after))
    }

    fn cut(&mut self, world: &mut World, change: Option<usize>, moves: bool) {
        if let Some(n) = change {
            if self.rooms.remove(&n) {
                self.begins.remove(&room(n));
            } else {
                self.rooms.insert(n);
                // What was said before is read from the history.
                self.begins.insert(room(n), self.position);
            }
            if self.rooms.is_empty() {
                self.rooms.insert(n);
                self.begins.insert(room(n), self.position);
            }
        }
        self.server = (self.server + usize::from(moves)) % 2;
        if self.server == 1 {
            // Before it answers, a server reads all that there is: the other one may have evicted what stands
            // here below the position, with its mark above it.
            world.follow(usize::MAX);
        }
        self.stream = Reader::open(world, &self.rooms, self.server, self.position);
        self.is_live = false;
    }

    fn take(&mut self, mut count: usize) -> Result<(), TestCaseError> {
        while count > 0
            && let Poll::Ready(Some(frame)) =
                self.stream.poll_next(&Context::from_waker(Waker::noop()))
        {
            count -= 1;
            let id = frame.id();
            match frame.event() {
                Event::Message | Event::Removed => {
                    let id = id.expect("an entry has one");
                    prop_assert!(id > self.position, "{} after {}", id, self.position);
                    prop_assert!(self.seen.insert(id), "{} twice", id);
                }
                Event::Missed => {
                    let mark = id.expect("a mark has one");
                    prop_assert!(mark > self.position, "{} after {}", mark, self.position);
                    let text = text(std::slice::from_ref(&frame));
                    for n in &self.rooms {
                        let room = room(*n);
                        if text.contains(&format!(r#""room":"{room}""#)) {
                            let told = self.told.entry(room).or_default();
                            prop_assert!(told.insert(mark), "{} told twice", mark);
                        }
                    }
                }
                Event::CaughtUp => {
                    prop_assert!(id >= Some(self.position));
                    self.is_live = true;
                }
                _ => prop_assert_eq!(id, None),
            }
            self.position = id.unwrap_or(self.position);
        }
        Ok(())
    }

    /// What it has and what it was told make up everything that was said in its rooms.
    fn check(&self, world: &World) -> Result<(), TestCaseError> {
        prop_assert!(self.is_live);
        let (_, rooms) = world.hubs[self.server].retained();
        for (id, room) in &world.said {
            let Some(begin) = self.begins.get(room).filter(|begin| id > begin) else {
                continue;
            };
            let is_retained = rooms
                .iter()
                .any(|(_, _, entries)| entries.iter().any(|entry| entry.id == *id));
            if is_retained {
                prop_assert!(self.seen.contains(id), "{} is retained, and lost", id);
            }
            // A removed message is told by its removal.
            let told_by = world.removed.get(id).unwrap_or(id);
            let is_told = |marks: &BTreeSet<EventId>| marks.range(told_by..).next().is_some();
            prop_assert!(
                self.seen.contains(id)
                    || self.seen.contains(told_by)
                    || self.told.get(room).is_some_and(is_told),
                "{} of {} after {} is gone without a word",
                id,
                room,
                begin
            );
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_is_lost_twice_or_silent(steps in prop::collection::vec(step(), 1..300)) {
        let mut world = World::new();
        let mut readers: Vec<Reader> = (0..CLIENTS).map(|n| Reader::new(&world, n)).collect();
        for step in steps {
            match step {
                Step::Say(n) => world.commit(&room(n), draft()),
                Step::Burst(n) => {
                    for i in 0..QUEUE_FRAMES + 9 {
                        world.commit(&room((n + i % 2) % ROOMS), draft());
                    }
                }
                Step::Remove(n) => {
                    let Some((message, room)) = world.said.iter().rev().nth(n) else { continue };
                    let (removed, room) = (*message, room.clone());
                    let before = world.hubs[0].newest();
                    world.commit(&room, Draft::Removal { removed, by: RemovedBy::Author });
                    let newest = world.hubs[0].newest();
                    if newest > before {
                        world.removed.insert(removed, newest);
                    }
                }
                Step::Take(client, count) => readers[client].take(count)?,
                Step::Cut(client, change, moves) => readers[client].cut(&mut world, change, moves),
                Step::Follow(count) => world.follow(count),
                Step::Load => world.load(None),
                Step::Lose(count) => world.load(Some(count)),
            }
        }
        world.follow(usize::MAX);
        for reader in &mut readers {
            reader.take(usize::MAX)?;
            reader.check(&world)?;
        }
    }
}
