//! The page and its parts, which the binary holds compressed.

use std::sync::LazyLock;

use hyper::body::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, HeaderMap, HeaderValue, LOCATION,
    VARY,
};
use hyper::{Response, StatusCode};

use super::answer::{self, Answer};
use super::body::Body;
use super::inflate::gunzip;
use super::request::accepts;
use crate::refusal::Refusal;

/// What the page may do: run its own script, use its own style, icon and server. Nothing inline,
/// nothing from elsewhere, inside nobody's frame.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                           manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page, packed by `tests/browser/pack.mjs`.
pub(crate) struct Part {
    path: &'static str,
    content_type: &'static str,
    packed: &'static [u8],
    packed_etag: LazyLock<HeaderValue>,
    /// For those who do not take gzip.
    plain: LazyLock<Vec<u8>>,
    plain_etag: LazyLock<HeaderValue>,
}

/// A part, and the files that are packed into it.
macro_rules! part {
    ($path:literal, $content_type:expr) => {
        part!($path, $content_type, $path)
    };
    ($path:literal, $content_type:expr, $($file:literal),+) => {
        part!(@ $path, $content_type, $path, $($file),+)
    };
    (@ $path:literal, $content_type:expr, $packed:literal, $($file:literal),+) => {{
        const PACKED: &[u8] = unchanged(
            &[$(include_bytes!(concat!("../../www/", $file))),+],
            include_bytes!(concat!("../../www/packed/", $packed, ".gz")),
        );
        Part {
            path: $path,
            content_type: $content_type,
            packed: PACKED,
            packed_etag: LazyLock::new(|| answer::etag(PACKED)),
            plain: LazyLock::new(|| gunzip(PACKED)),
            plain_etag: LazyLock::new(|| answer::etag((PACKED, "plain"))),
        }
    }};
}

/// Stops the build where a source was changed after it was packed: its checksum (FNV-1a) stands where
/// gzip has the time of a change.
const fn unchanged(sources: &[&[u8]], packed: &'static [u8]) -> &'static [u8] {
    let (mut checksum, mut n) = (0x811c_9dc5_u32, 0);
    while n < sources.len() {
        let mut at = 0;
        while at < sources[n].len() {
            checksum = (checksum ^ sources[n][at] as u32).wrapping_mul(0x0100_0193);
            at += 1;
        }
        n += 1;
    }
    let known = u32::from_le_bytes([packed[4], packed[5], packed[6], packed[7]]);
    assert!(
        checksum == known,
        "www has changed: run `npm --prefix tests/browser run pack`"
    );
    packed
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

static PARTS: [Part; 9] = [
    part!(@ "", "text/html; charset=utf-8", "index.html", "index.html"),
    part!("chat.css", "text/css; charset=utf-8"),
    part!("favicon.svg", "image/svg+xml"),
    part!("favicon-unread.svg", "image/svg+xml"),
    part!("icon.png", "image/png"),
    part!("manifest.webmanifest", "application/manifest+json"),
    part!("notify.js", SCRIPT),
    part!(
        "js/main.js",
        SCRIPT,
        "js/text.js",
        "js/words.js",
        "js/state.js",
        "js/network.js",
        "js/start.js",
        "js/log.js",
        "js/views.js",
        "js/dialogs.js",
        "js/main.js"
    ),
    part!("js/words.zh-Hans.js", SCRIPT),
];

/// Finds the part at a path.
pub(crate) fn part(path: &str) -> Option<&'static Part> {
    PARTS.iter().find(|part| part.path == path)
}

/// Sends a browser from the prefix of a chat to its page.
pub(crate) fn redirect(prefix: &str) -> Answer {
    let location = HeaderValue::try_from(format!("{prefix}/")).map_err(|_| Refusal::NotFound)?;
    let mut response = answer::empty(StatusCode::PERMANENT_REDIRECT);
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// Answers with a part. It sets no session: a visitor who follows a link of another site sends no
/// cookie, and a new one would replace it.
pub(crate) fn serve(part: &'static Part, request: &HeaderMap) -> Response<Body> {
    let takes_gzip = accepts(request, ACCEPT_ENCODING, &["*", "x-gzip", "gzip"]);
    let (content, etag) = match takes_gzip {
        true => (part.packed, &part.packed_etag),
        false => (part.plain.as_slice(), &part.plain_etag),
    };
    let content = || Body::whole(Bytes::from_static(content));
    let mut response = answer::tagged(request, part.content_type, etag, content);
    if takes_gzip && response.status() == StatusCode::OK {
        answer::set_headers(&mut response, [(CONTENT_ENCODING, "gzip")]);
    }
    let headers = [
        (VARY, "Accept-Encoding"),
        (CONTENT_SECURITY_POLICY, PAGE_POLICY),
    ];
    answer::set_headers(&mut response, headers);
    response
}
