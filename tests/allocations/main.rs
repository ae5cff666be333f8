//! What one message costs in allocations, counted and not timed: the same for ten clients and for
//! sixty, because it is encoded once and what each client needs is there from its joining.
//!
//! A test program of its own, since it counts all that its process allocates.

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use chatroom::{Builder, Chat, PeerAddr};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::{Body, Bytes};
use hyper::service::Service;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The tests of this program would count each other's allocations.
static TURN: Mutex<()> = Mutex::new(());

const MESSAGES: usize = 200;
/// Messages until every buffer has the size that it needs.
const WARM_UP: usize = 20;
/// Events that are not messages (a heartbeat, a change of members) may come in between; they are
/// few. One allocation for each delivery would be a hundred times as many.
const DELIVERIES_PER_ALLOCATION: usize = 100;
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_delivery_allocates_nothing() {
    let _turn = TURN.lock();
    let folder = std::env::temp_dir().join(format!("chatroom-allocations-{}", std::process::id()));
    for kept in [false, true] {
        let counted = [10, 60].map(|clients| {
            let mut builder = Chat::builder().message_rate(0.0);
            if kept {
                builder = builder.data(folder.join(clients.to_string()));
            }
            (clients, allocations_of_messages(builder, clients))
        });
        let kind = if kept { "journal" } else { "memory" };
        let [(few, with_few), (many, with_many)] = counted;
        let deliveries = (many - few) * MESSAGES;
        println!(
            "{kind}: {:.1} allocations a message with {few} clients, {:.1} with {many}",
            with_few as f64 / MESSAGES as f64,
            with_many as f64 / MESSAGES as f64,
        );
        assert!(with_few >= MESSAGES, "{kind}: nothing was counted");
        assert!(
            with_many.saturating_sub(with_few) <= deliveries / DELIVERIES_PER_ALLOCATION,
            "{kind}: {MESSAGES} messages made {with_few} allocations for {few} clients, {with_many} for {many}"
        );
    }
    std::fs::remove_dir_all(folder).expect("the test's own folder");
}

/// How often the process allocates while messages go one by one to all clients.
fn allocations_of_messages(builder: Builder, clients: usize) -> usize {
    let runtime = Runtime::new().expect("a runtime");
    let address = serve(&runtime, builder);
    let mut audience: Vec<Client> = (0..clients).map(|n| Client::join(address, n)).collect();
    let mut poster = connect(address);
    let mut talk = |messages| {
        for _ in 0..messages {
            post(&mut poster);
            for client in &mut audience {
                client.wait_for_message();
            }
        }
    };
    talk(WARM_UP);
    let region = Region::new(ALLOCATOR);
    talk(MESSAGES);
    let change = region.change();
    change.allocations + change.reallocations
}

fn serve(runtime: &Runtime, builder: Builder) -> SocketAddr {
    let _in_runtime = runtime.enter();
    let chat = builder.build().expect("a chat");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = chatroom::bind(any).expect("a free port");
    let address = listener.local_addr().expect("a listener has an address");
    runtime.spawn(chatroom::serve(listener, chat, std::future::pending()));
    address
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// Sends a message and reads the answer, without an allocation of its own.
fn post(connection: &mut TcpStream) {
    const POST: &[u8] = b"POST /chat?name=ann HTTP/1.1\r\nHost: localhost\r\n\
        Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
    connection.write_all(POST).expect("a post");
    let mut answer = [0; 4_096];
    let read = connection.read(&mut answer).expect("an answer");
    assert!(answer[..read].starts_with(b"HTTP/1.1 201 "));
}

/// A member with an open stream, and what was read of it last.
struct Client {
    stream: TcpStream,
    read: [u8; 4_096],
}

impl Client {
    /// Comes back when the stream has begun.
    fn join(address: SocketAddr, number: usize) -> Client {
        let mut stream = connect(address);
        write!(
            stream,
            "GET /chat?name=client-{number} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        .expect("a request");
        let mut client = Client {
            stream,
            read: [0; 4_096],
        };
        client.wait_for(b"event: chat-room-connected");
        client
    }

    fn wait_for_message(&mut self) {
        self.wait_for(b"event: new-message");
    }

    /// Reads until an event begins. Each is written in one piece, and here it comes as one.
    fn wait_for(&mut self, beginning: &[u8]) {
        loop {
            let read = self.stream.read(&mut self.read).expect("an event");
            assert!(read > 0, "the stream has ended");
            let new = &self.read[..read];
            if new.windows(beginning.len()).any(|part| part == beginning) {
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
        let chat = Chat::builder().build().expect("a chat");
        let mut bodies = Vec::new();
        for _ in 0..3 {
            let request = Request::get("/chat")
                .header("host", "localhost")
                .extension(PeerAddr(SocketAddr::from(([127, 0, 0, 1], 1))))
                .body(Empty::<Bytes>::new())
                .expect("a request");
            let Ok(answer) = chat.call(request).await;
            let mut body = Box::pin(answer.into_body());
            next(&mut body).await;
            bodies.push(body);
        }
        chat.post("lobby", "ann", "hello").await.expect("posted");
        let mut copies = Vec::new();
        for body in &mut bodies {
            copies.push(next(body).await);
        }
        assert!(copies[0].starts_with(b"id: "));
        for copy in &copies {
            assert_eq!(copy.as_ptr(), copies[0].as_ptr());
        }
    });
}

async fn next<B>(body: &mut Pin<Box<B>>) -> Bytes
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
    let frame = frame.expect("an event").expect("a body").expect("a frame");
    frame.into_data().expect("data")
}
