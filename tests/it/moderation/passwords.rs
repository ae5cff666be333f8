//! Moderators' rights, how they are had and lost, and who guesses.

use crate::common::Change as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chatroom::{LogLevel, ManualClock};
use serde_json::json;

use super::{
    ANN, BASIC, BOB, MODERATOR, PASSWORD, author_of, ban, joining, log_in, moderated, removal,
    say_as,
};
use crate::common::{EventStream, Request, Server, ask, get};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_a_moderator_until_it_says_otherwise() {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    let spam = say_as(address, ANN, "ann", "spam").await;
    let out = Request::new("DELETE", "/moderator").session(MODERATOR);
    ask(address, out).await.expect(204, "");
    let refused = ask(address, removal(&spam).session(MODERATOR)).await;
    refused.expect(403, "not-yours");
    let bans = Request::get("/bans").session(MODERATOR);
    ask(address, bans.clone())
        .await
        .expect(403, "not-moderator");
    log_in(address, MODERATOR).await;
    ask(address, bans).await.expect(200, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_without_a_cookie_gets_one() {
    let server = moderated(|chat| chat).await;
    let request = Request::post_json("/moderator", &json!({"password": PASSWORD}));
    let answer = ask(server.address(), request.clone()).await.expect(204, "");
    let session = answer.session().expect("a cookie");
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
    let status = Request::get("/me").session(&session);
    let status = ask(server.address(), status).await;
    let status = status.json();
    assert_eq!(
        (&status["moderator"], &status["moderators"]),
        (&json!(true), &json!(true))
    );
    let answer = ask(server.address(), request.session(&session)).await;
    assert_eq!(answer.expect(204, "").header("set-cookie"), None);
    for bad in [json!({}), json!({"password": 1}), json!([PASSWORD])] {
        let request = Request::post_json("/moderator", &bad);
        ask(server.address(), request)
            .await
            .expect(400, "bad-request");
    }
}

/// The two passwords are guessed at one cost, whatever the way.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_of_all_kinds_share_one_limit() {
    let clock = ManualClock::at(1_700_000_000_000);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let server = Server::with(|chat| {
        let chat = chat.password("door").expect("not empty");
        let chat = chat.moderator_password(PASSWORD).expect("not empty");
        chat.clock(clock.clone())
            .log(LogLevel::Info)
            .log_to(move |_, line| {
                sink.lock().expect("no panic").push(line.to_owned());
            })
    })
    .await;
    let address = server.address();
    let door = "Basic OmRvb3I=";
    let wrong = "Basic Ondyb25n";
    // The moderators' password opens the door too, and makes a moderator.
    let status = Request::get("/me").header("Authorization", BASIC);
    assert!(
        ask(address, status)
            .await
            .text()
            .contains("\"moderator\":true")
    );
    // The password of the door is no wrong password of a moderator.
    for _ in 0..20 {
        let status = Request::get("/me").header("Authorization", door);
        let status = ask(address, status).await.expect(200, "");
        assert!(status.text().contains("\"moderator\":false"));
    }
    let log_in = |password: &str| {
        let request = Request::post_json("/moderator", &json!({"password": password}));
        request.header("Authorization", door)
    };
    for _ in 0..5 {
        let at_door = Request::get("/rooms").header("Authorization", wrong);
        ask(address, at_door).await.expect(401, "password-required");
        ask(address, log_in("wrong"))
            .await
            .expect(403, "wrong-password");
    }
    for refused in [
        Request::get("/rooms").header("Authorization", wrong),
        Request::get("/rooms").header("Authorization", door),
        Request::get("/bans").header("Authorization", BASIC),
        log_in(PASSWORD),
    ] {
        let answer = ask(address, refused).await;
        let answer = answer.expect(429, "too-many-attempts");
        assert_eq!(answer.header("retry-after"), Some("6"));
    }
    get(address, "/healthz").await.expect(200, "");
    clock.advance(Duration::from_secs(6));
    ask(address, log_in(PASSWORD)).await.expect(204, "");
    let lines = lines.lock().expect("no panic");
    let guesses = lines
        .iter()
        .filter(|line| *line == "wrong password from 127.0.0.1");
    assert_eq!(guesses.count(), 10, "{lines:?}");
    assert!(
        lines.iter().all(|line| !line.contains(PASSWORD)),
        "{lines:?}"
    );
}

/// A script that has no door to pass is limited too.
#[tokio::test(flavor = "multi_thread")]
async fn guesses_of_scripts_count() {
    let clock = ManualClock::at(1_700_000_000_000);
    let server = moderated(|chat| chat.clock(clock.clone())).await;
    let guess = || Request::get("/bans").header("Authorization", "Basic Ondyb25n");
    for _ in 0..10 {
        ask(server.address(), guess())
            .await
            .expect(403, "not-moderator");
    }
    ask(server.address(), guess())
        .await
        .expect(429, "too-many-attempts");
    let right = Request::get("/bans").header("Authorization", BASIC);
    ask(server.address(), right)
        .await
        .expect(429, "too-many-attempts");
    let session = Request::get("/bans").session(MODERATOR);
    ask(server.address(), session).await.expect(200, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_act_is_one_line_with_an_address() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let server = moderated(|chat| {
        chat.log(LogLevel::Info).log_to(move |_, line| {
            sink.lock().expect("no panic").push(line.to_owned());
        })
    })
    .await;
    let address = server.address();
    let eve = author_of(address, super::EVE, "eve").await;
    let (own, spam) = (
        say_as(address, ANN, "ann", "own").await,
        say_as(address, ANN, "ann", "spam").await,
    );
    ask(address, removal(&own).session(ANN))
        .await
        .expect(200, "");
    ask(address, removal(&spam).session(MODERATOR))
        .await
        .expect(200, "");
    ask(address, removal(&spam).session(MODERATOR))
        .await
        .expect(200, "");
    ban(address, &eve, false).await.expect(201, "");
    let lift = Request::new("DELETE", &format!("/bans/{eve}")).session(MODERATOR);
    ask(address, lift).await.expect(204, "");
    let unseen = "0123456789abcdef".parse().expect("an author");
    let day = Duration::from_secs(86_400);
    server.chat().ban(unseen, day, true).await.expect("banned");
    let (own, spam) = (own["eventId"].as_str(), spam["eventId"].as_str());
    let expected = [
        "a moderator logged in from 127.0.0.1".to_owned(),
        format!("removed message {}, by its author at 127.0.0.1", own.expect("an id")),
        format!("removed message {}, by a moderator at 127.0.0.1", spam.expect("an id")),
        format!("banned author {eve} alone for 1440 minutes, last seen at 127.0.0.1, by a moderator at 127.0.0.1"),
        format!("lifted the ban of author {eve}, by a moderator at 127.0.0.1"),
        "banned author 0123456789abcdef for 1440 minutes, last seen at an unknown address, by the program".to_owned(),
    ];
    let lines = lines.lock().expect("no panic");
    // The first line introduces the server.
    assert_eq!(lines[1..], expected);
}

/// Gain: a page of another site that sends wrong passwords from its visitor's browser locks out
/// everybody at that address.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_given_the_right_password_is_not_locked_out() {
    let clock = ManualClock::at(1_700_000_000_000);
    let server = Server::with(|chat| {
        let chat = chat
            .clock(clock.clone())
            .password("door")
            .expect("not empty");
        chat.moderator_password(PASSWORD).expect("not empty")
    })
    .await;
    let address = server.address();
    let (door, wrong) = ("Basic OmRvb3I=", "Basic Ondyb25n");
    let knocking = |with: &str| Request::get("/rooms").header("Authorization", with);
    let log_in = |password: &str, session: &str| {
        let request = Request::post_json("/moderator", &json!({"password": password}));
        request.header("Authorization", door).session(session)
    };
    // One comes in by a stream, which gives the session; one with a session; one logs in.
    let joining = Request::get("/chat").header("Authorization", door);
    let new = EventStream::request(address, joining).await.session();
    ask(address, knocking(door).session(ANN))
        .await
        .expect(200, "");
    ask(address, log_in(PASSWORD, MODERATOR))
        .await
        .expect(204, "");
    let fresh = Request::post_json("/moderator", &json!({"password": PASSWORD}));
    let fresh = ask(address, fresh.header("Authorization", door)).await;
    let fresh = fresh.expect(204, "").session().expect("a cookie");
    for _ in 0..10 {
        ask(address, knocking(wrong))
            .await
            .expect(401, "password-required");
    }
    for known in [new.as_str(), ANN, MODERATOR, fresh.as_str()] {
        ask(address, knocking(door).session(known))
            .await
            .expect(200, "");
        let posted = Request::post_text("/chat?name=a", "hi").header("Authorization", door);
        ask(address, posted.session(known)).await.expect(201, "");
        // That is no licence to guess: neither this password nor the other.
        let guess = knocking(wrong).session(known);
        ask(address, guess).await.expect(429, "too-many-attempts");
        ask(address, log_in("guess", known))
            .await
            .expect(429, "too-many-attempts");
    }
    for (known, status) in [
        (MODERATOR, 204),
        (fresh.as_str(), 204),
        (ANN, 429),
        (new.as_str(), 429),
    ] {
        assert_eq!(ask(address, log_in(PASSWORD, known)).await.status, status);
    }
    ask(address, knocking(door))
        .await
        .expect(429, "too-many-attempts");
    let stranger = knocking(door).session("f0000000000000000000000000000006");
    ask(address, stranger)
        .await
        .expect(429, "too-many-attempts");
}

/// The page of a moderator whose browser sends a wrong password along works like anybody's.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_counts_only_where_rights_are_used() {
    let server = moderated(|chat| chat.clock(ManualClock::at(1_700_000_000_000))).await;
    let address = server.address();
    for _ in 0..20 {
        for request in [
            Request::get("/"),
            Request::get("/me"),
            Request::get("/chat/lobby/messages"),
            Request::post_text("/chat?name=a", "hi").session(ANN),
        ] {
            let answer = ask(address, request.header("Authorization", "Basic Ondyb25n")).await;
            assert!(
                answer.status < 300 || answer.code() == "too-many-messages",
                "{}",
                answer.head
            );
        }
    }
    let right = Request::get("/bans").header("Authorization", BASIC);
    ask(address, right).await.expect(200, "");
}

/// A moderator may ban somebody who never spoke, and so is told who that is. Others are not.
#[tokio::test(flavor = "multi_thread")]
async fn moderators_are_told_the_authors_of_members() {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    let mut stream = EventStream::request(address, joining(ANN, "ann")).await;
    let author = stream.until("chat-room-connected").await.json()["author"].clone();
    let members = Request::get("/chat/lobby/members");
    let answer = ask(address, members.clone().session(ANN)).await;
    assert!(!answer.text().contains("author"), "{}", answer.text());
    let answer = ask(address, members.session(MODERATOR)).await;
    assert_eq!(answer.json()["authors"], json!([author]));
}

/// Gain: what tells who one is tells whether a password is right, and nobody hears of the guesses.
#[tokio::test(flavor = "multi_thread")]
async fn looking_who_one_is_guesses_no_password() {
    let clock = ManualClock::at(1_700_000_000_000);
    let server = moderated(|chat| chat.clock(clock.clone())).await;
    let address = server.address();
    let spam = say_as(address, ANN, "ann", "spam").await;
    let me = |with: &str| Request::get("/me").header("Authorization", with);
    let members = || Request::get("/chat/lobby/members").header("Authorization", BASIC);
    let is_moderator = async |request: Request| {
        let answer = ask(address, request).await.expect(200, "");
        answer.text().contains("\"moderator\":true") || answer.text().contains("authors")
    };
    assert!(is_moderator(me(BASIC).session(ANN)).await);
    for _ in 0..10 {
        assert!(!is_moderator(me("Basic Ondyb25n")).await);
        assert!(!is_moderator(me("Bearer of nothing")).await);
    }
    for looking in [me(BASIC), members(), me(BASIC).session(BOB)] {
        assert!(!is_moderator(looking).await);
    }
    // That holds up nobody who has given it before, and nobody who uses it.
    assert!(is_moderator(me(BASIC).session(ANN)).await);
    assert!(is_moderator(Request::get("/me").session(MODERATOR)).await);
    log_in(address, BOB).await;
    for using in [Request::get("/bans"), removal(&spam)] {
        let answer = ask(address, using.header("Authorization", BASIC)).await;
        answer.expect(200, "");
    }
    clock.advance(Duration::from_secs(6));
    assert!(is_moderator(members()).await);
}
