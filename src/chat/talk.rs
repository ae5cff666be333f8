//! What a program says and hears in rooms, without a request.

use hyper::Request;

use super::Chat;
use super::listener::{Listener, Member};
use crate::author::Author;
use crate::http::messages;
use crate::http::visitor::Visitor;
use crate::names::{MemberName, RoomName};
use crate::refusal::Refusal;
use crate::rooms::entries::{Committed, PageAt};
use crate::rooms::id::EventId;
use crate::rooms::limits::STREAM_ROOMS;
use crate::rooms::message::Message;

/// Whose the idempotency keys of the program are: not a visitor's, which are 16 hexadecimal digits.
const KEY_OWNER: &str = "program";

/// A page of a room's history, as [`Chat::history`] returns it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Page {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Messages removed after the position that was asked for; some of them may be in earlier pages.
    pub removed: Vec<EventId>,
    /// Where the next page begins, and where a listener can go on: [`PageAt::After`] of this.
    pub next: EventId,
    /// Whether messages after the position that was asked for may have been evicted.
    pub missed: bool,
}

impl Chat {
    /// Sends a message to a room under a name that nobody is connected under.
    ///
    /// When this returns, the message is stored as the chat stores messages, and is in the queue of
    /// every client of the room. The message rate does not apply.
    ///
    /// # Errors
    /// `bad-room`, `room-not-offered`, `bad-name`, `name-taken`, `bad-text`, `too-large`,
    /// `too-many-rooms`, `storage-full`, `storage-failed`, `draining`; with Redis also
    /// `store-unreachable`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let chat = chatroom::Chat::open(Default::default())?;
    /// let message = chat.post("lobby", "door bell", "Somebody is at the door.").await?;
    /// assert_eq!(message.text, "Somebody is at the door.");
    /// assert!(!message.member);
    /// # Ok(()) }
    /// ```
    pub async fn post(
        &self,
        room: impl AsRef<str>,
        name: impl AsRef<str>,
        text: impl AsRef<str>,
    ) -> Result<Message, Refusal> {
        self.say(None, room, name, text, None).await
    }

    /// Sends a message like [`Chat::post`], but once: as long as the room retains a message that was sent
    /// under this `key`, in an earlier run too, this returns that message and sends nothing. A key is 1 to
    /// 64 visible ASCII characters; the keys of the program and of its listeners are apart from those of
    /// visitors.
    ///
    /// # Errors
    /// Those of [`Chat::post`], and `bad-request` (the key), `key-reused` (the first message has another
    /// name or text), `removed` (it was removed).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let chat = chatroom::Chat::open(Default::default())?;
    /// let first = chat.post_once("lobby", "ci", "Build 7 failed.", "build-7").await?;
    /// let again = chat.post_once("lobby", "ci", "Build 7 failed.", "build-7").await?;
    /// assert_eq!(first.id, again.id);
    /// # Ok(()) }
    /// ```
    pub async fn post_once(
        &self,
        room: impl AsRef<str>,
        name: impl AsRef<str>,
        text: impl AsRef<str>,
        key: impl AsRef<str>,
    ) -> Result<Message, Refusal> {
        self.say(None, room, name, text, Some(key.as_ref())).await
    }

    /// Listens to 1 to 32 rooms as a stream without a name does: `["lobby"]`, `["a", "b"]`, or any
    /// collection of names.
    ///
    /// `after` is a position, such as the id of the last message that was heard in an earlier run. The
    /// listener then hears what followed it in these rooms, or that this has been evicted; after
    /// `EventId::default()`, everything that is retained. With `None` it begins now.
    ///
    /// # Errors
    /// `bad-room`, `bad-request` (no rooms, or too many), `room-not-offered`, `too-many-rooms`,
    /// `draining`; with Redis also `store-unreachable`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use chatroom::{Chat, Heard};
    ///
    /// let chat = Chat::open(Default::default())?;
    /// let heard_before = chat.post("dev", "alice", "hello").await?;
    /// let missed = chat.post("dev", "alice", "Is there anybody?").await?;
    /// let mut listener = chat.listen(["lobby", "dev"], Some(heard_before.id)).await?;
    /// assert_eq!(listener.next().await, Some(Heard::Message(missed)));
    /// # Ok(()) }
    /// ```
    pub async fn listen(
        &self,
        rooms: impl IntoIterator<Item = impl AsRef<str>>,
        after: Option<EventId>,
    ) -> Result<Listener, Refusal> {
        let rooms = self.rooms_to_hear(rooms)?;
        Listener::open(self, rooms, None, after).await
    }

    /// Joins 1 to 32 rooms under a name, which is nobody else's there as long as the listener lives. It
    /// hears what one of [`Chat::listen`] does.
    ///
    /// Whenever the program joins under a name, it is the same author: in later runs too, if the chat
    /// keeps its messages. Joining twice at a time makes one member, as two tabs of a browser do.
    ///
    /// # Errors
    /// Those of [`Chat::listen`], and `bad-name`, `name-taken`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let chat = chatroom::Chat::open(Default::default())?;
    /// let bot = chat.join(["lobby"], "clock", None).await?;
    /// let message = bot.post("lobby", "It is noon.").await?;
    /// assert!(message.member && message.author == bot.author());
    /// let refusal = chat.post("lobby", "Clock", "It is one.").await.expect_err("the bot has that name");
    /// assert_eq!(refusal.code(), "name-taken");
    /// # Ok(()) }
    /// ```
    pub async fn join(
        &self,
        rooms: impl IntoIterator<Item = impl AsRef<str>>,
        name: impl AsRef<str>,
        after: Option<EventId>,
    ) -> Result<Listener, Refusal> {
        let rooms = self.rooms_to_hear(rooms)?;
        let name = member_name(name.as_ref())?;
        Listener::open(self, rooms, Some(name), after).await
    }

    /// The rooms that there are, and those on offer, sorted. Those that are found by their link alone are
    /// among them: [`RoomName::is_by_link`] tells which.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let chat = chatroom::Chat::open(Default::default())?;
    /// chat.post("ops", "ann", "All is well.").await?;
    /// chat.post("dev", "ann", "All is new.").await?;
    /// assert_eq!(chat.rooms(), ["dev", "ops"]);
    /// # Ok(()) }
    /// ```
    pub fn rooms(&self) -> Vec<RoomName> {
        let rooms = self.site.hub.summaries(&self.site.options.rooms);
        rooms.into_iter().map(|summary| summary.room).collect()
    }

    /// A page of what a room retains. `limit` is how many messages at most, and after a position how many
    /// messages and removals.
    ///
    /// # Errors
    /// `bad-room`, `room-not-offered`; with Redis also `store-unreachable`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use chatroom::{Chat, EventId, PageAt};
    ///
    /// let chat = Chat::open(Default::default())?;
    /// for text in ["one", "two", "three"] {
    ///     chat.post("lobby", "counter", text).await?;
    /// }
    /// // Backwards, from the newest.
    /// let newest = chat.history("lobby", PageAt::End, 2).await?.messages;
    /// assert_eq!((newest[0].text.as_str(), newest[1].text.as_str()), ("two", "three"));
    /// let earlier = chat.history("lobby", PageAt::Before(newest[0].id), 2).await?.messages;
    /// assert_eq!(earlier[0].text, "one");
    /// // Forwards, until a page is empty.
    /// let first = chat.history("lobby", PageAt::After(EventId::default()), 2).await?;
    /// assert_eq!(first.messages[1].text, "two");
    /// let second = chat.history("lobby", PageAt::After(first.next), 2).await?;
    /// assert_eq!(second.messages[0].text, "three");
    /// assert!(chat.history("lobby", PageAt::After(second.next), 2).await?.messages.is_empty());
    /// # Ok(()) }
    /// ```
    pub async fn history(
        &self,
        room: impl AsRef<str>,
        at: PageAt,
        limit: usize,
    ) -> Result<Page, Refusal> {
        let room = self.room(room.as_ref())?;
        let page = self.site.page(&room, at, limit).await?;
        let messages = page.messages.iter();
        Ok(Page {
            messages: messages
                .filter_map(|frame| Message::from_frame(frame))
                .collect(),
            removed: page.removed,
            next: page.next,
            missed: page.missed,
        })
    }

    /// Everybody in a room who has a name, sorted by it.
    ///
    /// # Errors
    /// `bad-room`, `room-not-offered`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let chat = chatroom::Chat::open(Default::default())?;
    /// let bob = chat.join(["lobby"], "Bob", None).await?;
    /// let _ann = chat.join(["lobby"], "ann", None).await?;
    /// let members = chat.members("lobby")?;
    /// assert_eq!((members[0].name.as_str(), members[1].name.as_str()), ("ann", "Bob"));
    /// assert_eq!(Some(members[1].author), bob.author());
    /// # Ok(()) }
    /// ```
    pub fn members(&self, room: impl AsRef<str>) -> Result<Vec<Member>, Refusal> {
        let room = self.room(room.as_ref())?;
        Ok(self.members_of(&room).collect())
    }

    pub(super) fn members_of(&self, room: &RoomName) -> impl Iterator<Item = Member> {
        let (members, _) = self.site.hub.members(room);
        let members = members.into_iter();
        members.map(|(name, author)| Member { name, author })
    }

    /// Sends a message for the program, or for the listener that has this author.
    pub(super) async fn say(
        &self,
        author: Option<Author>,
        room: impl AsRef<str>,
        name: impl AsRef<str>,
        text: impl AsRef<str>,
        key: Option<&str>,
    ) -> Result<Message, Refusal> {
        let (site, room) = (&self.site, self.room(room.as_ref())?);
        let name = member_name(name.as_ref())?;
        let text = messages::message_text(site, text.as_ref())?;
        let key = messages::owned_key(key, KEY_OWNER)?;
        let (no_request, ()) = Request::new(()).into_parts();
        let program = Visitor::program(author, &no_request);
        let sent = messages::send(site, &program, &room, Some(name), text, key).await?;
        let (Committed::New(frame) | Committed::Duplicate(frame)) = sent;
        // The frame of a message always has one.
        Message::from_frame(&frame).ok_or(Refusal::StorageFailed)
    }

    /// The rooms to listen to, each once.
    fn rooms_to_hear(
        &self,
        names: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Vec<RoomName>, Refusal> {
        let mut rooms: Vec<RoomName> = Vec::new();
        for name in names {
            let room = self.room(name.as_ref())?;
            if !rooms.contains(&room) {
                rooms.push(room);
            }
        }
        match rooms.len() {
            1..=STREAM_ROOMS => Ok(rooms),
            _ => Err(Refusal::BadRequest("Listen to 1 to 32 rooms.")),
        }
    }

    pub(super) fn room(&self, room: &str) -> Result<RoomName, Refusal> {
        let room = RoomName::parse(room).map_err(|_| Refusal::BadRoom)?;
        self.site.check_offered(&room)?;
        Ok(room)
    }
}

fn member_name(name: &str) -> Result<MemberName, Refusal> {
    MemberName::parse(name).map_err(|_| Refusal::BadName)
}
