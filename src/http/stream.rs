//! Opening an event stream.

use hyper::Response;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, SET_COOKIE};

use super::answer::{self, Answer};
use super::body::Body;
use super::limits::{Allowance, Holding, Permit, streams_of};
use super::request::{Query, accepts};
use super::rooms;
use super::site::Site;
use super::visitor::Visitor;
use crate::names::RoomName;
use crate::refusal::Refusal;
use crate::rooms::frame::Frame;
use crate::rooms::limits::STREAM_ROOMS;
use crate::rooms::members::Claim;
use crate::rooms::stream::Start;

/// Past messages that a stream begins with if the request does not say.
const DEFAULT_HISTORY: u64 = 50;

/// Opens a stream of the room in the path, or of those in the query.
pub(crate) async fn open(
    site: &Site,
    visitor: &Visitor<'_>,
    room: Option<RoomName>,
    permit: &mut Permit,
) -> Answer {
    if site.is_draining() {
        return Err(Refusal::Draining);
    }
    let (headers, query) = (&visitor.head.headers, Query::of(&visitor.head.uri));
    let takes_part = query.has("name");
    if !accepts_event_stream(headers, takes_part) {
        return Err(Refusal::NotAcceptable);
    }
    let name = match takes_part {
        true => visitor.name_or(|| query.name())?,
        false => None,
    };
    let too_many = "A stream has at most 32 rooms.";
    let rooms = rooms::named(site, visitor, room, STREAM_ROOMS, too_many)?;
    let start = start(headers, query)?;
    if name.is_some() {
        site.check_ban(visitor)?;
    }
    let streams = streams_of(rooms.len());
    permit.take(Holding::Streams, streams)?;
    if let Some(name) = &name
        && !site.hub.owns(&rooms, name, visitor.author)
    {
        let opening = Allowance::Openings(visitor.address);
        let spent = site.limits.spend(opening, streams);
        spent.map_err(|retry_after| Refusal::TooManyStreamsOfAddress { retry_after })?;
    }
    let past = site.hub.past_bytes(&rooms, start);
    let reading = Allowance::Reading(visitor.address);
    site.limits.charge(reading, past);
    let (author, cookie) = match accepts_event_stream(headers, true) {
        true => {
            let (author, cookie) = site.identify(visitor);
            (Some(author), cookie)
        }
        // Perhaps a page of another site, or a link there: a cookie would replace the visitor's.
        false => (visitor.author, None),
    };
    let address = visitor.address.ip();
    let claim = name.zip(author).map(|(name, author)| Claim {
        name,
        author,
        address: Some(address),
    });
    if let Start::After(position) = start
        && site.store.reach(position).await.is_err()
    {
        // The client comes back by itself, perhaps to a server that has it.
        let end = Frame::server_closing("behind").bytes().clone();
        return Ok(event_stream(Body::whole(end)));
    }
    let _claiming = match &claim {
        Some(claim) => site.store.claim(&rooms, claim).await?,
        None => None,
    };
    let stream = site.hub.subscribe(&rooms, claim.clone(), author, start)?;
    if let Some(Claim { name, author, .. }) = claim {
        site.standing.seen.note(author, name, address);
        // A ban set since the first look may have come too early to end this stream.
        let allowed = site.check_ban(visitor);
        allowed.inspect_err(|_| site.expel_banned())?;
    }

    let mut response = event_stream(Body::stream(stream));
    let headers = response.headers_mut();
    cookie.map(|cookie| headers.insert(SET_COOKIE, cookie));
    Ok(response)
}

fn event_stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache, no-store, no-transform"),
        // nginx would hold events back until its buffer is full.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    answer::set_headers(&mut response, headers);
    response
}

/// Where the client asks to begin. An empty position is none: so says the HTML standard.
fn start(headers: &HeaderMap, query: Query<'_>) -> Result<Start, Refusal> {
    let history = query.number(
        "history",
        0..=u64::MAX,
        "history is how many messages to begin with: a whole number.",
    )?;
    let header = headers.get("last-event-id");
    let header = header.map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let header = header.filter(|id| !id.is_empty());
    let position = header.or_else(|| query.get_lossy("lastEventId"));
    Ok(match position.filter(|id| !id.is_empty()) {
        // One that cannot be read is before everything.
        Some(position) => Start::After(position.parse().unwrap_or_default()),
        None => {
            let history = history.unwrap_or(DEFAULT_HISTORY);
            Start::Latest(usize::try_from(history).unwrap_or(usize::MAX))
        }
    })
}

/// Whether the client accepts what we send (RFC 9110, section 12.5.1); `explicitly` if it has to
/// name the type, which another site's image or script cannot.
fn accepts_event_stream(headers: &HeaderMap, explicitly: bool) -> bool {
    let ranges = ["*/*", "text/*", "text/event-stream"];
    let ranges = if explicitly {
        &ranges[2..]
    } else {
        &ranges[..]
    };
    accepts(headers, ACCEPT, ranges) || !explicitly && !headers.contains_key(ACCEPT)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn is_accepted(accept: &[&str], explicitly: bool) -> bool {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_str(value).expect("a header"));
        }
        accepts_event_stream(&headers, explicitly)
    }

    #[test]
    fn accept() {
        for (good, explicitly) in [
            (&[][..], false),
            (&["*/*"], false),
            (&["text/*"], false),
            (&["TEXT/Event-Stream"], true),
            (&["text/html, */*;q=0.1"], false),
            (&["text/html", "text/event-stream"], true),
        ] {
            assert!(is_accepted(good, false), "{good:?}");
            assert_eq!(is_accepted(good, true), explicitly, "{good:?}");
        }
        for bad in [
            &["text/html"][..],
            &[""],
            &["text/event-stream;q=0"],
            &["text/event-stream;q=0, */*"],
            &["*/*; q=0.0"],
            &["application/json, text/plain"],
        ] {
            assert!(!is_accepted(bad, false), "{bad:?}");
        }
    }
}
