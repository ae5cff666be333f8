//! How entries are stored: the fields of a stream's entries, as the append script writes them.

use std::collections::HashMap;

use redis::{FromRedisValue, Value};

use crate::names::{IdempotencyKey, MemberName, MessageText, RoomName};
use crate::rooms::id::EventId;
use crate::rooms::message::{Draft, Entry, RemovedBy};

pub(super) type Fields = HashMap<String, String>;

/// Entries of a stream, as Redis answers with them. Those that are not ours do not spoil the rest.
pub(super) type Entries = Vec<(String, Value)>;

/// Reads entries of a stream. What cannot be read keeps its id, and has no fields.
pub(super) fn read(entries: Entries) -> impl DoubleEndedIterator<Item = (EventId, Fields)> {
    entries.into_iter().filter_map(|(id, fields)| {
        let fields = Fields::from_redis_value(fields).unwrap_or_default();
        Some((id.parse().ok()?, fields))
    })
}

/// The message or removal that an entry is, and its room; `None` if it is of another kind.
pub(super) fn decode(id: EventId, fields: &Fields) -> Option<(RoomName, Entry)> {
    let text = |field: &str| fields.get(field).map(String::as_str);
    let room = RoomName::stored(text("room")?).ok()?;
    let draft = match text("kind")? {
        "message" => Draft::Message {
            name: MemberName::stored(text("name")?).ok()?,
            author: text("author").and_then(|author| author.parse().ok()),
            member: Some(text("member") == Some("1")),
            text: MessageText::parse(text("text")?, usize::MAX).ok()?,
            key: None,
        },
        "removal" => Draft::Removal {
            removed: text("removed")?.parse().ok()?,
            by: RemovedBy::parse(text("by")?)?,
        },
        _ => return None,
    };
    // A removal has the key of the message that it removes.
    let key = text("key").and_then(|key| IdempotencyKey::stored(key).ok());
    let entry = draft.into_entry(&room, id, id.milliseconds);
    Some((room, Entry { key, ..entry }))
}

/// The low-water mark that the entry's room had when the entry came.
pub(super) fn evicted(fields: &Fields) -> EventId {
    let evicted = fields.get("evicted").and_then(|id| id.parse().ok());
    evicted.unwrap_or_default()
}
