//! A self-hosted chat room server on raw hyper. People open a page, join a room and talk; every
//! message reaches everyone by Server-Sent Events (SSE) over plain HTTP, with no protocol upgrade.
//!
//! The program serves one chat. As a library, [`Chat`] is the same thing inside another program: a
//! [`hyper::service::Service`] to mount in a server of its own, which can also post and listen
//! without a request.
//!
//! # How to use it
//!
//! A chat mounted in a bare hyper server, beside the program's own routes, with a shutdown that leaves
//! nobody in the middle of an answer:
//!
//! ```
//! use chatroom::{Body, Chat, Options, PeerAddr};
//! use hyper::service::{Service, service_fn};
//! use hyper::{Request, Response, body::Incoming, server::conn::http1};
//! use hyper_util::rt::{TokioIo, TokioTimer};
//! use hyper_util::server::graceful::GracefulShutdown;
//! use std::{convert::Infallible, time::Duration};
//! use tokio::sync::oneshot;
//! use tokio::time::{sleep, timeout};
//!
//! async fn answer(chat: Chat, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
//!     match request.uri().path() {
//!         "/" => Ok(Response::new(Body::from("Come to /chat-room/!"))),
//!         _ => chat.call(request).await,
//!     }
//! }
//!
//! async fn serve(listener: tokio::net::TcpListener, chat: Chat, mut stop: oneshot::Receiver<()>) {
//!     let connections = GracefulShutdown::new();
//!     loop {
//!         let accepted = tokio::select! {
//!             accepted = listener.accept() => accepted,
//!             _ = &mut stop => break,
//!         };
//!         let Ok((stream, peer)) = accepted else {
//!             // Out of file descriptors, for example.
//!             sleep(Duration::from_millis(100)).await;
//!             continue;
//!         };
//!         let chat = chat.clone();
//!         let service = service_fn(move |mut request: Request<Incoming>| {
//!             // The chat's limits by address need to know who asks.
//!             request.extensions_mut().insert(PeerAddr(peer));
//!             answer(chat.clone(), request)
//!         });
//!         let connection = http1::Builder::new()
//!             .timer(TokioTimer::new())
//!             .serve_connection(TokioIo::new(stream), service);
//!         tokio::spawn(connections.watch(connection));
//!     }
//!     drop(listener);
//!     // Streams never end by themselves: the chat says goodbye on them. Then the connections are done.
//!     chat.close().await;
//!     let _ = timeout(Duration::from_secs(5), connections.shutdown()).await;
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut options = Options::default();
//! options.prefix = "/chat-room".to_owned();
//! let chat = Chat::open(options)?;
//! let listener = chatroom::bind("127.0.0.1:0".parse()?)?;
//! # let address = listener.local_addr()?;
//! let (stop, stopped) = oneshot::channel();
//! let server = tokio::spawn(serve(listener, chat, stopped));
//! # use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! # let ask = async |path: &str| -> std::io::Result<tokio::net::TcpStream> {
//! #     let mut client = tokio::net::TcpStream::connect(address).await?;
//! #     let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
//! #     client.write_all(request.as_bytes()).await?;
//! #     client.readable().await?;
//! #     Ok(client)
//! # };
//! # let mut stream = ask("/chat-room/chat").await?;
//! # for (path, part) in [("/", "Come to"), ("/chat-room/healthz", "\"ok\""), ("/x", "not-found")] {
//! #     let mut answer = String::new();
//! #     ask(path).await?.read_to_string(&mut answer).await?;
//! #     assert!(answer.contains(part), "{answer}");
//! # }
//! stop.send(()).expect("the server runs");
//! server.await?;
//! # let mut heard = String::new();
//! # stream.read_to_string(&mut heard).await?;
//! # assert!(heard.contains("server-closing"), "{heard}");
//! # Ok(()) }
//! ```
//!
//! For HTTP/2 beside HTTP/1.1, hyper-util's `auto` server (its feature `server-auto`) takes the place
//! of `http1`. The host of a request is then its `:authority`. Behind TLS, put [`Https`] into the
//! extensions beside [`PeerAddr`].
//!
//! In axum 0.8, a chat answers what no route of the program does:
//!
//! ```
//! use axum::extract::{ConnectInfo, Request};
//! use axum::{Router, routing::get};
//! use chatroom::{Chat, Options, PeerAddr};
//! use hyper::service::Service;
//! use std::net::SocketAddr;
//! use tokio::sync::oneshot;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut options = Options::default();
//! options.prefix = "/chat-room".to_owned();
//! let chat = Chat::open(options)?;
//! let closing = chat.clone();
//! let app = Router::new()
//!     .route("/", get(async || "Come to /chat-room/!"))
//!     .fallback(move |ConnectInfo(peer), mut request: Request| {
//!         request.extensions_mut().insert(PeerAddr(peer));
//!         chat.call(request)
//!     })
//!     .into_make_service_with_connect_info::<SocketAddr>();
//! let listener = chatroom::bind("127.0.0.1:0".parse()?)?;
//! let (stop, stopped) = oneshot::channel::<()>();
//! let server = axum::serve(listener, app).with_graceful_shutdown(async move {
//!     let _ = stopped.await;
//!     // axum waits for the connections, and the chat's streams never end by themselves.
//!     closing.close().await;
//! });
//! let server = tokio::spawn(async { server.await });
//! stop.send(()).expect("the server runs");
//! server.await??;
//! # Ok(()) }
//! ```
//!
//! With the Cargo feature `tower` a chat is a service of tower too, for `nest_service` and
//! `route_service`: see [`Chat`]. A program that has a runtime of its own leaves out the default feature
//! `server`, which brings tokio's threads and signals. `redis` and `redis-tls` make one chat of
//! [several servers](guide::servers).
//!
//! A program that knows its people says who sends each request. They are then the same on every device,
//! under fixed names, and each may have rooms of their own. Here a middleware of axum does that:
//!
//! ```
//! use axum::extract::{ConnectInfo, Request};
//! use axum::http::StatusCode;
//! use axum::middleware::{Next, from_fn};
//! use axum::response::{IntoResponse, Response};
//! use chatroom::{Chat, PeerAddr, User};
//! use hyper::service::Service;
//! use std::net::SocketAddr;
//!
//! /// However the program knows its people: here by a token.
//! fn person(token: &str) -> Option<User> {
//!     let (id, name, rooms) = match token {
//!         "token-of-ann" => ("u-1017", "Ann", "lobby sales"),
//!         "token-of-bob" => ("u-1018", "Bob", "lobby"),
//!         _ => return None,
//!     };
//!     let mut user = User::new(id, name).ok()?;
//!     user.rooms = Some(rooms.split(' ').flat_map(str::parse).collect());
//!     Some(user)
//! }
//!
//! async fn log_in(mut request: Request, next: Next) -> Response {
//!     let token = request.headers().get("x-token");
//!     let Some(user) = token.and_then(|token| person(token.to_str().ok()?)) else {
//!         return StatusCode::UNAUTHORIZED.into_response();
//!     };
//!     request.extensions_mut().insert(user);
//!     next.run(request).await
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! let chat = Chat::open(Default::default())?;
//! let chat = move |ConnectInfo(peer), mut request: Request| {
//!     request.extensions_mut().insert(PeerAddr(peer));
//!     chat.call(request)
//! };
//! let app = axum::Router::new().fallback(chat).layer(from_fn(log_in));
//! let app = app.into_make_service_with_connect_info::<SocketAddr>();
//! # use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! # let listener = chatroom::bind("127.0.0.1:0".parse().expect("an address"))?;
//! # let address = listener.local_addr()?;
//! # let server = tokio::spawn(async { axum::serve(listener, app).await });
//! # for (token, target, status, part) in [
//! #     ("token-of-ann", "/me", "200", "\"user\":\"Ann\""),
//! #     ("token-of-ann", "/chat/sales/messages", "200", "\"room\":\"sales\""),
//! #     ("token-of-bob", "/chat/sales/messages", "403", "room-not-offered"),
//! #     ("token-of-bob", "/rooms", "200", "[{\"room\":\"lobby\","),
//! #     ("token-of-eve", "/me", "401", ""),
//! # ] {
//! #     let mut client = tokio::net::TcpStream::connect(address).await?;
//! #     let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nX-Token: {token}\r\nConnection: close\r\n\r\n");
//! #     client.write_all(request.as_bytes()).await?;
//! #     let mut answer = String::new();
//! #     client.read_to_string(&mut answer).await?;
//! #     assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(part), "{answer}");
//! # }
//! # server.abort();
//! # Ok(()) }
//! ```
//!
//! A bot that answers where it is asked, under a name of its own:
//!
//! ```
//! use chatroom::{Chat, Heard};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let chat = Chat::open(Default::default())?;
//! let mut bot = chat.join(["lobby", "dev"], "echo", None).await?;
//! tokio::spawn(async move {
//!     while let Some(heard) = bot.next().await {
//!         if let Heard::Message(message) = heard
//!             && message.author != bot.author()
//!             && bot.post(&message.room, &message.text).await.is_err()
//!         {
//!             return;
//!         }
//!     }
//! });
//! let mut listener = chat.listen(["dev"], None).await?;
//! chat.post("dev", "alice", "Is there anybody?").await?;
//! let mut names = Vec::new();
//! while names.len() < 2 {
//!     if let Heard::Message(message) = listener.next().await.expect("the chat is open") {
//!         names.push(message.name);
//!     }
//! }
//! assert_eq!(names, ["alice", "echo"]);
//! # Ok(()) }
//! ```
//!
//! A program that writes down what is said goes on where it was, however it ended. [`Chat::listen`] begins
//! after a position, and every event has one:
//!
//! ```
//! use chatroom::{Chat, EventId, Heard};
//! use std::{fs::OpenOptions, io::{Read, Write}};
//!
//! async fn archive(chat: Chat, path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
//!     let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
//!     let mut lines = String::new();
//!     file.read_to_string(&mut lines)?;
//!     // A line without its break was being written when the program ended, and is written again.
//!     let whole = lines.rfind('\n').map_or(0, |end| end + 1);
//!     file.set_len(whole as u64)?;
//!     let last = lines[..whole].lines().last().and_then(|line| line.split(' ').next());
//!     let last: EventId = last.map(str::parse).transpose()?.unwrap_or_default();
//!     let mut listener = chat.listen(["lobby", "dev"], Some(last)).await?;
//!     while let Some(heard) = listener.next().await {
//!         let line = match heard {
//!             Heard::Message(message) => format!("{} {}\n", message.id, message.to_json()),
//!             Heard::Missed { id, rooms, .. } => format!("{id} some of {rooms:?} is missing\n"),
//!             _ => continue,
//!         };
//!         file.write_all(line.as_bytes())?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! A second chat under another prefix is a second [`Chat`], independent of the first.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use chatroom::{Chat, Options, Password};
//!
//! let mut options = Options::default();
//! options.prefix = "/guests".to_owned();
//! let guests = Chat::open(options.clone())?;
//! options.prefix = "/staff".to_owned();
//! options.password = Some(Password::new("between us")?);
//! let staff = Chat::open(options)?;
//! staff.post("lobby", "ann", "not for guests").await?;
//! let said = guests.post("lobby", "ann", "welcome").await?;
//! assert_eq!(said.room.as_str(), "lobby");
//! staff.close().await;
//! guests.close().await;
//! # Ok(()) }
//! ```
//!
//! # How it is built
//!
//! [`guide`] has the tour of the code, file by file.
//!
//! ## How a message travels
//!
//! 1. `server` accepts a connection and gives it to hyper, in a task of its own. The socket is
//!    wrapped, so that a client that takes nothing is noticed and cut.
//! 2. `http` finds the route, because the guard needs it, then asks the guard whether the request may
//!    come in (host, user, origin, password), and finds out who sends it: a user whom the program in front
//!    names, or a session. It checks bans, spends one of the sender's messages, and
//!    parses what was sent into checked types. Behind that edge a name with a line break in it cannot
//!    exist.
//! 3. `store` gives the draft its id and commits it: in memory at once, in the journal when it is
//!    written (and synced, where that is asked for). With its id, a draft becomes an entry, which is
//!    encoded once as the SSE frame that everyone gets.
//! 4. `rooms` publishes the entries by rising id: it retains each of them, and puts a pointer to its
//!    frame into the queue of every client of the room.
//! 5. Each client's body, which hyper polls in the client's own connection task, yields the bytes,
//!    and hyper writes everything that waits in one system call.
//!
//! Only then is the post answered: it has its id, and every queue has it.
//!
//! ## Who owns what
//!
//! ```text
//! Chat                      the service; two tasks for what is done in time
//! └─ Site                   guard, limits, sessions, standing (bans, moderators)
//!    ├─ Store               gives ids and commits: memory, or the journal's task and file
//!    └─ Hub                 one lock for all that follows; publishes by rising id
//!       ├─ Room             history (entries), members (names)
//!       │  └─ Queue…        a reference to the queue of each of its clients
//!       └─ Client           one for each stream: its memberships, and who it is to others
//!          └─ Queue         frames for one client, bounded in number and bytes
//!
//! Connection (server) ── hyper ── Body ── Stream ── Queue      the client's end
//! ```
//!
//! Two words are used strictly. A message is *stored* when the store has committed it: under the
//! conditions of the chosen store it survives a restart. It is *retained* as long as its room has it
//! in memory, where streams resume from and histories are read. A room *evicts* its oldest entries.
//!
//! ## Invariants
//!
//! - Nobody sees a message that was then refused. Ids rise across all rooms, and every client sees
//!   the events of its rooms by rising id: one id is a position in everything.
//! - What follows a position is the lowest id above it, over all rooms of the stream: an entry that is
//!   retained, or a room's low-water mark, at which the client is told that entries may be gone. So no
//!   gap is silent, and nothing comes twice.
//! - Joining takes the past, rosters and registrations in one step: no gap, no duplicate.
//! - A room never waits for a client and never skips a message for it. A client whose queue is full
//!   is behind: its body gives what is queued, then what follows its position, by itself.
//! - A lock is held for a few lines and never across an `.await`.
//! - Every queue, table, buffer and wait has a bound with a name, and so has the sum of what one
//!   address can hold.
//! - What a visitor sends never panics, and a panic ends one connection, not the server.
//!
//! ## What is left out on purpose
//!
//! TLS and HTTP/2 to browsers (a proxy does that better), WebSockets, accounts, editing, a database,
//! global state, `unsafe`.

#![forbid(unsafe_code)]

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

#[doc(hidden)]
pub mod cli;

mod server;

mod chat;

mod http;

mod rooms;
mod store;

mod author;
mod clock;
mod counters;
mod lock;
mod names;
mod options;
mod refusal;
mod report;
mod slab;

pub mod guide;

pub use author::Author;
pub use chat::Chat;
pub use chat::listener::{Heard, Listener, Member};
pub use chat::talk::Page;
pub use clock::{Clock, ManualClock};
pub use http::address::Network;
pub use http::body::Body;
pub use http::moderation::Moderator;
pub use http::visitor::{Https, PeerAddr, User};
pub use names::{MEMBER_NAME_CHARS, Malformed, MemberName, MessageText, ROOM_NAME_CHARS, RoomName};
#[cfg(feature = "redis")]
pub use options::RedisUrl;
pub use options::{Fsync, Options, Password};
pub use refusal::Refusal;
pub use report::{LogLevel, Reporter};
pub use rooms::entries::PageAt;
pub use rooms::id::EventId;
pub use rooms::message::Message;
pub use server::{bind, serve};
pub use store::bans::Ban;
