//! Following the feed: loading what Redis has, and publishing what comes.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, ErrorKind, InfoDict, RedisError, RedisResult};
use tokio::time::sleep;

use super::entry::{self, Entries, Fields};
use super::link::{Backoff, SILENCE};
use super::standing::hash_password;
use super::{EPOCH, LOAD, NEWEST, Redis, call, key, patiently, room_key};
use crate::lock::lock;
use crate::names::RoomName;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::rooms::entries::Loaded;
use crate::rooms::id::EventId;

/// How long a read blocks; a new epoch is noticed this late. Far less than a silence that counts as
/// an outage.
const BLOCK: Duration = Duration::from_millis(500);
/// Entries of one read, at most: they are in memory twice for a moment. The feed keeps as many.
const READ_ENTRIES: usize = 64;
/// Entries of one room to load, at most.
const MOST_LOADED: usize = 10_000;

impl Redis {
    /// Follows the feed, through every outage. It never returns.
    pub(super) async fn follow(&self) {
        let mut backoff = Backoff::default();
        loop {
            let Err(error) = self.follow_once(&mut backoff).await;
            self.is_following.store(false, Ordering::Relaxed);
            if backoff.is_fresh() {
                let waiting = format_args!("waiting for Redis: {error}");
                self.hub.options.log.error(waiting);
            }
            sleep(backoff.next()).await;
        }
    }

    async fn follow_once(&self, backoff: &mut Backoff) -> RedisResult<Infallible> {
        let log = &self.hub.options.log;
        let mut connection = self.link.connect(SILENCE).await?;
        self.meet(&mut connection, false).await?;
        self.is_following.store(true, Ordering::Relaxed);
        if !backoff.is_fresh() {
            backoff.reset();
            log.info(format_args!("Redis is back"));
        }
        loop {
            if self.is_outdated.swap(false, Ordering::Relaxed) {
                self.meet(&mut connection, false).await?;
            }
            let entries = self.read(&mut connection).await?;
            let Some((last, _)) = entries.last() else {
                continue;
            };
            let last = *last;
            if entries.len() >= READ_ENTRIES && self.is_trimmed(&mut connection).await? {
                log.info(format_args!("fell behind the feed: loading the rooms anew"));
                self.meet(&mut connection, true).await?;
                continue;
            }
            let mut standing_changed = false;
            for (id, fields) in entries {
                standing_changed |= self.apply(id, &fields);
            }
            if standing_changed {
                self.load_standing(&mut connection).await?;
            }
            self.position.send_replace(last);
        }
    }

    async fn read(&self, connection: &mut MultiplexedConnection) -> RedisResult<Entries> {
        let position = self.position.borrow().to_string();
        let mut command = redis::cmd("XREAD");
        command.arg(("COUNT", READ_ENTRIES, "BLOCK", BLOCK.as_millis() as u64));
        command.arg(("STREAMS", key("feed"), position));
        let streams: Option<Vec<(String, Entries)>> = command.query_async(connection).await?;
        let entries = streams.into_iter().flatten().map(|(_, entries)| entries);
        Ok(entries.flatten().collect())
    }

    /// Whether the feed no longer has what follows this server's position: `XREAD` passes over it.
    async fn is_trimmed(&self, connection: &mut MultiplexedConnection) -> RedisResult<bool> {
        let mut command = redis::cmd("XRANGE");
        command.arg((key("feed"), "-", "+", "COUNT", 1));
        let oldest: Entries = command.query_async(connection).await?;
        let oldest = oldest.first();
        Ok(oldest.is_none_or(|(oldest, _)| *oldest > *self.position.borrow()))
    }

    /// Publishes an entry. Says whether moderators or bans have changed.
    fn apply(&self, id: EventId, fields: &Fields) -> bool {
        match fields.get("kind") {
            Some("epoch") => self.is_outdated.store(true, Ordering::Relaxed),
            Some("presence") => self.hear(fields),
            Some("standing") => return true,
            // Of a kind that a later version may have added, nothing is decoded.
            _ => {
                if let Some((room, entry)) = entry::decode(id, fields) {
                    self.hub.publish(&room, entry);
                    self.hub.evict(&room, entry::evicted(fields));
                }
            }
        }
        false
    }

    /// Finds out in which epoch Redis is. In a new one, or where this server does not know
    /// everything, it loads what there is.
    async fn meet(
        &self,
        connection: &mut MultiplexedConnection,
        must_load: bool,
    ) -> RedisResult<()> {
        let (run, durable) = identify(connection).await?;
        let mut call = call(&EPOCH);
        call.key(key("secret")).arg(run).arg(u8::from(durable));
        call.arg(self.position.borrow().to_string());
        call.arg(format!("{:032x}", *lock(&self.secret)));
        let (epoch, last, secret, now): (EventId, EventId, String, u64) =
            call.invoke_async(connection).await?;
        let before = self.epoch();
        if before == EventId::ZERO {
            let secret = u128::from_str_radix(&secret, 16);
            let secret = secret.map_err(|_| unexpected("a secret"))?;
            let password = self.hub.options.moderator_password.as_ref();
            self.password_hash
                .get_or_init(|| hash_password(secret, password));
            *lock(&self.secret) = secret;
        }
        self.load_rosters(connection).await?;
        // This server's own may have expired.
        *lock(&self.told) = None;
        if epoch != before || must_load {
            let mut loaded = load_rooms(connection, last, epoch, &self.hub.options).await?;
            // Rooms that Redis does not have had no later entries: it keeps a room so long.
            let forgotten = self.room_ms().map(|kept| EventId {
                milliseconds: now.saturating_sub(kept),
                sequence: EventId::LAST_SEQUENCE,
            });
            loaded.mark = epoch.max(forgotten.unwrap_or_default().min(last));
            self.load_standing(connection).await?;
            let is_new = before != EventId::ZERO && epoch != before;
            if is_new {
                // Before this server takes new names in the new epoch.
                self.tell_changes(epoch, true).await?;
            }
            self.hub.load(loaded);
            *lock(&self.epoch) = epoch;
            self.position.send_replace(last);
            if is_new {
                self.hub.options.log.error(format_args!(
                    "Redis may have lost messages that it had acknowledged: every stream is told"
                ));
            }
        }
        Ok(())
    }

    /// Waits until an entry of the feed is published here.
    pub(super) async fn published(&self, id: EventId) {
        let mut position = self.position.subscribe();
        // The sender lives as long as `self`.
        let _ = position.wait_for(|position| *position >= id).await;
    }

    /// Waits until this server has published all that the feed has, so that it knows a position which another
    /// server gave out. It waits even if the position is known here already: the other server may have read
    /// further, and evicted entries below the position that this one still retains.
    ///
    /// # Errors
    /// `store-unreachable`: the position is not known here, and Redis does not answer in time.
    pub(crate) async fn reach(&self, position: EventId) -> Result<(), Refusal> {
        let caught_up = patiently(self.catch_up()).await;
        if position > self.hub.newest() {
            // Another server may have given out the id of an entry that is in no room.
            self.hub.advance(*self.position.borrow());
        }
        match position <= self.hub.newest() {
            true => Ok(()),
            false => caught_up,
        }
    }

    async fn catch_up(&self) -> Result<(), Refusal> {
        while self.is_following.load(Ordering::Relaxed) {
            // The link paces the attempts.
            if let Ok(newest) = self.link.run(&call(&NEWEST)).await {
                self.published(newest).await;
                return Ok(());
            }
        }
        Err(Refusal::StoreUnreachable)
    }
}

/// The run id of Redis, and whether a restart of it loses nothing.
async fn identify(connection: &mut MultiplexedConnection) -> RedisResult<(String, bool)> {
    let info: InfoDict = redis::cmd("INFO").query_async(connection).await?;
    let role: Option<String> = info.get("role");
    if role.is_some_and(|role| role != "master") {
        return Err((ErrorKind::Client, "this is a replica, not the master").into());
    }
    let run = info.get("run_id").ok_or_else(|| unexpected("a run_id"))?;
    // A replica that was promoted may lack what its master had acknowledged.
    let replicated: Option<i64> = info.get("second_repl_offset");
    let was_replica = replicated.is_some_and(|offset| offset >= 0);
    let mut command = redis::cmd("CONFIG");
    command.arg(("GET", "append*"));
    // A managed service may forbid the question, and then makes no promise.
    let set: RedisResult<HashMap<String, String>> = command.query_async(connection).await;
    let set = set.unwrap_or_default();
    let is = |name: &str, value: &str| set.get(name).is_some_and(|set| set == value);
    let durable = !was_replica && is("appendonly", "yes") && is("appendfsync", "always");
    Ok((run, durable))
}

/// What the rooms retain up to an id.
async fn load_rooms(
    connection: &mut MultiplexedConnection,
    last: EventId,
    begin: EventId,
    options: &Options,
) -> RedisResult<Loaded> {
    let most = options.history.min(MOST_LOADED);
    let names: Vec<String> = connection.zrange(key("rooms"), 0, -1).await?;
    let mut loaded = Loaded::new(begin);
    for name in names {
        let Ok(room) = RoomName::stored(&name) else {
            continue;
        };
        let mut call = call(&LOAD);
        call.key(room_key(&room))
            .arg(last.to_string())
            .arg(most + 1);
        let (newest, mut newest_first): (Option<Fields>, Entries) =
            call.invoke_async(connection).await?;
        let Some(newest) = newest else {
            // It has expired.
            continue;
        };
        // What came later, and is gone already, comes by the feed.
        let evicted = entry::evicted(&newest).min(last);
        // What is not loaded counts as evicted here.
        let left_out = newest_first.drain(most.min(newest_first.len())..).next();
        let evicted = left_out.map_or(evicted, |(left_out, _)| left_out.max(evicted));
        let history = loaded.room(room, evicted);
        let entries = newest_first.into_iter().rev();
        let entries = entries.filter(|(id, _)| *id > evicted);
        entries
            .filter_map(|(id, fields)| Some(entry::decode(id, &fields)?.1))
            .for_each(|entry| history.push(entry, options));
    }
    Ok(loaded)
}

pub(super) fn unexpected(what: &'static str) -> RedisError {
    let detail = "not written by this program: expected";
    (ErrorKind::UnexpectedReturnType, detail, what.to_owned()).into()
}
