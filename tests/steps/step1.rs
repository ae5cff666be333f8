//! Step 1: a server that talks.
//!
//! `GET /` is a page, and `GET /chat` a response that never ends: `chat-room-connected` first, then
//! a `new-message` every second. Three things make it work:
//!
//! 1. **An accept loop.** Each connection is a task of its own, in which hyper reads requests,
//!    calls [`respond`], and writes what comes back.
//! 2. **A body that is not finished.** hyper asks a response's body for one frame after the other.
//!    [`Events`] has none as long as its channel is empty, so hyper's task sleeps until an event
//!    is sent, and writes it at once.
//! 3. **A format that is only text.** A Server-Sent Event is a few `field: value` lines and a blank
//!    line. The browser's `EventSource` parses it, calls a listener, and reconnects when the
//!    connection is lost.
//!
//! Try it: `cargo run --example step1`, then open the page, or `curl -N localhost:8080/chat`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{env, io};

use http_body_util::Either::{self, Left, Right};
use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep};

/// How many events may wait for one client.
const QUEUE_EVENTS: usize = 16;
/// How long accepting pauses after an error, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let listener = TcpListener::bind(address).await?;
    println!("chatroom listening on http://{}", listener.local_addr()?);
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let service = service_fn(respond);
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}

/// The body of a response is either complete, or a stream of events.
type Reply = hyper::http::Result<Response<Either<Full<Bytes>, Events>>>;

async fn respond(request: Request<Incoming>) -> Reply {
    let (status, content_type, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => (200, "text/html", Left(include_str!("step1.html").into())),
        (&Method::GET, "/chat") => {
            let (client, queue) = mpsc::channel(QUEUE_EVENTS);
            tokio::spawn(talk(client));
            (200, "text/event-stream", Right(Events { queue }))
        }
        _ => (404, "text/plain", Left("not found\n".into())),
    };
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .header(CACHE_CONTROL, "no-cache")
        .body(body)
}

/// Sends events until the client has left: hyper then drops the body, and with it the receiver.
async fn talk(client: mpsc::Sender<Bytes>) -> Result<(), mpsc::error::SendError<Bytes>> {
    let connected = event(None, "chat-room-connected", &json!({"room": "lobby"}));
    client.send(connected).await?;
    let mut every_second = interval(Duration::from_secs(1));
    let mut id = 0;
    loop {
        every_second.tick().await;
        id += 1;
        let message = json!({"eventId": id, "text": format!("message {id}")});
        let message = event(Some(id), "new-message", &message);
        client.send(message).await?;
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
    queue: mpsc::Receiver<Bytes>,
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
