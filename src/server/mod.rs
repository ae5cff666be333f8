//! Sockets, time limits and shutdown: from the accept loop down to one connection.

mod connection;
mod connections;

use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{unconstrained, yield_now};
use tokio::time::{sleep, timeout};

use crate::chat::Chat;
use crate::report::Reporter;
use connections::{Connections, Registration};

/// Connections that wait in the kernel to be accepted, at most, and as many that wait to be set up. The
/// usual 128 overflow when all clients of a restarted server come back, and a client that is dropped waits a
/// second before it tries again.
const BACKLOG: u32 = 4_096;
/// Connections that are set up before others are accepted: a flood of those that are refused holds nobody
/// up for long.
const SET_UP_AT_ONCE: usize = 2;
/// What the kernel is asked to hold for a client that does not read, in bytes; Linux doubles it.
/// Many messages long, but small, so that a stalled client pins little and soon counts as stalled.
const SEND_BUFFER_BYTES: u32 = 16 * 1024;
/// What the kernel is asked to hold of what a client sends and nobody reads yet, in bytes; Linux
/// doubles it. The usual buffer grows to 6 MiB behind a stream, where nothing is ever read.
const RECEIVE_BUFFER_BYTES: u32 = 16 * 1024;
/// Accepting fails when file descriptors run out, and is tried again after these waits.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);
/// What an address gets that has too many connections. hyper does not see these.
const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\n\
    Content-Type: application/json\r\n\
    Cache-Control: no-store\r\n\
    Retry-After: 10\r\n\
    Connection: close\r\n\
    Content-Length: 96\r\n\r\n\
    {\"error\":\"too-many-streams\",\"message\":\"Your address has too many connections open: close some.\"}";

/// Listens on an address, with the buffers and the backlog that a chat needs. Port 0 picks one.
///
/// # Errors
/// The address cannot be bound.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let listener = chatroom::bind(([127, 0, 0, 1], 0).into())?;
/// assert_ne!(listener.local_addr()?.port(), 0);
/// # Ok(()) }
/// ```
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // Lets a restarted server listen while the connections of its previous run are still closing.
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit both.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves a chat until `shutdown` resolves, then shuts down gracefully: accepts no more connections,
/// ends every stream with `server-closing`, and answers every request under way. It returns after the
/// chat's [drain time](crate::Options::drain) at the latest. Connections that are left then end by
/// their own time limits, or with the program.
///
/// The limits on connections, the write timeout and the drain time hold in this loop alone. A program
/// that accepts connections itself gets the rest from [`Chat::close`], which ends every stream;
/// after that it waits for its connections as long as it likes.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let listener = chatroom::bind("127.0.0.1:0".parse().expect("an address"))?;
/// let chat = chatroom::Chat::open(Default::default())?;
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let server = tokio::spawn(chatroom::serve(listener, chat, async { drop(stopped.await) }));
/// drop(stop);
/// server.await.expect("the server ends");
/// # Ok(()) }
/// ```
pub async fn serve(listener: TcpListener, chat: Chat, shutdown: impl Future<Output = ()>) {
    let connections = Arc::new(Connections::new(chat, connection::protocol()));
    let chat = &connections.chat;
    let report = &chat.site.options.log;
    {
        let (accepted, waiting) = channel(BACKLOG as usize);
        let mut accepting = pin!(accept(listener, &connections, accepted));
        // It has a turn even if `accept` has used up the task's cooperative budget.
        let mut setting_up = pin!(unconstrained(set_up(waiting)));
        let mut shutdown = pin!(shutdown);
        // `accept` is polled first: when the backlog is full, the kernel drops connection attempts, and their
        // clients retry only a second later.
        poll_fn(|cx| match shutdown.as_mut().poll(cx) {
            Poll::Pending => {
                let _ = accepting.as_mut().poll(cx);
                setting_up.as_mut().poll(cx)
            }
            ready => ready,
        })
        .await;
    }
    report.info(format_args!(
        "shutting down: {} connections are open",
        connections.count()
    ));
    let ending = async {
        chat.close().await;
        connections.end().await;
    };
    match chat.site.options.drain {
        None => ending.await,
        Some(limit) if timeout(limit, ending).await.is_ok() => {}
        Some(_) => report.info(format_args!(
            "the drain time is over: {} connections are left",
            connections.count()
        )),
    }
    report.info(format_args!("shut down"));
}

/// A connection that was accepted, and that its address may have.
type Accepted = (TcpStream, Arc<Registration>);

/// Accepts connections as long as there are slots; it never returns.
async fn accept(listener: TcpListener, connections: &Arc<Connections>, accepted: Sender<Accepted>) {
    let report = &connections.chat.site.options.log;
    let mut backoff = FIRST_BACKOFF;
    loop {
        let slot = connections.slot().await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                backoff = FIRST_BACKOFF;
                let local = stream.local_addr();
                let over_loopback = local.is_ok_and(|at| at.ip().to_canonical().is_loopback());
                match connections.register(peer, over_loopback, slot) {
                    // The other half lives as long as this one.
                    Some(registration) => drop(accepted.send((stream, registration)).await),
                    None => refuse(stream, peer, report),
                }
            }
            // The client left before it was accepted.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) => {}
            Err(error) => {
                if backoff == FIRST_BACKOFF {
                    report.error(format_args!(
                        "cannot accept connections, open ones go on: {error}"
                    ));
                }
                sleep(backoff).await;
                backoff = LONGEST_BACKOFF.min(backoff * 2);
            }
        }
    }
}

/// Serves connections that were accepted.
async fn set_up(mut accepted: Receiver<Accepted>) {
    loop {
        for _ in 0..SET_UP_AT_ONCE {
            let Some((stream, registration)) = accepted.recv().await else {
                return;
            };
            connection::serve(stream, registration);
        }
        yield_now().await;
    }
}

/// Answers and closes a connection that is one too many, without waiting for anything.
fn refuse(stream: TcpStream, peer: SocketAddr, report: &Reporter) {
    report.debug(format_args!(
        "refused a connection: {} has too many",
        peer.ip()
    ));
    if let Ok(mut socket) = stream.into_std() {
        // To close a socket with unread bytes would reset it, and the client might lose the answer.
        let _ = socket.read(&mut [0; 4_096]);
        let _ = socket.write(TOO_MANY_CONNECTIONS);
    }
}
