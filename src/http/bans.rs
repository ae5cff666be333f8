//! Bans: who may not take part for a while, and the routes by which moderators set and lift them.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Body as HttpBody;
use serde_json::{Map, Value};

use super::address::{ClientAddress, Network};
use super::answer::{self, Answer};
use super::request::read_object;
use super::site::Site;
use super::visitor::Visitor;
use crate::author::Author;
use crate::lock::lock;
use crate::refusal::Refusal;
use crate::store::bans::Ban;
use crate::store::standing::Change;

/// How long a ban lasts if the request does not say, and at most, in minutes.
const DEFAULT_MINUTES: u64 = 24 * 60;
const MAX_MINUTES: u64 = 365 * 24 * 60;

impl Site {
    /// Refuses a visitor who is banned. A ban of an address does not touch moderators.
    pub(crate) fn check_ban(&self, visitor: &Visitor<'_>) -> Result<(), Refusal> {
        let now = self.hub.clock().unix_ms();
        let of_author = |ban: &Ban| Some(ban.author) == visitor.author;
        let of_address = |ban: &Ban| ban.address == Some(visitor.address.ip());
        let concerns = |ban: &Ban| of_author(ban) || !visitor.is_moderator && of_address(ban);
        match self.standing.banned_until(now, concerns) {
            None => Ok(()),
            Some(until) => Err(Refusal::Banned {
                retry_after: Duration::from_millis(until - now),
            }),
        }
    }

    /// Bans an author until a time, in milliseconds since the Unix epoch; with `with_address` also
    /// the address at which the author was last seen. `by` is what the log calls the moderator.
    pub(crate) async fn ban(
        &self,
        author: Author,
        until: u64,
        with_address: bool,
        by: &str,
    ) -> Result<Ban, Refusal> {
        let latest = self.standing.seen.latest(author);
        let last_seen = latest.as_ref().map(|(_, address)| *address);
        // All clients of a program that tells no addresses have this one.
        let address = last_seen.filter(|seen| with_address && *seen != Ipv4Addr::UNSPECIFIED);
        let proxies = &self.options.trusted_proxy;
        let is_proxys = |address: IpAddr| {
            // No client of IPv6 has an address of IPv4, also in `::/64`, where those are mapped.
            let may_be = |network: &Network| address.is_ipv4() || !network.is_ipv4();
            let client = Network::from(ClientAddress::from(address));
            let mut proxies = proxies.iter();
            proxies.any(|network| may_be(network) && network.overlaps(client))
        };
        if address.is_some_and(is_proxys) {
            return Err(Refusal::BadRequest(
                "That is the address of a trusted proxy, behind which everybody is: ban the author alone.",
            ));
        }
        let ban = Ban {
            author,
            name: latest.map(|(name, _)| name.to_string()),
            until,
            address,
        };
        let now = self.hub.clock().unix_ms();
        self.change_standing(Change::Ban(ban.clone())).await?;
        self.expel_banned();
        let minutes = until.saturating_sub(now).div_ceil(60_000);
        let last_seen = last_seen.map(|address| ClientAddress::from(address).to_string());
        let last_seen = last_seen.as_deref().unwrap_or("an unknown address");
        // A firewall that acts on this line is to spare the address too.
        let alone = if with_address { "" } else { " alone" };
        self.options.log.info(format_args!(
            "banned author {author}{alone} for {minutes} minutes, last seen at {last_seen}, by {by}"
        ));
        Ok(ban)
    }

    /// Lifts the ban of an author. `by` is what the log calls the moderator.
    pub(crate) async fn lift_ban(&self, author: Author, by: &str) -> Result<(), Refusal> {
        self.change_standing(Change::Lift(author)).await?;
        self.options
            .log
            .info(format_args!("lifted the ban of author {author}, by {by}"));
        Ok(())
    }

    /// The bans that have not ended.
    pub(crate) fn bans(&self) -> Vec<Ban> {
        let now = self.hub.clock().unix_ms();
        let mut bans = lock(&self.standing.bans).clone();
        bans.retain(|ban| ban.until > now);
        bans
    }

    /// Ends the named streams of everybody who is banned.
    pub(crate) fn expel_banned(&self) {
        let now = self.hub.clock().unix_ms();
        let (standing, bans) = (&self.standing, self.bans());
        let authors: HashSet<Author> = bans.iter().map(|ban| ban.author).collect();
        let addresses: HashSet<IpAddr> = bans.iter().filter_map(|ban| ban.address).collect();
        self.hub.expel(|claim, _| {
            let is_at_one = |address| addresses.contains(&address);
            authors.contains(&claim.author)
                || claim.address.is_some_and(is_at_one) && !standing.is_moderator(claim.author, now)
        });
    }
}

/// Carries something out in a task of its own: to the end, even if the moderator hangs up.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    // It only fails if the runtime is shutting down.
    tokio::spawn(work).await.unwrap_or(Err(Refusal::Draining))
}

/// Lists the bans.
pub(crate) fn list(site: &Site, visitor: &Visitor<'_>) -> Answer {
    site.require_moderator(visitor)?;
    let bans: Vec<String> = site.bans().iter().map(to_json).collect();
    let json = format!(r#"{{"bans":[{}]}}"#, bans.join(","));
    Ok(answer::json(StatusCode::OK, json))
}

/// Bans an author.
pub(crate) async fn add<B: HttpBody>(site: &Arc<Site>, visitor: &Visitor<'_>, body: B) -> Answer {
    site.require_moderator(visitor)?;
    let (_, fields) = read_object(visitor.head, body).await?;
    let asked = asked_for(&fields);
    let (author, minutes, with_address, remove_messages) = asked.ok_or(Refusal::BadRequest(
        "Say whom to ban: {\"author\":\"…\",\"minutes\":1440,\"address\":true,\"removeMessages\":false}, for 1 to 525600 minutes.",
    ))?;
    if visitor.author == Some(author) {
        return Err(Refusal::BadRequest("That is you: ban somebody else."));
    }
    let until = site.hub.clock().unix_ms() + minutes * 60_000;
    let by = format!("a moderator at {}", visitor.address);
    let site = site.clone();
    let ban = to_the_end(async move {
        let ban = site.ban(author, until, with_address, &by).await?;
        if remove_messages {
            site.remove_all_of(author, &by).await?;
        }
        Ok(ban)
    });
    Ok(answer::json(StatusCode::CREATED, to_json(&ban.await?)))
}

/// Whom to ban, for how many minutes, whether with the address, and whether all messages go too.
fn asked_for(fields: &Map<String, Value>) -> Option<(Author, u64, bool, bool)> {
    let given = |key| fields.get(key).filter(|value| !value.is_null());
    let flag = |key, default| given(key).map_or(Some(default), Value::as_bool);
    let minutes = given("minutes").map_or(Some(DEFAULT_MINUTES), Value::as_u64);
    Some((
        given("author")?.as_str()?.parse().ok()?,
        minutes.filter(|minutes| (1..=MAX_MINUTES).contains(minutes))?,
        flag("address", true)?,
        flag("removeMessages", false)?,
    ))
}

/// Lifts a ban.
pub(crate) async fn lift(site: &Arc<Site>, visitor: &Visitor<'_>, author: &str) -> Answer {
    site.require_moderator(visitor)?;
    let author: Author = author.parse().map_err(|_| Refusal::NotFound)?;
    let by = format!("a moderator at {}", visitor.address);
    let site = site.clone();
    to_the_end(async move { site.lift_ban(author, &by).await }).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

fn to_json(ban: &Ban) -> String {
    format!(
        r#"{{"author":"{}","name":{},"until":{},"address":{}}}"#,
        ban.author,
        Value::from(ban.name.as_deref()),
        ban.until,
        ban.address.is_some()
    )
}
