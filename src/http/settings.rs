//! What the owner of a chat decides about its requests.

use std::net::IpAddr;

use super::password::Password;
use crate::names::RoomName;

/// How requests are served. `usize::MAX` means no limit.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The path under which the chat answers: empty, or with a leading slash and none at its end.
    pub(crate) prefix: String,
    /// The rooms on offer; if there are none, any.
    pub(crate) offered_rooms: Vec<RoomName>,
    /// The room of a path that names none.
    pub(crate) default_room: RoomName,
    pub(crate) max_streams: usize,
    pub(crate) max_streams_per_ip: usize,
    /// Bytes of one text, at most.
    pub(crate) max_message: usize,
    /// Messages per second that a sender may keep up; 0 means no limit.
    pub(crate) message_rate: f64,
    /// Accepted host names; if there are none, any.
    pub(crate) hosts: Vec<String>,
    /// Origins whose pages may read and post from elsewhere.
    pub(crate) origins: Vec<String>,
    /// Peers whose forwarded headers count.
    pub(crate) trusted_proxies: Vec<IpAddr>,
    /// What everyone is asked for.
    pub(crate) password: Option<Password>,
    /// What moderators know; it opens the door too.
    pub(crate) moderator_password: Option<Password>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            prefix: String::new(),
            offered_rooms: Vec::new(),
            default_room: RoomName::parse("lobby").expect("a valid name"),
            max_streams: 10_000,
            max_streams_per_ip: 100,
            max_message: 4_096,
            message_rate: 2.0,
            hosts: Vec::new(),
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            password: None,
            moderator_password: None,
        }
    }
}
