//! The library inside somebody else's program: posting and listening without a request, mounted
//! in a bare hyper server, several in one process, and gone without a trace when closed or dropped.

mod archive;
mod bridge;
mod program;

use crate::common::Change as _;
use std::net::SocketAddr;
use std::time::Duration;

use chatroom::{Chat, Heard, Listener, PeerAddr};
use hyper::Request as HyperRequest;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

use crate::common::{
    Client, EventStream, Request, Server, ask, eventually, get, say, unlimited, until_streams,
    within,
};

/// The next thing to hear, apart from who comes and goes.
async fn heard(listener: &mut Listener) -> Heard {
    loop {
        let heard = within("something to hear", listener.next()).await;
        match heard.expect("the chat is open") {
            Heard::Joined { .. } | Heard::Left { .. } | Heard::CaughtUp { .. } => {}
            heard => return heard,
        }
    }
}

async fn heard_text(listener: &mut Listener) -> String {
    match heard(listener).await {
        Heard::Message(message) => message.text.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

/// Serves chats in a plain hyper server, as an embedding program would: the first whose prefix
/// fits answers, and what fits none is the program's own.
async fn bare_server(chats: Vec<(&'static str, Chat)>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a listener has an address");
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let chats = chats.clone();
            let service = service_fn(move |mut request: HyperRequest<hyper::body::Incoming>| {
                request.extensions_mut().insert(PeerAddr(peer));
                let path = request.uri().path();
                let chat = chats.iter().find(|(prefix, _)| path.starts_with(prefix));
                chat.expect("a path of the test").1.call(request)
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A client that leaves its stream ends the connection with an error, and that is fine.
            tokio::spawn(async { drop(connection.await) });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_in_the_program_is_heard_on_streams_and_the_other_way_round() {
    let server = Server::start().await;
    let mut stream = EventStream::open(server.address(), "/chat").await;
    let mut listener = server
        .chat()
        .listen(["lobby"], None)
        .await
        .expect("the room is open");
    let posted = server
        .chat()
        .post("lobby", "door bell", "ring")
        .await
        .expect("posted");
    assert_eq!(
        (posted.room.as_str(), posted.name.as_str(), posted.member),
        ("lobby", "door bell", false)
    );
    let event = stream.message().await;
    assert_eq!(event.id, Some(posted.id.to_string()));
    assert_eq!(event.data, posted.to_json());
    say(server.address(), "lobby", "ann", "who is there?").await;
    assert_eq!(heard(&mut listener).await, Heard::Message(posted));
    assert_eq!(heard_text(&mut listener).await, "who is there?");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_joins_is_a_member_like_any_other() {
    let server = Server::start().await;
    let bot = server
        .chat()
        .join(["lobby"], "bot", None)
        .await
        .expect("a free name");
    get(server.address(), "/chat?name=BOT")
        .await
        .expect(409, "name-taken");
    let post = Request::post_text("/chat?name=bot", "forged");
    ask(server.address(), post).await.expect(409, "name-taken");
    let refused = server.chat().post("lobby", "bot", "forged").await;
    assert_eq!(
        refused.err().map(|refused| refused.code()),
        Some("name-taken")
    );
    assert_eq!(
        server
            .chat()
            .join(["lobby"], "Bot", None)
            .await
            .err()
            .map(|e| e.code()),
        Some("name-taken")
    );
    let message = bot.post("lobby", "hello").await.expect("posted");
    assert!(message.member);
    let members = get(server.address(), "/chat/lobby/members").await.json();
    assert_eq!(members["members"], json!(["bot"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_refused_for_the_reasons_a_request_is() {
    let server = Server::with(|chat| chat.max_message(10).max_rooms(1)).await;
    let chat = server.chat();
    // The default room does not count.
    chat.post("lobby", "ann", "hi").await.expect("posted");
    chat.post("second", "ann", "hi").await.expect("posted");
    let long = "x".repeat(11);
    for (room, name, text, code) in [
        (".bad", "ann", "hi", "bad-room"),
        ("lobby", " ann", "hi", "bad-name"),
        ("lobby", "ann", " \n", "bad-text"),
        ("lobby", "ann", &long, "too-large"),
        ("third", "ann", "hi", "too-many-rooms"),
    ] {
        let refused = chat.post(room, name, text).await.expect_err("refused");
        assert_eq!(refused.code(), code);
        assert!(
            refused.to_string().starts_with(&format!("{code}: ")),
            "{refused}"
        );
    }
    assert_eq!(
        chat.listen(["third"], None).await.err().map(|e| e.code()),
        Some("too-many-rooms")
    );
    let listener = chat
        .listen(["lobby"], None)
        .await
        .expect("the room is open");
    assert_eq!(
        listener.post("lobby", "hi").await.err().map(|e| e.code()),
        Some("name-required")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_falls_behind_is_told_what_it_missed_and_goes_on() {
    let server = Server::with(|chat| chat.history(10)).await;
    let mut slow = server
        .chat()
        .listen(["lobby"], None)
        .await
        .expect("the room is open");
    for n in 0..1_000 {
        server
            .chat()
            .post("lobby", "bot", &n.to_string())
            .await
            .expect("posted");
    }
    let mut last = None;
    let mut missed = 0;
    while last != Some(999) {
        match heard(&mut slow).await {
            Heard::Missed { .. } => missed += 1,
            Heard::Message(message) => {
                let n = message.text.as_str().parse::<u32>().expect("a number");
                assert!(
                    last.is_none_or(|last| n == last + 1 || missed == 1 && n == 990),
                    "{n} after {last:?}"
                );
                last = Some(n);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(missed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_works_below_a_prefix_of_a_bare_hyper_server() {
    let chat = unlimited().prefix("/team/").build().expect("a chat");
    let address = bare_server(vec![("/", chat)]).await;
    for moved in ["/team", "/team?x"] {
        let answer = get(address, moved).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (308, Some("/team/"))
        );
    }
    assert!(
        get(address, "/team/")
            .await
            .expect(200, "")
            .text()
            .contains("<script")
    );
    get(address, "/team/js/main.js").await.expect(200, "");
    let mut stream = EventStream::open(address, "/team/chat/dev?name=ann").await;
    assert_eq!(stream.event().await.json()["room"], "dev");
    let post = Request::post_text("/team/chat/dev", "hi");
    let post = post.header("Cookie", stream.head.cookie().expect("a cookie"));
    ask(address, post).await.expect(201, "");
    assert_eq!(stream.message().await.text(), "hi");
    get(address, "/team/rooms").await.expect(200, "");
    get(address, "/team/healthz").await.expect(200, "");
    for outside in [
        "/",
        "/chat",
        "/rooms",
        "/teamchat",
        "/teams/chat",
        "/Team/chat",
        "/x/team/chat",
    ] {
        get(address, outside).await.expect(404, "not-found");
    }
    let wrong = ask(address, Request::new("DELETE", "/team/chat")).await;
    assert_eq!(
        wrong.expect(405, "method-not-allowed").header("allow"),
        Some("GET, POST")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_chats_in_one_process_know_nothing_of_each_other() {
    let chat = |prefix: &str| {
        unlimited()
            .prefix(prefix)
            .max_streams_per_ip(1)
            .build()
            .expect("a chat")
    };
    let (red, green) = (chat("/red"), chat("/green"));
    let address = bare_server(vec![("/red", red.clone()), ("/green", green.clone())]).await;
    let mut red_stream = EventStream::open(address, "/red/chat?name=ann").await;
    let mut green_stream = EventStream::open(address, "/green/chat?name=ann").await;
    red.post("lobby", "bot", "red").await.expect("posted");
    green.post("lobby", "bot", "green").await.expect("posted");
    assert_eq!(red_stream.message().await.text(), "red");
    assert_eq!(green_stream.message().await.text(), "green");
    // A session of the one is nobody in the other.
    let cookie = red_stream.head.cookie().expect("a cookie").to_owned();
    let post = Request::post_text("/green/chat", "hi").header("Cookie", &cookie);
    ask(address, post).await.expect(400, "name-required");
    within("closing", red.close()).await;
    assert!(red_stream.until("server-closing").await.retry.is_some());
    get(address, "/red/healthz").await.expect(503, "");
    get(address, "/green/healthz").await.expect(200, "");
    green
        .post("lobby", "bot", "still here")
        .await
        .expect("posted");
    assert_eq!(green_stream.message().await.text(), "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_address_all_clients_count_as_one() {
    let chat = unlimited().max_streams_per_ip(1).build().expect("a chat");
    let answer = |chat: Chat| async move {
        let body = http_body_util::Empty::<hyper::body::Bytes>::new();
        let request = HyperRequest::get("/chat").header("Host", "x").body(body);
        let answer = chat.call(request.expect("a request")).await;
        answer.unwrap_or_else(|never| match never {})
    };
    let first = answer(chat.clone()).await;
    assert_eq!(first.status(), 200);
    assert_eq!(answer(chat.clone()).await.status(), 429);
    drop(first);
    assert_eq!(answer(chat).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_chat_ends_its_streams_and_takes_nothing_more() {
    let server = Server::start().await;
    let mut stream = EventStream::open(server.address(), "/chat").await;
    let mut listener = server
        .chat()
        .listen(["lobby"], None)
        .await
        .expect("the room is open");
    let mut waiting = Client::connect(server.address()).await;
    waiting
        .send(&Request::get("/chat/lobby/messages?wait=60").to_bytes())
        .await;
    until_streams(server.address(), 2).await;
    server
        .chat()
        .post("lobby", "bot", "the last word")
        .await
        .expect("posted");
    within("closing", server.chat().close()).await;
    assert_eq!(stream.message().await.text(), "the last word");
    let goodbye = stream.until("server-closing").await;
    assert_eq!(
        (goodbye.id.clone(), goodbye.json()),
        (None, json!({"reason": "shutdown"}))
    );
    assert!((1_000..=3_000).contains(&goodbye.retry.expect("a retry time")));
    assert_eq!(stream.next().await, None);
    assert!(stream.ended_cleanly());
    assert_eq!(heard_text(&mut listener).await, "the last word");
    assert_eq!(within("the end", listener.next()).await, None);
    waiting.response("GET").await.expect(200, "");
    let refused = server.chat().post("lobby", "bot", "too late").await;
    assert_eq!(refused.err().map(|e| e.code()), Some("draining"));
    assert_eq!(
        server
            .chat()
            .listen(["other"], None)
            .await
            .err()
            .map(|e| e.code()),
        Some("draining")
    );
    assert_eq!(
        server
            .chat()
            .join(["lobby"], "ann", None)
            .await
            .err()
            .map(|e| e.code()),
        Some("draining")
    );
    get(server.address(), "/chat").await.expect(503, "draining");
    let post = Request::post_text("/chat?name=ann", "too late");
    ask(server.address(), post).await.expect(503, "draining");
    let health = get(server.address(), "/healthz").await;
    assert_eq!(
        (health.status, health.text()),
        (503, r#"{"status":"draining"}"#)
    );
    // Closing twice is as good as once.
    within("closing again", server.chat().close()).await;
}

/// How many tasks the test's runtime has, without the test itself.
fn tasks() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_task_outlives_a_dropped_chat() {
    let before = tasks();
    let heard = unlimited().build().expect("a chat");
    let one = tasks();
    assert!(one > before, "a chat keeps house");
    let others: Vec<Chat> = (0..9)
        .map(|_| unlimited().build().expect("a chat"))
        .collect();
    let listener = heard
        .listen(["lobby"], None)
        .await
        .expect("the room is open");
    drop((heard, others));
    // A listener holds on to its chat.
    eventually("the end of all tasks but one chat's", || async {
        tasks() == one
    })
    .await;
    drop(listener);
    eventually("the end of all tasks", || async { tasks() == before }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_task_outlives_a_closed_chat_or_a_stopped_server() {
    let before = tasks();
    let chat = unlimited().build().expect("a chat");
    within("closing", chat.close()).await;
    eventually("the end of its task", || async { tasks() == before }).await;
    let server = Server::with(|chat| chat.drain(Duration::from_secs(10))).await;
    let chat = server.chat().clone();
    let streams = [
        EventStream::open(server.address(), "/chat").await,
        EventStream::open(server.address(), "/chat/dev?name=ann").await,
    ];
    server.stop().await;
    // Neither the clone that is left nor the clients keep anything running.
    eventually("the end of all tasks", || async { tasks() == before }).await;
    drop((chat, streams));
}
