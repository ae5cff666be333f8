//! Bans and moderators, which hold at every server.

use std::collections::HashMap;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult};

use super::super::bans;
use super::super::standing::Change;
use super::{FEED_ENTRIES, Shared, key};
use crate::refusal::Refusal;
use crate::rooms::author::Author;

impl Shared {
    /// Writes a change, and waits until this server has read it back.
    pub(super) async fn change(&self, change: &Change) -> Result<(), Refusal> {
        let mut all = redis::pipe();
        all.atomic();
        let (bans, moderators) = (key("bans"), key("moderators"));
        let _: &mut Pipeline = match change {
            Change::Ban(ban) => {
                let field = ban.author.to_string();
                all.cmd("HSET")
                    .arg(bans)
                    .arg(field)
                    .arg(bans::to_json(ban).to_string())
            }
            Change::Lift(author) => all.cmd("HDEL").arg(bans).arg(author.to_string()),
            Change::LogIn(author, until) => all
                .cmd("ZADD")
                .arg(moderators)
                .arg(until)
                .arg(author.to_string()),
            Change::LogOut(author) => all.cmd("ZREM").arg(moderators).arg(author.to_string()),
        };
        all.cmd("XADD")
            .arg(key("feed"))
            .arg("MAXLEN")
            .arg(FEED_ENTRIES)
            .arg("*");
        all.arg("kind").arg("standing");
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
    }

    /// Loads all bans and moderators.
    pub(super) async fn load_standing(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        let now = self.hub.clock().unix_ms();
        let mut both = redis::pipe();
        both.atomic();
        both.cmd("ZREMRANGEBYSCORE")
            .arg(key("moderators"))
            .arg("-inf")
            .arg(now)
            .ignore();
        both.cmd("HGETALL").arg(key("bans"));
        both.cmd("ZRANGE")
            .arg(key("moderators"))
            .arg(0)
            .arg(-1)
            .arg("WITHSCORES");
        let (bans, moderators): (HashMap<String, String>, Vec<(String, f64)>) =
            both.query_async(connection).await?;
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
