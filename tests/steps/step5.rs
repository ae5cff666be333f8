//! Step 5: a shutdown that loses nothing.
//!
//! Step 4 dies in the middle of whatever it is doing: a post is stored, but its client never hears
//! so and sends it again; a frame is cut in half; and the next run has never heard of any of it.
//! Here SIGTERM or Ctrl-C begins an end in good order:
//!
//! 1. **The room closes under its lock**, so every post is either before that, and reaches every
//!    queue, or after it, and is refused. Streams get `server-closing` and end when their queue is
//!    empty, for their last sender is gone.
//! 2. **The history is saved** when the server ends, and loaded when it starts again: clients
//!    reconnect with the id that they saw last, and get what they missed.
//! 3. **Connections finish their response.** One `watch` channel tells them that it is time, and
//!    tells `main` when the last is gone. A client that does not read is cut after [`DRAIN`].
//!
//! Try it: `cargo run --example step5 -- 127.0.0.1:8080 target/lobby.txt`, press Ctrl-C, and again.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
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
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::{ctrl_c, unix};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

mod events;
mod history;
mod saved;
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
/// How long shutdown waits for connections to end.
const DRAIN: Duration = Duration::from_secs(5);
/// How long accepting pauses after an error, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8080".into());
    let file = arguments.next().map(PathBuf::from);
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    let room = Arc::new(Room::default());
    if let Some(file) = &file {
        room.state().history = saved::load(file)?;
    }
    let listener = TcpListener::bind(address).await?;
    println!("chatroom listening on http://{}", listener.local_addr()?);
    tokio::spawn(beat(room.clone()));
    let (closing, _) = watch::channel(());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ctrl_c() => break,
            _ = terminate.recv() => break,
        };
        let Ok((socket, _)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        tokio::spawn(serve(socket, room.clone(), closing.subscribe()));
    }
    drop(listener);
    room.close();
    if let Some(file) = &file {
        saved::save(&room.state().history, file)?;
    }
    closing.send_replace(());
    let _ = timeout(DRAIN, closing.closed()).await;
    Ok(())
}

async fn serve(socket: TcpStream, room: Arc<Room>, mut closing: watch::Receiver<()>) {
    let service = service_fn(move |request| respond(room.clone(), request));
    let mut connection = pin!(
        http1::Builder::new()
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(socket), service)
    );
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = closing.changed() => connection.as_mut().graceful_shutdown(),
    }
    // It ends with the response under way, or because its client has left.
    let _ = connection.await;
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
            Some(text) => match room.publish(&text) {
                Some(message) => (201, "application/json", Left(message.to_string().into())),
                None => (503, "text/plain", Left("closing\n".into())),
            },
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
        let state = &mut *room.state();
        state.send(&event(None, "heartbeat", &sent_at));
    }
}

#[derive(Default)]
struct Room(Mutex<State>);

#[derive(Default)]
struct State {
    clients: Vec<mpsc::Sender<Bytes>>,
    history: History,
    closed: bool,
}

impl Room {
    fn join(&self, after: Option<u64>) -> Events {
        let (client, queue) = mpsc::channel(QUEUE_EVENTS);
        // Sending cannot fail: the receiver is here, and its queue is longer than the history.
        let send = |event| drop(client.try_send(event));
        let state = &mut *self.state();
        state.clients.retain(|client| !client.is_closed());
        state.clients.push(client.clone());
        let connected = json!({"room": "lobby", "listenerCount": state.clients.len()});
        send(event(None, "chat-room-connected", &connected));
        state.history.after(after).into_iter().for_each(send);
        if state.closed {
            state.clients.clear();
        }
        Events { queue }
    }

    fn publish(&self, text: &str) -> Option<Value> {
        let state = &mut *self.state();
        if state.closed {
            return None;
        }
        let (message, event) = state.history.push(text);
        state.send(&event);
        Some(message)
    }

    /// Ends all streams, and refuses posts from now on.
    fn close(&self) {
        let state = &mut *self.state();
        let reason = json!({"reason": "shutdown"});
        state.send(&event(None, "server-closing", &reason));
        state.clients.clear();
        state.closed = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("not poisoned")
    }
}

impl State {
    /// Sends to every client. One that is gone, or whose queue is full, loses its place.
    fn send(&mut self, event: &Bytes) {
        self.clients
            .retain(|client| client.try_send(event.clone()).is_ok());
    }
}
