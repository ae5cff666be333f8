//! The page and its parts, embedded in the binary, scripts and style without their comments.

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
    ($path:expr, $content:expr, $content_type:expr) => {
        Part {
            path: $path,
            content_type: $content_type,
            content: $content,
            etag: LazyLock::new(|| answer::etag($content)),
        }
    };
}

/// A part as it stands in its file.
macro_rules! whole {
    ($file:literal, $content_type:expr) => {
        part!(
            $file,
            include_bytes!(concat!("../../www/", $file)),
            $content_type
        )
    };
}

/// A part without what is there for those who read its source.
macro_rules! lean {
    ($file:literal, $content_type:expr) => {
        lean!($file, $file, $content_type)
    };
    ($path:literal, $file:literal, $content_type:expr) => {{
        const SOURCE: &[u8] = include_bytes!(concat!("../../www/", $file));
        static CONTENT: [u8; lean::<0>(SOURCE).1] = lean(SOURCE).0;
        part!($path, &CONTENT, $content_type)
    }};
}

/// Leaves out indentation, empty lines and comments, a tenth of what the page weighs on the wire. A
/// comment is a line, or what follows ` // ` in one. Tells also how long the rest is.
const fn lean<const N: usize>(source: &[u8]) -> ([u8; N], usize) {
    let (mut left, mut length, mut at) = ([0; N], 0, 0);
    let (mut line_starts, mut line, mut comment) = (true, false, false);
    while at < source.len() {
        let byte = source[at];
        if line_starts && byte != b'\t' {
            line = has(source, at, b"//") || has(source, at, b"/*");
        }
        comment = line || (!line_starts && byte != b'\n' && (comment || has(source, at, b" // ")));
        let indents = line_starts && matches!(byte, b'\t' | b'\n');
        if !comment && !indents {
            if length < N {
                left[length] = byte;
            }
            length += 1;
        }
        line_starts = byte == b'\n' || indents;
        line = line && !line_starts;
        at += 1;
    }
    (left, length)
}

const fn has(source: &[u8], at: usize, sign: &[u8]) -> bool {
    let mut n = 0;
    while n < sign.len() && at + n < source.len() && source[at + n] == sign[n] {
        n += 1;
    }
    n == sign.len()
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

static PARTS: [Part; 16] = [
    lean!("", "index.html", "text/html; charset=utf-8"),
    lean!("chat.css", "text/css; charset=utf-8"),
    whole!("favicon.svg", "image/svg+xml"),
    whole!("favicon-unread.svg", "image/svg+xml"),
    whole!("icon.png", "image/png"),
    whole!("manifest.webmanifest", "application/manifest+json"),
    lean!("notify.js", SCRIPT),
    lean!("js/log.js", SCRIPT),
    lean!("js/main.js", SCRIPT),
    lean!("js/network.js", SCRIPT),
    lean!("js/start.js", SCRIPT),
    lean!("js/state.js", SCRIPT),
    lean!("js/text.js", SCRIPT),
    lean!("js/views.js", SCRIPT),
    lean!("js/words.js", SCRIPT),
    lean!("js/words.zh-Hans.js", SCRIPT),
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
