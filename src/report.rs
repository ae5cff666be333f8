//! What the operator is told: one line per event, on stderr or wherever the host program wants it.
//!
//! No line holds a message's text, a name, a session or a password.

use std::fmt;
use std::fs::File;
use std::io::{self, Write, stderr};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Which events are logged.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum LogLevel {
    /// Only what needs a person.
    Error,
    /// Also what an operator wants to know: start, stop, clients that were cut, wrong passwords.
    #[default]
    Info,
    /// Also every request.
    Debug,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogLevel::Error => "error",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        })
    }
}

/// Where lines go.
type Sink = dyn Fn(LogLevel, &str) + Send + Sync;

/// Passes on the log lines that its level lets through.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use std::sync::{Arc, mpsc};
/// use chatroom::{Chat, Options};
///
/// let (lines, logged) = mpsc::channel();
/// let mut options = Options::default();
/// options.log.sink = Arc::new(move |level, line| drop(lines.send(format!("[{level}] {line}"))));
/// let chat = Chat::open(options)?;
/// assert!(logged.recv().is_ok_and(|line| line.starts_with("[info] version ")));
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Reporter {
    /// Which events are logged. Default: [`LogLevel::Info`].
    pub level: LogLevel,
    /// Takes the lines, without a timestamp and a line break. It is called by the tasks that serve
    /// requests, so it must not block. Default: stderr.
    pub sink: Arc<Sink>,
}

impl Reporter {
    pub(crate) fn error(&self, line: fmt::Arguments<'_>) {
        self.report(LogLevel::Error, line);
    }

    pub(crate) fn info(&self, line: fmt::Arguments<'_>) {
        self.report(LogLevel::Info, line);
    }

    pub(crate) fn debug(&self, line: fmt::Arguments<'_>) {
        self.report(LogLevel::Debug, line);
    }

    fn report(&self, level: LogLevel, line: fmt::Arguments<'_>) {
        if level <= self.level {
            (self.sink)(level, &line.to_string());
        }
    }
}

impl Default for Reporter {
    fn default() -> Reporter {
        let journald = stderr_is_journald();
        Reporter {
            level: LogLevel::default(),
            sink: Arc::new(move |level, line| write_line(journald, &level, line)),
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reporter").field(&self.level).finish()
    }
}

/// Writes a warning to stderr, whatever the level.
pub(crate) fn warn(line: &str) {
    write_line(stderr_is_journald(), &"warning", line);
}

fn write_line(journald: bool, label: &dyn fmt::Display, line: &str) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let line = match now {
        Ok(now) if !journald => format!("{} chatroom {label}: {line}\n", timestamp(now)),
        _ => format!("chatroom {label}: {line}\n"),
    };
    // If stderr is closed, there is nobody left to tell.
    let _ = stderr().lock().write_all(line.as_bytes());
}

/// Whether stderr leads to journald, which stamps every line itself (systemd.exec(5),
/// `$JOURNAL_STREAM`).
fn stderr_is_journald() -> bool {
    let file =
        || -> io::Result<_> { File::from(stderr().as_fd().try_clone_to_owned()?).metadata() };
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| {
        file().is_ok_and(|file| stream == format!("{}:{}", file.dev(), file.ino()))
    })
}

/// A time in UTC as RFC 3339 writes it, to the millisecond.
fn timestamp(since_epoch: Duration) -> String {
    let (days, second) = (
        since_epoch.as_secs() / 86_400,
        since_epoch.as_secs() % 86_400,
    );
    // Years begin in March here, so that a leap day is a year's last; 400 years are 146,097 days.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..10 => (era * 400 + year, month + 3),
        _ => (era * 400 + year + 1, month - 9),
    };
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60,
        since_epoch.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_follow_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (951_868_800, "2000-03-01T00:00:00.007Z"),
            (1_735_689_599, "2024-12-31T23:59:59.007Z"),
            (1_772_323_200, "2026-03-01T00:00:00.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            let time = Duration::from_secs(seconds) + Duration::from_millis(7);
            assert_eq!(timestamp(time), expected);
        }
    }
}
