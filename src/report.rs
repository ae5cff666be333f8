//! What the operator is told: one line per event, on stderr or wherever a program that embeds the chat
//! wants it.
//!
//! No line holds a message's text, a name, a session or a password.

use std::fmt;
use std::fs::File;
use std::io::{self, Write, stderr};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

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
    /// requests, so it must not block. Default: nobody takes them.
    pub sink: Arc<Sink>,
}

impl Reporter {
    /// Writes the lines to stderr as the program does, each with a timestamp unless journald adds its own.
    /// A thread of its own does so, so that nobody waits for a stderr that nobody reads.
    ///
    /// ```
    /// let mut options = chatroom::Options::default();
    /// options.log = chatroom::Reporter::stderr();
    /// options.log.level = chatroom::LogLevel::Error;
    /// ```
    pub fn stderr() -> Reporter {
        let journald = stderr_is_journald();
        Reporter {
            level: LogLevel::default(),
            sink: Arc::new(move |level, line| write_line(journald, &level, line)),
        }
    }

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
        Reporter {
            level: LogLevel::default(),
            sink: Arc::new(|_, _| {}),
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reporter").field(&self.level).finish()
    }
}

/// Writes a warning to stderr, whatever the level.
pub fn warn(line: &str) {
    write_line(stderr_is_journald(), &"warning", line);
}

fn write_line(journald: bool, label: &dyn fmt::Display, line: &str) {
    WRITER.waiting.fetch_add(1, Ordering::Release);
    let line = stamped(journald, label, line);
    if WRITER.lines.try_send(line).is_err() {
        WRITER.waiting.fetch_sub(1, Ordering::Release);
        WRITER.lost.fetch_add(1, Ordering::Relaxed);
    }
}

fn stamped(journald: bool, label: &dyn fmt::Display, line: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    match now {
        Ok(now) if !journald => format!("{} chatroom {label}: {line}\n", timestamp(now)),
        _ => format!("chatroom {label}: {line}\n"),
    }
}

/// Waits until stderr has taken the lines so far, for a second at most.
pub fn flush() {
    let deadline = Instant::now() + FLUSH_TIMEOUT;
    while WRITER.waiting.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Lines that wait for stderr, at most. Whoever logs never waits for it: a pipe that nobody reads would
/// otherwise stop one thread after the other.
const WAITING_LINES: usize = 1_024;
/// How long the end of the program may wait for stderr.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The one writer to this process's stderr. Its thread begins with the first line.
static WRITER: LazyLock<Writer> = LazyLock::new(|| {
    let (lines, waiting) = mpsc::sync_channel(WAITING_LINES);
    let started = thread::Builder::new().name("stderr".into());
    // Without the thread, the lines are lost and counted.
    let _ = started.spawn(move || write_all(&waiting));
    Writer {
        lines,
        waiting: AtomicUsize::new(0),
        lost: AtomicUsize::new(0),
    }
});

struct Writer {
    lines: SyncSender<String>,
    /// Lines that are not written yet.
    waiting: AtomicUsize,
    /// Lines that were dropped because too many waited, until this is told.
    lost: AtomicUsize,
}

fn write_all(lines: &Receiver<String>) {
    // If stderr is closed, there is nobody left to tell.
    let write = |line: &str| drop(stderr().write_all(line.as_bytes()));
    let next = || {
        lines.try_recv().or_else(|_| {
            // All that was kept is written, and what was lost came after it.
            let lost = WRITER.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                let line = format!("{lost} log lines were lost: nobody read them in time");
                write(&stamped(stderr_is_journald(), &LogLevel::Error, &line));
            }
            lines.recv()
        })
    };
    while let Ok(line) = next() {
        write(&line);
        WRITER.waiting.fetch_sub(1, Ordering::Release);
    }
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
