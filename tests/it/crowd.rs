//! Followers and posters for tests with many clients. A follower keeps of a stream only what the
//! promises speak of, so that hundreds of them cost little.

use std::io::BufRead;
use std::net::SocketAddr;
use std::time::Duration;

use chatroom::EventId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{Client, Request, get, within};

/// What a follower has seen, over all the connections that it had.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The messages, in the order in which they came.
    pub(crate) messages: Vec<EventId>,
    /// The newest id of any event: where to resume.
    pub(crate) position: Option<EventId>,
    /// After how many messages it was told that some were missed.
    pub(crate) gaps: Vec<usize>,
    /// Rosters that were to replace the one it had.
    pub(crate) rosters: usize,
    /// Greetings, so connections.
    pub(crate) greetings: usize,
    /// The waits that goodbyes asked for, in milliseconds.
    pub(crate) goodbyes: Vec<u64>,
}

/// A reader of one stream.
pub(crate) struct Follower {
    socket: TcpStream,
    /// Bytes of HTTP that are not understood yet.
    raw: Vec<u8>,
    /// Bytes of events that are not whole yet.
    text: Vec<u8>,
    at: Place,
}

/// Where in the answer a follower is.
#[derive(Debug, PartialEq)]
enum Place {
    Head,
    ChunkSize,
    /// With so many bytes of the chunk to come, its line break among them.
    Chunk(usize),
    End,
}

/// How reading went.
#[derive(Debug, PartialEq)]
pub(crate) enum Progress {
    /// Something came.
    More,
    /// The last chunk came: a clean end.
    Ended,
    /// The connection broke off.
    Broken,
}

impl Follower {
    /// Asks for a stream, from the position that was seen last, and reads nothing yet.
    pub(crate) async fn open(
        address: SocketAddr,
        target: &str,
        seen: &Seen,
    ) -> std::io::Result<Follower> {
        let mut request = Request::get(target);
        if let Some(position) = seen.position {
            request = request.header("Last-Event-ID", position.to_string());
        }
        let socket = TcpStream::connect(address).await?;
        Follower::over(socket, &request).await
    }

    pub(crate) async fn over(
        mut socket: TcpStream,
        request: &Request,
    ) -> std::io::Result<Follower> {
        socket.write_all(&request.to_bytes()).await?;
        Ok(Follower {
            socket,
            raw: Vec::new(),
            text: Vec::new(),
            at: Place::Head,
        })
    }

    /// Follows a stream that was asked for over a connection.
    pub(crate) fn of(client: Client) -> Follower {
        Follower {
            socket: client.into_socket(),
            raw: Vec::new(),
            text: Vec::new(),
            at: Place::Head,
        }
    }

    /// The connection, for who wants to break it.
    pub(crate) fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// Reads once, `most` bytes at most, without a time limit. Nothing is lost where this is
    /// dropped while it waits.
    pub(crate) async fn read(&mut self, most: usize, seen: &mut Seen) -> Progress {
        let mut bytes = vec![0; most];
        let count = self.socket.read(&mut bytes).await.unwrap_or(0);
        self.raw.extend_from_slice(&bytes[..count]);
        if count == 0 {
            return Progress::Broken;
        }
        self.decode(seen);
        if self.at == Place::End {
            assert!(self.text.is_empty(), "the end cuts an event in two");
            Progress::Ended
        } else {
            Progress::More
        }
    }

    /// Reads until so many messages were seen in all, which must come without a break.
    pub(crate) async fn follow(&mut self, messages: usize, seen: &mut Seen) {
        while seen.messages.len() < messages {
            let before = seen.messages.len();
            // A heartbeat is not what is waited for.
            within("the next message", async {
                while seen.messages.len() == before {
                    let progress = self.read(64 * 1024, seen).await;
                    assert_eq!(progress, Progress::More, "after {before} messages");
                }
            })
            .await;
        }
    }

    /// Reads until it was greeted.
    pub(crate) async fn greeted(&mut self, seen: &mut Seen) {
        let before = seen.greetings;
        while seen.greetings == before {
            let progress = within("a greeting", self.read(16 * 1024, seen)).await;
            assert_eq!(progress, Progress::More);
        }
    }

    /// Reads to the end, and says whether it was a clean one.
    pub(crate) async fn read_to_the_end(&mut self, seen: &mut Seen) -> Progress {
        within("the stream's end", async {
            loop {
                let progress = self.read(64 * 1024, seen).await;
                if progress != Progress::More {
                    return progress;
                }
            }
        })
        .await
    }

    fn decode(&mut self, seen: &mut Seen) {
        let raw = std::mem::take(&mut self.raw);
        let mut rest = &raw[..];
        loop {
            match self.at {
                Place::Head => {
                    let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") else {
                        break;
                    };
                    let head = String::from_utf8_lossy(&rest[..end]);
                    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                    rest = &rest[end + 4..];
                    self.at = Place::ChunkSize;
                }
                Place::ChunkSize => {
                    let Some(end) = line_end(rest) else { break };
                    let size = std::str::from_utf8(&rest[..end]).expect("a size is ASCII");
                    let size = usize::from_str_radix(size.trim_end(), 16).expect("a chunk's size");
                    let behind = &rest[end..];
                    if size == 0 {
                        // Behind the last chunk stands one more line break.
                        if behind.len() == 2 {
                            rest = &[];
                            self.at = Place::End;
                        }
                        break;
                    }
                    rest = behind;
                    self.at = Place::Chunk(size + 2);
                }
                Place::Chunk(left) => {
                    let taken = left.min(rest.len());
                    let data = taken.min(left.saturating_sub(2));
                    self.text.extend_from_slice(&rest[..data]);
                    rest = &rest[taken..];
                    if taken < left {
                        self.at = Place::Chunk(left - taken);
                        break;
                    }
                    self.at = Place::ChunkSize;
                }
                Place::End => break,
            }
        }
        self.raw = rest.to_vec();
        self.events(seen);
    }

    fn events(&mut self, seen: &mut Seen) {
        let mut whole = 0;
        let (mut lines, mut retry, mut id) = (0, None, None);
        while let Some(end) = line_end(&self.text[lines..]) {
            let line = &self.text[lines..lines + end - 1];
            lines += end;
            if line.is_empty() {
                whole = lines;
                (retry, id) = (None, None);
                continue;
            }
            if let Some(value) = line.strip_prefix(b"id: ") {
                id = Some(parse(value));
                // The id counts from the blank line on, but a reader that drops the event drops
                // its position too: so it is set by the data, which comes last.
            } else if let Some(value) = line.strip_prefix(b"retry: ") {
                retry = Some(parse(value));
            } else if let Some(event) = line.strip_prefix(b"event: ") {
                // Data and blank line follow; where they are not there yet, all is read again.
                let data = lines;
                let Some(end) = line_end(&self.text[data..]) else {
                    break;
                };
                if self.text.get(data + end) != Some(&b'\n') {
                    break;
                }
                seen.event(event, id, retry, &self.text[data..data + end]);
            }
        }
        self.text.drain(..whole);
    }
}

impl Seen {
    fn event(&mut self, event: &[u8], id: Option<EventId>, retry: Option<u64>, data: &[u8]) {
        self.position = id.or(self.position);
        match event {
            b"new-message" => self.messages.push(id.expect("a message has an id")),
            b"messages-missed" => self.gaps.push(self.messages.len()),
            b"chat-room-connected" => self.greetings += 1,
            b"server-closing" => self
                .goodbyes
                .push(retry.expect("a goodbye says when to return")),
            b"members-changed" => {
                let data = String::from_utf8_lossy(data);
                self.rosters += usize::from(data.contains("\"members\":"));
            }
            b"heartbeat" => {}
            other => panic!("an unknown event: {}", String::from_utf8_lossy(other)),
        }
    }
}

/// Where the first line of these bytes ends, behind its line break.
fn line_end(bytes: &[u8]) -> Option<usize> {
    let count = { bytes }.skip_until(b'\n').ok()?;
    (count > 0 && bytes[count - 1] == b'\n').then_some(count)
}

fn parse<T: std::str::FromStr>(value: &[u8]) -> T {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("not a value: {}", String::from_utf8_lossy(value)))
}

/// How long the tasks of a crowd may take in all. Each of their steps has its own limit, but a
/// client that waits for what never comes may hear heartbeats all the time.
const CROWD_PATIENCE: Duration = Duration::from_secs(180);

/// Waits for the end of a task of a crowd.
pub(crate) async fn finished<T>(what: &str, task: JoinHandle<T>) -> T {
    let ended = timeout(CROWD_PATIENCE, task).await;
    let ended = ended.unwrap_or_else(|_| panic!("{what}: no end within {CROWD_PATIENCE:?}"));
    ended.unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// Posts texts one after the other over one connection, and returns their ids.
pub(crate) async fn post_all(
    address: SocketAddr,
    target: &str,
    texts: impl IntoIterator<Item = String>,
) -> Vec<EventId> {
    let mut client = Client::connect(address).await;
    let mut ids = Vec::new();
    for text in texts {
        let answer = client.ask(&Request::post_text(target, text)).await;
        ids.push(id_of(&answer.expect(201, "").json()));
    }
    ids
}

/// The id of a message in JSON.
pub(crate) fn id_of(message: &serde_json::Value) -> EventId {
    message["eventId"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .unwrap_or_else(|| panic!("no id: {message}"))
}

/// All that was posted, in its order: no id was given twice.
pub(crate) fn in_order(posted: impl IntoIterator<Item = Vec<EventId>>) -> Vec<EventId> {
    let mut all: Vec<EventId> = Vec::new();
    for ids in posted {
        assert!(ids.is_sorted(), "one poster's messages keep their order");
        all.extend(ids);
    }
    all.sort_unstable();
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "an id twice");
    all
}

/// One of the server's figures.
pub(crate) async fn figure(address: SocketAddr, name: &str) -> u64 {
    let answer = get(address, "/metrics").await.expect(200, "");
    let line = answer
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("no figure {name}"));
    line.parse().expect("a figure is a number")
}

/// Chance that a test can repeat: the same numbers for the same seed (xorshift64*).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}
