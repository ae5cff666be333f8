//! Who may come in: the checks in front of every route, in the order in which they are made.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::Ipv6Addr;
use std::sync::{Arc, Mutex, Once};

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Response, StatusCode, Uri, Version};

use super::address::{ClientAddress, client_origin};
use super::answer;
use super::body::Body;
use super::limits::{Allowance, Limits};
use super::password;
use super::visitor::{OverLoopback, User, Visitor, peer_of};
use crate::author::Author;
use crate::lock::lock;
use crate::options::{Options, Password};
use crate::refusal::Refusal;

/// Host names that are logged as refused, at most: an attacker can make up any number of them.
const LOGGED_HOSTS: usize = 100;
/// Characters of such a name that are logged.
const LOGGED_HOST_CHARS: usize = 100;
/// Under which names a connection over loopback may reach the chat in any case: what they mean is the
/// machine itself, whoever asks.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
/// Right passwords that are remembered, at most: about 200 KB. Beyond it all are forgotten, and
/// remembered again when they are given again.
const MOST_PROOFS: usize = 10_000;
/// Why a request names no user, as the log tells each of them once.
const NO_USER: [&str; 4] = [
    "counts only from a trusted proxy",
    "is missing",
    "is there more than once",
    "is not UTF-8 that a name may hold, of 1 to 512 bytes",
];

/// The guard.
pub(crate) struct Guard {
    options: Arc<Options>,
    limits: Arc<Limits>,
    refused_hosts: Mutex<HashSet<String>>,
    /// Keyed hashes of authors with right passwords that they have given.
    proofs: Mutex<HashSet<u64>>,
    keyed: RandomState,
    /// Which of the causes of [`NO_USER`] the log has told.
    told: [Once; NO_USER.len()],
}

impl Guard {
    pub(crate) fn new(options: Arc<Options>, limits: Arc<Limits>) -> Guard {
        Guard {
            options,
            limits,
            refused_hosts: Mutex::default(),
            proofs: Mutex::default(),
            keyed: RandomState::new(),
            told: [const { Once::new() }; NO_USER.len()],
        }
    }

    /// Without this, a page that makes its own name resolve to 127.0.0.1 (DNS rebinding) would count
    /// as same-origin with a server on the visitor's machine. What is open works under any name.
    ///
    /// # Errors
    /// The server does not answer under the host that the request names, which is returned otherwise.
    pub(super) fn check_host<'a>(
        &self,
        request: &'a Parts,
        is_open: bool,
    ) -> Result<&'a str, Refusal> {
        let host = host_of(request)?;
        let name = host_name(host);
        let hosts = &self.options.allow_host;
        let is_this = |allowed: &str| host_name(allowed).eq_ignore_ascii_case(name);
        let over_loopback = request.extensions.get::<OverLoopback>().is_some();
        let is_guarded = over_loopback && self.options.loopback_names;
        if is_open
            || hosts.iter().any(|allowed| is_this(allowed))
            || is_guarded && LOOPBACK_NAMES.into_iter().any(is_this)
            || !is_guarded && hosts.is_empty()
        {
            return Ok(host);
        }
        let refused = &mut *lock(&self.refused_hosts);
        let name: String = name.chars().take(LOGGED_HOST_CHARS).collect();
        if is_host(&name) && refused.len() < LOGGED_HOSTS && !refused.contains(&name) {
            self.options.log.info(format_args!(
                "refused a request for host {name:?}: --allow-host {name} would allow it"
            ));
            refused.insert(name);
        }
        Err(Refusal::UnknownHost)
    }

    /// The user that the program in front names, or a trusted proxy where one has to.
    pub(super) fn user(&self, request: &Parts) -> Result<Option<User>, Refusal> {
        let named = request.extensions.get::<User>();
        let header = match (named, &self.options.user_header) {
            (None, Some(header)) => header,
            _ => return Ok(named.cloned()),
        };
        let (peer, proxies) = (peer_of(request), &self.options.trusted_proxy);
        let mut lines = request.headers.get_all(header).iter();
        let user = match (lines.next(), lines.next()) {
            _ if !proxies.iter().any(|proxy| proxy.overlaps(peer)) => Err(0),
            (None, _) => Err(1),
            (Some(_), Some(_)) => Err(2),
            (Some(line), None) => User::from_header(line).map_err(|_| 3),
        };
        user.map(Some).map_err(|cause| {
            let (address, _) = client_origin(peer, &request.headers, proxies);
            let log = || {
                self.options.log.info(format_args!(
                    "refused a request from {address}: {header} {}",
                    NO_USER[cause]
                ));
            };
            self.told[cause].call_once(log);
            Refusal::UserRequired
        })
    }

    /// Without this, any page that a visitor has open could act in the visitor's name. Programs send
    /// neither header, and have no visitor to misuse.
    pub(super) fn check_origin(&self, headers: &HeaderMap, host: &str) -> Result<(), Refusal> {
        let origin = headers
            .get(header::ORIGIN)
            .map(|origin| origin.to_str().unwrap_or("null"));
        let own = match (headers.get("sec-fetch-site"), origin) {
            _ if self.allowed_origin(headers).is_some() => true,
            (Some(site), _) => matches!(site.as_bytes(), b"same-origin" | b"none"),
            (None, Some(origin)) => origin
                .split_once("://")
                .is_some_and(|(_, authority)| host.eq_ignore_ascii_case(authority)),
            (None, None) => true,
        };
        if own {
            Ok(())
        } else {
            Err(Refusal::CrossOrigin)
        }
    }

    pub(super) fn check_door(&self, headers: &HeaderMap, visitor: &Visitor) -> Result<(), Refusal> {
        if self.options.password.is_none() || visitor.name.is_some() {
            return Ok(());
        }
        let given = password::given_in(headers).ok_or(Refusal::PasswordRequired)?;
        match self.is_right(&given, self.passwords(), visitor)? {
            true => Ok(()),
            false => Err(Refusal::PasswordRequired),
        }
    }

    /// Whether a request carries the moderators' password by HTTP Basic. A wrong one counts only where
    /// a moderator's rights are used: see [`Guard::refuse_moderator`].
    pub(super) fn is_moderator(&self, headers: &HeaderMap, visitor: &Visitor) -> bool {
        let password = self.options.moderator_password.as_ref();
        let given = given_in(headers, visitor);
        given.is_some_and(|given| self.compare(&given, password, visitor) == Ok(true))
    }

    /// Why one who is no moderator may not act as one. A wrong password of HTTP Basic counts.
    pub(super) fn refuse_moderator(
        &self,
        headers: &HeaderMap,
        visitor: &Visitor,
        refusal: Refusal,
    ) -> Refusal {
        let given = given_in(headers, visitor);
        let given = given.filter(|_| self.options.moderator_password.is_some());
        let counted = given.map(|given| self.is_right(&given, self.passwords(), visitor));
        counted.and_then(Result::err).unwrap_or(refusal)
    }

    /// The passwords that open the door; one of them is for moderators.
    fn passwords(&self) -> impl Iterator<Item = &Password> {
        let Options {
            password,
            moderator_password,
            ..
        } = &*self.options;
        password.iter().chain(moderator_password)
    }

    /// Compares a password with those accepted. Wrong ones are logged, and limited by address.
    pub(super) fn is_right<'a>(
        &self,
        given: &[u8],
        accepted: impl IntoIterator<Item = &'a Password>,
        visitor: &Visitor,
    ) -> Result<bool, Refusal> {
        let right = self.compare(given, accepted, visitor)?;
        if !right {
            self.note_wrong("password", visitor.address);
        }
        Ok(right)
    }

    /// Compares a password with those accepted, unless the address has to wait. That holds nobody up
    /// who has given this password before.
    fn compare<'a>(
        &self,
        given: &[u8],
        accepted: impl IntoIterator<Item = &'a Password>,
        visitor: &Visitor,
    ) -> Result<bool, Refusal> {
        let right = accepted.into_iter().any(|password| password.equals(given));
        let proof = visitor.author.map(|author| self.proof(author, given));
        let is_known = proof.is_some_and(|proof| lock(&self.proofs).contains(&proof));
        if !(right && is_known) {
            self.check_attempts(visitor.address)?;
        }
        if let (true, Some(proof)) = (right, proof) {
            self.keep(proof);
        }
        Ok(right)
    }

    /// Remembers that an author who has just got a session has given the password that the request
    /// carries, if one was asked for.
    pub(super) fn remember(&self, headers: &HeaderMap, author: Author) {
        if self.options.password.is_some()
            && let Some(given) = password::given_in(headers)
        {
            self.keep(self.proof(author, &given));
        }
    }

    /// Remembers that an author has given the moderators' password.
    pub(super) fn remember_moderator(&self, author: Author, given: &[u8]) {
        self.keep(self.proof(author, given));
    }

    fn proof(&self, author: Author, password: &[u8]) -> u64 {
        self.keyed.hash_one((author, password))
    }

    fn keep(&self, proof: u64) {
        let proofs = &mut *lock(&self.proofs);
        if proofs.len() >= MOST_PROOFS {
            proofs.clear();
        }
        proofs.insert(proof);
    }

    /// Checks that an address may try another password.
    pub(super) fn check_attempts(&self, address: ClientAddress) -> Result<(), Refusal> {
        let (attempts, now) = (Allowance::WrongPasswords(address), self.options.clock.now());
        let checked = self.limits.spend(attempts, 0, now);
        checked.map_err(|retry_after| Refusal::TooManyAttempts { retry_after })
    }

    /// Logs and counts a wrong password, or what is guessed like one.
    pub(super) fn note_wrong(&self, what: &str, address: ClientAddress) {
        let log = &self.options.log;
        log.info(format_args!("wrong {what} from {address}"));
        // There was a token a moment ago; if another request has spent it since, this one is free.
        let (attempts, now) = (Allowance::WrongPasswords(address), self.options.clock.now());
        let _ = self.limits.spend(attempts, 1, now);
    }

    /// The origin of the requesting page, if it is one of those allowed from elsewhere.
    fn allowed_origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let allowed = |allowed: &String| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes());
        self.options
            .allow_origin
            .iter()
            .any(allowed)
            .then_some(origin)
    }

    /// Answers a browser that asks whether a page from elsewhere may send a request (CORS
    /// preflight, Fetch standard, section 4.8); `None` for any other request.
    pub(crate) fn preflight(&self, request: &Parts) -> Option<Result<Response<Body>, Refusal>> {
        let asks = request.method == Method::OPTIONS
            && request.headers.contains_key(header::ORIGIN)
            && request
                .headers
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        asks.then(|| {
            self.check_host(request, false)?;
            self.user(request)?;
            self.allowed_origin(&request.headers)
                .ok_or(Refusal::CrossOrigin)?;
            let mut response = answer::empty(StatusCode::NO_CONTENT);
            for (name, value) in [
                (
                    header::ACCESS_CONTROL_ALLOW_METHODS,
                    "GET, HEAD, POST, DELETE",
                ),
                (
                    header::ACCESS_CONTROL_ALLOW_HEADERS,
                    "authorization, content-type, idempotency-key, if-none-match, last-event-id",
                ),
                (header::ACCESS_CONTROL_MAX_AGE, "600"),
            ] {
                let value = HeaderValue::from_static(value);
                response.headers_mut().insert(name, value);
            }
            Ok(response)
        })
    }

    /// Adds the headers that every answer carries. Those that only a document heeds are left off
    /// event streams: hyper keeps the table of an answer's headers as long as the connection, and
    /// six fit into one of half the size.
    pub(crate) fn seal(&self, request: &HeaderMap, response: &mut Response<Body>) {
        let is_stream = response.body().is_stream();
        let headers = response.headers_mut();
        let fixed = |value| HeaderValue::from_static(value);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
        headers.insert("cross-origin-resource-policy", fixed("same-origin"));
        if !is_stream {
            headers.insert(header::REFERRER_POLICY, fixed("no-referrer"));
            let nothing_inside = fixed("default-src 'none'; frame-ancestors 'none'");
            headers
                .entry(header::CONTENT_SECURITY_POLICY)
                .or_insert(nothing_inside);
        }
        if self.options.allow_origin.is_empty() {
            return;
        }
        headers.append(header::VARY, fixed("Origin"));
        if let Some(origin) = self.allowed_origin(request) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, fixed("true"));
            let exposed = fixed("etag, retry-after");
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
}

/// The password that a request carries. The `Authorization` header of a user belongs to the program in
/// front, which may pass it on.
fn given_in(headers: &HeaderMap, visitor: &Visitor) -> Option<Vec<u8>> {
    let is_user = visitor.name.is_some();
    password::given_in(headers).filter(|_| !is_user)
}

/// The host that a request names: the authority of its target, which outranks the header (RFC 9112,
/// section 3.2.2) and is all that HTTP/2 sends, else its one `Host` header. HTTP/1.0 needs none.
fn host_of(request: &Parts) -> Result<&str, Refusal> {
    let authority = request.uri.authority().map(Authority::as_str);
    let mut hosts = request.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => match authority {
            Some(authority) => Ok(authority),
            None => host.to_str().map_err(|_| Refusal::UnknownHost),
        },
        (None, _) if request.version == Version::HTTP_10 => Ok(authority.unwrap_or_default()),
        (None, _) if request.version > Version::HTTP_11 && authority.is_some() => {
            Ok(authority.unwrap_or_default())
        }
        _ => Err(Refusal::BadRequest(
            "HTTP/1.1 needs exactly one Host header.",
        )),
    }
}

/// The host without its port, an IPv6 address in its brackets.
fn host_name(authority: &str) -> &str {
    let end = match authority.starts_with('[') {
        true => authority.find(']').map(|bracket| bracket + 1),
        false => authority.find(':'),
    };
    let host = &authority[..end.unwrap_or(authority.len())];
    host.strip_suffix('.').unwrap_or(host)
}

/// Whether this is a host name or an IP address, perhaps with a port.
pub(crate) fn is_host(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else {
        return false;
    };
    let host = authority.host();
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let valid = match host.strip_prefix('[') {
        Some(ip) => ip.trim_end_matches(']').parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(in_name),
    };
    valid && (text == host || authority.port_u16().is_some() && !text.contains('@'))
}

/// Checks an origin (a scheme and a host, perhaps a port) and writes it as browsers do: without the
/// default port of its scheme.
pub(crate) fn parse_origin(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    let bare = format!("{scheme}://{authority}");
    let origin = bare.strip_suffix(default_port).unwrap_or(&bare);
    (is_host(authority.as_str()) && text.eq_ignore_ascii_case(&bare)).then(|| origin.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_without_ports() {
        for (authority, host) in [
            ("localhost:8080", "localhost"),
            ("localhost", "localhost"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("a.example.:1", "a.example"),
            ("", ""),
            ("[", "["),
        ] {
            assert_eq!(host_name(authority), host);
        }
    }

    #[test]
    fn origins() {
        assert_eq!(
            parse_origin("https://Chat.example:444"),
            Some("https://Chat.example:444".into())
        );
        for default in ["https://example.org:443", "https://example.org"] {
            assert_eq!(parse_origin(default), Some("https://example.org".into()));
        }
        assert_eq!(parse_origin("http://[::1]:80"), Some("http://[::1]".into()));
        for bad in [
            "",
            "*",
            "null",
            "example.org",
            "https://example.org/",
            "https://example.org/x",
            "ftp://example.org",
            "https://",
            "https://*.example.org",
            "https://me@example.org",
        ] {
            assert_eq!(parse_origin(bad), None, "{bad}");
        }
    }
}
