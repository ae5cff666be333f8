//! What every test stands on: a server (in this process, or the real binary), a client that sees
//! the bytes of HTTP as they are, and a reader of event streams. No other module starts a server.
//!
//! Every wait has a limit, so that a server that hangs fails a test and does not stop it.

mod events;
mod http;
mod process;
mod random;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use chatroom::{Builder, Chat, LogLevel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) use events::{Event, EventStream};
pub(crate) use http::{Client, Request, Response, ask, encode, get, say};
pub(crate) use process::{Folder, Process, under};
pub(crate) use random::Random;

/// How long a test waits for what must come. Generous, for the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a future, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: nothing within {PATIENCE:?}"),
    }
}

/// Asks again and again until the answer is yes. For what announces itself by no event.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    within(what, async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A server in this process, on a port of its own. Dropping it ends it.
pub(crate) struct Server {
    address: SocketAddr,
    chat: Chat,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// A server without limits on messages and streams, which most tests are not about.
    pub(crate) async fn start() -> Server {
        Server::with(|chat| chat).await
    }

    /// A server like [`Server::start`]'s, but for what the closure changes.
    pub(crate) async fn with(change: impl FnOnce(Builder) -> Builder) -> Server {
        Server::on("127.0.0.1:0", change).await
    }

    /// A server that listens on an address of the test's choice.
    pub(crate) async fn on(address: &str, change: impl FnOnce(Builder) -> Builder) -> Server {
        let address = address.parse().expect("an address");
        let listener = chatroom::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("a listener has an address");
        let chat = change(unlimited()).build().expect("the chat can be built");
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(chatroom::serve(listener, chat.clone(), async {
            drop(stopped.await);
        }));
        Server {
            address,
            chat,
            stop: Some(stop),
            task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn chat(&self) -> &Chat {
        &self.chat
    }

    /// Tells the server to shut down in good order, and does not wait.
    pub(crate) fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Shuts the server down in good order, and waits until it is done.
    pub(crate) async fn stop(mut self) {
        self.begin_stop();
        within("the server's end", &mut self.task)
            .await
            .expect("the server does not panic");
    }
}

/// A chat without limits on messages and streams, quiet on stderr.
pub(crate) fn unlimited() -> Builder {
    Chat::builder()
        .message_rate(0.0)
        .max_streams_per_ip(0)
        .log(LogLevel::Error)
}
