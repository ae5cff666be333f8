//! A reader of event streams, as strict as the format allows.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::Value;

use super::http::{Client, Request, Response, find};
use super::within;

/// One event, as it came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: String,
    pub(crate) retry: Option<u64>,
    /// All its bytes, with the blank line.
    pub(crate) raw: String,
}

impl Event {
    fn parse(raw: &str) -> Event {
        let mut event = Event {
            raw: raw.to_owned(),
            ..Event::default()
        };
        assert!(!raw.contains('\r'), "a CR would end a line: {raw:?}");
        for line in raw.trim_end_matches('\n').split('\n') {
            let (field, value) = line
                .split_once(": ")
                .unwrap_or_else(|| panic!("not a field: {line:?}"));
            match field {
                "id" => assert_eq!(event.id.replace(value.to_owned()), None, "{raw:?}"),
                "retry" => event.retry = Some(value.parse().expect("retry is a number")),
                "event" => event.event.push_str(value),
                "data" => event.data.push_str(value),
                _ => panic!("an unknown field: {line:?}"),
            }
        }
        event
    }

    /// The data, which is always an object.
    pub(crate) fn json(&self) -> Value {
        let json: Value = serde_json::from_str(&self.data).expect("data is JSON");
        assert!(json.is_object(), "{json}");
        json
    }

    /// The text of a message.
    pub(crate) fn text(&self) -> String {
        self.json()["text"]
            .as_str()
            .expect("a message has a text")
            .to_owned()
    }

    pub(crate) fn is(&self, event: &str) -> bool {
        self.event == event
    }
}

/// The reader of a stream. Dropping it closes the connection.
pub(crate) struct EventStream {
    client: Client,
    /// The answer's status and headers.
    pub(crate) head: Response,
    undecoded: Vec<u8>,
    events: VecDeque<Event>,
    ended_cleanly: bool,
}

impl EventStream {
    /// Opens a stream, which must succeed.
    pub(crate) async fn open(address: SocketAddr, target: &str) -> EventStream {
        EventStream::request(address, Request::get(target)).await
    }

    /// Opens a stream by a request of the test's own, which must succeed.
    pub(crate) async fn request(address: SocketAddr, request: Request) -> EventStream {
        match EventStream::attempt(address, request).await {
            Ok(stream) => stream,
            Err(refused) => panic!("no stream: {}\n{}", refused.head, refused.text()),
        }
    }

    /// Opens a stream, or gives the refusal.
    pub(crate) async fn attempt(
        address: SocketAddr,
        request: Request,
    ) -> Result<EventStream, Response> {
        EventStream::over(Client::connect(address).await, request).await
    }

    /// Opens a stream over a connection that is there.
    pub(crate) async fn over(
        mut client: Client,
        request: Request,
    ) -> Result<EventStream, Response> {
        client.send(&request.to_bytes()).await;
        let mut head = client.head().await.expect("an answer comes");
        if head.status != 200 {
            let length = head
                .header("content-length")
                .map_or(0, |length| length.parse().expect("a length is a number"));
            head.body = client.take(length).await;
            return Err(head);
        }
        Ok(EventStream {
            client,
            head,
            undecoded: Vec::new(),
            events: VecDeque::new(),
            ended_cleanly: false,
        })
    }

    /// The session that the stream brought.
    pub(crate) fn session(&self) -> String {
        self.head.session().expect("the stream brings a session")
    }

    /// The connection under the stream.
    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The next event of any kind; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            match self.client.chunk().await {
                Some(chunk) => self.decode(&chunk),
                None => {
                    self.ended_cleanly = self.client.unread.is_empty() && self.undecoded.is_empty();
                    return None;
                }
            }
        }
    }

    fn decode(&mut self, chunk: &[u8]) {
        self.undecoded.extend(chunk);
        while let Some(end) = find(&self.undecoded, b"\n\n") {
            let raw: Vec<u8> = self.undecoded.drain(..end + 2).collect();
            let raw = std::str::from_utf8(&raw).expect("a stream is UTF-8");
            self.events.push_back(Event::parse(raw));
        }
    }

    /// Whether the stream has ended between two events.
    pub(crate) fn ended_cleanly(&self) -> bool {
        self.ended_cleanly
    }

    /// The next event, which must come.
    pub(crate) async fn event(&mut self) -> Event {
        self.next().await.expect("the stream goes on with an event")
    }

    /// The next event that is not about who comes and goes, which is told once a second, or about
    /// silence.
    pub(crate) async fn telling(&mut self) -> Event {
        loop {
            let next = self.event().await;
            if !next.is("members-changed") && !next.is("heartbeat") {
                return next;
            }
        }
    }

    /// Reads on up to and with the next event of that name. Heartbeats do not prolong the wait.
    pub(crate) async fn until(&mut self, event: &str) -> Event {
        within(event, async {
            loop {
                let next = self.event().await;
                if next.is(event) {
                    return next;
                }
            }
        })
        .await
    }

    /// The next message, whatever comes before it.
    pub(crate) async fn message(&mut self) -> Event {
        self.until("new-message").await
    }

    /// The texts of the next so many messages.
    pub(crate) async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::with_capacity(count);
        while texts.len() < count {
            texts.push(self.message().await.text());
        }
        texts
    }
}
