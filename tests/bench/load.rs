//! The load of one run: open streams and posting connections, driven by one thread.

use crate::Fallible;
use crate::common::{Request, Response, http};
use crate::listener::{Listener, Tally, dial};
use crate::scenario::{Case, Pace};
use crate::server::Target;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Streams that may be opening at once while an audience gathers.
const CONNECTING_AT_ONCE: usize = 200;
/// A run that has not finished after this time has failed.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// Messages that a room retains by default, and so a full history.
const FULL_HISTORY: usize = 500;
/// The index for the source address of posting connections, apart from those of all clients.
const POSTER_INDEX: usize = usize::MAX;

/// How clients open their streams.
#[derive(Default)]
pub(crate) struct Joining {
    /// The event id after which they resume.
    pub(crate) last_event_id: Option<String>,
    /// The first message that they must see, if that is known.
    pub(crate) first: Option<usize>,
}

pub(crate) struct Load {
    pub(crate) tally: Arc<Tally>,
    target: Arc<Target>,
    case: Arc<Case>,
    posters: Vec<Poster>,
    /// Messages posted so far, and so the sequence number of the next one.
    pub(crate) posted: usize,
    /// Messages that were posted before the pace began.
    posted_before: usize,
    /// The bodies of the responses to posts.
    pub(crate) answers: Vec<String>,
}

impl Load {
    /// A load without clients.
    pub(crate) fn new(target: &Arc<Target>, case: &Arc<Case>) -> Load {
        let mut load = Load {
            tally: Tally::new(next_run()),
            target: Arc::clone(target),
            case: Arc::clone(case),
            posters: Vec::new(),
            posted: 0,
            posted_before: 0,
            answers: Vec::new(),
        };
        load.move_to(target);
        load
    }

    /// Goes on with another server, which has the messages posted so far.
    pub(crate) fn move_to(&mut self, target: &Arc<Target>) {
        self.target = Arc::clone(target);
        self.posters.clear();
        self.posters.resize_with(self.case.posters, Poster::default);
    }

    /// Opens the streams of all clients. Returns the seconds from the first connection to the
    /// last response.
    pub(crate) async fn gather(&mut self) -> Fallible<f64> {
        if self.case.browser_like {
            let mut before = Load::new(&self.target, &self.case);
            before.post_history(FULL_HISTORY * self.case.rooms).await?;
        }
        // A room is joined before anything is said in it, so the first message is known.
        let joining = Joining {
            first: Some(0),
            ..Joining::default()
        };
        let started = Instant::now();
        for index in 0..self.case.clients {
            while index >= self.tally.counts().open + CONNECTING_AT_ONCE {
                self.turn(started).await?;
            }
            self.add_listener(index, &joining);
        }
        while self.tally.counts().open < self.case.clients {
            self.turn(started).await?;
        }
        Ok(started.elapsed().as_secs_f64())
    }

    /// Starts one client without waiting for it.
    pub(crate) fn add_listener(&self, index: usize, joining: &Joining) {
        let Case {
            rooms,
            rooms_per_client,
            named,
            browser_like,
            ..
        } = *self.case;
        let mut query = Vec::new();
        let (mut path, history) = match (rooms, rooms_per_client) {
            (1, _) => (self.target.path(0, 1), self.target.path(0, 1) + "/lobby"),
            (_, 1) => {
                let path = self.target.path(index % rooms, rooms);
                (path.clone(), path)
            }
            _ => {
                let own = (index..index + rooms_per_client).map(|room| room % rooms);
                query.extend(own.map(|room| format!("room=bench-{room}")));
                (
                    self.target.path(0, 1),
                    self.target.path(index % rooms, rooms),
                )
            }
        };
        query.extend(named.then(|| format!("name=bench-{index}")));
        let get = |path: &str| Request::get(path).host(&self.target.authority);
        if !query.is_empty() {
            path = format!("{path}?{}", query.join("&"));
        }
        let mut request = get(&path).header("Accept", "text/event-stream");
        if let Some(id) = &joining.last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        let preparation = match browser_like {
            true => vec![
                get(&format!("{}/", self.target.prefix)),
                get(&format!("{history}/messages?limit={FULL_HISTORY}")),
            ],
            false => Vec::new(),
        };
        let listener = Listener {
            tally: Arc::clone(&self.tally),
            target: Arc::clone(&self.target),
            case: Arc::clone(&self.case),
            index,
            preparation,
            request,
            first: joining.first,
        };
        tokio::spawn(listener.listen());
    }

    /// Posts all messages of the case at its pace, until every client has seen them. Returns the
    /// seconds that took.
    pub(crate) async fn deliver_all(&mut self) -> Fallible<f64> {
        self.expect_deliveries();
        let started = Instant::now();
        while self.tally.counts().complete < self.case.messages {
            if self.posted < self.case.messages {
                self.post_if_due(started).await?;
            }
            self.turn(started).await?;
        }
        Ok(started.elapsed().as_secs_f64())
    }

    /// Posts one more message and waits until every client has it, and so all before it.
    pub(crate) async fn deliver_to_all(&mut self) -> Fallible<()> {
        let started = Instant::now();
        while !self.has_free_poster() {
            self.turn(started).await?;
        }
        {
            let mut counts = self.tally.counts();
            counts.complete = 0;
            counts.awaited = vec![0; self.posted];
            counts.awaited.push(self.case.clients as u32);
        }
        self.post(started).await?;
        while self.tally.counts().complete == 0 {
            self.turn(started).await?;
        }
        Ok(())
    }

    /// Posts messages one after the other, before there are clients.
    pub(crate) async fn post_history(&mut self, messages: usize) -> Fallible<()> {
        let started = Instant::now();
        while self.answers.len() < messages {
            if self.answers.len() == self.posted {
                self.post(Instant::now()).await?;
            }
            self.turn(started).await?;
        }
        Ok(())
    }

    /// The pace counts its messages from now on.
    pub(crate) fn start_pace(&mut self) {
        self.posted_before = self.posted;
    }

    /// Posts the next message if it is due.
    pub(crate) async fn post_if_due(&mut self, started: Instant) -> Fallible<()> {
        if !self.has_free_poster() {
            return Ok(());
        }
        let now = Instant::now();
        // A message that is late was still due on time: a server that keeps the poster waiting
        // does not get that time for nothing.
        let due = match self.case.pace {
            Pace::InFlight(window) => {
                let in_flight = self.posted - self.tally.counts().complete;
                (in_flight < window).then_some(now)
            }
            Pace::Rate(rate) => {
                let seconds = (self.posted - self.posted_before) as f64 / rate as f64;
                let due = started + Duration::from_secs_f64(seconds);
                (due <= now).then_some(due)
            }
        };
        match due {
            Some(due) => self.post(due).await,
            None => Ok(()),
        }
    }

    async fn post(&mut self, due: Instant) -> Fallible<()> {
        let text = self.tally.marker(self.posted, due).text(self.case.size);
        let room = self.posted % self.case.rooms;
        let path = self.target.path(room, self.case.rooms);
        let body = serde_json::json!({ "name": "bench", "text": text });
        let request = Request::post_json(&path, &body).host(&self.target.authority);
        let mut posters = self.posters.iter_mut();
        let free = posters.find(|poster| poster.answer.is_none());
        let free = free.ok_or("all posting connections wait for a response")?;
        self.posted += 1;
        free.post(&self.target, self.tally.run(), &request).await
    }

    fn has_free_poster(&self) -> bool {
        self.posters.iter().any(|poster| poster.answer.is_none())
    }

    /// Takes the responses that have arrived and lets the clients run. An error if the run cannot
    /// succeed any more.
    ///
    /// It does not sleep: waking a sleeping reader would be billed to the server.
    pub(crate) async fn turn(&mut self, started: Instant) -> Fallible<()> {
        self.check(started)?;
        for poster in &mut self.posters {
            self.answers.extend(poster.take_answer()?);
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    fn check(&self, started: Instant) -> Fallible<()> {
        let counts = self.tally.counts();
        if let Some(reason) = counts.failures.first() {
            let failed = counts.failures.len();
            return Err(format!("{failed} clients failed, the first: {reason}").into());
        }
        if started.elapsed() > TIME_LIMIT {
            return Err(format!(
                "time is up with {} of {} clients connected, {} of {} messages delivered to all \
                 and {} deliveries made",
                counts.open,
                self.case.clients,
                counts.complete,
                self.case.messages,
                counts.delivered
            )
            .into());
        }
        Ok(())
    }

    fn expect_deliveries(&self) {
        let rooms = self.case.rooms;
        let audiences: Vec<usize> = (0..rooms).map(|room| self.case.audience(room)).collect();
        let awaited = (0..self.case.messages).map(|message| audiences[message % rooms] as u32);
        let awaited: Vec<u32> = awaited.collect();
        let mut counts = self.tally.counts();
        // So that no memory is allocated in the middle of a measurement.
        let deliveries: usize = awaited.iter().map(|&clients| clients as usize).sum();
        counts.latencies.reserve(deliveries);
        counts.awaited = awaited;
    }
}

/// A keep-alive connection that posts one message at a time.
#[derive(Default)]
struct Poster {
    /// Opened for the first message: a server would close it while a large audience gathers.
    stream: Option<TcpStream>,
    /// What has arrived of the response; none if no response is awaited.
    answer: Option<Vec<u8>>,
}

impl Poster {
    async fn post(&mut self, target: &Target, run: u32, request: &Request) -> Fallible<()> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = dial(target, run, POSTER_INDEX, None).await?;
                self.stream.insert(stream)
            }
        };
        stream.write_all(&request.to_bytes()).await?;
        self.answer = Some(Vec::new());
        Ok(())
    }

    /// The body of the response, once all of it has arrived; an error for any status but 2xx.
    fn take_answer(&mut self) -> Fallible<Option<String>> {
        let (Some(stream), Some(answer)) = (&self.stream, &mut self.answer) else {
            return Ok(None);
        };
        let mut chunk = [0; 8192];
        match stream.try_read(&mut chunk) {
            Ok(0) => return Err("the server closed a posting connection".into()),
            Ok(length) => answer.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let Some(end) = http::find(answer, b"\r\n\r\n") else {
            return Ok(None);
        };
        let response = Response::parse(&answer[..end]);
        let body = &answer[end + 4..];
        let length = response.header("content-length");
        let length = length.map_or(Ok(body.len()), str::parse)?;
        if body.len() < length {
            return Ok(None);
        }
        let body = String::from_utf8_lossy(body).into_owned();
        if !matches!(response.status, 200..300) {
            return Err(format!("a message was refused: {}\n{body}", response.head).into());
        }
        self.answer = None;
        Ok(Some(body))
    }
}

/// Distinguishes the runs of this and of earlier benchmarks: by their markers, which hold 24 bits
/// of it, and by their source addresses.
fn next_run() -> u32 {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    const MARKER_BITS: u32 = 0x00ff_ffff;
    let own = std::process::id().wrapping_mul(61);
    own.wrapping_add(RUNS.fetch_add(1, Ordering::Relaxed)) & MARKER_BITS
}
