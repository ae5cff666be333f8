//! The origin of the page that asks, and what browsers are told of it.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Uri};

use super::super::answer::{self, Answer};
use super::super::body::Body;
use super::{Guard, is_host};
use crate::refusal::Refusal;

impl Guard {
    /// Without this, any page that a visitor has open could act in the visitor's name. Programs send
    /// neither header, and have no visitor to misuse.
    pub(crate) fn check_origin(&self, headers: &HeaderMap, host: &str) -> Result<(), Refusal> {
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
    pub(crate) fn preflight(&self, request: &Parts) -> Option<Answer> {
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
            let methods = "GET, HEAD, POST, DELETE";
            let headers =
                "authorization, content-type, idempotency-key, if-none-match, last-event-id";
            let allowed = [
                (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
                (header::ACCESS_CONTROL_ALLOW_HEADERS, headers),
                (header::ACCESS_CONTROL_MAX_AGE, "600"),
            ];
            answer::set_headers(&mut response, allowed);
            Ok(response)
        })
    }

    /// Lets pages of the allowed origins read the answer (CORS).
    pub(crate) fn share(&self, request: &HeaderMap, response: &mut Response<Body>) {
        if self.options.allow_origin.is_empty() {
            return;
        }
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.allowed_origin(request) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            let shared = [
                (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
                (header::ACCESS_CONTROL_EXPOSE_HEADERS, "etag, retry-after"),
            ];
            answer::set_headers(response, shared);
        }
    }
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
