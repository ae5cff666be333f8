//! Every path and method, on one screen.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Body as HttpBody;
use hyper::header::{ACCEPT, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;
use tokio::time::sleep;

use super::body::Body;
use super::limits::{Allowance, Permit};
use super::page::Part;
use super::request::{Query, decode};
use super::site::Site;
use super::visitor::Visitor;
use super::{answer, bans, hook, me, messages, metrics, moderation, page, stream};
use crate::counters::Counters;
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
enum Route {
    Part(&'static Part),
    /// The prefix under which a chat is mounted, without a slash at its end.
    Prefix,
    /// `None` means the rooms in the query, or the default room.
    Chat(Option<RoomName>),
    Messages(RoomName),
    Message(RoomName, String),
    Hook(RoomName),
    Members(RoomName),
    Rooms,
    Me,
    Code,
    Moderator,
    Bans,
    Ban(String),
    Health,
    Metrics,
}

impl Route {
    fn of(path: &str) -> Result<Route, Refusal> {
        let room = |name: &str| {
            let name = decode(name).ok_or(Refusal::BadRoom)?;
            RoomName::parse(&name).map_err(|_| Refusal::BadRoom)
        };
        let segments: Vec<&str> = path.split('/').collect();
        match segments[..] {
            [""] => Ok(Route::Prefix),
            ["", "chat"] => Ok(Route::Chat(None)),
            ["", "chat", name] => Ok(Route::Chat(Some(room(name)?))),
            ["", "chat", name, "messages"] => room(name).map(Route::Messages),
            ["", "chat", name, "messages", id] if !id.is_empty() => {
                Ok(Route::Message(room(name)?, id.to_owned()))
            }
            ["", "chat", name, "hook"] => room(name).map(Route::Hook),
            ["", "chat", name, "members"] => room(name).map(Route::Members),
            ["", "rooms"] => Ok(Route::Rooms),
            ["", "me"] => Ok(Route::Me),
            ["", "me", "code"] => Ok(Route::Code),
            ["", "moderator"] => Ok(Route::Moderator),
            ["", "bans"] => Ok(Route::Bans),
            ["", "bans", author] if !author.is_empty() => Ok(Route::Ban(author.to_owned())),
            ["", "healthz"] => Ok(Route::Health),
            ["", "metrics"] => Ok(Route::Metrics),
            ["", ..] => page::part(&path[1..])
                .map(Route::Part)
                .ok_or(Refusal::NotFound),
            _ => Err(Refusal::NotFound),
        }
    }

    /// The room that the path names.
    fn room(&self) -> Option<&RoomName> {
        match self {
            Route::Chat(room) => room.as_ref(),
            Route::Messages(room)
            | Route::Message(room, _)
            | Route::Hook(room)
            | Route::Members(room) => Some(room),
            _ => None,
        }
    }

    fn allow(&self) -> &'static str {
        match self {
            Route::Chat(_) => "GET, POST",
            Route::Message(..) | Route::Ban(_) => "DELETE",
            Route::Hook(_) | Route::Code => "POST",
            Route::Moderator => "POST, DELETE",
            Route::Bans | Route::Me => "GET, HEAD, POST",
            _ => "GET, HEAD",
        }
    }

    /// What the route is called in the metrics.
    fn label(&self) -> &'static str {
        match self {
            Route::Part(_) | Route::Prefix => "page",
            Route::Chat(_) => "chat",
            Route::Messages(_) | Route::Message(..) => "messages",
            Route::Hook(_) => "hook",
            Route::Members(_) => "members",
            Route::Rooms => "rooms",
            Route::Me | Route::Code => "me",
            Route::Moderator => "moderator",
            Route::Bans | Route::Ban(_) => "bans",
            Route::Health => "healthz",
            Route::Metrics => "metrics",
        }
    }
}

/// Answers a request.
pub(crate) async fn answer<B: HttpBody>(site: &Arc<Site>, request: Request<B>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let route = head
        .uri
        .path()
        .strip_prefix(&*site.options.prefix)
        .ok_or(Refusal::NotFound)
        .and_then(Route::of);
    let label = route.as_ref().map_or("none", Route::label);
    let is_post_to_room =
        head.method == Method::POST && matches!(route, Ok(Route::Chat(_) | Route::Hook(_)));
    let result = match site.guard.preflight(&head) {
        Some(answered) => answered,
        None => dispatch(site, route, &head, body).await,
    };
    let mut response = result.unwrap_or_else(|refusal| {
        if is_post_to_room {
            *lock(&site.counters.refused)
                .entry(refusal.code())
                .or_default() += 1;
        }
        answer::refused(&refusal, navigates(&head, &refusal))
    });
    site.guard.seal(&head.headers, &mut response);
    let status = response.status();
    count(&site.counters, label, status);
    site.report
        .debug(format_args!("{} {label} {}", head.method, status.as_u16()));
    response
}

/// Lets a request in, and has it answered. All that an address has under way is counted here, be it a
/// stream, a body on its way or an answer that nobody takes, and what it reads.
async fn dispatch<B: HttpBody>(
    site: &Arc<Site>,
    route: Result<Route, Refusal>,
    head: &Parts,
    body: B,
) -> Result<Response<Body>, Refusal> {
    let visitor = &admit(site, &route, head)?;
    let mut permit = site.limits.begin(visitor.address)?;
    let is_static = matches!(route, Ok(Route::Part(_)));
    let reads = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS)
        && !matches!(route, Ok(Route::Health));
    let reading = Allowance::Reading(visitor.address);
    if reads
        && let Err(retry_after) = site
            .limits
            .spend(reading, REQUEST_BYTES, site.hub.clock().now())
    {
        sleep(REFUSAL_DELAY).await;
        return Err(Refusal::TooManyRequests { retry_after });
    }
    let mut response = respond(site, route?, head, body, visitor, &mut permit).await?;
    if reads {
        let bytes = response.body().size_hint().lower();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        site.limits.charge(reading, bytes, site.hub.clock().now());
        if !is_static {
            permit.answer(bytes)?;
        }
    }
    response.body_mut().hold(permit);
    Ok(response)
}

#[rustfmt::skip]
async fn respond<B: HttpBody>(
    site: &Arc<Site>,
    route: Route,
    head: &Parts,
    body: B,
    visitor: &Visitor,
    permit: &mut Permit,
) -> Result<Response<Body>, Refusal> {
    if let Some(room) = route.room() {
        site.offered_to(visitor, room.clone())?;
    }
    let get = Method::GET;
    let method = if head.method == Method::HEAD { &get } else { &head.method };
    match (method, route) {
        (&Method::GET, Route::Chat(room)) if head.method != Method::HEAD => stream::open(site, head, visitor, room, permit).await,
        (&Method::POST, Route::Chat(room)) => messages::post(site, head, body, visitor, &one_room(site, head, visitor, room)?).await,
        (&Method::GET, Route::Messages(room)) => messages::history(site, head, &room, permit).await,
        (&Method::DELETE, Route::Message(room, id)) => moderation::remove(site, head, visitor, &room, &id).await,
        (&Method::POST, Route::Hook(room)) => hook::post(site, head, body, visitor, &room).await,
        (&Method::GET, Route::Members(room)) => Ok(members(site, visitor, &room)),
        (&Method::GET, Route::Rooms) => Ok(rooms(site, visitor)),
        (&Method::GET, Route::Me) => Ok(me::tell(site, visitor)),
        (&Method::POST, Route::Me) => me::use_code(site, head, body, visitor).await,
        (&Method::POST, Route::Code) => me::give_code(site, head, body, visitor).await,
        (&Method::POST, Route::Moderator) => moderation::log_in(site, head, body, visitor).await,
        (&Method::DELETE, Route::Moderator) => moderation::log_out(site, visitor).await,
        (&Method::GET, Route::Bans) => bans::list(site, head, visitor),
        (&Method::POST, Route::Bans) => bans::add(site, head, body, visitor).await,
        (&Method::DELETE, Route::Ban(author)) => bans::lift(site, head, visitor, &author).await,
        (&Method::GET, Route::Part(part)) => Ok(page::serve(part, &head.headers)),
        (&Method::GET, Route::Prefix) => redirect(&format!("{}/", site.options.prefix)),
        (&Method::GET, Route::Health) => Ok(health(site)),
        (&Method::GET, Route::Metrics) => Ok(metrics::serve(site).await),
        (_, route) => Err(Refusal::MethodNotAllowed { allow: route.allow() }),
    }
}

fn admit(site: &Site, route: &Result<Route, Refusal>, head: &Parts) -> Result<Visitor, Refusal> {
    let reads = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let holds = match route {
        Ok(Route::Chat(_)) => head.method == Method::GET,
        Ok(Route::Messages(_)) => Query::of(&head.uri).has("wait"),
        _ => false,
    };
    let is_open = matches!(route, Ok(Route::Health));
    site.admit(head, !reads || holds, is_open)
}

/// The one room that a post is for.
fn one_room(
    site: &Site,
    head: &Parts,
    visitor: &Visitor,
    room: Option<RoomName>,
) -> Result<RoomName, Refusal> {
    let query = Query::of(&head.uri);
    match <[RoomName; 1]>::try_from(stream::rooms(site, visitor, query, room)?) {
        Ok([room]) => Ok(room),
        Err(_) => Err(Refusal::BadRequest("A message is sent to one room.")),
    }
}

/// Whether a person would read the refusal as a page: the browser navigates, and it is about who may
/// come in.
fn navigates(head: &Parts, refusal: &Refusal) -> bool {
    let accept = head.headers.get(ACCEPT).map(HeaderValue::as_bytes);
    let html = accept.is_some_and(|accept| accept.windows(9).any(|part| part == b"text/html"));
    html && matches!(refusal.parts().0, 401 | 403)
}

fn count(counters: &Counters, label: &'static str, status: StatusCode) {
    let requests = &mut *lock(&counters.requests);
    *requests.entry((label, status.as_u16())).or_default() += 1;
}

/// Moderators are told the authors too, in the order of the names: whom to ban who never spoke.
fn members(site: &Site, visitor: &Visitor, room: &RoomName) -> Response<Body> {
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

fn rooms(site: &Site, visitor: &Visitor) -> Response<Body> {
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

fn redirect(location: &str) -> Result<Response<Body>, Refusal> {
    let location = HeaderValue::from_str(location).map_err(|_| Refusal::NotFound)?;
    let mut response = answer::empty(StatusCode::PERMANENT_REDIRECT);
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}
