//! One client that never reads: what the others feel of it, what the server holds for
//! it, and whether it is cut.

use crate::listener::{dial, write_all};
use crate::measure::{Latency, audience};
use crate::scenario::{Case, Scenario};
use crate::server::{Peer, Server};
use crate::system::open_files;
use crate::table::{Table, median_of, median_ratio, medians, number, with_unit};
use crate::{Bench, Fallible, block_on};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Chatroom's write timeout in this scenario, shorter than its default to save time.
const WRITE_TIMEOUT_SECONDS: u64 = 2;
/// How long to wait for the cut once the messages have been delivered to the others.
const CUT_LIMIT: Duration = Duration::from_secs(WRITE_TIMEOUT_SECONDS + 5);
const CUT_POLL: Duration = Duration::from_millis(250);
/// The least that the kernel gives, so that what is not read stays with the server.
const RECEIVE_BUFFER: u32 = 4_096;

struct Figures {
    latency: Latency,
    /// What the server's resident memory grew by while messages were delivered.
    growth: Option<f64>,
    /// Seconds from the first message until the stalled client was found cut.
    cut_after: Option<f64>,
}

pub(crate) fn compare(bench: &Bench) -> Fallible<Table> {
    let rounds = bench.rounds(Scenario::Stalled);
    let case = Scenario::Stalled.only_case(&bench.options.shape)?;
    let timeout = [
        "--write-timeout".to_owned(),
        WRITE_TIMEOUT_SECONDS.to_string(),
    ];
    let peers = bench
        .options
        .peers
        .iter()
        .map(|peer| peer.with_flags(&timeout));
    let contenders: Vec<(String, (Peer, bool))> = peers
        .flat_map(|peer| [(peer.clone(), false), (peer, true)])
        .map(|(peer, stalled)| {
            let with = if stalled { "with" } else { "without" };
            (format!("stalled, {} {with}", peer.label()), (peer, stalled))
        })
        .collect();
    let measure = |(peer, stalled): &(Peer, bool)| run(bench, peer, &case, *stalled);
    let tell = |figures: &Figures| format!("p99 {:.2} ms", figures.latency.p99);
    let runs = bench.in_turn(rounds, &contenders, measure, tell)?;
    let title = format!(
        "stalled: one client that never reads, beside {}; {}",
        case.label,
        medians(rounds)
    );
    let header = [
        "server",
        "p99 with ÷ without",
        "p99 without",
        "p99 with",
        "max without",
        "max with",
        "memory grown without",
        "memory grown with",
        "cut after",
    ];
    let mut table = Table::new(title, 1, &header);
    for (pair, (_, (peer, _))) in runs.chunks_exact(2).zip(contenders.iter().step_by(2)) {
        table.row(row(peer, &pair[0], &pair[1]));
    }
    table.note(format!(
        "Chatroom ran with a write timeout of {WRITE_TIMEOUT_SECONDS} s. The floor loses what a \
         full socket does not take."
    ));
    Ok(table)
}

fn row(peer: &Peer, without: &[Figures], with: &[Figures]) -> Vec<String> {
    let p99 = |run: &Figures| Some(run.latency.p99);
    let max = |run: &Figures| Some(run.latency.max);
    let growth = |run: &Figures| Some(run.growth? / 1024.0);
    let cut = match median_of(with, |run| run.cut_after) {
        None => "not cut".to_owned(),
        seconds => with_unit(seconds, 1, "s"),
    };
    vec![
        peer.label().to_owned(),
        number(median_ratio(with, without, p99), 2),
        with_unit(median_of(without, p99), 2, "ms"),
        with_unit(median_of(with, p99), 2, "ms"),
        with_unit(median_of(without, max), 2, "ms"),
        with_unit(median_of(with, max), 2, "ms"),
        with_unit(median_of(without, growth), 0, "KiB"),
        with_unit(median_of(with, growth), 0, "KiB"),
        cut,
    ]
}

fn run(bench: &Bench, peer: &Peer, case: &Case, stalled: bool) -> Fallible<Figures> {
    let server = peer.start(bench.server_core)?;
    block_on(async {
        let mut load = audience(bench, &server, case).await?;
        let idler = if stalled {
            Some(idle_client(&server).await?)
        } else {
            None
        };
        let memory = server.resident();
        let files = server.pids.first().and_then(|pid| open_files(*pid));
        let watch = tokio::spawn(cut(server.pids.clone(), files));
        load.deliver_all().await?;
        let growth = server
            .resident()
            .zip(memory)
            .map(|(after, before)| after - before);
        let cut_after = match idler {
            Some(_) if matches!(peer, Peer::Chatroom { .. }) => {
                tokio::time::timeout(CUT_LIMIT, watch)
                    .await
                    .ok()
                    .transpose()?
                    .flatten()
            }
            _ => None,
        };
        Ok(Figures {
            latency: Latency::of(&load),
            growth,
            cut_after,
        })
    })
}

/// Opens a stream and never reads from it.
async fn idle_client(server: &Server) -> Fallible<TcpStream> {
    let target = &server.target;
    let stream = dial(target, 0, 0, Some(RECEIVE_BUFFER)).await?;
    let (path, host) = (target.path(0, 1), &target.authority);
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\n\r\n");
    write_all(&stream, request.as_bytes()).await?;
    // From here on the server counts it; what has arrived stays where it is.
    stream.readable().await?;
    Ok(stream)
}

/// Waits until the server has fewer than `files` open, for it has closed the stalled
/// connection; gives the seconds that took. What is unread in its buffer hides the end from
/// the client. Without one that is stalled this finds nothing, but costs the load the same.
async fn cut(pids: Vec<u32>, files: Option<usize>) -> Option<f64> {
    let (pid, files) = (*pids.first()?, files?);
    let started = Instant::now();
    loop {
        tokio::time::sleep(CUT_POLL).await;
        if open_files(pid)? < files {
            return Some(started.elapsed().as_secs_f64());
        }
    }
}
