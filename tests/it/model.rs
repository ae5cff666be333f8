//! History and resuming against a plain model: any sequence of posts, evictions, joins, cuts and
//! restarts, with the chat called as a service, without sockets.

use crate::common::Change as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use chatroom::{Body, Chat, EventId, Fsync, ManualClock};
use http_body_util::Empty;
use hyper::Request;
use hyper::body::{Body as _, Bytes, Frame};
use hyper::service::Service;
use proptest::prelude::*;

use crate::common::{Folder, longer, unlimited};

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    Post(usize),
    /// A client comes anew, with so many past messages.
    Join(usize),
    /// A client reads so many frames.
    Read(usize, usize),
    /// A client is cut, and comes back from where it was.
    Resume(usize),
    /// The clock jumps to this date.
    Clock(u64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..4_usize;
    let step = prop_oneof![
        6 => (1..40_usize).prop_map(Step::Post),
        // More than a client's queue holds.
        2 => (100..400_usize).prop_map(Step::Post),
        2 => (0..30_usize).prop_map(Step::Join),
        6 => (client.clone(), 1..300_usize).prop_map(|(who, frames)| Step::Read(who, frames)),
        4 => client.prop_map(Step::Resume),
        1 => (0..2_000_u64).prop_map(Step::Clock),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

/// A client, and what it may expect.
struct Client {
    body: Body,
    undecoded: Vec<u8>,
    /// The last id that it saw.
    position: Option<EventId>,
    /// Messages up to here it does not wait for: it has them, or was told, or did not ask for them.
    from: EventId,
    told: bool,
}

/// The room as it should be: all that was ever said, of which the last so many are held.
struct Model {
    said: Vec<EventId>,
    held: usize,
}

impl Model {
    /// The position up to which nothing is held; zero before anything went.
    fn floor(&self) -> EventId {
        let gone = self.said.len().saturating_sub(self.held);
        gone.checked_sub(1).map_or(ZERO, |last| self.said[last])
    }

    /// Where whoever asks for so many messages begins.
    fn begin(&self, history: usize) -> EventId {
        let newest = history.min(self.held).min(self.said.len());
        let before = (self.said.len() - newest).checked_sub(1);
        before.map_or(ZERO, |last| self.said[last])
    }

    fn after(&self, position: EventId) -> &[EventId] {
        &self.said[self.said.partition_point(|id| *id <= position)..]
    }
}

const ZERO: EventId = EventId {
    milliseconds: 0,
    sequence: 0,
};

async fn open(chat: &Chat, query: &str, position: Option<EventId>) -> Body {
    let mut request = Request::get(format!("/chat?{query}")).header("Host", "localhost");
    if let Some(position) = position {
        request = request.header("Last-Event-ID", position.to_string());
    }
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let Ok(response) = chat.call(request).await;
    assert_eq!(response.status(), 200);
    response.into_body()
}

impl Client {
    /// Takes what is there, at most so many events, and compares each with the model.
    async fn read(&mut self, events: usize, model: &Model) -> Result<(), TestCaseError> {
        for _ in 0..events {
            // A frame may end within an event, and an event within a frame.
            let end = loop {
                let end = self.undecoded.windows(2).position(|two| two == b"\n\n");
                if let Some(end) = end {
                    break end + 2;
                }
                let Some(frame) = self.frame().await else {
                    return Ok(());
                };
                let bytes = frame.into_data().expect("no trailers");
                self.undecoded.extend(bytes);
            };
            let event = self.undecoded.drain(..end).collect();
            let event = String::from_utf8(event).expect("UTF-8");
            self.event(&event, model)?;
        }
        Ok(())
    }

    /// The next frame that is there. A body that pauses between two pieces of a backlog has more
    /// when it is asked again.
    async fn frame(&mut self) -> Option<Frame<Bytes>> {
        for _ in 0..2 {
            let next = poll_fn(|cx| match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => Poll::Ready(frame),
                Poll::Pending => Poll::Ready(None),
            });
            // Else the runtime would make it wait now and then, for the sake of other tasks.
            if let Some(Ok(frame)) = tokio::task::unconstrained(next).await {
                return Some(frame);
            }
        }
        None
    }

    fn event(&mut self, event: &str, model: &Model) -> Result<(), TestCaseError> {
        let field = |name: &str| {
            let mut lines = event.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let id = field("id").map(|id| id.parse::<EventId>().expect("an id"));
        match field("event").expect("an event has a name") {
            "messages-missed" => {
                // Something that it does not have is gone, up to here.
                let mark = id.expect("a position");
                prop_assert!(self.from < mark, "told without need");
                prop_assert!(mark <= model.floor() && model.said.contains(&mark));
                (self.from, self.told) = (mark, true);
            }
            "caught-up" => {
                let newest = id.expect("a position");
                let left = model.after(self.from).first();
                prop_assert!(left.is_none_or(|left| *left > newest), "not yet");
                self.from = newest;
            }
            "new-message" => {
                let id = id.expect("a position");
                prop_assert_eq!(
                    model.after(self.from).first(),
                    Some(&id),
                    "a gap or a repeat"
                );
                self.from = id;
            }
            "chat-room-connected" | "members-changed" | "heartbeat" => {}
            other => prop_assert!(false, "{}", other),
        }
        self.position = id.or(self.position);
        Ok(())
    }
}

async fn run(held: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let folder = Folder::new();
    let clock = ManualClock::at(1_000);
    let build = || {
        let chat = unlimited()
            .data(folder.path())
            .fsync(Fsync::No)
            .history(held);
        let chat = chat.history_bytes(0).clock(clock.clone()).build();
        chat.expect("the journal is good")
    };
    let mut chat = build();
    let mut model = Model {
        said: Vec::new(),
        held,
    };
    let mut clients: Vec<Client> = Vec::new();
    for step in steps {
        match step {
            Step::Post(count) => {
                for _ in 0..count {
                    let id = chat.post("lobby", "a", "x").await.expect("it is taken").id;
                    prop_assert!(model.said.last().is_none_or(|last| *last < id));
                    model.said.push(id);
                }
            }
            Step::Join(history) => {
                let body = open(&chat, &format!("history={history}"), None).await;
                let mut client = Client {
                    body,
                    undecoded: Vec::new(),
                    position: None,
                    from: model.begin(history),
                    told: false,
                };
                client.read(1, &model).await?;
                clients.push(client);
            }
            Step::Read(who, frames) => {
                if let Some(client) = clients.get_mut(who) {
                    client.read(frames, &model).await?;
                }
            }
            Step::Resume(who) => resume(&chat, clients.get_mut(who), &model).await?,
            Step::Clock(date) => clock.set_date(date),
            Step::Restart => {
                chat.close().await;
                chat = build();
                for client in &mut clients {
                    resume(&chat, Some(client), &model).await?;
                }
            }
        }
    }
    for client in &mut clients {
        client.read(usize::MAX, &model).await?;
        prop_assert_eq!(model.after(client.from), &[], "something never came");
    }
    chat.close().await;
    Ok(())
}

/// Cuts a client, and lets it come back: it is told of a gap where there is one, and only there.
async fn resume(
    chat: &Chat,
    client: Option<&mut Client>,
    model: &Model,
) -> Result<(), TestCaseError> {
    let Some(client) = client else { return Ok(()) };
    client.body = open(chat, "history=10", client.position).await;
    client.undecoded.clear();
    client.told = false;
    // One that was cut before it had an id comes anew.
    client.from = client.position.unwrap_or(model.begin(10));
    let whole = client.from >= model.floor();
    client.read(2, model).await?;
    let (at, held) = (client.position, model.held);
    prop_assert_eq!(client.told, !whole, "position {:?} with {} held", at, held);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48 * longer() as u32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_client_has_a_piece_of_the_truth_without_a_hole_or_is_told(
        held in 1..60_usize,
        steps in steps(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(run(held, steps))?;
    }
}
