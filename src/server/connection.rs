//! One connection: hyper's state machine above a socket that notices clients that take nothing.

use std::cell::RefCell;
use std::future::{Future, poll_fn, ready as at_once};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::connections::Registration;
use crate::chat::Chat;
use crate::http::visitor::{OverLoopback, PeerAddr};

/// How long the head of a request may take to arrive, and how long a connection may idle between
/// two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest head of a request, in bytes: cookies of other programs on the host come along, and
/// 8 KiB have proved too few for those.
const HEAD_BYTES: usize = 16 * 1024;
/// Bytes of one write at most: more than the kernel takes at once, so what is longer is not copied
/// again and again.
const WRITE_BYTES: usize = 64 * 1024;

/// When hyper is done, the socket is kept until the client closes it too. That is checked after pauses, each
/// twice as long as the one before. After so many of them, 10.2 s in all, the socket is reset.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const PAUSES: u32 = 9;

/// How HTTP/1.1 is spoken.
pub(super) fn protocol() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES);
    http
}

/// Serves a connection in a task of its own.
///
/// The task is the connection and nothing else: an `async` block around it would keep room for its
/// parts as well, as long as the client stays.
pub(super) fn serve(stream: TcpStream, registration: Arc<Registration>) {
    // Frames leave when they are written. If the client is gone already, reading will tell.
    let _ = stream.set_nodelay(true);
    let socket = Socket {
        io: TokioIo::new(stream),
        registration: registration.clone(),
        blocked: None,
        has_task: false,
    };
    let protocol = &registration.connections.http;
    let mut http = protocol.serve_connection(socket, PeerService(registration.clone()));
    // Polling once here makes hyper allocate its read buffer on this thread, where most of it stays
    // untouched memory and costs nothing.
    let _ = Pin::new(&mut http).poll(&mut Context::from_waker(Waker::noop()));
    tokio::spawn(Connection {
        phase: Phase::Open(http),
        registration,
        has_begun: false,
    });
}

/// The chat, which learns from each request's extensions where it comes from.
struct PeerService(Arc<Registration>);

impl Service<Request<Incoming>> for PeerService {
    type Response = <Chat as Service<Request<Incoming>>>::Response;
    type Error = <Chat as Service<Request<Incoming>>>::Error;
    type Future = <Chat as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let PeerService(registration) = self;
        let peer = PeerAddr(registration.peer);
        request.extensions_mut().insert(peer);
        if registration.over_loopback {
            request.extensions_mut().insert(OverLoopback);
        }
        let mut answer = registration.connections.chat.call(request);
        // Once hyper has the future it reads on. If the request's head is still in use then, it needs a
        // second buffer, which a stream would keep for life.
        match answer
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(answer) => Box::pin(at_once(answer)),
            Poll::Pending => answer,
        }
    }
}

/// A connection's whole life.
struct Connection {
    phase: Phase,
    registration: Arc<Registration>,
    has_begun: bool,
}

#[expect(clippy::large_enum_variant, reason = "most are open")]
enum Phase {
    Open(http1::Connection<Socket, PeerService>),
    Closing(Pin<Box<dyn Future<Output = ()> + Send>>),
    Closed,
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if !this.has_begun {
            this.has_begun = true;
            this.registration.wake_at_the_end(cx);
        }
        let is_ending = this.registration.is_ending();
        if let Phase::Open(http) = &mut this.phase {
            if is_ending {
                // To say it again changes nothing.
                Pin::new(&mut *http).graceful_shutdown();
            }
            // Errors are clients that left in the middle of an answer, or were cut.
            let _ = ready!(Pin::new(http).poll(cx));
            if let Phase::Open(http) = std::mem::replace(&mut this.phase, Phase::Closed) {
                let socket = http.into_parts().io.io.into_inner();
                this.phase = Phase::Closing(Box::pin(closed(socket)));
            }
        }
        match &mut this.phase {
            Phase::Closing(closing) if !is_ending => closing.as_mut().poll(cx),
            _ => Poll::Ready(()),
        }
    }
}

/// Waits until the client has taken everything and has closed too, or for long enough. The kernel would
/// keep what is left for minutes, and it would count towards nobody.
async fn closed(mut socket: TcpStream) {
    if socket.linger().is_ok_and(|linger| linger.is_some()) {
        // It was cut, so what is left goes with it.
        return;
    }
    // An error means that it is shut down already, or gone.
    let _ = poll_fn(|cx| Pin::new(&mut socket).poll_shutdown(cx)).await;
    for n in 0..PAUSES {
        // A socket that is closed at both ends has no peer any more.
        if socket.peer_addr().is_err() {
            return;
        }
        sleep(FIRST_PAUSE * 2_u32.pow(n)).await;
    }
    // What is left goes with the socket.
    let _ = socket.set_zero_linger();
}

/// A client's socket. It fails when the client takes nothing for too long: hyper would go on waiting.
struct Socket {
    io: TokioIo<TcpStream>,
    registration: Arc<Registration>,
    /// Runs while a write is blocked, so that other writes cost no timer.
    blocked: Option<Pin<Box<Sleep>>>,
    /// False while [`serve`] polls for the first time, which is to allocate hyper's buffer and not to read.
    has_task: bool,
}

impl Read for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.has_task, true) {
            // Without a waker: the task polls again at once.
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match self.io.inner().try_write(bytes) {
            // Waiting is the exception, and costs more.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Pin::new(&mut self.io).poll_write(cx, bytes)
            }
            written => Poll::Ready(written),
        };
        if written.is_ready() {
            self.blocked = None;
        } else if let Some(limit) = self
            .registration
            .connections
            .chat
            .site
            .options
            .write_timeout
        {
            let timer = self.blocked.get_or_insert_with(|| Box::pin(sleep(limit)));
            ready!(timer.as_mut().poll(cx));
            // Otherwise the kernel would keep what the client does not take for minutes.
            let _ = self.io.inner().set_zero_linger();
            self.registration.note_cut();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }

    /// Makes hyper queue the pieces of bodies as they are. It would copy them into a buffer of the
    /// connection, and keep that as large as it ever was for as long as the client stays.
    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Small frames are copied together and written by a plain `write`, which costs less than `writev`.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        thread_local! {
            static TOGETHER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        TOGETHER.with_borrow_mut(|bytes| {
            bytes.clear();
            for piece in pieces {
                let room = WRITE_BYTES - bytes.len();
                bytes.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            self.poll_write(cx, bytes)
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
