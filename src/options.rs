//! What the owner of a chat decides. All parts of the chat read it here.

mod checked;

use std::fmt;
use std::hint::black_box;
#[cfg(feature = "redis")]
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Clock;
use crate::http::address::Network;
use crate::names::{Malformed, RoomName};
use crate::report::Reporter;

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
    /// them need the same options. Excludes `data`. [`Chat::open`](crate::Chat::open) then waits for Redis, and blocks its
    /// thread until the rooms are loaded.
    #[cfg(feature = "redis")]
    pub redis: Option<RedisUrl>,
    /// Asks everyone for this password, by HTTP Basic with any user name.
    pub password: Option<Password>,
    /// Lets whoever knows this password remove messages and ban; it opens the door too. Default: nobody.
    pub moderator_password: Option<Password>,
    /// The header in which a trusted proxy names the user who asks, such as `Remote-User`. Requests that
    /// name nobody are then refused, and the `Authorization` header is not read. Default: none.
    pub user_header: Option<String>,
    /// Users who may remove messages and ban, by their ids. Default: nobody.
    pub moderators: Vec<String>,
    /// Offers these rooms and no other; the first is the one that `/chat` means. Default: any room, and
    /// `lobby`.
    pub rooms: Vec<RoomName>,
    /// Lets pages of these origins (`https://example.org`) read and post from elsewhere (CORS).
    pub allow_origin: Vec<String>,
    /// Answers under these host names and no other. Default: any.
    pub allow_host: Vec<String>,
    /// On connections that come in at a loopback address, answers under the local names, and under
    /// others only if `allow_host` has them: so no page can give its own name that address and pass for
    /// the chat's (DNS rebinding). Default: false. The program has it on. Only [`serve`](crate::serve)
    /// heeds it.
    pub loopback_names: bool,
    /// Trusts `X-Forwarded-For` and `X-Forwarded-Proto` from these addresses and networks.
    pub trusted_proxy: Vec<Network>,
    /// Sends a heartbeat after a stream was silent for this long. Default: 15 s.
    pub heartbeat: Option<Duration>,
    /// Messages and removals retained per room, at most. Default: 500.
    pub history: usize,
    /// Bytes of memory for what is retained per room, at most. Default: 262,144.
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
    /// Which events are logged, and where. Default: nothing is printed; [`Reporter::stderr`] prints.
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
            user_header: None,
            moderators: Vec::new(),
            rooms: Vec::new(),
            allow_origin: Vec::new(),
            allow_host: Vec::new(),
            loopback_names: false,
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

impl Options {
    /// The room of a path that names none.
    pub(crate) fn default_room(&self) -> RoomName {
        let lobby = || RoomName::parse("lobby").expect("a valid name");
        self.rooms.first().cloned().unwrap_or_else(lobby)
    }

    /// Whether an address is a trusted proxy's.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let mut proxies = self.trusted_proxy.iter();
        proxies.any(|network| network.overlaps(address))
    }

    /// Whether previous runs are remembered.
    pub(crate) fn remembers(&self) -> bool {
        #[cfg(feature = "redis")]
        if self.redis.is_some() {
            return true;
        }
        self.data.is_some()
    }
}

/// When a message counts as stored.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fsync {
    /// When it is on the disk: it survives a power cut.
    Always,
    /// When the system has it: it survives a crash of the server, and after a second a power cut.
    #[default]
    EverySecond,
    /// When the system has it, which writes it in its own time.
    No,
}

/// A password that people or moderators are asked for.
#[derive(Clone)]
pub struct Password(pub(crate) Box<[u8]>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    /// Takes the content of a password file, whose trailing line break is not part of the password.
    ///
    /// # Errors
    /// The rest is empty or blank.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut options = chatroom::Options::default();
    /// options.password = Some(chatroom::Password::new("between us")?);
    /// # Ok(()) }
    /// ```
    pub fn new(content: impl AsRef<[u8]>) -> Result<Password, Malformed> {
        let content = content.as_ref();
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        match content.trim_ascii() {
            [] => Err(Malformed),
            _ => Ok(Password(content.into())),
        }
    }

    /// Takes equally long for all wrong passwords of one length, so that timing does not tell how
    /// much of a guess is right.
    pub(crate) fn equals(&self, given: &[u8]) -> bool {
        let expected = self.0.iter().cycle();
        let different = given
            .iter()
            .zip(expected)
            .fold(0, |different, (a, b)| black_box(different | (a ^ b)));
        (different == 0) & (given.len() == self.0.len())
    }
}

/// Where Redis is, as its owner gave it. It may hold a password, so it is never shown.
#[cfg(feature = "redis")]
#[derive(Clone)]
pub struct RedisUrl(pub(crate) redis::ConnectionInfo);

#[cfg(feature = "redis")]
impl RedisUrl {
    /// Checks a URL.
    ///
    /// # Errors
    /// It is not a URL such as `redis://:password@host:6379/0`, or it asks for TLS (`rediss://`)
    /// without the Cargo feature `redis-tls`; the error says which.
    ///
    /// ```
    /// let mut options = chatroom::Options::default();
    /// options.redis = Some(chatroom::RedisUrl::parse("redis://localhost:6379")?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn parse(url: &str) -> io::Result<RedisUrl> {
        let bad = |problem| io::Error::new(io::ErrorKind::InvalidInput, problem);
        let is_secure = url.starts_with("rediss:") || url.starts_with("valkeys:");
        if is_secure && !cfg!(feature = "redis-tls") {
            return Err(bad(
                "this program was built without the Cargo feature redis-tls",
            ));
        }
        // The error may hold a part of the URL, and with it the password.
        let info = url.parse().map_err(|_| {
            bad("expected a URL such as redis://localhost:6379 or redis://:PASSWORD@HOST")
        })?;
        Ok(RedisUrl(info))
    }
}

#[cfg(feature = "redis")]
impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisUrl")
    }
}
