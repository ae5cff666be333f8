//! System calls per delivery, counted by strace. Unlike times, these counts do not
//! depend on the machine or on who else uses it.

use crate::measure::audience;
use crate::scenario::{Case, Scenario};
use crate::server::{Folder, Peer};
use crate::system;
use crate::table::Table;
use crate::{Bench, Fallible, block_on};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Calls that a row names besides writes and reads.
const NAMED_CALLS: usize = 3;
/// Calls that take data to or from a socket or file.
const WRITES: [&str; 5] = ["write", "writev", "sendto", "sendmsg", "pwrite64"];
const READS: [&str; 4] = ["read", "readv", "recvfrom", "recvmsg"];

struct Counted {
    /// Names of system calls, and how often the server made each.
    calls: Vec<(String, f64)>,
    delivered: f64,
}

impl Counted {
    fn per_delivery(&self, wanted: impl Fn(&str) -> bool) -> f64 {
        let calls = self.calls.iter().filter(|(name, _)| wanted(name));
        calls.map(|(_, count)| count).sum::<f64>() / self.delivered
    }
}

pub(crate) fn compare(bench: &Bench) -> Fallible<Table> {
    let header = [
        "load",
        "server",
        "calls per delivery",
        "writes",
        "reads",
        "others, most frequent first",
    ];
    let mut table = Table::new("syscalls: system calls per delivery".to_owned(), 2, &header);
    if system::program("strace").is_none() {
        table.note("Not counted: strace is not installed.".to_owned());
        return Ok(table);
    }
    let rounds = bench.rounds(Scenario::Syscalls);
    for case in Scenario::Syscalls.cases(&bench.options.shape) {
        let case = case.checked()?;
        let peers = bench.options.peers.iter();
        let contenders: Vec<(String, &Peer)> = peers
            .map(|peer| (format!("{}, {}", case.label, peer.label()), peer))
            .collect();
        let tell = |counted: &Counted| {
            format!(
                "{:.4} system calls per delivery",
                counted.per_delivery(|_| true)
            )
        };
        let runs = bench.in_turn(rounds, &contenders, |peer| run(bench, peer, &case), tell)?;
        for ((_, peer), counted) in contenders.iter().zip(runs) {
            // Counts hardly differ between rounds: the last stands for all.
            table.rows(
                counted
                    .last()
                    .map(|counted| row(&case.label, peer.label(), counted)),
            );
        }
    }
    Ok(table)
}

fn row(load: &str, server: &str, counted: &Counted) -> Vec<String> {
    let is_write = |name: &str| WRITES.contains(&name);
    let is_read = |name: &str| READS.contains(&name);
    let others = counted
        .calls
        .iter()
        .filter(|(name, _)| !is_write(name) && !is_read(name));
    let mut others: Vec<_> = others.collect();
    others.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let others = others.iter().take(NAMED_CALLS);
    let others = others.map(|(name, count)| format!("{name} {:.4}", count / counted.delivered));
    vec![
        load.to_owned(),
        server.to_owned(),
        format!("{:.4}", counted.per_delivery(|_| true)),
        format!("{:.4}", counted.per_delivery(is_write)),
        format!("{:.4}", counted.per_delivery(is_read)),
        others.collect::<Vec<_>>().join(", "),
    ]
}

fn run(bench: &Bench, peer: &Peer, case: &Case) -> Fallible<Counted> {
    let server = peer.start(bench.server_core)?;
    if server.pids.is_empty() {
        return Err("its process is not known; say it with --pid".into());
    }
    block_on(async {
        let mut load = audience(bench, &server, case).await?;
        let trace = Trace::attach(&server.pids)?;
        load.deliver_all().await?;
        let calls = trace.finish()?;
        let delivered = load.tally.counts().delivered as f64;
        Ok(Counted { calls, delivered })
    })
}

struct Trace {
    strace: Child,
    folder: Folder,
}

impl Trace {
    fn attach(pids: &[u32]) -> Fallible<Self> {
        let folder = Folder::new()?;
        let mut command = Command::new("strace");
        command
            .args(["-c", "-f", "-o"])
            .arg(folder.path().join("counts"));
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        let mut strace = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(strace.stderr.take().expect("stderr is piped")).lines();
        for _ in pids {
            let line = lines.next().ok_or("strace ended at once")??;
            if !line.contains("attached") {
                return Err(line.into());
            }
        }
        // Whatever strace says later is lost, which it is prepared for.
        Ok(Self { strace, folder })
    }

    fn finish(mut self) -> Fallible<Vec<(String, f64)>> {
        let pid = self.strace.id().to_string();
        Command::new("sh")
            .args(["-c", "kill -INT \"$0\"", &pid])
            .status()?;
        self.strace.wait()?;
        let counts = fs::read_to_string(self.folder.path().join("counts"))?;
        // Columns: % time, seconds, µs per call, calls, errors where there are any, name.
        let calls = counts.lines().filter_map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let name = *words.last().filter(|name| **name != "total")?;
            Some((name.to_owned(), words.get(3)?.parse::<f64>().ok()?))
        });
        Ok(calls.collect())
    }
}
