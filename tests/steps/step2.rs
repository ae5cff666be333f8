//! Step 2: a room.
//!
//! Step 1 talks to each client alone: a task per client makes its messages, and nobody can answer.
//! Here a client says something by `POST /chat`, and everyone in the room hears it:
//!
//! 1. **The room is a registry of senders**, one for each client. To publish is to encode the
//!    message once and to send it to all of them. A clone of [`Bytes`] is a pointer to the same
//!    bytes, so a thousand clients cost a thousand pointers.
//! 2. **Nobody signs out.** When a client is gone, hyper drops its body and the receiver with it.
//!    From then on its sender fails, and the room drops that as well.
//! 3. **No task per client** besides hyper's own: whoever publishes wakes all the others.
//!
//! The ids are gone. Those of step 1 counted the events of one stream, from one again after each
//! reconnect, so they told nobody what was missed. Step 3 brings ids that do.
//!
//! Try it: `cargo run --example step2`, open the page twice, and `curl -d hello localhost:8080/chat`.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{env, io};

use http_body_util::Either::{self, Left, Right};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// The longest text, in bytes.
const TEXT_BYTES: usize = 4096;
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
        (&Method::GET, "/chat") => (200, "text/event-stream", Right(room.join())),
        (&Method::POST, "/chat") => match text(request.into_body()).await {
            Some(text) => {
                let message = room.publish(&text).to_string();
                (201, "application/json", Left(message.into()))
            }
            None => (400, "text/plain", Left("bad text\n".into())),
        },
        _ => (404, "text/plain", Left("not found\n".into())),
    };
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .header(CACHE_CONTROL, "no-cache")
        .body(body)
}

/// The body of a post: text, as long as it is not too long.
async fn text(body: Incoming) -> Option<String> {
    let body = Limited::new(body, TEXT_BYTES).collect().await.ok()?;
    String::from_utf8(body.to_bytes().into()).ok()
}

/// A room: a sender for each client.
#[derive(Default)]
struct Room {
    clients: Mutex<Vec<mpsc::UnboundedSender<Bytes>>>,
}

impl Room {
    fn join(&self) -> Events {
        let (client, queue) = mpsc::unbounded_channel();
        let mut clients = self.clients.lock().expect("not poisoned");
        clients.retain(|client| !client.is_closed());
        clients.push(client.clone());
        let connected = json!({"room": "lobby", "listenerCount": clients.len()});
        // Sending cannot fail while the receiver is here.
        let _ = client.send(event(None, "chat-room-connected", &connected));
        Events { queue }
    }

    fn publish(&self, text: &str) -> Value {
        let message = json!({"text": text});
        let event = event(None, "new-message", &message);
        let mut clients = self.clients.lock().expect("not poisoned");
        clients.retain(|client| client.send(event.clone()).is_ok());
        message
    }
}

/// One event as it goes over the wire. JSON on one line has no line break in it, so no text can
/// end its event early.
fn event(id: Option<u64>, name: &str, data: &Value) -> Bytes {
    let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
    format!("{id}event: {name}\ndata: {data}\n\n").into()
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
