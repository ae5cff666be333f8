//! What the owner of a chat decides. All parts of the chat read it here.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::chat::Chat;
use crate::counters::Counters;
use crate::http::guard;
use crate::http::password::Password;
use crate::http::session::Sessions;
use crate::http::site::Site;
use crate::names::RoomName;
use crate::report::Reporter;
use crate::rooms::author::AuthorKey;
use crate::rooms::clock::Clock;
use crate::rooms::hub::Hub;
use crate::store::Store;
use crate::store::folder::DataFolder;
use crate::store::journal::{Fsync, Journal};
#[cfg(feature = "redis")]
use crate::store::redis::{Redis, Url};
use crate::store::secret;
use crate::store::standing::Standing;

/// Bytes of one text at most, whatever the options say: a message is held in memory whole.
const MESSAGE_CEILING: usize = 1024 * 1024;

/// What the owner of a chat decides.
///
/// Names and defaults are those of the program's options. Sizes are in bytes. `usize::MAX` and `None`
/// mean no limit.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use std::time::Duration;
/// use chatroom::{Chat, Options};
///
/// let mut options = Options::default();
/// options.history = 100;
/// options.heartbeat = Some(Duration::from_secs(30));
/// options.max_streams_per_ip = usize::MAX;
/// let chat = Chat::open(options)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Keeps messages in this folder across restarts; without it they are kept in memory only.
    pub data: Option<PathBuf>,
    /// When a message counts as stored, with `data`. Default: [`Fsync::EverySecond`].
    pub fsync: Fsync,
    /// Shares the rooms with all other servers of this Redis or Valkey, which then keeps them. All of
    /// them need the same options. Excludes `data`. [`Chat::open`] then waits for Redis, and blocks its
    /// thread until the rooms are loaded.
    #[cfg(feature = "redis")]
    pub redis: Option<Url>,
    /// Asks everyone for this password, by HTTP Basic with any user name.
    pub password: Option<Password>,
    /// Lets whoever knows this password remove messages and ban; it opens the door too. Default: nobody.
    pub moderator_password: Option<Password>,
    /// Offers these rooms and no other; the first is the one that `/chat` means. Default: any room, and
    /// `lobby`.
    pub rooms: Vec<RoomName>,
    /// Lets pages of these origins (`https://example.org`) read and post from elsewhere (CORS).
    pub allow_origin: Vec<String>,
    /// Answers under these host names and no other. Default: any. (The program allows only the local
    /// names if it listens on a loopback address.)
    pub allow_host: Vec<String>,
    /// Trusts `X-Forwarded-For` and `X-Forwarded-Proto` from these addresses.
    pub trusted_proxy: Vec<IpAddr>,
    /// Sends a heartbeat after a stream was silent for this long. Default: 15 s.
    pub heartbeat: Option<Duration>,
    /// Messages and removals retained per room, at most. Default: 500.
    pub history: usize,
    /// Bytes of messages, as they are sent, retained per room, at most. Default: 262,144.
    pub history_bytes: usize,
    /// Evicts messages older than this, from the journal within 60 s too. Default: no limit.
    pub history_age: Option<Duration>,
    /// Rooms at most; the default room and those offered do not count. Default: 256.
    pub max_rooms: usize,
    /// Open streams at most. Default: 10,000.
    pub max_streams: usize,
    /// Open streams of one address at most (IPv6: of one /64); one of more than eight rooms counts as
    /// several. It also bounds the address's connections and unread answers. Default: 100.
    pub max_streams_per_ip: usize,
    /// Bytes of one text at most; never more than 1 MiB. Default: 4,096.
    pub max_message: usize,
    /// Messages per second that a session or address may keep up, ten times that at once; all senders
    /// of one address together ten times as much. Default: 2.
    pub message_rate: f64,
    /// How long a room is kept while nothing is said and nobody is in it. Default: 30 days.
    pub room_ttl: Option<Duration>,
    /// Cuts a client that takes nothing for this long. Default: 10 s. Only [`serve`](crate::serve)
    /// does so.
    pub write_timeout: Option<Duration>,
    /// How long shutdown may take. Default: 5 s. Only [`serve`](crate::serve) heeds it.
    pub drain: Option<Duration>,
    /// Which events are logged, and where.
    pub log: Reporter,
    /// Where the time comes from. Default: [`Clock::system`].
    pub clock: Clock,
    /// Answers under this path and below: `/team` makes the page `/team/` and the stream
    /// `/team/chat`. Default: none.
    pub prefix: String,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            data: None,
            fsync: Fsync::default(),
            #[cfg(feature = "redis")]
            redis: None,
            password: None,
            moderator_password: None,
            rooms: Vec::new(),
            allow_origin: Vec::new(),
            allow_host: Vec::new(),
            trusted_proxy: Vec::new(),
            heartbeat: Some(Duration::from_secs(15)),
            history: 500,
            history_bytes: 262_144,
            history_age: None,
            max_rooms: 256,
            max_streams: 10_000,
            max_streams_per_ip: 100,
            max_message: 4_096,
            message_rate: 2.0,
            room_ttl: Some(Duration::from_secs(30 * 24 * 60 * 60)),
            write_timeout: Some(Duration::from_secs(10)),
            drain: Some(Duration::from_secs(5)),
            log: Reporter::default(),
            clock: Clock::system(),
            prefix: String::new(),
        }
    }
}

impl Chat {
    /// Makes a chat, with what it stored in previous runs.
    ///
    /// # Errors
    /// There is no Tokio runtime; an option cannot be right; or the data folder cannot be used. The
    /// error says why and what to do.
    pub fn open(mut options: Options) -> io::Result<Chat> {
        tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        options.normalize()?;
        options.log_configuration();
        let options = Arc::new(options);
        let counters = Arc::<Counters>::default();
        let hub = Arc::new(Hub::new(options.clone(), counters.clone()));
        let report = options.log.clone();
        let standing = Arc::new(Standing::new(options.data.clone(), report));
        let (store, authors) = options.store(&hub, &standing, &counters)?;
        let site = Site::new(options, hub, store, AuthorKey(authors), standing, counters);
        Ok(Chat::new(site))
    }
}

impl Options {
    /// The room of a path that names none.
    pub(crate) fn default_room(&self) -> RoomName {
        let lobby = || RoomName::parse("lobby").expect("a valid name");
        self.rooms.first().cloned().unwrap_or_else(lobby)
    }

    /// Whether previous runs are remembered.
    pub(crate) fn remembers(&self) -> bool {
        #[cfg(feature = "redis")]
        if self.redis.is_some() {
            return true;
        }
        self.data.is_some()
    }

    fn normalize(&mut self) -> io::Result<()> {
        self.max_message = self.max_message.min(MESSAGE_CEILING);
        for proxy in &mut self.trusted_proxy {
            *proxy = proxy.to_canonical();
        }
        for origin in &mut self.allow_origin {
            let bad =
                || io::Error::new(io::ErrorKind::InvalidInput, format!("no origin: {origin}"));
            *origin = guard::parse_origin(origin).ok_or_else(bad)?;
        }
        let path = self.prefix.trim_matches('/');
        self.prefix = if path.is_empty() {
            String::new()
        } else {
            format!("/{path}")
        };
        Ok(())
    }

    /// Opens the store, with the secret from which authors are derived.
    fn store(
        &self,
        hub: &Arc<Hub>,
        standing: &Arc<Standing>,
        counters: &Arc<Counters>,
    ) -> io::Result<(Store, [u8; 16])> {
        let random = || Sessions::new().issue().0.to_be_bytes();
        let report = self.log.clone();
        #[cfg(feature = "redis")]
        if let Some(url) = self.redis.clone() {
            let (hub, standing) = (hub.clone(), standing.clone());
            let (redis, _tasks, secret) = Redis::open(url, hub, standing, report, random)?;
            return Ok((Store::Redis { redis, _tasks }, secret));
        }
        let Some(path) = &self.data else {
            return Ok((Store::Memory(hub.clone()), random()));
        };
        let folder = DataFolder::open(path)?;
        // Read before the journal is opened, which may change: where anything is damaged, nothing is changed.
        let secret = secret::load(path)?;
        standing.read()?;
        let (hub, counters) = (hub.clone(), counters.clone());
        let journal = Journal::open(folder, self.fsync, hub, counters, report)?;
        let secret = secret.map_or_else(|| secret::create(path, random()), Ok)?;
        Ok((Store::Journal(journal), secret))
    }

    /// Tells the operator what matters most.
    fn log_configuration(&self) {
        let messages = match (&self.data, self.remembers()) {
            (Some(_), _) => "a journal",
            (None, true) => "Redis",
            (None, false) => "memory only",
        };
        let password = self.password.as_ref().map_or("none", |_| "asked");
        let rooms = match self.rooms.len() {
            0 => "any".to_owned(),
            offered => format!("{offered} on offer"),
        };
        self.log.info(format_args!(
            "version {}, messages in {messages}, password {password}, rooms {rooms}, trusted proxies {}, allowed origins {}",
            env!("CARGO_PKG_VERSION"),
            self.trusted_proxy.len(),
            self.allow_origin.len()
        ));
    }
}
