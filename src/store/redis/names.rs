//! Names across servers: each is a key with an expiry, which its server renews.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::{RedisResult, Script};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::feed::unexpected;
use super::roster::{EXPIRY, Roster, changes, member};
use super::{BATCH, EPOCH_PAUSE, Redis, key, patiently};
use crate::lock::lock;
use crate::names::{MemberName, RoomName};
use crate::refusal::Refusal;
use crate::rooms::clock::milliseconds;
use crate::rooms::id::EventId;
use crate::rooms::limits::NAME_GRACE;
use crate::rooms::members::Claim;

/// How often a server announces changes.
const TICK: Duration = Duration::from_secs(1);
/// Ticks after which a server renews its names and its roster, changed or not.
const TICKS_PER_RENEWAL: u32 = 5;

static NAMES: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("names.lua")));

/// A name in a room, as the field of a roster, and the author whose it is.
pub(super) type Name = (String, String);

/// Who is connected to this server.
#[derive(Clone, Default)]
pub(super) struct Present {
    pub(super) roster: Roster,
    /// The names in it that have a stream; the others are in their grace.
    in_use: BTreeSet<String>,
}

impl Present {
    fn names(&self) -> impl Iterator<Item = Name> {
        self.roster.iter().filter_map(|(field, value)| {
            let (author, _) = value.split_once(' ')?;
            Some((field.clone(), author.to_owned()))
        })
    }
}

/// The field of a name in a roster. A room's name has no colon.
pub(super) fn field_of(room: &RoomName, name: &MemberName) -> String {
    format!("{room}:{}", name.folded().as_str())
}

pub(super) fn name_key(field: &str) -> String {
    key(&format!("name:{field}"))
}

impl Redis {
    /// Claims a name for a session in all of these rooms, unless the session has it here.
    ///
    /// # Errors
    /// `name-taken` or `store-unreachable`.
    pub(crate) async fn claim(&self, rooms: &[RoomName], claim: &Claim) -> Result<(), Refusal> {
        if self.hub.has_here(rooms, claim) {
            return Ok(());
        }
        let author = claim.author.to_string();
        let name = |room| (field_of(room, &claim.name), author.clone());
        let names: Vec<Name> = rooms.iter().map(name).collect();
        lock(&self.claims).extend(names.iter().cloned());
        patiently(async {
            loop {
                let claimed = self.names(self.epoch(), "claim", EXPIRY, &names).await;
                match claimed.map(|others| others.first().map(|place| &rooms[*place])) {
                    Ok(None) => return Ok(()),
                    Ok(Some(room)) => return Err(Refusal::NameTaken { room: room.clone() }),
                    Err(_) => sleep(EPOCH_PAUSE).await,
                }
            }
        })
        .await
    }

    /// Announces changes and renews names at each tick. It never returns.
    pub(super) async fn announce(&self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = 0_u32;
        let mut renewed_at = Instant::now();
        loop {
            ticks.tick().await;
            if !self.is_following.load(Ordering::Relaxed) {
                // Those that Redis has all the same expire there.
                lock(&self.claims).clear();
                continue;
            }
            self.forget_dead();
            count = count.wrapping_add(1);
            let renews = count.is_multiple_of(TICKS_PER_RENEWAL) || !self.link.is_up();
            let begun_at = Instant::now();
            if begun_at - renewed_at > EXPIRY / 2 {
                // The others may count this server as dead by now: it has to tell them all.
                *lock(&self.announced) = None;
            }
            // What fails is due again at the next tick.
            if self.announce_once(renews).await.is_ok() && renews {
                renewed_at = begun_at;
            }
            // What fails is told when the author is seen elsewhere.
            let _ = self.tell_seen().await;
        }
    }

    async fn announce_once(&self, renews: bool) -> RedisResult<()> {
        let claims = std::mem::take(&mut *lock(&self.claims));
        let before = lock(&self.announced).clone().unwrap_or_default();
        let mut now = self.present();
        let names = |keep: &dyn Fn(&str) -> bool| -> Vec<Name> {
            now.names().filter(|(field, _)| keep(field)).collect()
        };
        let is_used = |field: &str| now.in_use.contains(field);
        let was_used = |field: &str| before.in_use.contains(field);
        let was_here = |field: &str| before.roster.contains_key(field);
        // Names that have a stream; those whose last stream has ended; those that nobody here has.
        let renewed = names(&|field| is_used(field) && (renews || !was_used(field)));
        let mut shortened =
            names(&|field| !is_used(field) && (was_used(field) || !was_here(field)));
        let is_gone = |(field, author): &Name| {
            let present = now.roster.get(field);
            present.is_none_or(|present| !present.starts_with(author.as_str()))
        };
        let freed = before.names().chain(claims).filter(is_gone);
        // Where the session has the name at another server too, that one renews it within the grace.
        // Whoever is banned has it nowhere any more.
        let is_kept = |name: &Name| self.is_elsewhere(name) && !self.is_banned(&name.1);
        let (kept, freed): (Vec<Name>, Vec<Name>) = freed.partition(is_kept);
        shortened.extend(kept);
        let epoch = self.epoch();
        self.names(epoch, "shorten", Duration::ZERO, &freed).await?;
        self.names(epoch, "shorten", NAME_GRACE, &shortened).await?;
        for place in self.names(epoch, "renew", EXPIRY, &renewed).await? {
            let (field, _) = &renewed[place];
            if let Some(value) = now.roster.remove(field) {
                self.lose(field, &value);
            }
        }
        // Before it is told: what is forgotten meanwhile has to be told again.
        let before = lock(&self.announced).replace(now.clone());
        let is_first = before.is_none();
        let changes = changes(&before.unwrap_or_default().roster, &now.roster);
        if renews || is_first || !changes.is_empty() {
            let told = self.tell(&changes, is_first, EXPIRY).await;
            told.inspect_err(|_| *lock(&self.announced) = None)?;
        }
        if renews {
            self.keep_rooms(&now.roster).await?;
        }
        Ok(())
    }

    /// Keeps rooms that somebody is in: Redis forgets the others after their time.
    async fn keep_rooms(&self, roster: &Roster) -> RedisResult<()> {
        let limits = self.hub.limits();
        let ttl = limits
            .room_ttl
            .filter(|ttl| limits.history_age.is_none_or(|age| *ttl < age));
        let Some(ttl) = ttl.map(milliseconds) else {
            return Ok(());
        };
        let room_of = |field: &String| field.split(':').next().unwrap_or_default().to_owned();
        let rooms: BTreeSet<String> = roster.keys().map(room_of).collect();
        let rooms: Vec<String> = rooms.into_iter().collect();
        for rooms in rooms.chunks(BATCH) {
            let mut all = redis::pipe();
            for room in rooms {
                for kept in ["room", "keys"] {
                    let kept = key(&format!("{kept}:{room}"));
                    all.cmd("PEXPIRE").arg(kept).arg(ttl).ignore();
                }
            }
            let () = self.link.pipeline(&all).await?;
        }
        Ok(())
    }

    /// Who is connected to this server at the moment.
    fn present(&self) -> Present {
        let mut present = Present::default();
        for (room, listeners, members) in self.hub.here() {
            for (name, author, has_streams) in members {
                let field = field_of(&room, &name);
                if has_streams {
                    present.in_use.insert(field.clone());
                }
                present.roster.insert(field, format!("{author} {name}"));
            }
            if listeners > 0 {
                let field = room.to_string();
                present.roster.insert(field, listeners.to_string());
            }
        }
        present
    }

    /// Claims the names of this server again, before it takes new ones in a new epoch.
    pub(super) async fn reclaim(&self, epoch: EventId) -> RedisResult<()> {
        let present = self.present();
        let names = present.names();
        let names = names.filter(|(field, _)| present.in_use.contains(field));
        let names: Vec<Name> = names.collect();
        for place in self.names(epoch, "renew", EXPIRY, &names).await? {
            let (field, _) = &names[place];
            self.lose(field, &present.roster[field]);
        }
        Ok(())
    }

    /// Ends the streams under a name that a session at another server has now.
    fn lose(&self, field: &str, value: &str) {
        if let Some((room, name, author)) = member(field, value) {
            self.hub.lose(&room, &name, author);
            self.restore(field);
        }
    }

    /// Runs the names script; returns the places of the names that are somebody else's.
    async fn names(
        &self,
        epoch: EventId,
        mode: &str,
        time: Duration,
        names: &[Name],
    ) -> RedisResult<Vec<usize>> {
        let mut others = Vec::new();
        for (n, batch) in names.chunks(BATCH).enumerate() {
            let mut call = NAMES.key(key("epoch"));
            call.arg(epoch.to_string()).arg(mode).arg(&self.server);
            call.arg(milliseconds(time));
            for (field, author) in batch {
                call.key(name_key(field)).arg(author);
            }
            let answer: Vec<String> = self.link.run(&call).await?;
            if answer.first().is_none_or(|status| status != "ok") {
                self.is_outdated.store(true, Ordering::Relaxed);
                return Err(unexpected("the present epoch"));
            }
            let places = answer.iter().skip(1).filter_map(|place| place.parse().ok());
            let places = places.filter(|place: &usize| *place < batch.len());
            others.extend(places.map(|place| n * BATCH + place));
        }
        Ok(others)
    }

    /// Lets this server's names expire after their grace, and tells that it has no listeners now.
    pub(super) async fn say_farewell(&self) -> RedisResult<()> {
        let names: Vec<Name> = self.present().names().collect();
        let epoch = self.epoch();
        self.names(epoch, "shorten", NAME_GRACE, &names).await?;
        let announced = lock(&self.announced).take().unwrap_or_default();
        let rooms = announced.roster.into_keys();
        let rooms = rooms.filter(|field| !field.contains(':'));
        let changes = rooms.map(|room| (room, None)).collect();
        self.tell(&changes, false, NAME_GRACE).await
    }
}
