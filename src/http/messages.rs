//! Sending messages, and asking for those that are held.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as HttpBody, Bytes};
use hyper::header::{CONTENT_TYPE, EXPECT, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use super::body::{self, Body};
use super::error::Refusal;
use super::gate::WriteGate;
use super::guard::Visitor;
use super::query::Query;
use super::service::Site;
use crate::chat::answers::{Committed, Page, Query as RoomQuery};
use crate::chat::frame::Frame;
use crate::chat::id::EventId;
use crate::chat::members::Speaker;
use crate::chat::message::{Draft, Quoted};
use crate::chat::names::{BadText, IdempotencyKey, MemberName, MessageText, RoomName};

/// Messages in one answer where the question does not say, and at most.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: u64 = 500;
/// How long a question may wait for an answer, in seconds.
const MAX_WAIT_SECONDS: u64 = 60;
/// Bytes of JSON that one byte of text may take: a control character becomes `\u0000`.
const JSON_BYTES_PER_BYTE: usize = 6;
/// Bytes beside the text: a name, the keys, white space at the end.
const BODY_OVERHEAD: usize = 1_024;

/// The two ways to send.
enum MediaType {
    Json,
    Plain,
}

/// Takes a message.
pub(crate) async fn post<B>(
    site: &Arc<Site>,
    head: &Parts,
    body: B,
    visitor: Visitor,
    room: &RoomName,
) -> Result<Response<Body>, Refusal>
where
    B: HttpBody,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if site.is_draining() {
        return Err(Refusal::Draining);
    }
    site.spend_message(visitor, room)?;
    let media_type = media_type(&head.headers)?;
    let key = idempotency_key(&head.headers)?;
    let max_bytes = site.settings.max_message * JSON_BYTES_PER_BYTE + BODY_OVERHEAD;
    let body = body::read(body, max_bytes, head.headers.contains_key(EXPECT)).await?;
    let (text, name) = match media_type {
        MediaType::Json => parse_json(&body)?,
        MediaType::Plain => {
            let name = Query::of(&head.uri)
                .get("name")
                .transpose()
                .map_err(|_| Refusal::BadName)?;
            (
                String::from_utf8(body.into()).map_err(|_| Refusal::NotUtf8)?,
                name,
            )
        }
    };
    let text = MessageText::parse(&text, site.settings.max_message).map_err(|bad| match bad {
        BadText::Empty => Refusal::EmptyText,
        BadText::TooLong => Refusal::TooLarge,
    })?;
    let name = name
        .map(|name| MemberName::parse(&name))
        .transpose()
        .map_err(|_| Refusal::BadName)?;
    let Speaker { name, member } = site.hub.look(room).speaker(name, visitor.session)?;
    let draft = Draft {
        name,
        member,
        text,
        key,
    };
    Ok(match site.append(room, draft).await? {
        Committed::Now(frame) => body::json(StatusCode::CREATED, frame.data()),
        Committed::Before(frame) => body::json(StatusCode::OK, frame.data()),
    })
}

fn media_type(headers: &HeaderMap) -> Result<MediaType, Refusal> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .ok_or(Refusal::UnsupportedMediaType)?;
    let mut parts = content_type
        .split(';')
        .map(|part| part.trim().to_ascii_lowercase());
    let media_type = match parts.next().as_deref() {
        Some("application/json") => MediaType::Json,
        Some("text/plain") => MediaType::Plain,
        _ => return Err(Refusal::UnsupportedMediaType),
    };
    let foreign = |part: &String| {
        part.strip_prefix("charset=").is_some_and(|charset| {
            !matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii")
        })
    };
    if parts.any(|part| foreign(&part)) {
        Err(Refusal::UnsupportedMediaType)
    } else {
        Ok(media_type)
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Refusal> {
    let bad = Refusal::BadRequest("An Idempotency-Key is 1 to 64 visible ASCII characters.");
    match headers.get("idempotency-key") {
        Some(key) => Ok(Some(
            IdempotencyKey::parse(key.to_str().map_err(|_| bad)?).map_err(|_| bad)?,
        )),
        None => Ok(None),
    }
}

/// The text and the name of `{"text":…,"name":…}`; other members are let be.
fn parse_json(body: &[u8]) -> Result<(String, Option<String>), Refusal> {
    let advice = "Send a JSON object with a text: {\"text\":\"…\",\"name\":\"…\"}.";
    let Ok(Value::Object(mut object)) = serde_json::from_slice(body) else {
        return Err(Refusal::BadRequest(advice));
    };
    let Some(Value::String(text)) = object.remove("text") else {
        return Err(Refusal::EmptyText);
    };
    match object.remove("name") {
        Some(Value::String(name)) => Ok((text, Some(name))),
        Some(Value::Null) | None => Ok((text, None)),
        Some(_) => Err(Refusal::BadName),
    }
}

/// Answers with messages that are held; where there are none and the question may wait, with those
/// that come.
pub(crate) async fn history(
    site: &Arc<Site>,
    head: &Parts,
    visitor: Visitor,
    room: &RoomName,
) -> Result<Response<Body>, Refusal> {
    let query = Query::of(&head.uri);
    let asked = RoomQuery {
        after: position(query, "after")?,
        before: position(query, "before")?,
        limit: limit(query)?,
    };
    let wait = query.number("wait", WAIT_ADVICE)?.unwrap_or(0);
    if wait > MAX_WAIT_SECONDS {
        return Err(Refusal::BadRequest(WAIT_ADVICE));
    }
    let mut page = site.hub.look(room).page(asked);
    if wait > 0
        && asked.before.is_none()
        && page.messages.is_empty()
        && !page.missed
        && !site.is_draining()
    {
        let _permit = site.streams.open(visitor.address)?;
        if let Some(gate) = head.extensions.get::<WriteGate>() {
            gate.lasts_until_departure();
        }
        let room = site.hub.enter(room)?;
        // Whether something came or time is up, the answer is what is there now.
        let _ = timeout(Duration::from_secs(wait), room.arrival_after(page.next)).await;
        page = room.page(RoomQuery {
            after: Some(page.next),
            ..asked
        });
    }
    let json = page_json(room, &page);
    let etag = body::etag(&json);
    Ok(body::tagged(&head.headers, "application/json", &etag, json))
}

const WAIT_ADVICE: &str = "wait is how long the answer may take: whole seconds, 60 at most.";

fn position(query: Query<'_>, name: &str) -> Result<Option<EventId>, Refusal> {
    let bad = Refusal::BadRequest("after and before are event ids: <milliseconds>-<sequence>.");
    match query.get(name) {
        Some(id) => id.map_err(|_| bad)?.parse().map(Some).map_err(|_| bad),
        None => Ok(None),
    }
}

fn limit(query: Query<'_>) -> Result<usize, Refusal> {
    let advice = "limit is how many messages to answer with: 1 to 500.";
    match query.number("limit", advice)? {
        None => Ok(DEFAULT_LIMIT),
        Some(limit) if (1..=MAX_LIMIT).contains(&limit) => {
            usize::try_from(limit).map_err(|_| Refusal::BadRequest(advice))
        }
        Some(_) => Err(Refusal::BadRequest(advice)),
    }
}

fn page_json(room: &RoomName, page: &Page) -> Bytes {
    let mut json = format!(r#"{{"room":{},"messages":["#, Quoted(room.as_str())).into_bytes();
    for (i, message) in page
        .messages
        .iter()
        .map(|frame: &Arc<Frame>| frame.data())
        .enumerate()
    {
        if i > 0 {
            json.push(b',');
        }
        json.extend_from_slice(&message);
    }
    json.extend_from_slice(
        format!(r#"],"next":"{}","missed":{}}}"#, page.next, page.missed).as_bytes(),
    );
    json.into()
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
            Ok(("a".into(), Some("b".into())))
        );
        assert_eq!(
            parsed(r#"{"text":"a","name":null}"#),
            Ok(("a".into(), None))
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
        assert_eq!(parsed(r#"{"text":"a","name":1}"#), Err(Refusal::BadName));
    }

    proptest! {
        #[test]
        fn arbitrary_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..300), json in "[\\[\\]{}\":,a-z0-9\\\\]{0,60}") {
            let _ = parse_json(&body);
            let _ = parse_json(json.as_bytes());
        }
    }
}
