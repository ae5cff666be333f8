//! Who is connected to which server: what each server announces on the feed, and what it keeps in a
//! hash of its own for servers that start.
//!
//! A server that is silent for too long counts as dead, and its members leave.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, RedisResult};
use tokio::time::Instant;

use super::entry::{Fields, add_to_feed};
use super::{BATCH, Redis, key};
use crate::lock::lock;
use crate::names::{MemberName, RoomName};
use crate::rooms::author::Author;
use crate::rooms::clock::milliseconds;

/// Names and rosters expire after this long without renewal: 20 to 25 s after a crash.
pub(super) const EXPIRY: Duration = Duration::from_secs(25);

/// Who is connected to a server, as its hash in Redis has it: the field `ROOM:NAME`, in which the
/// name is folded, is `AUTHOR NAME`, and the field `ROOM` is how many listen there.
pub(super) type Roster = BTreeMap<String, String>;

/// What has changed in a roster: fields, and what they are now, if they are still there.
pub(super) type Changes = Vec<(String, Option<String>)>;

/// Another server.
pub(super) struct Server {
    /// When it counts as dead, unless it announces something.
    expires_at: Instant,
    roster: Roster,
}

/// What turns one roster into another.
pub(super) fn changes(before: &Roster, now: &Roster) -> Changes {
    let gone = before.keys().filter(|field| !now.contains_key(*field));
    let gone = gone.map(|field| (field.clone(), None));
    let new = now
        .iter()
        .filter(|(field, value)| before.get(*field) != Some(value));
    let new = new.map(|(field, value)| (field.clone(), Some(value.clone())));
    gone.chain(new).collect()
}

/// The member that a field of a roster stands for; `None` if it counts listeners.
pub(super) fn member(field: &str, value: &str) -> Option<(RoomName, MemberName, Author)> {
    let (room, _) = field.split_once(':')?;
    let (author, name) = value.split_once(' ')?;
    Some((
        RoomName::stored(room).ok()?,
        MemberName::stored(name).ok()?,
        author.parse().ok()?,
    ))
}

impl Redis {
    /// Announces changes, good for a time, and writes them to this server's hash. `is_first` means
    /// that they are the whole roster.
    pub(super) async fn tell(
        &self,
        changes: &Changes,
        is_first: bool,
        expiry: Duration,
    ) -> RedisResult<()> {
        let roster = key(&format!("roster:{}", self.server));
        let ms = milliseconds(expiry).to_string();
        let nothing = changes.is_empty().then_some(&[][..]);
        for (n, part) in changes.chunks(BATCH).chain(nothing).enumerate() {
            let is_first = is_first && n == 0;
            let mut all = redis::pipe();
            all.atomic();
            if is_first {
                all.del(&roster);
            }
            for (field, value) in part {
                match value {
                    Some(value) => all.hset(&roster, field, value),
                    None => all.hdel(&roster, field),
                };
            }
            all.cmd("PEXPIRE").arg(&roster).arg(&ms);
            all.sadd(key("servers"), &self.server);
            let fields = [
                ("kind", "presence"),
                ("server", &self.server),
                ("first", if is_first { "1" } else { "0" }),
                ("ms", &ms),
                ("changes", &serde_json::to_string(part).unwrap_or_default()),
            ];
            add_to_feed(&mut all, &fields);
            let () = self.link.pipeline(&all).await?;
        }
        Ok(())
    }

    /// Applies what a server announces.
    pub(super) fn hear(&self, fields: &Fields) {
        let text = |field: &str| fields.get(field).map_or("", String::as_str);
        let changes = serde_json::from_str::<Changes>(text("changes"));
        let (Ok(changes), Ok(ms)) = (changes, text("ms").parse()) else {
            return;
        };
        if text("server") != self.server {
            let is_first = text("first") == "1";
            self.take_in(text("server"), changes.clone(), is_first, ms);
        }
        // The last spelling on the feed counts at every server, this one's own included.
        for (field, value) in changes {
            if let Some(value) = value
                && let Some((room, name, author)) = member(&field, &value)
            {
                self.hub.respell(&room, &name, author);
                if let Some(announced) = &mut *lock(&self.announced)
                    && let Some(own) = announced.roster.get_mut(&field)
                    && own.starts_with(&author.to_string())
                {
                    *own = value;
                }
            }
        }
    }

    fn take_in(&self, server: &str, changes: Changes, is_first: bool, ms: u64) {
        let others = &mut *lock(&self.others);
        if is_first {
            self.forget(others, server);
        }
        let expires_at = Instant::now() + Duration::from_millis(ms).min(EXPIRY);
        let new = || Server {
            expires_at,
            roster: Roster::new(),
        };
        let known = others.entry(server.to_owned()).or_insert_with(new);
        known.expires_at = expires_at;
        for (field, value) in changes {
            // Borrowed anew for each, since a count is one of all servers.
            let Some(known) = others.get_mut(server) else {
                return;
            };
            let before = match &value {
                Some(value) => known.roster.insert(field.clone(), value.clone()),
                None => known.roster.remove(&field),
            };
            self.pass_on(others, &field, before, value);
        }
    }

    /// Tells the hub what a field of another server's roster was, and is now.
    fn pass_on(
        &self,
        others: &HashMap<String, Server>,
        field: &str,
        before: Option<String>,
        now: Option<String>,
    ) {
        if !field.contains(':') {
            let Ok(room) = RoomName::stored(field) else {
                return;
            };
            let counts = others.values().filter_map(|other| other.roster.get(field));
            let counts = counts.filter_map(|count| count.parse::<usize>().ok());
            return self.hub.listen_elsewhere(&room, counts.sum());
        }
        let before = before.and_then(|before| member(field, &before));
        let now = now.and_then(|now| member(field, &now));
        if let (Some((.., before)), Some((.., now))) = (&before, &now)
            && before == now
        {
            return;
        }
        if let Some((room, name, author)) = before {
            self.hub.depart(&room, &name, author);
        }
        if let Some((room, name, author)) = now {
            self.hub.arrive(&room, &name, author);
        }
    }

    fn forget(&self, others: &mut HashMap<String, Server>, server: &str) {
        let roster = others.remove(server).map(|server| server.roster);
        for (field, value) in roster.into_iter().flatten() {
            self.pass_on(others, &field, Some(value), None);
        }
    }

    /// Removes the members of servers that are silent, or that stopped a grace ago.
    pub(super) fn forget_dead(&self) {
        let now = Instant::now();
        let others = &mut *lock(&self.others);
        let dead = others.iter().filter(|(_, other)| other.expires_at <= now);
        let dead: Vec<String> = dead.map(|(server, _)| server.clone()).collect();
        dead.iter().for_each(|server| self.forget(others, server));
    }

    /// Whether the author has the name at another server too.
    pub(super) fn is_elsewhere(&self, (field, author): &(String, String)) -> bool {
        let others = lock(&self.others);
        let mut values = others.values().filter_map(|other| other.roster.get(field));
        values.any(|value| value.starts_with(author.as_str()))
    }

    /// Gives all servers time to announce something again: nobody could be heard for a while.
    pub(super) fn trust_others(&self) {
        let expires_at = Instant::now() + EXPIRY;
        let others = &mut *lock(&self.others);
        for other in others.values_mut() {
            other.expires_at = expires_at;
        }
    }

    /// Lists the owner of a name at another server again, after the streams under it here were ended.
    pub(super) fn restore(&self, field: &str) {
        for other in lock(&self.others).values() {
            let member = other
                .roster
                .get(field)
                .and_then(|value| member(field, value));
            if let Some((room, name, author)) = member {
                self.hub.arrive(&room, &name, author);
            }
        }
    }

    /// Loads the rosters of the other servers.
    pub(super) async fn load_rosters(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        let servers: Vec<String> = connection.smembers(key("servers")).await?;
        for server in servers {
            let hash = key(&format!("roster:{server}"));
            let mut all = redis::pipe();
            all.atomic().hgetall(&hash).pttl(&hash);
            let (roster, ms): (Roster, i64) = all.query_async(connection).await?;
            if roster.is_empty() {
                let () = connection.srem(key("servers"), &server).await?;
            } else if server != self.server {
                let known = lock(&self.others)
                    .get(&server)
                    .map(|known| known.roster.clone());
                let changes = changes(&known.unwrap_or_default(), &roster);
                // It may be dead already.
                self.take_in(&server, changes, false, ms.try_into().unwrap_or_default());
            }
        }
        Ok(())
    }
}
