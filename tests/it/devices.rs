//! A session on another device: codes, and who tries to get one that is not theirs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chatroom::{LogLevel, ManualClock};
use serde_json::{Value, json};

use crate::common::Change as _;
use crate::common::{EventStream, Request, Response, Server, ask, unlimited};
use crate::moderation::{ANN, EVE, author_of, ban, moderated, posting};

const MINUTES: u64 = 60 * 1_000;

fn wanting(session: &str) -> Request {
    Request::new("POST", "/me/code").session(session).body("{}")
}

fn using(code: &str) -> Request {
    Request::post_json("/me", &json!({"code": code}))
}

async fn code(address: SocketAddr, session: &str) -> String {
    let answer = ask(address, wanting(session)).await.expect(201, "").json();
    answer["code"].as_str().expect("a code").to_owned()
}

fn session_of(n: usize) -> String {
    format!("{n:032x}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_device_is_the_same_person() {
    let clock = ManualClock::at(1_700_000_000_000);
    let server = Server::with(|_| unlimited().clock(clock.clone())).await;
    let address = server.address();
    let laptop = EventStream::open(address, "/chat?name=ann").await;
    let session = laptop.session();
    let carried = "{ \"name\":\"ann\",  \"read\":{\"lobby\":\"1-0\"}, \"é\":\"\\u00e9\" }\n";
    let asked = Request::new("POST", "/me/code")
        .session(&session)
        .body(carried);
    let given = ask(address, asked).await.expect(201, "");
    assert_eq!(given.header("set-cookie"), None);
    let given = given.json();
    assert_eq!(given["expiresAt"], 1_700_000_000_000_u64 + 10 * MINUTES);
    let given = given["code"].as_str().expect("a code");
    let (left, right) = given.split_once('-').expect("a hyphen");
    let crockford = |half: &str| {
        half.len() == 5
            && half
                .bytes()
                .all(|b| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(&b))
    };
    assert!(crockford(left) && crockford(right), "{given}");
    // Whatever the phone was before.
    let answer = ask(
        address,
        using(&given.to_lowercase().replace('-', "")).session(EVE),
    )
    .await;
    let answer = answer.expect(200, "");
    assert_eq!(answer.text(), carried, "byte for byte");
    assert_eq!(
        (
            answer.header("content-type"),
            answer.header("cache-control")
        ),
        (Some("application/json"), Some("no-store"))
    );
    assert_eq!(answer.session().as_deref(), Some(&*session));
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(
        cookie.contains("Path=/;") && cookie.ends_with("HttpOnly; SameSite=Strict"),
        "{cookie}"
    );
    let join = Request::get("/chat?name=ann").session(&session);
    let mut phone = EventStream::request(address, join).await;
    assert_eq!(phone.event().await.json()["memberCount"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_for_one_use_within_ten_minutes() {
    let clock = ManualClock::at(1_700_000_000_000);
    let server = Server::with(|_| unlimited().clock(clock.clone())).await;
    let address = server.address();
    let once = code(address, ANN).await;
    ask(address, using(&once)).await.expect(200, "");
    ask(address, using(&once)).await.expect(403, "wrong-code");
    let (late, right) = (code(address, ANN).await, code(address, EVE).await);
    clock.advance(Duration::from_millis(10 * MINUTES - 1));
    ask(address, using(&right)).await.expect(200, "");
    clock.advance(Duration::from_millis(1));
    ask(address, using(&late)).await.expect(403, "wrong-code");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_has_one_code_and_a_refused_request_leaves_it() {
    let server = Server::start().await;
    let address = server.address();
    let (first, second) = (code(address, ANN).await, code(address, ANN).await);
    for (body, status, error) in [
        ("", 400, "bad-request"),
        ("[]", 400, "bad-request"),
        ("{} x", 400, "bad-request"),
        (
            &format!("{{\"a\":\"{}\"}}", "x".repeat(4_096)),
            413,
            "too-large",
        ),
    ] {
        let refused = Request::new("POST", "/me/code").session(ANN).body(body);
        ask(address, refused).await.expect(status, error);
    }
    let whole = format!("{{\"a\":\"{}\"}}", "x".repeat(4_096 - 8));
    let largest = Request::new("POST", "/me/code").session(EVE).body(&whole);
    ask(address, largest).await.expect(201, "");
    ask(address, using(&first)).await.expect(403, "wrong-code");
    ask(address, using(&second)).await.expect(200, "");
    // Without a session there is nothing to take.
    let none = Request::new("POST", "/me/code").body("{}");
    ask(address, none).await.expect(404, "not-found");
    let wrong: Response = ask(address, Request::get("/me/code")).await;
    assert_eq!(
        wrong.expect(405, "method-not-allowed").header("allow"),
        Some("POST")
    );
}

/// The bounds are those of an address, however many sessions it makes up.
#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_codes_of_an_address_give_way() {
    let server = Server::with(|_| unlimited().trusted_proxy([127, 0, 0, 1].into())).await;
    let address = server.address();
    let from =
        |at: usize, request: Request| request.header("X-Forwarded-For", format!("192.0.2.{at}"));
    let ask_at = async |at: usize, session: usize| {
        let answer = ask(address, from(at, wanting(&session_of(session)))).await;
        answer.expect(201, "").json()["code"]
            .as_str()
            .expect("a code")
            .to_owned()
    };
    let neighbour = ask_at(1, 100).await;
    let mut codes = Vec::new();
    for n in 0..21 {
        codes.push(ask_at(2, n).await);
    }
    ask(address, from(3, using(&codes[0])))
        .await
        .expect(403, "wrong-code");
    for good in codes[1..].iter().chain([&neighbour]) {
        ask(address, from(3, using(good))).await.expect(200, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_a_code() {
    let clock = ManualClock::at(1_700_000_000_000);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let server = Server::with(|_| {
        let log =
            move |_: LogLevel, line: &str| sink.lock().expect("no panic").push(line.to_owned());
        unlimited()
            .clock(clock.clone())
            .log(LogLevel::Debug)
            .log_to(log)
    })
    .await;
    let address = server.address();
    let right = code(address, ANN).await;
    for bad in [
        json!({}),
        json!({"code": 1}),
        json!({"code": null}),
        json!([right]),
    ] {
        ask(address, Request::post_json("/me", &bad))
            .await
            .expect(400, "bad-request");
    }
    for wrong in [
        "",
        "-",
        "AAAAA-AAAAA",
        "AAAAAAAAAA",
        "U",
        &format!("{right}0"),
        &format!(" {right}"),
        "ééééé",
        "\u{0}",
        &"A".repeat(2_000),
    ] {
        ask(address, using(wrong)).await.expect(403, "wrong-code");
    }
    let locked = ask(address, using(&right))
        .await
        .expect(429, "too-many-attempts");
    assert_eq!(locked.header("retry-after"), Some("6"));
    clock.advance(Duration::from_secs(6));
    // It is still there: a locked-out address uses none up.
    ask(address, using(&right)).await.expect(200, "");
    let lines = lines.lock().expect("no panic");
    let guesses = lines
        .iter()
        .filter(|line| *line == "wrong code from 127.0.0.1");
    assert_eq!(guesses.count(), 10, "{lines:?}");
    let bare = right.replace('-', "");
    assert!(
        lines
            .iter()
            .all(|line| !line.contains(&right) && !line.contains(&bare) && !line.contains("AAAAA")),
        "{lines:?}"
    );
}

/// Whoever is banned here is banned there.
#[tokio::test(flavor = "multi_thread")]
async fn a_banned_session_takes_its_ban_along() {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    let eve = author_of(address, EVE, "eve").await;
    ban(address, &eve, false).await.expect(201, "");
    let code = code(address, EVE).await;
    let phone = ask(address, using(&code)).await.expect(200, "").session();
    let phone = phone.expect("a cookie");
    ask(address, posting(&phone)).await.expect(403, "banned");
}

/// Gain otherwise: a page gives its visitor the attacker's session, and reads what is written under it.
#[tokio::test(flavor = "multi_thread")]
async fn another_site_s_page_uses_a_code_for_its_visitor() {
    let server = Server::start().await;
    let address = server.address();
    let code = code(address, EVE).await;
    for (header, value) in [
        ("Origin", "http://evil.test"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        for request in [using(&code), wanting(ANN)] {
            ask(address, request.header(header, value))
                .await
                .expect(403, "cross-origin");
        }
    }
    ask(address, using(&code)).await.expect(200, "");
}

/// A user is the same everywhere without a code.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_needs_no_code() {
    let server = Server::with(|chat| {
        let chat = chat.trusted_proxy([127, 0, 0, 1].into());
        chat.with(|options| options.user_header = Some("Remote-User".to_owned()))
    })
    .await;
    for request in [wanting(ANN), using("AAAAA-AAAAA")] {
        let request = request.header("Remote-User", "ann");
        ask(server.address(), request)
            .await
            .expect(404, "not-found");
    }
    let me: Value = ask(
        server.address(),
        Request::get("/me").header("Remote-User", "ann"),
    )
    .await
    .json();
    assert_eq!(me["user"], "ann");
}
