//! How entries are stored: the fields of a stream's entries, as the append script writes them.

use std::collections::HashMap;

use redis::{FromRedisValue, ParsingError, Value};

use crate::names::{IdempotencyKey, MemberName, MessageText, RoomName};
use crate::rooms::id::EventId;
use crate::rooms::message::{Draft, Entry, RemovedBy};

/// Entries of a stream, as Redis answers with them.
pub(super) type Entries = Vec<(EventId, Fields)>;

/// The fields of an entry. One that is not ours may have none that can be read: it does not spoil the rest.
pub(super) struct Fields(HashMap<String, String>);

impl Fields {
    pub(super) fn get(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }
}

impl FromRedisValue for Fields {
    fn from_redis_value(value: Value) -> Result<Fields, ParsingError> {
        let fields = HashMap::from_redis_value(value);
        Ok(Fields(fields.unwrap_or_default()))
    }
}

impl FromRedisValue for EventId {
    fn from_redis_value(value: Value) -> Result<EventId, ParsingError> {
        let id = String::from_redis_value(value)?;
        id.parse().map_err(|_| format!("no id: {id}").into())
    }
}

/// The message or removal that an entry is, and its room; `None` if it is of another kind.
pub(super) fn decode(id: EventId, fields: &Fields) -> Option<(RoomName, Entry)> {
    let text = |field| fields.get(field);
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
