//! The least that a chat server can do: a posted body becomes one event, which goes to every
//! stream that was opened for its room with one `write` each. It has no queues, ids or checks, and
//! loses what a full socket does not take. What it costs is what the kernel costs.

use crate::Fallible;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io::Write;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::ready;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// Connections that may wait to be accepted: the kernel's usual upper limit.
const ACCEPT_QUEUE: u32 = 4_096;
/// Bytes for the largest request of a run; each is expected to arrive in one read.
const REQUEST_BYTES: usize = 128 * 1024;
const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-cache\r\n\r\nretry: 1000\n\n";
const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";
const EMPTY_PAGE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

thread_local! {
    static REQUEST: RefCell<Vec<u8>> = RefCell::new(vec![0; REQUEST_BYTES]);
}

/// The open streams by the path of their room. They are taken out of the runtime, so that a
/// delivery is the system call alone.
#[derive(Default)]
struct Audience {
    streams: HashMap<String, Vec<Arc<std::net::TcpStream>>>,
    frame: Vec<u8>,
}

/// Serves until the process is killed.
pub(crate) fn serve() -> Fallible<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    // The outermost future runs before the connections' tasks: accepting comes first, so that the
    // accept queue stays short when all clients connect at once.
    runtime.block_on(tokio::task::unconstrained(accept()))
}

async fn accept() -> Fallible<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener = socket.listen(ACCEPT_QUEUE)?;
    // The same line as chatroom's, so that one launcher serves both.
    println!("chatroom listening on http://{}", listener.local_addr()?);
    let audience = Arc::new(Mutex::new(Audience::default()));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(attend(stream, Arc::clone(&audience)));
    }
}

/// Answers the requests of one connection until it asks for a stream or closes.
async fn attend(mut stream: TcpStream, audience: Arc<Mutex<Audience>>) {
    while let Ok(Some(request)) = next_request(&mut stream).await {
        let mut audience = audience.lock().expect("no holder panics");
        let response = match request {
            Request::Post(path, text) => {
                audience.deliver(&path, &text);
                ACCEPTED
            }
            Request::Page => EMPTY_PAGE,
            Request::Stream(paths) => {
                if let Ok(stream) = stream.into_std() {
                    audience.admit(stream, &paths);
                }
                return;
            }
        };
        if stream.try_write(response).is_err() {
            return;
        }
    }
}

enum Request {
    /// A text for the room with that path.
    Post(String, Vec<u8>),
    /// A stream of the rooms with these paths.
    Stream(Vec<String>),
    /// Anything else, such as the page or a history.
    Page,
}

/// None at the end of the connection, and for what is not a request.
async fn next_request(stream: &mut TcpStream) -> std::io::Result<Option<Request>> {
    poll_fn(|context| {
        REQUEST.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            Ok(parse(buffer.filled())).into()
        })
    })
    .await
}

fn parse(request: &[u8]) -> Option<Request> {
    let mut words = request.split(|&byte| byte == b' ');
    let (method, target) = (words.next()?, std::str::from_utf8(words.next()?).ok()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if method == b"POST" {
        let end = request.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
        return Some(Request::Post(path.to_owned(), request[end + 4..].to_vec()));
    }
    if !path.starts_with("/chat") || path.ends_with("/messages") {
        return Some(Request::Page);
    }
    let rooms = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("room="));
    let mut paths: Vec<String> = rooms.map(|room| format!("{path}/{room}")).collect();
    if paths.is_empty() {
        paths.push(path.to_owned());
    }
    Some(Request::Stream(paths))
}

impl Audience {
    fn admit(&mut self, mut stream: std::net::TcpStream, paths: &[String]) {
        if stream.write_all(STREAM_HEAD).is_err() {
            return;
        }
        let stream = Arc::new(stream);
        for path in paths {
            let room = self.streams.entry(path.clone()).or_default();
            room.push(Arc::clone(&stream));
        }
    }

    fn deliver(&mut self, path: &str, text: &[u8]) {
        let Some(streams) = self.streams.get_mut(path) else {
            return;
        };
        self.frame.clear();
        self.frame
            .extend_from_slice(b"id: 1\nevent: new-message\ndata: ");
        self.frame.extend_from_slice(text);
        self.frame.extend_from_slice(b"\n\n");
        streams.retain(|stream| match (&**stream).write(&self.frame) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        });
    }
}
