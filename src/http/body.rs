//! Bodies: those we send, and reading those we get.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Buf, Bytes, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use hyper::{Response, StatusCode};
use tokio::time::timeout;

use super::error::Refusal;
use super::stream::EventStream;

/// How long the body of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How much more of a body that is too long is read before it is refused, in bytes: a client that
/// is still sending when its connection closes may see a reset in place of the answer.
const DRAIN_BYTES: usize = 256 * 1024;
/// How long that reading may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The body of an answer: whole, or an event stream.
pub struct Body(Kind);

enum Kind {
    Whole(Full<Bytes>),
    Stream(EventStream),
}

impl Body {
    /// A body without anything in it.
    pub(crate) fn empty() -> Body {
        Body::whole(Bytes::new())
    }

    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
        Body(Kind::Whole(Full::new(bytes.into())))
    }

    pub(crate) fn stream(stream: EventStream) -> Body {
        Body(Kind::Stream(stream))
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.0, Kind::Stream(_))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Kind::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Kind::Stream(stream) => stream
                .poll_next(cx)
                .map(|bytes| Some(Ok(Frame::data(bytes?)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(whole) => whole.is_end_stream(),
            Kind::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(whole) => whole.size_hint(),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}

/// An answer in JSON, which nobody is to keep.
pub(crate) fn json(status: StatusCode, json: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::whole(json));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer that may be kept and asked about: 304 where the client has it already.
pub(crate) fn tagged(
    request: &HeaderMap,
    content_type: &'static str,
    etag: &HeaderValue,
    content: Bytes,
) -> Response<Body> {
    let known = request
        .get_all(IF_NONE_MATCH)
        .iter()
        .any(|tags| admits(tags, etag));
    let mut response = Response::new(if known {
        Body::empty()
    } else {
        Body::whole(content)
    });
    let headers = response.headers_mut();
    headers.insert(ETAG, etag.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

/// The weak comparison of RFC 9110, section 13.1.2.
fn admits(tags: &HeaderValue, etag: &HeaderValue) -> bool {
    let tags = tags.to_str().unwrap_or_default();
    tags.split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag.as_bytes() == etag.as_bytes())
}

/// A tag that changes with the content.
pub(crate) fn etag(content: &[u8]) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Reads a request's body, `max_bytes` at most.
pub(crate) async fn read<B>(
    body: B,
    max_bytes: usize,
    expects_continue: bool,
) -> Result<Bytes, Refusal>
where
    B: HttpBody,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = pin!(body);
    let announced = body.size_hint().lower();
    if announced > max_bytes as u64 {
        if !expects_continue {
            drain(body).await;
        }
        return Err(Refusal::TooLarge);
    }
    let read = timeout(
        BODY_TIMEOUT,
        Limited::new(body.as_mut(), max_bytes).collect(),
    )
    .await;
    match read.map_err(|_| Refusal::Timeout)? {
        Ok(read) => Ok(read.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            drain(body).await;
            Err(Refusal::TooLarge)
        }
        Err(_) => Err(Refusal::BadRequest(
            "The body broke off or was not well-formed: send it again.",
        )),
    }
}

async fn drain<B: HttpBody>(mut body: Pin<&mut B>) {
    let reading = async {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            left = match left.checked_sub(frame.data_ref().map_or(0, |data| data.remaining())) {
                Some(left) => left,
                None => return,
            };
        }
    };
    // Who sends slower than that may see a reset.
    let _ = timeout(DRAIN_TIMEOUT, reading).await;
}
