//! The clients: open streams that recognise every message and note when it came.

use crate::marker::{Marker, Scanner};
use crate::server::Target;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::ready;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// Bytes that one read can take. All clients share one buffer.
const READ_BYTES: usize = 64 * 1024;
/// Latencies kept of one run, four bytes each; more deliveries are counted but not timed.
const TIMED_DELIVERIES: usize = 20_000_000;
/// Clients per source address. A bound source address has some 28,000 ports, and the
/// kernel finds a free one fast only while many are free.
const CLIENTS_PER_ADDRESS: usize = 10_000;
/// Runs that have a block of source addresses of their own before the first block is
/// used again: by then its ports have left the TIME_WAIT state.
const ADDRESS_BLOCKS: u32 = 200;

thread_local! {
    static CHUNK: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// What all clients of a run saw together.
pub(crate) struct Tally {
    run: u32,
    started: Instant,
    counts: Mutex<Counts>,
}

#[derive(Default)]
pub(crate) struct Counts {
    /// Clients whose stream was opened with status 200.
    pub(crate) open: usize,
    /// Clients that have seen the message `backlog_end`.
    pub(crate) caught_up: usize,
    pub(crate) failures: Vec<String>,
    pub(crate) delivered: usize,
    /// Messages that every client of their room has seen.
    pub(crate) complete: usize,
    pub(crate) latencies: Vec<u32>,
    /// How many clients are still to see each message.
    pub(crate) awaited: Vec<u32>,
    /// Where set, the sequence number at which a client that resumes has its backlog.
    pub(crate) backlog_end: Option<usize>,
    /// Messages that came to a client out of turn: after a gap, again, or too early.
    pub(crate) out_of_turn: usize,
}

impl Tally {
    pub(crate) fn new(run: u32) -> Arc<Self> {
        Arc::new(Self {
            run,
            started: Instant::now(),
            counts: Mutex::default(),
        })
    }

    pub(crate) fn run(&self) -> u32 {
        self.run
    }

    pub(crate) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().expect("no holder panics")
    }

    /// The marker of a message that was, or should have been, sent at `due`.
    pub(crate) fn marker(&self, sequence: usize, due: Instant) -> Marker {
        Marker {
            run: self.run,
            sequence,
            sent: due.saturating_duration_since(self.started),
        }
    }

    fn on_delivery(&self, counts: &mut Counts, marker: Marker, now: Duration) {
        if counts.latencies.len() < TIMED_DELIVERIES {
            let latency = now.saturating_sub(marker.sent).as_micros();
            counts
                .latencies
                .push(u32::try_from(latency).unwrap_or(u32::MAX));
        }
        counts.delivered += 1;
        if let Some(awaited) = counts.awaited.get_mut(marker.sequence) {
            // None are awaited where the message is not one of those that are waited for.
            if *awaited > 0 {
                *awaited -= 1;
                counts.complete += usize::from(*awaited == 0);
            }
        }
        counts.caught_up += usize::from(counts.backlog_end == Some(marker.sequence));
    }
}

/// One client of a run.
pub(crate) struct Listener {
    pub(crate) tally: Arc<Tally>,
    pub(crate) target: Arc<Target>,
    pub(crate) index: usize,
    pub(crate) request: String,
    /// The sequence number that must come first, where that is known beforehand.
    pub(crate) first: Option<usize>,
    /// From one sequence number of this client's room to the next.
    pub(crate) step: usize,
}

impl Listener {
    /// Opens the stream and reads it until it ends, which is a failure: a run's end
    /// drops this future instead.
    pub(crate) async fn listen(self) {
        let reason = match self.read_all().await {
            Ok(()) => "the server closed a stream".to_owned(),
            Err(error) => error.to_string(),
        };
        self.tally.counts().failures.push(reason);
    }

    async fn read_all(&self) -> io::Result<()> {
        let mut stream = dial(&self.target, self.tally.run, self.index, None).await?;
        write_all(&stream, self.request.as_bytes()).await?;
        let mut scanner = Scanner::default();
        let mut next = self.first;
        let mut open = false;
        while read_chunk(&mut stream, |bytes| {
            let mut counts = self.tally.counts();
            if !open {
                expect_ok(bytes)?;
                open = true;
                counts.open += 1;
            }
            let now = self.tally.started.elapsed();
            scanner.feed(bytes, |marker| {
                if marker.run == self.tally.run {
                    let expected = next.unwrap_or(marker.sequence);
                    counts.out_of_turn += usize::from(marker.sequence != expected);
                    next = Some(marker.sequence + self.step);
                    self.tally.on_delivery(&mut counts, marker, now);
                }
            });
            Ok(())
        })
        .await?
        {}
        Ok(())
    }
}

/// Connects to the server, for client `index` from an address of this run's own block.
pub(crate) async fn dial(
    target: &Target,
    run: u32,
    index: usize,
    receive_buffer: Option<u32>,
) -> io::Result<TcpStream> {
    let socket = match target.address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let IpAddr::V4(address) = target.address.ip()
        && address.is_loopback()
    {
        let block = u8::try_from(run % ADDRESS_BLOCKS).expect("fewer than 256 blocks") + 1;
        let within = u8::try_from(index / CLIENTS_PER_ADDRESS).unwrap_or(u8::MAX);
        let source = Ipv4Addr::new(127, block, within, 1);
        socket.bind(SocketAddr::from((source, 0)))?;
    }
    let stream = socket.connect(target.address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Writes all of `bytes`.
pub(crate) async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits for bytes and hands them to `take`. False where the stream has ended.
pub(crate) async fn read_chunk(
    stream: &mut TcpStream,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<bool> {
    poll_fn(|context| {
        CHUNK.with_borrow_mut(|chunk| {
            let mut chunk = ReadBuf::new(chunk);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut chunk))?;
            take(chunk.filled())?;
            Ok(!chunk.filled().is_empty()).into()
        })
    })
    .await
}

fn expect_ok(head: &[u8]) -> io::Result<()> {
    if head.starts_with(b"HTTP/1.1 200") {
        return Ok(());
    }
    let answer = String::from_utf8_lossy(&head[..head.len().min(300)]);
    Err(io::Error::other(format!("a stream was refused: {answer}")))
}
