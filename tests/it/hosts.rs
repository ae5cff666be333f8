//! A chat in servers of others: behind hyper-util's server for HTTP/1 and HTTP/2, and in axum.

use crate::common::Change as _;
use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use chatroom::{Chat, Https, PeerAddr};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};

use crate::common::{EventStream, Request as Http1, ask, get, unlimited, within};

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a listener has an address");
    (listener, address)
}

async fn behind_hyper_util(chat: Chat) -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let chat = chat.clone();
            tokio::spawn(async move {
                let service = service_fn(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(PeerAddr(peer));
                    chat.call(request)
                });
                let server = auto::Builder::new(TokioExecutor::new());
                drop(server.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    address
}

async fn in_axum(chat: Chat) -> SocketAddr {
    let (listener, address) = listener().await;
    let handler = move |ConnectInfo(peer), mut request: axum::extract::Request| {
        request.extensions_mut().insert(PeerAddr(peer));
        chat.call(request)
    };
    let hello = axum::routing::get(async || "Hello!");
    let app = axum::Router::new().route("/hello", hello).fallback(handler);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// A client that speaks HTTP/2 from the start.
struct Http2(SendRequest<Full<Bytes>>);

impl Http2 {
    async fn connect(address: SocketAddr) -> Http2 {
        let stream = TcpStream::connect(address).await.expect("it accepts");
        let connecting = handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = connecting.await.expect("it speaks HTTP/2");
        tokio::spawn(connection);
        Http2(sender)
    }

    async fn send(
        &mut self,
        request: hyper::http::request::Builder,
        body: &str,
    ) -> Response<Incoming> {
        let body = Full::from(body.to_owned());
        let request = request.body(body).expect("a request");
        let answer = within("an answer", self.0.send_request(request)).await;
        answer.expect("it answers")
    }

    async fn get(&mut self, uri: &str) -> Response<Incoming> {
        self.send(Request::get(uri), "").await
    }
}

async fn text(answer: Response<Incoming>) -> String {
    let body = within("the body", answer.into_body().collect()).await;
    let body = body.expect("a whole body").to_bytes();
    String::from_utf8(body.into()).expect("UTF-8")
}

/// Reads a stream until it contains something.
async fn until(stream: &mut Response<Incoming>, part: &str) -> String {
    let mut read = String::new();
    while !read.contains(part) {
        let frame = within(part, stream.frame()).await;
        let frame = frame.expect("it goes on").expect("it is whole");
        let data = frame.into_data().expect("no trailers");
        read += str::from_utf8(&data).expect("whole frames");
    }
    read
}

/// Everything over one connection of HTTP/2: the page, a stream, a post that the stream tells.
async fn talks_http2(address: SocketAddr) {
    let mut client = Http2::connect(address).await;
    let origin = "http://chat.example";
    let page = client.get(&format!("{origin}/")).await;
    assert_eq!(page.status(), 200);
    assert!(text(page).await.contains("<script"));
    let joining =
        Request::get(format!("{origin}/chat?name=ann")).header("Accept", "text/event-stream");
    let mut stream = client.send(joining, "").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let cookie = stream.headers()["set-cookie"].to_str().expect("ASCII");
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    until(&mut stream, "chat-room-connected").await;
    let post = Request::post(format!("{origin}/chat"))
        .header("Content-Type", "text/plain")
        .header("Origin", origin)
        .header("Cookie", cookie);
    let posted = client.send(post, "over HTTP/2").await;
    assert_eq!(posted.status(), 201);
    let told = until(&mut stream, "over HTTP/2").await;
    assert!(told.contains("\"member\":true"), "{told}");
    // Another site's page is another site's page.
    let forged = Request::post(format!("{origin}/chat?name=x"))
        .header("Content-Type", "text/plain")
        .header("Origin", "http://evil.example");
    assert_eq!(client.send(forged, "x").await.status(), 403);
    let rebound = client.get("http://evil.example/rooms").await;
    assert_eq!(rebound.status(), 403);
    assert!(text(rebound).await.contains("\"unknown-host\""));
}

/// The same server speaks HTTP/1.1.
async fn talks_http1(address: SocketAddr) {
    let mut stream = EventStream::request(address, Http1::get("/chat").host("chat.example")).await;
    let post = Http1::post_text("/chat?name=bob", "over HTTP/1").host("chat.example");
    ask(address, post).await.expect(201, "");
    while stream.message().await.text() != "over HTTP/1" {}
    get(address, "/rooms").await.expect(403, "unknown-host");
}

fn chat() -> Chat {
    let chat = unlimited().allow_host("chat.example");
    chat.build().expect("a chat")
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_hyper_util_both_versions_work() {
    let address = behind_hyper_util(chat()).await;
    talks_http2(address).await;
    talks_http1(address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_axum_both_versions_work_beside_the_program_s_routes() {
    let address = in_axum(chat()).await;
    talks_http2(address).await;
    talks_http1(address).await;
    let hello = get(address, "/hello").await;
    assert_eq!((hello.status, hello.text()), (200, "Hello!"));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_over_http2_end_with_their_clients_and_with_the_chat() {
    let chat = chat();
    let address = behind_hyper_util(chat.clone()).await;
    let mut client = Http2::connect(address).await;
    let uri = "http://chat.example/chat/dev?name=ann";
    let joining = || Request::get(uri).header("Accept", "text/event-stream");
    let stream = client.send(joining(), "").await;
    assert_eq!(chat.members("dev").expect("a room").len(), 1);
    drop(stream);
    // The name is in its grace: only its owner may have it.
    let refused = client.send(joining(), "").await;
    assert_eq!(refused.status(), 409);
    let mut listening = client.get("http://chat.example/chat").await;
    within("closing", chat.close()).await;
    until(&mut listening, "server-closing").await;
    assert_eq!(text(listening).await, "", "nothing follows");
}

#[tokio::test]
async fn a_program_that_speaks_tls_says_so() {
    let chat = chat();
    for https in [false, true] {
        let request = Request::get("/chat").header("Host", "chat.example");
        let request = request.header("Accept", "text/event-stream");
        let mut request = request.body(String::new()).expect("a request");
        if https {
            request.extensions_mut().insert(Https);
        }
        let Ok(answer) = chat.call(request).await;
        let cookie = answer.headers()["set-cookie"].to_str().expect("ASCII");
        assert_eq!(cookie.ends_with("; Secure"), https, "{cookie}");
    }
}

/// What the host program logs, compares and parses.
#[tokio::test]
async fn public_values_are_printed_parsed_and_compared() {
    fn has<T: std::fmt::Debug + Clone + Send + Sync + 'static>() {}
    fn reads_back<T>(text: &str)
    where
        T: std::str::FromStr + std::fmt::Display + Eq + std::fmt::Debug,
        T::Err: std::error::Error,
    {
        let parsed: T = text.parse().expect("well-formed");
        assert_eq!(parsed.to_string(), text);
        assert!("\u{0}".parse::<T>().is_err());
    }
    reads_back::<chatroom::RoomName>("lobby");
    reads_back::<chatroom::MemberName>("Ann B");
    reads_back::<chatroom::Author>("0123456789abcdef");
    reads_back::<chatroom::EventId>("1700000000000-3");
    has::<Chat>();
    has::<chatroom::Options>();
    has::<chatroom::Clock>();
    has::<chatroom::Heard>();
    has::<chatroom::Message>();
    has::<chatroom::Refusal>();
    has::<chatroom::Fsync>();
    has::<chatroom::LogLevel>();
    has::<PeerAddr>();
    has::<Https>();
    has::<chatroom::Moderator>();
    let chat = chat();
    let listener = chat.listen(["lobby"], None).await.expect("a room");
    let message = chat.post("lobby", "bot", "secret").await.expect("posted");
    assert_eq!(message.text.to_string(), "secret");
    let refused = chat.post("lobby", "bot", " ").await.expect_err("empty");
    assert_eq!(refused.to_string().split(':').next(), Some(refused.code()));
    let shown = format!(
        "{chat:?} {listener:?} {:?}",
        chatroom::Options::default().password("sesame")
    );
    assert!(!shown.contains("sesame"), "{shown}");
    let error: Box<dyn std::error::Error + Send + Sync> = refused.into();
    assert!(error.downcast_ref::<chatroom::Refusal>().is_some());
}
