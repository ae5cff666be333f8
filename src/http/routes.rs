//! Every path and method, on one screen.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hyper::body::Body as HttpBody;
use hyper::header::{HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

use super::body::{self, Body};
use super::error::Refusal;
use super::guard::Asked;
use super::page::{self, Part};
use super::query::{self, Query};
use super::service::Site;
use super::{messages, stream};
use crate::chat::message::{Quoted, QuotedList};
use crate::chat::names::RoomName;

/// The address that a request's connection comes from. An embedding server puts it into the
/// request's extensions; without it, all its clients count as one for the limits by address.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddr(pub SocketAddr);

/// What a path means.
enum Route {
    Part(&'static Part),
    /// The prefix under which a chat is mounted, without the slash that belongs behind it.
    Prefix,
    Room(RoomName),
    Messages(RoomName),
    Members(RoomName),
    Rooms,
    Health,
    Metrics,
}

impl Route {
    fn of(path: &str, site: &Site) -> Result<Route, Refusal> {
        let room = |name: &str| {
            let name = query::decode(name).map_err(|_| Refusal::BadRoom)?;
            site.offered(RoomName::parse(&name).map_err(|_| Refusal::BadRoom)?)
        };
        if path.is_empty() {
            return Ok(Route::Prefix);
        }
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments[..] {
            ["chat"] => Ok(Route::Room(site.settings.default_room.clone())),
            ["chat", name] => room(name).map(Route::Room),
            ["chat", name, "messages"] => room(name).map(Route::Messages),
            ["chat", name, "members"] => room(name).map(Route::Members),
            ["rooms"] => Ok(Route::Rooms),
            ["healthz"] => Ok(Route::Health),
            ["metrics"] => Ok(Route::Metrics),
            ["js", _] => page::part(&path[1..])
                .map(Route::Part)
                .ok_or(Refusal::NotFound),
            [file] => page::part(file).map(Route::Part).ok_or(Refusal::NotFound),
            _ => Err(Refusal::NotFound),
        }
    }

    fn allow(&self) -> &'static str {
        match self {
            Route::Room(_) => "GET, POST",
            _ => "GET, HEAD",
        }
    }

    /// What the route is called in the metrics.
    fn label(&self) -> &'static str {
        match self {
            Route::Part(_) | Route::Prefix => "page",
            Route::Room(_) => "chat",
            Route::Messages(_) => "messages",
            Route::Members(_) => "members",
            Route::Rooms => "rooms",
            Route::Health => "healthz",
            Route::Metrics => "metrics",
        }
    }
}

/// Answers a request whose path, without the chat's `prefix`, is known to the routes.
pub(crate) async fn answer<B>(site: &Arc<Site>, prefix: &str, request: Request<B>) -> Response<Body>
where
    B: HttpBody,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let route = head
        .uri
        .path()
        .strip_prefix(prefix)
        .filter(|path| path.is_empty() || path.starts_with('/'))
        .ok_or(Refusal::NotFound)
        .and_then(|path| Route::of(path, site));
    let label = route.as_ref().map_or("none", Route::label);
    let posting = head.method == Method::POST && label == "chat";
    let result = match site.guard.preflight(&head) {
        Some(answered) => answered,
        None => dispatch(site, prefix, route, &head, body).await,
    };
    let mut response = result.unwrap_or_else(|refusal| {
        if posting {
            site.metrics.refused(refusal);
        }
        refusal.response()
    });
    site.guard.seal(&head.headers, &mut response);
    let status = response.status();
    site.metrics.request(label, status);
    site.report
        .debug(format_args!("{} {label} {}", head.method, status.as_u16()));
    response
}

async fn dispatch<B>(
    site: &Arc<Site>,
    prefix: &str,
    route: Result<Route, Refusal>,
    head: &Parts,
    body: B,
) -> Result<Response<Body>, Refusal>
where
    B: HttpBody,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let visitor = site.guard.admit(
        head,
        peer(head),
        asked(&route, head),
        site.hub.clock().now(),
    )?;
    match (&head.method, route?) {
        (&Method::GET | &Method::HEAD, Route::Part(part)) => {
            Ok(page::serve(site, part, &head.headers, visitor))
        }
        (&Method::GET | &Method::HEAD, Route::Prefix) => redirect(&format!("{prefix}/")),
        (&Method::GET, Route::Room(room)) => stream::open(site, head, visitor, &room),
        (&Method::POST, Route::Room(room)) => {
            messages::post(site, head, body, visitor, &room).await
        }
        (&Method::GET | &Method::HEAD, Route::Messages(room)) => {
            messages::history(site, head, visitor, &room).await
        }
        (&Method::GET | &Method::HEAD, Route::Members(room)) => Ok(members(site, &room)),
        (&Method::GET | &Method::HEAD, Route::Rooms) => Ok(rooms(site)),
        (&Method::GET | &Method::HEAD, Route::Health) => Ok(health(site)),
        (&Method::GET | &Method::HEAD, Route::Metrics) => Ok(site.metrics.serve(site)),
        (_, route) => Err(Refusal::MethodNotAllowed {
            allow: route.allow(),
        }),
    }
}

fn peer(head: &Parts) -> IpAddr {
    head.extensions
        .get()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |PeerAddr(peer)| {
            peer.ip()
        })
}

fn asked(route: &Result<Route, Refusal>, head: &Parts) -> Asked {
    let reads = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
    // Who streams under a name appears to the others under it.
    let appears = matches!(route, Ok(Route::Room(_))) && Query::of(&head.uri).has("name");
    Asked {
        changes_state: !reads || appears,
        open: matches!(route, Ok(Route::Health)),
    }
}

fn members(site: &Site, room: &RoomName) -> Response<Body> {
    let (names, census) = site.hub.look(room).present();
    let json = format!(
        r#"{{"room":{},"members":{},{}}}"#,
        Quoted(room.as_str()),
        QuotedList(&names),
        census.json_members()
    );
    body::json(StatusCode::OK, json)
}

fn rooms(site: &Site) -> Response<Body> {
    let mut summaries = site.hub.summaries();
    for offered in &site.settings.rooms {
        if !summaries.iter().any(|summary| summary.room == *offered) {
            summaries.push(site.hub.look(offered).summary());
        }
    }
    let rooms: Vec<String> = summaries
        .iter()
        .map(|summary| {
            let last = summary
                .newest
                .map_or("null".to_owned(), |id| id.milliseconds.to_string());
            let room = Quoted(summary.room.as_str());
            format!(
                r#"{{"room":{room},{},"lastMessageAt":{last}}}"#,
                summary.census.json_members()
            )
        })
        .collect();
    body::json(
        StatusCode::OK,
        format!(r#"{{"rooms":[{}]}}"#, rooms.join(",")),
    )
}

fn health(site: &Site) -> Response<Body> {
    match site.is_draining() {
        false => body::json(StatusCode::OK, r#"{"status":"ok"}"#),
        true => body::json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#),
    }
}

fn redirect(location: &str) -> Result<Response<Body>, Refusal> {
    let location = HeaderValue::from_str(location).map_err(|_| Refusal::NotFound)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}
