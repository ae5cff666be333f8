//! Options made in code. Their names, units and defaults are those of the program's options, and
//! 0 switches a limit off here as there.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Chat, ServerLimits};
use crate::chat::clock::Clock;
use crate::chat::history::Bounds;
use crate::chat::hub::{Hub, Limits};
use crate::chat::id::EventId;
use crate::chat::names::{Malformed, RoomName};
use crate::http::guard::{self, Policy};
use crate::http::password::Password;
use crate::http::service::{Settings, Site};
use crate::log::Log;
use crate::log::journal::{self, Fsync, Journal};
use crate::log::memory::Memory;
use crate::report::{LogLevel, Reporter};

/// Bytes of a text at most, whatever the options say: a message is held in memory whole.
const MESSAGE_CEILING: usize = 1024 * 1024;
/// Connections beside those that streams may take: requests come and go on them.
const SPARE_CONNECTIONS: usize = 1_024;
/// Connections of one address beside those that its streams may take: its page loads and posts.
const SPARE_CONNECTIONS_OF_ADDRESS: usize = 32;
/// The room of a path without one.
const LOBBY: &str = "lobby";

/// Makes a [`Chat`].
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
    data: Option<PathBuf>,
    #[cfg(feature = "redis")]
    redis: Option<String>,
    fsync: Fsync,
    rooms: Vec<RoomName>,
    policy: Policy,
    moderator_password: Option<Password>,
    heartbeat: Duration,
    history: usize,
    history_bytes: usize,
    history_age: Duration,
    max_rooms: usize,
    max_streams: usize,
    max_streams_per_ip: usize,
    max_message: usize,
    message_rate: f64,
    room_ttl: Duration,
    write_timeout: Duration,
    drain: Duration,
    report: Reporter,
    clock: Clock,
    prefix: String,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            data: None,
            #[cfg(feature = "redis")]
            redis: None,
            fsync: Fsync::default(),
            rooms: Vec::new(),
            policy: Policy::default(),
            moderator_password: None,
            heartbeat: Duration::from_secs(15),
            history: 500,
            history_bytes: 262_144,
            history_age: Duration::ZERO,
            max_rooms: 256,
            max_streams: 10_000,
            max_streams_per_ip: 100,
            max_message: 4_096,
            message_rate: 2.0,
            room_ttl: Duration::from_secs(30 * 24 * 60 * 60),
            write_timeout: Duration::from_secs(10),
            drain: Duration::from_secs(5),
            report: Reporter::default(),
            clock: Clock::system(),
            prefix: String::new(),
        }
    }
}

impl Builder {
    /// Keeps messages in this folder across restarts; without it they are kept in memory only.
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Builder {
        self.data = Some(folder.into());
        self
    }

    /// Shares the rooms with other servers through this Redis; excludes [`Builder::data`].
    #[cfg(feature = "redis")]
    pub fn redis(mut self, url: impl Into<String>) -> Builder {
        self.redis = Some(url.into());
        self
    }

    /// When a message counts as kept, with [`Builder::data`]. Default: [`Fsync::EverySecond`].
    pub fn fsync(mut self, fsync: Fsync) -> Builder {
        self.fsync = fsync;
        self
    }

    /// Asks everyone for this password, by HTTP Basic with any user name.
    ///
    /// # Errors
    /// It is empty.
    pub fn password(mut self, password: impl AsRef<[u8]>) -> Result<Builder, Malformed> {
        self.policy.password = Some(Password::new(password.as_ref()).ok_or(Malformed)?);
        Ok(self)
    }

    /// Lets whoever knows this password remove messages and ban. Default: nobody.
    ///
    /// # Errors
    /// It is empty.
    pub fn moderator_password(mut self, password: impl AsRef<[u8]>) -> Result<Builder, Malformed> {
        self.moderator_password = Some(Password::new(password.as_ref()).ok_or(Malformed)?);
        Ok(self)
    }

    /// Offers this room, and those of further calls, and no other. The first is the one that
    /// `/chat` means. Default: any room, and `lobby`.
    pub fn room(mut self, room: RoomName) -> Builder {
        self.rooms.push(room);
        self
    }

    /// Lets pages of this origin (`https://example.org`) read and post from elsewhere (CORS).
    ///
    /// # Errors
    /// It is not a scheme, a host and perhaps a port.
    pub fn allow_origin(mut self, origin: &str) -> Result<Builder, Malformed> {
        self.policy
            .origins
            .push(guard::parse_origin(origin).ok_or(Malformed)?);
        Ok(self)
    }

    /// Answers under this host name, and those of further calls, and no other. Default: any. (The
    /// program allows the local names alone where it listens on a loopback address.)
    pub fn allow_host(mut self, host: impl Into<String>) -> Builder {
        self.policy.hosts.push(host.into());
        self
    }

    /// Believes `X-Forwarded-For` and `X-Forwarded-Proto` from this address.
    pub fn trusted_proxy(mut self, address: IpAddr) -> Builder {
        self.policy.trusted_proxies.push(address.to_canonical());
        self
    }

    /// Sends a heartbeat when nothing was sent on a stream for so long. Default: 15 s.
    pub fn heartbeat(mut self, period: Duration) -> Builder {
        self.heartbeat = period;
        self
    }

    /// Messages held for each room. Default: 500.
    pub fn history(mut self, messages: usize) -> Builder {
        self.history = messages;
        self
    }

    /// Bytes of messages, as they are sent, held for each room. Default: 262,144.
    pub fn history_bytes(mut self, bytes: usize) -> Builder {
        self.history_bytes = bytes;
        self
    }

    /// Evicts messages older than this. Default: no limit.
    pub fn history_age(mut self, age: Duration) -> Builder {
        self.history_age = age;
        self
    }

    /// Rooms at most. Default: 256.
    pub fn max_rooms(mut self, rooms: usize) -> Builder {
        self.max_rooms = rooms;
        self
    }

    /// Open streams at most. Default: 10,000.
    pub fn max_streams(mut self, streams: usize) -> Builder {
        self.max_streams = streams;
        self
    }

    /// Open streams of one address at most (IPv6: of one /64). Default: 100.
    pub fn max_streams_per_ip(mut self, streams: usize) -> Builder {
        self.max_streams_per_ip = streams;
        self
    }

    /// Bytes of one text at most; never more than 1 MiB. Default: 4,096.
    pub fn max_message(mut self, bytes: usize) -> Builder {
        self.max_message = bytes;
        self
    }

    /// Messages a second that a session or address may keep up; ten times that at once. Default: 2.
    pub fn message_rate(mut self, per_second: f64) -> Builder {
        self.message_rate = per_second;
        self
    }

    /// How long a room is kept while nothing is said and nobody is in it. Default: 30 days.
    pub fn room_ttl(mut self, ttl: Duration) -> Builder {
        self.room_ttl = ttl;
        self
    }

    /// Cuts a client that takes nothing for so long. Default: 10 s. Only [`serve`](crate::serve)
    /// heeds it.
    pub fn write_timeout(mut self, timeout: Duration) -> Builder {
        self.write_timeout = timeout;
        self
    }

    /// How long shutdown may take. Default: 5 s. Only [`serve`](crate::serve) heeds it.
    pub fn drain(mut self, timeout: Duration) -> Builder {
        self.drain = timeout;
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
        self.prefix = if path.is_empty() {
            String::new()
        } else {
            format!("/{path}")
        };
        self
    }

    /// Makes the chat, with what it kept from an earlier life.
    ///
    /// # Errors
    /// There is no Tokio runtime; or the data folder cannot be used, and the error says why and
    /// what to do.
    pub fn build(self) -> io::Result<Chat> {
        tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let report = self.report.clone();
        self.introduce(&report);
        let limits = Limits {
            history: Bounds {
                messages: limit(self.history),
                bytes: limit(self.history_bytes),
            },
            rooms: limit(self.max_rooms),
            room_ttl: period(self.room_ttl),
            heartbeat: self.heartbeat,
        };
        let (hub, log) = match self.data {
            Some(folder) => {
                // A journal remembers all earlier lives, so no position is from before it.
                let hub = Arc::new(Hub::new(limits, self.clock, EventId::ZERO));
                let settings = journal::Settings {
                    folder,
                    fsync: self.fsync,
                };
                (
                    hub.clone(),
                    Log::Journal(Journal::open(&settings, hub, report.clone())?),
                )
            }
            None => {
                let birth = EventId::birth(self.clock.unix_ms());
                let log = Log::Memory(Memory::new(self.clock.clone(), birth));
                (Arc::new(Hub::new(limits, self.clock, birth)), log)
            }
        };
        let lobby = RoomName::parse(LOBBY).map_err(|Malformed| io::ErrorKind::InvalidInput)?;
        let settings = Settings {
            default_room: self.rooms.first().cloned().unwrap_or(lobby),
            rooms: self.rooms,
            max_streams: limit(self.max_streams),
            max_streams_of_address: limit(self.max_streams_per_ip),
            max_message: limit(self.max_message).min(MESSAGE_CEILING),
            message_rate: self.message_rate,
        };
        let server = ServerLimits {
            write_timeout: period(self.write_timeout),
            drain: period(self.drain),
            connections: settings.max_streams.saturating_add(SPARE_CONNECTIONS),
            connections_of_address: settings
                .max_streams_of_address
                .saturating_add(SPARE_CONNECTIONS_OF_ADDRESS),
        };
        let site = Site::new(hub, log, settings, self.policy, report);
        Ok(Chat::new(
            site,
            server,
            period(self.heartbeat),
            &self.prefix,
        ))
    }
}

impl Builder {
    /// Says what matters most of a chat to who runs it.
    fn introduce(&self, report: &Reporter) {
        let messages = if self.data.is_some() {
            "a journal"
        } else {
            "memory only"
        };
        let password = if self.policy.password.is_some() {
            "asked"
        } else {
            "none"
        };
        let rooms = if self.rooms.is_empty() {
            "any".to_owned()
        } else {
            format!("{} on offer", self.rooms.len())
        };
        report.info(format_args!(
            "version {}, messages in {messages}, password {password}, rooms {rooms}, trusted proxies {}, allowed origins {}",
            env!("CARGO_PKG_VERSION"),
            self.policy.trusted_proxies.len(),
            self.policy.origins.len()
        ));
    }
}

/// A count where 0 means no limit.
fn limit(count: usize) -> usize {
    if count == 0 { usize::MAX } else { count }
}

/// A time where 0 means never.
fn period(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}
