//! What the server tells those who watch over it: its health, and what it counts, in the text format of
//! Prometheus, version 0.0.4. Labels are routes, statuses and codes, all from short lists of our own:
//! nothing that a visitor chooses.

use std::fmt::Display;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::{Response, StatusCode};
use tokio::sync::Mutex;

use super::answer;
use super::body::Body;
use super::site::Site;
use crate::lock::lock;

/// Clock ticks per second in `/proc`, which Linux fixes for all programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// Held by the one request whose figures are being made: each takes a thread, and threads are kept.
static TURN: Mutex<()> = Mutex::const_new(());

/// Says whether the server takes messages.
pub(crate) fn health(site: &Site) -> Response<Body> {
    let unwell = StatusCode::SERVICE_UNAVAILABLE;
    if site.is_draining() {
        answer::json(unwell, r#"{"status":"draining"}"#)
    } else if let Some(trouble) = site.store.trouble() {
        answer::json(unwell, format!(r#"{{"status":"{}"}}"#, trouble.code()))
    } else {
        answer::json(StatusCode::OK, r#"{"status":"ok"}"#)
    }
}

/// Answers with all figures.
pub(crate) async fn serve(site: &Site) -> Response<Body> {
    let turn = TURN.lock().await;
    // Listing thousands of descriptors takes a while, and must not hold up a worker.
    let process = tokio::task::spawn_blocking(move || {
        // The thread goes on if its client leaves.
        let _turn = turn;
        process()
    });
    let process = process.await.unwrap_or_default();
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    answer::text(StatusCode::OK, content_type, figures(site) + &process)
}

#[rustfmt::skip]
fn figures(site: &Site) -> String {
    let rooms = site.hub.summaries(&[]);
    let counters = &site.hub.counters;
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let sum = |figure: fn(&crate::rooms::summary::Summary) -> usize| rooms.iter().map(figure).sum::<usize>() as u64;
    let (gauge, counter) = ("gauge", "counter");
    let mut text = format!(
        "# HELP chatroom_build_info The version that runs.\n# TYPE chatroom_build_info gauge\nchatroom_build_info{{version=\"{}\"}} 1\n",
        env!("CARGO_PKG_VERSION")
    );
    for (name, kind, help, value) in [
        ("chatroom_streams", gauge, "Event streams and waiting requests that are open.", site.limits.streams() as u64),
        ("chatroom_members", gauge, "Members, added up over the rooms.", sum(|room| room.census.members)),
        ("chatroom_listeners", gauge, "Streams without a name, added up over the rooms.", sum(|room| room.census.listeners)),
        ("chatroom_rooms", gauge, "Rooms in memory.", rooms.len() as u64),
        ("chatroom_history_bytes", gauge, "Bytes of messages that the rooms retain.", sum(|room| room.history_bytes)),
        ("chatroom_store_up", gauge, "1 if messages can be stored, 0 if the store has failed or is away.", u64::from(site.store.is_up())),
        ("chatroom_messages_accepted_total", counter, "Messages committed.", load(&counters.accepted)),
        ("chatroom_deliveries_total", counter, "Frames queued for clients, once for each client.", load(&counters.deliveries)),
        ("chatroom_catch_ups_total", counter, "Clients that caught up in place after their queue had been full.", load(&counters.catch_ups)),
        ("chatroom_stalled_writes_cut_total", counter, "Connections cut because the client took nothing.", load(&counters.stalled_writes)),
        ("chatroom_resumes_total", counter, "Streams that went on from a position they gave.", load(&counters.resumes)),
        ("chatroom_gaps_told_total", counter, "Times that a client was told it had missed messages.", load(&counters.gaps_told)),
    ] {
        line(&mut text, name, kind, help, &value);
    }
    if site.store.is_journal() {
        let seconds = load(&counters.journal_sync_nanoseconds) as f64 / 1e9;
        line(&mut text, "chatroom_journal_bytes", gauge, "Size of the journal.", &load(&counters.journal_bytes));
        line(&mut text, "chatroom_journal_syncs_total", counter, "Times the journal was synced.", &load(&counters.journal_syncs));
        line(&mut text, "chatroom_journal_sync_seconds_total", counter, "Time spent syncing the journal.", &seconds);
    }
    if let Some(read) = site.store.feed_time_ms() {
        let seconds = site.hub.clock().unix_ms().saturating_sub(read) / 1_000;
        line(&mut text, "chatroom_feed_age_seconds", gauge, "Age of the newest entry of the feed in Redis that this server has read.", &seconds);
    }
    head(&mut text, "chatroom_messages_refused_total", counter, "Messages refused, by the code of the refusal.");
    for (code, count) in &*lock(&counters.refused) {
        text += &format!("chatroom_messages_refused_total{{code=\"{code}\"}} {count}\n");
    }
    head(&mut text, "chatroom_http_requests_total", counter, "Requests answered, by route and status.");
    for ((route, status), count) in &*lock(&counters.requests) {
        text += &format!("chatroom_http_requests_total{{route=\"{route}\",status=\"{status}\"}} {count}\n");
    }
    text
}

/// What Linux tells of this process; elsewhere, nothing.
fn process() -> String {
    let mut text = String::new();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| {
        let kilobytes = line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?;
        kilobytes.parse::<u64>().ok()
    });
    if let Some(kilobytes) = resident {
        let (name, help) = ("process_resident_memory_bytes", "Resident memory.");
        line(&mut text, name, "gauge", help, &(kilobytes * 1_024));
    }
    // The fields behind the program's name, which is in parentheses: proc_pid_stat(5).
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: Vec<f64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse().ok())
        .collect();
    if let [user, system] = ticks[..] {
        let (name, help) = ("process_cpu_seconds_total", "CPU time, user and system.");
        let seconds = (user + system) / TICKS_PER_SECOND;
        line(&mut text, name, "counter", help, &seconds);
    }
    if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
        let (name, help) = ("process_open_fds", "Open file descriptors.");
        // One of them is the one by which they are counted.
        let count = descriptors.count().saturating_sub(1);
        line(&mut text, name, "gauge", help, &count);
    }
    text
}

fn line(text: &mut String, name: &str, kind: &str, help: &str, value: &dyn Display) {
    head(text, name, kind, help);
    *text += &format!("{name} {value}\n");
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    *text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
}
