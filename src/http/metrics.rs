//! What the server counts, in the text format of Prometheus, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::body::{self, Body};
use super::error::Refusal;
use super::service::Site;
use crate::chat::counters::Counters;
use crate::chat::lock;

/// Counts that belong to requests and connections. Labels are routes, statuses and codes, all from
/// short lists of our own: nothing that a visitor chooses.
#[derive(Default)]
pub(crate) struct Metrics {
    accepted: AtomicU64,
    stalled_writes: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
}

impl Metrics {
    /// A message was committed.
    pub(crate) fn accepted(&self) {
        Counters::add(&self.accepted, 1);
    }

    /// A message was refused.
    pub(crate) fn refused(&self, refusal: Refusal) {
        *lock(&self.refused).entry(refusal.status().1).or_default() += 1;
    }

    /// A connection was cut because its client took nothing.
    pub(crate) fn stalled_write(&self) {
        Counters::add(&self.stalled_writes, 1);
    }

    /// A request was answered.
    pub(crate) fn request(&self, route: &'static str, status: StatusCode) {
        *lock(&self.requests)
            .entry((route, status.as_u16()))
            .or_default() += 1;
    }

    /// All figures of a site.
    pub(crate) fn serve(&self, site: &Site) -> Response<Body> {
        let mut response = body::json(StatusCode::OK, self.text(site));
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
        );
        response
    }

    fn text(&self, site: &Site) -> String {
        let rooms = site.hub.summaries();
        let sum = |figure: fn(&crate::chat::answers::Summary) -> usize| {
            rooms.iter().map(figure).sum::<usize>()
        };
        let chat = site.hub.counters();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut text = Text(String::new());
        text.gauge(
            "chatroom_streams",
            "Event streams and waiting requests that are open.",
            site.streams.count(),
        );
        text.gauge(
            "chatroom_members",
            "Members, added up over the rooms.",
            sum(|room| room.census.members),
        );
        text.gauge(
            "chatroom_listeners",
            "Streams without a name, added up over the rooms.",
            sum(|room| room.census.listeners),
        );
        text.gauge("chatroom_rooms", "Rooms that are held.", rooms.len());
        text.gauge(
            "chatroom_history_bytes",
            "Bytes of messages that the rooms hold.",
            sum(|room| room.history_bytes),
        );
        text.counter(
            "chatroom_messages_accepted_total",
            "Messages committed.",
            load(&self.accepted),
        );
        text.labelled(
            "chatroom_messages_refused_total",
            "Messages refused, by the code of the refusal.",
            |line| {
                lock(&self.refused)
                    .iter()
                    .for_each(|(code, count)| line(format!("code=\"{code}\""), *count));
            },
        );
        text.counter(
            "chatroom_deliveries_total",
            "Frames queued for clients, once for each client.",
            load(&chat.deliveries),
        );
        text.counter(
            "chatroom_catch_ups_total",
            "Clients that caught up in place after their queue had been full.",
            load(&chat.catch_ups),
        );
        text.counter(
            "chatroom_stalled_writes_cut_total",
            "Connections cut because the client took nothing.",
            load(&self.stalled_writes),
        );
        text.counter(
            "chatroom_resumes_total",
            "Streams that went on from a position that was held.",
            load(&chat.resumes),
        );
        text.counter(
            "chatroom_gaps_told_total",
            "Clients told that they had missed messages.",
            load(&chat.gaps_told),
        );
        if let Some(journal) = site.log().journal() {
            let figures = journal.figures();
            text.gauge(
                "chatroom_journal_bytes",
                "Size of the journal.",
                figures.bytes(),
            );
            text.counter(
                "chatroom_journal_syncs_total",
                "Times the journal was synced.",
                figures.syncs(),
            );
            text.counter(
                "chatroom_journal_sync_seconds_total",
                "Time spent syncing the journal.",
                figures.sync_time().as_secs_f64(),
            );
        }
        text.labelled(
            "chatroom_http_requests_total",
            "Requests answered, by route and status.",
            |line| {
                lock(&self.requests)
                    .iter()
                    .for_each(|((route, status), count)| {
                        line(format!("route=\"{route}\",status=\"{status}\""), *count)
                    });
            },
        );
        text.process();
        text.0
    }
}

/// The text, growing.
struct Text(String);

impl Text {
    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "gauge");
        self.line(name, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "counter");
        self.line(name, value);
    }

    fn labelled(&mut self, name: &str, help: &str, fill: impl FnOnce(&mut dyn FnMut(String, u64))) {
        self.head(name, help, "counter");
        fill(&mut |labels, value| self.line(format_args!("{name}{{{labels}}}"), value));
    }

    /// What Linux tells of this process; elsewhere, nothing.
    fn process(&mut self) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<u64>()
                .ok()
        });
        if let Some(kilobytes) = resident {
            self.gauge(
                "process_resident_memory_bytes",
                "Resident memory.",
                kilobytes * 1_024,
            );
        }
        if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
            // One of them is the one by which they are counted.
            self.gauge(
                "process_open_fds",
                "Open file descriptors.",
                descriptors.count().saturating_sub(1),
            );
        }
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // A String takes every write.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: impl Display, value: impl Display) {
        let _ = writeln!(self.0, "{name} {value}");
    }
}
