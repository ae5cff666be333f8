//! The host names under which the chat answers.

use std::net::Ipv6Addr;

use hyper::Version;
use hyper::header;
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

use super::super::visitor::OverLoopback;
use super::Guard;
use crate::lock::lock;
use crate::refusal::Refusal;

/// Host names that are logged as refused, at most: an attacker can make up any number of them.
const LOGGED_HOSTS: usize = 100;
/// Characters of such a name that are logged.
const LOGGED_HOST_CHARS: usize = 100;
/// Under which names a connection over loopback may reach the chat in any case: what they mean is the
/// machine itself, whoever asks.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

impl Guard {
    /// Without this, a page that makes its own name resolve to 127.0.0.1 (DNS rebinding) would count
    /// as same-origin with a server on the visitor's machine. What is public works under any name.
    ///
    /// # Errors
    /// The server does not answer under the host that the request names, which is returned otherwise.
    pub(crate) fn check_host<'a>(
        &self,
        request: &'a Parts,
        is_public: bool,
    ) -> Result<&'a str, Refusal> {
        let host = host_of(request)?;
        let name = host_name(host);
        let hosts = &self.options.allow_host;
        let is_this = |allowed: &str| host_name(allowed).eq_ignore_ascii_case(name);
        let over_loopback = request.extensions.get::<OverLoopback>().is_some();
        let is_guarded = over_loopback && self.options.loopback_names;
        if is_public
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
}

/// The host that a request names: the authority of its target, which outranks the header (RFC 9112,
/// section 3.2.2) and is all that HTTP/2 sends, else its one `Host` header. HTTP/1.0 needs none.
fn host_of(request: &Parts) -> Result<&str, Refusal> {
    let authority = request.uri.authority().map(Authority::as_str);
    let mut hosts = request.headers.get_all(header::HOST).iter();
    match (authority, hosts.next(), hosts.next()) {
        (Some(authority), Some(_), None) => Ok(authority),
        (None, Some(host), None) => host.to_str().map_err(|_| Refusal::UnknownHost),
        (_, None, _) if request.version == Version::HTTP_10 => Ok(authority.unwrap_or_default()),
        (Some(authority), None, _) if request.version > Version::HTTP_11 => Ok(authority),
        _ => Err(Refusal::BadRequest(
            "HTTP/1.1 needs exactly one Host header.",
        )),
    }
}

/// The host without its port, an IPv6 address in its brackets. With a user in front, which no browser
/// sends, it is nobody's name.
fn host_name(authority: &str) -> &str {
    let end = match authority.starts_with('[') {
        _ if authority.contains('@') => None,
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
            ("localhost:1@evil", "localhost:1@evil"),
        ] {
            assert_eq!(host_name(authority), host);
        }
    }
}
