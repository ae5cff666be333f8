//! What the person who runs the server is told: a line per event on stderr.
//!
//! Never a message's text, a name, a session or a password.

use std::fmt;
use std::io::{Write, stderr};

/// How much is said on stderr.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum LogLevel {
    /// Only what needs a person.
    Error,
    /// Also what a person running the server wants to know: start, stop, clients cut, refused logins.
    #[default]
    Info,
    /// Also every request.
    Debug,
}

/// Writes the lines that its level lets through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reporter {
    pub(crate) level: LogLevel,
}

impl Reporter {
    pub(crate) fn error(self, line: fmt::Arguments<'_>) {
        self.write(LogLevel::Error, "error", line);
    }

    pub(crate) fn info(self, line: fmt::Arguments<'_>) {
        self.write(LogLevel::Info, "info", line);
    }

    pub(crate) fn debug(self, line: fmt::Arguments<'_>) {
        self.write(LogLevel::Debug, "debug", line);
    }

    fn write(self, level: LogLevel, label: &str, line: fmt::Arguments<'_>) {
        if level <= self.level {
            // Nobody is left to be told where stderr is closed.
            let _ = stderr()
                .lock()
                .write_all(format!("chatroom {label}: {line}\n").as_bytes());
        }
    }
}
