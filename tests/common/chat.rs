//! What tests do with a chat over HTTP: post, read its history, and look at its metrics.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Mutex;

use chatroom::EventId;
use serde_json::Value;

use super::eventually;
use super::http::{Client, Request, ask, get};

/// Posts a text, which must be accepted. Returns the message.
#[track_caller]
pub(crate) fn say(
    address: SocketAddr,
    room: &str,
    name: &str,
    text: &str,
) -> impl Future<Output = Value> {
    let request = Request::post_text(&format!("/chat/{room}?name={}", encode(name)), text);
    async move { ask(address, request).await.expect(201, "").json() }
}

/// Posts texts one after the other over one connection. Returns their ids.
pub(crate) async fn post_all(
    address: SocketAddr,
    target: &str,
    texts: impl IntoIterator<Item = String>,
) -> Vec<EventId> {
    let mut client = Client::connect(address).await;
    let mut ids = Vec::new();
    for text in texts {
        let answer = client.ask(&Request::post_text(target, text)).await;
        ids.push(id_of(&answer.expect(201, "").json()));
    }
    ids
}

/// All ids that were posted, in order. No id was given twice.
pub(crate) fn in_order(posted: impl IntoIterator<Item = Vec<EventId>>) -> Vec<EventId> {
    let mut all: Vec<EventId> = Vec::new();
    for ids in posted {
        assert!(ids.is_sorted(), "one poster's messages keep their order");
        all.extend(ids);
    }
    all.sort_unstable();
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "an id twice");
    all
}

/// The id of a message.
pub(crate) fn id_of(message: &Value) -> EventId {
    message["eventId"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .unwrap_or_else(|| panic!("no id: {message}"))
}

/// All messages that a room retains, oldest first.
pub(crate) async fn retained(address: SocketAddr, room: &str) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    let mut before = String::new();
    loop {
        let target = format!("/chat/{room}/messages?limit=500{before}");
        let page = get(address, &target).await.expect(200, "").json();
        let messages = page["messages"].as_array().expect("a list").clone();
        let Some(oldest) = messages.first() else {
            return all;
        };
        before = format!("&before={}", oldest["eventId"].as_str().expect("an id"));
        all.splice(0..0, messages);
    }
}

/// The texts of messages.
pub(crate) fn texts(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message["text"].as_str().expect("a text"))
        .collect()
}

/// One of the server's metrics; of a pair, what both have together.
pub(crate) async fn figure(address: SocketAddr, name: &str) -> u64 {
    let mut sum = 0;
    for server in servers(address) {
        sum += figures(server, &[name]).await[0];
    }
    sum
}

/// Some of one server's metrics.
pub(crate) async fn figures(server: SocketAddr, names: &[&str]) -> Vec<u64> {
    let answer = get(server, "/metrics").await.expect(200, "");
    let value = |name: &&str| {
        let mut lines = answer.text().lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let line = line.unwrap_or_else(|| panic!("no metric {name}"));
        line.parse().expect("a metric is a number")
    };
    names.iter().map(value).collect()
}

/// The servers behind an address.
fn servers(address: SocketAddr) -> Vec<SocketAddr> {
    let pairs = PAIRS.lock().expect("nobody panics with the lock");
    let pair = pairs.iter().find(|(behind, _)| *behind == address);
    pair.map_or(vec![address], |(_, servers)| servers.clone())
}

/// Remembers which servers are behind an address.
#[cfg(feature = "redis")]
pub(crate) fn tell_pair(address: SocketAddr, servers: &[SocketAddr]) {
    let mut pairs = PAIRS.lock().expect("nobody panics with the lock");
    pairs.retain(|(behind, _)| *behind != address);
    pairs.push((address, servers.to_vec()));
}

static PAIRS: Mutex<Vec<(SocketAddr, Vec<SocketAddr>)>> = Mutex::new(Vec::new());

/// Waits until so many streams are open. A long poll that waits counts as one.
pub(crate) async fn until_streams(address: SocketAddr, count: usize) {
    eventually("the number of open streams", async || {
        figure(address, "chatroom_streams").await == count as u64
    })
    .await;
}

/// Percent-encodes everything but ASCII letters, digits, `-`, `.` and `_`.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
