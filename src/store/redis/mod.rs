//! The store that several servers share: a Redis or Valkey server, whose streams are the log.
//!
//! A script appends each entry to its room and to the *feed* ([`append`], [`entry`]). Every server
//! follows the feed ([`feed`]) and publishes what comes back from it, its own posts included, so
//! there is one order everywhere. Each server keeps in Redis who is connected to it, and by that which
//! names are taken ([`presence`]).
//!
//! An *epoch* is a time in which Redis has lost nothing. When a new one begins, every server loads
//! the rooms anew and tells its streams that entries were lost.

mod append;
mod codes;
mod entry;
mod feed;
mod link;
mod presence;
mod standing;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::Duration;

use redis::{Script, ScriptInvocation};
use tokio::sync::{RwLock, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::standing::Standing;
use crate::lock::lock;
use crate::names::RoomName;
use crate::options::RedisUrl;
use crate::refusal::Refusal;
use crate::rooms::hub::Hub;
use crate::rooms::id::EventId;
use link::Link;
use presence::{Roster, Server};
pub(crate) use standing::MODERATOR_MS;

/// How long a post, or a new name, may wait for Redis.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait for this server to notice a new epoch before an append is tried again.
const EPOCH_PAUSE: Duration = Duration::from_millis(50);
/// Names or rooms in one call of a script, and changes in one entry of the feed, at most: Redis
/// serves nobody else meanwhile.
const BATCH: usize = 500;
/// How long a stopping server waits for the posts under way: together with the farewell less than
/// `--drain` by default, so that its clients are told goodbye.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);
/// How long a stopping server tries to tell the others.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// The store, and what its two tasks share: one follows the feed, the other announces who is here.
pub(crate) struct Redis {
    hub: Arc<Hub>,
    link: Link,
    standing: Arc<Standing>,
    /// The name by which the others know this server, made at random.
    server: String,
    /// Attempts to append so far.
    attempts: AtomicU64,
    /// The last entry of the feed that was published here.
    position: watch::Sender<EventId>,
    epoch: Mutex<EventId>,
    /// The authors' secret; a proposal until Redis has answered.
    secret: Mutex<u128>,
    /// What the moderators' password leaves behind in Redis.
    password_hash: OnceLock<u64>,
    /// Another epoch has begun, or might have.
    is_outdated: AtomicBool,
    /// The feed is being read.
    is_following: AtomicBool,
    /// Posts hold it for reading while they are under way.
    under_way: RwLock<()>,
    /// The other servers, by their names.
    others: Mutex<HashMap<String, Server>>,
    /// This server's roster, as Redis and the other servers have it, with the names that it has claimed;
    /// `None` where they may have another.
    told: Mutex<Option<Roster>>,
    /// Streams hold it for reading from their claim until they have joined.
    claiming: RwLock<()>,
    announcer: OnceLock<AbortHandle>,
}

impl Redis {
    /// Loads what Redis has, and returns the store with its tasks, which end when they are dropped,
    /// and the authors' secret. It waits for Redis as long as that takes, blocking the thread.
    ///
    /// # Errors
    /// Threads or sockets cannot be made.
    pub(crate) fn open(
        url: RedisUrl,
        hub: Arc<Hub>,
        standing: Arc<Standing>,
        random: impl Fn() -> [u8; 16] + Sync,
    ) -> io::Result<(Arc<Redis>, JoinSet<()>, [u8; 16])> {
        let client = redis::Client::open(url.0).map_err(io::Error::other)?;
        let report = hub.options.log.clone();
        let redis = Arc::new(Redis {
            hub,
            link: Link::new(client, report),
            standing,
            server: format!("{:032x}", u128::from_be_bytes(random())),
            attempts: AtomicU64::new(0),
            position: watch::Sender::new(EventId::ZERO),
            epoch: Mutex::default(),
            secret: Mutex::new(u128::from_be_bytes(random())),
            password_hash: OnceLock::new(),
            is_outdated: AtomicBool::new(false),
            is_following: AtomicBool::new(false),
            under_way: RwLock::default(),
            others: Mutex::default(),
            told: Mutex::default(),
            claiming: RwLock::default(),
            announcer: OnceLock::new(),
        });
        std::thread::scope(|scope| {
            // A runtime of its own: the caller's may have no other thread.
            let load = || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.enable_all().build()?;
                let follower = redis.clone();
                runtime.spawn(async move { follower.follow().await });
                runtime.block_on(redis.published(EventId::FIRST));
                Ok(())
            };
            let loaded = scope.spawn(load).join();
            loaded.unwrap_or_else(|_| Err(io::Error::other("cannot load the rooms from Redis")))
        })?;
        let mut tasks = JoinSet::new();
        let (follower, announcer) = (redis.clone(), redis.clone());
        tasks.spawn(async move { follower.follow().await });
        let announcer = tasks.spawn(async move { announcer.announce().await });
        redis.announcer.get_or_init(|| announcer);
        let secret = lock(&redis.secret).to_be_bytes();
        Ok((redis, tasks, secret))
    }

    /// Whether Redis takes messages and gives them.
    pub(crate) fn is_up(&self) -> bool {
        self.link.is_up() && self.is_following.load(Ordering::Relaxed)
    }

    /// When the newest entry of the feed was written that this server has read, in milliseconds since
    /// the Unix epoch.
    pub(crate) fn feed_time_ms(&self) -> u64 {
        self.position.borrow().milliseconds
    }

    /// Answers the posts under way, and leaves this server's names to their grace.
    pub(crate) async fn close(&self) {
        // It must not take the members' departure for the end of their grace.
        self.announcer.get().inspect(|announcer| announcer.abort());
        drop(timeout(SHUTDOWN_PATIENCE, self.under_way.write()).await);
        drop(timeout(FAREWELL_TIMEOUT, self.say_farewell()).await);
    }

    fn epoch(&self) -> EventId {
        *lock(&self.epoch)
    }
}

/// Waits for Redis no longer than a request may.
async fn patiently<T>(asking: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let answered = timeout(PATIENCE, asking).await;
    answered.unwrap_or(Err(Refusal::StoreUnreachable))
}

/// A script that writes to the feed.
macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| Script::new(concat!(include_str!("feed.lua"), include_str!($file))))
    };
}
static APPEND: LazyLock<Script> = script!("append.lua");
static EPOCH: LazyLock<Script> = script!("epoch.lua");
static LOAD: LazyLock<Script> = script!("load.lua");
static NEWEST: LazyLock<Script> = script!("newest.lua");
static PRESENCE: LazyLock<Script> = script!("presence.lua");
static CHANGE: LazyLock<Script> = script!("change.lua");

type Call = ScriptInvocation<'static>;

/// A call of one of them, with the keys that all of them have.
fn call(script: &'static Script) -> Call {
    let mut call = script.key(key("epoch"));
    call.key(key("feed"));
    call
}

/// All keys have one hash tag, so that a cluster keeps them together.
fn key(name: &str) -> String {
    format!("{{chatroom}}:{name}")
}

fn room_key(room: &RoomName) -> String {
    key(&format!("room:{room}"))
}
