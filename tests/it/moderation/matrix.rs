//! Who may do what: every route against every kind of visitor, each on a server of its own.

use crate::common::Change as _;
use std::net::SocketAddr;

use serde_json::json;

use super::{
    ANN, BASIC, BOB, EVE, MODERATOR, PASSWORD, author_of, ban, banning, moderated, removal, say_as,
};
use crate::common::{EventStream, Request, Response, Server, ask, unlimited};

/// The columns of the table: nobody, the author, another author, one who is banned, a moderator by
/// session, and a script with HTTP Basic.
const VISITORS: [(&str, Option<&str>); 6] = [
    ("nobody", None),
    ("the author", Some(ANN)),
    ("another", Some(BOB)),
    ("the banned", Some(EVE)),
    ("a moderator", Some(MODERATOR)),
    ("a script", None),
];

/// A status and what the answer has to contain.
type Outcome = (u16, &'static str);

const OK: Outcome = (200, "");
const DONE: Outcome = (204, "");
const NOT_YOURS: Outcome = (403, "\"not-yours\"");
const NOT_MODERATOR: Outcome = (403, "\"not-moderator\"");
const BANNED: Outcome = (403, "\"banned\"");
const NOT_FOUND: Outcome = (404, "\"not-found\"");

/// What everybody needs to find: a message of each, one that is removed, and a ban.
struct Scene {
    server: Server,
    of_ann: serde_json::Value,
    of_eve: serde_json::Value,
    removed: serde_json::Value,
    eve: String,
    stranger: String,
}

async fn scene() -> Scene {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    let of_ann = say_as(address, ANN, "ann", "by ann").await;
    let removed = say_as(address, ANN, "ann", "removed").await;
    ask(address, removal(&removed).session(ANN))
        .await
        .expect(200, "");
    let of_eve = say_as(address, EVE, "eve", "by eve").await;
    let eve = author_of(address, EVE, "eve").await;
    ban(address, &eve, false).await.expect(201, "");
    let stranger = author_of(address, "f0000000000000000000000000000005", "zoe").await;
    Scene {
        server,
        of_ann,
        of_eve,
        removed,
        eve,
        stranger,
    }
}

#[rustfmt::skip]
fn table(scene: &Scene) -> Vec<(&'static str, Request, [Outcome; 6])> {
    let delete = |target: &str| Request::new("DELETE", target);
    let log_in = |password: &str| Request::post_json("/moderator", &json!({"password": password}));
    let hook = Request::post_json("/chat/lobby/hook", &json!({"text": "hi"}));
    let not = "\"moderator\":false";
    let yes = "\"moderator\":true";
    let moderators_only = |outcome| [NOT_MODERATOR, NOT_MODERATOR, NOT_MODERATOR, NOT_MODERATOR, outcome, outcome];
    vec![
        ("removes ann's", removal(&scene.of_ann), [NOT_YOURS, (200, "\"by\":\"author\""), NOT_YOURS, NOT_YOURS, (200, "\"by\":\"moderator\""), (200, "\"by\":\"moderator\"")]),
        ("removes eve's", removal(&scene.of_eve), [NOT_YOURS, NOT_YOURS, NOT_YOURS, (200, "\"by\":\"author\""), OK, OK]),
        ("removes again", removal(&scene.removed), [(200, "\"by\":\"author\""); 6]),
        ("removes what never was", delete("/chat/lobby/messages/1-1"), [NOT_FOUND; 6]),
        ("removes in no room", delete("/chat/nowhere/messages/1-1"), [NOT_FOUND; 6]),
        ("removes nonsense", delete("/chat/lobby/messages/x"), [(400, "\"bad-request\""); 6]),
        ("asks", Request::get("/me"), [(200, not), (200, not), (200, not), (200, not), (200, yes), (200, yes)]),
        ("logs in", log_in(PASSWORD), [DONE; 6]),
        ("guesses", log_in("wrong"), [(403, "\"wrong-password\""); 6]),
        ("logs out", delete("/moderator"), [DONE; 6]),
        ("lists bans", Request::get("/bans"), moderators_only((200, "{\"bans\":[{\"author\":"))),
        ("bans", banning(&scene.stranger, false), moderators_only((201, "\"name\":\"zoe\""))),
        ("lifts a ban", delete(&format!("/bans/{}", scene.eve)), moderators_only(DONE)),
        ("lifts none", delete(&format!("/bans/{}", scene.stranger)), moderators_only(NOT_FOUND)),
        ("lifts nonsense", delete("/bans/x"), moderators_only(NOT_FOUND)),
        ("posts", Request::post_text("/chat/lobby?name=me", "hi"), [(201, ""), (201, ""), (201, ""), BANNED, (201, ""), (201, "")]),
        ("uses a hook", hook, [OK, OK, OK, BANNED, OK, OK]),
        ("joins", Request::get("/chat?name=me"), [OK, OK, OK, BANNED, OK, OK]),
        ("listens", Request::get("/chat"), [OK; 6]),
        ("reads", Request::get("/chat/lobby/messages"), [OK; 6]),
    ]
}

/// Sends a request of the table. Of a stream, the head is the answer.
async fn send(address: SocketAddr, act: &str, request: Request) -> Response {
    if !matches!(act, "joins" | "listens") {
        return ask(address, request).await;
    }
    match EventStream::attempt(address, request).await {
        Ok(stream) => stream.head,
        Err(refused) => refused,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_may_do_what_is_theirs() {
    let rows = table(&scene().await).len();
    for row in 0..rows {
        for (column, (visitor, session)) in VISITORS.iter().enumerate() {
            let scene = scene().await;
            let (act, mut request, outcomes) = table(&scene).remove(row);
            if let Some(session) = session {
                request = request.session(session);
            }
            if *visitor == "a script" {
                request = request.header("Authorization", BASIC);
            }
            let answer = send(scene.server.address(), act, request).await;
            let (status, part) = outcomes[column];
            let found = answer.status == status && answer.text().contains(part);
            let (head, body) = (&answer.head, answer.text());
            assert!(found, "{visitor} {act}: {status} {part}\n{head}\n{body}");
            let banned = status == 403 && part == BANNED.1;
            assert_eq!(
                answer.header("retry-after").is_some(),
                banned,
                "{visitor} {act}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_moderators_one_may_remove_ones_own_and_nothing_else() {
    let server = Server::start().await;
    let address = server.address();
    let first = say_as(address, ANN, "ann", "one").await;
    let author = first["author"].as_str().expect("an author").to_owned();
    let status = ask(address, Request::get("/me").header("Authorization", BASIC)).await;
    let expected = json!({"author": null, "user": null, "moderator": false, "moderators": false});
    assert_eq!(status.json(), expected);
    for request in [
        Request::post_json("/moderator", &json!({"password": ""})),
        Request::new("DELETE", "/moderator"),
        Request::get("/bans"),
        banning(&author, true),
        Request::new("DELETE", &format!("/bans/{author}")),
    ] {
        let request = request.header("Authorization", BASIC).session(BOB);
        ask(address, request).await.expect(404, "not-found");
    }
    let others = removal(&first).header("Authorization", BASIC);
    ask(address, others).await.expect(403, "not-yours");
    ask(address, removal(&first).session(ANN))
        .await
        .expect(200, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_are_told_which_ones_there_are() {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    for (target, allow) in [
        ("/moderator", "POST, DELETE"),
        ("/me", "GET, HEAD, POST"),
        ("/me/code", "POST"),
        ("/bans", "GET, HEAD, POST"),
        ("/bans/0123456789abcdef", "DELETE"),
        ("/chat/lobby/messages/1-1", "DELETE"),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
            let request = Request::new(method, target).session(MODERATOR);
            if !allow.split(", ").any(|allowed| allowed == method) {
                let refused = ask(address, request).await;
                assert_eq!(refused.status, 405, "{method} {target}");
                assert_eq!(refused.header("allow"), Some(allow));
            } else if method == "HEAD" {
                let (head, get) = (request, Request::get(target).session(MODERATOR));
                let (head, get) = (ask(address, head).await, ask(address, get).await);
                assert_eq!((head.status, get.status), (200, 200), "{target}");
                assert_eq!(head.body, b"");
                assert_eq!(head.header("content-length"), get.header("content-length"));
            }
        }
    }
}

/// A page of another origin must not act in the name of a visitor.
#[tokio::test(flavor = "multi_thread")]
async fn cross_site_requests_are_refused_on_every_route_that_changes_something() {
    let scene = scene().await;
    let address = scene.server.address();
    let mut refused = 0;
    for (act, request, _) in table(&scene) {
        let reads = request.method() == "GET" && !matches!(act, "joins" | "listens");
        for (header, value) in [
            ("Origin", "http://evil.example"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
        ] {
            let request = request.clone().session(MODERATOR).header(header, value);
            let answer = send(address, act, request).await;
            if reads {
                let readable = answer.header("access-control-allow-origin");
                assert_eq!(readable, None, "{act} may be sent, but not read");
            } else {
                answer.expect(403, "cross-origin");
                refused += 1;
            }
        }
    }
    assert!(refused >= 4 * 14, "{refused}");
}

/// The program in front of the chat knows its users, and says who moderates.
#[tokio::test]
async fn a_host_program_makes_the_sender_of_a_request_a_moderator() {
    use hyper::service::Service;

    let chat = unlimited().build().expect("a chat");
    let message = chat.post("lobby", "bot", "spam").await.expect("posted");
    let target = format!("/chat/lobby/messages/{}", message.id);
    let call = async |method: &str, target: &str, moderator: bool| {
        let request = hyper::Request::builder().method(method).uri(target);
        let mut request = request.header("Host", "localhost").body(String::new());
        if let (Ok(request), true) = (&mut request, moderator) {
            request.extensions_mut().insert(chatroom::Moderator);
        }
        let Ok(answer) = chat.call(request.expect("a request")).await;
        answer.status().as_u16()
    };
    assert_eq!(call("DELETE", &target, false).await, 403);
    assert_eq!(call("GET", "/bans", false).await, 404);
    assert_eq!(call("GET", "/bans", true).await, 200);
    assert_eq!(call("DELETE", &target, true).await, 200);
    assert_eq!(
        call("GET", "/bans", false).await,
        404,
        "for this request alone"
    );
    let page = chat.history("lobby", chatroom::PageAt::End, 9).await;
    assert!(page.expect("a room").messages.is_empty());
}
