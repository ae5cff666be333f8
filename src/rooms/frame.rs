//! The frames of the event stream, byte for byte, as the HTML standard's section 9.2 defines them.
//!
//! A frame is encoded once and shared by every client that gets it. Its `data` is one line of JSON,
//! in which line breaks are always escaped, so no text can break out of its event.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::Value;

use super::author::Author;
use super::id::EventId;
use crate::names::{MemberName, RoomName};

/// How long a client waits before it reconnects, at least, and how much of it is random: so the
/// clients of a restarted server do not all return at once.
const RETRY: Duration = Duration::from_millis(1_000);
const RETRY_JITTER_MS: u64 = 2_000;

/// One event, encoded.
#[derive(Clone, Debug)]
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

/// Why a client did not get everything that followed its position.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MissedReason {
    /// Messages after it have been evicted.
    Expired,
    /// The position is unreadable, in the future, or from a previous run of the server.
    Unknown,
}

/// What a client is told first in each of its rooms.
pub(crate) struct Greeting<'a> {
    /// The position from which the stream begins.
    pub(crate) position: EventId,
    /// Whether it is the first of its stream, and says how long to wait before a reconnect.
    pub(crate) is_first: bool,
    pub(crate) room: &'a RoomName,
    pub(crate) name: Option<&'a MemberName>,
    pub(crate) author: Option<Author>,
    pub(crate) census: Census,
    pub(crate) heartbeat: Duration,
}

impl Frame {
    /// The name of the event.
    pub(crate) fn event(&self) -> &'static str {
        self.event
    }

    /// The position that a client has reached with this frame, if the frame has one.
    pub(crate) fn id(&self) -> Option<EventId> {
        self.id
    }

    /// The whole event, including the blank line at its end.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The event's JSON.
    pub(crate) fn data(&self) -> Bytes {
        self.bytes.slice(self.data.clone())
    }

    /// A greeting in three parts that are sent one after the other, of which the `roster` is shared
    /// by all clients that are greeted while it does not change.
    pub(crate) fn connected(greeting: &Greeting<'_>, roster: &Arc<Frame>) -> [Arc<Frame>; 3] {
        let position = greeting.position;
        let mut head = String::new();
        if greeting.is_first {
            head += &format!("retry: {}\n", retry_jittered().as_millis());
        }
        head += &format!(
            "id: {position}\nevent: chat-room-connected\ndata: {{\"eventId\":\"{position}\",\"room\":{},\"name\":{},\"author\":{},\"members\":",
            Value::from(greeting.room.as_str()),
            Value::from(greeting.name.map(MemberName::as_str)),
            Value::from(greeting.author.map(|author| author.to_string())),
        );
        let tail = format!(
            ",{},\"heartbeatSeconds\":{}}}\n\n",
            greeting.census.json_members(),
            greeting.heartbeat.as_secs_f64()
        );
        [
            Arc::new(Frame::part(head)),
            roster.clone(),
            Arc::new(Frame::part(tail)),
        ]
    }

    /// The roster of a greeting.
    pub(crate) fn roster<'a>(names: impl Iterator<Item = &'a MemberName>) -> Frame {
        Frame::part(json_names(names))
    }

    fn part(text: String) -> Frame {
        Frame {
            event: "chat-room-connected",
            id: None,
            bytes: Bytes::from(text.into_bytes().into_boxed_slice()),
            data: 0..0,
        }
    }

    /// Tells a client that it missed messages.
    pub(crate) fn missed(room: &RoomName, reason: MissedReason, oldest: Option<EventId>) -> Frame {
        let reason = match reason {
            MissedReason::Expired => "expired",
            MissedReason::Unknown => "unknown",
        };
        let data = format!(
            r#"{{"room":{},"reason":"{reason}","oldest":{}}}"#,
            Value::from(room.as_str()),
            Value::from(oldest.map(|id| id.to_string()))
        );
        Frame::new(None, "messages-missed", &data)
    }

    pub(crate) fn members_changed<'a>(
        room: &RoomName,
        joined: impl Iterator<Item = &'a MemberName>,
        left: impl Iterator<Item = &'a MemberName>,
        census: Census,
    ) -> Frame {
        let data = format!(
            r#"{{"room":{},"joined":{},"left":{},{}}}"#,
            Value::from(room.as_str()),
            json_names(joined),
            json_names(left),
            census.json_members()
        );
        Frame::new(None, "members-changed", &data)
    }

    /// The whole roster, for clients that may have missed changes to it.
    pub(crate) fn members_replaced(room: &RoomName, roster: &Frame, census: Census) -> Frame {
        let data = format!(
            r#"{{"room":{},"joined":[],"left":[],{},"members":{}}}"#,
            Value::from(room.as_str()),
            census.json_members(),
            String::from_utf8_lossy(roster.bytes())
        );
        Frame::new(None, "members-changed", &data)
    }

    /// Tells a client that it has everything up to a position.
    pub(crate) fn heartbeat(unix_ms: u64, position: EventId) -> Frame {
        let data = format!(r#"{{"sentAt":{unix_ms}}}"#);
        Frame::new(Some(position), "heartbeat", &data)
    }

    /// Tells a client that its stream ends, and when to come back.
    pub(crate) fn server_closing(reason: &str) -> Frame {
        let data = format!(r#"{{"reason":"{reason}"}}"#);
        let retry = format!("retry: {}\n", retry_jittered().as_millis());
        Frame::with_head(&retry, None, "server-closing", &data)
    }

    /// An event: its id, if it is a position, its name, and its data, which is one line.
    pub(super) fn new(id: Option<EventId>, event: &'static str, data: &str) -> Frame {
        let id_line = id.map_or(String::new(), |id| format!("id: {id}\n"));
        Frame::with_head(&id_line, id, event, data)
    }

    fn with_head(head: &str, id: Option<EventId>, event: &'static str, data: &str) -> Frame {
        let text = [head, "event: ", event, "\ndata: ", data, "\n\n"].concat();
        let end = text.len() - 2;
        Frame {
            event,
            id,
            data: end - data.len()..end,
            bytes: Bytes::from(text.into_bytes()),
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

/// Names as a JSON array.
pub(crate) fn json_names<'a>(names: impl Iterator<Item = &'a MemberName>) -> String {
    let names: Vec<&str> = names.map(MemberName::as_str).collect();
    serde_json::to_string(&names).expect("every name is a JSON string")
}

fn retry_jittered() -> Duration {
    // Each `RandomState` has other keys, which is all the randomness that a jitter needs.
    let jitter = RandomState::new().hash_one(()) % (RETRY_JITTER_MS + 1);
    RETRY + Duration::from_millis(jitter)
}

#[cfg(test)]
mod tests {
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

    fn id(milliseconds: u64, sequence: u64) -> EventId {
        EventId {
            milliseconds,
            sequence,
        }
    }

    fn dev() -> RoomName {
        RoomName::parse("dev").expect("a room")
    }

    #[test]
    fn connected_byte_for_byte() {
        let names = names(&["alice", "bob"]);
        let roster = Arc::new(Frame::roster(names.iter()));
        let greeting = |is_first, author| {
            let parts = Frame::connected(
                &Greeting {
                    position: id(5, 0),
                    is_first,
                    room: &dev(),
                    name: Some(&names[0]),
                    author,
                    census: Census {
                        members: 2,
                        listeners: 3,
                    },
                    heartbeat: Duration::from_secs(15),
                },
                &roster,
            );
            parts.iter().map(|part| text(part)).collect::<String>()
        };
        let first = greeting(true, None);
        let (retry, rest) = first.split_once('\n').expect("a retry line");
        let wait: u64 = retry
            .strip_prefix("retry: ")
            .and_then(|ms| ms.parse().ok())
            .expect("milliseconds");
        assert!((1_000..=3_000).contains(&wait), "{wait}");
        assert_eq!(
            rest,
            "id: 5-0\nevent: chat-room-connected\ndata: {\"eventId\":\"5-0\",\"room\":\"dev\",\"name\":\"alice\",\"author\":null,\
             \"members\":[\"alice\",\"bob\"],\"memberCount\":2,\"listenerCount\":3,\"heartbeatSeconds\":15}\n\n"
        );
        assert_eq!(
            greeting(false, "00000000000000ff".parse().ok()),
            "id: 5-0\nevent: chat-room-connected\ndata: {\"eventId\":\"5-0\",\"room\":\"dev\",\"name\":\"alice\",\"author\":\"00000000000000ff\",\
             \"members\":[\"alice\",\"bob\"],\"memberCount\":2,\"listenerCount\":3,\"heartbeatSeconds\":15}\n\n"
        );
    }

    #[test]
    fn the_others_byte_for_byte() {
        let (position, census) = (
            id(5, 1),
            Census {
                members: 1,
                listeners: 0,
            },
        );
        let names = names(&["a", "b", "c"]);
        let roster = Frame::roster(names[..1].iter());
        for (frame, expected) in [
            (
                Frame::missed(&dev(), MissedReason::Unknown, None),
                "event: messages-missed\ndata: {\"room\":\"dev\",\"reason\":\"unknown\",\"oldest\":null}\n\n",
            ),
            (
                Frame::missed(&dev(), MissedReason::Expired, Some(position)),
                "event: messages-missed\ndata: {\"room\":\"dev\",\"reason\":\"expired\",\"oldest\":\"5-1\"}\n\n",
            ),
            (
                Frame::members_changed(&dev(), names[..1].iter(), names[1..].iter(), census),
                "event: members-changed\ndata: {\"room\":\"dev\",\"joined\":[\"a\"],\"left\":[\"b\",\"c\"],\"memberCount\":1,\"listenerCount\":0}\n\n",
            ),
            (
                Frame::members_replaced(&dev(), &roster, census),
                "event: members-changed\ndata: {\"room\":\"dev\",\"joined\":[],\"left\":[],\"memberCount\":1,\"listenerCount\":0,\"members\":[\"a\"]}\n\n",
            ),
            (
                Frame::heartbeat(12, position),
                "id: 5-1\nevent: heartbeat\ndata: {\"sentAt\":12}\n\n",
            ),
        ] {
            assert_eq!(text(&frame), expected);
        }
        assert!(
            text(&Frame::server_closing("shutdown"))
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
