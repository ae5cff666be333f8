//! The five steps, run as their readers run them. Each test checks what its step promises, and
//! that the step before could not do it.

#[allow(
    dead_code,
    unused_imports,
    reason = "each test program uses a part of it"
)]
#[path = "../../common/mod.rs"]
mod common;

mod closing;
mod resuming;
mod slow;
mod talking;
mod tour;

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use common::process::prepared;
use common::{Client, EventStream, Process, Request};

/// Runs a step on a free port.
async fn start(step: u32) -> Process {
    start_with(step, &[]).await
}

/// Runs a step with arguments after the address.
async fn start_with(step: u32, arguments: &[&str]) -> Process {
    let binary = EXAMPLES.join(format!("step{step}"));
    let binary = binary.to_str().expect("the target folder's path is UTF-8");
    Process::launch(prepared(&[&[binary, "127.0.0.1:0"], arguments].concat())).await
}

/// Where the examples are. Cargo builds them for a run of all tests, but not for this test alone.
static EXAMPLES: LazyLock<PathBuf> = LazyLock::new(|| {
    let test = env::current_exe().expect("this program's path");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/test");
    let name = profile.file_name().expect("a profile's folder has a name");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--examples", "--profile"])
        .arg(if name == "debug" {
            "dev".as_ref()
        } else {
            name
        })
        .arg("--target-dir")
        .arg(profile.parent().expect("target/<profile>"))
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the examples do not build");
    profile.join("examples")
});

/// Posts a text, which must be accepted. Returns its id, where the step has ids.
async fn say(address: SocketAddr, text: &str) -> u64 {
    say_over(&mut Client::connect(address).await, text).await
}

async fn say_over(client: &mut Client, text: &str) -> u64 {
    let response = client.ask(&Request::post_text("/chat", text)).await;
    let message = response.expect(201, "").json();
    assert_eq!(message["text"], text);
    message["eventId"].as_u64().unwrap_or(0)
}

/// Opens a stream that begins after a message.
async fn resume(address: SocketAddr, last_id: u64) -> EventStream {
    let request = Request::get("/chat").header("Last-Event-ID", last_id.to_string());
    EventStream::request(address, request).await
}

/// Reads messages up to one. Returns their ids.
async fn ids_up_to(stream: &mut EventStream, last: u64) -> Vec<u64> {
    let mut ids = Vec::new();
    while ids.last() != Some(&last) {
        ids.push(id(&stream.message().await));
    }
    ids
}

fn id(event: &common::Event) -> u64 {
    let id = event.id.as_ref().expect("the event has an id");
    id.parse().expect("an id is a number")
}
