//! The event stream: from a request for it to the bytes of its body.

use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE,
};
use hyper::http::request::Parts;

use super::body::Body;
use super::error::Refusal;
use super::gate::WriteGate;
use super::guard::Visitor;
use super::limits::StreamPermit;
use super::query::Query;
use super::service::Site;
use super::session;
use crate::chat::frame::Frame;
use crate::chat::history::Start;
use crate::chat::members::Claim;
use crate::chat::names::{MemberName, RoomName};
use crate::chat::subscription::Subscription;

/// Past messages that a stream begins with where it does not say.
const DEFAULT_HISTORY: u64 = 50;
/// Bytes that are given before they are to be written. hyper keeps the buffer that it once needed
/// for as long as the client stays, so a long backlog goes by pieces; a burst of some twenty
/// messages still leaves in one write.
const BATCH_BYTES: u32 = 6 * 1024;
/// Characters of an unreadable position that are told back.
const ECHOED_CHARS: usize = 64;

const HEADERS: [(HeaderName, &str); 3] = [
    (CONTENT_TYPE, "text/event-stream"),
    (CACHE_CONTROL, "no-cache, no-store, no-transform"),
    // nginx would hold the events back until its buffer is full.
    (HeaderName::from_static("x-accel-buffering"), "no"),
];

/// Opens a stream of a room.
pub(crate) fn open(
    site: &Arc<Site>,
    head: &Parts,
    visitor: Visitor,
    room: &RoomName,
) -> Result<Response<Body>, Refusal> {
    if site.is_draining() {
        return Err(Refusal::Draining);
    }
    if !admits_event_stream(&head.headers) {
        return Err(Refusal::NotAcceptable);
    }
    let query = Query::of(&head.uri);
    let name = match query.get("name") {
        Some(name) => Some(
            MemberName::parse(&name.map_err(|_| Refusal::BadName)?)
                .map_err(|_| Refusal::BadName)?,
        ),
        None => None,
    };
    let start = start(&head.headers, query)?;
    let permit = site.streams.open(visitor.address)?;
    let gate = head.extensions.get::<WriteGate>().cloned();
    if let Some(gate) = &gate {
        gate.lasts_until_departure();
    }
    let session = visitor.session.unwrap_or_else(|| site.sessions.issue());
    let claim = name.map(|name| Claim { name, session });
    let subscription = site.hub.subscribe(room, claim, &start)?;

    let mut response = Response::new(Body::stream(EventStream::new(subscription, permit, gate)));
    let headers = response.headers_mut();
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    if visitor.session.is_none() {
        session::set_cookie(session, visitor.https)
            .map(|cookie| headers.insert(SET_COOKIE, cookie));
    }
    Ok(response)
}

/// Where the client asks to begin. An empty position is none: so says the HTML standard.
fn start(headers: &HeaderMap, query: Query<'_>) -> Result<Start, Refusal> {
    let history = query.number(
        "history",
        "history is how many messages to begin with: a whole number.",
    )?;
    let header = headers
        .get("last-event-id")
        .map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let position = header
        .filter(|id| !id.is_empty())
        .or_else(|| query.get_lossy("lastEventId").filter(|id| !id.is_empty()));
    Ok(match position.map(|id| id.parse().map_err(|_| id)) {
        Some(Ok(id)) => Start::After(id),
        Some(Err(unreadable)) => Start::Unreadable(unreadable.chars().take(ECHOED_CHARS).collect()),
        None => {
            Start::Latest(usize::try_from(history.unwrap_or(DEFAULT_HISTORY)).unwrap_or(usize::MAX))
        }
    })
}

/// Whether the client takes what we send (RFC 9110, section 12.5.1).
fn admits_event_stream(headers: &HeaderMap) -> bool {
    let mut ranges = headers
        .get_all(ACCEPT)
        .iter()
        .flat_map(|accept| accept.to_str().unwrap_or_default().split(','))
        .peekable();
    if ranges.peek().is_none() {
        return true;
    }
    // The most specific range that fits decides.
    let mut best = (0, false);
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let specific = match parts
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase()
            .as_str()
        {
            "text/event-stream" => 3,
            "text/*" => 2,
            "*/*" => 1,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let wanted = quality.is_none_or(|q| q.parse::<f32>().is_ok_and(|q| q > 0.0));
        if specific > best.0 {
            best = (specific, wanted);
        }
    }
    best.1
}

/// The body of a stream: frames of the room as they come, heartbeats among them, and a goodbye when
/// the server closes.
///
/// hyper asks for bytes until there are none, and writes all it got at once: so frames that wait
/// together leave in one system call. When the client goes, hyper drops this, and with it the
/// client's place in the room.
pub(crate) struct EventStream {
    subscription: Subscription,
    _permit: StreamPermit,
    gate: Option<WriteGate>,
    /// Bytes given since the last pause.
    given: u32,
    said_goodbye: bool,
}

impl EventStream {
    fn new(
        subscription: Subscription,
        permit: StreamPermit,
        gate: Option<WriteGate>,
    ) -> EventStream {
        EventStream {
            subscription,
            _permit: permit,
            gate,
            given: 0,
            said_goodbye: false,
        }
    }

    /// The next bytes of the body; `None` at its end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.said_goodbye {
            return Poll::Ready(None);
        }
        if self.gate.as_ref().is_some_and(|gate| !gate.admits()) {
            self.given = 0;
            return Poll::Pending;
        }
        if self.given >= BATCH_BYTES {
            self.given = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let bytes = match self.subscription.poll_next(cx) {
            Poll::Ready(Some(frame)) => frame.bytes().clone(),
            Poll::Ready(None) => {
                self.said_goodbye = true;
                Frame::server_closing().bytes().clone()
            }
            Poll::Pending => {
                self.given = 0;
                return Poll::Pending;
            }
        };
        self.given = self
            .given
            .saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        Poll::Ready(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(accept: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_str(value).expect("a header"));
        }
        admits_event_stream(&headers)
    }

    #[test]
    fn accept() {
        for good in [
            &[][..],
            &["*/*"],
            &["text/*"],
            &["TEXT/Event-Stream"],
            &["text/html, */*;q=0.1"],
            &["text/html", "text/event-stream"],
        ] {
            assert!(admits(good), "{good:?}");
        }
        for bad in [
            &["text/html"][..],
            &[""],
            &["text/event-stream;q=0"],
            &["text/event-stream;q=0, */*"],
            &["*/*; q=0.0"],
            &["application/json, text/plain"],
        ] {
            assert!(!admits(bad), "{bad:?}");
        }
    }
}
