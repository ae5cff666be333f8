//! Answers, as JSON or as content with a tag, the headers that all of them carry, and how a refusal is
//! rendered.

use std::hash::{DefaultHasher, Hash, Hasher};

use hyper::body::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde_json::Value;

use super::body::Body;
use crate::refusal::Refusal;

/// What becomes of a request.
pub(crate) type Answer = Result<Response<Body>, Refusal>;

/// A status without content.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// JSON that no cache may store.
pub(crate) fn json(status: StatusCode, json: impl Into<Bytes>) -> Response<Body> {
    text(status, "application/json", json)
}

/// Text of any type that no cache may store.
pub(crate) fn text(
    status: StatusCode,
    content_type: &'static str,
    text: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::whole(text));
    *response.status_mut() = status;
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
    set_headers(&mut response, headers);
    response
}

/// Content that a cache may store but has to ask about: 304 if the client already has it.
pub(crate) fn tagged(
    request: &HeaderMap,
    content_type: &'static str,
    etag: &HeaderValue,
    content: impl FnOnce() -> Body,
) -> Response<Body> {
    let mut known = request.get_all(IF_NONE_MATCH).iter();
    let mut response = if known.any(|tags| matches(tags, etag)) {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        let mut response = Response::new(content());
        set_headers(&mut response, [(CONTENT_TYPE, content_type)]);
        response
    };
    response.headers_mut().insert(ETAG, etag.clone());
    set_headers(&mut response, [(CACHE_CONTROL, "no-cache")]);
    response
}

/// The weak comparison of RFC 9110, section 13.1.2.
fn matches(tags: &HeaderValue, etag: &HeaderValue) -> bool {
    let tags = tags.to_str().unwrap_or_default();
    tags.split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag.as_bytes() == etag.as_bytes())
}

/// A tag that changes with what is hashed.
pub(crate) fn etag(content: impl Hash) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Sets headers, in place of those of the same names.
pub(crate) fn set_headers<const N: usize>(
    response: &mut Response<Body>,
    headers: [(HeaderName, &'static str); N],
) {
    for (name, value) in headers {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
}

/// Adds the headers that every answer carries. Those that only a document heeds are left off event streams:
/// hyper keeps the table of an answer's headers as long as the connection, and six fit into one of half the
/// size.
pub(crate) fn add_fixed_headers(response: &mut Response<Body>) {
    let resource_policy = HeaderName::from_static("cross-origin-resource-policy");
    let headers = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (resource_policy, "same-origin"),
    ];
    set_headers(response, headers);
    if !response.body().is_stream() {
        set_headers(response, [(REFERRER_POLICY, "no-referrer")]);
        let nothing_inside = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        let policy = response.headers_mut().entry(CONTENT_SECURITY_POLICY);
        policy.or_insert(nothing_inside);
    }
}

/// Renders a refusal. A browser that navigates gets `as_page` a small page to read.
pub(crate) fn refused(refusal: &Refusal, as_page: bool) -> Response<Body> {
    let (_, code, advice) = refusal.parts();
    let status = refusal.status();
    let mut response = if as_page {
        let page = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>chatroom</title><h1>{}</h1><p>{advice}</p><p>Reload this page to try again.</p></html>",
            status.canonical_reason().unwrap_or(code)
        );
        text(status, "text/html; charset=utf-8", page)
    } else {
        let room = match refusal {
            Refusal::NameTaken { room } => format!(",\"room\":{}", Value::from(room.as_str())),
            _ => String::new(),
        };
        let advice = Value::from(advice);
        json(
            status,
            format!(r#"{{"error":"{code}","message":{advice}{room}}}"#),
        )
    };
    match refusal {
        Refusal::MethodNotAllowed { allow } => set_headers(&mut response, [(ALLOW, *allow)]),
        Refusal::PasswordRequired => {
            let challenge = "Basic realm=\"chatroom\", charset=\"UTF-8\"";
            set_headers(&mut response, [(WWW_AUTHENTICATE, challenge)]);
        }
        // What is left of the body would be taken for the next request.
        Refusal::TooLarge | Refusal::Timeout => {
            set_headers(&mut response, [(CONNECTION, "close")]);
        }
        _ => {}
    }
    if let Some(wait) = refusal.retry_after() {
        // Whole seconds, rounded up: a client that waits that long is let in.
        let seconds = wait.as_millis().div_ceil(1_000).max(1);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
