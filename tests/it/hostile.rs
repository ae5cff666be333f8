//! What clients do to a server on purpose or by accident, one test for each: it costs the server
//! a bounded time, and the others nothing.

use crate::common::Change as _;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, interval, sleep};

use crate::common::{
    Client, EventStream, Process, Request, Server, get, say, until_streams, within,
};

/// What the server gives a request's head and body, each.
const LIMIT: Duration = Duration::from_secs(10);
/// How much earlier than that counts as too early: timers are not exact.
const EARLY: Duration = Duration::from_millis(500);

/// Sends a byte of `bytes` each quarter of a second, over and over, until the server has ended the
/// connection; then gives what it answered.
async fn dribble(client: &mut Client, bytes: &[u8]) -> String {
    let mut ticks = interval(Duration::from_millis(250));
    let (mut reader, mut writer) = client.socket().split();
    let mut answer = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut answer);
    let writing = async {
        for byte in bytes.iter().cycle() {
            ticks.tick().await;
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        // A reset is an end too.
        _ = within("the server's end of it", reading) => {}
        () = writing => {}
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The time limits run side by side, for each of them takes its ten seconds.
#[tokio::test]
async fn slow_requests_are_cut_and_nobody_else_notices() {
    let server = Server::start().await;
    let address = server.address();
    let began = Instant::now();
    let head = async {
        let mut client = Client::connect(address).await;
        client
            .send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
            .await;
        dribble(&mut client, b"x").await;
        assert!(began.elapsed() > LIMIT - EARLY, "the head");
    };
    let silence = async {
        let rest = Client::connect(address).await.rest().await;
        assert_eq!(
            (rest.len(), began.elapsed() > LIMIT - EARLY),
            (0, true),
            "silence"
        );
    };
    let idle = async {
        let mut client = Client::connect(address).await;
        client.ask(&Request::get("/healthz")).await.expect(200, "");
        assert!(client.rest().await.is_empty());
        assert!(began.elapsed() > LIMIT - EARLY, "an idle connection");
    };
    let body = async {
        let mut client = Client::connect(address).await;
        let request = Request::post_text("/chat?name=a", "").header("Content-Length", "500");
        client.send(&request.to_bytes()).await;
        let answer = dribble(&mut client, b"x").await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("\"timeout\""), "{answer}");
        assert!(began.elapsed() > LIMIT - EARLY, "the body");
    };
    let silent_body = async {
        let mut client = Client::connect(address).await;
        let request = Request::post_text("/chat?name=a", "").header("Transfer-Encoding", "chunked");
        client.send(&request.to_bytes()).await;
        client.response("POST").await.expect(408, "timeout");
        client.rest().await;
    };
    let healthy = async {
        let mut stream = EventStream::open(address, "/chat").await;
        while began.elapsed() < LIMIT {
            say(address, "lobby", "b", "hello").await;
            assert_eq!(stream.message().await.text(), "hello");
            sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::join!(head, silence, idle, body, silent_body, healthy);
    let page = get(address, "/chat/lobby/messages?limit=500").await.json();
    let messages = page["messages"].as_array().expect("a list");
    assert!(messages.iter().all(|message| message["name"] == "b"));
}

/// Sends bytes, and gives the status of what comes back, or 0 where nothing does; then the
/// connection has to be over.
async fn provoke(server: &Server, bytes: &[u8]) -> u16 {
    let mut client = Client::connect(server.address()).await;
    client.send(bytes).await;
    let answer = String::from_utf8_lossy(&client.rest().await).into_owned();
    answer
        .get(9..12)
        .map_or(0, |status| status.parse().expect("a status"))
}

const POST: &str = "POST /chat?name=a HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n";

#[tokio::test]
async fn malformed_bodies_are_refused_and_store_nothing() {
    let server = Server::with(|chat| chat.max_message(100)).await;
    let huge_chunk = format!("2000\r\n{}\r\n0\r\n\r\n", "x".repeat(0x2000));
    for (what, rest, status) in [
        (
            "chunked nonsense",
            "Transfer-Encoding: chunked\r\n\r\nhello there\r\n",
            400,
        ),
        (
            "a negative chunk",
            "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
            400,
        ),
        (
            "a chunk beyond numbers",
            "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx",
            400,
        ),
        (
            "a chunk over the limit",
            &format!("Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{huge_chunk}"),
            413,
        ),
        (
            "two lengths",
            "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            400,
        ),
        (
            "a length that is none",
            "Content-Length: five\r\n\r\nhello",
            400,
        ),
        (
            "an unknown coding",
            "Transfer-Encoding: gzip\r\n\r\nhello",
            400,
        ),
    ] {
        let answered = provoke(&server, format!("{POST}{rest}").as_bytes()).await;
        assert_eq!(answered, status, "{what}");
    }
    let page = get(server.address(), "/chat/lobby/messages").await.json();
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(0));
}

/// A front and this server must not disagree on where a request ends.
#[tokio::test]
async fn nothing_is_smuggled_behind_a_length_and_chunks() {
    let server = Server::start().await;
    let smuggled = "0\r\n\r\nPOST /chat?name=evil HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi";
    let rest = format!(
        "Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n{smuggled}",
        smuggled.len()
    );
    let mut client = Client::connect(server.address()).await;
    client.send(format!("{POST}{rest}").as_bytes()).await;
    client.rest().await;
    let page = get(server.address(), "/chat/lobby/messages").await.json();
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(0), "{page}");
}

#[tokio::test]
async fn a_body_that_breaks_off_stores_nothing() {
    let server = Server::start().await;
    for reset in [false, true] {
        let mut client = Client::connect(server.address()).await;
        client
            .send(format!("{POST}Content-Length: 50\r\n\r\nhello").as_bytes())
            .await;
        if reset {
            client
                .socket()
                .set_zero_linger()
                .expect("a socket can be reset");
            drop(client);
        } else {
            client.half_close().await;
            client.rest().await;
        }
    }
    let page = get(server.address(), "/chat/lobby/messages").await.json();
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn who_asks_before_it_sends_too_much_is_not_told_to_go_on() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address()).await;
    let head = format!("{POST}Expect: 100-continue\r\nContent-Length: 9000000\r\n\r\n");
    client.send(head.as_bytes()).await;
    client.response("POST").await.expect(413, "too-large");
    // And who may send is told so.
    let mut client = Client::connect(server.address()).await;
    let head = format!("{POST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    client.send(head.as_bytes()).await;
    assert_eq!(client.head().await.expect("an answer").status, 100);
    client.send(b"hello").await;
    client.response("POST").await.expect(201, "");
}

#[tokio::test]
async fn http_2_by_prior_knowledge_ends_at_once() {
    let server = Server::start().await;
    let answered = provoke(
        &server,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    )
    .await;
    assert!(matches!(answered, 0 | 400 | 505), "{answered}");
    get(server.address(), "/healthz").await.expect(200, "");
}

/// Clients whose connection says nothing more of its end: half closed, or with bytes behind their
/// stream that are never read. They keep no place for longer than a heartbeat, and no CPU busy.
#[tokio::test]
async fn half_closed_and_pipelining_clients_leave_with_the_heartbeat_and_spin_nothing() {
    let server = Process::start(&["--heartbeat=1", "--max-streams-per-ip=0"]).await;
    let address = server.address();
    let mut kept = Vec::new();
    for pipelines in [true, false] {
        for _ in 0..20 {
            let mut client = Client::connect(address).await;
            client.send(&Request::get("/chat").to_bytes()).await;
            client.head().await.expect("a stream begins");
            if pipelines {
                client.send(&Request::get("/healthz").to_bytes()).await;
            } else {
                client.half_close().await;
            }
            kept.push(client);
        }
    }
    let before = server.cpu_ticks();
    let watched = Duration::from_secs(2);
    sleep(watched).await;
    let used = server.cpu_ticks() - before;
    assert!(
        used < 10,
        "{used} hundredths of a second of CPU in {watched:?}"
    );
    drop(kept);
    until_streams(address, 0).await;
}

/// Counting the files of a server that has thousands open takes a while, in which it serves others.
#[test]
fn figures_of_the_process_are_taken_beside_the_workers() {
    // One thread that serves, and one for what would hold it up, which is busy.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let server = Server::start().await;
        let address = server.address();
        let (finish, busy) = std::sync::mpsc::channel::<()>();
        let occupied = tokio::task::spawn_blocking(move || busy.recv());
        let mut asking = Client::connect(address).await;
        asking.send(&Request::get("/metrics").to_bytes()).await;
        let answer = tokio::spawn(async move { asking.response("GET").await });
        for _ in 0..20 {
            get(address, "/healthz").await.expect(200, "");
        }
        assert!(
            !answer.is_finished(),
            "it was counted by the one who serves"
        );
        drop(finish);
        let answer = answer.await.expect("no panic").expect(200, "");
        assert!(answer.text().contains("\nprocess_open_fds "));
        assert!(occupied.await.is_ok());
    });
}
