//! The least that a chat server can do: a posted body becomes one event and goes to
//! every stream that was opened on the same path with one `write` each. It has no queues,
//! ids or checks, and loses what a full socket does not take. Its cost is what the kernel asks for.

use crate::{ACCEPT_QUEUE, Fallible};
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

/// Room for the largest request of a run; each is expected to arrive in one read.
const REQUEST_BYTES: usize = 128 * 1024;
const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-cache\r\n\r\nretry: 1000\n\n";
const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";

thread_local! {
    static REQUEST: RefCell<Vec<u8>> = RefCell::new(vec![0; REQUEST_BYTES]);
}

/// The open streams of each path. They leave the runtime once they are here, so that a
/// delivery is the system call alone.
#[derive(Default)]
struct Audience {
    streams: HashMap<Vec<u8>, Vec<std::net::TcpStream>>,
    frame: Vec<u8>,
}

/// Serves until the process is killed.
pub(crate) fn serve() -> Fallible<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    // The outermost future gets its turn before the connections' tasks: accepting
    // comes first, so that the accept queue stays short when all clients come at once.
    runtime.block_on(tokio::task::unconstrained(accept()))
}

async fn accept() -> Fallible<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener = socket.listen(ACCEPT_QUEUE)?;
    println!("floor listening on http://{}", listener.local_addr()?);
    let audience = Arc::new(Mutex::new(Audience::default()));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(attend(stream, Arc::clone(&audience)));
    }
}

/// Answers the requests of one connection until it asks for the stream or ends.
async fn attend(mut stream: TcpStream, audience: Arc<Mutex<Audience>>) {
    while let Ok(Some(request)) = next_request(&mut stream).await {
        let mut audience = audience.lock().expect("no holder panics");
        match request.body {
            Some(text) => {
                audience.deliver(&request.path, &text);
                if stream.try_write(ACCEPTED).is_err() {
                    return;
                }
            }
            None => {
                if let Ok(mut stream) = stream.into_std()
                    && stream.write_all(STREAM_HEAD).is_ok()
                {
                    audience
                        .streams
                        .entry(request.path)
                        .or_default()
                        .push(stream);
                }
                return;
            }
        }
    }
}

struct Request {
    path: Vec<u8>,
    /// What a POST says; a GET asks for the stream.
    body: Option<Vec<u8>>,
}

/// None at the end of the connection, and for what is no request.
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
    let mut words = request.split(|&byte| byte == b' ' || byte == b'?');
    let (method, path) = (words.next()?, words.next()?.to_vec());
    let body = match method {
        b"POST" => {
            let end = request.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
            Some(request[end + 4..].to_vec())
        }
        _ => None,
    };
    Some(Request { path, body })
}

impl Audience {
    fn deliver(&mut self, path: &[u8], text: &[u8]) {
        let Some(streams) = self.streams.get_mut(path) else {
            return;
        };
        self.frame.clear();
        self.frame
            .extend_from_slice(b"id: 1\nevent: new-message\ndata: ");
        self.frame.extend_from_slice(text);
        self.frame.extend_from_slice(b"\n\n");
        streams.retain_mut(|stream| match stream.write(&self.frame) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        });
    }
}
