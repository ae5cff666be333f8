//! A self-hosted chat room server on raw hyper. People open a page, join a room and talk; every
//! message reaches everyone by Server-Sent Events (SSE) over plain HTTP, with no protocol upgrade.
//!
//! The program serves one chat. As a library, [`Chat`] is the same thing inside another program: a
//! [`hyper::service::Service`] to mount in a server of its own, with a way to post and to listen
//! without a request.
//!
//! # What a message goes through
//!
//! 1. `server` accepts a connection and gives it to hyper, in a task of its own. The socket is
//!    wrapped, so that a client that takes nothing is noticed and cut.
//! 2. `http` asks the guard whether the request may come in (host, origin, password), finds the
//!    route, spends one of the sender's messages, and parses what was sent into checked types.
//!    Behind that edge a name with a line break in it cannot exist.
//! 3. `log` commits the draft and gives it its id: in memory at once, in the journal when it is
//!    written (and synced, where that is asked for).
//! 4. `chat` encodes the message once, as the SSE frame that everyone gets; under the lock of its
//!    room it puts it into the history and a pointer to it into the queue of every client.
//! 5. Each client's body, which hyper polls in the client's own connection task, yields the bytes,
//!    and hyper writes all that waits in one system call.
//!
//! Only then is the post answered: it has its id, and every queue has it.
//!
//! # Invariants
//!
//! - Nobody sees a message that was then refused; every client sees the messages of a room in one
//!   order, by rising id.
//! - Joining takes backlog, roster and place among the clients in one step: no gap, no repeat.
//! - A room never waits for a client and never skips a message for it. A client whose queue is full
//!   loses its place; its body gives what is queued, then joins again by itself from its last id.
//!   Where the history no longer reaches that far back, the client is told so in the stream.
//! - A lock is held for a few lines and never across an `.await`.
//! - Every queue, table, buffer and wait has a bound with a name.
//! - What a visitor sends never panics, and a panic ends one connection, not the server.
//!
//! # What is left out on purpose
//!
//! TLS and HTTP/2 (a proxy does that better), WebSockets, accounts, editing and deleting, a
//! database, global state, `unsafe`.
//!
//! # Embedding
//!
//! A chat mounted in a bare hyper server, beside the program's own routes:
//!
//! ```
//! use chatroom::{Chat, PeerAddr};
//! use hyper::service::{Service, service_fn};
//! use hyper::{Request, body::Incoming, server::conn::http1};
//! use hyper_util::rt::{TokioIo, TokioTimer};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! let chat = Chat::builder().prefix("/chat-room").build()?;
//! let listener = chatroom::bind("127.0.0.1:0".parse().expect("an address"))?;
//! # let address = listener.local_addr()?;
//! let server = tokio::spawn(async move {
//!     loop {
//!         let Ok((stream, peer)) = listener.accept().await else { continue };
//!         let chat = chat.clone();
//!         let service = service_fn(move |mut request: Request<Incoming>| {
//!             // The chat's limits by address need to know who asks.
//!             request.extensions_mut().insert(PeerAddr(peer));
//!             // Your own routes would come first; what is left is the chat's.
//!             chat.call(request)
//!         });
//!         let connection = http1::Builder::new()
//!             .timer(TokioTimer::new())
//!             .serve_connection(TokioIo::new(stream), service);
//!         tokio::spawn(connection);
//!     }
//! });
//! # use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! # let mut client = tokio::net::TcpStream::connect(address).await?;
//! # client.write_all(b"GET /chat-room/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
//! # let mut answer = String::new();
//! # client.read_to_string(&mut answer).await?;
//! # assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
//! # server.abort();
//! # Ok(()) }
//! ```
//!
//! A bot that answers, with a name of its own:
//!
//! ```
//! use chatroom::{Chat, Heard};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let chat = Chat::builder().build()?;
//! let mut bot = chat.join("lobby", "echo")?;
//! tokio::spawn(async move {
//!     while let Some(heard) = bot.next().await {
//!         if let Heard::Message(message) = heard
//!             && message.name.as_str() != "echo"
//!             && bot.post(message.text.as_str()).await.is_err()
//!         {
//!             return;
//!         }
//!     }
//! });
//! let mut listener = chat.listen("lobby")?;
//! chat.post("lobby", "alice", "Is there anybody?").await?;
//! for name in ["alice", "echo"] {
//!     let Some(Heard::Message(message)) = listener.next().await else { panic!("nothing heard") };
//!     assert_eq!((message.name.as_str(), message.text.as_str()), (name, "Is there anybody?"));
//! }
//! # Ok(()) }
//! ```
//!
//! A second chat under another prefix is a second [`Chat`]: the two know nothing of each other.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use chatroom::Chat;
//!
//! let staff = Chat::builder().prefix("/staff").password("between us")?.build()?;
//! let guests = Chat::builder().prefix("/guests").build()?;
//! staff.post("lobby", "ann", "not for guests").await?;
//! let said = guests.post("lobby", "ann", "welcome").await?;
//! assert_eq!(said.room.as_str(), "lobby");
//! staff.close().await;
//! guests.close().await;
//! # Ok(()) }
//! ```

#![forbid(unsafe_code)]

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

#[doc(hidden)]
pub mod cli;

mod server;

mod chat;
mod config;
mod listener;

mod http;

mod rooms;
mod store;

mod counters;
mod refusal;
mod report;
mod slab;

pub mod guide;

pub use chat::Chat;
pub use config::Builder;
pub use http::body::Body;
pub use http::moderation::Moderator;
pub use http::routes::{Https, PeerAddr};
pub use listener::{Heard, Listener, Rooms};
pub use refusal::Refusal;
pub use report::LogLevel;
pub use rooms::author::Author;
pub use rooms::clock::{Clock, ManualClock};
pub use rooms::id::{EventId, UnreadableId};
pub use rooms::message::Message;
pub use rooms::names::{
    BadText, IdempotencyKey, KEY_CHARS, MEMBER_NAME_CHARS, Malformed, MemberName, MessageText,
    ROOM_NAME_CHARS, RoomName,
};
pub use server::{bind, serve};
pub use store::journal::Fsync;
