//! One client that never reads: what the others notice, what the server stores for it, and when it
//! is cut.

use crate::common::{Request, proc};
use crate::listener::dial;
use crate::measure::{Latency, audience};
use crate::scenario::{Case, Scenario};
use crate::server::{Peer, Server};
use crate::table::{Column, Table, figure, ratio};
use crate::{Bench, Contender, Fallible};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Chatroom's write timeout in this scenario, shorter than its default to save time.
const WRITE_TIMEOUT_SECONDS: u64 = 2;
/// How long to wait for the cut once the messages have been delivered to the others.
const CUT_LIMIT: Duration = Duration::from_secs(WRITE_TIMEOUT_SECONDS + 5);
const CUT_POLL: Duration = Duration::from_millis(250);
/// The least receive buffer that the kernel grants, in bytes, so that what the client does not
/// read stays with the server.
const RECEIVE_BUFFER: u32 = 4_096;

struct Figures {
    latency: Latency,
    /// Bytes by which the server's resident memory grew while messages were delivered.
    growth: Option<f64>,
    /// Seconds from the first message until the stalled client had been cut.
    cut_after: Option<f64>,
}

const COLUMNS: [Column<Figures>; 5] = [
    ("p99 ÷ without", |own, base| {
        ratio(own, base, |run| Some(run.latency.p99))
    }),
    ("p99", |own, _| {
        figure(own, |run| Some(run.latency.p99), 2, "ms")
    }),
    ("max", |own, _| {
        figure(own, |run| Some(run.latency.max), 2, "ms")
    }),
    ("memory grown", |own, _| {
        figure(own, |run| Some(run.growth? / 1024.0), 0, "KiB")
    }),
    ("cut after", |own, _| {
        figure(own, |run| run.cut_after, 1, "s")
    }),
];

pub(crate) fn compare(bench: &Bench, scenario: &Scenario) -> Fallible<Table> {
    let timeout = format!("--write-timeout={WRITE_TIMEOUT_SECONDS}");
    let mut contenders = Vec::new();
    for mut peer in bench.options.peers.iter().cloned() {
        if let Peer::Chatroom { flags, .. } = &mut peer {
            flags.push(timeout.clone());
        }
        let base = contenders.len();
        for stalled in [false, true] {
            let with = if stalled { "with" } else { "without" };
            contenders.push(Contender {
                label: format!("{} {with}", peer.label()),
                what: (peer.clone(), stalled),
                base,
            });
        }
    }
    let run = |(peer, stalled): &(Peer, bool), case: &Arc<Case>| {
        if case.rooms > 1 {
            return Err("the scenario stalled has one room".into());
        }
        run(bench, peer, case, *stalled)
    };
    let tell = |figures: &Figures| format!("p99 {:.2} ms", figures.latency.p99);
    let (mut table, _) = bench.compare(scenario, &contenders, &COLUMNS, run, tell)?;
    table.note(format!(
        "With one client that never reads, or without. Chatroom ran with a write timeout of \
         {WRITE_TIMEOUT_SECONDS} s. The floor loses what a full socket does not take."
    ));
    Ok(table)
}

fn run(bench: &Bench, peer: &Peer, case: &Arc<Case>, stalled: bool) -> Fallible<Figures> {
    bench.measure(peer, async |server| {
        let (mut load, _) = audience(server, case).await?;
        let client = match stalled {
            true => Some(stalled_client(server).await?),
            false => None,
        };
        let memory = server.resident();
        // It costs the load the same without a stalled client.
        let mut watch = tokio::spawn(cut(server.pids.first().copied()));
        load.deliver_all().await?;
        let growth = server.resident().zip(memory);
        let cut_after = match client {
            Some(_) if matches!(peer, Peer::Chatroom { .. }) => {
                let cut = tokio::time::timeout(CUT_LIMIT, &mut watch).await;
                cut.ok().transpose()?.flatten()
            }
            _ => None,
        };
        watch.abort();
        Ok(Figures {
            latency: Latency::of(&load),
            growth: growth.map(|(after, before)| after - before),
            cut_after,
        })
    })
}

/// Opens a stream and never reads from it.
async fn stalled_client(server: &Server) -> Fallible<TcpStream> {
    let target = &server.target;
    let mut stream = dial(target, 0, 0, Some(RECEIVE_BUFFER)).await?;
    let request = Request::get(&target.path(0, 1))
        .host(&target.authority)
        .header("Accept", "text/event-stream");
    stream.write_all(&request.to_bytes()).await?;
    // The server has opened the stream once something has arrived, which stays unread.
    stream.readable().await?;
    Ok(stream)
}

/// Waits until the server has fewer files open than now, since it closed the stalled connection.
/// Returns the seconds that took. The client cannot tell, for unread bytes hide the end from it.
async fn cut(pid: Option<u32>) -> Option<f64> {
    let pid = pid?;
    let (started, files) = (Instant::now(), proc::open_files(pid));
    while proc::open_files(pid) >= files {
        tokio::time::sleep(CUT_POLL).await;
    }
    Some(started.elapsed().as_secs_f64())
}
