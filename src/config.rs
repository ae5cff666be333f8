//! Options made in code, as the program's command line has them.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::chat::{Chat, ServerLimits};
use crate::counters::Counters;
use crate::http::guard;
use crate::http::password::Password;
use crate::http::session::Sessions;
use crate::http::settings::Settings;
use crate::http::site::Site;
use crate::names::{Malformed, RoomName};
use crate::report::{LogLevel, Reporter};
use crate::rooms::author::AuthorKey;
use crate::rooms::clock::Clock;
use crate::rooms::hub::Hub;
use crate::rooms::limits::Limits;
use crate::store::Store;
use crate::store::folder::DataFolder;
use crate::store::journal::{Fsync, Journal};
#[cfg(feature = "redis")]
use crate::store::redis::{Redis, Url};
use crate::store::secret;
use crate::store::standing::Standing;

/// Bytes of one text at most, whatever the options say: a message is held in memory whole.
const MESSAGE_CEILING: usize = 1024 * 1024;
/// Connections beyond those that streams may take: requests come and go on them.
const SPARE_CONNECTIONS: usize = 1_024;
/// Connections of one address beyond those that its streams may take: page loads and posts.
const SPARE_CONNECTIONS_OF_ADDRESS: usize = 32;

/// Makes a [`Chat`].
///
/// Names and defaults are those of the program's options. Sizes are in bytes. 0 switches a limit off.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use std::time::Duration;
///
/// let chat = chatroom::Chat::builder()
///     .history(100)
///     .heartbeat(Duration::from_secs(30))
///     .max_streams_per_ip(0)
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    rooms: Limits,
    site: Settings,
    server: ServerLimits,
    data: Option<PathBuf>,
    fsync: Fsync,
    #[cfg(feature = "redis")]
    redis: Option<Url>,
    report: Reporter,
    clock: Clock,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            rooms: Limits {
                history: 500,
                history_bytes: 262_144,
                history_age: None,
                rooms: 256,
                permanent_rooms: Vec::new(),
                room_ttl: Some(Duration::from_secs(30 * 24 * 60 * 60)),
                heartbeat: Some(Duration::from_secs(15)),
            },
            site: Settings::default(),
            server: ServerLimits {
                write_timeout: Some(Duration::from_secs(10)),
                drain: Some(Duration::from_secs(5)),
                connections: usize::MAX,
                connections_of_address: usize::MAX,
            },
            data: None,
            fsync: Fsync::default(),
            #[cfg(feature = "redis")]
            redis: None,
            report: Reporter::default(),
            clock: Clock::system(),
        }
    }
}

impl Chat {
    /// A builder with the defaults of the program's options.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Keeps messages in this folder across restarts; without it they are kept in memory only.
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Builder {
        self.data = Some(folder.into());
        self
    }

    /// When a message counts as stored, with [`Builder::data`]. Default: [`Fsync::EverySecond`].
    pub fn fsync(mut self, fsync: Fsync) -> Builder {
        self.fsync = fsync;
        self
    }

    /// Shares the rooms with all other servers of this Redis or Valkey, which then keeps them. All of
    /// them need the same options. Excludes [`Builder::data`].
    ///
    /// [`Builder::build`] then waits for Redis, and blocks its thread until the rooms are loaded.
    ///
    /// # Errors
    /// It is not a URL such as `redis://:password@host:6379/0`, or it asks for TLS (`rediss://`)
    /// without the Cargo feature `redis-tls`; the error says which.
    #[cfg(feature = "redis")]
    pub fn redis(mut self, url: &str) -> Result<Builder, String> {
        self.redis = Some(Url::parse(url)?);
        Ok(self)
    }

    /// Asks everyone for this password, by HTTP Basic with any user name.
    ///
    /// # Errors
    /// It is empty.
    pub fn password(mut self, password: impl AsRef<[u8]>) -> Result<Builder, Malformed> {
        let password = Password::new(password.as_ref()).ok_or(Malformed)?;
        self.site.password = Some(password);
        Ok(self)
    }

    /// Lets whoever knows this password remove messages and ban. Default: nobody.
    ///
    /// # Errors
    /// It is empty.
    pub fn moderator_password(mut self, password: impl AsRef<[u8]>) -> Result<Builder, Malformed> {
        let password = Password::new(password.as_ref()).ok_or(Malformed)?;
        self.site.moderator_password = Some(password);
        Ok(self)
    }

    /// Offers this room, and those of further calls, and no other. The first is the one that
    /// `/chat` means. Default: any room, and `lobby`.
    pub fn room(mut self, room: RoomName) -> Builder {
        let offered = &mut self.site.offered_rooms;
        if offered.is_empty() {
            self.site.default_room = room.clone();
        }
        if !offered.contains(&room) {
            offered.push(room);
        }
        self
    }

    /// Lets pages of this origin (`https://example.org`) read and post from elsewhere (CORS).
    ///
    /// # Errors
    /// It is not a scheme, a host and perhaps a port.
    pub fn allow_origin(mut self, origin: &str) -> Result<Builder, Malformed> {
        let origin = guard::parse_origin(origin).ok_or(Malformed)?;
        self.site.origins.push(origin);
        Ok(self)
    }

    /// Answers under this host name, and those of further calls, and no other. Default: any. (The
    /// program allows only the local names if it listens on a loopback address.)
    pub fn allow_host(mut self, host: impl Into<String>) -> Builder {
        self.site.hosts.push(host.into());
        self
    }

    /// Trusts `X-Forwarded-For` and `X-Forwarded-Proto` from this address.
    pub fn trusted_proxy(mut self, address: IpAddr) -> Builder {
        let proxies = &mut self.site.trusted_proxies;
        proxies.push(address.to_canonical());
        self
    }

    /// Sends a heartbeat after a stream was silent for this long. Default: 15 s.
    pub fn heartbeat(mut self, period: Duration) -> Builder {
        self.rooms.heartbeat = nonzero(period);
        self
    }

    /// Messages retained per room, at most. Default: 500.
    pub fn history(mut self, messages: usize) -> Builder {
        self.rooms.history = limit(messages);
        self
    }

    /// Bytes of messages, as they are sent, retained per room, at most. Default: 262,144.
    pub fn history_bytes(mut self, bytes: usize) -> Builder {
        self.rooms.history_bytes = limit(bytes);
        self
    }

    /// Evicts messages older than this, from the journal within 60 s too. Default: no limit.
    pub fn history_age(mut self, age: Duration) -> Builder {
        self.rooms.history_age = nonzero(age);
        self
    }

    /// Rooms at most; the default room and those offered do not count. Default: 256.
    pub fn max_rooms(mut self, rooms: usize) -> Builder {
        self.rooms.rooms = limit(rooms);
        self
    }

    /// Open streams at most. Default: 10,000.
    pub fn max_streams(mut self, streams: usize) -> Builder {
        self.site.max_streams = limit(streams);
        self
    }

    /// Open streams of one address at most (IPv6: of one /64); one of more than eight rooms counts as
    /// several. It also bounds the address's connections and unread answers. Default: 100.
    pub fn max_streams_per_ip(mut self, streams: usize) -> Builder {
        self.site.max_streams_per_ip = limit(streams);
        self
    }

    /// Bytes of one text at most; never more than 1 MiB, which is also what 0 means. Default: 4,096.
    pub fn max_message(mut self, bytes: usize) -> Builder {
        self.site.max_message = limit(bytes).min(MESSAGE_CEILING);
        self
    }

    /// Messages per second that a session or address may keep up, ten times that at once; all
    /// senders of one address together ten times as much. Default: 2.
    pub fn message_rate(mut self, per_second: f64) -> Builder {
        self.site.message_rate = per_second;
        self
    }

    /// How long a room is kept while nothing is said and nobody is in it. Default: 30 days.
    pub fn room_ttl(mut self, ttl: Duration) -> Builder {
        self.rooms.room_ttl = nonzero(ttl);
        self
    }

    /// Cuts a client that takes nothing for this long. Default: 10 s. Only [`serve`](crate::serve)
    /// does so.
    pub fn write_timeout(mut self, timeout: Duration) -> Builder {
        self.server.write_timeout = nonzero(timeout);
        self
    }

    /// How long shutdown may take. Default: 5 s. Only [`serve`](crate::serve) heeds it.
    pub fn drain(mut self, timeout: Duration) -> Builder {
        self.server.drain = nonzero(timeout);
        self
    }

    /// Which events are logged. Default: [`LogLevel::Info`].
    pub fn log(mut self, level: LogLevel) -> Builder {
        self.report.level = level;
        self
    }

    /// Passes log lines to the program instead of stderr, without a timestamp and a line break. The
    /// sink is called by the tasks that serve requests, so it must not block.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
    /// use std::sync::mpsc;
    ///
    /// let (lines, logged) = mpsc::channel();
    /// let chat = chatroom::Chat::builder()
    ///     .log_to(move |level, line| drop(lines.send(format!("[{level}] {line}"))))
    ///     .build()?;
    /// assert!(logged.recv().is_ok_and(|line| line.starts_with("[info] version ")));
    /// # Ok(()) }
    /// ```
    pub fn log_to(mut self, sink: impl Fn(LogLevel, &str) + Send + Sync + 'static) -> Builder {
        self.report.sink = Arc::new(sink);
        self
    }

    /// Where the time comes from. Default: [`Clock::system`].
    pub fn clock(mut self, clock: impl Into<Clock>) -> Builder {
        self.clock = clock.into();
        self
    }

    /// Answers under this path and below: `/team` makes the page `/team/` and the stream
    /// `/team/chat`. Default: none.
    pub fn prefix(mut self, path: &str) -> Builder {
        let path = path.trim_matches('/');
        self.site.prefix = if path.is_empty() {
            String::new()
        } else {
            format!("/{path}")
        };
        self
    }

    /// Makes the chat, with what it stored in previous runs.
    ///
    /// # Errors
    /// There is no Tokio runtime; or the data folder cannot be used, and the error says why and
    /// what to do.
    pub fn build(mut self) -> io::Result<Chat> {
        tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        self.log_configuration();
        let (mut rooms, site) = (self.rooms.clone(), self.site.clone());
        let mut server = self.server;
        rooms.permanent_rooms.clone_from(&site.offered_rooms);
        if rooms.permanent_rooms.is_empty() {
            rooms.permanent_rooms.push(site.default_room.clone());
        }
        let (streams, per_ip) = (site.max_streams, site.max_streams_per_ip);
        server.connections = streams.saturating_add(SPARE_CONNECTIONS);
        server.connections_of_address = per_ip.saturating_add(SPARE_CONNECTIONS_OF_ADDRESS);
        let counters = Arc::<Counters>::default();
        let (clock, remembers) = (self.clock.clone(), self.remembers());
        let hub = Arc::new(Hub::new(rooms, clock, counters.clone(), remembers));
        let standing = Arc::new(Standing::new(self.data.clone(), self.report.clone()));
        let (store, authors) = self.store(&hub, &standing, &counters)?;
        let authors = AuthorKey(authors);
        let site = Site::new(hub, store, authors, standing, site, counters, self.report);
        Ok(Chat::new(site, server))
    }

    fn remembers(&self) -> bool {
        #[cfg(feature = "redis")]
        if self.redis.is_some() {
            return true;
        }
        self.data.is_some()
    }

    /// Opens the store, with the secret from which authors are derived.
    fn store(
        &self,
        hub: &Arc<Hub>,
        standing: &Arc<Standing>,
        counters: &Arc<Counters>,
    ) -> io::Result<(Store, [u8; 16])> {
        let random = || Sessions::new().issue().0.to_be_bytes();
        let report = self.report.clone();
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
    fn log_configuration(&mut self) {
        let site = &self.site;
        let messages = match (&self.data, self.remembers()) {
            (Some(_), _) => "a journal",
            (None, true) => "Redis",
            (None, false) => "memory only",
        };
        let password = match &site.password {
            Some(_) => "asked",
            None => "none",
        };
        let rooms = match site.offered_rooms.len() {
            0 => "any".to_owned(),
            offered => format!("{offered} on offer"),
        };
        self.report.info(format_args!(
            "version {}, messages in {messages}, password {password}, rooms {rooms}, trusted proxies {}, allowed origins {}",
            env!("CARGO_PKG_VERSION"),
            site.trusted_proxies.len(),
            site.origins.len()
        ));
    }
}

/// A count where 0 means no limit.
fn limit(count: usize) -> usize {
    if count == 0 { usize::MAX } else { count }
}

/// A time where 0 means never.
fn nonzero(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}
