//! Removing messages, moderators and bans.

mod addresses;
mod bans;
mod matrix;
mod passwords;
mod removing;

use crate::common::Change as _;
use std::net::SocketAddr;

use chatroom::Options;
use serde_json::{Value, json};

use crate::common::{EventStream, Request, Response, Server, ask};

/// The moderators' password in these tests, and what HTTP Basic makes of it.
pub(crate) const PASSWORD: &str = "sesame";
pub(crate) const BASIC: &str = "Basic OnNlc2FtZQ==";

/// Sessions: any 32 hexadecimal digits are one.
pub(crate) const ANN: &str = "a0000000000000000000000000000001";
pub(crate) const BOB: &str = "b0000000000000000000000000000002";
pub(crate) const EVE: &str = "e0000000000000000000000000000003";
pub(crate) const MODERATOR: &str = "d0000000000000000000000000000004";

/// A server with moderators, of which [`MODERATOR`] is one.
pub(crate) async fn moderated(change: impl FnOnce(Options) -> Options) -> Server {
    let server =
        Server::with(|chat| change(chat.moderator_password(PASSWORD).expect("it is not empty")))
            .await;
    log_in(server.address(), MODERATOR).await;
    server
}

pub(crate) async fn log_in(address: SocketAddr, session: &str) {
    let request = Request::post_json("/moderator", &json!({"password": PASSWORD}));
    ask(address, request.session(session)).await.expect(204, "");
}

/// Posts a message by a session, and returns it.
pub(crate) async fn say_as(address: SocketAddr, session: &str, name: &str, text: &str) -> Value {
    let target = format!("/chat/lobby?name={name}");
    let request = Request::post_text(&target, text).session(session);
    ask(address, request).await.expect(201, "").json()
}

/// The author that a session is.
pub(crate) async fn author_of(address: SocketAddr, session: &str, name: &str) -> String {
    let message = say_as(address, session, name, "It is me.").await;
    message["author"].as_str().expect("an author").to_owned()
}

pub(crate) fn removal(message: &Value) -> Request {
    let id = message["eventId"].as_str().expect("an id");
    Request::new("DELETE", &format!("/chat/lobby/messages/{id}"))
}

pub(crate) fn banning(author: &str, address: bool) -> Request {
    Request::post_json("/bans", &json!({"author": author, "address": address}))
}

/// Bans by a script.
pub(crate) async fn ban(address: SocketAddr, author: &str, with_address: bool) -> Response {
    let request = banning(author, with_address).header("Authorization", BASIC);
    ask(address, request).await
}

pub(crate) fn joining(session: &str, name: &str) -> Request {
    Request::get(&format!("/chat?name={name}")).session(session)
}

pub(crate) fn posting(session: &str) -> Request {
    Request::post_text("/chat/lobby?name=me", "hi").session(session)
}

pub(crate) async fn join(address: SocketAddr, session: &str, name: &str) -> EventStream {
    EventStream::request(address, joining(session, name)).await
}

/// Reads a stream to its end.
pub(crate) async fn ended(mut stream: EventStream) {
    while stream.next().await.is_some() {}
    assert!(stream.ended_cleanly());
}
