//! Step 3: ids, history and resume.
//!
//! In step 2 a message exists while it is being sent. Whoever comes a second later has missed it,
//! and so has everyone whose connection was down for that second. Here the room remembers:
//!
//! 1. **Ids rise for ever.** An id is the time in milliseconds, or one more than the last id where
//!    that is greater: in a burst, or when the clock goes back. So one number is a position in
//!    the whole conversation, across restarts too.
//! 2. **A client resumes.** `EventSource` sends the last id that it saw as `Last-Event-ID` when it
//!    reconnects; it gets what came after. Backlog and registration happen under one lock, so no
//!    message can fall between the two, and none comes twice.
//! 3. **A gap is told.** History is bounded. A client whose position is below the last id that is
//!    gone gets `messages-missed`, and then all that is retained. A position that this server
//!    cannot have given is before everything, and never an error: after an error status a
//!    browser's `EventSource` does not come back.
//! 4. **The present begins** with `caught-up`: what came before it was the past, what comes now is
//!    new.
//!
//! What the first two steps explain has moved to `wire.rs`.
//!
//! Try it: `cargo run --example step3`, then `curl -NH 'Last-Event-ID: 0' localhost:8080/chat`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};
use std::{env, io};

use http_body_util::Either::{self, Left, Right};
use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::sleep;

mod wire;

use wire::{event, response, text};

/// How many messages the room retains.
const HISTORY_MESSAGES: usize = 500;
/// How long accepting pauses after an error, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = TcpListener::bind(address).await?;
    println!("chatroom listening on http://{}", listener.local_addr()?);
    let room = Arc::new(Room::default());
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let room = room.clone();
        let service = service_fn(move |request| respond(room.clone(), request));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
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

/// A position that cannot be read is before everything.
fn position(header: &HeaderValue) -> u64 {
    let id = header.to_str().ok().and_then(|id| id.parse().ok());
    id.unwrap_or(0)
}

#[derive(Default)]
struct Room(Mutex<State>);

#[derive(Default)]
struct State {
    clients: Vec<mpsc::UnboundedSender<Bytes>>,
    history: History,
}

impl Room {
    fn join(&self, after: Option<u64>) -> Events {
        let (client, queue) = mpsc::unbounded_channel();
        // Sending cannot fail while the receiver is here.
        let send = |event| drop(client.send(event));
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
        state
            .clients
            .retain(|client| client.send(event.clone()).is_ok());
        message
    }
}

/// The newest messages.
struct History {
    events: VecDeque<(u64, Bytes)>,
    /// Messages up to this id are not here any more, or never were.
    evicted_up_to: u64,
    last_id: u64,
}

impl Default for History {
    fn default() -> History {
        let start = unix_milliseconds();
        History {
            events: VecDeque::new(),
            evicted_up_to: start,
            last_id: start,
        }
    }
}

impl History {
    fn push(&mut self, text: &str) -> (Value, Bytes) {
        let id = unix_milliseconds().max(self.last_id + 1);
        let message = json!({"eventId": id, "text": text});
        let event = event(Some(id), "new-message", &message);
        self.last_id = id;
        self.events.push_back((id, event.clone()));
        if self.events.len() > HISTORY_MESSAGES {
            self.evicted_up_to = self.events.pop_front().map_or(id, |(id, _)| id);
        }
        (message, event)
    }

    /// What follows a position: the notice of a gap, if there is one, all that is retained, and the
    /// event that says where the present begins. Without a position nothing is missed.
    fn after(&self, position: Option<u64>) -> Vec<Bytes> {
        let position = position.unwrap_or(self.evicted_up_to);
        let position = if position > self.last_id { 0 } else { position };
        let told = |name, id| event(Some(id), name, &json!({"eventId": id}));
        let gap = position < self.evicted_up_to;
        let missed = gap.then(|| told("messages-missed", self.evicted_up_to));
        let newer = self.events.iter().filter(|(id, _)| *id > position);
        let newer = newer.map(|(_, event)| event.clone());
        let now = told("caught-up", self.last_id);
        missed.into_iter().chain(newer).chain([now]).collect()
    }
}

fn unix_milliseconds() -> u64 {
    let now = UNIX_EPOCH.elapsed();
    now.map_or(0, |since| since.as_millis() as u64)
}

/// The body of a stream: it yields events as they are sent, and ends with the last sender.
struct Events {
    queue: mpsc::UnboundedReceiver<Bytes>,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let event = self.queue.poll_recv(cx);
        event.map(|event| Some(Ok(Frame::data(event?))))
    }
}
