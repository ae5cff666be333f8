//! Messages in the format of Slack's incoming webhooks, which many programs can send.

use std::sync::Arc;

use hyper::Response;
use hyper::StatusCode;
use hyper::body::Body as HttpBody;
use hyper::http::request::Parts;
use serde_json::Value;

use super::answer;
use super::body::Body;
use super::guard::Visitor;
use super::messages::{self, MediaType};
use super::request::Query;
use super::site::Site;
use crate::names::{MemberName, RoomName};
use crate::refusal::Refusal;

/// Bytes of a request at most, or as many as a message needs if that is more: most of a body is
/// markup that is ignored, and a text that is too long is cut, not refused.
const BODY_BYTES: usize = 64 * 1024;
/// The name of a sender that gives none.
const DEFAULT_NAME: &str = "hook";
/// What stands in place of the rest of a text that was cut.
const ELLIPSIS: char = '…';

/// Takes a message. It belongs to no session, even if the request carries one: what sends it is a
/// program.
pub(crate) async fn post<B: HttpBody>(
    site: &Arc<Site>,
    head: &Parts,
    body: B,
    visitor: Visitor,
    room: &RoomName,
) -> Result<Response<Body>, Refusal> {
    let visitor = Visitor {
        author: None,
        ..visitor
    };
    let received = messages::receive(site, head, body, visitor, room, BODY_BYTES);
    let (media_type, body) = received.await?;
    let payload = match media_type {
        MediaType::Json => parse(&body),
        MediaType::Form => form_payload(&body).and_then(|json| parse(json.as_bytes())),
        MediaType::Plain => return Err(Refusal::UnsupportedMediaType),
    };
    let payload = payload.ok_or(Refusal::BadRequest(
        "Send a JSON object, or a form in which payload is one: {\"text\":\"…\"}.",
    ))?;
    let in_query = Query::of(&head.uri).get("name", Refusal::BadName)?;
    let name = match payload["username"].as_str().map(MemberName::parse) {
        Some(Ok(name)) => Ok(name),
        _ => MemberName::parse(in_query.as_deref().unwrap_or(DEFAULT_NAME)),
    };
    let name = name.map_err(|_| Refusal::BadName)?;
    let text = cut(text_of(&payload), site.options.max_message);
    let text = messages::message_text(site, &text)?;
    messages::send(site, visitor, room, Some(name), text, None).await?;
    // The senders compare the whole body with this.
    Ok(answer::text(StatusCode::OK, "text/plain", "ok"))
}

fn parse(json: &[u8]) -> Option<Value> {
    let payload: Value = serde_json::from_slice(json).ok()?;
    payload.is_object().then_some(payload)
}

fn form_payload(form: &[u8]) -> Option<String> {
    let form = Query(str::from_utf8(form).ok()?);
    form.get("payload", Refusal::NotUtf8).ok()?
}

/// The text, and those of the attachments, one per line. An attachment's `fallback` is for readers
/// that cannot show the rest of it.
fn text_of(payload: &Value) -> String {
    let line = |of: &Value, key: &str| {
        let text = of[key].as_str().unwrap_or_default().trim_end();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let mut lines: Vec<String> = line(payload, "text").into_iter().collect();
    for attachment in payload["attachments"].as_array().into_iter().flatten() {
        let before = lines.len();
        let shown = ["pretext", "title", "text"];
        lines.extend(shown.iter().filter_map(|key| line(attachment, key)));
        if lines.len() == before {
            lines.extend(line(attachment, "fallback"));
        }
    }
    lines.join("\n")
}

/// The text, or as much of it as fits into `max_bytes`.
fn cut(mut text: String, max_bytes: usize) -> String {
    if text.len() > max_bytes {
        let mut end = max_bytes.saturating_sub(ELLIPSIS.len_utf8());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push(ELLIPSIS);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_of_payloads() {
        for (payload, text) in [
            (json!({"text": "a"}), "a"),
            (json!({"text": "a\n", "blocks": [{"text": "x"}]}), "a"),
            (json!({"attachments": [{"fallback": "f"}]}), "f"),
            (
                json!({"attachments": [{"text": "c", "title": "b", "pretext": "a", "fallback": "f"}]}),
                "a\nb\nc",
            ),
            (
                json!({"attachments": [{"title": "b", "text": "", "fallback": "f"}]}),
                "b",
            ),
            (
                json!({"text": "a", "attachments": [{}, 1, {"title": 2, "text": "b\nc"}]}),
                "a\nb\nc",
            ),
            (json!({"text": null, "attachments": null}), ""),
            (json!({"attachments": {"text": "a"}}), ""),
        ] {
            assert_eq!(text_of(&payload), text, "{payload}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        for (text, max_bytes, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdefg", 6, "abc…"),
            ("abéééé", 6, "ab…"),
            ("🦀🦀", 7, "🦀…"),
            ("abcd", 3, "…"),
        ] {
            assert_eq!(cut(text.to_owned(), max_bytes), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_cut_fits(text in ".{0,40}", max_bytes in 3..60_usize) {
            prop_assert!(cut(text, max_bytes).len() <= max_bytes);
        }

        #[test]
        fn arbitrary_forms_never_panic(form in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = form_payload(&form).and_then(|json| parse(json.as_bytes()));
        }
    }
}
