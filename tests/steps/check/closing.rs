//! Step 5: the end of a run, and the next one.

use crate::common::{Client, EventStream, Folder, Request};
use crate::{ids_up_to, resume, say, say_over, start, start_with};

#[tokio::test]
async fn step5_ends_in_good_order() {
    for (step, signal) in [(4, "TERM"), (5, "TERM"), (5, "INT")] {
        let mut server = start(step).await;
        let mut stream = EventStream::open(server.address(), "/chat").await;
        let id = say(server.address(), "hello").await;
        assert_eq!(ids_up_to(&mut stream, id).await, [id]);
        // A post whose body has yet to come when the signal does.
        let post = Request::post_text("/chat", "late").header("Expect", "100-continue");
        let post = post.to_bytes();
        let (head, body) = post.split_at(post.len() - "late".len());
        let mut poster = Client::connect(server.address()).await;
        poster.send(head).await;
        assert!(poster.head().await.is_some_and(|head| head.status == 100));
        server.signal(signal).await;
        if step == 4 {
            assert_eq!(stream.next().await, None);
            assert!(!stream.ended_cleanly());
            assert!(!server.exited().await.success());
            continue;
        }
        stream.until("server-closing").await;
        assert_eq!(stream.next().await, None);
        assert!(stream.ended_cleanly());
        poster.send(body).await;
        poster.response("POST").await.expect(503, "");
        assert!(server.exited().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn step5_loses_nothing_that_it_has_accepted() {
    let folder = Folder::new();
    let file = folder.path().join("lobby");
    let file = file.to_str().expect("the folder's path is UTF-8");
    let mut server = start_with(5, &[file]).await;
    let address = server.address();
    let mut listener = EventStream::open(address, "/chat").await;
    // Together fewer than the room retains.
    let posters: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                let mut ids = Vec::new();
                for _ in 0..100 {
                    let post = Request::post_text("/chat", "x");
                    match client.try_ask(&post).await {
                        Some(response) if response.status == 201 => {
                            ids.push(response.json()["eventId"].as_u64().expect("an id"));
                        }
                        _ => break,
                    }
                }
                ids
            })
        })
        .collect();
    let mut seen = Vec::new();
    while let Some(event) = listener.next().await {
        if event.is("new-message") {
            seen.push(crate::id(&event));
        }
        if seen.len() == 40 && event.is("new-message") {
            server.signal("TERM").await;
        }
    }
    assert!(listener.ended_cleanly());
    assert!(server.exited().await.success());
    let mut accepted = Vec::new();
    for poster in posters {
        accepted.extend(poster.await.expect("the poster does not panic"));
    }
    accepted.sort_unstable();
    assert!(
        accepted.iter().all(|id| seen.contains(id)),
        "{accepted:?} in {seen:?}"
    );
    assert!(seen.is_sorted_by(|a, b| a < b));

    let next = start_with(5, &[file]).await;
    let later = say_over(&mut Client::connect(next.address()).await, "later").await;
    let mut absent = resume(next.address(), seen[10]).await;
    assert!(absent.event().await.is("chat-room-connected"));
    let rest = [&seen[11..], &[later]].concat();
    assert_eq!(ids_up_to(&mut absent, later).await, rest);
    let mut newcomer = EventStream::open(next.address(), "/chat").await;
    assert_eq!(ids_up_to(&mut newcomer, later).await.len(), seen.len() + 1);
}

#[tokio::test]
async fn step5_does_not_wait_for_a_client_that_does_not_read() {
    let mut server = start(5).await;
    let client = Client::connect_narrow(server.address(), 4096).await;
    let _stalled = EventStream::over(client, Request::get("/chat")).await;
    let mut poster = Client::connect(server.address()).await;
    for _ in 0..1_000 {
        say_over(&mut poster, &"x".repeat(4096)).await;
    }
    server.signal("TERM").await;
    assert!(server.exited().await.success());
}
