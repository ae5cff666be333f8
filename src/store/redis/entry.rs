//! How entries are stored: the fields of a stream's entries, as the append script writes them.

use std::collections::HashMap;

use redis::{FromRedisValue, Value};

use crate::rooms::elsewhere::Retained;
use crate::rooms::id::EventId;
use crate::rooms::message::{Entry, Message, RemovedBy};
use crate::rooms::names::{IdempotencyKey, MemberName, MessageText, RoomName};

pub(super) type Fields = HashMap<String, String>;

/// One entry of a stream, as Redis answers with it. Entries that are not ours do not spoil the rest.
pub(super) struct Raw {
    pub(super) id: EventId,
    pub(super) fields: Fields,
}

/// Reads entries of a stream. What cannot be read keeps its id, and has no fields.
pub(super) fn raw(entries: Vec<(String, Value)>) -> impl DoubleEndedIterator<Item = Raw> {
    entries.into_iter().filter_map(|(id, fields)| {
        Some(Raw {
            id: id.parse().ok()?,
            fields: Fields::from_redis_value(fields).unwrap_or_default(),
        })
    })
}

/// The message or removal that an entry is; `None` if it is of another kind.
pub(super) fn decode(raw: &Raw) -> Option<(RoomName, Entry)> {
    let Raw { id, fields } = raw;
    let text = |field: &str| fields.get(field).map(String::as_str);
    let room = RoomName::stored(text("room")?).ok()?;
    let key = text("key").and_then(|key| IdempotencyKey::parse(key).ok());
    let entry = match text("kind")? {
        "message" => {
            let message = Message {
                id: *id,
                room: room.clone(),
                name: MemberName::stored(text("name")?).ok()?,
                author: text("author").and_then(|author| author.parse().ok()),
                member: text("member") == Some("1"),
                text: MessageText::parse(text("text")?, usize::MAX).ok()?,
                sent_at: id.milliseconds,
            };
            Entry::message(&message, key)
        }
        "removal" => {
            let removed = text("removed")?.parse().ok()?;
            let by = RemovedBy::parse(text("by")?)?;
            let removal = Entry::removal(&room, *id, removed, by, id.milliseconds);
            Entry { key, ..removal }
        }
        _ => return None,
    };
    Some((room, entry))
}

/// What a room retains: `newest_first` are its entries, of which those up to `evicted_up_to` do not
/// count.
pub(super) fn retained(newest_first: Vec<(String, Value)>, evicted_up_to: EventId) -> Retained {
    let entries = raw(newest_first).rev();
    let entries = entries.filter(|raw| raw.id > evicted_up_to);
    Retained {
        evicted_up_to,
        entries: entries.filter_map(|raw| Some(decode(&raw)?.1)).collect(),
    }
}
