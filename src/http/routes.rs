//! Every path and method, on one screen.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Body as HttpBody;
use hyper::header::{ACCEPT, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use tokio::time::sleep;

use super::answer::Answer;
use super::body::Body;
use super::limits::{Allowance, Holding, Permit};
use super::page::Part;
use super::request::{Query, decode};
use super::site::Site;
use super::visitor::Visitor;
use super::{answer, bans, hook, me, messages, metrics, moderation, page, rooms, stream};
use crate::lock::lock;
use crate::names::RoomName;
use crate::refusal::Refusal;
use Resource as R;

/// What a request costs of what its address may read, beside the bytes of its answer.
const REQUEST_BYTES: u32 = 512;
/// How long a request of an address that reads too much waits until it is refused: so all that the
/// address can ask at a time costs little, however fast it asks.
const REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// What a path names.
enum Resource<'a> {
    Chat(Option<RoomName>),
    Messages(RoomName),
    /// A message, by its id.
    Message(RoomName, &'a str),
    Hook(RoomName),
    Members(RoomName),
    Rooms,
    Me,
    Code,
    Moderator,
    Bans,
    /// The ban of an author.
    Ban(&'a str),
    Health,
    Metrics,
    /// The page, or a part of it.
    Part(&'static Part),
    /// The prefix under which a chat is mounted, without a slash at its end.
    Prefix,
    /// Nothing, for this reason.
    Nothing(Refusal),
}

/// What a path names, with its line of the table.
struct Route<'a> {
    resource: Resource<'a>,
    /// What it is called in the metrics.
    label: &'static str,
    /// The methods that it takes.
    allow: &'static str,
}

impl Route<'_> {
    #[rustfmt::skip]
    fn of(path: &str) -> Result<Route<'_>, Refusal> {
        let room = |name| rooms::parse(decode(name));
        let segments: Vec<&str> = path.split('/').collect();
        let (resource, label, allow) = match segments[..] {
            [""] => (R::Prefix, "page", "GET, HEAD"),
            ["", "chat"] => (R::Chat(None), "chat", "GET, POST"),
            ["", "chat", name] => (R::Chat(Some(room(name)?)), "chat", "GET, POST"),
            ["", "chat", name, "messages"] => (R::Messages(room(name)?), "messages", "GET, HEAD"),
            ["", "chat", name, "messages", id] if !id.is_empty() => (R::Message(room(name)?, id), "messages", "DELETE"),
            ["", "chat", name, "hook"] => (R::Hook(room(name)?), "hook", "POST"),
            ["", "chat", name, "members"] => (R::Members(room(name)?), "members", "GET, HEAD"),
            ["", "rooms"] => (R::Rooms, "rooms", "GET, HEAD"),
            ["", "me"] => (R::Me, "me", "GET, HEAD, POST"),
            ["", "me", "code"] => (R::Code, "me", "POST"),
            ["", "moderator"] => (R::Moderator, "moderator", "POST, DELETE"),
            ["", "bans"] => (R::Bans, "bans", "GET, HEAD, POST"),
            ["", "bans", author] if !author.is_empty() => (R::Ban(author), "bans", "DELETE"),
            ["", "healthz"] => (R::Health, "healthz", "GET, HEAD"),
            ["", "metrics"] => (R::Metrics, "metrics", "GET, HEAD"),
            ["", ..] => (R::Part(page::part(&path[1..]).ok_or(Refusal::NotFound)?), "page", "GET, HEAD"),
            _ => return Err(Refusal::NotFound),
        };
        Ok(Route { resource, label, allow })
    }

    /// The room that the path names.
    #[rustfmt::skip]
    fn room(&self) -> Option<&RoomName> {
        match &self.resource {
            R::Chat(room) => room.as_ref(),
            R::Messages(room) | R::Message(room, _) | R::Hook(room) | R::Members(room) => Some(room),
            _ => None,
        }
    }
}

/// Answers a request.
pub(crate) async fn answer<B: HttpBody>(site: &Arc<Site>, request: Request<B>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().strip_prefix(&*site.options.prefix);
    let route = path.ok_or(Refusal::NotFound).and_then(Route::of);
    let route = route.unwrap_or_else(|refusal| Route {
        resource: R::Nothing(refusal),
        label: "none",
        allow: "",
    });
    let result = match site.guard.preflight(&head) {
        Some(answered) => answered,
        None => dispatch(site, &route, &head, body).await,
    };
    let mut response = result.unwrap_or_else(|refusal| {
        if head.method == Method::POST && matches!(route.resource, R::Chat(_) | R::Hook(_)) {
            *lock(&site.hub.counters.refused)
                .entry(refusal.code())
                .or_default() += 1;
        }
        answer::refused(&refusal, navigates(&head, &refusal))
    });
    answer::add_fixed_headers(&mut response);
    site.guard.share(&head.headers, &mut response);
    let status = response.status().as_u16();
    let requests = &site.hub.counters.requests;
    *lock(requests).entry((route.label, status)).or_default() += 1;
    site.options
        .log
        .debug(format_args!("{} {} {status}", head.method, route.label));
    response
}

/// Lets a request in, and has it answered. All that an address has under way is counted here, be it a
/// stream, a body on its way or an answer that nobody takes, and what it reads.
async fn dispatch<B: HttpBody>(
    site: &Arc<Site>,
    route: &Route<'_>,
    head: &Parts,
    body: B,
) -> Answer {
    let is_public = matches!(route.resource, R::Health);
    let reads = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let stays_open = match route.resource {
        R::Chat(_) => head.method == Method::GET,
        R::Messages(_) => Query::of(&head.uri).has("wait"),
        _ => false,
    };
    let visitor = &site.admit(head, !reads || stays_open, is_public)?;
    // A health check does not count: its address may be that of somebody who has used up the limit.
    let mut permit = site.limits.begin(visitor.address, u32::from(!is_public))?;
    let reading = Allowance::Reading(visitor.address);
    // Whoever removes has to look for the message first.
    let counts = (reads || matches!(route.resource, R::Message(..))) && !is_public;
    if counts && let Err(retry_after) = site.limits.spend(reading, REQUEST_BYTES) {
        sleep(REFUSAL_DELAY).await;
        return Err(Refusal::TooManyRequests { retry_after });
    }
    let mut response = respond(site, route, visitor, body, &mut permit).await?;
    if counts {
        let bytes = response.body().size_hint().lower();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        site.limits.charge(reading, bytes);
        if !matches!(route.resource, R::Part(_)) {
            permit.take(Holding::AnswerBytes, bytes)?;
        }
    }
    response.body_mut().hold(permit);
    Ok(response)
}

#[rustfmt::skip]
async fn respond<B: HttpBody>(
    site: &Arc<Site>,
    route: &Route<'_>,
    visitor: &Visitor<'_>,
    body: B,
    permit: &mut Permit,
) -> Answer {
    if let Some(room) = route.room() {
        site.check_offered_to(visitor, room)?;
    }
    let head = visitor.head;
    let method = match head.method.as_str() {
        "HEAD" if !matches!(route.resource, R::Chat(_)) => "GET",
        method => method,
    };
    match (method, &route.resource) {
        ("GET", R::Chat(room)) => stream::open(site, visitor, room.clone(), permit).await,
        ("POST", R::Chat(room)) => messages::post(site, visitor, room.clone(), body).await,
        ("GET", R::Messages(room)) => messages::history(site, head, room, permit).await,
        ("DELETE", R::Message(room, id)) => moderation::remove(site, visitor, room, id).await,
        ("POST", R::Hook(room)) => hook::post(site, visitor, room, body).await,
        ("GET", R::Members(room)) => Ok(rooms::members(site, visitor, room)),
        ("GET", R::Rooms) => Ok(rooms::list(site, visitor)),
        ("GET", R::Me) => Ok(me::tell(site, visitor)),
        ("POST", R::Me) => me::use_code(site, visitor, body).await,
        ("POST", R::Code) => me::give_code(site, visitor, body).await,
        ("POST", R::Moderator) => moderation::log_in(site, visitor, body).await,
        ("DELETE", R::Moderator) => moderation::log_out(site, visitor).await,
        ("GET", R::Bans) => bans::list(site, visitor),
        ("POST", R::Bans) => bans::add(site, visitor, body).await,
        ("DELETE", R::Ban(author)) => bans::lift(site, visitor, author).await,
        ("GET", R::Health) => Ok(metrics::health(site)),
        ("GET", R::Metrics) => Ok(metrics::serve(site).await),
        ("GET", R::Part(part)) => Ok(page::serve(part, &head.headers)),
        ("GET", R::Prefix) => page::redirect(&site.options.prefix),
        (_, R::Nothing(refusal)) => Err(refusal.clone()),
        _ => Err(Refusal::MethodNotAllowed { allow: route.allow }),
    }
}

/// Whether a person would read the refusal as a page: the browser navigates, and it is about who may
/// come in.
fn navigates(head: &Parts, refusal: &Refusal) -> bool {
    let accept = head.headers.get(ACCEPT).map(HeaderValue::as_bytes);
    let html = accept.is_some_and(|accept| accept.windows(9).any(|part| part == b"text/html"));
    html && matches!(refusal.parts().0, 401 | 403)
}
