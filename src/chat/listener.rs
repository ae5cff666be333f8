//! Hearing what happens in rooms, inside the program.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::ready;

use serde_json::Value;

use crate::http::messages;
use crate::http::site::Site;
use crate::names::{MemberName, RoomName};
use crate::refusal::Refusal;
use crate::rooms::frame::{Event, Frame};
use crate::rooms::id::EventId;
use crate::rooms::message::Message;
use crate::rooms::stream::Stream;

/// What a [`Listener`] hears.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Heard {
    /// Somebody sent a message.
    Message(Message),
    /// A message was removed.
    Removed {
        /// Its room.
        room: RoomName,
        /// Its id. The listener may never have had it.
        message: EventId,
    },
    /// Somebody joined a room; told within a second or so.
    Joined {
        /// The room.
        room: RoomName,
        /// Who joined.
        name: MemberName,
    },
    /// Somebody left a room, and did not come back for 10 seconds.
    Left {
        /// The room.
        room: RoomName,
        /// Who left.
        name: MemberName,
    },
    /// Messages are missing here: the listener was so slow that they were evicted before it heard
    /// them, or the store has lost them. What follows is what is still retained.
    Missed,
}

/// One or several rooms to listen to: `"lobby"` or `["a", "b"]`.
pub trait Rooms {
    /// The names of the rooms.
    fn names(&self) -> Vec<&str>;
}

impl Rooms for &str {
    fn names(&self) -> Vec<&str> {
        vec![self]
    }
}

impl<const N: usize> Rooms for [&str; N] {
    fn names(&self) -> Vec<&str> {
        self.to_vec()
    }
}

impl Rooms for &[&str] {
    fn names(&self) -> Vec<&str> {
        self.to_vec()
    }
}

/// A place in one or several rooms, for the program itself. The rooms never wait for it. Dropping it
/// leaves them.
pub struct Listener {
    site: Arc<Site>,
    rooms: Vec<RoomName>,
    name: Option<MemberName>,
    stream: Stream,
    /// What a frame told that is yet to be heard.
    heard: VecDeque<Heard>,
}

impl Listener {
    pub(crate) fn new(
        site: Arc<Site>,
        rooms: Vec<RoomName>,
        name: Option<MemberName>,
        stream: Stream,
    ) -> Listener {
        Listener {
            site,
            rooms,
            name,
            stream,
            heard: VecDeque::new(),
        }
    }

    /// The next thing that is heard, in one order for all rooms; `None` when the chat closes. With
    /// Redis also when the name turns out to be somebody else's at another server.
    ///
    /// Cancel safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Heard> {
        poll_fn(|cx| {
            loop {
                if let Some(heard) = self.heard.pop_front() {
                    return Some(heard).into();
                }
                match ready!(self.stream.poll_next(cx)) {
                    Some(frame) => self.heard.extend(heard_in(&frame)),
                    None => return None.into(),
                }
            }
        })
        .await
    }

    /// Sends a message under the name that was joined with, to the first of the rooms.
    ///
    /// # Errors
    /// Those of [`Chat::post`](crate::Chat::post); `name-required` if the listener has no name.
    pub async fn post(&self, text: &str) -> Result<Message, Refusal> {
        let name = self.name.clone().ok_or(Refusal::NameRequired)?;
        messages::say(&self.site, &self.rooms[0], name, true, text).await
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("rooms", &self.rooms)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a frame tells a listener: nothing, or one thing, or several joins and leaves.
fn heard_in(frame: &Frame) -> Vec<Heard> {
    let data = || serde_json::from_slice::<Value>(&frame.data()).unwrap_or_default();
    let room = |data: &Value| RoomName::parse(data["room"].as_str()?).ok();
    match frame.event() {
        Event::Message => Message::from_frame(frame)
            .map(Heard::Message)
            .into_iter()
            .collect(),
        Event::Missed => vec![Heard::Missed],
        Event::Removed => {
            let data = data();
            let message = data["removed"].as_str().and_then(|id| id.parse().ok());
            let removed = room(&data).zip(message);
            removed
                .map(|(room, message)| Heard::Removed { room, message })
                .into_iter()
                .collect()
        }
        Event::Members => {
            let data = data();
            let Some(room) = room(&data) else {
                return Vec::new();
            };
            let names = |key: &str| {
                let names = data[key].as_array().cloned().unwrap_or_default();
                let names = names.into_iter();
                names.filter_map(|name| MemberName::parse(name.as_str()?).ok())
            };
            let left = names("left").map(|name| Heard::Left {
                room: room.clone(),
                name,
            });
            let joined = names("joined").map(|name| Heard::Joined {
                room: room.clone(),
                name,
            });
            left.chain(joined).collect()
        }
        _ => Vec::new(),
    }
}
