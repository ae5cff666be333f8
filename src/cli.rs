//! The program's command line: one table drives the options, their environment variables, their
//! defaults and the help. It is for `main.rs` alone, and no part of the library's public API.

mod check;
mod meant;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

#[cfg(feature = "redis")]
use crate::RedisUrl;
use crate::http::guard;
pub use crate::report::{flush, warn};
use crate::{Fsync, LogLevel, Options, Password, Reporter};
pub use check::check;

/// How the names of all variables begin.
const PREFIX: &str = "CHATROOM_";
const NOT_UTF8: &str = "expected UTF-8";

/// What the program is asked to do.
pub enum Command {
    /// Serve a chat.
    Serve(Box<Program>),
    /// Ask the server at this address for its health.
    Check(SocketAddr),
    /// Print this text.
    Print(String),
}

/// How to serve a chat.
pub struct Program {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The chat.
    pub chat: Options,
    /// What the operator should know about these options, one line each.
    pub warnings: Vec<String>,
}

/// One option of the table.
struct Spec {
    name: &'static str,
    value: &'static str,
    /// Empty for an option that is off, or open, until it is given.
    default: &'static str,
    repeatable: bool,
    /// The value may hold a password, so no error repeats it.
    secret: bool,
    meaning: &'static str,
    apply: fn(&mut Program, &str) -> Result<(), String>,
}

/// What most options have in common.
const SPEC: Spec = Spec {
    name: "",
    value: "",
    default: "",
    repeatable: false,
    secret: false,
    meaning: "",
    apply: |_, _| Ok(()),
};

#[rustfmt::skip]
const TABLE: &[Spec] = &[
    Spec { name: "listen", value: "ADDR", default: "127.0.0.1:8080", meaning: "where to listen; PORT means 127.0.0.1:PORT, 0 picks one", apply: |p, v| set(&mut p.listen, address(v)), ..SPEC },
    Spec { name: "data", value: "DIR", meaning: "keep messages across restarts in this folder (default: in memory only)", apply: |p, v| match v {
        "" => Err("expected a folder".into()),
        folder => set(&mut p.chat.data, Ok(Some(folder.into()))),
    }, ..SPEC },
    Spec { name: "fsync", value: "always|everysec|no", default: "everysec", meaning: "when a message counts as stored, with --data", apply: |p, v| set(&mut p.chat.fsync, match v {
        "always" => Ok(Fsync::Always),
        "everysec" => Ok(Fsync::EverySecond),
        "no" => Ok(Fsync::No),
        _ => Err("expected always, everysec or no".into()),
    }), ..SPEC },
    Spec { name: "redis", value: "URL", secret: true, meaning: "share the rooms with other servers; needs the Cargo feature redis", apply: redis, ..SPEC },
    Spec { name: "password-file", value: "FILE", meaning: "ask everyone for the password in this file (default: ask nobody)", apply: |p, v| set(&mut p.chat.password, password(&mut p.warnings, v)), ..SPEC },
    Spec { name: "moderator-password-file", value: "FILE", meaning: "who knows the password in this file may remove messages and ban", apply: |p, v| set(&mut p.chat.moderator_password, password(&mut p.warnings, v)), ..SPEC },
    Spec { name: "user-header", value: "NAME", meaning: "let in whom a trusted proxy names in this header (default: anybody)", apply: |p, v| set(&mut p.chat.user_header, Ok(Some(v.to_owned()))), ..SPEC },
    Spec { name: "moderator", value: "USER", repeatable: true, meaning: "this user may remove messages and ban, with --user-header", apply: |p, v| add(&mut p.chat.moderators, (!v.is_empty() && v.trim() == v).then(|| v.to_owned()), "expected a user"), ..SPEC },
    Spec { name: "room", value: "NAME", repeatable: true, meaning: "offer only this room; the first is /chat (default: any)", apply: |p, v| add(&mut p.chat.rooms, v.parse().ok(), "expected 1 to 64 letters, digits, '-', '_' or '.' (not first)"), ..SPEC },
    Spec { name: "allow-origin", value: "ORIGIN", repeatable: true, meaning: "let pages of this origin read and post (default: same origin only)", apply: |p, v| add(&mut p.chat.allow_origin, guard::parse_origin(v), "expected an origin, such as https://example.org"), ..SPEC },
    Spec { name: "allow-host", value: "HOST", repeatable: true, meaning: "answer to this name (default: local names on loopback, else any)", apply: |p, v| add(&mut p.chat.allow_host, guard::is_host(v).then(|| v.to_owned()), "expected a host name such as chat.example.org, or an IP address"), ..SPEC },
    Spec { name: "trusted-proxy", value: "IP[/BITS]", repeatable: true, meaning: "trust X-Forwarded-For and -Proto from here (default: nobody)", apply: |p, v| add(&mut p.chat.trusted_proxy, v.parse().ok(), "expected an IP address, or a network such as 172.16.0.0/12"), ..SPEC },
    Spec { name: "heartbeat", value: "SECONDS", default: "15", meaning: "send a heartbeat on a stream that was silent this long", apply: |p, v| set(&mut p.chat.heartbeat, seconds(v)), ..SPEC },
    Spec { name: "history", value: "COUNT", default: "500", meaning: "messages retained per room", apply: |p, v| set(&mut p.chat.history, count(v)), ..SPEC },
    Spec { name: "history-bytes", value: "BYTES", default: "262144", meaning: "bytes of messages retained per room", apply: |p, v| set(&mut p.chat.history_bytes, count(v)), ..SPEC },
    Spec { name: "history-age", value: "SECONDS", default: "0", meaning: "evict messages that are older", apply: |p, v| set(&mut p.chat.history_age, seconds(v)), ..SPEC },
    Spec { name: "max-rooms", value: "COUNT", default: "256", meaning: "most rooms", apply: |p, v| set(&mut p.chat.max_rooms, count(v)), ..SPEC },
    Spec { name: "max-streams", value: "COUNT", default: "10000", meaning: "most open streams", apply: |p, v| set(&mut p.chat.max_streams, count(v)), ..SPEC },
    Spec { name: "max-streams-per-ip", value: "COUNT", default: "100", meaning: "most open streams of one address (IPv6: of one /64)", apply: |p, v| set(&mut p.chat.max_streams_per_ip, count(v)), ..SPEC },
    Spec { name: "max-message", value: "BYTES", default: "4096", meaning: "longest text of a message", apply: |p, v| set(&mut p.chat.max_message, count(v)), ..SPEC },
    Spec { name: "message-rate", value: "N", default: "2", meaning: "messages a second from one sender; ten times that at once", apply: |p, v| set(&mut p.chat.message_rate, rate(v)), ..SPEC },
    Spec { name: "room-ttl", value: "SECONDS", default: "2592000", meaning: "forget a room that was idle and empty this long", apply: |p, v| set(&mut p.chat.room_ttl, seconds(v)), ..SPEC },
    Spec { name: "write-timeout", value: "SECONDS", default: "10", meaning: "cut a client that takes nothing this long", apply: |p, v| set(&mut p.chat.write_timeout, seconds(v)), ..SPEC },
    Spec { name: "drain", value: "SECONDS", default: "5", meaning: "how long shutdown may take", apply: |p, v| set(&mut p.chat.drain, seconds(v)), ..SPEC },
    Spec { name: "log", value: "error|info|debug", default: "info", meaning: "what to log to stderr", apply: |p, v| set(&mut p.chat.log.level, match v {
        "error" => Ok(LogLevel::Error),
        "info" => Ok(LogLevel::Info),
        "debug" => Ok(LogLevel::Debug),
        _ => Err("expected error, info or debug".into()),
    }), ..SPEC },
];

fn set<T>(option: &mut T, value: Result<T, String>) -> Result<(), String> {
    *option = value?;
    Ok(())
}

fn add<T>(option: &mut Vec<T>, value: Option<T>, expected: &str) -> Result<(), String> {
    option.push(value.ok_or(expected)?);
    Ok(())
}

/// Reads the command line (without the program's name) and the environment; the command line wins,
/// and an empty variable counts as not set.
///
/// # Errors
/// One line that names the option or variable and says what was expected.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Command, String> {
    let ours = environment.into_iter().filter_map(|(name, value)| {
        let name = name.to_string_lossy().into_owned();
        (name.starts_with(PREFIX) && !value.is_empty()).then_some((name, value))
    });
    read(arguments.into_iter(), ours.collect()).map_err(|line| line.replace(char::is_control, " "))
}

fn read(
    mut arguments: impl Iterator<Item = OsString>,
    environment: HashMap<String, OsString>,
) -> Result<Command, String> {
    let mut given: HashMap<&'static str, Vec<String>> = HashMap::new();
    let mut check = false;
    while let Some(argument) = arguments.next() {
        let argument = argument.into_string().map_err(|bad| {
            let shown = bad.to_string_lossy();
            let named = shown.split_once('=').and_then(|(name, _)| find(name));
            match named.filter(|spec| spec.secret) {
                Some(spec) => format!("--{}: {NOT_UTF8}", spec.name),
                None => format!("{bad:?}: {NOT_UTF8}"),
            }
        })?;
        match argument.as_str() {
            "-h" | "--help" => return Ok(Command::Print(help())),
            "-V" | "--version" => {
                let version = concat!("chatroom ", env!("CARGO_PKG_VERSION"), "\n");
                return Ok(Command::Print(version.into()));
            }
            "--check" => check = true,
            _ => {
                let (name, joined) = argument.split_once('=').unzip();
                let name = name.unwrap_or(&argument);
                let unknown = || match meant(name) {
                    Some(meant) => format!("{name}: unknown option; did you mean --{meant}?"),
                    None => format!("{name}: unknown option; see --help"),
                };
                let spec = find(name).ok_or_else(unknown)?;
                let missing = || format!("{name}: expected a value: {}", spec.value);
                let value = match joined {
                    Some(value) => value.to_owned(),
                    None => utf8(spec, name, arguments.next().ok_or_else(missing)?)?,
                };
                let values = given.entry(spec.name).or_default();
                if !spec.repeatable {
                    values.clear();
                }
                values.push(value);
            }
        }
    }
    let program = apply(given, environment)?;
    Ok(if check {
        Command::Check(program.listen)
    } else {
        Command::Serve(Box::new(program))
    })
}

fn apply(
    mut given: HashMap<&'static str, Vec<String>>,
    mut environment: HashMap<String, OsString>,
) -> Result<Program, String> {
    let mut program = Program {
        listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
        chat: Options::default(),
        warnings: Vec::new(),
    };
    program.chat.log = Reporter::stderr();
    for spec in TABLE {
        let mut source = format!("--{}", spec.name);
        let variable = variable(spec.name);
        let value = environment.remove(&variable);
        if !given.contains_key(spec.name) {
            let value = value.map(|value| utf8(spec, &variable, value));
            let values = match value.transpose()? {
                Some(value) if spec.repeatable => {
                    value.split(',').map(|one| one.trim().to_owned()).collect()
                }
                Some(value) => vec![value],
                None => continue,
            };
            source = variable;
            given.insert(spec.name, values);
        }
        for value in &given[spec.name] {
            (spec.apply)(&mut program, value)
                .map_err(|expected| refused(spec, &source, value, &expected))?;
        }
    }
    // Those that are left are no option's.
    if let Some(warning) = unknown_variables(environment.into_keys().collect())? {
        program.warnings.push(warning);
    }
    let loopback = program.listen.ip().is_loopback();
    let has = |name: &str| given.contains_key(name);
    program.chat = program.chat.checked()?;
    if has("moderator") && !has("user-header") {
        return Err("--moderator: needs --user-header, which names the users".into());
    }
    program.chat.loopback_names = true;
    let proxied = has("trusted-proxy");
    if (!loopback || proxied) && !has("password-file") && !has("user-header") {
        let reached = match loopback {
            true => "the proxy".to_owned(),
            false => program.listen.to_string(),
        };
        program.warnings.push(format!(
            "everyone who can reach {reached} can read and write without a password: see --password-file"
        ));
    } else if !loopback && !proxied {
        program.warnings.push("the password crosses the network unencrypted: put a proxy with TLS in front, and name it with --trusted-proxy".into());
    }
    Ok(program)
}

fn find(argument: &str) -> Option<&'static Spec> {
    let name = argument.strip_prefix("--")?;
    TABLE.iter().find(|spec| spec.name == name)
}

/// The option that a misspelt option or variable was probably meant to be.
fn meant(name: &str) -> Option<&'static str> {
    let name = name.trim_start_matches(PREFIX).trim_start_matches('-');
    let name = name.to_lowercase().replace('_', "-");
    meant::meant(&name, TABLE.iter().map(|spec| spec.name))
}

/// A warning of variables that mean nothing, such as those which container tools set for a service.
///
/// # Errors
/// One of them was probably meant to be an option's: to ignore it could leave a door open.
fn unknown_variables(mut names: Vec<String>) -> Result<Option<String>, String> {
    names.sort_unstable();
    for name in &names {
        if let Some(meant) = meant(name).map(variable) {
            return Err(format!("{name}: unknown variable; did you mean {meant}?"));
        }
    }
    let names = names.join(", ");
    Ok((!names.is_empty()).then(|| format!("ignored unknown variables: {names}")))
}

fn variable(option: &str) -> String {
    format!("{PREFIX}{}", option.to_uppercase().replace('-', "_"))
}

fn help() -> String {
    let mut text = String::from(
        "A chat room server: people open its page, join a room and talk.\n\nUsage: chatroom [OPTIONS]\n\n",
    );
    let mut line = |option: &str, meaning: &str| {
        text.push_str(&format!("  {option:<31} {meaning}\n"));
    };
    for spec in TABLE {
        let mut meaning = spec.meaning.to_owned();
        if !spec.default.is_empty() {
            meaning.push_str(&format!(" (default: {})", spec.default));
        }
        if spec.repeatable {
            meaning.push_str("; may be repeated");
        }
        line(&format!("--{} {}", spec.name, spec.value), &meaning);
    }
    line(
        "--check",
        "ask the server at --listen for its health; exit code 0 or 1",
    );
    line("-h, --help", "print this help");
    line("-V, --version", "print the version");
    text.push_str("\nEvery option has an environment variable: --max-rooms is CHATROOM_MAX_ROOMS. Where an option may be\nrepeated, its variable takes a list with commas. The command line wins, and an empty variable counts as\nnot set. 0 switches a limit off.\n");
    text
}

fn utf8(spec: &Spec, source: &str, value: OsString) -> Result<String, String> {
    let value = value.into_string();
    value.map_err(|bad| refused(spec, source, &format!("{bad:?}"), NOT_UTF8))
}

fn refused(spec: &Spec, source: &str, value: &str, expected: &str) -> String {
    match spec.secret {
        true => format!("{source}: {expected}"),
        false => format!("{source} {value}: {expected}"),
    }
}

/// An address; without a host, or with `localhost`, one on loopback.
fn address(text: &str) -> Result<SocketAddr, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let address = match host {
        "" | "localhost" => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    let expected = "expected an IP address with a port, such as 127.0.0.1:8080, or a port";
    address.parse().map_err(|_| expected.into())
}

/// Reads a password file, which holds nothing else.
fn password(warnings: &mut Vec<String>, path: &str) -> Result<Option<Password>, String> {
    let cannot_read = |error| format!("cannot read it: {error}");
    let mut file = File::open(path).map_err(cannot_read)?;
    let mut content = Vec::new();
    file.read_to_end(&mut content).map_err(cannot_read)?;
    let mode = file.metadata().map_err(cannot_read)?.permissions().mode();
    if mode & 0o004 != 0 {
        warnings.push(format!(
            "{path} can be read by every user of this machine: chmod 600 {path}"
        ));
    }
    let line = content.strip_suffix(b"\n").unwrap_or(&content);
    if line.starts_with("\u{feff}".as_bytes()) {
        return Err("the file begins with a byte order mark: save it without one".into());
    }
    if line.contains(&b'\n') {
        return Err("the file has more than one line: expected the password alone".into());
    }
    let password = Password::new(content);
    password
        .map(Some)
        .map_err(|_| "the file is empty or blank".into())
}

#[cfg(feature = "redis")]
fn redis(program: &mut Program, url: &str) -> Result<(), String> {
    let url = RedisUrl::parse(url).map_err(|error| error.to_string())?;
    program.chat.redis = Some(url);
    Ok(())
}

#[cfg(not(feature = "redis"))]
fn redis(_: &mut Program, _: &str) -> Result<(), String> {
    Err("this program was built without the Cargo feature redis".into())
}

fn count(value: &str) -> Result<usize, String> {
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    let number = value.parse().ok().filter(|_| digits);
    let number = number.ok_or("expected a whole number, 0 for no limit")?;
    Ok(if number == 0 { usize::MAX } else { number })
}

fn rate(value: &str) -> Result<f64, String> {
    let rate = value.parse().ok();
    let rate = rate.filter(|rate: &f64| rate.is_finite() && *rate >= 0.0);
    let rate = rate.ok_or("expected a number, 0 for no limit")?;
    Ok(if rate == 0.0 { f64::INFINITY } else { rate })
}

fn seconds(value: &str) -> Result<Option<Duration>, String> {
    let seconds = value.parse().ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let time = time.ok_or("expected a number of seconds, 0 for no limit")?;
    Ok((!time.is_zero()).then_some(time))
}

#[cfg(test)]
mod tests;
