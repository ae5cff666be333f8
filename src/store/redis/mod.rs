//! The store that several servers share: a Redis or Valkey server, whose streams are the log.
//!
//! [`append.lua`](link) appends an entry to its room and to the *feed*. Every server follows the
//! feed ([`feed`]) and publishes what comes back from it, its own posts included, so there is one
//! order everywhere. Names are keys that expire unless they are renewed ([`presence`]).
//!
//! An *epoch* is a time in which Redis has lost nothing. When a new one begins, every server loads
//! the rooms anew and tells its streams that entries were lost.

mod append;
mod entry;
mod feed;
mod link;
mod news;
mod presence;
mod rosters;
mod standing;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use redis::Value;
use tokio::sync::{RwLock, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::bans::MOST_BANS;
use super::standing::{Change, Standing};
use crate::refusal::Refusal;
use crate::report::Reporter;
use crate::rooms::entries::Committed;
use crate::rooms::hub::Hub;
use crate::rooms::id::EventId;
use crate::rooms::lock;
use crate::rooms::members::Claim;
use crate::rooms::message::Draft;
use crate::rooms::names::RoomName;
use crate::rooms::stream::Reached;
use link::Link;
use presence::Presence;

/// How long a post, or a new name, may wait for Redis.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait for this server to notice a new epoch before an append is tried again.
const EPOCH_PAUSE: Duration = Duration::from_millis(50);
/// Entries of the feed: what a server may miss without having to load the rooms anew.
const FEED_ENTRIES: usize = 10_000;
/// How long a session is a moderator, in milliseconds: its servers may stop one after the other.
pub(crate) const MODERATOR_MS: u64 = 12 * 60 * 60 * 1_000;
/// How long a stopping server tries to tell the others.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// All keys have one hash tag, so that a cluster keeps them together.
const PREFIX: &str = "{chatroom}:";

/// A task that ends when nobody waits for it any more.
struct Task(JoinHandle<()>);

/// Where Redis is, as its owner gave it. It may hold a password, so it is never shown.
#[derive(Clone)]
pub(crate) struct Url(redis::ConnectionInfo);

/// The store, as posts see it. Dropping it ends its tasks.
pub(crate) struct Redis {
    shared: Arc<Shared>,
    /// One follows the feed, the other announces who is here.
    tasks: [Task; 2],
}

/// What the tasks share.
struct Shared {
    hub: Arc<Hub>,
    link: Link,
    report: Reporter,
    standing: Arc<Standing>,
    /// Who this server is to the others.
    server: String,
    /// Attempts to append so far.
    attempts: AtomicU64,
    /// The last entry of the feed that was published here.
    position: watch::Sender<EventId>,
    epoch: Mutex<EventId>,
    /// Another epoch has begun, or might have.
    is_outdated: AtomicBool,
    /// The feed is being read.
    is_following: AtomicBool,
    presence: Presence,
    /// Posts hold it for reading while they are under way.
    under_way: RwLock<()>,
}

impl Url {
    /// Checks a URL.
    pub(crate) fn parse(url: &str) -> Result<Url, &'static str> {
        let is_secure = url.starts_with("rediss:") || url.starts_with("valkeys:");
        if is_secure && !cfg!(feature = "redis-tls") {
            return Err("this program was built without the Cargo feature redis-tls");
        }
        let info: Result<redis::ConnectionInfo, _> = url.parse();
        info.map(Url)
            .map_err(|_| "expected a URL such as redis://localhost:6379 or redis://:PASSWORD@HOST")
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Url")
    }
}

impl Redis {
    /// Loads what Redis has, and returns it with the authors' secret. It waits for Redis as long as
    /// that takes, blocking the thread.
    ///
    /// # Errors
    /// Threads or sockets cannot be made.
    pub(crate) fn open(
        url: Url,
        hub: Arc<Hub>,
        standing: Arc<Standing>,
        report: Reporter,
        random: impl Fn() -> [u8; 16] + Sync,
    ) -> io::Result<(Redis, [u8; 16])> {
        let client = redis::Client::open(url.0).map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            hub,
            link: Link::new(client, report.clone()),
            report,
            standing,
            server: format!("{:032x}", u128::from_be_bytes(random())),
            attempts: AtomicU64::new(0),
            position: watch::Sender::new(EventId::ZERO),
            epoch: Mutex::new(EventId::ZERO),
            is_outdated: AtomicBool::new(false),
            is_following: AtomicBool::new(false),
            presence: Presence::default(),
            under_way: RwLock::new(()),
        });
        let secret = std::thread::scope(|scope| {
            // A runtime of its own: the caller's may have no other thread.
            let load = || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.enable_all().build()?;
                Ok(runtime.block_on(shared.load_first(random())))
            };
            let loaded = scope.spawn(load).join();
            loaded.unwrap_or_else(|_| Err(io::Error::other("cannot load the rooms from Redis")))
        })?;
        let (follower, announcer) = (shared.clone(), shared.clone());
        let tasks = [
            Task(tokio::spawn(async move { follower.follow().await })),
            Task(tokio::spawn(async move { announcer.announce().await })),
        ];
        Ok((Redis { shared, tasks }, secret))
    }

    /// Appends a draft, and waits until it is published here.
    ///
    /// # Errors
    /// `store-unreachable`: the draft may have been appended all the same.
    pub(crate) async fn append(&self, room: &RoomName, draft: Draft) -> Result<Committed, Refusal> {
        let shared = &self.shared;
        if let Some(frame) = shared.hub.duplicate_of(room, &draft)? {
            return Ok(Committed::Duplicate(frame));
        }
        let appended = async {
            let _under_way = shared.under_way.read().await;
            shared.append(room, draft).await
        };
        timeout(PATIENCE, appended)
            .await
            .unwrap_or(Err(Refusal::StoreUnreachable))
    }

    /// Claims a name for a session in all of these rooms, unless the session has it here.
    ///
    /// # Errors
    /// `name-taken` or `store-unreachable`.
    pub(crate) async fn claim(&self, rooms: &[RoomName], claim: &Claim) -> Result<(), Refusal> {
        if self.shared.hub.has_here(rooms, claim) {
            return Ok(());
        }
        timeout(PATIENCE, self.shared.claim(rooms, claim))
            .await
            .unwrap_or(Err(Refusal::StoreUnreachable))
    }

    /// Waits until this server has published what the feed has up to a position; at once if the feed
    /// does not have it. While Redis is away, it waits for it.
    pub(crate) fn reach(&self, position: EventId) -> Reached {
        let shared = self.shared.clone();
        Box::pin(Task(tokio::spawn(
            async move { shared.reach(position).await },
        )))
    }

    /// Whether this server has yet to read up to a position, as far as it knows.
    pub(crate) fn is_ahead(&self, position: EventId) -> bool {
        position > self.shared.hub.newest()
    }

    /// Whether Redis takes messages and gives them.
    pub(crate) fn is_up(&self) -> bool {
        self.shared.link.is_up() && self.shared.is_following.load(Ordering::Relaxed)
    }

    /// Answers the posts under way, and leaves this server's names to their grace.
    pub(crate) async fn close(&self) {
        // The task that announces must not take the members' departure for the end of their grace.
        self.tasks[1].0.abort();
        let under_way = self.shared.under_way.write();
        drop(timeout(PATIENCE, under_way).await);
        drop(timeout(FAREWELL_TIMEOUT, self.shared.say_farewell()).await);
    }

    /// Carries out commands that change who may do what, and waits until the change is known here.
    pub(crate) async fn change(&self, change: &Change) -> Result<(), Refusal> {
        let now = self.shared.hub.clock().unix_ms();
        let mut bans = lock(&self.shared.standing.bans).clone();
        bans.retain(|ban| ban.until > now);
        let is_banned = |author| bans.iter().any(|ban| ban.author == author);
        match change {
            Change::Lift(author) if !is_banned(*author) => return Err(Refusal::NotFound),
            Change::Ban(ban) if bans.len() >= MOST_BANS && !is_banned(ban.author) => {
                return Err(Refusal::TooManyBans);
            }
            _ => {}
        }
        timeout(PATIENCE, self.shared.change(change))
            .await
            .unwrap_or(Err(Refusal::StoreUnreachable))
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Task>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Shared {
    fn epoch(&self) -> EventId {
        *lock(&self.epoch)
    }

    /// Waits until an entry of the feed is published here.
    async fn published(&self, id: EventId) {
        let mut position = self.position.subscribe();
        // The sender lives as long as `self`.
        let _ = position.wait_for(|position| *position >= id).await;
    }

    async fn reach(&self, position: EventId) {
        let last = loop {
            let mut pipeline = redis::pipe();
            pipeline.cmd("XINFO").arg("STREAM").arg(key("feed"));
            let info: Result<Vec<std::collections::HashMap<String, Value>>, _> =
                self.link.pipeline(&pipeline).await;
            if let Ok(info) = info {
                let last = info.into_iter().next();
                let last = last.and_then(|mut info| info.remove("last-generated-id"));
                let last = last.and_then(|id| redis::from_redis_value::<String>(id).ok());
                break last.and_then(|id| id.parse().ok()).unwrap_or(EventId::ZERO);
            }
        };
        if position <= last {
            self.published(position).await;
        }
    }
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn room_key(room: &RoomName) -> String {
    key(&format!("room:{room}"))
}
