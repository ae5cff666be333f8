//! Every path and method, on one screen.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Body as HttpBody;
use hyper::header::{ACCEPT, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;
use tokio::time::sleep;

use super::answer::Answer;
use super::body::Body;
use super::limits::{Allowance, Holding, Permit};
use super::request::{Query, decode};
use super::site::Site;
use super::visitor::Visitor;
use super::{answer, bans, hook, me, messages, metrics, moderation, page, stream};
use crate::lock::lock;
use crate::names::RoomName;
use crate::refusal::Refusal;
use crate::rooms::frame::json_names;

/// What a request costs of what its address may read, beside the bytes of its answer.
const REQUEST_BYTES: u32 = 512;
/// How long a request of an address that reads too much waits until it is refused: so all that the
/// address can ask at a time costs little, however fast it asks.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// What a path means.
struct Route<'a> {
    name: &'static str,
    /// What it is called in the metrics.
    label: &'static str,
    /// The methods that it takes.
    allow: &'static str,
    /// The room that the path names.
    room: Option<RoomName>,
    /// What else the path names: a message, an author, or a part of the page.
    id: &'a str,
}

impl Route<'_> {
    #[rustfmt::skip]
    fn of(path: &str) -> Result<Route<'_>, Refusal> {
        let segments: Vec<&str> = path.split('/').collect();
        let (name, label, allow, room, id) = match segments[..] {
            // The prefix under which a chat is mounted, without a slash at its end.
            [""] => ("prefix", "page", "GET, HEAD", None, ""),
            ["", "chat"] => ("chat", "chat", "GET, POST", None, ""),
            ["", "chat", room] => ("chat", "chat", "GET, POST", Some(room), ""),
            ["", "chat", room, "messages"] => ("messages", "messages", "GET, HEAD", Some(room), ""),
            ["", "chat", room, "messages", id] if !id.is_empty() => ("message", "messages", "DELETE", Some(room), id),
            ["", "chat", room, "hook"] => ("hook", "hook", "POST", Some(room), ""),
            ["", "chat", room, "members"] => ("members", "members", "GET, HEAD", Some(room), ""),
            ["", "rooms"] => ("rooms", "rooms", "GET, HEAD", None, ""),
            ["", "me"] => ("me", "me", "GET, HEAD, POST", None, ""),
            ["", "me", "code"] => ("code", "me", "POST", None, ""),
            ["", "moderator"] => ("moderator", "moderator", "POST, DELETE", None, ""),
            ["", "bans"] => ("bans", "bans", "GET, HEAD, POST", None, ""),
            ["", "bans", author] if !author.is_empty() => ("ban", "bans", "DELETE", None, author),
            ["", "healthz"] => ("health", "healthz", "GET, HEAD", None, ""),
            ["", "metrics"] => ("metrics", "metrics", "GET, HEAD", None, ""),
            ["", ..] if page::part(&path[1..]).is_some() => ("part", "page", "GET, HEAD", None, &path[1..]),
            _ => return Err(Refusal::NotFound),
        };
        let parse = |room| RoomName::parse(&decode(room)?).ok();
        let parsed = room.map(|room| parse(room).ok_or(Refusal::BadRoom));
        Ok(Route { name, label, allow, room: parsed.transpose()?, id })
    }
}

/// Answers a request.
pub(crate) async fn answer<B: HttpBody>(site: &Arc<Site>, request: Request<B>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().strip_prefix(&*site.options.prefix);
    let route = path.ok_or(Refusal::NotFound).and_then(Route::of);
    let (name, label) = match &route {
        Ok(route) => (route.name, route.label),
        Err(_) => ("none", "none"),
    };
    let result = match site.guard.preflight(&head) {
        Some(answered) => answered,
        None => dispatch(site, route, &head, body).await,
    };
    let mut response = result.unwrap_or_else(|refusal| {
        if head.method == Method::POST && matches!(name, "chat" | "hook") {
            *lock(&site.hub.counters.refused)
                .entry(refusal.code())
                .or_default() += 1;
        }
        answer::refused(&refusal, navigates(&head, &refusal))
    });
    site.guard.seal(&head.headers, &mut response);
    let status = response.status().as_u16();
    let requests = &site.hub.counters.requests;
    *lock(requests).entry((label, status)).or_default() += 1;
    site.options
        .log
        .debug(format_args!("{} {label} {status}", head.method));
    response
}

/// Lets a request in, and has it answered. All that an address has under way is counted here, be it a
/// stream, a body on its way or an answer that nobody takes, and what it reads.
async fn dispatch<B: HttpBody>(
    site: &Arc<Site>,
    route: Result<Route<'_>, Refusal>,
    head: &Parts,
    body: B,
) -> Answer {
    let name = route.as_ref().map_or("none", |route| route.name);
    let is_open = name == "health";
    let reads = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let stays_open = match name {
        "chat" => head.method == Method::GET,
        "messages" => Query::of(&head.uri).has("wait"),
        _ => false,
    };
    let visitor = &site.admit(head, !reads || stays_open, is_open)?;
    // A health check does not count: its address may be that of somebody who has used up the limit.
    let mut permit = site.limits.begin(visitor.address, u32::from(!is_open))?;
    let reading = Allowance::Reading(visitor.address);
    let now = || site.hub.clock().now();
    // Whoever removes has to look for the message first.
    let counts = (reads || name == "message") && !is_open;
    if counts && let Err(retry_after) = site.limits.spend(reading, REQUEST_BYTES, now()) {
        sleep(REFUSAL_DELAY).await;
        return Err(Refusal::TooManyRequests { retry_after });
    }
    let mut response = respond(site, route?, visitor, body, &mut permit).await?;
    if counts {
        let bytes = response.body().size_hint().lower();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        site.limits.charge(reading, bytes, now());
        if name != "part" {
            permit.take(Holding::AnswerBytes, bytes)?;
        }
    }
    response.body_mut().hold(permit);
    Ok(response)
}

#[rustfmt::skip]
async fn respond<B: HttpBody>(
    site: &Arc<Site>,
    route: Route<'_>,
    visitor: &Visitor<'_>,
    body: B,
    permit: &mut Permit,
) -> Answer {
    if let Some(room) = &route.room {
        site.offered_to(visitor, room.clone())?;
    }
    let head = visitor.head;
    let method = match head.method.as_str() {
        "HEAD" if route.name != "chat" => "GET",
        method => method,
    };
    match (method, route.name, &route.room) {
        ("GET", "chat", _) => stream::open(site, visitor, route.room, permit).await,
        ("POST", "chat", _) => messages::post(site, visitor, &one_room(site, visitor, route.room)?, body).await,
        ("GET", "messages", Some(room)) => messages::history(site, head, room, permit).await,
        ("DELETE", "message", Some(room)) => moderation::remove(site, visitor, room, route.id).await,
        ("POST", "hook", Some(room)) => hook::post(site, visitor, room, body).await,
        ("GET", "members", Some(room)) => Ok(members(site, visitor, room)),
        ("GET", "rooms", _) => Ok(rooms(site, visitor)),
        ("GET", "me", _) => Ok(me::tell(site, visitor)),
        ("POST", "me", _) => me::use_code(site, visitor, body).await,
        ("POST", "code", _) => me::give_code(site, visitor, body).await,
        ("POST", "moderator", _) => moderation::log_in(site, visitor, body).await,
        ("DELETE", "moderator", _) => moderation::log_out(site, visitor).await,
        ("GET", "bans", _) => bans::list(site, visitor),
        ("POST", "bans", _) => bans::add(site, visitor, body).await,
        ("DELETE", "ban", _) => bans::lift(site, visitor, route.id).await,
        ("GET", "part", _) => Ok(page::serve(page::part(route.id).ok_or(Refusal::NotFound)?, &head.headers)),
        ("GET", "prefix", _) => redirect(&format!("{}/", site.options.prefix)),
        ("GET", "health", _) => Ok(health(site)),
        ("GET", "metrics", _) => Ok(metrics::serve(site).await),
        _ => Err(Refusal::MethodNotAllowed { allow: route.allow }),
    }
}

/// The one room that a post is for.
fn one_room(
    site: &Site,
    visitor: &Visitor<'_>,
    room: Option<RoomName>,
) -> Result<RoomName, Refusal> {
    let too_many = Refusal::BadRequest("A message is sent to one room.");
    let mut rooms = stream::rooms(site, visitor, room, 1, too_many.clone())?;
    rooms.pop().ok_or(too_many)
}

/// Whether a person would read the refusal as a page: the browser navigates, and it is about who may
/// come in.
fn navigates(head: &Parts, refusal: &Refusal) -> bool {
    let accept = head.headers.get(ACCEPT).map(HeaderValue::as_bytes);
    let html = accept.is_some_and(|accept| accept.windows(9).any(|part| part == b"text/html"));
    html && matches!(refusal.parts().0, 401 | 403)
}

/// Moderators are told the authors too, in the order of the names: whom to ban who never spoke.
fn members(site: &Site, visitor: &Visitor<'_>, room: &RoomName) -> Response<Body> {
    let (members, census) = site.hub.members(room);
    let mut answer = format!(
        r#"{{"room":{},"members":{},{}"#,
        Value::from(room.as_str()),
        json_names(members.iter().map(|(name, _)| name)),
        census.json_members()
    );
    if visitor.is_moderator {
        let authors = members.iter().map(|(_, author)| author.to_string());
        answer += &format!(r#","authors":{}"#, Value::from_iter(authors));
    }
    answer::json(StatusCode::OK, answer + "}")
}

fn rooms(site: &Site, visitor: &Visitor<'_>) -> Response<Body> {
    let own = visitor.rooms.as_ref();
    let summaries = site.hub.summaries(own.unwrap_or(&site.options.rooms));
    let rooms: Vec<String> = summaries
        .iter()
        .filter(|summary| !summary.room.is_by_link())
        .filter(|summary| site.offered_to(visitor, summary.room.clone()).is_ok())
        .map(|summary| {
            let last = Value::from(summary.newest.map(|id| id.milliseconds));
            let room = Value::from(summary.room.as_str());
            let census = summary.census.json_members();
            format!(r#"{{"room":{room},{census},"lastMessageAt":{last}}}"#)
        })
        .collect();
    let json = format!(r#"{{"rooms":[{}]}}"#, rooms.join(","));
    answer::json(StatusCode::OK, json)
}

fn health(site: &Site) -> Response<Body> {
    let unwell = StatusCode::SERVICE_UNAVAILABLE;
    if site.is_draining() {
        answer::json(unwell, r#"{"status":"draining"}"#)
    } else if let Some(trouble) = site.store.trouble() {
        answer::json(unwell, format!(r#"{{"status":"{}"}}"#, trouble.code()))
    } else {
        answer::json(StatusCode::OK, r#"{"status":"ok"}"#)
    }
}

fn redirect(location: &str) -> Answer {
    let location = HeaderValue::from_str(location).map_err(|_| Refusal::NotFound)?;
    let mut response = answer::empty(StatusCode::PERMANENT_REDIRECT);
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}
