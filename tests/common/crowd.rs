//! Followers, for tests with hundreds of clients: of a stream, a follower keeps only what the
//! server's guarantees are about.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use chatroom::EventId;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::events::{Decoder, Event};
use super::http::{Client, Request};
use super::within;

/// How long all tasks of a crowd may take. Their single steps have a limit of their own, but a
/// client that waits in vain may receive heartbeats for ever. A busy machine needs minutes.
const CROWD_PATIENCE: Duration = Duration::from_secs(600);

/// What a follower has seen, over all the connections that it had.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The messages, in the order of their arrival.
    pub(crate) messages: Vec<EventId>,
    /// The id of the latest event that had one: where to resume.
    pub(crate) position: Option<EventId>,
    /// For each `messages-missed`, how many messages came before it.
    pub(crate) gaps: Vec<usize>,
    /// How many events replaced the whole roster.
    pub(crate) rosters: usize,
    /// How many rooms were greeted, over all streams.
    pub(crate) greetings: usize,
    /// How often it was told that it has caught up.
    pub(crate) catch_ups: usize,
    /// The reconnection times of the `server-closing` events, in milliseconds.
    pub(crate) goodbyes: Vec<u64>,
}

impl Seen {
    fn note(&mut self, event: &Event) {
        let id = event.id.as_deref().map(EventId::from_str);
        let id = id.map(|id| id.unwrap_or_else(|_| panic!("not an id: {event:?}")));
        if id.is_some() {
            let repeats = id == self.position && !event.is("caught-up");
            let in_order = id >= self.position && !repeats;
            assert!(in_order, "at {:?} comes {event:?}", self.position);
            self.position = id;
        }
        match event.event.as_str() {
            "new-message" => self.messages.push(id.expect("a message has an id")),
            "messages-missed" => self.gaps.push(self.messages.len()),
            "chat-room-connected" => self.greetings += 1,
            "caught-up" => self.catch_ups += 1,
            "server-closing" => {
                let retry = event.retry.expect("a goodbye says when to return");
                self.goodbyes.push(retry);
            }
            "members-changed" => {
                self.rosters += usize::from(event.data.contains("\"members\":"));
            }
            "heartbeat" => {}
            other => panic!("an unknown event: {other}"),
        }
    }
}

/// A reader of one stream.
pub(crate) struct Follower {
    client: Client,
    has_begun: bool,
    /// A proxy may answer that no server takes the request: then it is broken.
    is_patient: bool,
    decoder: Decoder,
}

/// The outcome of a read.
#[derive(Debug, PartialEq)]
pub(crate) enum Progress {
    /// Something arrived.
    More,
    /// The last chunk arrived: the server ended the stream.
    Ended,
    /// The connection was closed or reset.
    Broken,
}

impl Follower {
    /// Asks for a stream that resumes at the last position seen, and reads nothing yet.
    pub(crate) async fn open(
        address: SocketAddr,
        target: &str,
        seen: &Seen,
    ) -> std::io::Result<Follower> {
        let mut request = Request::get(target);
        if let Some(position) = seen.position {
            request = request.header("Last-Event-ID", position.to_string());
        }
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(&request.to_bytes()).await?;
        Ok(Follower::of(Client::from(socket)))
    }

    /// Opens a stream and reads until it has caught up.
    pub(crate) async fn join(address: SocketAddr, target: &str) -> (Follower, Seen) {
        let mut seen = Seen::default();
        let follower = Follower::open(address, target, &seen).await;
        let mut follower = follower.expect("the server accepts");
        follower.catch_up(&mut seen).await;
        (follower, seen)
    }

    /// Follows the stream that was asked for over a connection.
    pub(crate) fn of(client: Client) -> Follower {
        Follower {
            client,
            has_begun: false,
            is_patient: false,
            decoder: Decoder::default(),
        }
    }

    /// Takes a proxy's 502 to 504 for a broken connection.
    #[allow(dead_code, reason = "only the tests behind proxies need it")]
    pub(crate) fn patient(mut self) -> Follower {
        self.is_patient = true;
        self
    }

    pub(crate) fn into_socket(self) -> TcpStream {
        self.client.into_socket()
    }

    /// Reads once, at most so many bytes, without a time limit. Cancel safe.
    pub(crate) async fn read(&mut self, at_most: usize, seen: &mut Seen) -> Progress {
        if !self.client.read(at_most).await {
            return Progress::Broken;
        }
        if !self.has_begun {
            let Some(head) = self.client.take_head() else {
                return Progress::More;
            };
            if self.is_patient && matches!(head.status, 502..=504) {
                return Progress::Broken;
            }
            assert_eq!(head.status, 200, "{}", head.head);
            self.has_begun = true;
        }
        self.decoder.decode(&mut self.client);
        while let Some(event) = self.decoder.next() {
            seen.note(&event);
        }
        if !self.decoder.has_ended() {
            return Progress::More;
        }
        assert!(self.decoder.ended_cleanly(), "the end cuts an event in two");
        Progress::Ended
    }

    /// Reads until so many messages were seen in all, without a break.
    pub(crate) async fn follow(&mut self, messages: usize, seen: &mut Seen) {
        while seen.messages.len() < messages {
            let before = seen.messages.len();
            // Heartbeats do not extend the time limit.
            within("the next message", async {
                while seen.messages.len() == before {
                    let progress = self.read(64 * 1024, seen).await;
                    assert_eq!(progress, Progress::More, "after {before} messages");
                }
            })
            .await;
        }
    }

    /// Reads until it has caught up.
    pub(crate) async fn catch_up(&mut self, seen: &mut Seen) {
        let before = seen.catch_ups;
        while seen.catch_ups == before {
            let progress = within("the present", self.read(16 * 1024, seen)).await;
            assert_eq!(progress, Progress::More);
        }
    }

    /// Reads to the end of the stream, and returns how it ended.
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
}

/// Waits for the end of a crowd's task.
pub(crate) async fn finished<T>(what: &str, task: JoinHandle<T>) -> T {
    let ended = timeout(CROWD_PATIENCE, task).await;
    let ended = ended.unwrap_or_else(|_| panic!("{what}: no end within {CROWD_PATIENCE:?}"));
    ended.unwrap_or_else(|error| panic!("{what}: {error}"))
}
