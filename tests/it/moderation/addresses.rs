//! Bans of addresses: whom they concern, whom they spare, and which address it is.

use crate::common::Change as _;
use std::time::Duration;

use serde_json::json;

use super::{
    ANN, BASIC, BOB, EVE, MODERATOR, PASSWORD, author_of, ban, ended, join, joining, moderated,
    posting, say_as,
};
use crate::common::{EventStream, Request, ask, unlimited};

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_of_an_address_spares_moderators() {
    let server = moderated(|chat| chat).await;
    let address = server.address();
    let neighbour = join(address, ANN, "ann").await;
    let mut moderator = join(address, MODERATOR, "mod").await;
    let eve = author_of(address, EVE, "eve").await;
    let answer = ban(address, &eve, true).await.expect(201, "").json();
    assert_eq!(answer["address"], true);
    ended(neighbour).await;
    ask(address, posting(ANN)).await.expect(403, "banned");
    ask(address, joining(ANN, "ann"))
        .await
        .expect(403, "banned");
    let nobody = Request::post_text("/chat/lobby?name=x", "hi");
    ask(address, nobody.clone()).await.expect(403, "banned");
    let hook = Request::post_json("/chat/lobby/hook", &json!({"text": "hi"}));
    ask(address, hook).await.expect(403, "banned");
    // A moderator, by session or by script, is at the same address.
    say_as(address, MODERATOR, "mod", "I am still here").await;
    while moderator.message().await.text() != "I am still here" {}
    let script = nobody.header("Authorization", BASIC);
    ask(address, script).await.expect(201, "");
    // Whoever is banned may log in as a moderator.
    super::log_in(address, ANN).await;
    ask(address, posting(ANN)).await.expect(201, "");
    ask(address, posting(BOB)).await.expect(403, "banned");
    // Whoever is no moderator any more is banned like the others.
    let log_out = Request::new("DELETE", "/moderator").session(MODERATOR);
    ask(address, log_out).await.expect(204, "");
    ended(moderator).await;
    let lift = Request::new("DELETE", &format!("/bans/{eve}")).session(ANN);
    ask(address, lift).await.expect(204, "");
    ask(address, posting(BOB)).await.expect(201, "");
}

/// An address is where the author was last, an IPv6 one is its network, however it is written.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_banned_in_all_its_spellings() {
    let server = moderated(|chat| chat.trusted_proxy([127, 0, 0, 1].into())).await;
    let address = server.address();
    let post = async |session: &str, from: &str| {
        let request = posting(session).header("X-Forwarded-For", from);
        ask(address, request).await
    };
    for (latest, banned, free) in [
        (
            "2001:db8:1:2::5",
            [
                "2001:db8:1:2:ffff:ffff:ffff:ffff",
                "[2001:0DB8:0001:0002::]:443",
                "203.0.113.9, 2001:db8:1:2::9, 127.0.0.1",
            ],
            ["2001:db8:1:3::5", "2001:db8:1:1::5"],
        ),
        (
            "::ffff:203.0.113.9",
            ["203.0.113.9", "203.0.113.9:4711", "::ffff:cb00:7109"],
            ["203.0.113.10", "::cb00:7109"],
        ),
        (
            "::1",
            ["::1", "[::1]:80", "::2"],
            ["127.0.0.2", "0:0:0:1::1"],
        ),
    ] {
        post(EVE, "192.0.2.1").await.expect(201, "");
        let eve = post(EVE, latest).await.expect(201, "").json();
        let eve = eve["author"].as_str().expect("an author");
        // The address too, where nothing else is said.
        let order = Request::post_json("/bans", &json!({"author": eve})).session(MODERATOR);
        let ban = ask(address, order).await.expect(201, "").json();
        assert_eq!(ban["address"], true, "{latest}");
        for banned in banned {
            post(ANN, banned).await.expect(403, "banned");
        }
        for free in free.iter().chain(&["192.0.2.1"]) {
            post(ANN, free).await.expect(201, "");
            post(EVE, free).await.expect(403, "banned");
        }
        let lift = Request::new("DELETE", &format!("/bans/{eve}")).session(MODERATOR);
        ask(address, lift).await.expect(204, "");
    }
}

/// Somebody innocent may be there: who is banned reads on without a name, also at work.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_a_name_does_not_tell_where_an_author_is() {
    let server = moderated(|chat| chat.trusted_proxy([127, 0, 0, 1].into())).await;
    let address = server.address();
    let from = |request: Request, from: &str| request.header("X-Forwarded-For", from);
    let said = ask(address, from(posting(EVE), "192.0.2.1")).await;
    let eve = said.expect(201, "").json()["author"].clone();
    let listening = from(Request::get("/chat").session(EVE), "192.0.2.2");
    let _listener = EventStream::request(address, listening).await;
    let eve = eve.as_str().expect("an author");
    ban(address, eve, true).await.expect(201, "");
    let post = async |at: &str| ask(address, from(posting(ANN), at)).await;
    post("192.0.2.1").await.expect(403, "banned");
    post("192.0.2.2").await.expect(201, "");
}

/// Where the program tells no addresses, all clients would have one and the same.
#[tokio::test]
async fn without_addresses_an_author_is_banned_alone() {
    use hyper::service::Service;

    let chat = unlimited().moderator_password(PASSWORD).expect("not empty");
    let chat = chat.build().expect("a chat");
    let post = async |session: &str| {
        let request = hyper::Request::post("/chat/lobby?name=me")
            .header("Host", "localhost")
            .header("Content-Type", "text/plain")
            .header("Cookie", format!("chatroom-session={session}"))
            .body("hi".to_owned());
        let Ok(answer) = chat.call(request.expect("a request")).await;
        answer.status().as_u16()
    };
    assert_eq!(post(EVE).await, 201);
    let page = chat.history("lobby", chatroom::PageAt::End, 1).await;
    let author = page.expect("a room").messages[0].author;
    let day = Duration::from_secs(86_400);
    let banned = chat.ban(author.expect("an author"), day, true).await;
    assert_eq!(banned.map(|ban| ban.address), Ok(None));
    assert_eq!((post(EVE).await, post(ANN).await), (403, 201));
}
