//! A client that sees HTTP/1.1 as the bytes that it is.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::within;

/// A request as bytes, made of parts that a test chooses.
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

    /// The cookie of a session, as a browser sends it back.
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

    /// A body with its length announced, unless a header says otherwise.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Request {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if let Some(host) = &self.host {
            bytes.extend(format!("Host: {host}\r\n").bytes());
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

/// An answer, whole.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The status line and the headers as they came.
    pub(crate) head: String,
    /// Names in small letters, in their order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    fn parse(head: &[u8]) -> Response {
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

    /// The code of a refusal; empty where the answer is none.
    pub(crate) fn code(&self) -> String {
        serde_json::from_slice::<Value>(&self.body)
            .ok()
            .and_then(|json| Some(json.get("error")?.as_str()?.to_owned()))
            .unwrap_or_default()
    }

    /// The session that the answer brings.
    pub(crate) fn session(&self) -> Option<String> {
        let cookie = self
            .header("set-cookie")?
            .strip_prefix("chatroom-session=")?;
        cookie.split(';').next().map(str::to_owned)
    }

    /// Checks status and code at once, so that a failure shows the whole answer.
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
    pub(super) unread: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Client {
        let socket = within("connecting", TcpStream::connect(address))
            .await
            .expect("the server accepts");
        socket.set_nodelay(true).expect("a socket can be told so");
        Client {
            socket,
            unread: Vec::new(),
        }
    }

    /// A client over a connection of the test's own.
    pub(crate) fn from(socket: TcpStream) -> Client {
        Client {
            socket,
            unread: Vec::new(),
        }
    }

    /// A connection whose kernel holds few bytes that it has not read: for clients that stall.
    pub(crate) async fn connect_narrow(address: SocketAddr, receive_bytes: u32) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .set_recv_buffer_size(receive_bytes)
            .expect("the kernel takes the wish");
        let socket = within("connecting", socket.connect(address))
            .await
            .expect("the server accepts");
        Client {
            socket,
            unread: Vec::new(),
        }
    }

    /// The socket itself, for what no other method does.
    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// The socket alone; nothing was read but what was asked for.
    pub(crate) fn into_socket(self) -> TcpStream {
        assert!(self.unread.is_empty(), "bytes would be lost");
        self.socket
    }

    /// Sends to a server that may be gone.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("sending", self.socket.write_all(bytes)).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("sending", self.socket.write_all(bytes))
            .await
            .expect("the server takes what is sent");
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn ask(&mut self, request: &Request) -> Response {
        self.send(&request.to_bytes()).await;
        self.response(request.method()).await
    }

    /// Reads one whole answer to a request of that method.
    pub(crate) async fn response(&mut self, method: &str) -> Response {
        let head = self.head().await;
        let mut response = head.unwrap_or_else(|| panic!("the connection ended before an answer"));
        if method != "HEAD" && response.status != 204 && response.status != 304 {
            // The limit is on the whole, for a stream in place of an answer has no end.
            response.body = within("the end of an answer", self.body(&response)).await;
        }
        response
    }

    async fn body(&mut self, head: &Response) -> Vec<u8> {
        if let Some(length) = head.header("content-length") {
            let length = length.parse().expect("a length is a number");
            return self.take(length).await;
        }
        if head.header("transfer-encoding") != Some("chunked") {
            return self.rest().await;
        }
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await {
            body.extend(chunk);
        }
        body
    }

    /// Reads status line and headers; `None` where the connection ended before any byte.
    pub(crate) async fn head(&mut self) -> Option<Response> {
        let end = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                break end;
            }
            if !self.fill().await {
                assert!(
                    self.unread.is_empty(),
                    "the answer broke off: {}",
                    String::from_utf8_lossy(&self.unread)
                );
                return None;
            }
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        Some(Response::parse(&head[..end]))
    }

    /// Reads one chunk of a chunked body; `None` at the body's end, or where it breaks off.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                break end;
            }
            if !self.fill().await {
                return None;
            }
        };
        let size = std::str::from_utf8(&self.unread[..line]).expect("a chunk's size is ASCII");
        let size = usize::from_str_radix(size, 16).expect("a chunk's size is hexadecimal");
        let whole = line + 2 + size + 2;
        while self.unread.len() < whole {
            if !self.fill().await {
                return None;
            }
        }
        let chunk = self.unread[line + 2..line + 2 + size].to_vec();
        self.unread.drain(..whole);
        (size > 0).then_some(chunk)
    }

    /// Reads to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.unread)
    }

    /// Reads to the end of the connection, or as much as comes in a time.
    pub(crate) async fn rest_within(&mut self, time: Duration) -> Vec<u8> {
        let reading = async { while self.fill().await {} };
        // What was read until then is kept.
        let _ = tokio::time::timeout(time, reading).await;
        std::mem::take(&mut self.unread)
    }

    pub(crate) async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert!(self.fill().await, "the body broke off");
        }
        self.unread.drain(..length).collect()
    }

    /// Reads what has come; false at the end of the connection, however it came.
    async fn fill(&mut self) -> bool {
        let read = within("an answer", self.socket.read_buf(&mut self.unread)).await;
        read.is_ok_and(|count| count > 0)
    }
}

pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// Asks on a connection of its own.
pub(crate) async fn ask(address: SocketAddr, request: Request) -> Response {
    Client::connect(address).await.ask(&request).await
}

pub(crate) async fn get(address: SocketAddr, target: &str) -> Response {
    ask(address, Request::get(target)).await
}

/// Posts a text, and expects it to be taken. The answer's JSON is the message.
#[track_caller]
pub(crate) fn say(
    address: SocketAddr,
    room: &str,
    name: &str,
    text: &str,
) -> impl Future<Output = Value> {
    let request = Request::post_text(&format!("/chat/{room}?name={}", encode(name)), text);
    async move { ask(address, request).await.expect(201, "").json() }
}

/// Percent-encodes all but the plainest characters.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
