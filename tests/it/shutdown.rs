//! The end in good order: a goodbye on every stream, an answer to every request, within the drain
//! time.

use std::net::SocketAddr;
use std::time::Duration;

use chatroom::EventId;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::common::{
    Client, EventStream, Folder, Follower, Process, Progress, Request, Server, eventually, get,
    id_of, in_order, until_streams, within,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_streams_get_a_goodbye_and_a_clean_end() {
    const STREAMS: usize = 1_000;
    let mut server = Process::start(&["--max-streams-per-ip=0", "--drain=20"]).await;
    let address = server.address();
    let mut streams = Vec::new();
    for n in 0..STREAMS {
        streams.push(Follower::join(address, &format!("/chat/r{}", n % 10)).await);
    }
    server.signal("TERM").await;
    let mut waits = Vec::new();
    for (stream, seen) in &mut streams {
        assert_eq!(stream.read_to_the_end(seen).await, Progress::Ended);
        assert_eq!(seen.goodbyes.len(), 1, "one goodbye");
        waits.push(seen.goodbyes[0]);
    }
    assert!(waits.iter().all(|wait| (1_000..=3_000).contains(wait)));
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > STREAMS / 5, "{} different waits", waits.len());
    assert_eq!(server.exited().await.code(), Some(0));
}

/// Posts until the server ends, and returns what was answered with 201.
async fn post_read_to_the_end(address: SocketAddr, name: String) -> Vec<EventId> {
    let mut taken = Vec::new();
    let request = Request::post_text(&format!("/chat?name={name}"), "hello");
    'connection: loop {
        let Ok(socket) = TcpStream::connect(address).await else {
            return taken;
        };
        let mut client = Client::from(socket);
        loop {
            if client.try_send(&request.to_bytes()).await.is_err() {
                continue 'connection;
            }
            let Some(mut head) = client.head().await else {
                continue 'connection;
            };
            let length = head.header("content-length").expect("a length").parse();
            head.body = client.take(length.expect("a number")).await;
            match head.status {
                201 => taken.push(id_of(&head.json())),
                _ => drop(head.expect(503, "draining")),
            }
        }
    }
}

/// Ends the server while posts come in: the streams have what was answered with 201, and nothing
/// else.
async fn what_is_taken_is_delivered(arguments: &[&str]) -> Vec<EventId> {
    let common = ["--message-rate=0", "--max-streams-per-ip=0"];
    let mut server = Process::start(&[&common, arguments].concat()).await;
    let address = server.address();
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(Follower::join(address, "/chat").await);
    }
    let posters: Vec<_> = (0..8)
        .map(|n| tokio::spawn(post_read_to_the_end(address, format!("poster{n}"))))
        .collect();
    let (stream, seen) = &mut streams[0];
    stream.follow(100, seen).await;
    server.signal("TERM").await;
    let mut taken = Vec::new();
    for poster in posters {
        taken.push(within("the posters' end", poster).await.expect("no panic"));
    }
    let truth = in_order(taken);
    for (mut stream, mut seen) in streams {
        assert_eq!(stream.read_to_the_end(&mut seen).await, Progress::Ended);
        assert!(seen.gaps.is_empty());
        assert_eq!(seen.messages, truth);
    }
    assert_eq!(server.exited().await.code(), Some(0));
    truth
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_under_way_at_the_end_are_delivered_or_refused() {
    what_is_taken_is_delivered(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_under_way_at_the_end_are_in_the_journal_or_refused() {
    let folder = Folder::new();
    for fsync in ["--fsync=always", "--fsync=everysec"] {
        let data = format!("--data={}/{fsync}", folder.as_str());
        let history = ["--history=0", "--history-bytes=0"];
        let truth =
            what_is_taken_is_delivered(&[&[data.as_str(), fsync], &history[..]].concat()).await;
        let lines = std::fs::read_to_string(folder.path().join(fsync).join("messages.jsonl"));
        let kept: Vec<EventId> = lines
            .expect("a journal")
            .lines()
            .filter(|line| !line.contains("\"floor\""))
            .map(|line| id_of(&serde_json::from_str(line).expect("JSON")))
            .collect();
        assert_eq!(kept, truth);
    }
}

#[tokio::test]
async fn a_request_under_way_is_answered_at_the_end() {
    let mut server = Server::start().await;
    let address = server.address();
    let waiting = Request::get("/chat/lobby/messages?wait=60");
    let mut client = Client::connect(address).await;
    client.send(&waiting.to_bytes()).await;
    until_streams(address, 1).await;
    server.begin_stop();
    client.response("GET").await.expect(200, "");
    server.stop().await;
}

/// A server that cannot end, for a body is on its way and it has a minute.
async fn held_up() -> (Process, Client) {
    let server = Process::start(&["--drain=60"]).await;
    let mut slow = Client::connect(server.address()).await;
    let request = Request::post_text("/chat?name=a", "half").header("Content-Length", "8");
    slow.send(&request.to_bytes()).await;
    // Its head was read when a later connection gets an answer.
    get(server.address(), "/healthz").await.expect(200, "");
    server.signal("TERM").await;
    eventually("the end begins", async || {
        TcpStream::connect(server.address()).await.is_err()
    })
    .await;
    (server, slow)
}

#[tokio::test]
async fn while_it_ends_a_server_accepts_nobody_and_answers_what_is_under_way() {
    let (mut server, mut slow) = held_up().await;
    slow.send(b"half").await;
    slow.response("POST").await.expect(503, "draining");
    assert_eq!(server.exited().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let (mut server, _slow) = held_up().await;
    server.signal("INT").await;
    assert_eq!(server.exited().await.code(), Some(1));
}

#[tokio::test]
async fn who_takes_nothing_holds_the_end_up_for_the_drain_time_alone() {
    let mut server = Process::start(&["--drain=1", "--write-timeout=0", "--message-rate=0"]).await;
    let address = server.address();
    let mut stalled = Client::connect_narrow(address, 4 * 1024).await;
    stalled.send(&Request::get("/chat").to_bytes()).await;
    stalled.head().await.expect("the stream begins");
    let mut healthy = EventStream::open(address, "/chat?history=0").await;
    healthy.telling().await;
    let mut poster = Client::connect(address).await;
    for _ in 0..100 {
        let post = Request::post_text("/chat?name=a", "x".repeat(4_000));
        poster.ask(&post).await.expect(201, "");
        healthy.message().await;
    }
    let began = Instant::now();
    server.signal("TERM").await;
    healthy.until("server-closing").await;
    assert!(healthy.next().await.is_none() && healthy.ended_cleanly());
    assert_eq!(server.exited().await.code(), Some(0));
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "it was to wait for the stalled one"
    );
}
