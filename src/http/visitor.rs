//! Who a visitor is, found out once for each request and in one place: a *user* whom the program in
//! front names, or else a session. Behind this file both are an author, perhaps with a fixed name or with
//! rooms of their own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::header::HeaderValue;
use hyper::http::request::Parts;

use super::address::{ClientAddress, client_origin};
use super::guard::GivenPassword;
use super::moderation::Moderator;
use super::site::Site;
use crate::author::{Author, SessionId};
use crate::names::{Malformed, MemberName, RoomName};
use crate::refusal::Refusal;

/// The address that a request's connection comes from. An embedding server puts it into the
/// request's extensions; without it, all its clients count as one for the limits by address, and the log
/// says so once.
///
/// ```
/// let peer = std::net::SocketAddr::from(([192, 0, 2, 7], 50_000));
/// let mut request = hyper::Request::new(String::new());
/// request.extensions_mut().insert(chatroom::PeerAddr(peer));
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeerAddr(pub SocketAddr);

/// An embedding server puts this into the extensions of a request that came over TLS: the session
/// cookie is then marked `Secure`, so that browsers send it over TLS alone.
///
/// ```
/// let mut request = hyper::Request::new(String::new());
/// request.extensions_mut().insert(chatroom::Https);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Https;

/// Who sends a request, where the program in front of the chat knows its users. An embedding server puts
/// it into the request's extensions.
///
/// A user is the same on every device and has one name in all rooms. No cookie is set or read, no
/// password is asked for, and the `Authorization` header is not read.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut ann = chatroom::User::new("u-1017", "Ann")?;
/// ann.rooms = Some(vec!["lobby".parse()?, "sales".parse()?]);
/// let mut request = hyper::Request::get("/chat/sales/messages").body(String::new())?;
/// request.extensions_mut().insert(ann);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct User {
    /// Who it is, whatever the name: what one id wrote is one author's, in later runs too.
    pub id: String,
    /// The name of all that the user does here.
    pub name: MemberName,
    /// The only rooms that there are for this user, the first of which is the one that `/chat` means;
    /// `None` means all.
    pub rooms: Option<Vec<RoomName>>,
}

impl User {
    /// A user who has all rooms.
    ///
    /// # Errors
    /// Nobody can have this name.
    pub fn new(id: impl Into<String>, name: impl AsRef<str>) -> Result<User, Malformed> {
        Ok(User {
            id: id.into(),
            name: MemberName::parse(name.as_ref())?,
            rooms: None,
        })
    }

    pub(super) fn from_header(line: &HeaderValue) -> Result<User, Malformed> {
        let id = str::from_utf8(line.as_bytes()).map_err(|_| Malformed)?;
        let id = id.trim_matches([' ', '\t']);
        Ok(User {
            id: id.to_owned(),
            name: MemberName::of_user(id)?,
            rooms: None,
        })
    }
}

/// In the extensions of a request whose connection ends at a loopback address of this machine.
#[derive(Clone, Copy)]
pub(crate) struct OverLoopback;

/// The sender of a request, as far as it is known, and what was asked.
pub(crate) struct Visitor<'a> {
    pub(super) head: &'a Parts,
    pub(crate) address: ClientAddress,
    /// Whether the request came over TLS.
    pub(crate) https: bool,
    /// Who the visitor is to others; `None` of one who is no user and has no session.
    pub(crate) author: Option<Author>,
    /// What the cookie holds; a user's is not read.
    pub(crate) session: Option<SessionId>,
    /// A user's name, which stands in all that the visitor does.
    pub(crate) name: Option<MemberName>,
    /// The only rooms that there are for the visitor.
    pub(crate) rooms: Option<Vec<RoomName>>,
    pub(crate) is_moderator: bool,
    /// What came by HTTP Basic. A user's is not read: the header belongs to the program in front.
    pub(super) password: Option<GivenPassword>,
}

impl<'a> Visitor<'a> {
    /// One of whom nothing is known.
    fn unknown(head: &'a Parts) -> Visitor<'a> {
        Visitor {
            head,
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED).into(),
            https: false,
            author: None,
            session: None,
            name: None,
            rooms: None,
            is_moderator: false,
            password: None,
        }
    }

    /// The program itself, whom no ban of an address touches, or one of its listeners.
    pub(crate) fn program(author: Option<Author>, head: &'a Parts) -> Visitor<'a> {
        Visitor {
            author,
            is_moderator: true,
            ..Visitor::unknown(head)
        }
    }

    /// The name to take part under: the visitor's own, whatever is given, or the one given.
    pub(super) fn name_or(
        &self,
        given: impl FnOnce() -> Result<Option<MemberName>, Refusal>,
    ) -> Result<Option<MemberName>, Refusal> {
        self.name.clone().map_or_else(given, |name| Ok(Some(name)))
    }
}

impl Site {
    /// Makes all checks in front of a route, and finds out who has sent the request.
    ///
    /// What changes something that others see, or holds something open, may not be done unseen by
    /// another site's page. What is public needs no password and works under any host name: a load
    /// balancer or a container checks the server's health by whatever address it has.
    pub(crate) fn admit<'a>(
        &self,
        head: &'a Parts,
        changes_state: bool,
        is_public: bool,
    ) -> Result<Visitor<'a>, Refusal> {
        let (guard, options, headers) = (&self.guard, &self.options, &head.headers);
        if head.extensions.get::<PeerAddr>().is_none() {
            self.unaddressed.call_once(|| {
                self.options.log.error(format_args!(
                    "requests come without PeerAddr: the limits by address take all clients for one"
                ));
            });
        }
        let (address, https) = client_origin(peer_of(head), headers, &options.trusted_proxy);
        let host = guard.check_host(head, is_public)?;
        let user = if is_public { None } else { guard.user(head)? };
        let mut visitor = Visitor {
            address,
            https: https || head.extensions.get::<Https>().is_some(),
            is_moderator: head.extensions.get::<Moderator>().is_some(),
            ..Visitor::unknown(head)
        };
        if let Some(user) = user {
            visitor.author = Some(self.authors.of_user(&user.id));
            visitor.is_moderator |= options.moderators.contains(&user.id);
            (visitor.name, visitor.rooms) = (Some(user.name), user.rooms);
        } else {
            visitor.session = self.sessions.of(headers);
            visitor.author = visitor.session.map(|session| self.authors.author(session));
            visitor.password = guard.password_in(headers);
        }
        if changes_state {
            guard.check_origin(headers, host)?;
        }
        if !is_public {
            guard.check_door(&visitor)?;
        }
        let has_logged_in = |author| self.has_logged_in(author);
        visitor.is_moderator |=
            visitor.author.is_some_and(has_logged_in) || guard.is_moderator(&visitor);
        Ok(visitor)
    }

    /// Who a visitor is to others. One without a session gets one, with the cookie returned.
    pub(crate) fn identify(&self, visitor: &Visitor<'_>) -> (Author, Option<HeaderValue>) {
        if let Some(author) = visitor.author {
            return (author, None);
        }
        let session = self.sessions.issue();
        let author = self.authors.author(session);
        if let Some(given) = visitor.password
            && self.options.password.is_some()
        {
            // It has opened the door.
            self.guard.remember(author, given);
        }
        (author, self.sessions.set_cookie(session, visitor.https))
    }
}

/// Where a request's connection comes from.
pub(super) fn peer_of(head: &Parts) -> IpAddr {
    let peer = head.extensions.get::<PeerAddr>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    peer.to_canonical()
}
