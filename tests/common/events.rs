//! A reader of event streams that accepts only well-formed events.

use std::collections::VecDeque;
use std::io::BufRead;
use std::net::SocketAddr;

use serde_json::Value;

use super::http::{Client, Request, Response};
use super::within;

/// One event, as received.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: String,
    pub(crate) retry: Option<u64>,
    /// All its bytes, including the blank line.
    pub(crate) raw: String,
}

impl Event {
    fn parse(raw: &[u8]) -> Event {
        let raw = std::str::from_utf8(raw).expect("a stream is UTF-8");
        let mut event = Event {
            raw: raw.to_owned(),
            ..Event::default()
        };
        assert!(!raw.contains('\r'), "a CR would end a line: {raw:?}");
        for line in raw.trim_end_matches('\n').split('\n') {
            let (field, value) = line
                .split_once(':')
                .and_then(|(field, value)| Some((field, value.strip_prefix(' ')?)))
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

    /// The data, which is always a JSON object.
    pub(crate) fn json(&self) -> Value {
        let json: Value = serde_json::from_str(&self.data).expect("data is JSON");
        assert!(json.is_object(), "{json}");
        json
    }

    /// The text of a message.
    pub(crate) fn text(&self) -> String {
        let json = self.json();
        json["text"].as_str().expect("a message's text").to_owned()
    }

    pub(crate) fn is(&self, event: &str) -> bool {
        self.event == event
    }
}

/// Cuts the body of a response into events.
#[derive(Default)]
pub(super) struct Decoder {
    undecoded: Vec<u8>,
    events: VecDeque<Event>,
    ended: bool,
}

impl Decoder {
    /// Decodes what has arrived on the connection.
    pub(super) fn decode(&mut self, client: &mut Client) {
        self.ended |= client.take_chunks(&mut self.undecoded);
        let (mut event, mut line) = (0, 0);
        while let Ok(length) = { &self.undecoded[line..] }.skip_until(b'\n')
            && self.undecoded[line..line + length].ends_with(b"\n")
        {
            line += length;
            if length == 1 {
                let raw = &self.undecoded[event..line];
                self.events.push_back(Event::parse(raw));
                event = line;
            }
        }
        self.undecoded.drain(..event);
    }

    pub(super) fn next(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether the last chunk, which ends the body, has arrived.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the body has ended between two events.
    pub(super) fn ended_cleanly(&self) -> bool {
        self.ended && self.undecoded.is_empty()
    }
}

/// An open event stream. Dropping it closes the connection.
pub(crate) struct EventStream {
    client: Client,
    /// The status line and the headers of the response.
    pub(crate) head: Response,
    decoder: Decoder,
}

impl EventStream {
    /// Opens a stream, which must succeed.
    pub(crate) async fn open(address: SocketAddr, target: &str) -> EventStream {
        EventStream::request(address, Request::get(target)).await
    }

    /// Opens a stream with the test's own request, which must succeed.
    pub(crate) async fn request(address: SocketAddr, request: Request) -> EventStream {
        match EventStream::attempt(address, request).await {
            Ok(stream) => stream,
            Err(refused) => panic!("no stream: {}\n{}", refused.head, refused.text()),
        }
    }

    /// Opens a stream, or returns the error response.
    pub(crate) async fn attempt(
        address: SocketAddr,
        request: Request,
    ) -> Result<EventStream, Response> {
        EventStream::over(Client::connect(address).await, request).await
    }

    /// Opens a stream over an existing connection.
    pub(crate) async fn over(
        mut client: Client,
        request: Request,
    ) -> Result<EventStream, Response> {
        client.send(&request.to_bytes()).await;
        let mut head = client.head().await.expect("the server responds");
        if head.status != 200 {
            let length = head.header("content-length").map_or(0, |length| {
                length.parse().expect("Content-Length is a number")
            });
            head.body = client.take(length).await;
            return Err(head);
        }
        Ok(EventStream {
            client,
            head,
            decoder: Decoder::default(),
        })
    }

    /// The session that the response set.
    pub(crate) fn session(&self) -> String {
        self.head.session().expect("the stream sets a session")
    }

    /// The connection of the stream.
    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The next event of any kind; `None` once the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            self.decoder.decode(&mut self.client);
            if let Some(event) = self.decoder.next() {
                return Some(event);
            }
            if self.decoder.has_ended() || !self.client.fill().await {
                return None;
            }
        }
    }

    /// Whether the server ended the stream, and between two events.
    pub(crate) fn ended_cleanly(&self) -> bool {
        self.decoder.ended_cleanly()
    }

    /// The next event, which must come.
    pub(crate) async fn event(&mut self) -> Event {
        self.next().await.expect("the stream goes on with an event")
    }

    /// The next event other than `members-changed` and `heartbeat`, whose timing varies.
    pub(crate) async fn telling(&mut self) -> Event {
        loop {
            let next = self.event().await;
            if !next.is("members-changed") && !next.is("heartbeat") {
                return next;
            }
        }
    }

    /// Reads what a stream begins with: the greetings, the past and the rosters, and `caught-up` at
    /// their end.
    pub(crate) async fn caught_up(&mut self) -> Vec<Event> {
        within("the present", async {
            let mut past = Vec::new();
            while past.last().is_none_or(|last: &Event| !last.is("caught-up")) {
                past.push(self.event().await);
            }
            past
        })
        .await
    }

    /// Reads up to and including the next event of that name. Other events do not extend the time
    /// limit.
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

    /// The texts of the next `count` messages.
    pub(crate) async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::with_capacity(count);
        while texts.len() < count {
            texts.push(self.message().await.text());
        }
        texts
    }
}
