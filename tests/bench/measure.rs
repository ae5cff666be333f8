//! The common measurement: an audience gathers, messages are delivered to all of it,
//! and what that took is compared between the servers.

use crate::load::Load;
use crate::scenario::{Case, Scenario};
use crate::server::{Peer, Server};
use crate::system::{CpuTime, core_wait};
use crate::table::{Table, median_of, median_ratio, medians, number, with_unit};
use crate::{Bench, Fallible, block_on};
use std::time::Duration;

/// After the last client came, until its coming has been told to the others: presence
/// is told once a second at most.
const SETTLING: Duration = Duration::from_millis(1_500);

/// Part of a run's time that server and load together may have waited for their cores
/// before its figures are called disturbed.
const DISTURBED: f64 = 0.05;

/// What one run showed.
pub(crate) struct Figures {
    pub(crate) connects_per_second: f64,
    pub(crate) deliveries_per_second: f64,
    /// Microseconds of the server's CPU time for each delivery.
    pub(crate) user: Option<f64>,
    pub(crate) system: Option<f64>,
    pub(crate) latency: Latency,
    /// Bytes of resident memory without clients, and for each client.
    pub(crate) idle: Option<f64>,
    pub(crate) per_client: Option<f64>,
    pub(crate) out_of_turn: usize,
    /// Whether other programs took much of the cores while it was measured.
    pub(crate) disturbed: bool,
}

impl Figures {
    fn cpu(&self) -> Option<f64> {
        Some(self.user? + self.system?)
    }
}

/// Milliseconds from a message's sending to a client's having it.
#[derive(Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) median: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Latency {
    pub(crate) fn of(load: &Load) -> Self {
        let mut sorted = std::mem::take(&mut load.tally.counts().latencies);
        sorted.sort_unstable();
        let rank = |percent: usize| {
            let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
            sorted
                .get(index)
                .map_or(0.0, |&micros| f64::from(micros) / 1e3)
        };
        Self {
            median: rank(50),
            p99: rank(99),
            max: rank(100),
        }
    }
}

/// Measures every case of a scenario and gives its table.
pub(crate) fn compare(bench: &Bench, scenario: Scenario) -> Fallible<Table> {
    let rounds = bench.rounds(scenario);
    let header = [
        "load",
        "server",
        "CPU ÷ floor",
        "CPU per delivery",
        "user + system",
        "deliveries a second",
        "p50",
        "p99",
        "max",
        "memory per client",
        "memory idle",
        "connects a second",
    ];
    let title = format!("{}, {}", scenario.name(), medians(rounds));
    let mut table = Table::new(title, 2, &header);
    let (mut out_of_turn, mut disturbed) = (0, 0);
    for case in scenario.cases(&bench.options.shape) {
        let case = case.checked()?;
        let peers = bench.options.peers.iter();
        let contenders: Vec<(String, &Peer)> = peers
            .map(|peer| (format!("{}, {}", case.label, peer.label()), peer))
            .collect();
        let tell = |figures: &Figures| {
            let rate = number(Some(figures.deliveries_per_second), 0);
            let cpu = with_unit(figures.cpu(), 2, "µs");
            let p99 = figures.latency.p99;
            format!("{rate} deliveries a second, {cpu} of CPU each, p99 {p99:.2} ms")
        };
        let runs = bench.in_turn(rounds, &contenders, |peer| run(bench, peer, &case), tell)?;
        for ((_, peer), own) in contenders.iter().zip(&runs) {
            table.row(row(&case.label, peer.label(), own, &runs[0]));
            out_of_turn += own.iter().map(|run| run.out_of_turn).sum::<usize>();
            disturbed += own.iter().filter(|run| run.disturbed).count();
        }
    }
    if out_of_turn > 0 {
        table.note(format!(
            "{out_of_turn} deliveries were lost, repeated or out of order."
        ));
    }
    if disturbed > 0 {
        table.note(format!(
            "Runs in which other programs kept server or load from their cores for more than \
             {:.0} % of the time: {disturbed}. Latency and deliveries a second show that too.",
            DISTURBED * 100.0
        ));
    }
    Ok(table)
}

fn row(load: &str, server: &str, runs: &[Figures], floor: &[Figures]) -> Vec<String> {
    let median = |figure: fn(&Figures) -> Option<f64>| median_of(runs, figure);
    let cpu_parts = format!(
        "{} + {}",
        number(median(|run| run.user), 2),
        number(median(|run| run.system), 2)
    );
    vec![
        load.to_owned(),
        server.to_owned(),
        number(median_ratio(runs, floor, Figures::cpu), 2),
        with_unit(median(Figures::cpu), 2, "µs"),
        cpu_parts,
        number(median(|run| Some(run.deliveries_per_second)), 0),
        with_unit(median(|run| Some(run.latency.median)), 2, "ms"),
        with_unit(median(|run| Some(run.latency.p99)), 2, "ms"),
        with_unit(median(|run| Some(run.latency.max)), 2, "ms"),
        with_unit(median(|run| run.per_client), 0, "B"),
        with_unit(median(|run| Some(run.idle? / 1024.0)), 0, "KiB"),
        number(median(|run| Some(run.connects_per_second)), 0),
    ]
}

fn run(bench: &Bench, peer: &Peer, case: &Case) -> Fallible<Figures> {
    let server = peer.start(bench.server_core)?;
    block_on(async {
        let idle = server.resident();
        let mut load = Load::new(&server.target, case);
        let connecting = load.gather(&bench.joining()).await?;
        tokio::time::sleep(SETTLING).await;
        let per_client = grown(&server, idle, case.clients);
        let before = server.cpu();
        let waited_before = waited(&server);
        let seconds = load.deliver_all().await?;
        let spent = spent_since(&server, before);
        let waited = waited(&server) - waited_before;
        let (delivered, out_of_turn) = {
            let counts = load.tally.counts();
            (counts.delivered as f64, counts.out_of_turn)
        };
        Ok(Figures {
            connects_per_second: case.clients as f64 / connecting,
            deliveries_per_second: delivered / seconds,
            user: spent.map(|cpu| cpu.user * 1e6 / delivered),
            system: spent.map(|cpu| cpu.system * 1e6 / delivered),
            latency: Latency::of(&load),
            idle,
            per_client,
            // Messages of several posters may overtake each other on their way in.
            out_of_turn: if case.is_ordered() { out_of_turn } else { 0 },
            disturbed: waited > DISTURBED * seconds,
        })
    })
}

/// Opens the streams of a case and lets the audience come to rest.
pub(crate) async fn audience(bench: &Bench, server: &Server, case: &Case) -> Fallible<Load> {
    let mut load = Load::new(&server.target, case);
    load.gather(&bench.joining()).await?;
    tokio::time::sleep(SETTLING).await;
    Ok(load)
}

fn waited(server: &Server) -> f64 {
    let own = [std::process::id()];
    core_wait(&server.pids).unwrap_or(0.0) + core_wait(&own).unwrap_or(0.0)
}

pub(crate) fn spent_since(server: &Server, before: Option<CpuTime>) -> Option<CpuTime> {
    Some(server.cpu()? - before?)
}

/// Bytes of resident memory that each of `clients` has added.
pub(crate) fn grown(server: &Server, idle: Option<f64>, clients: usize) -> Option<f64> {
    Some((server.resident()? - idle?) / clients as f64)
}
