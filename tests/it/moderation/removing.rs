//! A removal is an entry like a message: it has an id, it is told, it is retained, it resumes.

use crate::common::Change as _;
use chatroom::Heard;
use serde_json::{Value, json};

use super::{ANN, BASIC, BOB, MODERATOR, author_of, moderated, removal, say_as};
use crate::common::{
    Client, EventStream, Request, Server, ask, get, id_of, post_all, retained, texts,
    until_streams, within,
};

async fn history(server: &Server, query: &str) -> Value {
    let target = format!("/chat/lobby/messages?{query}");
    get(server.address(), &target).await.expect(200, "").json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_is_an_event_that_is_told_retained_and_resumed() {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    let mut stream = EventStream::open(address, "/chat").await;
    let before = say_as(address, ANN, "ann", "before").await;
    let spam = say_as(address, ANN, "ann", "spam").await;
    let after = say_as(address, ANN, "ann", "after").await;
    let mut poller = Client::connect(address).await;
    let target = format!("/chat/lobby/messages?wait=30&after={}", id_of(&after));
    poller.send(&Request::get(&target).to_bytes()).await;
    until_streams(address, 2).await;

    let answer = ask(address, removal(&spam).session(ANN)).await;
    let told = answer.expect(200, "").json();
    assert!(id_of(&told) > id_of(&after));
    let sent_at = told["sentAt"].as_u64().expect("a time");
    assert!(sent_at >= after["sentAt"].as_u64().expect("a time"));
    assert_eq!(
        told,
        json!({"eventId": told["eventId"], "room": "lobby", "removed": spam["eventId"], "by": "author", "sentAt": sent_at})
    );
    let event = stream.until("message-removed").await;
    assert_eq!(
        (event.json(), event.id),
        (told.clone(), Some(id_of(&told).to_string()))
    );

    let polled = poller.response("GET").await.json();
    let removed = json!([spam["eventId"]]);
    assert_eq!(
        (&polled["removed"], &polled["messages"]),
        (&removed, &json!([]))
    );
    assert_eq!(polled["next"], told["eventId"]);

    // Whoever was away in between is told of the removal alone.
    for (position, expected) in [
        (&before, vec!["after"]),
        (&spam, vec!["after"]),
        (&after, vec![]),
    ] {
        let id = id_of(position).to_string();
        let request = Request::get("/chat").header("Last-Event-ID", &id);
        let mut stream = EventStream::request(address, request).await;
        assert!(stream.telling().await.is("chat-room-connected"));
        for text in expected {
            assert_eq!(stream.telling().await.text(), text);
        }
        assert_eq!(stream.telling().await.json(), told, "after {id}");
        assert!(stream.telling().await.is("caught-up"));
    }
    assert_eq!(
        texts(&retained(address, "lobby").await),
        ["before", "after"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn history_tells_what_was_removed_after_a_position() {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    let mut all = Vec::new();
    for n in 0..6 {
        all.push(say_as(address, ANN, "ann", &format!("{n}")).await);
    }
    let mut removals = Vec::new();
    for n in [1, 4] {
        let answer = ask(address, removal(&all[n]).session(ANN)).await;
        removals.push(answer.expect(200, "").json()["eventId"].clone());
    }
    let [first_removed, last] = &removals[..] else {
        unreachable!("two were removed");
    };
    let whole = history(&server, "").await;
    assert_eq!(whole["removed"], json!([]), "nothing was asked for");
    assert_eq!(&whole["next"], last);
    let first = format!("after={}", id_of(&all[0]));
    let rest = history(&server, &first).await;
    assert_eq!(
        rest["removed"],
        json!([all[1]["eventId"], all[4]["eventId"]])
    );
    assert_eq!(
        texts(rest["messages"].as_array().expect("a list")),
        ["2", "3", "5"]
    );
    assert_eq!(&rest["next"], last);
    // The limit counts messages and removals, in the order of their ids.
    let first_removal = rest["removed"][0].clone();
    for (limit, messages, removed, next) in [
        (1, vec!["2"], json!([]), &all[2]["eventId"]),
        (3, vec!["2", "3", "5"], json!([]), &all[5]["eventId"]),
        (
            4,
            vec!["2", "3", "5"],
            json!([first_removal]),
            first_removed,
        ),
        (5, vec!["2", "3", "5"], rest["removed"].clone(), last),
    ] {
        let page = history(&server, &format!("{first}&limit={limit}")).await;
        assert_eq!(
            texts(page["messages"].as_array().expect("a list")),
            messages
        );
        assert_eq!(
            (&page["removed"], &page["next"]),
            (&removed, next),
            "limit {limit}"
        );
    }
    let next = format!("after={}", rest["next"].as_str().expect("an id"));
    let nothing = history(&server, &next).await;
    assert_eq!(
        (&nothing["removed"], &nothing["messages"]),
        (&json!([]), &json!([]))
    );
    // The tag of an answer changes with a removal alone.
    let target = format!("/chat/lobby/messages?{first}");
    let tag = get(address, &target)
        .await
        .header("etag")
        .map(str::to_owned);
    ask(address, removal(&all[5]).session(ANN))
        .await
        .expect(200, "");
    assert_ne!(
        get(address, &target)
            .await
            .header("etag")
            .map(str::to_owned),
        tag
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_again_changes_nothing() {
    let server = moderated(|chat| chat.history(4)).await;
    let address = server.address();
    let spam = say_as(address, ANN, "ann", "spam").await;
    let first = ask(address, removal(&spam).header("Authorization", BASIC)).await;
    let first = first.expect(200, "").json();
    assert_eq!(first["by"], "moderator");
    for session in [ANN, BOB] {
        let again = ask(address, removal(&spam).session(session)).await;
        assert_eq!(again.expect(200, "").json(), first);
    }
    ask(address, removal(&first).session(ANN))
        .await
        .expect(404, "not-found");
    // A moderator's own message has both reasons.
    let own = say_as(address, MODERATOR, "mod", "own").await;
    let own = ask(address, removal(&own).session(MODERATOR)).await;
    assert_eq!(own.expect(200, "").json()["by"], "author");
    for n in 0..4 {
        say_as(address, ANN, "ann", &format!("{n}")).await;
    }
    // The removal counts towards the history, and goes with it.
    ask(address, removal(&spam).session(ANN))
        .await
        .expect(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn removals_at_once_are_one() {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    let mut stream = EventStream::open(address, "/chat?history=0").await;
    stream.caught_up().await;
    let spam = say_as(address, ANN, "ann", "spam").await;
    let tasks: Vec<_> = (0..12)
        .map(|_| tokio::spawn(ask(address, removal(&spam).session(ANN))))
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        let answer = task.await.expect("no panic");
        answers.push(answer.expect(200, "").json());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    say_as(address, ANN, "ann", "last").await;
    assert_eq!(stream.telling().await.text(), "spam");
    assert_eq!(stream.telling().await.json(), answers[0]);
    assert_eq!(stream.telling().await.text(), "last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_message_does_not_come_back_under_its_key() {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    let keyed = |text: &str| {
        let request = Request::post_text("/chat/lobby?name=ann", text);
        request.header("Idempotency-Key", "k").session(ANN)
    };
    let spam = ask(address, keyed("spam")).await.expect(201, "").json();
    ask(address, removal(&spam).session(ANN))
        .await
        .expect(200, "");
    ask(address, keyed("spam")).await.expect(410, "removed");
    ask(address, keyed("other")).await.expect(410, "removed");
    assert_eq!(retained(address, "lobby").await, Vec::<Value>::new());
}

/// Attacker's gain otherwise: the password that somebody has removed in time.
#[tokio::test(flavor = "multi_thread")]
async fn no_way_of_reading_leads_to_a_removed_text() {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    let before = say_as(address, ANN, "ann", "before").await;
    let keyed = Request::post_text("/chat/lobby?name=ann", "secret");
    let keyed = keyed.header("Idempotency-Key", "k").session(ANN);
    let secret = ask(address, keyed.clone()).await.expect(201, "").json();
    let after = say_as(address, ANN, "ann", "after").await;
    let (before, id, after) = (id_of(&before), id_of(&secret), id_of(&after));
    let mut ways = Vec::new();
    for query in [
        String::new(),
        "?limit=2".to_owned(),
        "?after=0-0".to_owned(),
        format!("?after={before}&wait=5"),
        format!("?after={before}&limit=1"),
        format!("?before={after}"),
        format!("?before={after}&limit=1"),
    ] {
        let request = Request::get(&format!("/chat/lobby/messages{query}"));
        let answer = ask(address, request.clone()).await;
        assert!(answer.text().contains("secret"), "{query}");
        let tag = answer.header("etag").expect("a tag").to_owned();
        ways.push(request.clone().header("If-None-Match", tag));
        ways.push(request);
    }
    let removed = ask(address, removal(&secret).session(ANN))
        .await
        .expect(200, "");
    let removed = id_of(&removed.json());
    ways.push(keyed);
    ways.extend(["/rooms", "/metrics", "/chat/lobby/members"].map(Request::get));
    for way in ways {
        let answer = ask(address, way.clone()).await;
        assert!(!answer.text().contains("secret"), "{way:?}");
        assert_ne!(answer.status, 304, "{way:?}");
    }
    say_as(address, ANN, "ann", "last").await;
    for position in [None, Some(before), Some(id), Some(after), Some(removed)] {
        for target in ["/chat", "/chat?room=lobby&room=dev", "/chat?history=500"] {
            let mut request = Request::get(target);
            if let Some(position) = position {
                request = request.header("Last-Event-ID", position.to_string());
            }
            let mut stream = EventStream::request(address, request).await;
            loop {
                let event = stream.event().await;
                assert!(!event.raw.contains("secret"), "{target} after {position:?}");
                if event.is("new-message") && event.text() == "last" {
                    break;
                }
            }
        }
    }
}

/// The backlog of a client that does not read is taken from the history when it reads on.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_is_not_given_what_was_removed_before_it_came_to_it() {
    const MESSAGES: usize = 400;
    const KEPT: usize = 10;
    let server = moderated(|chat| chat.history(0).history_bytes(0)).await;
    let address = server.address();
    let long = "x".repeat(4_000);
    let texts = (0..MESSAGES).map(|n| format!("{n} {long}"));
    let ids = post_all(address, "/chat/lobby?name=ann", texts).await;
    let client = Client::connect_narrow(address, 4 * 1024).await;
    let stream = EventStream::over(client, Request::get("/chat?history=500")).await;
    let mut stream = stream.unwrap_or_else(|refused| panic!("{}", refused.text()));
    let mut moderator = Client::connect(address).await;
    for id in &ids[..MESSAGES - KEPT] {
        let target = format!("/chat/lobby/messages/{id}");
        let request = Request::new("DELETE", &target).session(MODERATOR);
        moderator.ask(&request).await.expect(200, "");
    }
    let (mut given, mut told) = (Vec::new(), Vec::new());
    while told.len() < MESSAGES - KEPT {
        let event = stream.telling().await;
        match event.event.as_str() {
            "new-message" => given.push(id_of(&event.json())),
            "message-removed" => told.push(event.json()["removed"].clone()),
            other => assert_eq!(other, "chat-room-connected"),
        }
    }
    let removed: Vec<String> = ids[..MESSAGES - KEPT]
        .iter()
        .map(|id| id.to_string())
        .collect();
    assert_eq!(told, removed);
    // What its queue and its socket already had, and what was never removed.
    assert!(given.len() < MESSAGES / 2, "{} messages", given.len());
    assert_eq!(given[given.len() - KEPT..], ids[MESSAGES - KEPT..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_removes_and_hears_who_does() {
    let server = Server::start().await;
    let chat = server.chat();
    let mut listener = chat.listen(["lobby", "dev"], None).await.expect("rooms");
    let start = within("the start", listener.next()).await;
    assert!(matches!(start, Some(Heard::CaughtUp { .. })), "{start:?}");
    let message = chat.post("lobby", "bot", "spam").await.expect("posted");
    chat.remove("lobby", message.id).await.expect("removed");
    chat.remove("lobby", message.id).await.expect("again");
    let unknown = chat.remove("dev", message.id).await;
    assert_eq!(unknown.err().map(|e| e.code()), Some("not-found"));
    let stream = EventStream::open(server.address(), "/chat/dev?name=ann").await;
    let session = stream.session();
    let ann = chat.members("dev").expect("a room").remove(0);
    assert_eq!(ann.name, "ann");
    let mut heard = Vec::new();
    let joined = |heard: &Heard| matches!(heard, Heard::Joined { .. });
    while !heard.iter().any(joined) {
        heard.extend(within("something", listener.next()).await);
    }
    drop(stream);
    let mut moved = Request::get("/chat/dev?name=Anna").session(&session);
    moved = moved.header("Accept", "text/event-stream");
    let _moved = EventStream::request(server.address(), moved).await;
    let left = |heard: &Heard| matches!(heard, Heard::Left { .. });
    while !heard.iter().any(left) {
        heard.extend(within("something", listener.next()).await);
    }
    let mut told = heard.iter().filter_map(|heard| match heard {
        Heard::Message(said) => Some((said.room.as_str(), "said", said.id.to_string())),
        Heard::Removed { room, message, .. } => {
            Some((room.as_str(), "removed", message.to_string()))
        }
        Heard::Joined { room, member, .. } if *member == ann => {
            Some((room.as_str(), "joined", member.author.to_string()))
        }
        Heard::Left { room, member, .. } => {
            Some((room.as_str(), "left", member.author.to_string()))
        }
        _ => None,
    });
    let (spam, author) = (message.id.to_string(), ann.author.to_string());
    for expected in [
        ("lobby", "said", spam.clone()),
        ("lobby", "removed", spam),
        ("dev", "joined", author.clone()),
        ("dev", "left", author),
    ] {
        assert_eq!(told.next(), Some(expected), "{heard:?}");
    }
    assert_eq!(told.next(), None, "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_is_the_same_everywhere_and_nobody_without_a_session() {
    let server = Server::start().await;
    let address = server.address();
    // A stream sets a cookie, and greets with the author that this cookie is.
    let mut stream = EventStream::open(address, "/chat/dev?name=ann").await;
    let session = stream.session();
    let author = stream.event().await.json()["author"].clone();
    let digits = author.as_str().expect("an author");
    assert!(
        digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()),
        "{digits}"
    );
    assert!(!session.contains(digits));
    assert_eq!(json!(author_of(address, &session, "other").await), author);
    let post = Request::post_text("/chat/dev", "hi").session(&session);
    let message = ask(address, post).await.expect(201, "").json();
    assert_eq!(
        (&message["author"], &message["member"]),
        (&author, &json!(true))
    );
    let again = EventStream::request(address, Request::get("/chat").session(&session)).await;
    assert_eq!({ again }.event().await.json()["author"], author);
    assert_ne!(json!(author_of(address, ANN, "ann").await), author);
    let post = Request::post_text("/chat/lobby?name=bot", "hi");
    let message = ask(address, post).await.expect(201, "").json();
    assert_eq!(message["author"], Value::Null);
    let unknown = Request::post_text("/chat/lobby?name=bot", "hi").session("0123");
    let message = ask(address, unknown).await.expect(201, "").json();
    assert_eq!(message["author"], Value::Null, "not a session");
}
