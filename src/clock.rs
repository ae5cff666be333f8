//! Where the time comes from: the system, or a test that sets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// A point in a [`Clock`]'s monotonic time, counted from when the clock was made.
pub(crate) type Moment = Duration;

/// The two times that a chat needs: the date, which may jump, and a monotonic time, which may not.
#[derive(Clone, Debug)]
pub struct Clock {
    started: Instant,
    /// What it shows instead of the machine's time.
    manual: Option<ManualClock>,
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Clock {
        Clock {
            started: Instant::now(),
            manual: None,
        }
    }

    /// Milliseconds since the Unix epoch; 0 for a clock that is set before it.
    pub(crate) fn unix_ms(&self) -> u64 {
        match &self.manual {
            None => milliseconds(UNIX_EPOCH.elapsed().unwrap_or_default()),
            Some(manual) => manual.unix_ms.load(Ordering::Relaxed),
        }
    }

    /// The monotonic time.
    pub(crate) fn now(&self) -> Moment {
        match &self.manual {
            None => self.started.elapsed(),
            Some(manual) => Duration::from_millis(manual.steady_ms.load(Ordering::Relaxed)),
        }
    }
}

/// Whole milliseconds of a time, as many as fit.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A clock that stands still until it is set or advanced, for tests.
///
/// Ids, names, limits and heartbeats follow it; time limits on sockets stay real.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use chatroom::{Chat, ManualClock, Options};
/// use std::time::Duration;
///
/// let clock = ManualClock::at(1_700_000_000_000);
/// let mut options = Options::default();
/// options.clock = clock.clone().into();
/// let chat = Chat::open(options)?;
/// clock.advance(Duration::from_secs(1));
/// let said = chat.post("lobby", "bell", "ring").await?;
/// assert_eq!(said.sent_at, 1_700_000_001_000);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    unix_ms: Arc<AtomicU64>,
    steady_ms: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows `unix_ms` milliseconds since the Unix epoch.
    pub fn at(unix_ms: u64) -> ManualClock {
        let clock = ManualClock::default();
        clock.set_date(unix_ms);
        clock
    }

    /// Sets the date, forwards or backwards, in milliseconds since the Unix epoch.
    pub fn set_date(&self, unix_ms: u64) {
        self.unix_ms.store(unix_ms, Ordering::Relaxed);
    }

    /// Advances both the date and the monotonic time.
    pub fn advance(&self, by: Duration) {
        let ms = milliseconds(by);
        self.unix_ms.fetch_add(ms, Ordering::Relaxed);
        self.steady_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl From<ManualClock> for Clock {
    fn from(manual: ManualClock) -> Clock {
        Clock {
            manual: Some(manual),
            ..Clock::system()
        }
    }
}
