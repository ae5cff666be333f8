//! The page and its parts, embedded in the binary.

use std::sync::LazyLock;

use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderMap, HeaderValue};

use super::answer;
use super::body::Body;

/// What the page may do: run its own script, use its own style, icon and server. Nothing inline,
/// nothing from elsewhere, inside nobody's frame.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                           manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
pub(crate) struct Part {
    path: &'static str,
    content_type: &'static str,
    content: &'static [u8],
    etag: LazyLock<HeaderValue>,
}

macro_rules! part {
    ($path:literal, $file:literal, $content_type:expr) => {
        Part {
            path: $path,
            content_type: $content_type,
            content: include_bytes!(concat!("../../www/", $file)),
            etag: LazyLock::new(|| answer::etag(include_bytes!(concat!("../../www/", $file)))),
        }
    };
    ($file:literal, $content_type:expr) => {
        part!($file, $file, $content_type)
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

static PARTS: [Part; 15] = [
    part!("", "index.html", "text/html; charset=utf-8"),
    part!("chat.css", "text/css; charset=utf-8"),
    part!("favicon.svg", "image/svg+xml"),
    part!("favicon-unread.svg", "image/svg+xml"),
    part!("icon.png", "image/png"),
    part!("manifest.webmanifest", "application/manifest+json"),
    part!("js/log.js", SCRIPT),
    part!("js/main.js", SCRIPT),
    part!("js/network.js", SCRIPT),
    part!("js/start.js", SCRIPT),
    part!("js/state.js", SCRIPT),
    part!("js/text.js", SCRIPT),
    part!("js/views.js", SCRIPT),
    part!("js/words.js", SCRIPT),
    part!("js/words.zh-Hans.js", SCRIPT),
];

/// Finds the part at a path.
pub(crate) fn part(path: &str) -> Option<&'static Part> {
    PARTS.iter().find(|part| part.path == path)
}

/// Answers with a part. It sets no session: a visitor who follows a link of another site sends no
/// cookie, and a new one would replace it.
pub(crate) fn serve(part: &Part, request: &HeaderMap) -> Response<Body> {
    let content = || Body::whole(Bytes::from_static(part.content));
    let mut response = answer::tagged(request, part.content_type, &part.etag, content);
    let policy = HeaderValue::from_static(PAGE_POLICY);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    response
}
