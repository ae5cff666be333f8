//! Moderators, and removing messages.

use hyper::StatusCode;
use hyper::body::Body as HttpBody;
use hyper::header::SET_COOKIE;
use serde_json::Value;

use super::answer::{self, Answer};
use super::guard::GivenPassword;
use super::request::read_object;
use super::site::Site;
use super::visitor::Visitor;
use crate::author::Author;
use crate::names::RoomName;
use crate::refusal::Refusal;
use crate::rooms::entries::Committed;
use crate::rooms::id::EventId;
use crate::rooms::message::{Draft, RemovedBy};
use crate::store::standing::Change;

/// A program in front of the chat puts this into a request's extensions to make its sender a
/// moderator, for this request.
///
/// ```
/// let mut request = hyper::Request::new(String::new());
/// request.extensions_mut().insert(chatroom::Moderator);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moderator;

impl Site {
    pub(super) fn has_logged_in(&self, author: Author) -> bool {
        let now = self.hub.clock().unix_ms();
        self.standing.is_moderator(author, now)
    }

    /// Whether anybody can be a moderator.
    pub(super) fn has_moderators(&self) -> bool {
        self.options.moderator_password.is_some() || !self.options.moderators.is_empty()
    }

    /// Refuses a visitor who is not a moderator; a wrong password by HTTP Basic counts as an attempt.
    pub(super) fn require_moderator(&self, visitor: &Visitor<'_>) -> Result<(), Refusal> {
        match self.guard.may_moderate(visitor)? {
            true => Ok(()),
            false if self.has_moderators() => Err(Refusal::NotModerator),
            false => Err(Refusal::NotFound),
        }
    }

    /// Removes a message, or finds that it was removed. `by_whom` is what the log calls the one who
    /// does so.
    pub(crate) async fn remove(
        &self,
        room: &RoomName,
        message: EventId,
        by: RemovedBy,
        by_whom: &str,
    ) -> Result<Committed, Refusal> {
        let removed = message;
        let committed = self.append(room, Draft::Removal { removed, by }).await?;
        if let Committed::New(_) = committed {
            self.options
                .log
                .info(format_args!("removed message {message}, by {by_whom}"));
        }
        Ok(committed)
    }

    /// Removes all retained messages of an author who is banned.
    pub(crate) async fn remove_all_of(&self, author: Author, by: &str) -> Result<(), Refusal> {
        // Messages that are on their way come first.
        drop(self.sending.write().await);
        for (room, message) in self.hub.messages_of(author) {
            match self.remove(&room, message, RemovedBy::Moderator, by).await {
                // One that was evicted meanwhile no longer needs to be removed.
                Ok(_) | Err(Refusal::NoSuchMessage) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(())
    }
}

/// Removes a message for its author or a moderator.
pub(crate) async fn remove(
    site: &Site,
    visitor: &Visitor<'_>,
    room: &RoomName,
    id: &str,
) -> Answer {
    let bad = Refusal::BadRequest("A message's id is <milliseconds>-<sequence>.");
    let message: EventId = id.parse().map_err(|_| bad)?;
    let fate = site.hub.fate_of(room, message)?;
    if fate.removes.is_some() {
        return Ok(answer::json(StatusCode::OK, fate.frame.data()));
    }
    let (by, title) = if visitor.author.is_some() && visitor.author == fate.author {
        site.spend_message(visitor, room)?;
        (RemovedBy::Author, "its author")
    } else if site.guard.may_moderate(visitor)? {
        (RemovedBy::Moderator, "a moderator")
    } else {
        return Err(Refusal::NotYours);
    };
    let by_whom = format!("{title} at {}", visitor.address);
    let (Committed::New(removal) | Committed::Duplicate(removal)) =
        site.remove(room, message, by, &by_whom).await?;
    Ok(answer::json(StatusCode::OK, removal.data()))
}

/// Makes a session or a user a moderator.
pub(crate) async fn log_in<B: HttpBody>(site: &Site, visitor: &Visitor<'_>, body: B) -> Answer {
    let password = site.options.moderator_password.as_ref();
    let password = password.ok_or(Refusal::NotFound)?;
    let (_, fields) = read_object(visitor.head, body).await?;
    let given = fields.get("password").and_then(Value::as_str);
    let given = given.ok_or(Refusal::BadRequest(
        "Send the moderators' password: {\"password\":\"…\"}.",
    ))?;
    let (guard, address) = (&site.guard, visitor.address);
    let given = match password.equals(given.as_bytes()) {
        true => GivenPassword::Moderators,
        false => GivenPassword::Wrong,
    };
    if !guard.attempt(visitor, given)? {
        return Err(Refusal::WrongPassword);
    }
    let (author, cookie) = site.identify(visitor);
    guard.remember(author, given);
    let until = site.hub.clock().unix_ms();
    let until = until.saturating_add(site.store.moderator_ms());
    site.change_standing(Change::LogIn(author, until)).await?;
    site.options
        .log
        .info(format_args!("a moderator logged in from {address}"));
    let mut response = answer::empty(StatusCode::NO_CONTENT);
    cookie.map(|cookie| response.headers_mut().insert(SET_COOKIE, cookie));
    Ok(response)
}

/// Ends what [`log_in`] began.
pub(crate) async fn log_out(site: &Site, visitor: &Visitor<'_>) -> Answer {
    if site.options.moderator_password.is_none() {
        return Err(Refusal::NotFound);
    }
    if let Some(author) = visitor.author
        && site.has_logged_in(author)
    {
        site.change_standing(Change::LogOut(author)).await?;
        // The address may have been banned meanwhile.
        site.expel_banned();
    }
    Ok(answer::empty(StatusCode::NO_CONTENT))
}
