//! Bans and moderators, which hold at every server.

use std::collections::HashMap;
#[expect(deprecated)]
use std::hash::{Hasher, SipHasher};

use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use super::{CHANGE, Redis, call, key, patiently};
use crate::author::Author;
use crate::lock::lock;
use crate::options::Password;
use crate::refusal::Refusal;
use crate::store::bans::{self, MOST_BANS};
use crate::store::standing::{Change, MAX_MODERATORS};

/// How long a session is a moderator, in milliseconds: its servers may stop one after the other.
pub(crate) const MODERATOR_MS: u64 = 12 * 60 * 60 * 1_000;

impl Redis {
    /// Writes a change of bans or moderators, and waits until this server has read it back.
    pub(crate) async fn change(&self, change: &Change) -> Result<(), Refusal> {
        let now = self.hub.clock().unix_ms();
        let mut current = lock(&self.standing.bans).clone();
        current.retain(|ban| ban.until > now);
        let is_banned = |author| current.iter().any(|ban| ban.author == author);
        let (name, words) = match change {
            Change::Lift(author) if !is_banned(*author) => return Err(Refusal::NotFound),
            Change::Ban(ban) if current.len() >= MOST_BANS && !is_banned(ban.author) => {
                return Err(Refusal::TooManyBans);
            }
            Change::Ban(ban) => {
                let json = bans::to_json(ban).to_string();
                (
                    "bans",
                    vec!["HSET".to_owned(), ban.author.to_string(), json],
                )
            }
            Change::Lift(author) => ("bans", vec!["HDEL".to_owned(), author.to_string()]),
            Change::LogIn(author, until) => {
                let words = [
                    "ZADD".to_owned(),
                    until.to_string(),
                    self.moderator(*author),
                ];
                ("moderators", words.into())
            }
            Change::LogOut(author) => (
                "moderators",
                vec!["ZREM".to_owned(), self.moderator(*author)],
            ),
        };
        let mut call = call(&CHANGE);
        call.key(key(name)).arg(words);
        patiently(async {
            loop {
                // To repeat a change changes nothing more; the link paces the attempts.
                let answer: RedisResult<(u64, String)> = self.link.run(&call).await;
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

    /// A moderator, as Redis has it: with a mark of the password, since who has given an earlier one is
    /// none.
    fn moderator(&self, author: Author) -> String {
        let mark = self.password_mark.get().copied().unwrap_or_default();
        format!("{author} {mark:016x}")
    }

    /// Loads all bans and moderators.
    pub(super) async fn load_standing(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        let now = self.hub.clock().unix_ms();
        // No server logs moderators out everywhere because its clock is ahead.
        let time = redis::cmd("TIME");
        let (seconds, _): (u64, u64) = time.query_async(connection).await?;
        let mut all = redis::pipe();
        all.atomic();
        let most = MAX_MODERATORS as isize;
        let expired = now.min(seconds * 1_000);
        all.zrembyscore(key("moderators"), "-inf", expired).ignore();
        all.zremrangebyrank(key("moderators"), 0, -most - 1)
            .ignore();
        all.hgetall(key("bans"));
        all.zrange_withscores(key("moderators"), 0, -1);
        let (bans, moderators): (HashMap<String, String>, Vec<(String, f64)>) =
            all.query_async(connection).await?;
        let bans = bans
            .values()
            .filter_map(|ban| bans::from_json(&serde_json::from_str(ban).ok()?));
        let moderators = moderators.into_iter().filter_map(|(moderator, until)| {
            let author: Author = moderator.split(' ').next()?.parse().ok()?;
            (moderator == self.moderator(author)).then_some((author, until as u64))
        });
        let mut bans: Vec<_> = bans.filter(|ban| ban.until > now).collect();
        bans.sort_unstable_by_key(|ban| (ban.until, ban.author));
        self.standing.replace(bans, moderators.collect());
        Ok(())
    }
}

/// Rounds of a hash: about a millisecond for each guess of those who read Redis.
const ROUNDS: u32 = 20_000;

/// What the moderators' password leaves behind, under the authors' secret.
#[expect(deprecated, reason = "servers of different versions have to agree")]
pub(super) fn mark(secret: u128, password: Option<&Password>) -> u64 {
    let password = password.map_or(&[][..], |password| &password.0);
    (0..ROUNDS).fold(0, |mark: u64, _| {
        let mut hasher = SipHasher::new_with_keys(secret as u64, (secret >> 64) as u64);
        hasher.write(&mark.to_be_bytes());
        hasher.write(password);
        hasher.finish()
    })
}
