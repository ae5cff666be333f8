//! Out of file descriptors: streams live on, the CPU rests, accepting resumes.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::common::{Client, EventStream, Process, Request, get, within};

const FILES: usize = 64;

#[tokio::test]
async fn a_server_without_file_descriptors_goes_on_and_recovers() {
    let limited = format!("ulimit -n {FILES}; exec \"$0\" \"$@\"");
    let server = Process::start_under(
        &["sh", "-c", &limited],
        &["--max-streams-per-ip=0", "--message-rate=0"],
    )
    .await;
    let address = server.address();

    let mut poster = Client::connect(address).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = EventStream::open(address, "/chat").await;
        stream.telling().await;
        streams.push(stream);
    }
    // The kernel takes these in; the server has no descriptors left for the last of them.
    let mut crowd = Vec::new();
    while crowd.len() < FILES {
        crowd.push(
            TcpStream::connect(address)
                .await
                .expect("the kernel accepts"),
        );
    }
    within("the server notices", async {
        while !server.stderr().contains("cannot accept") {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let mut late = Client::connect(address).await;
    late.send(&Request::get("/healthz").to_bytes()).await;

    let before = server.cpu_ticks();
    sleep(Duration::from_secs(2)).await;
    let used = server.cpu_ticks() - before;
    assert!(
        used < 10,
        "{used} hundredths of a second of CPU in two seconds"
    );

    for n in 0..3 {
        let post = Request::post_text("/chat?name=a", format!("message {n}"));
        poster.ask(&post).await.expect(201, "");
        for stream in &mut streams {
            assert_eq!(stream.message().await.text(), format!("message {n}"));
        }
    }
    assert_eq!(
        server.stderr().matches("cannot accept").count(),
        1,
        "said once"
    );

    drop(crowd);
    late.response("GET").await.expect(200, "");
    get(address, "/healthz").await.expect(200, "");
    poster
        .ask(&Request::post_text("/chat?name=a", "after"))
        .await
        .expect(201, "");
    for stream in &mut streams {
        assert_eq!(stream.message().await.text(), "after");
    }
}
