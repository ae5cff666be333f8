//! The history: pages forwards and backwards, what is missed, waiting, and not asking twice.

use crate::common::Change as _;
use serde_json::{Value, json};

use crate::common::{self, Client, Request, Response, Server, ask, get, say, until_streams};

async fn page(server: &Server, query: &str) -> Value {
    get(server.address(), &format!("/chat/lobby/messages{query}"))
        .await
        .expect(200, "")
        .json()
}

fn texts(page: &Value) -> Vec<&str> {
    common::texts(page["messages"].as_array().expect("messages are a list"))
}

/// Posts the numbers, and returns their ids.
async fn post_numbers(server: &Server, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        let posted = server.chat().post("lobby", "bot", &n.to_string()).await;
        ids.push(posted.expect("posted").id.to_string());
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_room_has_a_position_to_go_on_from() {
    let server = Server::start().await;
    let empty = page(&server, "").await;
    assert_eq!(
        (&empty["room"], &empty["messages"], &empty["missed"]),
        (&json!("lobby"), &json!([]), &json!(false))
    );
    assert_eq!(empty.as_object().map(|object| object.len()), Some(5));
    let next = empty["next"].as_str().expect("a position");
    say(server.address(), "lobby", "ann", "first").await;
    let after = page(&server, &format!("?after={next}")).await;
    assert_eq!(
        (texts(&after), &after["missed"]),
        (vec!["first"], &json!(false))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_forwards_give_everything_once_and_in_order() {
    let server = Server::start().await;
    let ids = post_numbers(&server, 25).await;
    let start = page(&server, "?limit=500").await;
    assert_eq!(texts(&start).len(), 25);
    let mut seen = vec!["0".to_owned()];
    let mut next = ids[0].clone();
    loop {
        let page = page(&server, &format!("?after={next}&limit=7")).await;
        assert_eq!(page["missed"], false);
        if texts(&page).is_empty() {
            assert_eq!(page["next"], *next);
            break;
        }
        seen.extend(texts(&page).into_iter().map(str::to_owned));
        next = page["next"].as_str().expect("a position").to_owned();
    }
    assert_eq!(seen, (0..25).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_backwards_are_oldest_first_too() {
    let server = Server::start().await;
    let ids = post_numbers(&server, 60).await;
    let newest = page(&server, "").await;
    assert_eq!(texts(&newest).len(), 50);
    assert_eq!(texts(&newest)[0], "10");
    assert_eq!(newest["next"], *ids[59]);
    let back = page(&server, &format!("?before={}&limit=3", ids[10])).await;
    assert_eq!(texts(&back), ["7", "8", "9"]);
    let none = page(&server, &format!("?before={}", ids[0])).await;
    assert_eq!(texts(&none), [""; 0]);
    let both = format!("/chat/lobby/messages?after={}&before={}", ids[4], ids[8]);
    get(server.address(), &both)
        .await
        .expect(400, "bad-request");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_no_more_is_said_to_be_missed() {
    let server = Server::with(|chat| chat.history(10)).await;
    let ids = post_numbers(&server, 30).await;
    let held = page(&server, "?limit=500").await;
    assert_eq!((texts(&held).len(), &held["missed"]), (10, &json!(false)));
    for position in [ids[0].as_str(), ids[18].as_str(), "1-0", "99999999999999-0"] {
        let page = page(&server, &format!("?after={position}")).await;
        assert_eq!(page["missed"], true, "{position}");
        assert_eq!(texts(&page)[0], "20", "{position}");
    }
    let exact = page(&server, &format!("?after={}", ids[19])).await;
    assert_eq!((texts(&exact).len(), &exact["missed"]), (10, &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_bounded_by_bytes_too() {
    let server = Server::with(|chat| chat.history_bytes(5_000)).await;
    for _ in 0..50 {
        say(server.address(), "lobby", "ann", &"x".repeat(1_000)).await;
    }
    let held = page(&server, "?limit=500").await;
    assert!(
        (1..=5).contains(&texts(&held).len()),
        "{}",
        texts(&held).len()
    );
}

/// Sends a question that waits, and returns when the server has it.
async fn ask_waiting(server: &Server, target: &str) -> Client {
    let mut client = Client::connect(server.address()).await;
    client.send(&Request::get(target).to_bytes()).await;
    until_streams(server.address(), 1).await;
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_waits_for_the_next_message() {
    let server = Server::start().await;
    let next = page(&server, "").await["next"].clone();
    let next = next.as_str().expect("a position");
    let target = format!("/chat/lobby/messages?after={next}&wait=60");
    let mut waiting = ask_waiting(&server, &target).await;
    say(server.address(), "other", "ann", "elsewhere").await;
    say(server.address(), "lobby", "ann", "at last").await;
    let answer = waiting.response("GET").await.expect(200, "").json();
    assert_eq!(texts(&answer), ["at last"]);
    // What is there already is not waited for.
    let again = get(server.address(), &target).await.expect(200, "").json();
    assert_eq!(again, answer);
}

/// At the limits that a server has by default.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_room_can_be_followed_by_asking_again_and_again() {
    const MESSAGES: usize = 250;
    let server = Server::with(|chat| chat.max_streams_per_ip(100)).await;
    let mut next = page(&server, "").await["next"].clone();
    for n in 0..MESSAGES {
        let position = next.as_str().expect("a position");
        let target = format!("/chat/lobby/messages?after={position}&wait=60");
        let mut waiting = ask_waiting(&server, &target).await;
        say(server.address(), "lobby", "ann", &format!("{n}")).await;
        let answer = waiting.response("GET").await.expect(200, "").json();
        assert_eq!(texts(&answer), [format!("{n}")]);
        next = answer["next"].clone();
        drop(waiting);
        until_streams(server.address(), 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_without_a_position_waits_as_well() {
    let server = Server::start().await;
    let mut waiting = ask_waiting(&server, "/chat/lobby/messages?wait=60").await;
    say(server.address(), "lobby", "ann", "at last").await;
    let answer = waiting.response("GET").await.expect(200, "").json();
    assert_eq!(texts(&answer), ["at last"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_waits_no_longer_than_it_says() {
    let server = Server::start().await;
    let next = page(&server, "").await["next"].clone();
    let next = next.as_str().expect("a position").to_owned();
    let answer = page(&server, &format!("?after={next}&wait=1")).await;
    assert_eq!(
        answer,
        json!({"room": "lobby", "messages": [], "removed": [], "next": next, "missed": false})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_from_an_unknown_position_does_not_wait() {
    let server = Server::start().await;
    let answer = page(&server, "?after=99999999999999-0&wait=60").await;
    assert_eq!((texts(&answer), &answer["missed"]), (vec![], &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_while_waiting_holds_nothing() {
    let server = Server::start().await;
    let waiting = ask_waiting(&server, "/chat/lobby/messages?wait=60").await;
    drop(waiting);
    until_streams(server.address(), 0).await;
}

async fn conditional(server: &Server, etag: &str) -> Response {
    let request = Request::get("/chat/lobby/messages").header("If-None-Match", etag);
    ask(server.address(), request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_page_is_not_sent_again() {
    let server = Server::start().await;
    say(server.address(), "lobby", "ann", "one").await;
    let first = get(server.address(), "/chat/lobby/messages").await;
    let etag = first.header("etag").expect("a page has a tag").to_owned();
    for tags in [
        etag.clone(),
        format!("W/{etag}"),
        format!("\"x\", {etag}"),
        "*".to_owned(),
    ] {
        let again = conditional(&server, &tags).await;
        assert_eq!(
            (again.status, again.header("etag")),
            (304, Some(&*etag)),
            "{tags}"
        );
    }
    assert_eq!(conditional(&server, "\"x\"").await.status, 200);
    say(server.address(), "lobby", "ann", "two").await;
    let changed = conditional(&server, &etag).await.expect(200, "");
    assert_ne!(changed.header("etag"), Some(&*etag));
    assert_eq!(texts(&changed.json()), ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_at_a_room_does_not_make_it() {
    let server = Server::with(|chat| chat.max_rooms(1)).await;
    for n in 0..5 {
        get(server.address(), &format!("/chat/room{n}/messages"))
            .await
            .expect(200, "");
        get(server.address(), &format!("/chat/room{n}/members"))
            .await
            .expect(200, "");
    }
    assert_eq!(
        get(server.address(), "/rooms").await.json(),
        json!({"rooms": []})
    );
    say(server.address(), "real", "ann", "x").await;
}
