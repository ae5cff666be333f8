//! The interface as it stands on the wire: the promised lines, headers and events, byte for byte.

use crate::support::{EventStream, Server, get, say};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_an_empty_room_begins_with_a_greeting_alone() {
    let server = Server::start().await;
    let mut stream = EventStream::open(server.address(), "/chat").await;
    let greeting = stream.event().await;
    let id = greeting.id.clone().expect("the greeting has a position");
    let retry = greeting.retry.expect("the greeting has a retry time");
    assert!((1_000..=3_000).contains(&retry), "{retry}");
    assert_eq!(
        greeting.raw,
        format!(
            "retry: {retry}\nid: {id}\nevent: chat-room-connected\ndata: {{\"eventId\":\"{id}\",\"room\":\"lobby\",\
             \"name\":null,\"members\":[],\"memberCount\":0,\"listenerCount\":1,\"heartbeatSeconds\":15}}\n\n"
        )
    );
    say(server.address(), "lobby", "bot", "hello").await;
    assert_eq!(stream.message().await.text(), "hello");
    get(server.address(), "/healthz").await.expect(200, "");
    server.stop().await;
}
