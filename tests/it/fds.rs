//! Few file descriptors: connections leave some to the store, those that are open go on, others wait.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::common::{Client, EventStream, Folder, Process, Request, get};

const FILES: usize = 128;
/// Connections that a server with so few files has at most.
const CONNECTIONS: usize = FILES - 64;

/// A ban and a rewritten journal each need a file of their own.
#[tokio::test]
async fn connections_leave_files_to_the_store_and_those_beyond_wait() {
    let folder = Folder::new();
    let data = format!("--data={}/data", folder.as_str());
    let password = format!("--moderator-password-file={}", folder.file("password", "x"));
    let limited = format!("ulimit -n {FILES}; exec \"$0\" \"$@\"");
    let server = Process::start_under(
        &["sh", "-c", &limited],
        &[
            &data,
            &password,
            "--max-streams-per-ip=0",
            "--message-rate=0",
        ],
    )
    .await;
    let address = server.address();
    let told = format!("at most {CONNECTIONS} connections instead of 11024");
    server.said(&told).await;

    let mut poster = Client::connect(address).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = EventStream::open(address, "/chat").await;
        stream.telling().await;
        streams.push(stream);
    }
    let mut crowd = Vec::new();
    for _ in 0..CONNECTIONS {
        // The kernel takes those in that the server does not.
        crowd.push(
            TcpStream::connect(address)
                .await
                .expect("the kernel accepts"),
        );
    }
    let mut late = Client::connect(address).await;
    late.send(&Request::get("/healthz").to_bytes()).await;
    let before = server.cpu_ticks();
    sleep(Duration::from_secs(2)).await;
    let used = server.cpu_ticks() - before;
    assert!(
        used < 10,
        "{used} hundredths of a second of CPU in two seconds"
    );

    let ban = json!({"author": "0123456789abcdef", "address": false});
    let ban = Request::post_json("/bans", &ban).header("Authorization", "Basic Ong=");
    poster.ask(&ban).await.expect(201, "");
    for n in 0..3 {
        let post = Request::post_text("/chat?name=a", format!("message {n}"));
        let posted = poster.ask(&post).await.expect(201, "").json();
        for stream in &mut streams {
            assert_eq!(stream.message().await.text(), format!("message {n}"));
        }
        let id = posted["eventId"].as_str().expect("an id");
        let remove = Request::new("DELETE", &format!("/chat/lobby/messages/{id}"));
        let remove = remove.header("Authorization", "Basic Ong=");
        poster.ask(&remove).await.expect(200, "");
        for stream in &mut streams {
            stream.until("message-removed").await;
        }
    }
    drop(crowd);
    late.response("GET").await.expect(200, "");
    get(address, "/healthz").await.expect(200, "");
    let after = Request::post_text("/chat?name=a", "after");
    poster.ask(&after).await.expect(201, "");
    for stream in &mut streams {
        assert_eq!(stream.message().await.text(), "after");
    }
    let said = server.last_words().await;
    assert!(!said.contains("chatroom error"), "{said}");
}

/// Linux makes all threads wait when it makes room for more files of a process that has several.
#[tokio::test]
async fn there_is_room_for_the_files_of_all_streams_from_the_start() {
    for (limit, room) in [(10_000, 3_000), (200, 200)] {
        let limited = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        let wrapper = ["sh", "-c", &limited];
        let server = Process::start_under(&wrapper, &["--max-streams=3000"]).await;
        assert!(
            server.room_for_files() >= room,
            "{}",
            server.room_for_files()
        );
        assert!(server.open_files() < 64, "they are closed again");
    }
}
