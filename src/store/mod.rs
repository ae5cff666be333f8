//! The one seam between a post and its rooms: the store commits an entry, gives it its id, and
//! hands it to the hub in commit order.
//!
//! Each kind says when an entry counts as stored: memory at once, the [`journal`] when it is in the
//! file (and synced, where that is asked for), Redis when the entry has come back from there. Only
//! then does anybody see it, so nobody ever sees a message that was then refused.

pub(crate) mod bans;
pub(crate) mod codes;
pub(crate) mod seen;
pub(crate) mod standing;

mod durable;
mod folder;
mod journal;
#[cfg(feature = "redis")]
mod redis;
mod sealed;
mod secret;
#[cfg(test)]
mod test_folder;

use std::io;
use std::sync::Arc;

use tokio::sync::RwLockReadGuard;

use crate::author::SessionId;
use crate::names::RoomName;
use crate::refusal::Refusal;
use crate::rooms::entries::Committed;
use crate::rooms::hub::Hub;
use crate::rooms::id::EventId;
use crate::rooms::members::Claim;
use crate::rooms::message::Draft;
use codes::{Code, Codes};
use folder::DataFolder;
use journal::Journal;
use standing::{Change, Standing};

/// Keeps claimed names from being given up.
pub(crate) type Claiming<'a> = RwLockReadGuard<'a, ()>;

/// Where entries are stored.
pub(crate) enum Store {
    Memory(Arc<Hub>),
    Journal(Journal),
    #[cfg(feature = "redis")]
    Redis {
        redis: Arc<redis::Redis>,
        /// They end with the store.
        _tasks: tokio::task::JoinSet<()>,
    },
}

impl Store {
    /// Opens the store of a hub's options, and the secret from which authors are derived.
    ///
    /// # Errors
    /// The data folder cannot be used; the error says what to do.
    pub(crate) fn open(
        hub: &Arc<Hub>,
        standing: &Arc<Standing>,
        random: impl Fn() -> [u8; 16] + Sync,
    ) -> io::Result<(Store, [u8; 16])> {
        #[cfg(feature = "redis")]
        if let Some(url) = hub.options.redis.clone() {
            let (hub, standing) = (hub.clone(), standing.clone());
            let (redis, _tasks, secret) = redis::Redis::open(url, hub, standing, random)?;
            return Ok((Store::Redis { redis, _tasks }, secret));
        }
        let Some(path) = &hub.options.data else {
            return Ok((Store::Memory(hub.clone()), random()));
        };
        let folder = DataFolder::open(path)?;
        // To open the journal may change its file. These are read first: if one is damaged, nothing is
        // touched.
        let secret = secret::load(path)?;
        standing.read()?;
        let journal = Journal::open(folder, hub.clone())?;
        let secret = secret.map_or_else(|| secret::create(path, random()), Ok)?;
        Ok((Store::Journal(journal), secret))
    }

    /// Commits a draft. When this returns, the entry has its id and is in every client's queue.
    pub(crate) async fn append(&self, room: &RoomName, draft: Draft) -> Result<Committed, Refusal> {
        match self {
            Store::Memory(hub) => hub.commit(room, draft),
            Store::Journal(journal) => journal.append(room, draft).await,
            #[cfg(feature = "redis")]
            Store::Redis { redis, .. } => redis.append(room, draft).await,
        }
    }

    /// Tells the store that rooms have evicted entries, so that its file must lose them too.
    pub(crate) fn request_rewrite(&self) {
        if let Store::Journal(journal) = self {
            journal.request_rewrite();
        }
    }

    /// Commits what is in flight, makes it durable, and takes nothing more.
    pub(crate) async fn close(&self) {
        match self {
            Store::Memory(_) => {}
            Store::Journal(journal) => journal.close().await,
            #[cfg(feature = "redis")]
            Store::Redis { redis, .. } => redis.close().await,
        }
    }

    pub(crate) fn is_journal(&self) -> bool {
        matches!(self, Store::Journal(_))
    }

    /// Why the disk takes nothing at the moment, if it does not.
    pub(crate) fn trouble(&self) -> Option<Refusal> {
        match self {
            Store::Journal(journal) => journal.trouble(),
            _ => None,
        }
    }

    /// Whether the store takes messages at the moment.
    pub(crate) fn is_up(&self) -> bool {
        match self {
            #[cfg(feature = "redis")]
            Store::Redis { redis, .. } => redis.is_up(),
            _ => self.trouble().is_none(),
        }
    }

    /// With Redis, when the newest entry of the feed that was read here was written, in milliseconds since
    /// the Unix epoch.
    pub(crate) fn feed_time_ms(&self) -> Option<u64> {
        match self {
            #[cfg(feature = "redis")]
            Store::Redis { redis, .. } => Some(redis.feed_time_ms()),
            _ => None,
        }
    }

    /// Makes sure that no other author has the claimed name in these rooms at another server. To be held
    /// until the stream has joined.
    pub(crate) async fn claim(
        &self,
        rooms: &[RoomName],
        claim: &Claim,
    ) -> Result<Option<Claiming<'_>>, Refusal> {
        match self {
            #[cfg(feature = "redis")]
            Store::Redis { redis, .. } => redis.claim(rooms, claim).await,
            _ => {
                // The hub knows all names.
                let _ = (rooms, claim);
                Ok(None)
            }
        }
    }

    /// Waits until this server has what another one gave out up to a position.
    ///
    /// # Errors
    /// `store-unreachable`: Redis does not answer in time.
    pub(crate) async fn reach(&self, position: EventId) -> Result<(), Refusal> {
        match self {
            #[cfg(feature = "redis")]
            Store::Redis { redis, .. } => redis.reach(position).await,
            _ => {
                // The hub has given out all positions.
                let _ = position;
                Ok(())
            }
        }
    }

    /// Carries out a change of bans or moderators, at other servers too.
    pub(crate) async fn change(
        &self,
        standing: &Arc<Standing>,
        change: Change,
        unix_ms: u64,
    ) -> Result<(), Refusal> {
        #[cfg(feature = "redis")]
        if let Store::Redis { redis, .. } = self {
            return redis.change(&change).await;
        }
        let standing = standing.clone();
        let applying = tokio::task::spawn_blocking(move || standing.apply(change, unix_ms));
        // It only fails if the runtime is shutting down.
        applying.await.unwrap_or(Err(Refusal::Draining))
    }

    /// Keeps a code that takes a session to another device, at all servers.
    pub(crate) async fn put_code(
        &self,
        codes: &Codes,
        code: Code,
        unix_ms: u64,
    ) -> Result<(), Refusal> {
        match self {
            #[cfg(feature = "redis")]
            Store::Redis { redis, .. } => redis.put_code(code, unix_ms).await,
            _ => {
                codes.put(code, unix_ms);
                Ok(())
            }
        }
    }

    /// Takes a code, which cannot be used again: the session, and what the code carried.
    pub(crate) async fn take_code(
        &self,
        codes: &Codes,
        bits: u64,
        unix_ms: u64,
    ) -> Result<Option<(SessionId, Vec<u8>)>, Refusal> {
        match self {
            #[cfg(feature = "redis")]
            Store::Redis { redis, .. } => redis.take_code(bits, unix_ms).await,
            _ => Ok(codes.take(bits, unix_ms)),
        }
    }

    /// How long a session is a moderator, in milliseconds.
    pub(crate) fn moderator_ms(&self) -> u64 {
        match self {
            #[cfg(feature = "redis")]
            Store::Redis { .. } => redis::MODERATOR_MS,
            // Until the server stops.
            _ => u64::MAX,
        }
    }
}
