//! The user that the program in front names.

use hyper::http::request::Parts;

use super::super::address::client_origin;
use super::super::visitor::{User, peer_of};
use super::Guard;
use crate::refusal::Refusal;

/// Why a request names no user, as the log tells each of them once.
pub(super) const NO_USER: [&str; 4] = [
    "counts only from a trusted proxy",
    "is missing",
    "is there more than once",
    "is not UTF-8 that a name may hold, of 1 to 512 bytes",
];

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
            _ if !self.options.trusts(peer) => Err(0),
            (None, _) => Err(1),
            (Some(_), Some(_)) => Err(2),
            (Some(line), None) => User::from_header(line).map_err(|_| 3),
        };
        user.map(Some).map_err(|cause| {
            let (address, _) = client_origin(peer, &request.headers, &self.options.trusted_proxy);
            let log = || {
                self.options.log.info(format_args!(
                    "refused a request from {address}: {header} {}",
                    NO_USER[cause]
                ));
            };
            self.told[cause].call_once(log);
            Refusal::UserRequired
        })
    }
}
