//! A post whose answer was lost is sent again, and its message stands once.

use crate::common::Change as _;
use crate::common::{
    Client, EventStream, Folder, Request, Response, Server, ask, eventually, retained,
};

fn keyed(room: &str, key: &str, text: &str) -> Request {
    Request::post_text(&format!("/chat/{room}?name=a"), text).header("Idempotency-Key", key)
}

/// Twelve posts with one key, sent in one moment: one message, told to all of them.
async fn twelve_at_once(server: &Server) {
    let address = server.address();
    let mut stream = EventStream::open(address, "/chat").await;
    stream.caught_up().await;
    for round in 0..20 {
        let mut clients = Vec::new();
        for _ in 0..12 {
            clients.push(Client::connect(address).await);
        }
        let request = keyed("lobby", &format!("round-{round}"), &format!("text {round}"));
        let posts: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let request = request.clone();
                tokio::spawn(async move { client.ask(&request).await })
            })
            .collect();
        let mut answers: Vec<Response> = Vec::new();
        for post in posts {
            answers.push(post.await.expect("an answer"));
        }
        answers.sort_by_key(|answer| std::cmp::Reverse(answer.status));
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [&[201][..], &[200; 11]].concat());
        assert!(answers.iter().all(|answer| answer.body == answers[0].body));
        assert_eq!(stream.telling().await.json(), answers[0].json());
    }
    assert_eq!(retained(address, "lobby").await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_posts_with_one_key_are_one_message_in_memory() {
    twelve_at_once(&Server::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_posts_with_one_key_are_one_message_in_the_journal() {
    let folder = Folder::new();
    let server = Server::with(|chat| chat.data(folder.path())).await;
    twelve_at_once(&server).await;
    server.stop().await;
    let journal = std::fs::read_to_string(folder.path().join("messages.jsonl")).expect("a file");
    assert_eq!(journal.matches("\"eventId\"").count(), 20);
}

#[tokio::test]
async fn a_post_that_lost_its_answer_is_sent_again_and_stands_once() {
    let server = Server::start().await;
    let address = server.address();
    let mut lost = Client::connect(address).await;
    lost.send(&keyed("lobby", "k", "hello").to_bytes()).await;
    lost.head().await.expect("an answer comes");
    drop(lost);
    let again = ask(address, keyed("lobby", "k", "hello"))
        .await
        .expect(200, "");
    assert_eq!(retained(address, "lobby").await, [again.json()]);
}

#[tokio::test]
async fn a_key_belongs_to_one_message_of_one_room() {
    let server = Server::start().await;
    let address = server.address();
    ask(address, keyed("one", "k", "hello"))
        .await
        .expect(201, "");
    ask(address, keyed("one", "k", "other"))
        .await
        .expect(409, "key-reused");
    let other_name = Request::post_text("/chat/one?name=b", "hello").header("Idempotency-Key", "k");
    ask(address, other_name).await.expect(409, "key-reused");
    ask(address, keyed("two", "k", "other"))
        .await
        .expect(201, "");
    assert_eq!(retained(address, "one").await.len(), 1);
    assert!(
        !retained(address, "one").await[0]
            .to_string()
            .contains("\"k\""),
        "nobody sees a key"
    );
}

#[tokio::test]
async fn a_key_is_forgotten_with_its_message() {
    let server = Server::with(|chat| chat.history(2)).await;
    let address = server.address();
    for (key, status) in [("a", 201), ("b", 201), ("a", 200), ("c", 201), ("a", 201)] {
        ask(address, keyed("lobby", key, "hello"))
            .await
            .expect(status, "");
    }
}

#[tokio::test]
async fn keys_come_back_after_a_restart() {
    let folder = Folder::new();
    let first = Server::with(|chat| chat.data(folder.path())).await;
    let stored = ask(first.address(), keyed("lobby", "k", "hello"))
        .await
        .expect(201, "");
    first.stop().await;
    let second = Server::with(|chat| chat.data(folder.path())).await;
    let again = ask(second.address(), keyed("lobby", "k", "hello"))
        .await
        .expect(200, "");
    assert_eq!(again.body, stored.body);
    ask(second.address(), keyed("lobby", "k", "x"))
        .await
        .expect(409, "key-reused");
    assert_eq!(retained(second.address(), "lobby").await.len(), 1);
}

/// A repeat of a refused post is no repeat: nothing was stored.
#[tokio::test]
async fn a_key_of_a_refused_post_is_free() {
    let server = Server::with(|chat| chat.max_message(5)).await;
    let address = server.address();
    ask(address, keyed("lobby", "k", "too long"))
        .await
        .expect(413, "too-large");
    ask(address, keyed("lobby", "k", "short"))
        .await
        .expect(201, "");
    eventually("one message", async || {
        retained(address, "lobby").await.len() == 1
    })
    .await;
}

/// Gain otherwise: a stranger who guesses a key (`build-1235`) makes the post that uses it a 409, or
/// learns what it said.
#[tokio::test]
async fn a_key_belongs_to_its_author_or_its_address() {
    let folder = Folder::new();
    let (ann, eve) = ("a".repeat(32), "e".repeat(32));
    let from = |request: Request, address: &str| request.header("X-Forwarded-For", address);
    let trusting = |chat: chatroom::Options| {
        let chat = chat.trusted_proxy([127, 0, 0, 1].into());
        chat.data(folder.path())
    };
    let mine = |text: &str| keyed("lobby", "build-1", text).session(&ann);
    let address_s = |text: &str, address: &str| from(keyed("lobby", "build-1", text), address);
    let first = Server::with(trusting).await;
    let address = first.address();
    for (request, status) in [
        (keyed("lobby", "build-1", "eve's").session(&eve), 201),
        (mine("ann's"), 201),
        (address_s("one's", "192.0.2.1"), 201),
        (address_s("two's", "192.0.2.2"), 201),
        // A session keeps its key wherever it is.
        (from(mine("ann's"), "192.0.2.3"), 200),
        (mine("other"), 409),
        (address_s("one's", "192.0.2.1"), 200),
        (address_s("one's", "192.0.2.2"), 409),
    ] {
        assert_eq!(ask(address, request).await.status, status);
    }
    let stored = retained(address, "lobby").await;
    assert_eq!(stored.len(), 4);
    first.stop().await;
    let again = Server::with(trusting).await;
    let repeated = ask(again.address(), mine("ann's")).await;
    assert_eq!(repeated.expect(200, "").json(), stored[1]);
    let repeated = ask(again.address(), address_s("two's", "192.0.2.2")).await;
    assert_eq!(repeated.expect(200, "").json(), stored[3]);
    let journal = std::fs::read_to_string(folder.path().join("messages.jsonl")).expect("a file");
    assert!(
        !journal.contains("192.0.2"),
        "no address is stored: {journal}"
    );
}
