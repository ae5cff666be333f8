//! All clients at once: after a restart, everybody comes back at the same moment and asks for what
//! was missed, while messages go on.

use crate::common::Folder;
use crate::load::{Joining, Load};
use crate::measure::grown;
use crate::scenario::{Case, Pace, Scenario};
use crate::server::{Peer, Server};
use crate::system::listen_overflows;
use crate::table::{Column, Table, figure, ratio};
use crate::{Bench, Fallible, block_on};
use std::sync::Arc;
use std::time::Instant;

/// Messages from before the restart. The clients have seen the first of them.
const RETAINED: usize = 70;
const SEEN: usize = 20;

struct Figures {
    /// Seconds until half and until all of the clients had their backlog.
    half_back: f64,
    all_back: f64,
    overflows: Option<f64>,
    cpu_seconds: Option<f64>,
    per_client: Option<f64>,
    /// Messages that a client got after a gap, twice, or out of order.
    out_of_turn: usize,
}

const COLUMNS: [Column<Figures>; 7] = [
    ("time ÷ floor", |own, base| {
        ratio(own, base, |run| Some(run.all_back))
    }),
    ("all back after", |own, _| {
        figure(own, |run| Some(run.all_back), 2, "s")
    }),
    ("half back after", |own, _| {
        figure(own, |run| Some(run.half_back), 2, "s")
    }),
    ("connections dropped", |own, _| {
        figure(own, |run| run.overflows, 0, "")
    }),
    ("server's CPU time", |own, _| {
        figure(own, |run| run.cpu_seconds, 2, "s")
    }),
    ("memory per client", |own, _| {
        figure(own, |run| run.per_client, 0, "B")
    }),
    ("lost or out of turn", |own, _| {
        let sum: usize = own.iter().map(|run| run.out_of_turn).sum();
        sum.to_string()
    }),
];

pub(crate) fn compare(bench: &Bench, scenario: &Scenario) -> Fallible<Table> {
    let mut contenders = bench.contenders();
    // A server that is running already cannot be restarted.
    contenders.retain(|contender| !matches!(contender.what, Peer::Other(_)));
    let run = |peer: &Peer, case: &Arc<Case>| {
        if !matches!(case.pace, Pace::Rate(_)) || !case.is_ordered() || case.rooms > 1 {
            return Err("in a storm one poster posts to one room, at a --rate".into());
        }
        block_on(run(bench, peer, case))
    };
    let tell = |figures: &Figures| format!("all back after {:.2} s", figures.all_back);
    let (mut table, _) = bench.compare(scenario, &contenders, &COLUMNS, run, tell)?;
    table.note(format!(
        "Each client missed {} messages. The floor retains none: its clients are back when their \
         stream is open.",
        RETAINED - SEEN
    ));
    Ok(table)
}

async fn run(bench: &Bench, peer: &Peer, case: &Arc<Case>) -> Fallible<Figures> {
    let (server, mut load, last_event_id) = match peer {
        Peer::Chatroom { binary, flags, .. } => restarted(bench, binary, flags, case).await?,
        _ => {
            let server = peer.start(&bench.pinned()).await?;
            let load = Load::new(&server.target, case);
            (server, load, None)
        }
    };
    let has_backlog = last_event_id.is_some();
    load.tally.counts().backlog_end = has_backlog.then_some(RETAINED - 1);
    let joining = Joining {
        last_event_id,
        first: has_backlog.then_some(SEEN),
    };
    let idle = server.resident();
    let (cpu, overflows) = (server.cpu(), listen_overflows());

    let (half_back, all_back) = come_back(&mut load, case.clients, &joining).await?;
    let dropped = listen_overflows().zip(overflows);
    let spent = server.cpu().zip(cpu);
    load.deliver_to_all().await?;
    let figures = Figures {
        half_back,
        all_back,
        overflows: dropped.map(|(after, before)| after - before),
        cpu_seconds: spent.map(|(after, before)| {
            let total = |cpu: [f64; 2]| cpu[0] + cpu[1];
            total(after) - total(before)
        }),
        per_client: grown(&server, idle, case.clients),
        out_of_turn: load.tally.counts().out_of_turn,
    };
    server.end().await?;
    Ok(figures)
}

/// Lets all clients connect at once while messages are posted. Returns the seconds until half and
/// until all of them had their backlog, or their stream if there is no backlog.
async fn come_back(load: &mut Load, clients: usize, joining: &Joining) -> Fallible<(f64, f64)> {
    let started = Instant::now();
    load.start_pace();
    for index in 0..clients {
        load.add_listener(index, joining);
    }
    let mut half_back = None;
    loop {
        load.post_if_due(started).await?;
        let back = {
            let counts = load.tally.counts();
            match counts.backlog_end {
                Some(_) => counts.caught_up,
                None => counts.open,
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        if back >= clients / 2 {
            half_back.get_or_insert(seconds);
        }
        if back >= clients {
            return Ok((half_back.unwrap_or(seconds), seconds));
        }
        load.turn(started).await?;
    }
}

/// A server that was killed and started again on the same journal, the load whose messages it
/// retains, and the event id after which the clients resume.
async fn restarted(
    bench: &Bench,
    binary: &str,
    flags: &[String],
    case: &Arc<Case>,
) -> Fallible<(Server, Load, Option<String>)> {
    let folder = Arc::new(Folder::new());
    let pinned = bench.pinned();
    let start = || Server::chatroom(binary, flags, Some(Arc::clone(&folder)), &pinned);
    let before = start().await;
    let mut load = Load::new(&before.target, case);
    load.post_history(RETAINED).await?;
    before.end().await?;
    let after = start().await;
    load.move_to(&after.target);
    let answer: serde_json::Value = serde_json::from_str(&load.answers[SEEN - 1])?;
    let id = answer["eventId"].as_str();
    let id = id.ok_or("the response to a post has no eventId")?;
    Ok((after, load, Some(id.to_owned())))
}
