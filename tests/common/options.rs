//! Options changed in a chain, as tests like to write them. 0 means no limit, as on the command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chatroom::{Chat, Clock, Fsync, LogLevel, Malformed, Options, Password, RoomName};

pub(crate) trait Change: Sized {
    fn options(&mut self) -> &mut Options;

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(self.options());
        self
    }

    fn build(self) -> std::io::Result<Chat>;

    fn data(self, folder: impl Into<PathBuf>) -> Self {
        self.with(|options| options.data = Some(folder.into()))
    }

    fn fsync(self, fsync: Fsync) -> Self {
        self.with(|options| options.fsync = fsync)
    }

    #[cfg(feature = "redis")]
    fn redis(self, url: &str) -> std::io::Result<Self> {
        let url = chatroom::RedisUrl::parse(url)?;
        Ok(self.with(|options| options.redis = Some(url)))
    }

    fn password(self, password: impl AsRef<[u8]>) -> Result<Self, Malformed> {
        let password = Password::new(password)?;
        Ok(self.with(|options| options.password = Some(password)))
    }

    fn moderator_password(self, password: impl AsRef<[u8]>) -> Result<Self, Malformed> {
        let password = Password::new(password)?;
        Ok(self.with(|options| options.moderator_password = Some(password)))
    }

    fn room(self, room: RoomName) -> Self {
        self.with(|options| options.rooms.push(room))
    }

    fn allow_origin(self, origin: &str) -> Result<Self, Malformed> {
        Ok(self.with(|options| options.allow_origin.push(origin.to_owned())))
    }

    fn allow_host(self, host: impl Into<String>) -> Self {
        self.with(|options| options.allow_host.push(host.into()))
    }

    fn trusted_proxy(self, address: IpAddr) -> Self {
        self.with(|options| options.trusted_proxy.push(address.into()))
    }

    fn heartbeat(self, period: Duration) -> Self {
        self.with(|options| options.heartbeat = time(period))
    }

    fn history(self, messages: usize) -> Self {
        self.with(|options| options.history = limit(messages))
    }

    fn history_bytes(self, bytes: usize) -> Self {
        self.with(|options| options.history_bytes = limit(bytes))
    }

    fn history_age(self, age: Duration) -> Self {
        self.with(|options| options.history_age = time(age))
    }

    fn max_rooms(self, rooms: usize) -> Self {
        self.with(|options| options.max_rooms = limit(rooms))
    }

    fn max_streams(self, streams: usize) -> Self {
        self.with(|options| options.max_streams = limit(streams))
    }

    fn max_streams_per_ip(self, streams: usize) -> Self {
        self.with(|options| options.max_streams_per_ip = limit(streams))
    }

    fn max_message(self, bytes: usize) -> Self {
        self.with(|options| options.max_message = limit(bytes))
    }

    fn message_rate(self, rate: f64) -> Self {
        let rate = if rate == 0.0 { f64::INFINITY } else { rate };
        self.with(|options| options.message_rate = rate)
    }

    fn room_ttl(self, ttl: Duration) -> Self {
        self.with(|options| options.room_ttl = time(ttl))
    }

    fn write_timeout(self, timeout: Duration) -> Self {
        self.with(|options| options.write_timeout = time(timeout))
    }

    fn drain(self, timeout: Duration) -> Self {
        self.with(|options| options.drain = time(timeout))
    }

    fn log(self, level: LogLevel) -> Self {
        self.with(|options| options.log.level = level)
    }

    fn log_to(self, sink: impl Fn(LogLevel, &str) + Send + Sync + 'static) -> Self {
        self.with(|options| options.log.sink = Arc::new(sink))
    }

    fn clock(self, clock: impl Into<Clock>) -> Self {
        self.with(|options| options.clock = clock.into())
    }

    fn prefix(self, path: &str) -> Self {
        self.with(|options| options.prefix = path.to_owned())
    }
}

impl Change for Options {
    fn options(&mut self) -> &mut Options {
        self
    }

    fn build(self) -> std::io::Result<Chat> {
        Chat::open(self)
    }
}

fn limit(count: usize) -> usize {
    if count == 0 { usize::MAX } else { count }
}

fn time(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}
