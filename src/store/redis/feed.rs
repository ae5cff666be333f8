//! Following the feed: loading what Redis has, and publishing what comes.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, InfoDict, RedisError, RedisResult, Value};
use tokio::time::sleep;

use super::entry::{self, Raw};
use super::link::Backoff;
use super::{FEED_ENTRIES, Shared, key, room_key};
use crate::rooms::elsewhere::Retained;
use crate::rooms::id::EventId;
use crate::rooms::lock;
use crate::rooms::names::RoomName;

/// How long a read blocks; a new epoch is noticed this late. Far less than a silence that counts as
/// an outage.
const BLOCK: Duration = Duration::from_millis(500);
/// Entries of one read, at most: they are in memory twice for a moment.
const BATCH: usize = 64;
/// Entries of one room to load, at most, where the history has no limit in entries.
const MOST_LOADED: usize = 10_000;

/// Entries of a stream, as `XRANGE` and `XREAD` answer with them.
type Entries = Vec<(String, Value)>;

impl Shared {
    /// Loads what Redis has for the first time. Returns the authors' secret, which is `proposed` if
    /// there is none.
    pub(super) async fn load_first(&self, proposed: [u8; 16]) -> [u8; 16] {
        let mut backoff = Backoff::default();
        let mut told = false;
        loop {
            let loaded = async {
                let mut connection = self.link.dedicated().await?;
                let secret = secret(&mut connection, proposed).await?;
                self.meet(&mut connection, true).await?;
                Ok::<_, RedisError>(secret)
            };
            match loaded.await {
                Ok(secret) => return secret,
                Err(error) if !told => {
                    told = true;
                    self.report
                        .error(format_args!("waiting for Redis: {error}"));
                }
                Err(_) => {}
            }
            sleep(backoff.next()).await;
        }
    }

    /// Follows the feed for good.
    pub(super) async fn follow(&self) {
        let mut backoff = Backoff::default();
        let mut told = false;
        loop {
            let failed = self.follow_once(&mut backoff, &mut told).await;
            self.is_following.store(false, Ordering::Relaxed);
            if let Err(error) = failed
                && !std::mem::replace(&mut told, true)
            {
                self.report.error(format_args!("Redis is away: {error}"));
            }
            sleep(backoff.next()).await;
        }
    }

    async fn follow_once(&self, backoff: &mut Backoff, told: &mut bool) -> RedisResult<()> {
        let mut connection = self.link.dedicated().await?;
        self.meet(&mut connection, false).await?;
        backoff.reset();
        self.is_following.store(true, Ordering::Relaxed);
        if std::mem::take(told) {
            self.report.info(format_args!("Redis is back"));
        }
        loop {
            if self.is_outdated.swap(false, Ordering::Relaxed) {
                self.meet(&mut connection, false).await?;
            }
            let entries = self.read(&mut connection).await?;
            let Some((last, _)) = entries.last() else {
                continue;
            };
            let last = last.parse().map_err(|_| unexpected("an id"))?;
            if entries.len() >= BATCH && self.is_trimmed(&mut connection).await? {
                self.report
                    .info(format_args!("fell behind the feed: loading the rooms anew"));
                self.meet(&mut connection, true).await?;
                continue;
            }
            let mut standing_changed = false;
            for raw in entry::raw(entries) {
                standing_changed |= self.apply(&raw);
            }
            if standing_changed {
                self.load_standing(&mut connection).await?;
            }
            self.position.send_replace(last);
        }
    }

    async fn read(&self, connection: &mut MultiplexedConnection) -> RedisResult<Entries> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(BATCH);
        command.arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(key("feed"));
        command.arg(self.position.borrow().to_string());
        let streams: Option<Vec<(String, Entries)>> = command.query_async(connection).await?;
        let entries = streams.into_iter().flatten().map(|(_, entries)| entries);
        Ok(entries.flatten().collect())
    }

    /// Whether the feed no longer has what follows this server's position: `XREAD` passes over it.
    async fn is_trimmed(&self, connection: &mut MultiplexedConnection) -> RedisResult<bool> {
        let mut command = redis::cmd("XRANGE");
        command.arg(key("feed")).arg("-").arg("+");
        command.arg("COUNT").arg(1);
        let oldest: Entries = command.query_async(connection).await?;
        let oldest = entry::raw(oldest).next().map(|raw| raw.id);
        Ok(oldest.is_none_or(|oldest| oldest > *self.position.borrow()))
    }

    /// Publishes an entry. Says whether moderators or bans have changed.
    fn apply(&self, raw: &Raw) -> bool {
        match raw.fields.get("kind").map(String::as_str) {
            Some("epoch") if raw.id != self.epoch() => {
                self.is_outdated.store(true, Ordering::Relaxed);
            }
            Some("presence") => self.hear(&raw.fields),
            Some("standing") => return true,
            // Of a kind that a later version may have added, nothing is decoded.
            _ => {
                if let Some((room, entry)) = entry::decode(raw) {
                    self.hub.publish_once(&room, entry);
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
        let mut command = redis::cmd("EVAL");
        command.arg(include_str!("epoch.lua"));
        command.arg(2).arg(key("epoch")).arg(key("feed"));
        command.arg(run).arg(u8::from(durable));
        command.arg(self.position.borrow().to_string());
        command.arg(FEED_ENTRIES);
        let (epoch, last): (String, String) = command.query_async(connection).await?;
        let epoch: EventId = epoch.parse().map_err(|_| unexpected("an epoch"))?;
        let last: EventId = last.parse().map_err(|_| unexpected("an id"))?;
        let before = self.epoch();
        if epoch != before || must_load {
            let (forgotten_up_to, rooms) =
                load_rooms(connection, last, self.hub.limits().history.min(MOST_LOADED)).await?;
            self.load_standing(connection).await?;
            self.load_rosters(connection).await?;
            self.hub.reload(epoch, forgotten_up_to, rooms);
            if epoch != before {
                self.reclaim(epoch).await?;
            }
            *lock(&self.epoch) = epoch;
            self.position.send_replace(last);
            if before != EventId::ZERO && epoch != before {
                self.report.error(format_args!(
                    "Redis may have lost messages that it had acknowledged: every stream is told"
                ));
            }
        }
        // Nobody could be heard, and what was announced may have expired.
        self.presence.hear_all();
        self.presence.forget_announced();
        Ok(())
    }
}

/// The run id of Redis, and whether a restart of it loses nothing.
async fn identify(connection: &mut MultiplexedConnection) -> RedisResult<(String, bool)> {
    let info: InfoDict = redis::cmd("INFO").query_async(connection).await?;
    if info
        .get::<String>("role")
        .is_some_and(|role| role != "master")
    {
        return Err((ErrorKind::Client, "this is a replica, not the master").into());
    }
    let run = info.get("run_id").ok_or_else(|| unexpected("a run_id"))?;
    // A replica that was promoted may lack what its master had acknowledged.
    let was_replica = info
        .get::<i64>("second_repl_offset")
        .is_some_and(|offset| offset >= 0);
    let mut settings = HashMap::new();
    for name in ["appendonly", "appendfsync"] {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg(name);
        // A managed service may forbid the question, and then makes no promise.
        let answer: RedisResult<HashMap<String, String>> = command.query_async(connection).await;
        settings.extend(answer.unwrap_or_default());
    }
    let is = |name: &str, value: &str| settings.get(name).is_some_and(|set| set == value);
    let durable = is("appendonly", "yes") && is("appendfsync", "always") && !was_replica;
    Ok((run, durable))
}

/// The authors' secret.
async fn secret(
    connection: &mut MultiplexedConnection,
    proposed: [u8; 16],
) -> RedisResult<[u8; 16]> {
    let mut command = redis::cmd("SETNX");
    command.arg(key("secret"));
    command.arg(format!("{:032x}", u128::from_be_bytes(proposed)));
    let () = command.query_async(connection).await?;
    let mut command = redis::cmd("GET");
    command.arg(key("secret"));
    let secret: String = command.query_async(connection).await?;
    let secret = u128::from_str_radix(&secret, 16);
    secret
        .map(u128::to_be_bytes)
        .map_err(|_| unexpected("a secret"))
}

/// What the rooms have up to an id, and up to where those that are gone had something.
async fn load_rooms(
    connection: &mut MultiplexedConnection,
    last: EventId,
    most: usize,
) -> RedisResult<(EventId, Vec<(RoomName, Retained)>)> {
    let mut command = redis::cmd("HGETALL");
    command.arg(key("rooms"));
    let names: HashMap<String, String> = command.query_async(connection).await?;
    let mut forgotten_up_to = EventId::ZERO;
    let mut rooms = Vec::new();
    for name in names.into_keys() {
        let Ok(room) = RoomName::stored(&name) else {
            continue;
        };
        // At once, so that the mark fits the entries.
        let mut both = redis::pipe();
        both.atomic();
        both.cmd("XREVRANGE").arg(room_key(&room));
        both.arg(last.to_string()).arg("-").arg("COUNT").arg(most);
        both.cmd("HGET").arg(key("rooms")).arg(&name);
        both.cmd("EXISTS").arg(room_key(&room));
        let (entries, mark, exists): (Entries, String, bool) = both.query_async(connection).await?;
        let (evicted, newest) = mark.split_once(' ').ok_or_else(|| unexpected("a mark"))?;
        let mark = if exists { evicted } else { newest };
        let mark: EventId = mark.parse().map_err(|_| unexpected("a mark"))?;
        if exists {
            rooms.push((room, entry::retained(entries, mark)));
        } else {
            forgotten_up_to = forgotten_up_to.max(mark);
        }
    }
    Ok((forgotten_up_to, rooms))
}

pub(super) fn unexpected(what: &'static str) -> RedisError {
    (
        ErrorKind::UnexpectedReturnType,
        "not written by this program: expected",
        what.to_owned(),
    )
        .into()
}
