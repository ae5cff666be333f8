//! Sending messages, and reading those that are retained.

use std::fmt::Display;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::{Body as HttpBody, Bytes};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::http::request::Parts;
use serde_json::Value;
use tokio::time::timeout;

use super::answer::{self, Answer};
use super::body::Body;
use super::limits::{Holding, Permit};
use super::request::{Query, read_body};
use super::rooms;
use super::site::Site;
use super::visitor::Visitor;
use crate::names::{IdempotencyKey, Malformed, MemberName, MessageText, RoomName};
use crate::refusal::Refusal;
use crate::rooms::entries::{Committed, Page, PageAt};
use crate::rooms::frame::Frame;
use crate::rooms::id::EventId;
use crate::rooms::message::Draft;

/// Messages in one answer if the request does not say, and at most.
const DEFAULT_LIMIT: u64 = 50;
const MAX_LIMIT: u64 = 500;
/// How long a request may wait for an answer, in seconds.
const MAX_WAIT_SECONDS: u64 = 60;
/// Bytes of JSON that one byte of text may take: a control character becomes `\u0000`.
const JSON_BYTES_PER_BYTE: usize = 6;
/// What to send, where the body is of another type.
const TYPES: &str = "Send application/json or text/plain, in UTF-8.";
/// Bytes beside the text: a name, the keys, white space at the end.
const BODY_OVERHEAD: usize = 1_024;

/// The ways to send.
pub(super) enum MediaType {
    Json,
    Plain,
    Form,
}

/// Takes a message.
pub(crate) async fn post<B: HttpBody>(
    site: &Site,
    visitor: &Visitor<'_>,
    room: Option<RoomName>,
    body: B,
) -> Answer {
    let rooms = rooms::named(site, visitor, room, 1, "A message is sent to one room.")?;
    let room = &rooms[0];
    let (media_type, body) = receive(site, visitor, room, body, 0, TYPES).await?;
    let key = visitor.head.headers.get("idempotency-key");
    let key = key.map(|key| key.to_str().unwrap_or_default());
    let key = owned_key(key, site.owner(visitor))?;
    let (text, in_body) = match media_type {
        MediaType::Json => parse_json(&body)?,
        MediaType::Plain => {
            let text = String::from_utf8(body).map_err(|_| Refusal::NotUtf8)?;
            (text, Value::Null)
        }
        MediaType::Form => return Err(Refusal::UnsupportedMediaType(TYPES)),
    };
    let text = message_text(site, &text)?;
    let name = visitor.name_or(|| match &in_body {
        Value::Null => Query::of(&visitor.head.uri).name(),
        Value::String(name) => MemberName::parse(name)
            .map(Some)
            .map_err(|_| Refusal::BadName),
        _ => Err(Refusal::BadName),
    })?;
    match send(site, visitor, room, name, text, key).await? {
        Committed::New(frame) => Ok(answer::json(StatusCode::CREATED, frame.data())),
        Committed::Duplicate(frame) => Ok(answer::json(StatusCode::OK, frame.data())),
    }
}

/// Spends one of the visitor's messages, unless the visitor may not send at all, and reads the body.
/// It may have `min_limit` bytes, or as many as the longest text may need if that is more. If it is
/// of a type that nobody takes, the refusal names `types`.
pub(super) async fn receive<B: HttpBody>(
    site: &Site,
    visitor: &Visitor<'_>,
    room: &RoomName,
    body: B,
    min_limit: usize,
    types: &'static str,
) -> Result<(MediaType, Vec<u8>), Refusal> {
    if site.is_draining() {
        return Err(Refusal::Draining);
    }
    site.check_ban(visitor)?;
    site.spend_message(visitor, room)?;
    let headers = &visitor.head.headers;
    let media_type = media_type(headers).ok_or(Refusal::UnsupportedMediaType(types))?;
    let longest = site.options.max_message * JSON_BYTES_PER_BYTE + BODY_OVERHEAD;
    let body = read_body(headers, body, longest.max(min_limit)).await?;
    Ok((media_type, body))
}

/// Checks a text against the limit of the server.
pub(crate) fn message_text(site: &Site, text: &str) -> Result<MessageText, Refusal> {
    MessageText::parse(text, site.options.max_message).map_err(|Malformed| match text.trim_end() {
        "" => Refusal::EmptyText,
        _ => Refusal::TooLarge,
    })
}

/// Checks an idempotency key, and makes it its owner's.
pub(crate) fn owned_key(
    key: Option<&str>,
    owner: impl Display,
) -> Result<Option<IdempotencyKey>, Refusal> {
    let key = key.map(|key| Ok(IdempotencyKey::parse(key)?.of(owner)));
    key.transpose().map_err(|Malformed| {
        Refusal::BadRequest("An Idempotency-Key is 1 to 64 visible ASCII characters.")
    })
}

/// Sends a message under a name, or under the only one that the visitor's session has in the room.
pub(crate) async fn send(
    site: &Site,
    visitor: &Visitor<'_>,
    room: &RoomName,
    name: Option<MemberName>,
    text: MessageText,
    key: Option<IdempotencyKey>,
) -> Result<Committed, Refusal> {
    if let Some(key) = &key
        && let Some(first) = site.hub.by_key(room, key, name.as_ref(), &text)?
    {
        // Whatever has happened to the name since.
        return Ok(Committed::Duplicate(first));
    }
    let author = visitor.author;
    let (name, member) = site.hub.speaker(room, name, author)?;
    let draft = Draft::Message {
        name,
        author,
        member: Some(member),
        text,
        key,
    };
    site.append_unless_banned(visitor, room, draft).await
}

/// How the body of a request is to be read.
fn media_type(headers: &HeaderMap) -> Option<MediaType> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let mut parts = content_type
        .split(';')
        .map(|part| part.trim().to_ascii_lowercase());
    let media_type = match parts.next().as_deref() {
        Some("application/json") => MediaType::Json,
        Some("text/plain") => MediaType::Plain,
        Some("application/x-www-form-urlencoded") => MediaType::Form,
        _ => return None,
    };
    let foreign = |part: &String| {
        part.strip_prefix("charset=").is_some_and(|charset| {
            !matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii")
        })
    };
    (!parts.any(|part| foreign(&part))).then_some(media_type)
}

/// The text and the name of `{"text":…,"name":…}`; other fields are ignored.
fn parse_json(body: &[u8]) -> Result<(String, Value), Refusal> {
    let advice = "Send a JSON object with a text: {\"text\":\"…\",\"name\":\"…\"}.";
    let Ok(Value::Object(mut object)) = serde_json::from_slice(body) else {
        return Err(Refusal::BadRequest(advice));
    };
    let Some(Value::String(text)) = object.remove("text") else {
        return Err(Refusal::EmptyText);
    };
    Ok((text, object.remove("name").unwrap_or_default()))
}

/// Answers with retained messages; if there are none and the request may wait, with those that come.
pub(crate) async fn history(
    site: &Site,
    head: &Parts,
    room: &RoomName,
    permit: &mut Permit,
) -> Answer {
    let query = Query::of(&head.uri);
    let limit_advice = "limit is how many messages to answer with: 1 to 500.";
    let limit = query.number("limit", 1..=MAX_LIMIT, limit_advice)?;
    let limit = limit.unwrap_or(DEFAULT_LIMIT) as usize;
    let wait_advice = "wait is how long the answer may take: whole seconds, 60 at most.";
    let wait = query.number("wait", 0..=MAX_WAIT_SECONDS, wait_advice)?;
    let wait = wait.unwrap_or(0);
    let at = match (position(query, "after")?, position(query, "before")?) {
        (Some(_), Some(_)) => {
            return Err(Refusal::BadRequest(
                "Ask for what is after an id or before one, not both.",
            ));
        }
        (Some(after), None) => PageAt::After(after),
        (None, Some(before)) => PageAt::Before(before),
        (None, None) => PageAt::End,
    };
    let mut page = site.page(room, at, limit).await?;
    let is_empty = page.messages.is_empty() && page.removed.is_empty() && !page.missed;
    let may_wait = wait > 0 && !matches!(at, PageAt::Before(_));
    if may_wait && is_empty && !site.is_draining() {
        permit.take(Holding::Streams, 1)?;
        // Whether something came or time is up, the answer is what there is now.
        let entry = site.hub.wait_for_entry_after(room, page.next);
        let _ = timeout(Duration::from_secs(wait), entry).await;
        page = site.hub.page(room, PageAt::After(page.next), limit);
    }
    // Between two messages nothing is ever added, so their number tells what was removed.
    let id_of = |message: Option<&Arc<Frame>>| message.and_then(|message| message.id());
    let messages = &page.messages;
    let ends = (id_of(messages.first()), id_of(messages.last()));
    let count = messages.len();
    let etag = answer::etag((room, ends, count, &page.removed, page.next, page.missed));
    Ok(answer::tagged(
        &head.headers,
        "application/json",
        &etag,
        || page_body(room, page),
    ))
}

fn position(query: Query<'_>, name: &str) -> Result<Option<EventId>, Refusal> {
    let bad = Refusal::BadRequest("after and before are event ids: <milliseconds>-<sequence>.");
    match query.get(name, bad.clone())? {
        Some(id) => id.parse().map(Some).map_err(|_| bad),
        None => Ok(None),
    }
}

/// The page as JSON, in pieces that are shared with the history.
fn page_body(room: &RoomName, page: Page) -> Body {
    let room = Value::from(room.as_str());
    let removed: Value = page.removed.iter().map(EventId::to_string).collect();
    let (next, missed) = (page.next, page.missed);
    let begin = format!(r#"{{"room":{room},"messages":["#);
    let end = format!(r#"],"removed":{removed},"next":"{next}","missed":{missed}}}"#);
    let messages = page.messages.iter().map(|message| message.data().len());
    let commas = page.messages.len().saturating_sub(1);
    let bytes = begin.len() + messages.sum::<usize>() + commas + end.len();
    let messages = page.messages.into_iter().enumerate();
    let messages = messages.flat_map(|(i, message)| {
        let comma = (i > 0).then_some(Bytes::from_static(b","));
        comma.into_iter().chain([message.data()])
    });
    let pieces = iter::once(begin.into()).chain(messages).chain([end.into()]);
    Body::pieces(bytes, pieces)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_bodies() {
        let parsed = |body: &str| parse_json(body.as_bytes());
        assert_eq!(
            parsed(r#"{"text":"a","name":"b","more":[1]}"#),
            Ok(("a".into(), "b".into()))
        );
        assert_eq!(
            parsed(r#"{"text":"a","name":null}"#),
            Ok(("a".into(), Value::Null))
        );
        for bad in [
            "",
            "{",
            "[]",
            "\"text\"",
            "null",
            "{\"text\":\"\\ud800\"}",
            "{\"text\":\"a\"} x",
        ] {
            assert!(matches!(parsed(bad), Err(Refusal::BadRequest(_))), "{bad}");
        }
        for bad in ["{}", r#"{"text":1}"#, r#"{"text":null}"#] {
            assert_eq!(parsed(bad), Err(Refusal::EmptyText), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..300), json in "[\\[\\]{}\":,a-z0-9\\\\]{0,60}") {
            let _ = parse_json(&body);
            let _ = parse_json(json.as_bytes());
        }
    }
}
