//! Messages survive a restart, a kill and a full disk; and the journal never lies about what it
//! kept.

mod compaction;
mod disk;
mod kill;
mod locking;
mod recovery;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chatroom::{Builder, Fsync};
use serde_json::Value;

use crate::support::{Server, get, unlimited};

fn file(folder: &Path) -> PathBuf {
    folder.join("messages.jsonl")
}

fn content(folder: &Path) -> Vec<u8> {
    std::fs::read(file(folder)).expect("a journal")
}

/// The journal's lines as JSON; all of them are whole.
fn lines(folder: &Path) -> Vec<Value> {
    let text = String::from_utf8(content(folder)).expect("a journal is UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "a piece of a line");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect()
}

/// A chat that keeps all messages in a folder, quick to start and stop.
fn kept(folder: &Path) -> Builder {
    unlimited()
        .data(folder)
        .fsync(Fsync::No)
        .history(0)
        .history_bytes(0)
}

/// All messages that a server holds in the lobby, oldest first.
async fn held(address: SocketAddr) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    let mut before = String::new();
    loop {
        let page = get(address, &format!("/chat/lobby/messages?limit=500{before}"))
            .await
            .expect(200, "")
            .json();
        let messages = page["messages"].as_array().expect("a list").clone();
        let Some(oldest) = messages.first() else {
            return all;
        };
        before = format!("&before={}", oldest["eventId"].as_str().expect("an id"));
        all.splice(0..0, messages);
    }
}

fn texts(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message["text"].as_str().expect("a text"))
        .collect()
}

/// What a chat holds in the lobby that is opened on this folder; with one more message posted.
async fn reopened(folder: &Path, more: &str) -> Vec<Value> {
    let server = Server::with(|_| kept(folder)).await;
    server
        .chat()
        .post("lobby", "a", more)
        .await
        .expect("posting goes on");
    let held = held(server.address()).await;
    server.stop().await;
    held
}
