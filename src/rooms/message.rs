//! What is said in a room, and its encoding as one line of JSON.

use std::sync::Arc;

use serde_json::Value;

use super::frame::{Event, Frame};
use super::id::EventId;
use crate::author::Author;
use crate::names::{IdempotencyKey, MemberName, MessageText, RoomName};

/// A message, with its position among all events.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// Its position: every later event, in any room, has a greater id.
    pub id: EventId,
    /// The room it was sent to.
    pub room: RoomName,
    /// The name it was sent under.
    pub name: MemberName,
    /// Who sent it; `None` if it was sent without a session.
    pub author: Option<Author>,
    /// Whether its author was connected to the room under that name, or only used a free name.
    pub member: bool,
    /// What was said.
    pub text: MessageText,
    /// When the server took it, in milliseconds since the Unix epoch.
    pub sent_at: u64,
}

/// Who removed a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RemovedBy {
    Author,
    Moderator,
}

/// An entry of a room's history: a message, or the removal of one, with its position among all events.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: EventId,
    pub(crate) frame: Arc<Frame>,
    /// The key under which the message was sent; a removal has that of the removed message.
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) author: Option<Author>,
    /// When the server took it, in milliseconds since the Unix epoch. Unlike ids, it goes back with the
    /// clock.
    pub(crate) sent_at: u64,
    /// The message that this entry removes, if it is a removal.
    pub(crate) removes: Option<EventId>,
}

/// An entry that has no id yet.
#[derive(Clone, Debug)]
pub(crate) enum Draft {
    Message {
        name: MemberName,
        author: Option<Author>,
        /// Whether it is a member's; `None` for a hook, which posts under a name whoever has it.
        member: Option<bool>,
        text: MessageText,
        key: Option<IdempotencyKey>,
    },
    /// The removal of a message.
    Removal { removed: EventId, by: RemovedBy },
}

impl Draft {
    /// Gives the draft its position and its time, and encodes it.
    pub(crate) fn into_entry(self, room: &RoomName, id: EventId, sent_at: u64) -> Entry {
        match self {
            Draft::Message {
                name,
                author,
                member,
                text,
                key,
            } => {
                let message = Message {
                    id,
                    room: room.clone(),
                    name,
                    author,
                    member: member == Some(true),
                    text,
                    sent_at,
                };
                Entry::message(&message, key)
            }
            Draft::Removal { removed, by } => {
                let data = format!(
                    r#"{{"eventId":"{id}","room":{},"removed":"{removed}","by":"{}","sentAt":{sent_at}}}"#,
                    Value::from(room.as_str()),
                    by.as_str()
                );
                Entry {
                    id,
                    frame: Arc::new(Frame::new(Some(id), Event::Removed, &data)),
                    key: None,
                    author: None,
                    sent_at,
                    removes: Some(removed),
                }
            }
        }
    }
}

impl Entry {
    pub(crate) fn message(message: &Message, key: Option<IdempotencyKey>) -> Entry {
        let frame = Frame::new(Some(message.id), Event::Message, &message.to_json());
        Entry {
            id: message.id,
            frame: Arc::new(frame),
            key,
            author: message.author,
            sent_at: message.sent_at,
            removes: None,
        }
    }
}

impl Message {
    /// The message as one line of JSON: the `data` of its event, an entry of the history, the
    /// answer to its POST.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let chat = chatroom::Chat::open(Default::default())?;
    /// let said = chat.post("lobby", "bell", "ring").await?;
    /// assert!(said.to_json().contains(r#""room":"lobby","name":"bell","author":null"#));
    /// # Ok(()) }
    /// ```
    pub fn to_json(&self) -> String {
        // Not as a `Value`, which would be copied once more, and written in small pieces.
        let quoted = |text| serde_json::to_string(text).expect("every text is a JSON string");
        let mut text = quoted(self.text.as_str());
        // What a terminal may obey, and serde_json does not escape. Hardly any text has it, and all are
        // looked at under the hub's lock: once.
        let controls = '\u{7f}'..='\u{9f}';
        if text.contains(|c| controls.contains(&c)) {
            for control in controls {
                text = text.replace(control, &format!("\\u{:04x}", u32::from(control)));
            }
        }
        format!(
            r#"{{"eventId":"{}","room":{},"name":{},"author":{},"member":{},"text":{text},"sentAt":{}}}"#,
            self.id,
            quoted(self.room.as_str()),
            quoted(self.name.as_str()),
            Value::from(self.author.map(|author| author.to_string())),
            self.member,
            self.sent_at
        )
    }

    /// The message that a frame announces, if it announces one.
    pub(crate) fn from_frame(frame: &Frame) -> Option<Message> {
        Message::from_json(&serde_json::from_slice(&frame.data()).ok()?)
    }

    /// Reads what [`Message::to_json`] wrote; `None` if a part is missing or malformed. The author
    /// may be missing: earlier versions wrote none.
    pub(crate) fn from_json(json: &Value) -> Option<Message> {
        let text = |key: &str| json.get(key)?.as_str();
        let author = match json.get("author") {
            None | Some(Value::Null) => None,
            Some(author) => Some(author.as_str()?.parse().ok()?),
        };
        Some(Message {
            id: text("eventId")?.parse().ok()?,
            room: RoomName::stored(text("room")?).ok()?,
            name: MemberName::stored(text("name")?).ok()?,
            author,
            member: json.get("member")?.as_bool()?,
            text: MessageText::parse(text("text")?, usize::MAX).ok()?,
            sent_at: json.get("sentAt")?.as_u64()?,
        })
    }
}

impl RemovedBy {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            RemovedBy::Author => "author",
            RemovedBy::Moderator => "moderator",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<RemovedBy> {
        [RemovedBy::Author, RemovedBy::Moderator]
            .into_iter()
            .find(|by| by.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_byte_for_byte() {
        let id = |milliseconds| EventId {
            milliseconds,
            sequence: 2,
        };
        let room = RoomName::parse("lobby").expect("a room");
        let draft = Draft::Message {
            name: MemberName::parse("alice").expect("a name"),
            author: "00000000000000ff".parse().ok(),
            member: Some(false),
            text: MessageText::parse("hi\n\nid: 9\nevent: x\r\u{2028}\u{0}🦀", 100)
                .expect("a text"),
            key: None,
        };
        let entry = draft.into_entry(&room, id(17), 18);
        assert_eq!(
            entry.frame.bytes(),
            "id: 17-2\nevent: new-message\ndata: {\"eventId\":\"17-2\",\"room\":\"lobby\",\"name\":\"alice\",\"author\":\"00000000000000ff\",\
             \"member\":false,\"text\":\"hi\\n\\nid: 9\\nevent: x\\r\u{2028}\\u0000🦀\",\"sentAt\":18}\n\n"
        );
        let removal = Draft::Removal {
            removed: id(17),
            by: RemovedBy::Author,
        };
        let entry = removal.into_entry(&room, id(19), 20);
        assert_eq!(
            entry.frame.bytes(),
            "id: 19-2\nevent: message-removed\ndata: {\"eventId\":\"19-2\",\"room\":\"lobby\",\"removed\":\"17-2\",\
             \"by\":\"author\",\"sentAt\":20}\n\n"
        );
    }

    #[test]
    fn reads_back_what_it_writes_on_one_line() {
        let text = "a\r\nb\u{2028}\u{0}🦀\n\nid: 9\nevent: x \"\\";
        for author in [None, "0123456789abcdef".parse().ok()] {
            let message = Message {
                id: EventId {
                    milliseconds: 7,
                    sequence: 1,
                },
                room: RoomName::parse("lobby").expect("a room"),
                name: MemberName::parse("al\"ice").expect("a name"),
                author,
                member: true,
                text: MessageText::parse(text, 100).expect("a text"),
                sent_at: 8,
            };
            let json = message.to_json();
            assert!(!json.contains(['\n', '\r']), "{json}");
            let read = Message::from_json(&serde_json::from_str(&json).expect("JSON"));
            assert_eq!(read, Some(message));
        }
    }
}
