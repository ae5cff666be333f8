//! Bans and moderators, which hold at every server.

use std::collections::HashMap;
#[expect(deprecated)]
use std::hash::{Hasher, SipHasher};

use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use super::{CHANGE, Redis, call, key, patiently};
use crate::author::Author;
use crate::options::Password;
use crate::refusal::Refusal;
use crate::rooms::id::EventId;
use crate::store::bans;
use crate::store::standing::{Change, MAX_MODERATORS};

/// How long a session is a moderator, in milliseconds: its servers may stop one after the other.
pub(crate) const MODERATOR_MS: u64 = 12 * 60 * 60 * 1_000;
/// Rounds of a hash: about a millisecond for each guess of those who read Redis.
const ROUNDS: u32 = 20_000;

impl Redis {
    /// Writes a change of bans or moderators, and waits until this server has read it back.
    pub(crate) async fn change(&self, change: &Change) -> Result<(), Refusal> {
        let now = self.hub.clock().unix_ms();
        let (set, command, words) = match change {
            Change::Ban(ban) => {
                self.standing
                    .bans_with(ban.author, Some(ban.clone()), now)?;
                let json = bans::to_json(ban).to_string();
                ("bans", "HSET", vec![ban.author.to_string(), json])
            }
            Change::Lift(author) => {
                self.standing.bans_with(*author, None, now)?;
                ("bans", "HDEL", vec![author.to_string()])
            }
            Change::LogIn(author, until) => {
                let words = vec![until.to_string(), self.moderator(*author)];
                ("moderators", "ZADD", words)
            }
            Change::LogOut(author) => ("moderators", "ZREM", vec![self.moderator(*author)]),
        };
        let mut call = call(&CHANGE);
        call.key(key(set)).arg(command).arg(words);
        patiently(async {
            loop {
                // To repeat a change changes nothing more; the link paces the attempts.
                let answer: RedisResult<(u64, EventId)> = self.link.run(&call).await;
                if let Ok((changed, id)) = answer {
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

    /// How Redis stores a moderator: the author and a hash of the password, so that a new password logs
    /// everybody out.
    fn moderator(&self, author: Author) -> String {
        let hash = self.password_hash.get().copied().unwrap_or_default();
        format!("{author} {hash:016x}")
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

/// A slow hash of the moderators' password, keyed by the authors' secret.
#[expect(deprecated, reason = "servers of different versions have to agree")]
pub(super) fn hash_password(secret: u128, password: Option<&Password>) -> u64 {
    let password = password.map_or(&[][..], |password| &password.0);
    (0..ROUNDS).fold(0, |hash: u64, _| {
        let mut hasher = SipHasher::new_with_keys(secret as u64, (secret >> 64) as u64);
        hasher.write(&hash.to_be_bytes());
        hasher.write(password);
        hasher.finish()
    })
}
