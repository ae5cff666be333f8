//! The frames of the event stream, byte for byte, as the HTML standard's section 9.2 defines them.
//!
//! A frame is encoded once and shared by every client that gets it. Its `data` is one line of JSON,
//! in which a line break cannot stand unescaped: so no text can break out of its event.

use std::ops::Range;
use std::time::Duration;

use hyper::body::Bytes;

use super::id::EventId;
use super::message::{Message, Quoted, QuotedList};
use super::names::{MemberName, RoomName};

/// Names at most in an event that brings a roster or its changes, so that a crowd costs each client
/// a few kilobytes and not hundreds. The true count always stands beside them.
pub(crate) const ROSTER_NAMES: usize = 500;

/// Bytes that an event has around its data at most.
const FIELD_BYTES: usize = 128;

/// One event, encoded.
#[derive(Debug)]
pub(crate) struct Frame {
    event: &'static str,
    id: Option<EventId>,
    bytes: Bytes,
    data: Range<usize>,
}

/// How many are in a room: people and bots with a name, and streams without one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Census {
    pub(crate) members: usize,
    pub(crate) listeners: usize,
}

/// Why a client was not given all that followed its position.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MissedReason {
    /// The messages there are not held any more.
    Expired,
    /// The position is unreadable, in the future, or from another life of the server.
    Unknown,
}

/// What a newcomer is told first.
pub(crate) struct Greeting<'a> {
    /// The position that the stream starts from.
    pub(crate) position: EventId,
    pub(crate) room: &'a RoomName,
    pub(crate) name: Option<&'a MemberName>,
    pub(crate) roster: &'a [MemberName],
    pub(crate) census: Census,
    pub(crate) heartbeat: Duration,
}

impl Frame {
    /// The name of the event.
    pub(crate) fn event(&self) -> &'static str {
        self.event
    }

    /// The position that the client has reached with this frame, where it changes it.
    pub(crate) fn id(&self) -> Option<EventId> {
        self.id
    }

    /// The whole event, up to and with its blank line.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The message that this is the frame of, if it is one.
    pub(crate) fn message(&self) -> Option<Message> {
        Message::from_json(&serde_json::from_slice(&self.data()).ok()?)
    }

    /// The event's JSON alone.
    pub(crate) fn data(&self) -> Bytes {
        self.bytes.slice(self.data.clone())
    }

    pub(crate) fn connected(greeting: &Greeting<'_>) -> Frame {
        let Greeting {
            position,
            room,
            name,
            roster,
            census,
            heartbeat,
        } = greeting;
        let name = name.map_or("null".to_owned(), |name| Quoted(name.as_str()).to_string());
        let data = format!(
            r#"{{"eventId":"{position}","room":{},"name":{name},"members":{},{},"heartbeatSeconds":{}}}"#,
            Quoted(room.as_str()),
            QuotedList(roster),
            census.json_members(),
            heartbeat.as_secs_f64()
        );
        Frame::new(
            Some(retry_jittered()),
            Some(*position),
            "chat-room-connected",
            &data,
        )
    }

    pub(crate) fn missed(
        reason: MissedReason,
        after: Option<&str>,
        position: EventId,
        oldest: Option<EventId>,
    ) -> Frame {
        let reason = match reason {
            MissedReason::Expired => "expired",
            MissedReason::Unknown => "unknown",
        };
        let or_null =
            |text: Option<String>| text.map_or("null".to_owned(), |text| Quoted(&text).to_string());
        let data = format!(
            r#"{{"reason":"{reason}","after":{},"oldest":{}}}"#,
            or_null(after.map(str::to_owned)),
            or_null(oldest.map(|id| id.to_string()))
        );
        Frame::new(None, Some(position), "messages-missed", &data)
    }

    pub(crate) fn new_message(message: &Message) -> Frame {
        Frame::new(None, Some(message.id), "new-message", &message.to_json())
    }

    pub(crate) fn members_changed(
        joined: &[MemberName],
        left: &[MemberName],
        census: Census,
    ) -> Frame {
        let data = format!(
            r#"{{"joined":{},"left":{},{}}}"#,
            QuotedList(joined),
            QuotedList(left),
            census.json_members()
        );
        Frame::new(None, None, "members-changed", &data)
    }

    /// The whole roster, for a client that may have missed changes to it.
    pub(crate) fn members_replaced(roster: &[MemberName], census: Census) -> Frame {
        let data = format!(
            r#"{{"joined":[],"left":[],{},"members":{}}}"#,
            census.json_members(),
            QuotedList(roster)
        );
        Frame::new(None, None, "members-changed", &data)
    }

    pub(crate) fn heartbeat(unix_ms: u64) -> Frame {
        Frame::new(
            None,
            None,
            "heartbeat",
            &format!(r#"{{"sentAt":{unix_ms}}}"#),
        )
    }

    pub(crate) fn server_closing() -> Frame {
        Frame::new(
            Some(retry_jittered()),
            None,
            "server-closing",
            r#"{"reason":"shutdown"}"#,
        )
    }

    fn new(retry: Option<Duration>, id: Option<EventId>, event: &'static str, data: &str) -> Frame {
        let mut text = String::with_capacity(data.len() + FIELD_BYTES);
        if let Some(wait) = retry {
            text += &format!("retry: {}\n", wait.as_millis());
        }
        if let Some(id) = id {
            text += &format!("id: {id}\n");
        }
        for part in ["event: ", event, "\ndata: "] {
            text += part;
        }
        let start = text.len();
        text += data;
        text += "\n\n";
        Frame {
            event,
            id,
            data: start..start + data.len(),
            bytes: Bytes::from(text.into_bytes().into_boxed_slice()),
        }
    }
}

impl Census {
    pub(crate) fn json_members(self) -> String {
        format!(
            r#""memberCount":{},"listenerCount":{}"#,
            self.members, self.listeners
        )
    }
}

/// How long a client is to wait before it reconnects: 1 to 3 s, so that the clients of a server
/// that restarts do not all return in one moment.
fn retry_jittered() -> Duration {
    use std::hash::{BuildHasher, RandomState};
    // Two hashes under one random key differ; that is all the chance that a jitter needs.
    let chance = RandomState::new().hash_one(()) % 2_001;
    Duration::from_millis(1_000 + chance)
}

#[cfg(test)]
mod tests {
    use super::super::names::MessageText;
    use super::*;

    fn text(frame: &Frame) -> &str {
        std::str::from_utf8(frame.bytes()).expect("UTF-8")
    }

    fn names(names: &[&str]) -> Vec<MemberName> {
        names
            .iter()
            .map(|name| MemberName::parse(name).expect("a name"))
            .collect()
    }

    #[test]
    fn new_message_byte_for_byte() {
        let message = Message {
            id: EventId {
                milliseconds: 1_700_000_000_000,
                sequence: 2,
            },
            room: RoomName::parse("lobby").expect("a room"),
            name: MemberName::parse("alice").expect("a name"),
            member: false,
            text: MessageText::parse("hi\n\nid: 9\nevent: x\r\u{2028}\u{0}🦀", 100)
                .expect("a text"),
            sent_at: 1_700_000_000_001,
        };
        let frame = Frame::new_message(&message);
        assert_eq!(
            text(&frame),
            "id: 1700000000000-2\nevent: new-message\ndata: {\"eventId\":\"1700000000000-2\",\"room\":\"lobby\",\
             \"name\":\"alice\",\"member\":false,\"text\":\"hi\\n\\nid: 9\\nevent: x\\r\u{2028}\\u0000🦀\",\
             \"sentAt\":1700000000001}\n\n"
        );
        assert_eq!(frame.data(), message.to_json());
        assert_eq!(frame.id(), Some(message.id));
    }

    #[test]
    fn connected_byte_for_byte() {
        let roster = names(&["alice", "bob"]);
        let frame = Frame::connected(&Greeting {
            position: EventId {
                milliseconds: 5,
                sequence: 0,
            },
            room: &RoomName::parse("dev").expect("a room"),
            name: Some(&roster[0]),
            roster: &roster,
            census: Census {
                members: 2,
                listeners: 3,
            },
            heartbeat: Duration::from_secs(15),
        });
        let (retry, rest) = text(&frame).split_once('\n').expect("a retry line");
        let wait: u64 = retry
            .strip_prefix("retry: ")
            .and_then(|ms| ms.parse().ok())
            .expect("milliseconds");
        assert!((1_000..=3_000).contains(&wait), "{wait}");
        assert_eq!(
            rest,
            "id: 5-0\nevent: chat-room-connected\ndata: {\"eventId\":\"5-0\",\"room\":\"dev\",\"name\":\"alice\",\
             \"members\":[\"alice\",\"bob\"],\"memberCount\":2,\"listenerCount\":3,\"heartbeatSeconds\":15}\n\n"
        );
    }

    #[test]
    fn the_others_byte_for_byte() {
        let position = EventId {
            milliseconds: 5,
            sequence: 1,
        };
        let census = Census {
            members: 1,
            listeners: 0,
        };
        for (frame, expected) in [
            (
                Frame::missed(MissedReason::Unknown, Some("x\ny"), position, None),
                "id: 5-1\nevent: messages-missed\ndata: {\"reason\":\"unknown\",\"after\":\"x\\ny\",\"oldest\":null}\n\n",
            ),
            (
                Frame::missed(MissedReason::Expired, Some("1-0"), position, Some(position)),
                "id: 5-1\nevent: messages-missed\ndata: {\"reason\":\"expired\",\"after\":\"1-0\",\"oldest\":\"5-1\"}\n\n",
            ),
            (
                Frame::members_changed(&names(&["a"]), &names(&["b", "c"]), census),
                "event: members-changed\ndata: {\"joined\":[\"a\"],\"left\":[\"b\",\"c\"],\"memberCount\":1,\"listenerCount\":0}\n\n",
            ),
            (
                Frame::members_replaced(&names(&["a"]), census),
                "event: members-changed\ndata: {\"joined\":[],\"left\":[],\"memberCount\":1,\"listenerCount\":0,\"members\":[\"a\"]}\n\n",
            ),
            (
                Frame::heartbeat(12),
                "event: heartbeat\ndata: {\"sentAt\":12}\n\n",
            ),
        ] {
            assert_eq!(text(&frame), expected);
        }
        assert!(
            text(&Frame::server_closing())
                .ends_with("event: server-closing\ndata: {\"reason\":\"shutdown\"}\n\n")
        );
    }

    #[test]
    fn waits_are_spread() {
        let waits: std::collections::HashSet<Duration> =
            (0..100).map(|_| retry_jittered()).collect();
        assert!(waits.len() > 50, "{} different waits", waits.len());
    }
}
