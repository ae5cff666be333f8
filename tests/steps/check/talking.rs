//! Steps 1 and 2: a stream, and a room of streams.

use crate::common::{EventStream, Request, ask, eventually, get};
use crate::{say, start};

#[tokio::test]
async fn step1_streams_a_message_a_second() {
    let server = start(1).await;
    let page = get(server.address(), "/").await.expect(200, "");
    for event in ["chat-room-connected", "new-message"] {
        let listener = format!("events.addEventListener('{event}'");
        assert!(page.text().contains(&listener), "{event}");
    }
    let mut stream = EventStream::open(server.address(), "/chat").await;
    assert_eq!(
        stream.head.header("content-type"),
        Some("text/event-stream")
    );
    let connected = stream.event().await;
    assert_eq!(
        connected.raw,
        "event: chat-room-connected\ndata: {\"room\":\"lobby\"}\n\n"
    );
    for id in 1..=2 {
        assert_eq!(
            stream.event().await.raw,
            format!(
                "id: {id}\nevent: new-message\ndata: {{\"eventId\":{id},\"text\":\"message {id}\"}}\n\n"
            )
        );
    }
    get(server.address(), "/elsewhere").await.expect(404, "");
}

#[tokio::test]
async fn step2_brings_a_post_to_everyone() {
    let deaf = start(1).await;
    let post = Request::post_text("/chat", "hello");
    ask(deaf.address(), post).await.expect(404, "");

    let server = start(2).await;
    let mut streams = Vec::new();
    for count in 1..=3 {
        let mut stream = EventStream::open(server.address(), "/chat").await;
        assert_eq!(stream.event().await.json()["listenerCount"], count);
        streams.push(stream);
    }
    for text in ["hello", "two\nlines\r\n\r\ndata: x", "🦀"] {
        say(server.address(), text).await;
        for stream in &mut streams {
            assert_eq!(stream.event().await.text(), text);
        }
    }
    let page = get(server.address(), "/").await.expect(200, "");
    assert!(page.text().contains("<form>"));
}

#[tokio::test]
async fn step2_forgets_who_has_left() {
    let server = start(2).await;
    drop(EventStream::open(server.address(), "/chat").await);
    eventually("the place is free", async || {
        let mut stream = EventStream::open(server.address(), "/chat").await;
        stream.event().await.json()["listenerCount"] == 1
    })
    .await;
}

#[tokio::test]
async fn step2_refuses_what_is_no_text() {
    let server = start(2).await;
    for text in [vec![b'x'; 4097], vec![0xff]] {
        let post = Request::post_text("/chat", text);
        ask(server.address(), post).await.expect(400, "");
    }
}
