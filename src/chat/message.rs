//! A message, and its one encoding as JSON.

use std::fmt;

use serde_json::Value;

use super::id::EventId;
use super::names::{IdempotencyKey, MemberName, MessageText, RoomName};

/// What somebody said in a room, with the place among all messages that the log gave it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// Its place: every later message of the room has a greater one.
    pub id: EventId,
    /// Where it was said.
    pub room: RoomName,
    /// Who said it.
    pub name: MemberName,
    /// Whether the poster was connected to the room under that name, or only used a free one.
    pub member: bool,
    /// What was said.
    pub text: MessageText,
    /// When the server took it, in milliseconds since the Unix epoch.
    pub sent_at: u64,
}

/// A message that has no place yet.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) name: MemberName,
    pub(crate) member: bool,
    pub(crate) text: MessageText,
    pub(crate) key: Option<IdempotencyKey>,
}

/// The place and the time that the log gives to a draft.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) id: EventId,
    pub(crate) sent_at: u64,
}

impl Draft {
    pub(crate) fn stamped(self, room: &RoomName, stamp: Stamp) -> Message {
        let Draft {
            name,
            member,
            text,
            key: _,
        } = self;
        Message {
            id: stamp.id,
            room: room.clone(),
            name,
            member,
            text,
            sent_at: stamp.sent_at,
        }
    }
}

impl Message {
    /// The message as one line of JSON: the `data` of its event, an entry of the history, the
    /// answer to its POST.
    pub fn to_json(&self) -> String {
        format!("{{\"eventId\":\"{}\",{}}}", self.id, self.json_members())
    }

    /// What follows the id in [`Message::to_json`].
    pub(crate) fn json_members(&self) -> String {
        format!(
            r#""room":{},"name":{},"member":{},"text":{},"sentAt":{}"#,
            Quoted(self.room.as_str()),
            Quoted(self.name.as_str()),
            self.member,
            Quoted(self.text.as_str()),
            self.sent_at
        )
    }

    /// Reads what [`Message::to_json`] wrote; `None` where a part is missing or breaks its rule.
    pub(crate) fn from_json(json: &Value) -> Option<Message> {
        let text = |key: &str| json.get(key)?.as_str();
        Some(Message {
            id: text("eventId")?.parse().ok()?,
            room: RoomName::parse(text("room")?).ok()?,
            name: MemberName::parse(text("name")?).ok()?,
            member: json.get("member")?.as_bool()?,
            text: MessageText::parse(text("text")?, usize::MAX).ok()?,
            sent_at: json.get("sentAt")?.as_u64()?,
        })
    }
}

/// Displays a text as a JSON string. Line breaks come out escaped, so what holds it stays one line.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self.0).map_err(|_| fmt::Error)?)
    }
}

/// Displays texts as a JSON array of strings.
pub(crate) struct QuotedList<'a, T>(pub(crate) &'a [T]);

impl<T: AsRef<str>> fmt::Display for QuotedList<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, text) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{}", Quoted(text.as_ref()))?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_equal_from_one_line() {
        let text = "a\r\nb\u{2028}\u{0}🦀\n\nid: 9\nevent: x \"\\";
        let message = Message {
            id: EventId {
                milliseconds: 7,
                sequence: 1,
            },
            room: RoomName::parse("lobby").expect("a room"),
            name: MemberName::parse("al\"ice").expect("a name"),
            member: true,
            text: MessageText::parse(text, 100).expect("a text"),
            sent_at: 8,
        };
        let json = message.to_json();
        assert!(!json.contains(['\n', '\r']), "{json}");
        let read = Message::from_json(&serde_json::from_str(&json).expect("JSON"));
        assert_eq!(read, Some(message));
    }

    #[test]
    fn lists() {
        assert_eq!(QuotedList::<&str>(&[]).to_string(), "[]");
        assert_eq!(QuotedList(&["a", "\"b\""]).to_string(), r#"["a","\"b\""]"#);
    }
}
