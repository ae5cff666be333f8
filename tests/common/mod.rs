//! What every test program shares: a server in this process or the binary, an HTTP client, and a
//! reader of event streams.
//!
//! Every wait has a time limit, so that a server that hangs fails a test instead of blocking it.

mod chat;
mod crowd;
mod events;
pub(crate) mod http;
mod options;
pub(crate) mod proc;
pub(crate) mod process;
mod random;
#[cfg(feature = "redis")]
#[allow(dead_code, reason = "the tests of one server start none")]
pub(crate) mod redis;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use chatroom::{Chat, LogLevel, ManualClock, Options};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) use chat::{
    encode, figure, id_of, in_order, post_all, retained, say, texts, until_streams,
};
pub(crate) use crowd::{Follower, Progress, Seen, finished};
pub(crate) use events::{Event, EventStream};
pub(crate) use http::{Client, Request, Response, ask, get};
pub(crate) use options::Change;
#[allow(
    unused_imports,
    reason = "the tests of one server start no other program"
)]
pub(crate) use process::Program;
pub(crate) use process::{Folder, Process, under};
pub(crate) use random::{Random, longer};

/// How long a test waits for what must happen. Generous, since the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Whether the servers of this test program come in pairs.
pub(crate) const PAIRS: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"pairs");

/// Waits for a future with a time limit.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: nothing within {PATIENCE:?}"),
    }
}

/// Polls a condition until it is true, where no event announces it.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    within(what, async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A server in this process, on a port of its own. Dropping it shuts it down.
pub(crate) struct Server {
    address: SocketAddr,
    chat: Chat,
    running: Vec<Running>,
    #[cfg(feature = "redis")]
    _behind: Option<redis::Balancer>,
}

impl Server {
    /// Starts a server without the limits that most tests are not about.
    pub(crate) async fn start() -> Server {
        Server::with(|chat| chat).await
    }

    /// Starts a server that a closure configures further.
    pub(crate) async fn with(change: impl FnOnce(Options) -> Options) -> Server {
        Server::on("127.0.0.1:0", change).await
    }

    /// Starts a server whose time stands still until the test advances it.
    pub(crate) async fn in_still_time() -> (Server, ManualClock) {
        let clock = ManualClock::at(1_700_000_000_000);
        let server = Server::with(|chat| chat.clock(clock.clone())).await;
        (server, clock)
    }

    /// Starts a server on the given address.
    pub(crate) async fn on(address: &str, change: impl FnOnce(Options) -> Options) -> Server {
        let address = address.parse().expect("an address");
        let listener = chatroom::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("a listener has an address");
        let builder = change(unlimited());
        #[cfg(feature = "redis")]
        if PAIRS {
            return redis::pair(listener, builder).await;
        }
        let chat = builder.build().expect("the chat can be built");
        Server {
            address,
            running: vec![Running::start(listener, chat.clone())],
            chat,
            #[cfg(feature = "redis")]
            _behind: None,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn chat(&self) -> &Chat {
        &self.chat
    }

    /// Begins a graceful shutdown, without waiting for its end.
    pub(crate) fn begin_stop(&mut self) {
        self.running
            .iter_mut()
            .for_each(|one| drop(one.stop.take()));
    }

    /// Shuts the server down gracefully, and waits until it has ended.
    pub(crate) async fn stop(mut self) {
        self.begin_stop();
        for one in self.running {
            within("the server's end", one.task)
                .await
                .expect("the server does not panic");
        }
    }
}

/// A server's accept loop.
struct Running {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(listener: TcpListener, chat: Chat) -> Running {
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(chatroom::serve(listener, chat, async {
            drop(stopped.await);
        }));
        Running {
            stop: Some(stop),
            task,
        }
    }
}

/// A chat without limits on message rates and on streams per address, quiet on stderr.
pub(crate) fn unlimited() -> Options {
    Options::default()
        .message_rate(0.0)
        .max_streams_per_ip(0)
        .log(LogLevel::Error)
}
