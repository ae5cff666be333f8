//! A chat inside a program: mounted as a service, spoken to and listened to without a request.

pub(crate) mod listener;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::body::Body as HttpBody;
use hyper::service::Service;
use hyper::{Request, Response};
use tokio::time::{MissedTickBehavior, interval};

use crate::author::{Author, AuthorKey};
use crate::checked::checked;
use crate::clock::milliseconds;
use crate::counters::{Counters, count};
use crate::http::body::Body;
use crate::http::limits::Limits;
use crate::http::messages;
use crate::http::routes;
use crate::http::session::Sessions;
use crate::http::site::Site;
use crate::names::{MemberName, RoomName};
use crate::options::Options;
use crate::refusal::Refusal;
use crate::report::Reporter;
use crate::rooms::entries::PageAt;
use crate::rooms::hub::Hub;
use crate::rooms::id::EventId;
use crate::rooms::limits::{BEATS_PER_PERIOD, STREAM_ROOMS};
use crate::rooms::members::Claim;
use crate::rooms::message::{Message, RemovedBy};
use crate::rooms::stream::Start;
use crate::store::Store;
use crate::store::folder::DataFolder;
use crate::store::journal::Journal;
#[cfg(feature = "redis")]
use crate::store::redis::Redis;
use crate::store::secret;
use crate::store::standing::Standing;
use listener::{Listener, Rooms};

/// How often rooms are told who joined and left, and idle state is forgotten.
const TICK: Duration = Duration::from_secs(1);
/// Heartbeats are given at least once a [`TICK`], and not more often than this: they may be this late.
const SHORTEST_BEAT: Duration = Duration::from_millis(50);

/// A chat: rooms, the people in them and what they said, with the interface by which browsers
/// reach it.
///
/// It is a [`hyper::service::Service`] for requests with any body, cheap to clone, and independent
/// of other chats in the process. Its tasks end within about a second after the last clone and
/// listener is dropped, or after [`Chat::close`].
#[derive(Clone)]
pub struct Chat {
    site: Arc<Site>,
}

impl Chat {
    /// Makes a chat, with what it stored in previous runs.
    ///
    /// # Errors
    /// There is no Tokio runtime; an option cannot be right; or the data folder cannot be used. The
    /// error says why and what to do.
    pub fn open(options: Options) -> io::Result<Chat> {
        tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let bad = |line| io::Error::new(io::ErrorKind::InvalidInput, line);
        let options = checked(options).map_err(bad)?;
        log_configuration(&options);
        let options = Arc::new(options);
        let counters = Arc::<Counters>::default();
        let hub = Arc::new(Hub::new(options.clone(), counters.clone()));
        let report = options.log.clone();
        let standing = Arc::new(Standing::new(options.data.clone(), report));
        let (store, authors) = open_store(&options, &hub, &standing, &counters)?;
        let site = Site::new(options, hub, store, AuthorKey(authors), standing, counters);
        Ok(Chat::new(site))
    }

    fn new(site: Site) -> Chat {
        let heartbeat = site.options.heartbeat;
        let site = Arc::new(site);
        tokio::spawn(every(TICK, Arc::downgrade(&site), Site::tick));
        if let Some(period) = heartbeat {
            let beat = (period / BEATS_PER_PERIOD).clamp(SHORTEST_BEAT, TICK);
            tokio::spawn(every(beat, Arc::downgrade(&site), |site| site.hub.beat()));
        }
        Chat { site }
    }

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
    /// assert_eq!(message.text.as_str(), "Somebody is at the door.");
    /// assert!(!message.member);
    /// # Ok(()) }
    /// ```
    pub async fn post(&self, room: &str, name: &str, text: &str) -> Result<Message, Refusal> {
        let room = self.room(room)?;
        let name = member_name(name)?;
        let (name, member) = self.site.hub.speaker(&room, Some(name), None)?;
        messages::say(&self.site, &room, name, member, text).await
    }

    /// Listens to one room (`"lobby"`) or several (`["a", "b"]`, at most 32), as a stream without a
    /// name does.
    ///
    /// The listener begins now: it hears nothing that was said before. [`Chat::history`] has that.
    ///
    /// # Errors
    /// `bad-room`, `bad-request` (no rooms, or too many), `room-not-offered`, `too-many-rooms`,
    /// `draining`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use chatroom::{Chat, Heard};
    ///
    /// let chat = Chat::open(Default::default())?;
    /// let mut listener = chat.listen(["lobby", "dev"])?;
    /// chat.post("dev", "alice", "hello").await?;
    /// match listener.next().await {
    ///     Some(Heard::Message(message)) => assert_eq!(message.room.as_str(), "dev"),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok(()) }
    /// ```
    pub fn listen(&self, rooms: impl Rooms) -> Result<Listener, Refusal> {
        self.subscribe(rooms, None)
    }

    /// Joins one or several rooms under a name, which is nobody else's there as long as the listener
    /// lives. Like [`Chat::listen`], it begins now.
    ///
    /// With Redis, other servers do not know the name yet: it is claimed within a second or so. If
    /// somebody else already has it there, the listener then ends.
    ///
    /// # Errors
    /// Those of [`Chat::listen`], and `bad-name`, `name-taken`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let chat = chatroom::Chat::open(Default::default())?;
    /// let bot = chat.join("lobby", "clock")?;
    /// let message = bot.post("It is noon.").await?;
    /// assert!(message.member);
    /// let refusal = chat.join("lobby", "Clock").expect_err("somebody has that name");
    /// assert_eq!(refusal.code(), "name-taken");
    /// # Ok(()) }
    /// ```
    pub fn join(&self, rooms: impl Rooms, name: &str) -> Result<Listener, Refusal> {
        self.subscribe(rooms, Some(member_name(name)?))
    }

    /// The newest messages that a room retains, at most `limit` of them, oldest first.
    ///
    /// # Errors
    /// `bad-room`, `room-not-offered`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let chat = chatroom::Chat::open(Default::default())?;
    /// for text in ["one", "two", "three"] {
    ///     chat.post("lobby", "counter", text).await?;
    /// }
    /// let latest = chat.history("lobby", 2)?;
    /// let texts: Vec<&str> = latest.iter().map(|message| message.text.as_str()).collect();
    /// assert_eq!(texts, ["two", "three"]);
    /// # Ok(()) }
    /// ```
    pub fn history(&self, room: &str, limit: usize) -> Result<Vec<Message>, Refusal> {
        let page = self.site.hub.page(&self.room(room)?, PageAt::End, limit);
        let messages = page.messages.iter();
        Ok(messages
            .filter_map(|frame| Message::from_frame(frame))
            .collect())
    }

    /// The names of everybody in a room, sorted.
    ///
    /// # Errors
    /// `bad-room`, `room-not-offered`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let chat = chatroom::Chat::open(Default::default())?;
    /// let _bob = chat.join("lobby", "Bob")?;
    /// let _ann = chat.join("lobby", "ann")?;
    /// let names: Vec<String> = chat.members("lobby")?.iter().map(|name| name.to_string()).collect();
    /// assert_eq!(names, ["ann", "Bob"]);
    /// # Ok(()) }
    /// ```
    pub fn members(&self, room: &str) -> Result<Vec<MemberName>, Refusal> {
        let (members, _) = self.site.hub.members(&self.room(room)?);
        Ok(members.into_iter().map(|(name, _)| name).collect())
    }

    /// Removes a message, as a moderator does. Removing it again changes nothing.
    ///
    /// # Errors
    /// `bad-room`, `room-not-offered`, `not-found`, `storage-full`, `storage-failed`, `draining`; with
    /// Redis also `store-unreachable`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let chat = chatroom::Chat::open(Default::default())?;
    /// let spam = chat.post("lobby", "bot", "Buy now!").await?;
    /// chat.remove("lobby", spam.id).await?;
    /// assert!(chat.history("lobby", 50)?.is_empty());
    /// # Ok(()) }
    /// ```
    pub async fn remove(&self, room: &str, message: EventId) -> Result<(), Refusal> {
        let room = self.room(room)?;
        let by = RemovedBy::Moderator;
        let removed = self.site.remove(&room, message, by, "the program").await;
        removed.map(drop)
    }

    /// Bans an author for a while from taking part, together with the address at which the author
    /// was last seen if `with_address` is set. Streams that this concerns end at once.
    ///
    /// # Errors
    /// `too-many-bans`, `storage-failed`, `draining`, or `bad-request` if the address is a trusted
    /// proxy's; with Redis also `store-unreachable`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let chat = chatroom::Chat::open(Default::default())?;
    /// # let message = chat.post("lobby", "bot", "Buy now!").await?;
    /// if let Some(author) = message.author {
    ///     chat.ban(author, Duration::from_secs(24 * 60 * 60), true).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn ban(
        &self,
        author: Author,
        time: Duration,
        with_address: bool,
    ) -> Result<(), Refusal> {
        let now = self.site.hub.clock().unix_ms();
        let until = now.saturating_add(milliseconds(time));
        let by = "the program".to_owned();
        let banned = self.site.ban(author, until, with_address, by).await;
        banned.map(drop)
    }

    /// Closes the chat gracefully: it refuses new streams and messages, commits those in flight and
    /// syncs the journal. Then every stream says goodbye and ends. [`serve`](crate::serve) does this
    /// by itself.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let chat = chatroom::Chat::open(Default::default())?;
    /// let mut listener = chat.listen("lobby")?;
    /// chat.close().await;
    /// assert_eq!(listener.next().await, None);
    /// let refusal = chat.post("lobby", "ann", "too late").await.expect_err("the chat is closed");
    /// assert_eq!(refusal.code(), "draining");
    /// # Ok(()) }
    /// ```
    pub async fn close(&self) {
        self.site.drain().await;
    }

    fn subscribe(&self, rooms: impl Rooms, name: Option<MemberName>) -> Result<Listener, Refusal> {
        let mut distinct: Vec<RoomName> = Vec::new();
        for room in rooms.names() {
            let room = self.room(room)?;
            if !distinct.contains(&room) {
                distinct.push(room);
            }
        }
        let rooms = distinct;
        if !(1..=STREAM_ROOMS).contains(&rooms.len()) {
            return Err(Refusal::BadRequest("Listen to 1 to 32 rooms."));
        }
        let claim = name.clone().map(|name| Claim {
            name,
            author: self.site.author(self.site.sessions.issue()),
            address: None,
        });
        let start = Start::Latest(0);
        let stream = self.site.hub.subscribe(&rooms, claim, None, start)?;
        Ok(Listener::new(self.site.clone(), rooms, name, stream))
    }

    fn room(&self, room: &str) -> Result<RoomName, Refusal> {
        let room = RoomName::parse(room).map_err(|_| Refusal::BadRoom)?;
        self.site.offered(room)
    }

    pub(crate) fn options(&self) -> &Options {
        &self.site.options
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.site.limits
    }

    pub(crate) fn report(&self) -> &Reporter {
        &self.site.report
    }

    pub(crate) fn is_trusted_proxy(&self, peer: std::net::IpAddr) -> bool {
        let proxies = &self.site.options.trusted_proxy;
        proxies.iter().any(|network| network.overlaps(peer))
    }

    /// Notes that a client was cut because it took nothing.
    pub(crate) fn note_stalled_write(&self) {
        count(&self.site.counters.stalled_writes);
    }
}

impl std::fmt::Debug for Chat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chat")
            .field("prefix", &self.site.options.prefix)
            .finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for Chat
where
    B: HttpBody + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let chat = self.clone();
        Box::pin(async move { Ok(routes::answer(&chat.site, request).await) })
    }
}

/// Repeats some work until the chat is closed or dropped.
async fn every(period: Duration, site: Weak<Site>, work: fn(&Site)) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match site.upgrade().filter(|site| !site.hub.is_closed()) {
            Some(site) => work(&site),
            None => return,
        }
    }
}

fn member_name(name: &str) -> Result<MemberName, Refusal> {
    MemberName::parse(name).map_err(|_| Refusal::BadName)
}

/// Opens the store, with the secret from which authors are derived.
fn open_store(
    options: &Options,
    hub: &Arc<Hub>,
    standing: &Arc<Standing>,
    counters: &Arc<Counters>,
) -> io::Result<(Store, [u8; 16])> {
    let random = || Sessions::new("").issue().0.to_be_bytes();
    let report = options.log.clone();
    #[cfg(feature = "redis")]
    if let Some(url) = options.redis.clone() {
        let (hub, standing) = (hub.clone(), standing.clone());
        let (redis, _tasks, secret) = Redis::open(url, hub, standing, report, random)?;
        return Ok((Store::Redis { redis, _tasks }, secret));
    }
    let Some(path) = &options.data else {
        return Ok((Store::Memory(hub.clone()), random()));
    };
    let folder = DataFolder::open(path)?;
    // Read before the journal is opened, which may change: where anything is damaged, nothing is changed.
    let secret = secret::load(path)?;
    standing.read()?;
    let (hub, counters) = (hub.clone(), counters.clone());
    let journal = Journal::open(folder, options.fsync, hub, counters, report)?;
    let secret = secret.map_or_else(|| secret::create(path, random()), Ok)?;
    Ok((Store::Journal(journal), secret))
}

/// Tells the operator what matters most.
fn log_configuration(options: &Options) {
    let messages = match (&options.data, options.remembers()) {
        (Some(_), _) => "a journal",
        (None, true) => "Redis",
        (None, false) => "memory only",
    };
    let password = options.password.as_ref().map_or("none", |_| "asked");
    let rooms = match options.rooms.len() {
        0 => "any".to_owned(),
        offered => format!("{offered} on offer"),
    };
    options.log.info(format_args!(
        "version {}, messages in {messages}, password {password}, rooms {rooms}, trusted proxies {}, allowed origins {}",
        env!("CARGO_PKG_VERSION"),
        options.trusted_proxy.len(),
        options.allow_origin.len()
    ));
}
