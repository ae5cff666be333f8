//! An HTTP/1.1 client that hides nothing: requests are built from their parts, and responses are
//! read from the bytes on the wire.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::within;

/// The most that one read takes, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// A request, built from the parts that a test chooses.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    target: String,
    host: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Request {
        Request {
            method: method.to_owned(),
            target: target.to_owned(),
            host: Some("localhost".to_owned()),
            headers: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn get(target: &str) -> Request {
        Request::new("GET", target)
    }

    /// A message as plain text.
    pub(crate) fn post_text(target: &str, text: impl AsRef<[u8]>) -> Request {
        Request::new("POST", target)
            .header("Content-Type", "text/plain")
            .body(text)
    }

    /// A message as JSON.
    pub(crate) fn post_json(target: &str, json: &Value) -> Request {
        Request::new("POST", target)
            .header("Content-Type", "application/json")
            .body(json.to_string())
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Request {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Adds the session cookie, as a browser does.
    pub(crate) fn session(self, session: &str) -> Request {
        self.header("Cookie", format!("chatroom-session={session}"))
    }

    pub(crate) fn host(mut self, host: &str) -> Request {
        self.host = Some(host.to_owned());
        self
    }

    pub(crate) fn without_host(mut self) -> Request {
        self.host = None;
        self
    }

    /// Sets the body. `to_bytes` adds its `Content-Length` unless a header already frames it.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Request {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// Whether it is what an EventSource sends, which accepts event streams by name.
    fn opens_stream(&self) -> bool {
        let path = self.target.split('?').next().unwrap_or_default();
        self.method == "GET" && path.rsplit('/').take(2).any(|segment| segment == "chat")
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if let Some(host) = &self.host {
            bytes.extend(format!("Host: {host}\r\n").bytes());
        }
        if self.opens_stream() && !self.headers.iter().any(|(name, _)| name == "Accept") {
            bytes.extend(b"Accept: text/event-stream\r\n");
        }
        for (name, value) in &self.headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let framed = self.headers.iter().any(|(name, _)| {
            name.eq_ignore_ascii_case("content-length")
                || name.eq_ignore_ascii_case("transfer-encoding")
        });
        if let Some(body) = self.body.as_ref().filter(|_| !framed) {
            bytes.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(self.body.iter().flatten());
        bytes
    }
}

/// A response with its whole body.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The status line and the headers, as received.
    pub(crate) head: String,
    /// Names in lower case, in the order received.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Parses a status line and headers, without the blank line that ends them.
    pub(crate) fn parse(head: &[u8]) -> Response {
        let head = String::from_utf8(head.to_vec()).expect("a head is ASCII");
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1."))
            .and_then(|line| line.get(2..5)?.parse().ok())
            .unwrap_or_else(|| panic!("no status line: {head}"));
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Response {
            status,
            head,
            headers,
            body: Vec::new(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}: {}", self.head, self.text()))
    }

    /// The error code in the body, or an empty string if there is none.
    pub(crate) fn code(&self) -> String {
        serde_json::from_slice::<Value>(&self.body)
            .ok()
            .and_then(|json| Some(json.get("error")?.as_str()?.to_owned()))
            .unwrap_or_default()
    }

    /// The cookie that the response sets, as a browser sends it back.
    pub(crate) fn cookie(&self) -> Option<&str> {
        self.header("set-cookie")?.split(';').next()
    }

    /// The session in that cookie.
    pub(crate) fn session(&self) -> Option<String> {
        let session = self.cookie()?.strip_prefix("chatroom-session=")?;
        Some(session.to_owned())
    }

    /// Checks the status and the error code; a failure shows the whole response.
    #[track_caller]
    pub(crate) fn expect(self, status: u16, code: &str) -> Response {
        assert_eq!(
            (self.status, self.code().as_str()),
            (status, code),
            "{}\n{}",
            self.head,
            String::from_utf8_lossy(&self.body)
        );
        self
    }
}

/// A connection, which may carry several requests.
pub(crate) struct Client {
    socket: TcpStream,
    /// Bytes that were received but not parsed yet.
    unread: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Client {
        let socket = within("connecting", TcpStream::connect(address))
            .await
            .expect("the server accepts");
        socket.set_nodelay(true).expect("TCP_NODELAY can be set");
        Client::from(socket)
    }

    /// Connects with a small receive buffer, so that the server notices a client that stalls.
    pub(crate) async fn connect_narrow(address: SocketAddr, receive_bytes: u32) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .set_recv_buffer_size(receive_bytes)
            .expect("SO_RCVBUF can be set");
        let socket = within("connecting", socket.connect(address))
            .await
            .expect("the server accepts");
        Client::from(socket)
    }

    pub(crate) fn from(socket: TcpStream) -> Client {
        Client {
            socket,
            unread: Vec::new(),
        }
    }

    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    pub(crate) fn into_socket(self) -> TcpStream {
        self.socket
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes)
            .await
            .expect("the server reads the request");
    }

    /// Sends to a server that may be gone.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("sending", self.socket.write_all(bytes)).await
    }

    /// Closes the sending direction.
    pub(crate) async fn half_close(&mut self) {
        let closed = self.socket.shutdown().await;
        closed.expect("a socket can be half closed");
    }

    /// Sends a request and reads the whole response.
    pub(crate) async fn ask(&mut self, request: &Request) -> Response {
        self.send(&request.to_bytes()).await;
        self.response(&request.method).await
    }

    /// Sends a request to a server that may be killed: `None` if it was killed before the whole
    /// response arrived.
    pub(crate) async fn try_ask(&mut self, request: &Request) -> Option<Response> {
        self.try_send(&request.to_bytes()).await.ok()?;
        loop {
            if let Some(mut response) = self.take_head() {
                let length = response.header("content-length")?.parse().ok()?;
                while self.unread.len() < length {
                    self.fill().await.then_some(())?;
                }
                response.body = self.unread.drain(..length).collect();
                return Some(response);
            }
            self.fill().await.then_some(())?;
        }
    }

    /// Reads one whole response to a request with that method.
    pub(crate) async fn response(&mut self, method: &str) -> Response {
        let head = self.head().await;
        let mut response = head.unwrap_or_else(|| panic!("the connection closed unanswered"));
        if method != "HEAD" && response.status != 204 && response.status != 304 {
            // One time limit for the whole body: an event stream would never end.
            response.body = within("the whole response", self.body(&response)).await;
        }
        response
    }

    async fn body(&mut self, head: &Response) -> Vec<u8> {
        if let Some(length) = head.header("content-length") {
            let length = length.parse().expect("Content-Length is a number");
            return self.take(length).await;
        }
        if head.header("transfer-encoding") != Some("chunked") {
            return self.rest().await;
        }
        let mut body = Vec::new();
        while !self.take_chunks(&mut body) && self.fill().await {}
        body
    }

    /// Reads the status line and the headers; `None` if the connection closed before any byte.
    pub(crate) async fn head(&mut self) -> Option<Response> {
        loop {
            if let Some(head) = self.take_head() {
                return Some(head);
            }
            if !self.fill().await {
                assert!(
                    self.unread.is_empty(),
                    "the head is incomplete: {}",
                    String::from_utf8_lossy(&self.unread)
                );
                return None;
            }
        }
    }

    /// Parses the status line and the headers, if they have arrived.
    pub(super) fn take_head(&mut self) -> Option<Response> {
        let end = find(&self.unread, b"\r\n\r\n")?;
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        Some(Response::parse(&head[..end]))
    }

    /// Appends the data of all whole chunks that have arrived to `body`. True once the last chunk,
    /// which ends the body, was among them.
    pub(super) fn take_chunks(&mut self, body: &mut Vec<u8>) -> bool {
        let (mut taken, mut ended) = (0, false);
        while let Some(line) = find(&self.unread[taken..], b"\r\n")
            && !ended
        {
            let size = std::str::from_utf8(&self.unread[taken..taken + line]);
            let size = usize::from_str_radix(size.expect("a chunk size is ASCII"), 16)
                .expect("a chunk size is hexadecimal");
            let data = taken + line + 2;
            let Some(chunk) = self.unread.get(data..data + size + 2) else {
                break;
            };
            body.extend_from_slice(&chunk[..size]);
            taken = data + size + 2;
            ended = size == 0;
        }
        self.unread.drain(..taken);
        ended
    }

    /// Reads until the connection closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.unread)
    }

    /// Reads until the connection closes or the time is up.
    pub(crate) async fn rest_within(&mut self, time: Duration) -> Vec<u8> {
        let reading = async { while self.fill().await {} };
        // A timeout keeps what was read before it.
        let _ = tokio::time::timeout(time, reading).await;
        std::mem::take(&mut self.unread)
    }

    pub(crate) async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert!(self.fill().await, "the body is incomplete");
        }
        self.unread.drain(..length).collect()
    }

    /// Reads once; false if the connection was closed or reset.
    pub(super) async fn fill(&mut self) -> bool {
        within("a response", self.read(READ_BYTES)).await
    }

    /// Reads once, at most so many bytes, without a time limit; false if the connection was closed
    /// or reset. Cancel safe.
    pub(super) async fn read(&mut self, at_most: usize) -> bool {
        let mut bytes = vec![0; at_most];
        let count = self.socket.read(&mut bytes).await.unwrap_or(0);
        self.unread.extend_from_slice(&bytes[..count]);
        count > 0
    }
}

/// Where `needle` begins in `haystack`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// Sends a request over a connection of its own.
pub(crate) async fn ask(address: SocketAddr, request: Request) -> Response {
    Client::connect(address).await.ask(&request).await
}

pub(crate) async fn get(address: SocketAddr, target: &str) -> Response {
    ask(address, Request::get(target)).await
}
