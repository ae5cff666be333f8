//! Instructions in user mode per client that comes and goes, per post and delivery, counted by valgrind's tool callgrind.
//! Unlike times, these counts hardly depend on the machine or on what else runs on it.

use crate::common::Folder;
use crate::load::Load;
use crate::scenario::{Case, Scenario};
use crate::server::Peer;
use crate::system::is_installed;
use crate::table::{Column, Table, figure};
use crate::{Bench, Fallible, block_on};
use std::sync::Arc;

struct Counted {
    join: f64,
    post: f64,
    delivery: f64,
}

const COLUMNS: [Column<Counted>; 3] = [
    ("instructions per client that comes and goes", |own, _| {
        figure(own, |run| Some(run.join), 0, "")
    }),
    ("per post", |own, _| {
        figure(own, |run| Some(run.post), 0, "")
    }),
    ("per delivery", |own, _| {
        figure(own, |run| Some(run.delivery), 0, "")
    }),
];

pub(crate) fn compare(bench: &Bench, scenario: &Scenario) -> Fallible<Table> {
    if !is_installed("valgrind") {
        let mut table = Table::new(scenario.name, scenario.rounds, &COLUMNS);
        table.note("Not counted: valgrind is not installed.".to_owned());
        return Ok(table);
    }
    let mut contenders = bench.contenders();
    // The floor never ends in good order, as valgrind's report needs.
    contenders.retain(|contender| matches!(contender.what, Peer::Chatroom { .. }));
    let run = |peer: &Peer, case: &Arc<Case>| block_on(run(peer, case));
    let tell = |counted: &Counted| format!("{:.0} instructions per delivery", counted.delivery);
    let (table, _) = bench.compare(scenario, &contenders, &COLUMNS, run, tell)?;
    Ok(table)
}

/// What a server did, from its start to its end.
#[derive(Clone, Copy, PartialEq)]
enum Did {
    Nothing,
    Join,
    Post,
    JoinAndDeliver,
}

async fn run(peer: &Peer, case: &Arc<Case>) -> Fallible<Counted> {
    let nothing = count(peer, case, Did::Nothing).await?;
    let joins = count(peer, case, Did::Join).await? - nothing;
    let posts = count(peer, case, Did::Post).await? - nothing;
    let all = count(peer, case, Did::JoinAndDeliver).await? - nothing;
    let (clients, messages) = (case.clients as f64, case.messages as f64);
    let audience = case.audience(0) as f64;
    Ok(Counted {
        join: joins / clients,
        post: posts / messages,
        delivery: (all - joins - posts) / (audience * messages),
    })
}

/// Instructions of a server's whole life.
async fn count(peer: &Peer, case: &Arc<Case>, did: Did) -> Fallible<f64> {
    let folder = Folder::new();
    let file = folder.path().join("counts");
    let out = format!("--callgrind-out-file={}", file.display());
    let server = peer.start(&["valgrind", "--tool=callgrind", &out]).await?;
    let (target, case) = (server.target.clone(), case.clone());
    // On a runtime of its own, so that all clients have left before the server shuts down.
    let load = move || {
        block_on(async {
            let mut load = Load::new(&target, &case);
            if let Did::Join | Did::JoinAndDeliver = did {
                load.gather().await?;
            }
            match did {
                Did::Post => load.post_history(case.messages).await?,
                Did::JoinAndDeliver => drop(load.deliver_all().await?),
                Did::Nothing | Did::Join => {}
            }
            Ok(())
        })
    };
    tokio::task::spawn_blocking(load).await??;
    server.shut_down().await;
    let counts = std::fs::read_to_string(file)?;
    let mut lines = counts.lines();
    let total = lines.find_map(|line| line.strip_prefix("totals: "));
    Ok(total.ok_or("valgrind did not count")?.trim().parse()?)
}
