//! A self-hosted chat room server on raw hyper: people open a page, join a room and talk, and every
//! message reaches everyone by Server-Sent Events over plain HTTP.

#![forbid(unsafe_code)]

pub mod options;

mod server;

mod embed;

mod http;

mod chat;
mod log;

mod report;

pub use chat::clock::{Clock, ManualClock};
pub use chat::id::{EventId, UnreadableId};
pub use chat::message::Message;
pub use chat::names::{
    BadText, IdempotencyKey, KEY_CHARS, MEMBER_NAME_CHARS, Malformed, MemberName, MessageText,
    ROOM_NAME_CHARS, RoomName,
};
pub use embed::{Builder, Chat, Heard, Listener, Refused};
pub use http::body::Body;
pub use http::routes::PeerAddr;
pub use log::journal::Fsync;
pub use report::LogLevel;
pub use server::{bind, serve};
