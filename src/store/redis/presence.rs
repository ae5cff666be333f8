//! Names and rosters across servers.
//!
//! A name is a key with an expiry, which its server renews. Once a second each server announces on
//! the feed who joined and left it; a hash of its own has its whole roster, for servers that start.
//! A server that is silent for too long is taken for dead, and its members leave.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::{RedisResult, Value};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::link::Script;
use super::news::News;
use super::rosters::Server;
use super::{EPOCH_PAUSE, FEED_ENTRIES, Shared, key};
use crate::refusal::Refusal;
use crate::rooms::author::Author;
use crate::rooms::id::EventId;
use crate::rooms::limits::NAME_GRACE;
use crate::rooms::lock;
use crate::rooms::members::Claim;
use crate::rooms::names::{FoldedName, MemberName, RoomName};

/// How often a server announces changes.
const TICK: Duration = Duration::from_secs(1);
/// After so many ticks a server renews its names and its roster, changed or not.
const TICKS_PER_RENEWAL: u32 = 5;
/// Names and rosters expire after this long without renewal: 20 to 25 s after a crash.
pub(super) const EXPIRY: Duration = Duration::from_secs(25);
/// Names in one call of a script, and changes in one entry of the feed, at most: Redis serves nobody
/// else meanwhile.
pub(super) const BATCH: usize = 500;

/// A name in a room.
pub(super) type Place = (RoomName, FoldedName);

/// What is known of the other servers, and what they know of this one.
#[derive(Default)]
pub(super) struct Presence {
    pub(super) servers: Mutex<HashMap<String, Server>>,
    announced: Mutex<Announced>,
    /// Claims since the last tick, whether or not a stream has followed.
    claims: Mutex<Vec<(Place, Author)>>,
}

/// What this server has announced.
#[derive(Clone, Default)]
pub(super) struct Announced {
    /// Whether the others have anything from this server.
    pub(super) is_known: bool,
    /// Members, and whether they have a stream.
    pub(super) members: BTreeMap<Place, (MemberName, Author, bool)>,
    pub(super) listeners: BTreeMap<RoomName, usize>,
}

impl Presence {
    /// Redis may no longer have what was announced: everything is announced again.
    pub(super) fn forget_announced(&self) {
        *lock(&self.announced) = Announced::default();
    }

    /// Another server has announced a member of this one under another spelling, perhaps.
    pub(super) fn note_spelling(&self, place: &Place, spelling: &MemberName, of: Author) {
        let announced = &mut *lock(&self.announced);
        if let Some((name, author, _)) = announced.members.get_mut(place)
            && *author == of
        {
            *name = spelling.clone();
        }
    }

    /// Takes all servers for alive: nobody could be heard for a while.
    pub(super) fn hear_all(&self) {
        let now = Instant::now();
        let mut servers = lock(&self.servers);
        servers
            .values_mut()
            .for_each(|server| server.heard_at = now);
    }
}

impl Shared {
    /// Announces changes for good.
    pub(super) async fn announce(&self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = 0_u32;
        loop {
            ticks.tick().await;
            if !self.is_following.load(Ordering::Relaxed) {
                continue;
            }
            self.forget_dead();
            count = count.wrapping_add(1);
            let renews = count.is_multiple_of(TICKS_PER_RENEWAL) || !self.link.is_up();
            // What fails is due again at the next tick.
            let _ = self.announce_once(renews).await;
        }
    }

    async fn announce_once(&self, renews: bool) -> RedisResult<()> {
        let claims = std::mem::take(&mut *lock(&self.presence.claims));
        let before = lock(&self.presence.announced).clone();
        let mut now = self.present();
        let mut renewed = Vec::new();
        let mut shortened = Vec::new();
        for (place, (_, author, has_streams)) in &now.members {
            let had_streams = before.members.get(place).map(|(_, _, had)| *had);
            if *has_streams && (renews || had_streams != Some(true)) {
                renewed.push((place.clone(), *author));
            } else if !has_streams && had_streams != Some(false) {
                shortened.push((place.clone(), *author));
            }
        }
        let known = before.members.iter();
        let known = known.map(|(place, (_, author, _))| (place.clone(), *author));
        let is_gone = |(place, author): &(Place, Author)| {
            let present = now.members.get(place);
            present.is_none_or(|(_, present, _)| present != author)
        };
        let freed: Vec<_> = known.chain(claims).filter(is_gone).collect();
        let epoch = self.epoch();
        self.names(epoch, "free", Duration::ZERO, &freed).await?;
        self.names(epoch, "shorten", NAME_GRACE, &shortened).await?;
        for (place, author) in self.names(epoch, "renew", EXPIRY, &renewed).await? {
            now.members.remove(&place);
            self.lose(&place, author);
        }
        // Before it is told: what is forgotten meanwhile has to be told again.
        let before = std::mem::replace(&mut *lock(&self.presence.announced), now.clone());
        let news = News::between(&before, &now);
        if renews || !news.is_empty() {
            for part in news.parts() {
                let told = self.tell(&part).await;
                told.inspect_err(|_| self.presence.forget_announced())?;
            }
        }
        Ok(())
    }

    /// Who is here.
    fn present(&self) -> Announced {
        let mut present = Announced {
            is_known: true,
            ..Announced::default()
        };
        for here in self.hub.here() {
            for (name, author, has_streams) in here.members {
                let place = (here.room.clone(), name.folded());
                present.members.insert(place, (name, author, has_streams));
            }
            present.listeners.insert(here.room, here.listeners);
        }
        present
    }

    /// Claims the names of this server again, before it takes new ones in a new epoch.
    pub(super) async fn reclaim(&self, epoch: EventId) -> RedisResult<()> {
        let present = self.present().members.into_iter();
        let names = present.filter(|(_, (_, _, has_streams))| *has_streams);
        let names: Vec<_> = names
            .map(|(place, (_, author, _))| (place, author))
            .collect();
        for (place, author) in self.names(epoch, "renew", EXPIRY, &names).await? {
            self.lose(&place, author);
        }
        Ok(())
    }

    /// Ends the streams under a name that a session at another server has now.
    fn lose(&self, (room, folded): &Place, author: Author) {
        self.hub.lose(room, folded, author);
        let place = (room.clone(), folded.clone());
        for server in lock(&self.presence.servers).values() {
            if let Some((name, author)) = server.members.get(&place) {
                self.hub.arrive(room, name, *author);
            }
        }
    }

    /// Runs the names script; returns the names that are somebody else's.
    async fn names(
        &self,
        epoch: EventId,
        mode: &str,
        time: Duration,
        names: &[(Place, Author)],
    ) -> RedisResult<Vec<(Place, Author)>> {
        let mut others = Vec::new();
        for batch in names.chunks(BATCH) {
            let mut keys = vec![key("epoch")];
            let mut arguments = vec![
                epoch.to_string(),
                mode.to_owned(),
                self.server.clone(),
                time.as_millis().to_string(),
            ];
            for ((room, folded), author) in batch {
                keys.push(name_key(room, folded));
                arguments.push(author.to_string());
            }
            let answer: Vec<String> = self.link.run(Script::Names, &keys, &arguments).await?;
            if answer.first().is_none_or(|status| status != "ok") {
                self.is_outdated.store(true, Ordering::Relaxed);
                return Err(super::feed::unexpected("the present epoch"));
            }
            let places = answer[1..].iter().filter_map(|place| place.parse().ok());
            others.extend(places.filter_map(|place: usize| batch.get(place).cloned()));
        }
        Ok(others)
    }

    /// Claims a name in all of these rooms.
    pub(super) async fn claim(&self, rooms: &[RoomName], claim: &Claim) -> Result<(), Refusal> {
        let folded = claim.name.folded();
        let places = rooms
            .iter()
            .map(|room| ((room.clone(), folded.clone()), claim.author));
        let places: Vec<_> = places.collect();
        lock(&self.presence.claims).extend(places.iter().cloned());
        loop {
            let claimed = self.names(self.epoch(), "claim", EXPIRY, &places).await;
            match claimed.map(|others| others.into_iter().next()) {
                Ok(None) => return Ok(()),
                Ok(Some(((room, _), _))) => return Err(Refusal::NameTaken { room }),
                Err(_) => sleep(EPOCH_PAUSE).await,
            }
        }
    }

    /// Writes an announcement to the feed, and this server's roster beside it.
    async fn tell(&self, news: &News) -> RedisResult<()> {
        let roster = key(&format!("roster:{}", self.server));
        let expiry = if news.has_stopped { NAME_GRACE } else { EXPIRY };
        let mut all = redis::pipe();
        all.atomic();
        if news.is_first {
            all.cmd("DEL").arg(&roster);
        }
        for (room, name, _) in &news.left {
            all.cmd("HDEL")
                .arg(&roster)
                .arg(format!("{room}:{}", name.folded().as_str()));
        }
        for (room, name, author) in &news.joined {
            let field = format!("{room}:{}", name.folded().as_str());
            all.cmd("HSET")
                .arg(&roster)
                .arg(field)
                .arg(format!("{author} {name}"));
        }
        for (room, listeners) in &news.listeners {
            all.cmd("HSET")
                .arg(&roster)
                .arg(room.as_str())
                .arg(listeners);
        }
        all.cmd("PEXPIRE")
            .arg(&roster)
            .arg(expiry.as_millis() as u64);
        all.cmd("SADD").arg(key("servers")).arg(&self.server);
        all.cmd("XADD")
            .arg(key("feed"))
            .arg("MAXLEN")
            .arg(FEED_ENTRIES)
            .arg("*");
        all.arg("kind")
            .arg("presence")
            .arg("server")
            .arg(&self.server);
        all.arg("news").arg(news.to_json());
        self.link.pipeline(&all).await.map(|_: Value| ())
    }

    /// Leaves this server's names to their grace.
    pub(super) async fn say_farewell(&self) -> RedisResult<()> {
        let names = self.present().members.into_iter();
        let names: Vec<_> = names
            .map(|(place, (_, author, _))| (place, author))
            .collect();
        self.names(self.epoch(), "shorten", NAME_GRACE, &names)
            .await?;
        let news = News {
            has_stopped: true,
            ..News::default()
        };
        self.tell(&news).await
    }
}

/// The key of a name. A room's name has no colon.
pub(super) fn name_key(room: &RoomName, folded: &FoldedName) -> String {
    key(&format!("name:{room}:{}", folded.as_str()))
}
