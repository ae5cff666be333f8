//! Messages survive a restart, a kill and a full disk; and the journal never lies about what it
//! kept.

mod beside;
mod compaction;
mod disk;
mod kill;
mod locking;
mod recovery;
mod removal;
mod removal_kills;

use crate::common::Change as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chatroom::{Fsync, Options};
use serde_json::Value;

use crate::common::{Server, retained, texts, unlimited};

/// A wrapper that runs the server in mounts of its own, which a shell command has made before. They
/// end with the server.
fn with_mounts(shell: &str) -> [&str; 6] {
    ["unshare", "--mount", "--map-root-user", "sh", "-c", shell]
}

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

/// The journal's entries as JSON, without its low-water marks.
fn entries(folder: &Path) -> Vec<Value> {
    let mut lines = lines(folder);
    lines.retain(|line| line["eventId"].is_string());
    lines
}

/// A chat that keeps all messages in a folder, quick to start and stop.
fn kept(folder: &Path) -> Options {
    unlimited()
        .data(folder)
        .fsync(Fsync::No)
        .history(0)
        .history_bytes(0)
}

/// All messages that a server retains in the lobby, oldest first.
async fn held(address: SocketAddr) -> Vec<Value> {
    retained(address, "lobby").await
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
