//! The user that the program in front names.

use hyper::http::request::Parts;

use super::super::address::client_origin;
use super::super::visitor::{User, peer_of};
use super::Guard;
use crate::lock::lock;
use crate::refusal::Refusal;

impl Guard {
    /// The user: named by the embedding program, or by a trusted proxy where `user_header` is set.
    pub(crate) fn user(&self, request: &Parts) -> Result<Option<User>, Refusal> {
        let named = request.extensions.get::<User>();
        let header = match (named, &self.options.user_header) {
            (None, Some(header)) => header,
            _ => return Ok(named.cloned()),
        };
        let peer = peer_of(request);
        let mut lines = request.headers.get_all(header).iter();
        let user = match (lines.next(), lines.next()) {
            _ if !self.options.trusts(peer) => Err("counts only from a trusted proxy"),
            (None, _) => Err("is missing"),
            (Some(_), Some(_)) => Err("is there more than once"),
            (Some(line), None) => User::from_header(line)
                .map_err(|_| "is not UTF-8 that a name may hold, of 1 to 512 bytes"),
        };
        user.map(Some).map_err(|cause| {
            if lock(&self.told).insert(cause) {
                let trusted = &self.options.trusted_proxy;
                let (address, _) = client_origin(peer, &request.headers, trusted);
                self.options.log.info(format_args!(
                    "refused a request from {address}: {header} {cause}"
                ));
            }
            Refusal::UserRequired
        })
    }
}
