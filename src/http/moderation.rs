//! Removing messages, moderators, and bans.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Body as HttpBody;
use hyper::header::{EXPECT, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use serde_json::Value;

use super::address::ClientAddress;
use super::answer;
use super::body::Body;
use super::guard::Visitor;
use super::request::read_body;
use super::session;
use super::site::Site;
use crate::refusal::Refusal;
use crate::rooms::author::Author;
use crate::rooms::author::SessionId;
use crate::rooms::entries::Committed;
use crate::rooms::id::EventId;
use crate::rooms::lock;
use crate::rooms::message::{Draft, RemovedBy};
use crate::rooms::names::{MemberName, RoomName};
use crate::store::bans::Ban;
use crate::store::standing::{Change, Standing};

/// Authors whose latest name and address are remembered, at most, so that they can be banned with
/// their address: about two megabytes.
const MAX_SEEN: usize = 10_000;
/// Bytes of a request that logs in or bans, at most.
const BODY_BYTES: usize = 4_096;
/// How long a ban lasts if the request does not say, and at most, in minutes.
const DEFAULT_MINUTES: u64 = 24 * 60;
const MAX_MINUTES: u64 = 365 * 24 * 60;

/// A program in front of the chat puts this into a request's extensions to make its sender a
/// moderator, for this request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moderator;

/// Who moderates, who is banned, and who was seen where.
pub(crate) struct Moderation {
    pub(crate) standing: Arc<Standing>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    latest: HashMap<Author, (MemberName, ClientAddress)>,
    /// Oldest first, to forget them in this order.
    order: VecDeque<Author>,
}

impl Moderation {
    pub(crate) fn new(standing: Arc<Standing>) -> Moderation {
        Moderation {
            standing,
            seen: Mutex::default(),
        }
    }

    /// Remembers where an author was last seen, and under which name.
    pub(crate) fn note(&self, author: Author, name: &MemberName, address: ClientAddress) {
        let seen = &mut *lock(&self.seen);
        if let Some(latest) = seen.latest.get_mut(&author) {
            *latest = (name.clone(), address);
            return;
        }
        if seen.order.len() >= MAX_SEEN
            && let Some(oldest) = seen.order.pop_front()
        {
            seen.latest.remove(&oldest);
        }
        seen.latest.insert(author, (name.clone(), address));
        seen.order.push_back(author);
    }
}

impl Site {
    /// Refuses a visitor who is banned.
    pub(crate) fn check_ban(&self, visitor: Visitor) -> Result<(), Refusal> {
        let bans = lock(&self.moderation.standing.bans);
        if bans.is_empty() {
            return Ok(());
        }
        let now = self.hub.clock().unix_ms();
        let author = visitor.session.map(|session| self.author(session));
        let exempt = visitor
            .session
            .is_some_and(|session| self.is_moderator_session(session));
        let concerns = |ban: &&Ban| {
            ban.until > now
                && (Some(ban.author) == author
                    || (ban.address == Some(visitor.address.ip()) && !exempt))
        };
        match bans.iter().filter(concerns).map(|ban| ban.until).max() {
            None => Ok(()),
            Some(until) => Err(Refusal::Banned {
                retry_after: Duration::from_millis(until - now),
            }),
        }
    }

    fn is_moderator_session(&self, session: SessionId) -> bool {
        let now = self.hub.clock().unix_ms();
        let standing = &self.moderation.standing;
        standing.is_moderator(self.author(session), now)
    }

    fn has_moderators(&self) -> bool {
        self.settings.policy.moderator_password.is_some()
    }

    /// Whether the request is a moderator's: by its session, by HTTP Basic, or because the program
    /// in front says so.
    fn is_moderator(&self, head: &Parts, visitor: Visitor) -> Result<bool, Refusal> {
        let session = visitor.session;
        if head.extensions.get::<Moderator>().is_some()
            || session.is_some_and(|session| self.is_moderator_session(session))
        {
            return Ok(true);
        }
        let now = self.hub.clock().now();
        self.guard.is_moderator(&head.headers, visitor.address, now)
    }

    fn require_moderator(&self, head: &Parts, visitor: Visitor) -> Result<(), Refusal> {
        if !self.has_moderators() && head.extensions.get::<Moderator>().is_none() {
            return Err(Refusal::NotFound);
        }
        if self.is_moderator(head, visitor)? {
            Ok(())
        } else {
            Err(Refusal::NotModerator)
        }
    }

    /// Removes a message, or finds that it was removed; answers with the data of the event.
    pub(crate) async fn remove(
        &self,
        room: &RoomName,
        message: EventId,
        by: RemovedBy,
    ) -> Result<Committed, Refusal> {
        let removed = message;
        self.append(room, Draft::Removal { removed, by }).await
    }

    /// Bans an author until a time, in milliseconds since the Unix epoch; with `with_address` also
    /// the address at which the author was last seen.
    pub(crate) async fn ban(
        &self,
        author: Author,
        until: u64,
        with_address: bool,
    ) -> Result<Ban, Refusal> {
        let moderation = &self.moderation;
        let latest = lock(&moderation.seen).latest.get(&author).cloned();
        let address = latest.as_ref().map(|(_, address)| address.ip());
        let address = address.filter(|_| with_address);
        let proxies = &self.settings.policy.trusted_proxies;
        if address.is_some_and(|address| {
            proxies
                .iter()
                .any(|p| ClientAddress::from(*p).ip() == address)
        }) {
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
        self.change(Change::Ban(ban.clone())).await?;
        self.expel_banned();
        Ok(ban)
    }

    async fn change(&self, change: Change) -> Result<(), Refusal> {
        let now = self.hub.clock().unix_ms();
        let standing = &self.moderation.standing;
        self.store.change(standing, change, now).await
    }

    /// Ends the named streams of those who are banned.
    pub(crate) fn expel_banned(&self) {
        let now = self.hub.clock().unix_ms();
        let standing = &self.moderation.standing;
        let mut bans = lock(&standing.bans).clone();
        bans.retain(|ban| ban.until > now);
        self.hub.expel(|author, address| {
            bans.iter().any(|ban| {
                let by_address = ban.address.is_some() && ban.address == address;
                ban.author == author || (by_address && !standing.is_moderator(author, now))
            })
        });
    }
}

/// Removes a message for its author or a moderator.
pub(crate) async fn remove(
    site: &Arc<Site>,
    head: &Parts,
    visitor: Visitor,
    room: &RoomName,
    id: &str,
) -> Result<Response<Body>, Refusal> {
    let bad = Refusal::BadRequest("A message's id is <milliseconds>-<sequence>.");
    let message: EventId = id.parse().map_err(|_| bad)?;
    let fate = site.hub.fate_of(room, message)?;
    if fate.removes.is_some() {
        return Ok(answer::json(StatusCode::OK, fate.frame.data()));
    }
    let own = visitor.session.map(|session| site.author(session));
    let by = if own.is_some() && own == fate.author {
        site.spend_message(visitor, room)?;
        RemovedBy::Author
    } else if site.is_moderator(head, visitor)? {
        RemovedBy::Moderator
    } else {
        return Err(Refusal::NotYours);
    };
    match site.remove(room, message, by).await? {
        Committed::New(frame) => {
            site.report.info(format_args!(
                "removed message {message} by its {} from {}",
                by.as_str(),
                visitor.address
            ));
            Ok(answer::json(StatusCode::OK, frame.data()))
        }
        Committed::Duplicate(frame) => Ok(answer::json(StatusCode::OK, frame.data())),
    }
}

/// Says whether there are moderators, and whether this is one.
pub(crate) fn status(
    site: &Site,
    head: &Parts,
    visitor: Visitor,
) -> Result<Response<Body>, Refusal> {
    let moderator = site.is_moderator(head, visitor)?;
    let available = site.has_moderators() || moderator;
    Ok(answer::json(
        StatusCode::OK,
        format!(r#"{{"available":{available},"moderator":{moderator}}}"#),
    ))
}

/// Makes a session a moderator.
pub(crate) async fn log_in<B>(
    site: &Site,
    head: &Parts,
    body: B,
    visitor: Visitor,
) -> Result<Response<Body>, Refusal>
where
    B: HttpBody,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let policy = &site.settings.policy;
    let password = policy.moderator_password.as_ref();
    let password = password.ok_or(Refusal::NotFound)?;
    let fields = object(head, body).await?;
    let given = fields.get("password").and_then(Value::as_str);
    let given = given.ok_or(Refusal::BadRequest(
        "Send the moderators' password: {\"password\":\"…\"}.",
    ))?;
    let now = site.hub.clock().now();
    let address = visitor.address;
    if !site
        .guard
        .is_right(given.as_bytes(), [password], address, now)?
    {
        return Err(Refusal::WrongPassword);
    }
    let session = visitor.session.unwrap_or_else(|| site.sessions.issue());
    let now = site.hub.clock().unix_ms();
    let until = now.saturating_add(site.store.moderator_ms());
    let change = Change::LogIn(site.author(session), until);
    site.change(change).await?;
    site.report
        .info(format_args!("a moderator logged in from {address}"));
    let mut response = answer::empty(StatusCode::NO_CONTENT);
    if visitor.session.is_none() {
        session::set_cookie(session, &site.settings.prefix, visitor.https)
            .map(|cookie| response.headers_mut().insert(SET_COOKIE, cookie));
    }
    Ok(response)
}

/// Ends the rights of a session.
pub(crate) async fn log_out(site: &Site, visitor: Visitor) -> Result<Response<Body>, Refusal> {
    if !site.has_moderators() {
        return Err(Refusal::NotFound);
    }
    if let Some(session) = visitor.session
        && site.is_moderator_session(session)
    {
        site.change(Change::LogOut(site.author(session))).await?;
    }
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// Lists the bans.
pub(crate) fn list_bans(
    site: &Site,
    head: &Parts,
    visitor: Visitor,
) -> Result<Response<Body>, Refusal> {
    site.require_moderator(head, visitor)?;
    let now = site.hub.clock().unix_ms();
    let bans = lock(&site.moderation.standing.bans);
    let bans: Vec<String> = bans
        .iter()
        .filter(|ban| ban.until > now)
        .map(ban_json)
        .collect();
    let json = format!(r#"{{"bans":[{}]}}"#, bans.join(","));
    Ok(answer::json(StatusCode::OK, json))
}

/// Bans an author.
pub(crate) async fn ban<B>(
    site: &Arc<Site>,
    head: &Parts,
    body: B,
    visitor: Visitor,
) -> Result<Response<Body>, Refusal>
where
    B: HttpBody,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    site.require_moderator(head, visitor)?;
    let fields = object(head, body).await?;
    let bad = Refusal::BadRequest(
        "Say whom to ban: {\"author\":\"…\",\"minutes\":1440,\"address\":true,\"removeMessages\":false}, for 1 to 525600 minutes.",
    );
    let author = fields.get("author").and_then(Value::as_str);
    let author: Option<Author> = author.and_then(|author| author.parse().ok());
    let flag = |key: &str, default: bool| match fields.get(key) {
        None | Some(Value::Null) => Some(default),
        Some(value) => value.as_bool(),
    };
    let minutes = match fields.get("minutes") {
        None | Some(Value::Null) => Some(DEFAULT_MINUTES),
        Some(minutes) => minutes.as_u64(),
    };
    let minutes = minutes.filter(|minutes| (1..=MAX_MINUTES).contains(minutes));
    let (Some(author), Some(minutes), Some(with_address), Some(remove_messages)) = (
        author,
        minutes,
        flag("address", true),
        flag("removeMessages", false),
    ) else {
        return Err(bad);
    };
    let own = visitor.session.map(|session| site.author(session));
    if own == Some(author) {
        return Err(Refusal::BadRequest("That is you: ban somebody else."));
    }
    let until = site.hub.clock().unix_ms() + minutes * 60_000;
    let ban = site.ban(author, until, with_address).await?;
    if remove_messages {
        for (room, message) in site.hub.messages_of(author) {
            // One that was evicted or removed meanwhile is gone all the same.
            match site.remove(&room, message, RemovedBy::Moderator).await {
                Ok(_) | Err(Refusal::NoSuchMessage) => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }
    let address = ban.address.map(ClientAddress::from);
    let address = address.map_or("unknown".to_owned(), |address| address.to_string());
    site.report.info(format_args!(
        "banned author {author} for {minutes} minutes, last seen at {address}, by a moderator at {}",
        visitor.address
    ));
    Ok(answer::json(StatusCode::CREATED, ban_json(&ban)))
}

/// Lifts a ban.
pub(crate) async fn lift_ban(
    site: &Site,
    head: &Parts,
    visitor: Visitor,
    author: &str,
) -> Result<Response<Body>, Refusal> {
    site.require_moderator(head, visitor)?;
    let author: Author = author.parse().map_err(|_| Refusal::NotFound)?;
    let now = site.hub.clock().unix_ms();
    let is_this = |ban: &Ban| ban.author == author && ban.until > now;
    if !lock(&site.moderation.standing.bans).iter().any(is_this) {
        return Err(Refusal::NotFound);
    }
    site.change(Change::Lift(author)).await?;
    site.report.info(format_args!(
        "lifted the ban of author {author}, by a moderator at {}",
        visitor.address
    ));
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

fn ban_json(ban: &Ban) -> String {
    format!(
        r#"{{"author":"{}","name":{},"until":{},"address":{}}}"#,
        ban.author,
        Value::from(ban.name.as_deref()),
        ban.until,
        ban.address.is_some()
    )
}

/// Reads a request's body as a JSON object.
async fn object<B>(head: &Parts, body: B) -> Result<serde_json::Map<String, Value>, Refusal>
where
    B: HttpBody,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let body = read_body(body, BODY_BYTES, head.headers.contains_key(EXPECT)).await?;
    match serde_json::from_slice(&body) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(Refusal::BadRequest("Send a JSON object.")),
    }
}
