//! Opening an event stream.

use hyper::Response;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE,
};

use super::answer::Answer;
use super::body::Body;
use super::limits::{Allowance, Holding, Permit, streams_of};
use super::request::{Query, admits, decode_value};
use super::site::Site;
use super::visitor::Visitor;
use crate::names::RoomName;
use crate::refusal::Refusal;
use crate::rooms::frame::Frame;
use crate::rooms::limits::STREAM_ROOMS;
use crate::rooms::members::Claim;
use crate::rooms::stream::Start;

/// Parameters that name the rooms of a request, at most: each room may be named twice.
const ROOM_PARAMETERS: usize = 2 * STREAM_ROOMS;
/// Past messages that a stream begins with if the request does not say.
const DEFAULT_HISTORY: u64 = 50;

const HEADERS: [(HeaderName, &str); 3] = [
    (CONTENT_TYPE, "text/event-stream"),
    (CACHE_CONTROL, "no-cache, no-store, no-transform"),
    // nginx would hold events back until its buffer is full.
    (HeaderName::from_static("x-accel-buffering"), "no"),
];

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
    let too_many = Refusal::BadRequest("A stream has at most 32 rooms.");
    let rooms = rooms(site, visitor, room, STREAM_ROOMS, too_many)?;
    let start = start(headers, query)?;
    if name.is_some() {
        site.check_ban(visitor)?;
    }
    let streams = streams_of(rooms.len());
    permit.take(Holding::Streams, streams)?;
    let now = site.hub.clock().now();
    if let Some(name) = &name
        && !site.hub.owns(&rooms, name, visitor.author)
    {
        let opening = Allowance::Openings(visitor.address);
        let spent = site.limits.spend(opening, streams, now);
        spent.map_err(|retry_after| Refusal::TooManyStreamsOfAddress { retry_after })?;
    }
    let past = site.hub.past_bytes(&rooms, start);
    let reading = Allowance::Reading(visitor.address);
    site.limits.charge(reading, past, now);
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
    let headers = HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value)));
    response.headers_mut().extend(headers);
    response
}

/// The rooms of a request, each once, in the order asked for. More than `most` are refused.
pub(crate) fn rooms(
    site: &Site,
    visitor: &Visitor<'_>,
    in_path: Option<RoomName>,
    most: usize,
    too_many: Refusal,
) -> Result<Vec<RoomName>, Refusal> {
    let (mut sent, mut rooms) = (Vec::new(), Vec::new());
    for (n, name) in Query::of(&visitor.head.uri).raw("room").enumerate() {
        let is_new = !sent.contains(&name);
        if n == ROOM_PARAMETERS || is_new && sent.len() == most {
            return Err(too_many);
        }
        if !is_new {
            continue;
        }
        sent.push(name);
        let name = decode_value(name).ok_or(Refusal::BadRoom)?;
        let room = RoomName::parse(&name).map_err(|_| Refusal::BadRoom)?;
        if !rooms.contains(&room) {
            rooms.push(room);
        }
    }
    if let Some(room) = in_path {
        if !rooms.is_empty() {
            return Err(Refusal::BadRequest(
                "Name the rooms in the path or in the query, not in both.",
            ));
        }
        rooms.push(room);
    }
    if rooms.is_empty() {
        let own = visitor.rooms.as_ref().and_then(|rooms| rooms.first());
        rooms.push(own.cloned().unwrap_or_else(|| site.options.default_room()));
    }
    let offered = rooms.into_iter().map(|room| site.offered_to(visitor, room));
    offered.collect()
}

/// Where the client asks to begin. An empty position is none: so says the HTML standard.
fn start(headers: &HeaderMap, query: Query<'_>) -> Result<Start, Refusal> {
    let history = query.number(
        "history",
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

/// Whether the client accepts what we send (RFC 9110, section 12.5.1); `by_name` if it has to name
/// the type, which another site's image or script cannot.
fn accepts_event_stream(headers: &HeaderMap, by_name: bool) -> bool {
    let ranges = ["*/*", "text/*", "text/event-stream"];
    let ranges = if by_name { &ranges[2..] } else { &ranges[..] };
    admits(headers, ACCEPT, ranges) || !by_name && !headers.contains_key(ACCEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(accept: &[&str], by_name: bool) -> bool {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_str(value).expect("a header"));
        }
        accepts_event_stream(&headers, by_name)
    }

    #[test]
    fn accept() {
        for (good, by_name) in [
            (&[][..], false),
            (&["*/*"], false),
            (&["text/*"], false),
            (&["TEXT/Event-Stream"], true),
            (&["text/html, */*;q=0.1"], false),
            (&["text/html", "text/event-stream"], true),
        ] {
            assert!(accepts(good, false), "{good:?}");
            assert_eq!(accepts(good, true), by_name, "{good:?}");
        }
        for bad in [
            &["text/html"][..],
            &[""],
            &["text/event-stream;q=0"],
            &["text/event-stream;q=0, */*"],
            &["*/*; q=0.0"],
            &["application/json, text/plain"],
        ] {
            assert!(!accepts(bad, false), "{bad:?}");
        }
    }
}
