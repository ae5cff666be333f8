//! The clients: open streams that recognise every message and note when it arrived.
//!
//! They share no code with the tests' reader of event streams. A text is recognised by a marker in
//! it, so that reading costs the load's core little, and works however a server frames its events.

use crate::common::{self, Request};
use crate::scenario::Case;
use crate::server::Target;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::ready;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// Bytes that one read can take. All clients share one buffer.
const READ_BYTES: usize = 64 * 1024;
/// Latencies that are recorded in a run, four bytes each; more deliveries are counted, not timed.
const TIMED_DELIVERIES: usize = 20_000_000;
/// Clients per source address. A bound source address has some 28,000 ports, and the kernel finds
/// a free one fast only while many are free.
const CLIENTS_PER_ADDRESS: usize = 10_000;
/// Runs that have a block of source addresses of their own before the first block is used again:
/// by then its ports have left the TIME_WAIT state.
const ADDRESS_BLOCKS: u32 = 200;

thread_local! {
    static CHUNK: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// What all clients of a run have seen together.
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
    /// Microseconds from posting to delivery.
    pub(crate) latencies: Vec<u32>,
    /// How many clients are still to see each message.
    pub(crate) awaited: Vec<u32>,
    /// If set, the sequence number with which a client that resumes has its backlog.
    pub(crate) backlog_end: Option<usize>,
    /// Messages that a client got after a gap, twice, or too early.
    pub(crate) out_of_turn: usize,
}

impl Tally {
    pub(crate) fn new(run: u32) -> Arc<Tally> {
        Arc::new(Tally {
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
            let latency = u32::try_from(latency).unwrap_or(u32::MAX);
            counts.latencies.push(latency);
        }
        counts.delivered += 1;
        // Not every message is waited for.
        if let Some(awaited @ 1..) = counts.awaited.get_mut(marker.sequence) {
            *awaited -= 1;
            counts.complete += usize::from(*awaited == 0);
        }
        counts.caught_up += usize::from(counts.backlog_end == Some(marker.sequence));
    }
}

/// One client of a run.
pub(crate) struct Listener {
    pub(crate) tally: Arc<Tally>,
    pub(crate) target: Arc<Target>,
    pub(crate) case: Arc<Case>,
    pub(crate) index: usize,
    /// Requests before that for the stream, on the same connection.
    pub(crate) preparation: Vec<Request>,
    pub(crate) request: Request,
    /// The earliest message that the client must see, if that is known beforehand.
    pub(crate) first: Option<usize>,
}

impl Listener {
    /// Opens the stream and reads it until it ends, which is a failure: the end of a run drops
    /// this future instead.
    pub(crate) async fn listen(self) {
        let reason = match self.read_all().await {
            Ok(()) => "the server closed a stream".to_owned(),
            Err(error) => error.to_string(),
        };
        self.tally.counts().failures.push(reason);
    }

    async fn read_all(&self) -> io::Result<()> {
        let stream = dial(&self.target, self.tally.run, self.index, None).await?;
        let mut client = common::Client::from(stream);
        for request in &self.preparation {
            client.ask(request).await.expect(200, "");
        }
        let mut stream = client.into_socket();
        stream.write_all(&self.request.to_bytes()).await?;
        let mut scanner = Scanner::default();
        let mut expected = self.first.map(|first| self.next(first));
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
                    let in_turn = marker.sequence == expected.unwrap_or(marker.sequence);
                    counts.out_of_turn += usize::from(!in_turn);
                    expected = Some(self.next(marker.sequence + 1));
                    self.tally.on_delivery(&mut counts, marker, now);
                }
            });
            Ok(())
        })
        .await?
        {}
        Ok(())
    }

    /// The first message from this one on that goes to a room of this client.
    fn next(&self, mut message: usize) -> usize {
        while !self.case.gets(self.index, message) {
            message += 1;
        }
        message
    }
}

/// Connects to the server; client `index` from an address of this run's own block.
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

/// Waits for bytes and passes them to `take`. False if the stream has ended.
async fn read_chunk(
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

/// The first byte of a marker. Nothing else in the traffic of a run contains it, so that the
/// scanner looks for one byte instead of parsing events.
const FIRST: u8 = b'~';
const RUN_DIGITS: usize = 6;
const SEQUENCE_DIGITS: usize = 8;
/// Twelve hexadecimal digits of nanoseconds last for three days.
const TIME_DIGITS: usize = 12;
/// Bytes of a marker, and so the least size of a text.
pub(crate) const MARKER_LENGTH: usize = 1 + RUN_DIGITS + SEQUENCE_DIGITS + TIME_DIGITS;

/// What a text begins with.
#[derive(Clone, Copy)]
pub(crate) struct Marker {
    /// Distinguishes the messages of this run from those of earlier ones, which a server may
    /// still retain.
    run: u32,
    sequence: usize,
    /// When it was sent, since the start of the run.
    sent: Duration,
}

impl Marker {
    /// A text of `size` bytes.
    pub(crate) fn text(self, size: usize) -> String {
        let nanos = self.sent.as_nanos();
        let mut text = format!(
            "{}{:0RUN_DIGITS$x}{:0SEQUENCE_DIGITS$x}{nanos:0TIME_DIGITS$x}",
            FIRST as char, self.run, self.sequence
        );
        text.extend(std::iter::repeat_n('x', size.saturating_sub(MARKER_LENGTH)));
        text
    }

    fn parse(bytes: &[u8]) -> Option<Marker> {
        let digits = std::str::from_utf8(bytes.get(1..MARKER_LENGTH)?).ok()?;
        let (run, rest) = digits.split_at_checked(RUN_DIGITS)?;
        let (sequence, sent) = rest.split_at_checked(SEQUENCE_DIGITS)?;
        Some(Marker {
            run: u32::from_str_radix(run, 16).ok()?,
            sequence: usize::from_str_radix(sequence, 16).ok()?,
            sent: Duration::from_nanos(u64::from_str_radix(sent, 16).ok()?),
        })
    }
}

/// Finds markers in a stream of bytes, also if a marker is split between two reads.
#[derive(Default)]
struct Scanner {
    /// The beginning of a marker whose end has not been read yet.
    partial: [u8; MARKER_LENGTH],
    partial_length: usize,
}

impl Scanner {
    fn feed(&mut self, mut bytes: &[u8], mut found: impl FnMut(Marker)) {
        if self.partial_length > 0 {
            let taken = bytes.len().min(MARKER_LENGTH - self.partial_length);
            let (head, rest) = bytes.split_at(taken);
            self.partial[self.partial_length..][..taken].copy_from_slice(head);
            self.partial_length += taken;
            if self.partial_length < MARKER_LENGTH {
                return;
            }
            self.partial_length = 0;
            Marker::parse(&self.partial)
                .into_iter()
                .for_each(&mut found);
            bytes = rest;
        }
        while let Some(at) = bytes.iter().position(|&byte| byte == FIRST) {
            bytes = &bytes[at..];
            if bytes.len() < MARKER_LENGTH {
                self.partial[..bytes.len()].copy_from_slice(bytes);
                self.partial_length = bytes.len();
                return;
            }
            Marker::parse(bytes).into_iter().for_each(&mut found);
            bytes = &bytes[MARKER_LENGTH..];
        }
    }
}
