//! The common measurement: an audience gathers, messages are delivered to all of it, and the cost
//! is compared between the servers.

use crate::load::Load;
use crate::scenario::{Case, Scenario};
use crate::server::{Peer, Server};
use crate::system::core_time;
use crate::table::{Column, Table, figure, number, ratio, spread, with_unit};
use crate::{Bench, Fallible};
use std::sync::Arc;
use std::time::Duration;

/// How long an audience rests after the last client has joined: the others are told of it once a
/// second at most.
const SETTLING: Duration = Duration::from_millis(1_500);

/// How long idle streams are watched: each gets one of chatroom's heartbeats.
const IDLE: Duration = Duration::from_secs(15);

/// The part of a run that server and load together may wait for their cores before its figures
/// count as disturbed.
const DISTURBED: f64 = 0.05;

/// What one run showed.
struct Figures {
    connects_per_second: f64,
    deliveries_per_second: f64,
    /// Microseconds of the server's CPU time per delivery, in user mode and in the kernel.
    cpu: Option<[f64; 2]>,
    latency: Latency,
    /// Bytes of resident memory without clients.
    idle: Option<f64>,
    /// Bytes of resident memory per client.
    per_client: Option<f64>,
    out_of_turn: usize,
    /// Whether other programs took much of the cores meanwhile.
    is_disturbed: bool,
}

impl Figures {
    fn cpu(&self) -> Option<f64> {
        Some(self.cpu?.iter().sum())
    }
}

const COLUMNS: [Column<Figures>; 11] = [
    ("CPU ÷ floor", |own, base| ratio(own, base, Figures::cpu)),
    ("CPU per delivery", |own, _| {
        spread(own, Figures::cpu, 2, "µs")
    }),
    ("user + system", |own, _| {
        let part = |index: usize| figure(own, |run| Some(run.cpu?[index]), 2, "");
        format!("{} + {}", part(0), part(1))
    }),
    ("deliveries a second", |own, _| {
        figure(own, |run| Some(run.deliveries_per_second), 0, "")
    }),
    ("p50", |own, _| {
        figure(own, |run| Some(run.latency.median), 2, "ms")
    }),
    ("p99", |own, _| {
        figure(own, |run| Some(run.latency.p99), 2, "ms")
    }),
    ("max", |own, _| {
        figure(own, |run| Some(run.latency.max), 2, "ms")
    }),
    ("memory per client", |own, _| {
        figure(own, |run| run.per_client, 0, "B")
    }),
    ("memory idle", |own, _| {
        figure(own, |run| Some(run.idle? / 1024.0), 0, "KiB")
    }),
    ("connects a second", |own, _| {
        figure(own, |run| Some(run.connects_per_second), 0, "")
    }),
    ("lost or out of turn", |own, _| {
        let sum: usize = own.iter().map(|run| run.out_of_turn).sum();
        sum.to_string()
    }),
];

pub(crate) fn compare(bench: &Bench, scenario: &Scenario) -> Fallible<Table> {
    let tell = |figures: &Figures| {
        let rate = number(Some(figures.deliveries_per_second), 0);
        let cpu = with_unit(figures.cpu(), 2, "µs");
        let p99 = figures.latency.p99;
        format!("{rate} deliveries a second, {cpu} of CPU each, p99 {p99:.2} ms")
    };
    let run = |peer: &Peer, case: &Arc<Case>| run(bench, peer, case);
    let contenders = bench.contenders();
    let (mut table, runs) = bench.compare(scenario, &contenders, &COLUMNS, run, tell)?;
    let disturbed = runs.iter().filter(|run| run.is_disturbed).count();
    if disturbed > 0 {
        table.note(format!(
            "In {disturbed} of {} runs, other programs kept server or load from their cores for \
             more than {:.0} % of the time. Latency and deliveries a second show that too.",
            runs.len(),
            DISTURBED * 100.0
        ));
    }
    Ok(table)
}

fn run(bench: &Bench, peer: &Peer, case: &Arc<Case>) -> Fallible<Figures> {
    bench.measure(peer, async |server| {
        let idle = server.resident();
        let (mut load, connecting) = audience(server, case).await?;
        let per_client = grown(server, idle, case.clients);
        let before = server.cpu();
        let waited = server.waited();
        let seconds = load.deliver_all().await?;
        let spent = server.cpu().zip(before);
        let waited = server.waited() - waited;
        let (delivered, out_of_turn) = {
            let counts = load.tally.counts();
            (counts.delivered as f64, counts.out_of_turn)
        };
        let per_delivery = |part: usize, (after, before): ([f64; 2], [f64; 2])| {
            (after[part] - before[part]) * 1e6 / delivered
        };
        Ok(Figures {
            connects_per_second: case.clients as f64 / connecting,
            deliveries_per_second: delivered / seconds,
            cpu: spent.map(|spent| [0, 1].map(|part| per_delivery(part, spent))),
            latency: Latency::of(&load),
            idle,
            per_client,
            // Messages of several posters may overtake each other on their way to the server.
            out_of_turn: if case.is_ordered() { out_of_turn } else { 0 },
            is_disturbed: waited > DISTURBED * seconds,
        })
    })
}

/// Opens the streams of a case, in how many seconds, and lets the audience come to rest.
pub(crate) async fn audience(server: &Server, case: &Arc<Case>) -> Fallible<(Load, f64)> {
    let mut load = Load::new(&server.target, case);
    let seconds = load.gather().await?;
    tokio::time::sleep(SETTLING).await;
    Ok((load, seconds))
}

/// Bytes by which the resident memory has grown per client.
pub(crate) fn grown(server: &Server, before: Option<f64>, clients: usize) -> Option<f64> {
    Some((server.resident()? - before?) / clients as f64)
}

/// Milliseconds from the posting of a message until a client has it.
pub(crate) struct Latency {
    pub(crate) median: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Latency {
    pub(crate) fn of(load: &Load) -> Latency {
        let mut sorted = std::mem::take(&mut load.tally.counts().latencies);
        sorted.sort_unstable();
        let rank = |percent: usize| {
            let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
            sorted
                .get(index)
                .map_or(0.0, |&micros| f64::from(micros) / 1e3)
        };
        Latency {
            median: rank(50),
            p99: rank(99),
            max: rank(100),
        }
    }
}

/// What streams cost in which nothing is said.
struct Idle {
    /// Microseconds of CPU time per stream and second.
    cpu: Option<f64>,
    per_client: Option<f64>,
}

const IDLE_COLUMNS: [Column<Idle>; 2] = [
    ("CPU per stream and second", |own, _| {
        spread(own, |run| run.cpu, 3, "µs")
    }),
    ("memory per client", |own, _| {
        figure(own, |run| run.per_client, 0, "B")
    }),
];

pub(crate) fn compare_idle(bench: &Bench, scenario: &Scenario) -> Fallible<Table> {
    let run = |peer: &Peer, case: &Arc<Case>| {
        bench.measure(peer, async |server| {
            let idle = server.resident();
            let load = audience(server, case).await?;
            let before = core_time(&server.pids);
            tokio::time::sleep(IDLE).await;
            let ran = core_time(&server.pids).zip(before);
            let per_client = grown(server, idle, case.clients);
            drop(load);
            let stream_seconds = case.clients as f64 * IDLE.as_secs_f64();
            Ok(Idle {
                cpu: ran.map(|(after, before)| (after.ran - before.ran) * 1e6 / stream_seconds),
                per_client,
            })
        })
    };
    let tell = |run: &Idle| format!("{} per stream and second", with_unit(run.cpu, 3, "µs"));
    let contenders = bench.contenders();
    let (table, _) = bench.compare(scenario, &contenders, &IDLE_COLUMNS, run, tell)?;
    Ok(table)
}
