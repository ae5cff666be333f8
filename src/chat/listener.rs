//! Hearing what happens in rooms, inside the program.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::task::ready;

use serde_json::Value;

use super::Chat;
use crate::author::Author;
use crate::names::{MemberName, RoomName};
use crate::refusal::Refusal;
use crate::rooms::frame::{Event, Frame};
use crate::rooms::id::EventId;
use crate::rooms::members::Claim;
use crate::rooms::message::Message;
use crate::rooms::stream::{Start, Stream};

/// Somebody in a room.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub struct Member {
    /// The name, nobody else's in this room.
    pub name: MemberName,
    /// Who it is, in all rooms.
    pub author: Author,
}

/// What a [`Listener`] hears.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Heard {
    /// Somebody sent a message.
    Message(Message),
    /// A message was removed.
    #[non_exhaustive]
    Removed {
        /// The place of the removal among all events.
        id: EventId,
        /// The room of the message.
        room: RoomName,
        /// The message's id. The listener may never have had it.
        message: EventId,
    },
    /// Somebody is in a room: told within a second or so of joining. Those who were there before the
    /// listener are told before it has caught up for the first time. Who came and left again before the
    /// listener took the news is not told.
    #[non_exhaustive]
    Joined {
        /// The room.
        room: RoomName,
        /// Who joined.
        member: Member,
    },
    /// Somebody left a room, and did not come back for 10 seconds.
    #[non_exhaustive]
    Left {
        /// The room.
        room: RoomName,
        /// Who left.
        member: Member,
    },
    /// Messages and removals are missing here: up to this place they may have been evicted before the
    /// listener could hear them, or the store has lost them. What follows is what is still retained.
    #[non_exhaustive]
    Missed {
        /// Up to where.
        id: EventId,
        /// In which rooms.
        rooms: Vec<RoomName>,
    },
    /// What came before was the past, what comes now is new: at the beginning, and again after the
    /// listener had fallen behind.
    #[non_exhaustive]
    CaughtUp {
        /// Where the past ends.
        id: EventId,
    },
}

impl Heard {
    /// The position after this event, for [`Chat::listen`]. Joins and leaves have none.
    pub fn position(&self) -> Option<EventId> {
        match self {
            Heard::Message(Message { id, .. })
            | Heard::Removed { id, .. }
            | Heard::Missed { id, .. }
            | Heard::CaughtUp { id } => Some(*id),
            Heard::Joined { .. } | Heard::Left { .. } => None,
        }
    }
}

/// A place in one or several rooms, for the program itself. The rooms never wait for it, and what it
/// has yet to hear is bounded: one that is slow catches up from the rooms' histories. Dropping it leaves
/// the rooms.
///
/// It is not a `Stream` of the `futures` crates, to save the dependency. To make one of it:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use chatroom::{Chat, Heard, Listener};
/// use futures_util::stream::{Stream, StreamExt, unfold};
///
/// fn stream(listener: Listener) -> impl Stream<Item = Heard> {
///     unfold(listener, async |mut listener| Some((listener.next().await?, listener)))
/// }
///
/// let chat = Chat::open(Default::default())?;
/// let heard = stream(chat.listen(["lobby"], None).await?);
/// let said = chat.post("lobby", "ann", "hello").await?;
/// chat.close().await;
/// let heard: Vec<Heard> = heard.collect().await;
/// assert!(heard.contains(&Heard::Message(said)));
/// # Ok(()) }
/// ```
pub struct Listener {
    chat: Chat,
    member: Option<Member>,
    stream: Stream,
    /// Who is in each of the rooms, as far as was heard.
    rosters: BTreeMap<RoomName, BTreeSet<Member>>,
    /// What a frame told that is yet to be heard.
    heard: VecDeque<Heard>,
}

impl Listener {
    /// Listens to rooms, under a name if there is one.
    pub(super) async fn open(
        chat: &Chat,
        rooms: Vec<RoomName>,
        name: Option<MemberName>,
        after: Option<EventId>,
    ) -> Result<Listener, Refusal> {
        let site = &chat.site;
        let claim = name.map(|name| Claim {
            author: site.authors.of_program(name.as_str()),
            name,
            address: None,
        });
        let start = match after {
            None => Start::Latest(0),
            Some(position) => {
                site.store.reach(position).await?;
                Start::After(position)
            }
        };
        let _claiming = match &claim {
            Some(claim) => site.store.claim(&rooms, claim).await?,
            None => None,
        };
        let stream = site.hub.subscribe(&rooms, claim.clone(), None, start)?;
        let rosters = rooms.into_iter().map(|room| (room, BTreeSet::new()));
        Ok(Listener {
            chat: chat.clone(),
            member: claim.map(|Claim { name, author, .. }| Member { name, author }),
            stream,
            rosters: rosters.collect(),
            heard: VecDeque::new(),
        })
    }

    /// The name that was joined with.
    pub fn name(&self) -> Option<&MemberName> {
        self.member.as_ref().map(|member| &member.name)
    }

    /// Who the listener is to others, if it has a name: the author of what it posts, and has posted under
    /// this name before.
    pub fn author(&self) -> Option<Author> {
        self.member.as_ref().map(|member| member.author)
    }

    /// The next thing that is heard, in one order for all rooms; `None` at the end: the chat closes, the
    /// author is banned, or, with Redis, the name turns out to be somebody else's at another server.
    ///
    /// Cancel safe: dropping the future loses nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use chatroom::{Chat, Heard};
    /// # let chat = Chat::open(Default::default())?;
    /// let mut listener = chat.listen(["lobby"], None).await?;
    /// # chat.close().await;
    /// while let Some(heard) = listener.next().await {
    ///     match heard {
    ///         Heard::Message(message) => println!("{}: {}", message.name, message.text),
    ///         Heard::Joined { room, member, .. } => println!("{} is in {room}", member.name),
    ///         Heard::Missed { rooms, .. } => println!("something is missing in {rooms:?}"),
    ///         // A later version may tell more.
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn next(&mut self) -> Option<Heard> {
        poll_fn(|cx| {
            loop {
                if let Some(heard) = self.heard.pop_front() {
                    return Some(heard).into();
                }
                match ready!(self.stream.poll_next(cx)) {
                    Some(frame) => self.hear(&frame),
                    None => return None.into(),
                }
            }
        })
        .await
    }

    /// Sends a message under the name that was joined with: to answer, to the
    /// [room](Message::room) of the message that was heard.
    ///
    /// # Errors
    /// Those of [`Chat::post`]; `name-required` if the listener has no name; `banned`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use chatroom::{Chat, Heard};
    /// # let chat = Chat::open(Default::default())?;
    /// let mut bot = chat.join(["lobby", "dev"], "echo", None).await?;
    /// # chat.post("dev", "ann", "hello").await?;
    /// # tokio::spawn(async move {
    /// while let Some(heard) = bot.next().await {
    ///     if let Heard::Message(message) = heard
    ///         && message.author != bot.author()
    ///     {
    ///         bot.post(&message.room, &message.text).await?;
    ///     }
    /// }
    /// # Ok::<(), chatroom::Refusal>(()) });
    /// # Ok(()) }
    /// ```
    pub async fn post(
        &self,
        room: impl AsRef<str>,
        text: impl AsRef<str>,
    ) -> Result<Message, Refusal> {
        let name = self.name().ok_or(Refusal::NameRequired)?;
        self.chat.say(self.author(), room, name, text, None).await
    }

    /// Sends a message like [`Listener::post`], but once for a `key`, as [`Chat::post_once`] does.
    ///
    /// # Errors
    /// Those of [`Listener::post`] and [`Chat::post_once`].
    pub async fn post_once(
        &self,
        room: impl AsRef<str>,
        text: impl AsRef<str>,
        key: impl AsRef<str>,
    ) -> Result<Message, Refusal> {
        let (name, key) = (self.name().ok_or(Refusal::NameRequired)?, key.as_ref());
        self.chat
            .say(self.author(), room, name, text, Some(key))
            .await
    }

    /// Notes what a frame tells: nothing, one thing, or several joins and leaves.
    fn hear(&mut self, frame: &Frame) {
        // A frame may have an event for each of several rooms.
        let lines = frame.bytes().split(|byte| *byte == b'\n');
        let data = lines.filter_map(|line| line.strip_prefix(b"data: "));
        let data = data.filter_map(|data| serde_json::from_slice(data).ok());
        let data: Vec<Value> = data.collect();
        let room = |data: &Value| RoomName::stored(data["room"].as_str()?).ok();
        let rooms: Vec<RoomName> = data.iter().filter_map(room).collect();
        match (frame.event(), frame.id(), &rooms[..]) {
            (Event::Message, ..) => {
                let message = data.first().and_then(Message::from_json);
                self.heard.extend(message.map(Heard::Message));
            }
            (Event::Removed, Some(id), [room]) => {
                let (room, message) = (room.clone(), data[0]["removed"].as_str());
                let message = message.and_then(|id| id.parse().ok());
                let removed = message.map(|message| Heard::Removed { id, room, message });
                self.heard.extend(removed);
            }
            (Event::Missed, Some(id), _) => self.heard.push_back(Heard::Missed { id, rooms }),
            (Event::CaughtUp, Some(id), _) => self.heard.push_back(Heard::CaughtUp { id }),
            (Event::Members, _, [room]) => self.compare_roster(room),
            _ => {}
        }
    }

    /// Notes who has come and gone since this was last called: the event has no authors, and of a crowd
    /// not all names.
    fn compare_roster(&mut self, room: &RoomName) {
        let Some(known) = self.rosters.get_mut(room) else {
            return;
        };
        let present: BTreeSet<Member> = self.chat.members_of(room).collect();
        let left = known.difference(&present).map(|member| Heard::Left {
            room: room.clone(),
            member: member.clone(),
        });
        let joined = present.difference(known).map(|member| Heard::Joined {
            room: room.clone(),
            member: member.clone(),
        });
        self.heard.extend(left.chain(joined));
        *known = present;
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("rooms", &self.rosters.keys())
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}
