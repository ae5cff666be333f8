//! One run's load: an audience of open streams and a poster, driven by one thread.

use crate::Fallible;
use crate::listener::{Listener, Tally};
use crate::poster::Poster;
use crate::scenario::{Case, Pace};
use crate::server::Target;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Connections that may be on their way at once while an audience gathers.
const CONNECTING_AT_ONCE: usize = 200;
/// After this long, a run that does not come to its end has failed.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// How an audience opens its streams.
pub(crate) struct Joining {
    /// Each client takes part under a name of its own.
    pub(crate) named: bool,
    /// The event id after which the clients resume.
    pub(crate) last_event_id: Option<String>,
    /// The first of the messages that the clients must see, where that is known.
    pub(crate) first: Option<usize>,
}

pub(crate) struct Load {
    pub(crate) tally: Arc<Tally>,
    target: Arc<Target>,
    case: Case,
    poster: Poster,
    /// Messages posted so far, and so the sequence number of the next one.
    pub(crate) posted: usize,
    /// Messages that were posted before the pace was set going.
    posted_before: usize,
    /// Bodies of the answers to what was posted.
    pub(crate) answers: Vec<String>,
}

impl Load {
    /// A load without clients.
    pub(crate) fn new(target: &Arc<Target>, case: &Case) -> Self {
        let run = next_run();
        Self {
            tally: Tally::new(run),
            target: Arc::clone(target),
            case: case.clone(),
            poster: Poster::new(target, run, case.posters),
            posted: 0,
            posted_before: 0,
            answers: Vec::new(),
        }
    }

    /// Goes on with another server that holds the messages posted so far.
    pub(crate) fn move_to(&mut self, target: &Arc<Target>) {
        self.poster = Poster::new(target, self.tally.run(), self.case.posters);
        self.target = Arc::clone(target);
    }

    /// Opens the streams; gives the seconds from the first connection to the last answer.
    pub(crate) async fn gather(&mut self, joining: &Joining) -> Fallible<f64> {
        let started = Instant::now();
        for index in 0..self.case.clients {
            while index >= self.tally.counts().open + CONNECTING_AT_ONCE {
                self.check(started)?;
                tokio::task::yield_now().await;
            }
            self.add_listener(index, joining);
        }
        while self.tally.counts().open < self.case.clients {
            self.check(started)?;
            tokio::task::yield_now().await;
        }
        Ok(started.elapsed().as_secs_f64())
    }

    /// Starts one client without waiting for it.
    pub(crate) fn add_listener(&self, index: usize, joining: &Joining) {
        let rooms = self.case.rooms;
        let room = index % rooms;
        let path = self.target.path(room, rooms);
        let name = if joining.named {
            format!("?name=bench-{index}")
        } else {
            String::new()
        };
        let resume = joining.last_event_id.as_ref();
        let resume = resume
            .map(|id| format!("last-event-id: {id}\r\n"))
            .unwrap_or_default();
        let request = format!(
            "GET {path}{name} HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\n{resume}\r\n",
            self.target.authority
        );
        let listener = Listener {
            tally: Arc::clone(&self.tally),
            target: Arc::clone(&self.target),
            index,
            request,
            // Messages go to the rooms in turn.
            first: joining.first.map(|first| first + room),
            step: rooms,
        };
        tokio::spawn(listener.listen());
    }

    /// Posts all messages of the case at its pace, until every client has seen them.
    pub(crate) async fn deliver_all(&mut self) -> Fallible<f64> {
        self.expect_deliveries();
        let started = Instant::now();
        while self.tally.counts().complete < self.case.messages {
            self.check(started)?;
            if self.posted < self.case.messages {
                self.post_if_due(started).await?;
            }
            self.collect_answers()?;
            // Not to sleep: waking a sleeping reader would be billed to the server.
            tokio::task::yield_now().await;
        }
        Ok(started.elapsed().as_secs_f64())
    }

    /// Posts one message more and waits until every client has it, and so all before it.
    pub(crate) async fn deliver_to_all(&mut self) -> Fallible<()> {
        let started = Instant::now();
        while !self.poster.is_free() {
            self.check(started)?;
            self.collect_answers()?;
            tokio::task::yield_now().await;
        }
        {
            let mut counts = self.tally.counts();
            counts.complete = 0;
            counts.awaited = vec![0; self.posted];
            counts.awaited.push(self.case.clients as u32);
        }
        self.post(started).await?;
        while self.tally.counts().complete == 0 {
            self.check(started)?;
            self.collect_answers()?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// From now on the pace's count of messages starts.
    pub(crate) fn start_pace(&mut self) {
        self.posted_before = self.posted;
    }

    /// Posts the next message if the pace wants it now.
    pub(crate) async fn post_if_due(&mut self, started: Instant) -> Fallible<()> {
        if !self.poster.is_free() {
            return Ok(());
        }
        let now = Instant::now();
        // What is late was still due on time, so that a server which keeps the poster
        // waiting does not get that time for nothing.
        let due = match self.case.pace {
            Pace::InFlight(window) => {
                let waiting = self.posted - self.tally.counts().complete;
                (waiting < window).then_some(now)
            }
            Pace::Rate(rate) => {
                let due = started
                    + Duration::from_secs_f64((self.posted - self.posted_before) as f64 / rate);
                (due <= now).then_some(due)
            }
        };
        match due {
            Some(due) => self.post(due).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn post(&mut self, due: Instant) -> Fallible<()> {
        let text = self.tally.marker(self.posted, due).text(self.case.size);
        let path = self
            .target
            .path(self.posted % self.case.rooms, self.case.rooms);
        self.posted += 1;
        self.poster.post(&path, &text).await
    }

    pub(crate) fn collect_answers(&mut self) -> Fallible<()> {
        self.answers.extend(self.poster.answers()?);
        Ok(())
    }

    /// An error where the run cannot come to a good end any more.
    pub(crate) fn check(&self, started: Instant) -> Fallible<()> {
        let counts = self.tally.counts();
        if let Some(reason) = counts.failures.first() {
            return Err(format!(
                "{} clients failed, the first: {reason}",
                counts.failures.len()
            )
            .into());
        }
        if started.elapsed() > TIME_LIMIT {
            let Case {
                clients, messages, ..
            } = self.case;
            return Err(format!(
                "time is up with {} of {clients} clients connected, {} of {messages} messages \
                 delivered to all and {} deliveries made",
                counts.open, counts.complete, counts.delivered
            )
            .into());
        }
        Ok(())
    }

    fn expect_deliveries(&self) {
        let Case {
            clients,
            messages,
            rooms,
            ..
        } = self.case;
        let audience = |room: usize| clients / rooms + usize::from(room < clients % rooms);
        let awaited = (0..messages).map(|sequence| audience(sequence % rooms) as u32);
        let mut counts = self.tally.counts();
        counts.awaited = awaited.collect();
        // So that memory is not taken in the middle of a measurement.
        counts.latencies.reserve(clients / rooms * messages);
    }
}

/// Tells the runs of this and of earlier benchmarks apart: by their markers, which hold
/// 24 bits of it, and by their source addresses.
fn next_run() -> u32 {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    const MARKER_BITS: u32 = 0x00ff_ffff;
    let own = std::process::id().wrapping_mul(61);
    own.wrapping_add(RUNS.fetch_add(1, Ordering::Relaxed)) & MARKER_BITS
}
