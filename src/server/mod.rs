//! Sockets, time limits and the end: from the accept loop down to one guarded connection.

mod connection;
mod connections;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::time::{sleep, timeout};

use crate::embed::{Chat, ServerLimits};
use crate::report::Reporter;
use connections::Connections;

/// Connections that wait to be accepted at most. The usual 128 overflow when the clients of a
/// server that restarted come back, and whoever is dropped waits a second to try again.
const BACKLOG: u32 = 4_096;
/// What the kernel is asked to hold for a client that does not read, in bytes; Linux doubles it.
/// Small, so that a stalled client pins little and is soon seen to stall; many messages long.
const SEND_BUFFER_BYTES: u32 = 16 * 1024;
/// Accepting fails where file descriptors have run out, and is tried again after these waits.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);
/// How long connections that were cut may take to be gone.
const CUT_TIMEOUT: Duration = Duration::from_secs(1);

/// Listens on an address, with the buffers and the backlog that a chat wants. Port 0 picks one.
///
/// # Errors
/// The address cannot be bound.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // A server that restarts may listen at once, while its last connections are still closing.
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves a chat until `shutdown` resolves, then ends it in good order: no new streams and
/// messages, a goodbye on every stream, an answer to every request under way, within the chat's
/// drain time; whoever is left then is cut.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let listener = chatroom::bind("127.0.0.1:0".parse().expect("an address"))?;
/// let chat = chatroom::Chat::builder().build()?;
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let server = tokio::spawn(chatroom::serve(listener, chat, async { drop(stopped.await) }));
/// drop(stop);
/// server.await.expect("the server ends");
/// # Ok(()) }
/// ```
pub async fn serve(listener: TcpListener, chat: Chat, shutdown: impl Future<Output = ()>) {
    let ServerLimits {
        drain,
        connections: most,
        ..
    } = chat.limits();
    let connections = Arc::new(Connections::new(most));
    let mut accepting = pin!(accept(&listener, &chat, &connections));
    either(accepting.as_mut(), pin!(shutdown)).await;
    let report = chat.report();
    report.info(format_args!(
        "shutting down: {} connections are open",
        connections.count()
    ));
    // Still accepting, for those who ask after our health.
    let draining = async {
        chat.close().await;
        connections.end_gracefully();
        connections.ended().await;
    };
    let in_time = match drain {
        Some(limit) => timeout(limit, either(accepting, pin!(draining)))
            .await
            .is_ok(),
        None => {
            either(accepting, pin!(draining)).await;
            true
        }
    };
    if !in_time {
        report.info(format_args!(
            "the drain time is over: {} connections are cut",
            connections.count()
        ));
    }
    connections.cut();
    // They are only waiting for their turn; one that does not get it ends with the runtime.
    let _ = timeout(CUT_TIMEOUT, connections.gone()).await;
    report.info(format_args!("shut down"));
}

async fn accept(listener: &TcpListener, chat: &Chat, connections: &Arc<Connections>) -> Infallible {
    let mut backoff = Backoff {
        wait: FIRST_BACKOFF,
        report: chat.report(),
    };
    loop {
        connections.vacancy().await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                backoff.wait = FIRST_BACKOFF;
                connection::spawn(stream, peer, chat, connections);
            }
            // The client was gone before we came to it.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) => {}
            Err(error) => backoff.pause(&error).await,
        }
    }
}

/// Waits longer each time, and says so once.
struct Backoff<'a> {
    wait: Duration,
    report: &'a Reporter,
}

impl Backoff<'_> {
    async fn pause(&mut self, error: &io::Error) {
        if self.wait == FIRST_BACKOFF {
            self.report.error(format_args!(
                "cannot accept connections, live ones go on: {error}"
            ));
        }
        sleep(self.wait).await;
        self.wait = LONGEST_BACKOFF.min(self.wait * 2);
    }
}

/// Runs what never ends until the other ends.
async fn either<T>(
    mut endless: Pin<&mut impl Future<Output = Infallible>>,
    mut ending: Pin<&mut impl Future<Output = T>>,
) -> T {
    poll_fn(|cx| match ending.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(ended),
        Poll::Pending => match endless.as_mut().poll(cx) {
            Poll::Ready(never) => match never {},
            Poll::Pending => Poll::Pending,
        },
    })
    .await
}
