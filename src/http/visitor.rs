//! Who a visitor is, found out once for each request and in one place. Behind it there is an address
//! and perhaps an author, and no difference in how they came to be.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::header::HeaderValue;
use hyper::http::request::Parts;

use super::address::{ClientAddress, client_origin};
use super::moderation::Moderator;
use super::site::Site;
use crate::author::Author;
use crate::refusal::Refusal;

/// The address that a request's connection comes from. An embedding server puts it into the
/// request's extensions; without it, all its clients count as one for the limits by address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PeerAddr(pub SocketAddr);

/// An embedding server puts this into the extensions of a request that came over TLS: the session
/// cookie is then marked `Secure`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Https;

/// In the extensions of a request whose connection ends at a loopback address of this machine.
#[derive(Clone, Copy)]
pub(crate) struct OverLoopback;

/// The sender of a request, as far as it is known.
#[derive(Clone)]
pub(crate) struct Visitor {
    pub(crate) address: ClientAddress,
    /// Whether the request came over TLS.
    pub(crate) https: bool,
    /// Who the visitor is to others; `None` without a session.
    pub(crate) author: Option<Author>,
    /// By its session, by HTTP Basic, or because the program in front says so.
    pub(crate) is_moderator: bool,
}

impl Site {
    /// Makes all checks in front of a route, and finds out who has sent the request.
    ///
    /// What changes something that others see, or holds something open, may not be done unseen by
    /// another site's page. What is open needs no password and works under any host name: a load
    /// balancer or a container checks the server's health by whatever address it has.
    pub(crate) fn admit(
        &self,
        head: &Parts,
        changes_state: bool,
        is_open: bool,
    ) -> Result<Visitor, Refusal> {
        let (guard, extensions) = (&self.guard, &head.extensions);
        let peer = extensions.get::<PeerAddr>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let (address, https) = client_origin(peer, &head.headers, &self.options.trusted_proxy);
        let host = guard.check_host(head, is_open)?;
        let session = self.sessions.of(&head.headers);
        let mut visitor = Visitor {
            address,
            https: https || extensions.get::<Https>().is_some(),
            author: session.map(|session| self.author(session)),
            is_moderator: extensions.get::<Moderator>().is_some(),
        };
        if changes_state {
            guard.check_origin(&head.headers, host)?;
        }
        if !is_open {
            guard.check_door(&head.headers, &visitor)?;
        }
        visitor.is_moderator |= visitor
            .author
            .is_some_and(|author| self.has_logged_in(author))
            || guard.is_moderator(&head.headers, &visitor);
        Ok(visitor)
    }

    /// Who a visitor is to others. One without a session gets one, with the cookie returned.
    pub(crate) fn identify(
        &self,
        head: &Parts,
        visitor: &Visitor,
    ) -> (Author, Option<HeaderValue>) {
        if let Some(author) = visitor.author {
            return (author, None);
        }
        let session = self.sessions.issue();
        let author = self.author(session);
        self.guard.remember(&head.headers, author);
        (author, self.sessions.set_cookie(session, visitor.https))
    }
}
