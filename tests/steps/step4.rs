//! Step 4: heartbeats, bounded queues and the slow client.
//!
//! In step 3 a client that stops reading has a queue that grows until the server's memory is gone:
//! a phone that left the Wi-Fi is enough. And in a quiet room nothing is ever sent, so proxies cut
//! the streams after a minute, and nobody notices a client that vanished without a goodbye.
//!
//! 1. **Queues are bounded**, and the room never waits for a client. When a queue is full the room
//!    drops its sender. The body yields what is queued and ends, the client reconnects with the
//!    last id that it saw, and the history fills the gap: slowness costs it time, not messages.
//! 2. **The other buffer is bounded too**: hyper would hold 400 KB that a client did not take.
//! 3. **A heartbeat is an event**, not a comment, so that a page can notice its absence. Sending
//!    it is also what finds the clients that are gone.
//!
//! What the first three steps explain has moved to `events.rs`, `history.rs` and `wire.rs`.
//!
//! Try it: `cargo run --example step4`, then `curl -N localhost:8080/chat`, and suspend it (Ctrl-Z).

use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, io};

use http_body_util::Either::{self, Left, Right};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::sleep;

mod events;
mod history;
mod wire;

use events::Events;
use history::{HISTORY_MESSAGES, History, position, unix_milliseconds};
use wire::{event, response, text};

/// How many events may wait for one client: all of the history, and some that arrive meanwhile.
const QUEUE_EVENTS: usize = HISTORY_MESSAGES + 100;
/// How much hyper may hold for one connection beyond that, in bytes.
const BUFFER_BYTES: usize = 16 * 1024;
/// Well below the minute of silence after which proxies cut a stream.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long accepting pauses after an error, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = TcpListener::bind(address).await?;
    println!("chatroom listening on http://{}", listener.local_addr()?);
    let room = Arc::new(Room::default());
    tokio::spawn(beat(room.clone()));
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let room = room.clone();
        let service = service_fn(move |request| respond(room.clone(), request));
        let connection = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(socket), service);
        tokio::spawn(connection);
    }
}

/// The body of a response is either complete, or a stream of events.
type Reply = hyper::http::Result<Response<Either<Full<Bytes>, Events>>>;

async fn respond(room: Arc<Room>, request: Request<Incoming>) -> Reply {
    let (status, content_type, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => (200, "text/html", Left(include_str!("room.html").into())),
        (&Method::GET, "/chat") => {
            let after = request.headers().get("last-event-id").map(position);
            (200, "text/event-stream", Right(room.join(after)))
        }
        (&Method::POST, "/chat") => match text(request.into_body()).await {
            Some(text) => {
                let message = room.publish(&text).to_string();
                (201, "application/json", Left(message.into()))
            }
            None => (400, "text/plain", Left("bad text\n".into())),
        },
        _ => (404, "text/plain", Left("not found\n".into())),
    };
    response(status, content_type, body)
}

async fn beat(room: Arc<Room>) {
    loop {
        sleep(HEARTBEAT).await;
        let sent_at = json!({"sentAt": unix_milliseconds()});
        let state = &mut *room.0.lock().expect("not poisoned");
        state.send(&event(None, "heartbeat", &sent_at));
    }
}

#[derive(Default)]
struct Room(Mutex<State>);

#[derive(Default)]
struct State {
    clients: Vec<mpsc::Sender<Bytes>>,
    history: History,
}

impl Room {
    fn join(&self, after: Option<u64>) -> Events {
        let (client, queue) = mpsc::channel(QUEUE_EVENTS);
        // Sending cannot fail: the receiver is here, and its queue is longer than the history.
        let send = |event| drop(client.try_send(event));
        let state = &mut *self.0.lock().expect("not poisoned");
        state.clients.retain(|client| !client.is_closed());
        state.clients.push(client.clone());
        let connected = json!({"room": "lobby", "listenerCount": state.clients.len()});
        send(event(None, "chat-room-connected", &connected));
        state.history.after(after).into_iter().for_each(send);
        Events { queue }
    }

    fn publish(&self, text: &str) -> Value {
        let state = &mut *self.0.lock().expect("not poisoned");
        let (message, event) = state.history.push(text);
        state.send(&event);
        message
    }
}

impl State {
    /// Sends to every client. One that is gone, or whose queue is full, loses its place.
    fn send(&mut self, event: &Bytes) {
        self.clients
            .retain(|client| client.try_send(event.clone()).is_ok());
    }
}
