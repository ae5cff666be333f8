//! Who may come in: the checks in front of every route, in the order in which they are made.

use std::net::{IpAddr, Ipv6Addr};

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Response, StatusCode, Uri, Version};

use super::address::{ClientAddress, ClientOrigin, client_origin};
use super::body::Body;
use super::error::Refusal;
use super::limits::TokenBuckets;
use super::password::{Password, Shown};
use super::session;
use crate::chat::clock::Moment;
use crate::chat::members::SessionId;
use crate::report::Reporter;

/// Wrong passwords that an address may try at once, and in a minute.
const PASSWORD_ATTEMPTS: f64 = 10.0;

/// What the owner of the server allows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    /// Accepted host names; none given means any.
    pub(crate) hosts: Vec<String>,
    /// Origins of pages that may read and post from elsewhere.
    pub(crate) origins: Vec<String>,
    /// Peers whose forwarded headers count.
    pub(crate) trusted_proxies: Vec<IpAddr>,
    pub(crate) password: Option<Password>,
}

/// The guard.
pub(crate) struct Guard {
    policy: Policy,
    wrong_passwords: TokenBuckets<ClientAddress>,
    report: Reporter,
}

/// A request's sender, as far as it is known.
#[derive(Clone, Copy)]
pub(crate) struct Visitor {
    pub(crate) address: ClientAddress,
    pub(crate) https: bool,
    pub(crate) session: Option<SessionId>,
}

/// What kind of thing a request asks for, as far as the guard needs to know.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct Asked {
    /// It changes something that others see, so another site's page may not do it unseen.
    pub(crate) changes_state: bool,
    /// It is open to those without the password, under any host name: a load balancer or a container
    /// asks for our health by whatever address it has.
    pub(crate) open: bool,
}

impl Guard {
    pub(crate) fn new(policy: Policy, report: Reporter) -> Guard {
        Guard {
            policy,
            wrong_passwords: TokenBuckets::new(PASSWORD_ATTEMPTS / 60.0, PASSWORD_ATTEMPTS),
            report,
        }
    }

    pub(crate) fn is_trusted_proxy(&self, peer: IpAddr) -> bool {
        self.policy.trusted_proxies.contains(&peer.to_canonical())
    }

    /// Makes all checks.
    pub(crate) fn admit(
        &self,
        request: &Parts,
        peer: IpAddr,
        asked: Asked,
        now: Moment,
    ) -> Result<Visitor, Refusal> {
        let ClientOrigin { address, https } =
            client_origin(peer, &request.headers, &self.policy.trusted_proxies);
        if !asked.open {
            self.check_host(request)?;
        }
        if asked.changes_state {
            self.check_origin(&request.headers)?;
        }
        if !asked.open {
            self.check_password(&request.headers, address, now)?;
        }
        Ok(Visitor {
            address,
            https,
            session: session::of(&request.headers),
        })
    }

    /// Without this, a page that makes its own name mean 127.0.0.1 (DNS rebinding) would count as
    /// same-origin with a server on the visitor's machine.
    fn check_host(&self, request: &Parts) -> Result<(), Refusal> {
        let mut hosts = request.headers.get_all(header::HOST).iter();
        let named = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().map_err(|_| Refusal::UnknownHost)?,
            (None, _) if request.version == Version::HTTP_10 => "",
            _ => {
                return Err(Refusal::BadRequest(
                    "HTTP/1.1 needs exactly one Host header.",
                ));
            }
        };
        // A target in absolute form outranks the header (RFC 9112, section 3.2.2).
        let named = request
            .uri
            .authority()
            .map_or(named, |authority| authority.as_str());
        let hosts = &self.policy.hosts;
        let known = hosts.is_empty()
            || hosts
                .iter()
                .any(|host| host_name(host).eq_ignore_ascii_case(host_name(named)));
        if known {
            Ok(())
        } else {
            Err(Refusal::UnknownHost)
        }
    }

    /// Without this, any page that a visitor has open could post in the visitor's name. Programs
    /// send neither header, and have no visitor to misuse.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let origin = headers
            .get(header::ORIGIN)
            .map(|origin| origin.to_str().unwrap_or("null"));
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let own = match (headers.get("sec-fetch-site"), origin) {
            _ if self.allowed_origin(headers).is_some() => true,
            (Some(site), _) => matches!(site.as_bytes(), b"same-origin" | b"none"),
            (None, Some(origin)) => origin.split_once("://").is_some_and(|(_, authority)| {
                host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
            }),
            (None, None) => true,
        };
        if own {
            Ok(())
        } else {
            Err(Refusal::CrossOrigin)
        }
    }

    fn check_password(
        &self,
        headers: &HeaderMap,
        address: ClientAddress,
        now: Moment,
    ) -> Result<(), Refusal> {
        let Some(password) = &self.policy.password else {
            return Ok(());
        };
        let shown = password.shown_in(headers);
        if shown != Shown::Nothing {
            self.wrong_passwords
                .check(address, now)
                .map_err(|retry_after| Refusal::TooManyAttempts { retry_after })?;
        }
        match shown {
            Shown::Right => Ok(()),
            Shown::Nothing => Err(Refusal::PasswordRequired),
            Shown::Wrong => {
                self.report
                    .info(format_args!("wrong password from {address}"));
                // It was there a moment ago; if another request has spent it since, this one pays nothing.
                let _ = self.wrong_passwords.take(address, now);
                Err(Refusal::PasswordRequired)
            }
        }
    }

    /// The origin of the page that asks, where it is one of those allowed from elsewhere.
    fn allowed_origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let allowed = |allowed: &String| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes());
        self.policy.origins.iter().any(allowed).then_some(origin)
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
            self.check_host(request)?;
            self.allowed_origin(&request.headers)
                .ok_or(Refusal::CrossOrigin)?;
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            for (name, value) in [
                (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST"),
                (
                    header::ACCESS_CONTROL_ALLOW_HEADERS,
                    "authorization, content-type, idempotency-key, if-none-match, last-event-id",
                ),
                (header::ACCESS_CONTROL_MAX_AGE, "600"),
            ] {
                response
                    .headers_mut()
                    .insert(name, HeaderValue::from_static(value));
            }
            Ok(response)
        })
    }

    /// Puts on an answer what every answer carries, whatever it is. What only a document heeds is
    /// left off event streams: hyper keeps the table of an answer's headers as long as the
    /// connection, and six fit into one of half the size.
    pub(crate) fn seal(&self, request: &HeaderMap, response: &mut Response<Body>) {
        let is_stream = response.body().is_stream();
        let headers = response.headers_mut();
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        headers.insert(
            "cross-origin-resource-policy",
            HeaderValue::from_static("same-origin"),
        );
        if !is_stream {
            headers.insert(
                header::REFERRER_POLICY,
                HeaderValue::from_static("no-referrer"),
            );
            let nothing_inside =
                HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
            headers
                .entry(header::CONTENT_SECURITY_POLICY)
                .or_insert(nothing_inside);
        }
        if self.policy.origins.is_empty() {
            return;
        }
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.allowed_origin(request) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
            headers.insert(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static("etag, retry-after"),
            );
        }
    }

    /// Forgets addresses whose wrong passwords are long ago.
    pub(crate) fn tick(&self, now: Moment) {
        self.wrong_passwords.forget_idle(now);
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
