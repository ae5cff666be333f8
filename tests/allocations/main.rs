//! The allocations per message, counted: they do not grow with the number of clients, because a
//! message is encoded once, and what a client needs was allocated when it joined.
//!
//! A test program of its own, since it counts the allocations of its whole process.

#[allow(
    dead_code,
    unused_imports,
    reason = "each test program uses a part of it"
)]
#[path = "../common/mod.rs"]
mod common;

use common::Change as _;
use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Mutex;

use chatroom::{Options, PageAt, PeerAddr};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes};
use hyper::service::Service;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Runtime;

use common::{Folder, PATIENCE, Request, Server, http, within};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Held by the test that runs: two at once would count each other's allocations.
static TURN: Mutex<()> = Mutex::new(());

const MESSAGES: usize = 200;
/// Messages before counting, until every buffer has grown to the size it needs.
const WARM_UP: usize = 20;
/// Heartbeats and changes of members may come in between. One allocation per delivery would be a
/// hundred times as many.
const DELIVERIES_PER_ALLOCATION: usize = 100;

#[test]
fn a_delivery_allocates_nothing() {
    let _turn = TURN.lock();
    let runtime = Runtime::new().expect("a runtime");
    for kind in ["memory", "journal"] {
        let [few, many] = [10, 60];
        let [with_few, with_many] = [few, many].map(|clients| {
            let folder = Folder::new();
            let server = runtime.block_on(Server::with(|chat| match kind {
                "journal" => chat.data(folder.path()),
                _ => chat,
            }));
            let allocations = allocations_of_messages(&runtime, &server, clients);
            runtime.block_on(server.stop());
            allocations
        });
        let deliveries = (many - few) * MESSAGES;
        println!(
            "{kind}: {:.1} allocations per message with {few} clients, {:.1} with {many}",
            with_few as f64 / MESSAGES as f64,
            with_many as f64 / MESSAGES as f64,
        );
        assert!(with_few >= MESSAGES, "{kind}: nothing was counted");
        assert!(
            with_many.saturating_sub(with_few) <= deliveries / DELIVERIES_PER_ALLOCATION,
            "{kind}: {MESSAGES} messages took {with_few} allocations with {few} clients, {with_many} with {many}"
        );
    }
}

/// Counts the allocations of this process while messages go one by one to all clients.
fn allocations_of_messages(runtime: &Runtime, server: &Server, clients: usize) -> usize {
    let mut audience: Vec<Client> = (0..clients)
        .map(|n| {
            let join = Request::get(&format!("/chat?name=client-{n}"));
            let mut client = Client::send(runtime, server, &join);
            client.wait_for(b"event: chat-room-connected");
            client
        })
        .collect();
    let post = Request::post_text("/chat?name=ann", "hello");
    let mut poster = Client::send(runtime, server, &post);
    poster.wait_for(b"HTTP/1.1 201 ");
    let post = post.to_bytes();
    let mut talk = |messages| {
        for _ in 0..messages {
            poster.socket.write_all(&post).expect("a post");
            poster.wait_for(b"HTTP/1.1 201 ");
            for client in &mut audience {
                client.wait_for(b"event: new-message");
            }
        }
    };
    talk(WARM_UP);
    let region = Region::new(ALLOCATOR);
    talk(MESSAGES);
    let change = region.change();
    change.allocations + change.reallocations
}

/// A connection that is read without allocating.
struct Client {
    socket: TcpStream,
    read: [u8; 4_096],
}

impl Client {
    fn send(runtime: &Runtime, server: &Server, request: &Request) -> Client {
        let socket = runtime.block_on(async {
            let mut client = common::Client::connect(server.address()).await;
            client.send(&request.to_bytes()).await;
            client.into_socket().into_std().expect("a socket")
        });
        socket.set_nonblocking(false).expect("a socket can block");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Client {
            socket,
            read: [0; 4_096],
        }
    }

    /// Reads until these bytes arrive. The server writes each event and response in one piece,
    /// which arrives as one.
    fn wait_for(&mut self, bytes: &[u8]) {
        loop {
            let read = self.socket.read(&mut self.read).expect("a response");
            assert!(read > 0, "the connection was closed");
            let new = &self.read[..read];
            if new.windows(bytes.len()).any(|part| part == bytes) {
                return;
            }
        }
    }
}

#[test]
fn all_clients_share_one_encoding() {
    let _turn = TURN.lock();
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let chat = Options::default().build().expect("a chat");
        let mut bodies = Vec::new();
        for _ in 0..3 {
            let request = hyper::Request::get("/chat")
                .header("host", "localhost")
                .extension(PeerAddr(SocketAddr::from(([127, 0, 0, 1], 1))))
                .body(Empty::<Bytes>::new())
                .expect("a request");
            let Ok(answer) = chat.call(request).await;
            bodies.push(Box::pin(answer.into_body()));
        }
        // Told who is there, they wait: what they get next comes alone.
        for body in &mut bodies {
            piece_with(body, "\"listenerCount\":3}").await;
        }
        chat.post("lobby", "ann", "hello").await.expect("posted");
        let mut copies = Vec::new();
        for body in &mut bodies {
            copies.push(piece_with(body, "event: new-message").await);
        }
        for copy in &copies {
            assert_eq!(copy.as_ptr(), copies[0].as_ptr());
        }
    });
}

/// The next piece of a body that has this in it.
async fn piece_with<B>(body: &mut Pin<Box<B>>, part: &str) -> Bytes
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    loop {
        let frame = within(part, body.frame()).await;
        let frame = frame.expect("a body").expect("a frame");
        let data = frame.into_data().expect("data");
        if http::find(&data, part.as_bytes()).is_some() {
            return data;
        }
    }
}

/// A name that cannot fit is refused for its bytes, and a room that is named again costs nothing more:
/// nobody works through thousands of characters for a request that comes to nothing.
#[test]
fn names_that_are_too_long_are_not_looked_into() {
    let _turn = TURN.lock();
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let chat = Options::default().build().expect("a chat");
        let bytes_of = async |target: String| {
            let request = hyper::Request::get(target)
                .header("host", "localhost")
                .header("accept", "text/event-stream")
                .body(Empty::<Bytes>::new())
                .expect("a request");
            let region = Region::new(ALLOCATOR);
            let Ok(answer) = chat.call(request).await;
            let change = region.change();
            (answer.status().as_u16(), change.bytes_allocated)
        };
        let again =
            |room: &str, times| format!("/chat?{}", vec![format!("room={room}"); times].join("&"));
        bytes_of("/chat/lobby".to_owned()).await;
        let (_, once) = bytes_of(again("%E1%BE%82", 1)).await;
        for (target, status) in [
            (format!("/chat/{}", "%E1%BE%82".repeat(5_000)), 400),
            (format!("/chat?name={}", "%E1%BE%82".repeat(5_000)), 400),
            (again(&"%E1%BE%82".repeat(5_000), 1), 400),
            (again("%E1%BE%82", 3_000), 400),
            (again("%E1%BE%82", 64), 200),
        ] {
            let sent = target.len();
            let (answered, bytes) = bytes_of(target).await;
            assert_eq!(answered, status);
            // It is decoded, which takes its size, and little more.
            assert!(bytes < once + 3 * sent, "{bytes} bytes for {sent}");
        }
    });
}

/// How names are compared takes long to work out for some, so it is done once, and nobody waits for it.
#[test]
fn a_name_is_folded_once_for_all_rooms() {
    let _turn = TURN.lock();
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let chat = Options::default().build().expect("a chat");
        let rooms: Vec<String> = (0..32).map(|n| format!("room=r{n}")).collect();
        let allocations_of = async |name: &str| {
            let name = common::encode(name);
            let request = hyper::Request::get(format!("/chat?{}&name={name}", rooms.join("&")))
                .header("host", "localhost")
                .header("accept", "text/event-stream")
                .body(Empty::<Bytes>::new())
                .expect("a request");
            let region = Region::new(ALLOCATOR);
            let Ok(answer) = chat.call(request).await;
            assert_eq!(answer.status(), 200);
            // It leaves all its rooms.
            drop(answer);
            region.change().allocations
        };
        allocations_of("warm-up").await;
        let plain = allocations_of("plain").await;
        // Each letter becomes three.
        let folded = allocations_of(&"\u{1fb7}".repeat(32)).await;
        println!("{plain} allocations, {folded} if the name is folded");
        assert!(folded < plain + 1_000, "{folded} instead of {plain}");
    });
}

const ROOMS: usize = 20;
const ROOM_BYTES: usize = 256 * 1024;

/// What rooms may hold is what they take of the system's memory, whatever is in them.
#[test]
fn rooms_that_are_full_take_what_they_may() {
    let _turn = TURN.lock();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    // Kept, so that nothing reuses their memory.
    let mut chats = Vec::new();
    for (bytes, key, removed) in [
        (10, None, false),
        (100, None, false),
        (100, Some(36), false),
        (4_000, Some(64), false),
        (10, None, true),
    ] {
        runtime.block_on(async {
            let options = common::unlimited().history_bytes(ROOM_BYTES).history(0);
            let chat = options.build().expect("a chat");
            // What earlier tests have freed is used up.
            for n in 0..ROOMS {
                fill(&chat, &format!("warm-up-{n}"), bytes, key, removed).await;
            }
            let before = resident();
            for n in 0..ROOMS {
                fill(&chat, &format!("room-{n}"), bytes, key, removed).await;
            }
            chats.push(chat);
            let taken = (resident() - before) as f64 / (ROOMS * ROOM_BYTES) as f64;
            println!(
                "texts of {bytes} bytes, keys of {key:?}, removed {removed}: {taken:.3} of what rooms may hold"
            );
            assert!((0.9..1.05).contains(&taken), "{taken:.3}");
        });
    }
}

/// Posts, and perhaps removes what was posted, until the room evicts.
async fn fill(chat: &chatroom::Chat, room: &str, bytes: usize, key: Option<usize>, removed: bool) {
    let text = "x".repeat(bytes);
    let first = chat.post(room, "ann", &text).await.expect("posted").id;
    for n in 0.. {
        let request = hyper::Request::post(format!("/chat/{room}?name=ann"))
            .header("host", "localhost")
            .header("content-type", "text/plain")
            .extension(PeerAddr(SocketAddr::from(([127, 0, 0, 1], 1))));
        let request = match key {
            Some(length) => request.header("idempotency-key", format!("{n:0length$}")),
            None => request,
        };
        let request = request.body(http_body_util::Full::<Bytes>::from(text.clone()));
        let Ok(answer) = chat.call(request.expect("a request")).await;
        assert_eq!(answer.status(), 201);
        if removed {
            let newest = chat.history(room, PageAt::End, 1).await;
            let newest = newest.expect("a room").messages[0].id;
            chat.remove(room, newest).await.expect("it is there");
        }
        let retained = chat.history(room, PageAt::After(first), 1).await;
        if retained.expect("a room").missed {
            return;
        }
    }
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kibibytes.expect("memory in KiB") * 1024
}
