//! The frames of the event stream, byte for byte, as the HTML standard's section 9.2 defines them.
//!
//! A frame is encoded once and shared by every client that gets it. Its `data` is one line of JSON,
//! in which line breaks are always escaped, so no text can break out of its event.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::Value;

use super::id::EventId;
use crate::author::Author;
use crate::names::{MemberName, RoomName};

/// How long a client waits before it reconnects, at least, and how much of it is random: so the
/// clients of a restarted server do not all return at once.
const RETRY: Duration = Duration::from_millis(1_000);
const RETRY_JITTER_MS: u64 = 2_000;

/// One event, encoded; where several rooms share a mark, one `messages-missed` for each.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    event: Event,
    id: Option<EventId>,
    bytes: Bytes,
    data: Range<usize>,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    Connected,
    Message,
    Removed,
    Missed,
    Members,
    CaughtUp,
    Heartbeat,
    Closing,
}

/// How many are in a room: people and bots with a name, and streams without one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Census {
    pub(crate) members: usize,
    pub(crate) listeners: usize,
}

impl Frame {
    pub(crate) fn event(&self) -> Event {
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

    /// Tells a client that it is in a room, and that what follows at or below the `newest` id is the past.
    /// The first greeting of a stream also says how long to wait before a reconnect.
    pub(crate) fn connected(
        newest: EventId,
        is_first: bool,
        room: &RoomName,
        name: Option<&MemberName>,
        author: Option<Author>,
        census: Census,
        heartbeat: Duration,
    ) -> Frame {
        let data = format!(
            r#"{{"eventId":"{newest}","room":{},"name":{},"author":{},{},"heartbeatSeconds":{}}}"#,
            Value::from(room.as_str()),
            Value::from(name.map(MemberName::as_str)),
            Value::from(author.map(|author| author.to_string())),
            census.json_members(),
            heartbeat.as_secs_f64()
        );
        let retry = is_first.then(retry_jittered).unwrap_or_default();
        Frame::with_head(&retry, None, Event::Connected, &data)
    }

    /// Tells a client that entries of these rooms, which it may lack, may be gone up to an id: one event
    /// for each room, of which only the last has the `id:`. Whoever breaks off before it is told again.
    pub(crate) fn missed(rooms: &[&RoomName], mark: EventId) -> Frame {
        let data = |room: &RoomName| {
            let room = Value::from(room.as_str());
            format!(r#"{{"eventId":"{mark}","room":{room}}}"#)
        };
        let (last, others) = rooms.split_last().expect("at least one room");
        let name = Event::Missed.name();
        let others = others.iter().map(|room| data(room));
        let others = others.map(|data| format!("event: {name}\ndata: {data}\n\n"));
        let head = format!("{}id: {mark}\n", others.collect::<String>());
        Frame::with_head(&head, Some(mark), Event::Missed, &data(last))
    }

    /// Tells who joined and left. The whole `roster` as JSON is for clients that may have missed such
    /// changes.
    pub(crate) fn members_changed<'a>(
        room: &RoomName,
        joined: impl Iterator<Item = &'a MemberName>,
        left: impl Iterator<Item = &'a MemberName>,
        census: Census,
        roster: Option<&str>,
    ) -> Frame {
        let data = format!(
            r#"{{"room":{},"joined":{},"left":{},{}{}}}"#,
            Value::from(room.as_str()),
            json_names(joined),
            json_names(left),
            census.json_members(),
            roster.map_or(String::new(), |roster| format!(r#","members":{roster}"#))
        );
        Frame::new(None, Event::Members, &data)
    }

    /// Tells a client that what came before was the past, and what follows is new.
    pub(crate) fn caught_up(newest: EventId) -> Frame {
        let data = format!(r#"{{"eventId":"{newest}"}}"#);
        Frame::new(Some(newest), Event::CaughtUp, &data)
    }

    /// Tells a client that the server is there.
    pub(crate) fn heartbeat(unix_ms: u64) -> Frame {
        let data = format!(r#"{{"sentAt":{unix_ms}}}"#);
        Frame::new(None, Event::Heartbeat, &data)
    }

    /// Tells a client that its stream ends, and when to come back.
    pub(crate) fn server_closing(reason: &str) -> Frame {
        let data = format!(r#"{{"reason":"{reason}"}}"#);
        Frame::with_head(&retry_jittered(), None, Event::Closing, &data)
    }

    /// An event: its id, if it is a position, its name, and its data, which is one line.
    pub(super) fn new(id: Option<EventId>, event: Event, data: &str) -> Frame {
        let id_line = id.map_or(String::new(), |id| format!("id: {id}\n"));
        Frame::with_head(&id_line, id, event, data)
    }

    fn with_head(head: &str, id: Option<EventId>, event: Event, data: &str) -> Frame {
        let text = [head, "event: ", event.name(), "\ndata: ", data, "\n\n"].concat();
        let end = text.len() - 2;
        Frame {
            event,
            id,
            data: end - data.len()..end,
            bytes: Bytes::from(text.into_bytes()),
        }
    }
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Event::Connected => "chat-room-connected",
            Event::Message => "new-message",
            Event::Removed => "message-removed",
            Event::Missed => "messages-missed",
            Event::Members => "members-changed",
            Event::CaughtUp => "caught-up",
            Event::Heartbeat => "heartbeat",
            Event::Closing => "server-closing",
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

/// A line that says how long to wait before a reconnect.
fn retry_jittered() -> String {
    // Each `RandomState` has other keys, which is all the randomness that a jitter needs.
    let jitter = RandomState::new().hash_one(()) % (RETRY_JITTER_MS + 1);
    let retry = RETRY + Duration::from_millis(jitter);
    format!("retry: {}\n", retry.as_millis())
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
        let names = names(&["alice"]);
        let greeting = |is_first, author| {
            let census = Census {
                members: 2,
                listeners: 3,
            };
            let (name, heartbeat) = (Some(&names[0]), Duration::from_secs(15));
            let frame =
                Frame::connected(id(5, 0), is_first, &dev(), name, author, census, heartbeat);
            assert_eq!(frame.id(), None);
            text(&frame).to_owned()
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
            "event: chat-room-connected\ndata: {\"eventId\":\"5-0\",\"room\":\"dev\",\"name\":\"alice\",\"author\":null,\
             \"memberCount\":2,\"listenerCount\":3,\"heartbeatSeconds\":15}\n\n"
        );
        assert_eq!(
            greeting(false, "00000000000000ff".parse().ok()),
            "event: chat-room-connected\ndata: {\"eventId\":\"5-0\",\"room\":\"dev\",\"name\":\"alice\",\"author\":\"00000000000000ff\",\
             \"memberCount\":2,\"listenerCount\":3,\"heartbeatSeconds\":15}\n\n"
        );
    }

    #[test]
    fn the_others_byte_for_byte() {
        let census = Census {
            members: 1,
            listeners: 0,
        };
        let names = names(&["a", "b", "c"]);
        let ops = RoomName::parse("ops").expect("a room");
        for (frame, expected) in [
            (
                Frame::missed(&[&dev()], id(5, 1)),
                "id: 5-1\nevent: messages-missed\ndata: {\"eventId\":\"5-1\",\"room\":\"dev\"}\n\n",
            ),
            (
                Frame::missed(&[&dev(), &ops], id(5, 1)),
                "event: messages-missed\ndata: {\"eventId\":\"5-1\",\"room\":\"dev\"}\n\n\
                 id: 5-1\nevent: messages-missed\ndata: {\"eventId\":\"5-1\",\"room\":\"ops\"}\n\n",
            ),
            (
                Frame::members_changed(&dev(), names[..1].iter(), names[1..].iter(), census, None),
                "event: members-changed\ndata: {\"room\":\"dev\",\"joined\":[\"a\"],\"left\":[\"b\",\"c\"],\"memberCount\":1,\"listenerCount\":0}\n\n",
            ),
            (
                Frame::members_changed(&dev(), [].iter(), [].iter(), census, Some("[\"a\"]")),
                "event: members-changed\ndata: {\"room\":\"dev\",\"joined\":[],\"left\":[],\"memberCount\":1,\"listenerCount\":0,\"members\":[\"a\"]}\n\n",
            ),
            (
                Frame::caught_up(id(5, 1)),
                "id: 5-1\nevent: caught-up\ndata: {\"eventId\":\"5-1\"}\n\n",
            ),
            (
                Frame::heartbeat(12),
                "event: heartbeat\ndata: {\"sentAt\":12}\n\n",
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
        let waits: std::collections::HashSet<String> = (0..100).map(|_| retry_jittered()).collect();
        assert!(waits.len() > 50, "{} different waits", waits.len());
    }
}
