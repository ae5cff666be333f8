//! The program's options: one table that drives the command line, the environment, the help and
//! the defaults.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::{Builder, Fsync, LogLevel, RoomName};

/// What the program is asked to do.
pub enum Command {
    /// Serve a chat.
    Serve(Box<Options>),
    /// Ask the server at this address for its health.
    Check(SocketAddr),
    /// Print this text.
    Print(String),
}

/// How a chat is to be served.
pub struct Options {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The chat.
    pub chat: Builder,
    has_password: bool,
    has_proxy: bool,
    has_hosts: bool,
}

/// One option of the table.
struct Spec {
    name: &'static str,
    value: &'static str,
    repeatable: bool,
    default: &'static str,
    meaning: &'static str,
    apply: fn(Options, &str) -> Result<Options, String>,
}

const fn once(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    meaning: &'static str,
    apply: fn(Options, &str) -> Result<Options, String>,
) -> Spec {
    Spec {
        name,
        value,
        repeatable: false,
        default,
        meaning,
        apply,
    }
}

const fn many(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    meaning: &'static str,
    apply: fn(Options, &str) -> Result<Options, String>,
) -> Spec {
    Spec {
        repeatable: true,
        ..once(name, value, default, meaning, apply)
    }
}

/// An option without a default in the table is off, or open, until it is given.
#[rustfmt::skip]
const TABLE: &[Spec] = &[
    once("listen", "ADDR", "127.0.0.1:8080", "address and port to listen on; port 0 picks one", |o, v| {
        Ok(Options { listen: v.parse().map_err(|_| "an address with a port is wanted, such as 127.0.0.1:8080")?, ..o })
    }),
    once("data", "DIR", "", "keep messages here across restarts (default: in memory only)", |o, v| Ok(o.chat(|c| c.data(v)))),
    once("fsync", "always|everysec|no", "everysec", "when a message counts as kept, with --data", |o, v| {
        let fsync = match v {
            "always" => Fsync::Always,
            "everysec" => Fsync::EverySecond,
            "no" => Fsync::No,
            _ => return Err("always, everysec or no is wanted".into()),
        };
        Ok(o.chat(|c| c.fsync(fsync)))
    }),
    once("password-file", "FILE", "", "ask everyone for the password in this file (default: ask nobody)", |o, v| {
        let password = std::fs::read(v).map_err(|error| format!("cannot read {v}: {error}"))?;
        let chat = o.chat.password(password).map_err(|_| format!("{v} is empty"))?;
        Ok(Options { chat, has_password: true, ..o })
    }),
    many("room", "NAME", "", "offer this room and no others but those named so (default: any)", |o, v| {
        let room = RoomName::parse(v).map_err(|_| "a room's name is 1 to 64 letters, digits, '-', '_' or '.' (not first)")?;
        Ok(o.chat(|c| c.room(room)))
    }),
    many("allow-origin", "ORIGIN", "", "let pages of this origin read and post (default: the same origin only)", |o, v| {
        let chat = o.chat.allow_origin(v).map_err(|_| "an origin is wanted, such as https://example.org")?;
        Ok(Options { chat, ..o })
    }),
    many("allow-host", "HOST", "", "answer under this name (default: local names on loopback, else any)", |o, v| {
        Ok(Options { has_hosts: true, ..o.chat(|c| c.allow_host(v)) })
    }),
    many("trusted-proxy", "IP", "", "believe X-Forwarded-For and -Proto from here (default: nobody)", |o, v| {
        let proxy = v.parse().map_err(|_| "an IP address is wanted")?;
        Ok(Options { has_proxy: true, ..o.chat(|c| c.trusted_proxy(proxy)) })
    }),
    once("heartbeat", "SECONDS", "15", "send a heartbeat after so long a silence on a stream", |o, v| seconds(v).map(|t| o.chat(|c| c.heartbeat(t)))),
    once("history", "COUNT", "500", "messages held for each room", |o, v| count(v).map(|n| o.chat(|c| c.history(n)))),
    once("history-bytes", "BYTES", "262144", "bytes of messages held for each room", |o, v| count(v).map(|n| o.chat(|c| c.history_bytes(n)))),
    once("max-rooms", "COUNT", "256", "rooms at most", |o, v| count(v).map(|n| o.chat(|c| c.max_rooms(n)))),
    once("max-streams", "COUNT", "10000", "open streams at most", |o, v| count(v).map(|n| o.chat(|c| c.max_streams(n)))),
    once("max-streams-per-ip", "COUNT", "100", "open streams of one address at most", |o, v| count(v).map(|n| o.chat(|c| c.max_streams_per_ip(n)))),
    once("max-message", "BYTES", "4096", "bytes of one message at most", |o, v| count(v).map(|n| o.chat(|c| c.max_message(n)))),
    once("message-rate", "N", "2", "messages a second from one sender; ten times that at once", |o, v| {
        let rate: f64 = v.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.0).ok_or("a number is wanted, 0 for no limit")?;
        Ok(o.chat(|c| c.message_rate(rate)))
    }),
    once("room-ttl", "SECONDS", "2592000", "forget a room that nobody uses after so long", |o, v| seconds(v).map(|t| o.chat(|c| c.room_ttl(t)))),
    once("write-timeout", "SECONDS", "10", "cut a client that takes nothing for so long", |o, v| seconds(v).map(|t| o.chat(|c| c.write_timeout(t)))),
    once("drain", "SECONDS", "5", "how long shutdown may take", |o, v| seconds(v).map(|t| o.chat(|c| c.drain(t)))),
    once("log", "error|info|debug", "info", "what goes to stderr", |o, v| {
        let level = match v {
            "error" => LogLevel::Error,
            "info" => LogLevel::Info,
            "debug" => LogLevel::Debug,
            _ => return Err("error, info or debug is wanted".into()),
        };
        Ok(o.chat(|c| c.log(level)))
    }),
];

/// Options that take no value.
const CHECK: &str = "--check";
const HELP: &str = "--help";
const VERSION: &str = "--version";

impl Options {
    fn chat(self, change: impl FnOnce(Builder) -> Builder) -> Options {
        Options {
            chat: change(self.chat),
            ..self
        }
    }

    /// What a person should know who starts a server so.
    pub fn warning(&self) -> Option<&'static str> {
        let exposed = self.has_password && !self.listen.ip().is_loopback() && !self.has_proxy;
        exposed.then_some("the password crosses the network unencrypted: put a proxy with TLS in front, and name it with --trusted-proxy")
    }
}

/// Reads the command line (without the program's name) and the environment, where the command line
/// wins.
///
/// # Errors
/// One line that names the option or variable and says what is wanted.
pub fn parse(
    arguments: impl IntoIterator<Item = String>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Command, String> {
    let mut given: HashMap<&'static str, Vec<String>> = HashMap::new();
    let mut check = false;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            HELP => return Ok(Command::Print(help())),
            VERSION => {
                return Ok(Command::Print(format!(
                    "chatroom {}\n",
                    env!("CARGO_PKG_VERSION")
                )));
            }
            CHECK => check = true,
            _ => {
                let (name, value) = match argument.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (argument.as_str(), None),
                };
                let spec = spec(name)
                    .ok_or_else(|| format!("{name}: there is no such option; see --help"))?;
                let value = value
                    .or_else(|| arguments.next())
                    .ok_or_else(|| format!("{name}: a value is wanted: {}", spec.value))?;
                let values = given.entry(spec.name).or_default();
                if !spec.repeatable {
                    values.clear();
                }
                values.push(value);
            }
        }
    }
    let options = apply(&given, environment)?;
    Ok(if check {
        Command::Check(options.listen)
    } else {
        Command::Serve(Box::new(options))
    })
}

fn apply(
    given: &HashMap<&'static str, Vec<String>>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Options, String> {
    let listen = SocketAddr::from(([127, 0, 0, 1], 8080));
    let mut options = Options {
        listen,
        chat: Builder::default(),
        has_password: false,
        has_proxy: false,
        has_hosts: false,
    };
    for spec in TABLE {
        let variable = variable(spec);
        let (source, values) = match given.get(spec.name) {
            Some(values) => (format!("--{}", spec.name), values.clone()),
            None => match environment(&variable).filter(|value| !value.is_empty()) {
                // A variable holds several values as a list.
                Some(value) if spec.repeatable => (
                    variable,
                    value.split(',').map(|one| one.trim().to_owned()).collect(),
                ),
                Some(value) => (variable, vec![value]),
                None if spec.default.is_empty() => continue,
                None => (format!("--{}", spec.name), vec![spec.default.to_owned()]),
            },
        };
        for value in values {
            options = (spec.apply)(options, &value)
                .map_err(|wanted| format!("{source} {value}: {wanted}"))?;
        }
    }
    if options.listen.ip().is_loopback() && !options.has_hosts {
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            options = options.chat(|chat| chat.allow_host(host));
        }
    }
    Ok(options)
}

fn spec(argument: &str) -> Option<&'static Spec> {
    let name = argument.strip_prefix("--")?;
    TABLE.iter().find(|spec| spec.name == name)
}

fn variable(spec: &Spec) -> String {
    format!("CHATROOM_{}", spec.name.to_uppercase().replace('-', "_"))
}

fn help() -> String {
    let mut text = String::from(
        "A chat room: open the page, join a room, talk.\n\nUsage: chatroom [OPTIONS]\n\n",
    );
    let mut line =
        |option: String, meaning: String| text.push_str(&format!("  {option:<29} {meaning}\n"));
    for spec in TABLE {
        let default = if spec.default.is_empty() {
            String::new()
        } else {
            format!(" (default: {})", spec.default)
        };
        let repeatable = if spec.repeatable {
            "; may be repeated"
        } else {
            ""
        };
        line(
            format!("--{} {}", spec.name, spec.value),
            format!("{}{default}{repeatable}", spec.meaning),
        );
    }
    line(
        CHECK.into(),
        "ask the server at --listen for its health: exit code 0 or 1".into(),
    );
    line(HELP.into(), "print this".into());
    line(VERSION.into(), "print the version".into());
    text.push_str("\nEvery option has an environment variable: --max-rooms is CHATROOM_MAX_ROOMS; those that\nmay be repeated take a list with commas. The command line wins. 0 switches a limit off.\n");
    text
}

fn count(value: &str) -> Result<usize, String> {
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    value
        .parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| "a whole number is wanted, 0 for no limit".into())
}

fn seconds(value: &str) -> Result<Duration, String> {
    let seconds = value
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "a number of seconds is wanted, 0 for no limit".into())
}

#[cfg(test)]
mod tests;
