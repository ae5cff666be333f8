//! One connection: hyper's state machine, a socket that notices a client that takes nothing, and
//! the end when it is time.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::connections::{Connections, Phase, Registration};
use crate::chat::Chat;
use crate::http::routes::PeerAddr;

/// How long the head of a request may take to arrive, and how long a connection may idle between
/// two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that hyper holds for one connection at most: so long may a request's head be, and beyond
/// it a stream's frames wait in the room's queue instead.
const BUFFER_BYTES: usize = 16 * 1024;

/// Serves a connection in a task of its own.
pub(super) fn spawn(
    stream: TcpStream,
    peer: SocketAddr,
    chat: &Chat,
    connections: &Arc<Connections>,
) {
    let registration = connections.register();
    let chat = chat.clone();
    // Set up by the task itself, so that accepting gets back to the next one in the queue at once.
    tokio::spawn(async move {
        // A frame is to leave when it is written. Where the client is gone already, that shows soon.
        let _ = stream.set_nodelay(true);
        let guard = StallGuard {
            io: TokioIo::new(stream),
            limit: chat.limits().write_timeout,
            stalled: None,
            awaits_input: false,
        };
        let http = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(BUFFER_BYTES)
            // Frames are small: copied together they leave by one plain write, which costs the
            // kernel less than a vector of pieces.
            .writev(false)
            // While the server ends, a connection is for one question.
            .keep_alive(!registration.late)
            .serve_connection(
                guard,
                FromPeer {
                    chat: chat.clone(),
                    peer,
                },
            );
        let connection = Connection {
            http,
            chat,
            registration,
            ending: false,
        };
        connection.await;
    });
}

/// The chat, with each request told where it comes from.
struct FromPeer {
    chat: Chat,
    peer: SocketAddr,
}

impl Service<Request<Incoming>> for FromPeer {
    type Response = <Chat as Service<Request<Incoming>>>::Response;
    type Error = <Chat as Service<Request<Incoming>>>::Error;
    type Future = <Chat as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(PeerAddr(self.peer));
        self.chat.call(request)
    }
}

/// A connection's whole life.
struct Connection {
    http: http1::Connection<StallGuard, FromPeer>,
    chat: Chat,
    registration: Registration,
    ending: bool,
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        match this.registration.phase(cx) {
            Phase::Cut => return Poll::Ready(()),
            Phase::Ending if !this.ending && !this.registration.late => {
                this.ending = true;
                Pin::new(&mut this.http).graceful_shutdown();
            }
            Phase::Serving | Phase::Ending => {}
        }
        let ended = ready!(Pin::new(&mut this.http).poll(cx));
        // A client that leaves in the middle of a stream shows as an error here, and is none.
        if ended.is_err_and(|error| is_stall(&error)) {
            this.chat.note_stalled_write(([0, 0, 0, 0], 0).into());
        }
        Poll::Ready(())
    }
}

fn is_stall(error: &hyper::Error) -> bool {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}

/// A socket that fails when the client has taken nothing for too long. Ending the body would not
/// do: hyper would still wait to write what it holds.
struct StallGuard {
    io: TokioIo<TcpStream>,
    limit: Option<Duration>,
    /// Runs while a write is pending, so that the common case costs no timer.
    stalled: Option<Pin<Box<Sleep>>>,
    /// The task is to be woken when there is something to read.
    awaits_input: bool,
}

impl StallGuard {
    /// Whether the kernel has told of something to read, or of the end, that was not taken yet.
    fn has_input(&self) -> bool {
        let socket = self.io.inner();
        socket.try_io(Interest::READABLE, || Ok(())).is_ok()
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Some(limit) = self.limit.filter(|_| progress.is_pending()) else {
            self.stalled = None;
            return progress;
        };
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        stalled
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Read for StallGuard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper asks at every message whether the client is still there. The task has one waker for
        // life: once that waits for input, a glance shows that there is none.
        if self.awaits_input && !self.has_input() {
            return Poll::Pending;
        }
        let progress = Pin::new(&mut self.io).poll_read(cx, buffer);
        self.awaits_input = progress.is_pending();
        progress
    }
}

impl Write for StallGuard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = match self.io.inner().try_write(bytes) {
            // Waiting is the exception, and costs more.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Pin::new(&mut self.io).poll_write(cx, bytes)
            }
            written => Poll::Ready(written),
        };
        self.watch(cx, progress)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
