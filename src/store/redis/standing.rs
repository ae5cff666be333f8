//! Bans and moderators, which hold at every server.

use std::collections::HashMap;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use super::entry::{Fields, add_to_feed};
use super::{BATCH, Redis, key, patiently};
use crate::author::Author;
use crate::lock::lock;
use crate::names::MemberName;
use crate::refusal::Refusal;
use crate::store::bans::{self, MOST_BANS};
use crate::store::seen::Place;
use crate::store::standing::Change;

/// How long a session is a moderator, in milliseconds: its servers may stop one after the other.
pub(crate) const MODERATOR_MS: u64 = 12 * 60 * 60 * 1_000;

impl Redis {
    /// Writes a change of bans or moderators, and waits until this server has read it back.
    pub(crate) async fn change(&self, change: &Change) -> Result<(), Refusal> {
        let now = self.hub.clock().unix_ms();
        let mut current = lock(&self.standing.bans).clone();
        current.retain(|ban| ban.until > now);
        let is_banned = |author| current.iter().any(|ban| ban.author == author);
        let (bans, moderators) = (key("bans"), key("moderators"));
        let mut all = redis::pipe();
        all.atomic();
        match change {
            Change::Lift(author) if !is_banned(*author) => return Err(Refusal::NotFound),
            Change::Ban(ban) if current.len() >= MOST_BANS && !is_banned(ban.author) => {
                return Err(Refusal::TooManyBans);
            }
            Change::Ban(ban) => {
                all.hset(bans, ban.author.to_string(), bans::to_json(ban).to_string())
            }
            Change::Lift(author) => all.hdel(bans, author.to_string()),
            Change::LogIn(author, until) => all.zadd(moderators, author.to_string(), until),
            Change::LogOut(author) => all.zrem(moderators, author.to_string()),
        };
        add_to_feed(&mut all, &[("kind", "standing")]);
        patiently(async {
            loop {
                // To repeat a change changes nothing more; the link paces the attempts.
                let answer: RedisResult<(u64, String)> = self.link.pipeline(&all).await;
                if let Ok((changed, id)) = answer {
                    let id = id.parse().map_err(|_| Refusal::StoreUnreachable)?;
                    self.published(id).await;
                    if changed == 0 && matches!(change, Change::Lift(_)) {
                        return Err(Refusal::NotFound);
                    }
                    return Ok(());
                }
            }
        })
        .await
    }

    /// Tells the other servers where authors were seen here: they may be banned there.
    pub(super) async fn tell_seen(&self) -> RedisResult<()> {
        let news = self.standing.seen.take_news();
        for part in news.chunks(BATCH) {
            let words = |(author, (name, address)): &(Author, Place)| {
                [author.to_string(), name.to_string(), address.to_string()]
            };
            let seen: Vec<[String; 3]> = part.iter().map(words).collect();
            let seen = serde_json::to_string(&seen).unwrap_or_default();
            let mut all = redis::pipe();
            add_to_feed(&mut all, &[("kind", "seen"), ("seen", &seen)]);
            let (): () = self.link.pipeline(&all).await?;
        }
        Ok(())
    }

    /// Remembers where a server has seen authors.
    pub(super) fn hear_seen(&self, fields: &Fields) {
        let seen = fields.get("seen").map_or("", String::as_str);
        let seen: Vec<[String; 3]> = serde_json::from_str(seen).unwrap_or_default();
        for [author, name, address] in seen {
            if let (Ok(author), Ok(name), Ok(address)) =
                (author.parse(), MemberName::stored(&name), address.parse())
            {
                self.standing.seen.hear(author, (name, address));
            }
        }
    }

    /// Loads all bans and moderators.
    pub(super) async fn load_standing(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        let now = self.hub.clock().unix_ms();
        let mut all = redis::pipe();
        all.atomic();
        all.zrembyscore(key("moderators"), "-inf", now).ignore();
        all.hgetall(key("bans"));
        all.zrange_withscores(key("moderators"), 0, -1);
        let (bans, moderators): (HashMap<String, String>, Vec<(String, f64)>) =
            all.query_async(connection).await?;
        let bans = bans
            .values()
            .filter_map(|ban| bans::from_json(&serde_json::from_str(ban).ok()?));
        let moderators = moderators.into_iter().filter_map(|(author, until)| {
            let author: Author = author.parse().ok()?;
            Some((author, until as u64))
        });
        let mut bans: Vec<_> = bans.filter(|ban| ban.until > now).collect();
        bans.sort_unstable_by_key(|ban| (ban.until, ban.author));
        self.standing.replace(bans, moderators.collect());
        Ok(())
    }
}
