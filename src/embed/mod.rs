//! A chat inside a program: built from options made in code, mounted as a service, spoken to and
//! listened to without a request.

mod builder;
mod listener;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::body::Body as HttpBody;
use hyper::service::Service;
use hyper::{Request, Response};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

pub use builder::Builder;
pub use listener::{Heard, Listener};

use crate::chat::answers::Committed;
use crate::chat::history::Start;
use crate::chat::members::Claim;
use crate::chat::message::{Draft, Message};
use crate::chat::names::{BadText, MemberName, MessageText, RoomName};
use crate::http::body::Body;
use crate::http::error::Refusal;
use crate::http::routes;
use crate::http::service::Site;
use crate::report::Reporter;

/// How often rooms are told who came and went, and what is idle is forgotten.
const TICK: Duration = Duration::from_secs(1);
/// Heartbeats are looked after this many times in their period, but not more often than
/// [`SHORTEST_BEAT`] and at least once a [`TICK`]: so late they may be.
const BEATS_PER_PERIOD: u32 = 16;
const SHORTEST_BEAT: Duration = Duration::from_millis(50);

/// A chat: rooms, the people in them and what they said, with the interface by which browsers
/// reach it.
///
/// It is a [`hyper::service::Service`] for requests with any body, cheap to clone, and knows of no
/// other chat in the process. Its two tasks and its one thread (where it keeps a journal) end when
/// the last clone is dropped, or with [`Chat::close`].
#[derive(Clone)]
pub struct Chat {
    inner: Arc<Inner>,
    prefix: Arc<str>,
}

struct Inner {
    site: Arc<Site>,
    limits: ServerLimits,
    housekeeping: Vec<JoinHandle<()>>,
}

/// What a server does to the connections of a chat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerLimits {
    /// A client that takes nothing this long is cut; `None` is never.
    pub(crate) write_timeout: Option<Duration>,
    /// How long shutdown may take; `None` is as long as it needs.
    pub(crate) drain: Option<Duration>,
    /// Open connections at most; `usize::MAX` is no limit.
    pub(crate) connections: usize,
    /// Open connections of one address at most; `usize::MAX` is no limit.
    pub(crate) connections_of_address: usize,
}

/// What was asked for is refused: with a code of the interface, and a sentence that says what to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused(Refusal);

impl Refused {
    /// The code, as `error` has it in the answer to a request: `bad-name`, `name-taken` and so on.
    pub fn code(&self) -> &'static str {
        self.0.status().1
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.0.advice())
    }
}

impl std::error::Error for Refused {}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused(refusal)
    }
}

impl Chat {
    /// A chat to be made, with the defaults of the program's options.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn new(site: Site, limits: ServerLimits, heartbeat: Option<Duration>, prefix: &str) -> Chat {
        let site = Arc::new(site);
        let mut housekeeping = vec![tokio::spawn(every(TICK, Arc::downgrade(&site), Site::tick))];
        if let Some(period) = heartbeat {
            let beat = (period / BEATS_PER_PERIOD).clamp(SHORTEST_BEAT, TICK);
            housekeeping.push(tokio::spawn(every(beat, Arc::downgrade(&site), Site::beat)));
        }
        Chat {
            inner: Arc::new(Inner {
                site,
                limits,
                housekeeping,
            }),
            prefix: prefix.into(),
        }
    }

    /// Says something in a room under a name that nobody is connected under.
    ///
    /// When this answers, the message is kept as the chat keeps messages, and is in the queue of
    /// every client of the room. The message rate does not apply.
    ///
    /// # Errors
    /// `bad-room`, `room-not-offered`, `bad-name`, `name-taken`, `bad-text`, `too-large`,
    /// `too-many-rooms`, `storage-full`, `storage-failed`, `draining`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let chat = chatroom::Chat::builder().build()?;
    /// let message = chat.post("lobby", "door bell", "Somebody is at the door.").await?;
    /// assert_eq!(message.text.as_str(), "Somebody is at the door.");
    /// assert!(!message.member);
    /// # Ok(()) }
    /// ```
    pub async fn post(&self, room: &str, name: &str, text: &str) -> Result<Message, Refused> {
        let (room, name) = (self.room(room)?, member_name(name)?);
        let speaker = self
            .inner
            .site
            .hub
            .look(&room)
            .speaker(Some(name), None)
            .map_err(Refusal::from)?;
        self.say(&room, speaker.name, speaker.member, text).await
    }

    /// Listens to a room, as a stream without a name does.
    ///
    /// # Errors
    /// `bad-room`, `room-not-offered`, `too-many-rooms`, `draining`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use chatroom::{Chat, Heard};
    ///
    /// let chat = Chat::builder().build()?;
    /// let mut listener = chat.listen("lobby")?;
    /// chat.post("lobby", "alice", "hello").await?;
    /// match listener.next().await {
    ///     Some(Heard::Message(message)) => assert_eq!(message.text.as_str(), "hello"),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok(()) }
    /// ```
    pub fn listen(&self, room: &str) -> Result<Listener, Refused> {
        self.subscribe(room, None)
    }

    /// Joins a room under a name, which is nobody else's as long as the listener lives.
    ///
    /// # Errors
    /// Those of [`Chat::listen`], and `bad-name`, `name-taken`.
    pub fn join(&self, room: &str, name: &str) -> Result<Listener, Refused> {
        self.subscribe(room, Some(member_name(name)?))
    }

    /// Ends the chat in good order: no new streams and messages, those under way are committed,
    /// the journal is synced, every stream says goodbye and ends. [`serve`](crate::serve) does this
    /// by itself.
    pub async fn close(&self) {
        self.inner.site.drain().await;
        self.inner.housekeeping.iter().for_each(JoinHandle::abort);
    }

    fn subscribe(&self, room: &str, name: Option<MemberName>) -> Result<Listener, Refused> {
        let site = &self.inner.site;
        let room = self.room(room)?;
        let claim = name.map(|name| Claim {
            name,
            session: site.sessions.issue(),
        });
        let subscription = site
            .hub
            .subscribe(&room, claim, &Start::Latest(0))
            .map_err(Refusal::from)?;
        Ok(Listener::new(self.clone(), subscription))
    }

    async fn say(
        &self,
        room: &RoomName,
        name: MemberName,
        member: bool,
        text: &str,
    ) -> Result<Message, Refused> {
        let site = &self.inner.site;
        let text =
            MessageText::parse(text, site.settings.max_message).map_err(|bad| match bad {
                BadText::Empty => Refusal::EmptyText,
                BadText::TooLong => Refusal::TooLarge,
            })?;
        let draft = Draft {
            name,
            member,
            text,
            key: None,
        };
        let (Committed::Now(frame) | Committed::Before(frame)) = site.append(room, draft).await?;
        // A frame of a message always has one.
        frame.message().ok_or(Refused(Refusal::StorageFailed))
    }

    fn room(&self, room: &str) -> Result<RoomName, Refused> {
        let room = RoomName::parse(room).map_err(|_| Refusal::BadRoom)?;
        Ok(self.inner.site.offered(room)?)
    }

    pub(crate) fn limits(&self) -> ServerLimits {
        self.inner.limits
    }

    pub(crate) fn report(&self) -> &Reporter {
        &self.inner.site.report
    }

    pub(crate) fn is_trusted_proxy(&self, peer: IpAddr) -> bool {
        self.inner.site.guard.is_trusted_proxy(peer)
    }

    /// Notes that a client was cut because it took nothing.
    pub(crate) fn note_stalled_write(&self) {
        self.inner.site.metrics.stalled_write();
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
        Box::pin(async move { Ok(routes::answer(&chat.inner.site, &chat.prefix, request).await) })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.housekeeping.iter().for_each(JoinHandle::abort);
    }
}

/// Does something again and again, as long as the site is there.
async fn every(period: Duration, site: Weak<Site>, work: fn(&Site)) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(site) = site.upgrade() else { return };
        work(&site);
    }
}

fn member_name(name: &str) -> Result<MemberName, Refusal> {
    MemberName::parse(name).map_err(|_| Refusal::BadName)
}
