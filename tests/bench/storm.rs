//! All clients at once: after a restart, everybody comes back in the same moment and
//! asks for what was missed, while messages go on.

use crate::load::{Joining, Load};
use crate::measure::{grown, spent_since};
use crate::scenario::{Case, Pace, Scenario};
use crate::server::{Folder, Peer, Server};
use crate::system;
use crate::table::{Table, median_of, median_ratio, medians, number, with_unit};
use crate::{Bench, Fallible, block_on};
use std::sync::Arc;
use std::time::Instant;

/// Messages kept from before the restart. The clients have seen the first of them.
const KEPT: usize = 70;
const SEEN: usize = 20;

struct Figures {
    /// Seconds until half and until all of the clients had their backlog.
    half_back: f64,
    all_back: f64,
    overflows: Option<f64>,
    cpu_seconds: Option<f64>,
    per_client: Option<f64>,
    /// Messages that came to a client after a gap, again, or out of order.
    out_of_turn: usize,
}

pub(crate) fn compare(bench: &Bench) -> Fallible<Table> {
    let rounds = bench.rounds(Scenario::Storm);
    let case = Scenario::Storm.only_case(&bench.options.shape)?;
    if !matches!(case.pace, Pace::Rate(_)) || !case.is_ordered() {
        return Err("in a storm one poster posts, at a --rate".into());
    }
    let peers = bench.options.peers.iter();
    // A server that runs already cannot be restarted.
    let contenders: Vec<(String, &Peer)> = peers
        .filter(|peer| !matches!(peer, Peer::Other { .. }))
        .map(|peer| (format!("storm, {}", peer.label()), peer))
        .collect();
    let tell = |figures: &Figures| format!("all back after {:.2} s", figures.all_back);
    let runs = bench.in_turn(rounds, &contenders, |peer| run(bench, peer, &case), tell)?;
    let title = format!(
        "storm: {} clients reconnect at once, each with {} missed messages; {}",
        number(Some(case.clients as f64), 0),
        KEPT - SEEN,
        medians(rounds)
    );
    let header = [
        "server",
        "time ÷ floor",
        "all back after",
        "half back after",
        "connections dropped",
        "server's CPU time",
        "memory per client",
        "lost or out of turn",
    ];
    let mut table = Table::new(title, 1, &header);
    for ((_, peer), own) in contenders.iter().zip(&runs) {
        let median = |figure: fn(&Figures) -> Option<f64>| median_of(own, figure);
        table.row(vec![
            peer.label().to_owned(),
            number(median_ratio(own, &runs[0], |run| Some(run.all_back)), 2),
            with_unit(median(|run| Some(run.all_back)), 2, "s"),
            with_unit(median(|run| Some(run.half_back)), 2, "s"),
            number(median(|run| run.overflows), 0),
            with_unit(median(|run| run.cpu_seconds), 2, "s"),
            with_unit(median(|run| run.per_client), 0, "B"),
            own.iter()
                .map(|run| run.out_of_turn)
                .sum::<usize>()
                .to_string(),
        ]);
    }
    table.note(
        "The floor keeps nothing: its clients are back when their stream is open.".to_owned(),
    );
    Ok(table)
}

fn run(bench: &Bench, peer: &Peer, case: &Case) -> Fallible<Figures> {
    block_on(async {
        let (server, mut load, resume) = match peer {
            Peer::Chatroom { binary, flags, .. } => restarted(bench, binary, flags, case).await?,
            _ => {
                let server = peer.start(bench.server_core)?;
                let load = Load::new(&server.target, case);
                (server, load, None)
            }
        };
        let backlog = resume.is_some();
        let first = backlog.then_some(SEEN);
        let joining = Joining {
            last_event_id: resume,
            first,
            ..bench.joining()
        };
        load.tally.counts().backlog_end = backlog.then_some(KEPT - 1);
        let idle = server.resident();
        let cpu = server.cpu();
        let overflows = system::listen_overflows();

        let (half_back, all_back) = come_back(&mut load, case.clients, &joining).await?;
        let dropped = system::listen_overflows().zip(overflows);
        let cpu_seconds = spent_since(&server, cpu).map(|cpu| cpu.total());
        load.deliver_to_all().await?;
        let out_of_turn = load.tally.counts().out_of_turn;
        Ok(Figures {
            half_back,
            all_back,
            overflows: dropped.map(|(after, before)| (after - before) as f64),
            cpu_seconds,
            per_client: grown(&server, idle, case.clients),
            out_of_turn,
        })
    })
}

/// Lets all clients connect at once, while messages are posted; gives the seconds until
/// half and until all of them had their backlog, or their stream where there is none.
async fn come_back(load: &mut Load, clients: usize, joining: &Joining) -> Fallible<(f64, f64)> {
    let started = Instant::now();
    load.start_pace();
    for index in 0..clients {
        load.add_listener(index, joining);
    }
    let mut half_back = None;
    loop {
        load.check(started)?;
        load.post_if_due(started).await?;
        load.collect_answers()?;
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
        tokio::task::yield_now().await;
    }
}

/// A server that was killed and started again over the same journal, the load whose
/// messages it holds, and the event id after which the clients resume.
async fn restarted(
    bench: &Bench,
    binary: &std::path::Path,
    flags: &[String],
    case: &Case,
) -> Fallible<(Server, Load, Option<String>)> {
    let folder = Arc::new(Folder::new()?);
    let start = || Server::chatroom(binary, flags, Some(Arc::clone(&folder)), bench.server_core);
    let before = start()?;
    let mut load = Load::new(&before.target, case);
    let started = Instant::now();
    while load.answers.len() < KEPT {
        load.check(started)?;
        if load.answers.len() == load.posted {
            load.post(Instant::now()).await?;
        }
        load.collect_answers()?;
        tokio::task::yield_now().await;
    }
    drop(before);
    let after = start()?;
    load.move_to(&after.target);
    let answer: serde_json::Value = serde_json::from_str(&load.answers[SEEN - 1])?;
    let resume = answer["eventId"]
        .as_str()
        .ok_or("the answer to a post has no eventId")?;
    Ok((after, load, Some(resume.to_owned())))
}
