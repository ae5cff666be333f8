//! Messages in the format of Slack's incoming webhooks, which many programs can send.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::body::Body as HttpBody;
use serde_json::Value;

use super::answer::{self, Answer};
use super::messages::{self, MediaType};
use super::request::Query;
use super::site::Site;
use super::visitor::Visitor;
use crate::names::{MemberName, RoomName};
use crate::refusal::Refusal;
use crate::rooms::message::Draft;

/// Bytes of a request at most, or as many as a message needs if that is more: most of a body is
/// markup that is ignored, and a text that is too long is cut, not refused.
const BODY_BYTES: usize = 64 * 1024;
/// What to send, where the body is of another type.
const TYPES: &str = "Send application/json, or a form, in UTF-8.";
/// The name of a sender that gives none.
const DEFAULT_NAME: &str = "hook";
/// What stands in place of the rest of a text that was cut.
const ELLIPSIS: char = '…';

/// Takes a message from a program. A user's is the user's; a session's is nobody's, but a session that is
/// banned may send none. If somebody has the name, it goes under it all the same, as no member's: nobody
/// can silence an alarm by taking its name.
pub(crate) async fn post<B: HttpBody>(
    site: &Site,
    visitor: &Visitor<'_>,
    room: &RoomName,
    body: B,
) -> Answer {
    let received = messages::receive(site, visitor, room, body, BODY_BYTES, TYPES);
    let (media_type, body) = received.await?;
    let payload = match media_type {
        MediaType::Json => parse(&body),
        MediaType::Form => form_payload(&body).and_then(|json| parse(json.as_bytes())),
        MediaType::Plain => return Err(Refusal::UnsupportedMediaType(TYPES)),
    };
    let payload = payload.ok_or(Refusal::BadRequest(
        "Send a JSON object, or a form in which payload is one: {\"text\":\"…\"}.",
    ))?;
    let given = || match payload["username"].as_str().map(MemberName::parse) {
        Some(Ok(name)) => Ok(Some(name)),
        _ => Query::of(&visitor.head.uri).name(),
    };
    let name = visitor.name_or(given)?;
    let name = name.map_or_else(|| MemberName::parse(DEFAULT_NAME), Ok);
    let text = cut(text_of(&payload), site.options.max_message);
    let draft = Draft::Message {
        name: name.map_err(|_| Refusal::BadName)?,
        author: visitor.author.filter(|_| visitor.name.is_some()),
        member: None,
        text: messages::message_text(site, &text)?,
        key: None,
    };
    site.append_unless_banned(visitor, room, draft).await?;
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

/// What a person is to read: the text and the blocks, then the attachments, one text per line.
fn text_of(payload: &Value) -> String {
    let mut lines = Vec::new();
    read_with_blocks(vec![plain(&string(&payload["text"]))], payload, &mut lines);
    read(&payload["attachments"], &mut lines);
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

/// Reads an attachment, a block, or a part of one, in the order in which Slack shows it. The depth
/// is bounded by the parser of JSON.
fn read(part: &Value, lines: &mut Vec<String>) {
    match part {
        Value::Array(parts) => return parts.iter().for_each(|part| read(part, lines)),
        Value::Object(_) => {}
        _ => return,
    }
    let raw = |key: &str| string(&part[key]);
    let said = |key: &str| plain(&raw(key));
    let mut own = match raw("type").as_str() {
        // Nobody can press it here.
        "button" if raw("url").is_empty() => return,
        "button" => vec![linked(&said("text"), &raw("url"))],
        "rich_text_section" | "rich_text_preformatted" | "rich_text_quote" => {
            // Its elements are a line together, and nothing in them is escaped.
            let elements = part["elements"].as_array().into_iter().flatten();
            let shown = |e: &Value| linked(&string(&e["text"]), &string(&e["url"]));
            return lines.push(elements.map(shown).collect());
        }
        _ => {
            let title = linked(&said("title"), &raw("title_link"));
            match said("value") {
                value if value.is_empty() => vec![said("pretext"), title, said("text")],
                value if title.is_empty() => vec![value],
                value => vec![format!("{title}: {value}")],
            }
        }
    };
    if own.iter().all(String::is_empty) {
        // For readers that cannot show the rest.
        own.push(said("fallback"));
    }
    read_with_blocks(own, part, lines);
    for key in ["fields", "accessory", "elements", "rows", "actions"] {
        read(&part[key], lines);
    }
}

/// Reads the blocks after what stands beside them, which often repeats one of them for readers that
/// cannot show blocks.
fn read_with_blocks(own: Vec<String>, part: &Value, lines: &mut Vec<String>) {
    let mut blocks = Vec::new();
    read(&part["blocks"], &mut blocks);
    lines.extend(own.into_iter().filter(|line| !blocks.contains(line)));
    lines.append(&mut blocks);
}

/// A text, which may lie in an object of its own, with its type.
fn string(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => value["text"].as_str().unwrap_or_default().to_owned(),
    }
}

/// A text without Slack's markup for links, mentions and dates, its escapes undone.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.trim_end();
    while let Some((before, after)) = rest.split_once('<') {
        plain += &unescape(before);
        let end = after.find(['<', '>', '\n']).unwrap_or(after.len());
        let (inside, tail) = after.split_at(end);
        rest = match (tail.strip_prefix('>'), reference(inside)) {
            (Some(tail), Some(shown)) => {
                plain += &shown;
                tail
            }
            // Not every sender escapes what it should.
            _ => {
                plain.push('<');
                after
            }
        };
    }
    plain + &unescape(rest)
}

/// What is shown in place of `<link|label>`, `<@id|name>`, `<#id|name>`, `<!here>`,
/// `<!date^…|text>`; `None` if this is none of them.
fn reference(inside: &str) -> Option<String> {
    let (target, label) = inside.split_once('|').unwrap_or((inside, ""));
    let (target, label) = (unescape(target.trim()), unescape(label.trim()));
    let (sign, name) = target.split_at_checked(1)?;
    let sign = match sign {
        "!" if name.starts_with("date^") => return Some(label.into_owned()),
        "!" | "@" => '@',
        "#" => '#',
        _ if target.contains(char::is_whitespace) || !target.contains(':') => return None,
        _ => return Some(linked(&label, &target)),
    };
    let label = label.trim_start_matches(sign);
    let name = if label.is_empty() { name } else { label };
    name.starts_with(char::is_alphanumeric)
        .then(|| format!("{sign}{name}"))
}

/// A link in angle brackets: every reader sees where it ends.
fn linked(label: &str, link: &str) -> String {
    let link = link.trim();
    match link.strip_suffix(label) {
        _ if link.is_empty() => label.to_owned(),
        _ if label.is_empty() => format!("<{link}>"),
        Some("" | "http://" | "https://" | "mailto:") => format!("<{link}>"),
        _ => format!("{label} <{link}>"),
    }
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return text.into();
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&amp;", "&").into()
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
mod tests;
