//! Who is connected to which server, and whose a name is.
//!
//! Each server has a roster in Redis, which expires unless it is renewed, and changes it by a script
//! that lets no name into two rosters for two authors. The script tells the change on the feed. A
//! server that is silent for too long counts as dead, and its members leave.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, RedisResult};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::super::Claiming;
use super::entry::Fields;
use super::feed::unexpected;
use super::{BATCH, EPOCH_PAUSE, PRESENCE, Redis, call, key, patiently};
use crate::author::Author;
use crate::clock::milliseconds;
use crate::lock::lock;
use crate::names::{MemberName, RoomName};
use crate::refusal::Refusal;
use crate::rooms::id::EventId;
use crate::rooms::limits::NAME_GRACE;
use crate::rooms::members::Claim;
use crate::store::seen::Sighting;

/// How often a server tells changes.
const TICK: Duration = Duration::from_secs(1);
/// After how long a server renews its roster, changed or not: at the fifth tick.
const RENEWAL: Duration = Duration::from_millis(4_500);
/// Rosters expire after this long without renewal: 20 to 25 s after a crash.
const EXPIRY: Duration = Duration::from_secs(25);

/// How a roster's field begins that says where an author was last seen. No room's name begins so.
const SEEN: char = '@';

/// Who is connected to a server, as the script has it.
pub(super) type Roster = BTreeMap<String, String>;

/// Fields of a roster with their new values; an empty one removes the field.
type Changes = Vec<(String, String)>;

/// Another server.
pub(super) struct Server {
    /// When it counts as dead, unless it tells something.
    expires_at: Instant,
    roster: Roster,
}

/// The field of a name in a roster. A room's name has no colon.
pub(super) fn field_of(room: &RoomName, name: &MemberName) -> String {
    format!("{room}:{}", name.folded().as_str())
}

/// The field of a member in a roster, with its value.
fn field_of_member(room: &RoomName, name: &MemberName, author: Author) -> (String, String) {
    (field_of(room, name), format!("{author} {name}"))
}

/// The member that a field of a roster stands for; `None` if it counts listeners.
fn member(field: &str, value: &str) -> Option<(RoomName, MemberName, Author)> {
    let (room, _) = field.split_once(':')?;
    let (author, name) = value.split_once(' ')?;
    Some((
        RoomName::stored(room).ok()?,
        MemberName::stored(name).ok()?,
        author.parse().ok()?,
    ))
}

/// Where an author was seen, as a field of a roster says.
fn seen(author: &str, value: &str) -> Option<(Author, Sighting)> {
    let (address, name) = value.split_once(' ')?;
    let sighting = (MemberName::stored(name).ok()?, address.parse().ok()?);
    Some((author.parse().ok()?, sighting))
}

/// What turns one roster into another.
fn changes(before: &Roster, now: &Roster) -> Changes {
    let gone = before.keys().filter(|field| !now.contains_key(*field));
    let gone = gone.map(|field| (field.clone(), String::new()));
    let new = now
        .iter()
        .filter(|(field, value)| before.get(*field) != Some(value));
    let new = new.map(|(field, value)| (field.clone(), value.clone()));
    gone.chain(new).collect()
}

impl Redis {
    /// Claims a name for a session in all of these rooms, unless the session has it here, spelt so. When
    /// this returns, this server has heard who had it before. To be held until the stream has joined.
    ///
    /// # Errors
    /// `name-taken` or `store-unreachable`.
    pub(crate) async fn claim(
        &self,
        rooms: &[RoomName],
        claim: &Claim,
    ) -> Result<Option<Claiming<'_>>, Refusal> {
        if self.hub.has_here(rooms, claim) {
            return Ok(None);
        }
        let names = rooms.iter();
        let names = names.map(|room| field_of_member(room, &claim.name, claim.author));
        let names: Changes = names.collect();
        patiently(async {
            let claiming = self.claiming.read().await;
            loop {
                if let Some(told) = &mut *lock(&self.told) {
                    // Where no stream follows, the next tick gives them up.
                    told.extend(names.iter().cloned());
                }
                let claimed = self.alter(self.epoch(), "claim", EXPIRY, &names).await;
                match claimed {
                    Ok((status, told)) if status == "ok" => {
                        self.published(told.parse().unwrap_or(EventId::ZERO)).await;
                        return Ok(Some(claiming));
                    }
                    Ok((_, field)) => {
                        let index = names.iter().position(|(taken, _)| *taken == field);
                        let room = rooms[index.unwrap_or_default()].clone();
                        return Err(Refusal::NameTaken { room });
                    }
                    Err(_) => sleep(EPOCH_PAUSE).await,
                }
            }
        })
        .await
    }

    /// Tells changes and renews the roster at each tick. It never returns.
    pub(super) async fn announce(&self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewed_at = Instant::now();
        loop {
            ticks.tick().await;
            if !self.is_following.load(Ordering::Relaxed) {
                continue;
            }
            self.forget_dead();
            let begun_at = Instant::now();
            let renews = begun_at - renewed_at >= RENEWAL || !self.link.is_up();
            if begun_at - renewed_at > EXPIRY / 2 {
                // The others may count this server as dead by now: it has to tell them all.
                *lock(&self.told) = None;
            }
            // What is claimed may yet get its stream.
            let nobody_claims = self.claiming.write().await;
            // What fails is due again at the next tick.
            if self.tell_changes(self.epoch(), renews).await.is_ok() && renews {
                renewed_at = begun_at;
            }
            drop(nobody_claims);
        }
    }

    /// Tells what has changed since it was last told, or everything where Redis may not have that.
    pub(super) async fn tell_changes(&self, epoch: EventId, renews: bool) -> RedisResult<()> {
        let present = self.present();
        let (mode, changes) = match &mut *lock(&self.told) {
            Some(told) => ("change", changes(told, &present)),
            unknown => ("all", changes(unknown.insert(Roster::new()), &present)),
        };
        if !renews && mode == "change" && changes.is_empty() {
            return Ok(());
        }
        let altered = self.alter(epoch, mode, EXPIRY, &changes).await;
        let told = &mut *lock(&self.told);
        // It may have been found outdated meanwhile.
        *told = told.take().filter(|_| altered.is_ok()).map(|_| present);
        altered.map(drop)
    }

    /// Who is connected to this server at the moment, or in their grace.
    fn present(&self) -> Roster {
        let mut present = Roster::new();
        for (room, listeners, members) in self.hub.here() {
            let members = members.into_iter();
            present.extend(members.map(|(name, author)| field_of_member(&room, &name, author)));
            if listeners > 0 {
                present.insert(room.to_string(), listeners.to_string());
            }
        }
        let seen = self.standing.seen.here().into_iter();
        present.extend(seen.map(|(author, (name, address))| {
            (format!("{SEEN}{author}"), format!("{address} {name}"))
        }));
        present
    }

    /// Lets this server's names expire after their grace, and tells that it has no listeners now.
    pub(super) async fn say_farewell(&self) -> RedisResult<()> {
        let fields = self.present().into_keys();
        let rooms = fields.filter(|field| !field.contains(':'));
        let changes = rooms.map(|room| (room, String::new())).collect();
        let told = self.alter(self.epoch(), "change", NAME_GRACE, &changes);
        told.await.map(drop)
    }

    /// Runs the script; returns its answer to the last batch.
    async fn alter(
        &self,
        epoch: EventId,
        mut mode: &str,
        expiry: Duration,
        changes: &Changes,
    ) -> RedisResult<(String, String)> {
        let mut last = Default::default();
        let nothing = changes.is_empty().then_some(&[][..]);
        for batch in changes.chunks(BATCH).chain(nothing) {
            let mut call = call(&PRESENCE);
            call.key(key("servers"));
            call.key(key(&format!("roster:{}", self.server)));
            call.arg(epoch.to_string()).arg(&self.server);
            call.arg(milliseconds(expiry)).arg(mode);
            for (field, value) in batch {
                call.arg(field).arg(value);
            }
            let answer: (String, String) = self.link.run(&call).await?;
            if answer.0 == "epoch" {
                self.is_outdated.store(true, Ordering::Relaxed);
                return Err(unexpected("the present epoch"));
            }
            if mode == "all" {
                mode = "change";
            }
            last = answer;
        }
        Ok(last)
    }

    /// Applies what the feed tells of a roster.
    pub(super) fn hear(&self, fields: &Fields) {
        let text = |field| fields.get(field).unwrap_or_default();
        let changes = serde_json::from_str(text("changes"));
        if let (Ok(changes), Ok(ms)) = (changes, text("ms").parse())
            && text("server") != self.server
        {
            self.take_in(text("server"), changes, text("mode"), ms);
        }
    }

    /// Applies changes of another server's roster, or all of it, that hold for so many milliseconds.
    fn take_in(&self, server: &str, changes: Changes, mode: &str, ms: u64) {
        let others = &mut *lock(&self.others);
        let expires_at = Instant::now() + Duration::from_millis(ms).min(EXPIRY);
        let known = others.entry(server.to_owned()).or_insert(Server {
            expires_at,
            roster: Roster::new(),
        });
        known.expires_at = expires_at;
        let changes = match mode {
            "all" => self::changes(&known.roster, &changes.into_iter().collect()),
            _ => changes,
        };
        for (field, value) in changes {
            let before = match value.is_empty() {
                true => known.roster.remove(&field),
                false => known.roster.insert(field.clone(), value.clone()),
            };
            self.pass_on(&field, &before.unwrap_or_default(), &value);
            if mode == "claim"
                && let Some((room, name, author)) = member(&field, &value)
            {
                // What is told at ticks may be older than what others have claimed since.
                self.hub.respell(&room, &name, author);
            }
        }
    }

    /// Tells the hub what a field of another server's roster was, and is now.
    fn pass_on(&self, field: &str, before: &str, now: &str) {
        if let Some(author) = field.strip_prefix(SEEN) {
            if let Some((author, sighting)) = seen(author, now) {
                self.standing.seen.hear(author, sighting);
            }
            return;
        }
        if !field.contains(':') {
            let count = |text: &str| text.parse().unwrap_or_default();
            if let Ok(room) = RoomName::stored(field) {
                self.hub.listen_elsewhere(&room, count(before), count(now));
            }
            return;
        }
        let (before, now) = (member(field, before), member(field, now));
        if before.as_ref().map(|(.., author)| author) == now.as_ref().map(|(.., author)| author) {
            return;
        }
        if let Some((room, name, author)) = before {
            self.hub.left_elsewhere(&room, &name, author);
        }
        if let Some((room, name, author)) = now {
            self.hub.joined_elsewhere(&room, &name, author);
        }
    }

    /// Removes the members of servers that are silent, or that stopped a grace ago.
    fn forget_dead(&self) {
        let now = Instant::now();
        let others = &mut *lock(&self.others);
        let dead = others.extract_if(|_, other| other.expires_at <= now);
        for (field, value) in dead.flat_map(|(_, dead)| dead.roster) {
            self.pass_on(&field, &value, "");
        }
    }

    /// Loads the rosters of the other servers. Those that Redis does not have get time to tell theirs
    /// again: nobody could be heard for a while.
    pub(super) async fn load_rosters(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        let expires_at = Instant::now() + EXPIRY;
        for other in lock(&self.others).values_mut() {
            other.expires_at = expires_at;
        }
        let servers: Vec<String> = connection.smembers(key("servers")).await?;
        for server in servers {
            let hash = key(&format!("roster:{server}"));
            let mut all = redis::pipe();
            all.atomic().hgetall(&hash).pttl(&hash);
            let (roster, ms): (Roster, i64) = all.query_async(connection).await?;
            if server != self.server && !roster.is_empty() {
                let (roster, ms) = (roster.into_iter().collect(), ms.try_into());
                self.take_in(&server, roster, "all", ms.unwrap_or_default());
            }
        }
        Ok(())
    }
}
