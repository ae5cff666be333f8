//! Several servers that share a Redis: all clients are at the first, and all posts go to the last.

use crate::common::redis::Redis;
use crate::measure::{Latency, audience};
use crate::scenario::{Case, Scenario};
use crate::server::{Peer, Server};
use crate::table::{Column, Table, figure, spread};
use crate::{Bench, Contender, Fallible, block_on};
use std::sync::Arc;

/// The most servers of one chat.
const SERVERS: usize = 4;

struct Figures {
    posts_per_second: f64,
    latency: Latency,
    /// Microseconds of CPU time of all servers for each post.
    cpu: f64,
}

const COLUMNS: [Column<Figures>; 5] = [
    ("p50", |own, _| {
        figure(own, |run| Some(run.latency.median), 2, "ms")
    }),
    ("p99", |own, _| {
        spread(own, |run| Some(run.latency.p99), 2, "ms")
    }),
    ("max", |own, _| {
        figure(own, |run| Some(run.latency.max), 2, "ms")
    }),
    ("posts a second", |own, _| {
        spread(own, |run| Some(run.posts_per_second), 0, "")
    }),
    ("CPU of all servers per post", |own, _| {
        spread(own, |run| Some(run.cpu), 0, "µs")
    }),
];

pub(crate) fn compare(bench: &Bench, scenario: &Scenario) -> Fallible<Table> {
    let binary = bench.options.peers.iter().find_map(|peer| match peer {
        Peer::Chatroom { binary, .. } => Some(binary.as_str()),
        _ => None,
    });
    let binary = binary.ok_or("there is no chatroom to measure")?;
    let contenders: Vec<_> = (1..=SERVERS)
        .map(|count| Contender {
            label: format!("{count} of chatroom"),
            what: count,
            base: 0,
        })
        .collect();
    let run = |count: &usize, case: &Arc<Case>| block_on(run(bench, binary, *count, case));
    let tell = |run: &Figures| format!("p99 {:.2} ms", run.latency.p99);
    let (mut table, _) = bench.compare(scenario, &contenders, &COLUMNS, run, tell)?;
    table.note("All clients are at the first server, and all posts go to the last.".to_owned());
    Ok(table)
}

async fn run(bench: &Bench, binary: &str, count: usize, case: &Arc<Case>) -> Fallible<Figures> {
    let redis = Redis::start().await;
    let flags = ["--redis".to_owned(), redis.url()];
    let mut servers = Vec::new();
    for _ in 0..count {
        servers.push(Server::chatroom(binary, &flags, None, &bench.pinned()).await);
    }
    let (mut load, _) = audience(&servers[0], case).await?;
    load.move_to(&servers[count - 1].target);
    let cpu = || -> f64 { servers.iter().filter_map(Server::cpu).flatten().sum() };
    let before = cpu();
    let seconds = load.deliver_all().await?;
    let spent = cpu() - before;
    let figures = Figures {
        posts_per_second: case.messages as f64 / seconds,
        latency: Latency::of(&load),
        cpu: spent * 1e6 / case.messages as f64,
    };
    for server in servers {
        server.end().await?;
    }
    Ok(figures)
}
